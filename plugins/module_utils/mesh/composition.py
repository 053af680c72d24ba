# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mesh is made of: the settings of a run turned into Helm releases with their charts and values.

Pure. Which chart a component is, and when it is installed, is a table in ``components``; here is what each is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import go_yaml
from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout, JobError
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import ChartReference, Source
from ansible_collections.meshops.istio.plugins.module_utils.helm.values import merged
from ansible_collections.meshops.istio.plugins.module_utils.mesh import (
    components,
    gateways,
    providers,
    revisions,
    versions,
)
from ansible_collections.meshops.istio.plugins.module_utils.mesh.components import COMPONENTS, MANIFESTS
from ansible_collections.meshops.istio.plugins.module_utils.mesh.gateways import NodePort
from ansible_collections.meshops.istio.plugins.module_utils.mesh.options import PLACES
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import Gateway, MeshOptions

#: Platforms whose settings have istiod leave the redirection of traffic to Istio CNI.
PLATFORMS_WITH_CNI = frozenset(("openshift",))


@dataclass(frozen=True)
class Release:
    """A Helm release as it is wanted.

    :ivar str name: the release's name; a gateway's Service, Deployment and ``istio`` label derive from it
    :ivar str component: key of ``COMPONENTS``
    :ivar ChartReference chart: what it is an installation of
    :ivar int stage: releases of a stage are installed together, a stage when the one before it is ready
    :ivar dict values: the user-supplied values, complete
    :ivar frozenset dispensable: top-level keys among them that nobody asked for, which an older chart may not know
    """

    name: str
    namespace: str
    component: str
    chart: ChartReference
    stage: int = 0
    values: dict[str, Any] = field(hash=False, default_factory=dict)
    dispensable: frozenset[str] = frozenset()

    def fitted(self, accepted: frozenset[str] | None) -> Release:
        """The release for a chart whose schema accepts only some keys; None for any."""
        refused = self.dispensable - accepted if accepted is not None else frozenset()
        return replace(self, values={key: value for key, value in self.values.items() if key not in refused})

    @property
    def part(self) -> str:
        """What it is for: CONTROL_PLANE, GATEWAY or ADDON of ``components``."""
        return COMPONENTS[self.component].part

    @property
    def runs_pods(self) -> bool:
        """Whether there is anything to wait for."""
        return COMPONENTS[self.component].runs_pods


def _at(path: str, value: Any) -> dict[str, Any]:
    """A value at its place in Helm values: ``global.hub``."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def _placed_values(component: str, options: MeshOptions) -> dict[str, Any]:
    """The options that reach a component, where its chart takes them."""
    values: dict[str, Any] = {}
    for option, path in PLACES.get(component, {}).items():
        value = options.placed.get(option)
        if component == "gateway" and option == "image_pull_secrets":
            value = [{"name": name} for name in value or ()]
        if value:
            values = merged(values, _at(path, value))
    return values


def _joint_values(component: str, options: MeshOptions) -> dict[str, Any]:
    """What a component must be told because of others, of the profile and of the platform."""
    values: dict[str, Any] = {}
    names = options.components
    if component == "cert-manager":
        # Its leaders would be elected in kube-system, where a run needs no rights otherwise.
        leaders = {"leaderElection": {"namespace": COMPONENTS[component].namespace}}
        values = {"crds": {"enabled": True}, "global": leaders}
    if component == "istiod" and "cni" in names:
        values = merged(values, _at(versions.istiod_cni_key(options.version), True))
    if "istio-csr" in names and component in ("istiod", "ztunnel"):
        csr = COMPONENTS["istio-csr"]
        address = f"{csr.release}.{csr.namespace}.svc:443"
        istiod = {"global": {"caAddress": address}, "env": {"ENABLE_CA_SERVER": "false"}}
        values = merged(values, istiod if component == "istiod" else {"caAddress": address})
    if component == "istio-csr" and options.revision:
        # It answers for the names of istiods' Services, and of no other.
        values = {"app": {"istio": {"revisions": [options.revision]}}}
    if component in ("istiod", "cni") and options.profile == "ambient":
        values["profile"] = "ambient"
    if COMPONENTS[component].source == components.ISTIO:
        values = merged(values, _platform_values(options))
    return values


def _platform_values(options: MeshOptions) -> dict[str, Any]:
    known = options.platform not in ("", providers.AUTO)
    return {"global": {"platform": options.platform}} if known else {}


def _chart(component: str, options: MeshOptions) -> ChartReference:
    """Where a component's chart comes from: what option ``charts`` says of it, else the table."""
    row = COMPONENTS[component]
    own = next((choice for choice in options.charts if choice.component == component), None)
    version = (own and own.version) or row.version or options.version
    name = (own and own.name) or row.chart
    if own and own.repository:
        source = own.source
    elif row.source == MANIFESTS:
        source = Source(options.addons_repository.replace("{version}", version))
    else:
        source = options.source if row.source == components.ISTIO else Source(row.source)
    digests = {name: own.digest} if own and own.digest else {}
    if row.source == components.ISTIO and not own:
        digests = options.digests
    return ChartReference(source, name, version, row.source == MANIFESTS and not own, digests)


def _checked_values(options: MeshOptions) -> None:
    """Refuse values that would reach nothing.

    :raises JobError: they are of nothing that is known, or of a manifest, which takes none
    """
    known = set(COMPONENTS) | options.gateway_names
    for name, over in options.values.items():
        if name not in known and name in components.FORMER_GATEWAYS:
            raise ErrorAbout(
                f"{name} is a name from the 2018 chart.",
                object="values",
                fix="List gateways in istio_helm_gateways, and set their values by gateway name.",
            )
        if name in components.FORMER:
            former = components.FORMER[name]
            message = f"{name} is a name from the 2018 chart{'' if former.now else f'; it {former.what}'}."
            fix = f"Set values of {' and '.join(former.now)} instead." if former.now else "Remove these values."
            raise ErrorAbout(message, object="values", fix=fix)
        if name not in known:
            raise ErrorAbout(
                f"unknown component {name}. Valid names: {', '.join(sorted(known))}.",
                object="values",
                fix="Correct the name in istio_helm_values.",
            )
        if not isinstance(over, (dict, type(None))):
            raise ErrorAbout(
                f"{over!r} is not a map of Helm values.",
                object=f"values: {name}",
                fix="Correct istio_helm_values.",
            )
        if over and name in options.components and _chart(name, options).manifest:
            raise ErrorAbout(
                f"{name} is installed from Istio's manifest, which takes no values.",
                object="values",
                fix="Remove them, or set a chart for it in istio_helm_charts.",
            )


def _checked_charts(options: MeshOptions) -> None:
    """Refuse entries of ``charts`` that would reach nothing, or would not say enough.

    :raises JobError: there are such
    """
    for choice in options.charts:
        component = choice.component
        if component not in COMPONENTS:
            raise ErrorAbout(
                f"unknown component {component}. Valid names: {', '.join(COMPONENTS)}.",
                object="charts",
                fix="Correct the name in istio_helm_charts.",
            )
        if component == "base":
            raise ErrorAbout(
                "base comes from chart_repository, which also provides the CRDs for role crds.",
                object="charts",
                fix="Remove base from istio_helm_charts.",
            )
        if COMPONENTS[component].source == MANIFESTS and not (choice.repository and choice.version):
            raise ErrorAbout(
                "a chart for this component needs both repository and version.",
                object=f"charts: {component}",
                fix="Set both in istio_helm_charts.",
            )


def releases(options: MeshOptions) -> list[Release]:
    """The Helm releases of a mesh, in the order of installation.

    :raises JobError: options that contradict each other
    """
    _checked_charts(options)
    _checked_values(options)
    stages = components.stages({*options.components, *(["gateway"] if options.gateways else [])})
    result = [_component(name, stages[name], options) for name in options.components]
    result += [_gateway(gateway, stages["gateway"], options) for gateway in options.gateways]
    _checked_releases(result)
    return sorted(result, key=lambda release: release.stage)


def _component(name: str, stage: int, options: MeshOptions) -> Release:
    """The release of a component that is no gateway."""
    row, values = COMPONENTS[name], _placed_values(name, options)
    for over in (_joint_values(name, options), options.values.get(name)):
        values = merged(values, over or {})
    # As Istio's documentation has it: each istiod is a release of its own, so that two may be there.
    release = row.release + (revisions.suffix(options.revision) if name == "istiod" else "")
    return Release(release, row.namespace or options.namespace, name, _chart(name, options), stage, values)


def _gateway(gateway: Gateway, stage: int, options: MeshOptions) -> Release:
    """The release of a gateway."""
    values = merged(gateways.values(gateway), _placed_values("gateway", options))
    values = merged(values, _platform_values(options))
    dispensable = {"readinessProbe", "imagePullPolicy"}
    for over in (options.values.get("gateway"), options.values.get(gateway.name), gateway.values):
        values = merged(values, over or {})
        dispensable -= set(over or {})
    chart = _chart("gateway", options)
    return Release(gateway.name, gateway.namespace, "gateway", chart, stage, values, frozenset(dispensable))


def _checked_releases(result: list[Release]) -> None:
    """:raises JobError: a name or a node port is used twice, or a value can be nobody's."""
    keys = [(release.namespace, release.name) for release in result]
    twice = sorted({"/".join(key) for key in keys if keys.count(key) > 1})
    if twice:
        names = f"name {twice[0]} is" if len(twice) == 1 else f"names {', '.join(twice)} are"
        message = f"the {names} used twice, but each release needs a unique name."
        raise ErrorAbout(message, object="gateways", fix="Rename one of them in istio_helm_gateways.")
    for release in result:
        for path in go_yaml.beyond_json(release.values):
            raise ErrorAbout(
                f"{path} is a number that neither JSON nor Helm can represent.",
                object=f"values: {release.name}",
                fix="Put it in quotes to make it a string.",
            )
    node_ports(result)


def node_ports(wanted: Iterable[Release]) -> list[NodePort]:
    """The node ports that releases of gateways pin, whether by option ``node_ports`` or by Helm values.

    :raises JobError: one is no number, or two Services pin the same
    """
    found: dict[int, NodePort] = {}
    for release in wanted:
        for port in _ports_with_a_number(release):
            pinned = _node_port(release, port)
            other = found.setdefault(pinned.port, pinned)
            # One Service may have a number for TCP and UDP both, as HTTP/3 needs it; two Services may not.
            shared = (other.namespace, other.service) == (pinned.namespace, pinned.service)
            if other is not pinned and not (shared and other.protocol != pinned.protocol):
                raise JobError(
                    f"is pinned twice: by {other.where} and by {pinned.where}.",
                    object=f"Node port {pinned.port}",
                    fix="Set a different node port for each in istio_helm_gateways.",
                )
    return list(found.values())


def _ports_with_a_number(release: Release) -> list[dict[str, Any]]:
    """The entries of a gateway's ``service.ports`` that pin one; what is of another shape is left to helm."""
    service = release.values.get("service")
    if release.component != "gateway" or not isinstance(service, dict):
        return []
    ports = service.get("ports") if service.get("type") in ("NodePort", "LoadBalancer") else None
    return (
        [port for port in ports if isinstance(port, dict) and port.get("nodePort")] if isinstance(ports, list) else []
    )


def _node_port(release: Release, port: dict[str, Any]) -> NodePort:
    name, number = str(port.get("name") or port.get("port")), port["nodePort"]
    try:
        number = int(str(number))
    except ValueError:
        where = f"values: {release.name}: service.ports: {name}: nodePort"
        raise ErrorAbout(
            f"{number!r} is not a port number.", object=where, joint=" ", fix="Set a port number, such as 30010."
        ) from None
    return NodePort(release.namespace, release.name, name, number, port.get("protocol") or "TCP")


def advice(options: MeshOptions) -> list[Finding]:
    """What users should know about the components that they ask for.

    :returns: what became of a name of the guide's time, and what is not for production
    """
    found = []
    for name, former in components.former_names(options.asked):
        now = f"{' and '.join(former.now)} is installed" if former.now else "Nothing is installed"
        message = f"as of Istio {former.since}, it {former.what}. {now} in its place."
        renamed = "Use the current names in istio_helm_components."
        found.append(Finding("component-renamed", f"component {name}", message, renamed))
    for name in options.components:
        if _chart(name, options).manifest:
            fix = "Set a chart of your own in istio_helm_charts for production use."
            found.append(Finding("addon-quick-start", f"component {name}", components.QUICK_START, fix))
    return found


def platform_advice(options: MeshOptions) -> list[Finding]:
    """What the platform's settings expect and nothing in this run brings.

    :arg options: with the platform that was found
    """
    names, found = options.components, options.platform
    if found not in PLATFORMS_WITH_CNI or "istiod" not in names or "cni" in names:
        return []
    message = (
        f"the settings of platform {found} rely on Istio CNI to redirect traffic, but this run does not install it. "
        "Pods with a sidecar wait for it in init container istio-validation."
    )
    fix = "Add cni to istio_helm_components, unless Istio CNI is already installed."
    return [Finding("istio-cni-missing", "component cni", message, fix)]
