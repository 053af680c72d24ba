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
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import ChartReference, Source
from ansible_collections.meshops.istio.plugins.module_utils.helm.values import merged
from ansible_collections.meshops.istio.plugins.module_utils.mesh import components, gateways, revisions, versions
from ansible_collections.meshops.istio.plugins.module_utils.mesh.components import COMPONENTS, MANIFESTS

#: API group that only one platform of Istio's charts serves -> the platform, as the charts call it. They know others,
#: which have nothing of their own to be known by.
PLATFORM_OF_GROUP = {"security.openshift.io": "openshift"}
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


def component_names(params: dict[str, Any]) -> list[str]:
    """The components beside gateways, by today's names: those that are listed, else those of preset and profile.

    :raises JobError: one is not known
    """
    wanted = params.get("components") or [
        *components.PRESETS[params["preset"]].components,
        *(components.PROFILES[params["profile"]] if params["preset"] != "none" else ()),
    ]
    for name in wanted:
        if name in components.FORMER_GATEWAYS:
            raise JobError("components: gateways are listed in istio_helm_gateways, each by its name.")
        if name not in components.NAMES and name not in components.FORMER:
            raise JobError(
                f"components: there is no component {name}. There are {', '.join(components.NAMES)}; gateways are "
                "listed in istio_helm_gateways."
            )
    return components.current_names(wanted)


def platform(wanted: str, served: Iterable[str]) -> str:
    """The platform whose settings Istio's charts are to add; empty for none.

    :arg wanted: option ``platform``; ``auto`` looks at what is served
    :arg served: the cluster's API groups
    """
    if wanted != "auto":
        return wanted
    return next((found for group, found in PLATFORM_OF_GROUP.items() if group in served), "")


def _at(path: str, value: Any) -> dict[str, Any]:
    """A value at its place in Helm values: ``global.hub``."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


#: Component -> option -> where its chart takes that. ``global.hub`` and ``global.tag`` reach istiod and every proxy
#: that it injects alike, ``hub`` and ``tag`` do not (istio#57215). A gateway is such a proxy, but its own chart creates
#: it: the pod's pull policy is defaulted to Always before the injector puts an image in place of "auto".
_PLACES: dict[str, dict[str, str]] = {
    "base": {"namespace": "global.istioNamespace", "revision": "defaultRevision"},
    "istiod": {
        "namespace": "global.istioNamespace",
        "revision": "revision",
        "hub": "global.hub",
        "tag": "global.tag",
        "image_pull_policy": "global.imagePullPolicy",
        "image_pull_secrets": "global.imagePullSecrets",
    },
    "cni": {
        "hub": "global.hub",
        "tag": "global.tag",
        "image_pull_policy": "global.imagePullPolicy",
        "image_pull_secrets": "global.imagePullSecrets",
    },
    "ztunnel": {
        "namespace": "istioNamespace",
        "revision": "revision",
        "hub": "hub",
        "tag": "tag",
        "image_pull_policy": "imagePullPolicy",
        "image_pull_secrets": "imagePullSecrets",
    },
    "gateway": {
        "revision": "revision",
        "image_pull_policy": "imagePullPolicy",
        "image_pull_secrets": "imagePullSecrets",
    },
    "istio-csr": {"namespace": "app.istio.namespace"},
}


def _placed_values(component: str, params: dict[str, Any]) -> dict[str, Any]:
    """The options that reach a component, where its chart takes them."""
    values: dict[str, Any] = {}
    for option, path in _PLACES.get(component, {}).items():
        value = params.get(option)
        if component == "gateway" and option == "image_pull_secrets":
            value = [{"name": name} for name in value or []]
        if value:
            values = merged(values, _at(path, value))
    return values


def _joint_values(component: str, names: list[str], params: dict[str, Any]) -> dict[str, Any]:
    """What a component must be told because of others, of the profile and of the platform."""
    values: dict[str, Any] = {}
    if component == "cert-manager":
        # Its leaders would be elected in kube-system, where a run needs no rights otherwise.
        leaders = {"leaderElection": {"namespace": COMPONENTS[component].namespace}}
        values = {"crds": {"enabled": True}, "global": leaders}
    if component == "istiod" and "cni" in names:
        values = merged(values, _at(versions.istiod_cni_key(params["chart_version"]), True))
    if "istio-csr" in names and component in ("istiod", "ztunnel"):
        csr = COMPONENTS["istio-csr"]
        address = f"{csr.release}.{csr.namespace}.svc:443"
        istiod = {"global": {"caAddress": address}, "env": {"ENABLE_CA_SERVER": "false"}}
        values = merged(values, istiod if component == "istiod" else {"caAddress": address})
    if component == "istio-csr" and params.get("revision"):
        # It answers for the names of istiods' Services, and of no other.
        values = {"app": {"istio": {"revisions": [params["revision"]]}}}
    if component in ("istiod", "cni") and params.get("profile") == "ambient":
        values["profile"] = "ambient"
    if COMPONENTS[component].source == components.ISTIO:
        values = merged(values, _platform_values(params))
    return values


def _platform_values(params: dict[str, Any]) -> dict[str, Any]:
    name = platform(params.get("platform") or "", ())
    return {"global": {"platform": name}} if name else {}


def _chart(component: str, params: dict[str, Any]) -> ChartReference:
    """Where a component's chart comes from: what option ``charts`` says of it, else the table."""
    row = COMPONENTS[component]
    own = next((entry for entry in params.get("charts") or [] if entry["component"] == component), None)
    version = (own and own.get("version")) or row.version or params.get("chart_version") or ""
    name = (own and own.get("name")) or row.chart
    if own and own.get("repository"):
        source = Source.of({f"chart_{key}": value for key, value in own.items()})
    elif row.source == MANIFESTS:
        source = Source((params.get("addons_repository") or "").replace("{version}", version))
    else:
        source = Source.of(params) if row.source == components.ISTIO else Source(row.source)
    digests = {name: own["digest"]} if own and own.get("digest") else {}
    if row.source == components.ISTIO and not own:
        digests = params.get("chart_digests") or {}
    return ChartReference(source, name, version, row.source == MANIFESTS and not own, digests)


def _checked_values(params: dict[str, Any], names: list[str], gateway_names: set[str]) -> None:
    """Refuse values that would reach nothing.

    :raises JobError: they are of nothing that is known, or of a manifest, which takes none
    """
    known = set(COMPONENTS) | gateway_names
    for name, over in params["values"].items():
        if name not in known and name in components.FORMER_GATEWAYS:
            raise JobError(
                f"values: {name} is a name of the chart of 2018; use istio_helm_gateways, and values by their names."
            )
        if name in components.FORMER:
            former = components.FORMER[name]
            instead = f"give values of {' and '.join(former.now)} instead" if former.now else f"it {former.what}"
            raise JobError(f"values: {name} is a name of the chart of 2018; {instead}.")
        if name not in known:
            raise JobError(f"values: unknown component {name}. Known here: {', '.join(sorted(known))}.")
        if not isinstance(over, (dict, type(None))):
            raise JobError(f"values: {name}: {over!r} is no map of Helm values.")
        if over and name in names and _chart(name, params).manifest:
            raise JobError(
                f"values: {name} is installed from Istio's manifest, which takes none. Name a chart of its own in "
                "istio_helm_charts."
            )


def _checked_charts(params: dict[str, Any]) -> None:
    """Refuse entries of ``charts`` that would reach nothing, or would not say enough.

    :raises JobError: there are such
    """
    for entry in params.get("charts") or []:
        component = entry["component"]
        if component not in COMPONENTS:
            raise JobError(f"charts: there is no component {component}. There are {', '.join(COMPONENTS)}.")
        if component == "base":
            raise JobError("charts: base comes from chart_repository, from where role crds takes its definitions too.")
        if COMPONENTS[component].source == MANIFESTS and not (entry.get("repository") and entry.get("version")):
            raise JobError(f"charts: {component}: name both repository and version of its chart.")


def releases(params: dict[str, Any]) -> list[Release]:
    """The Helm releases of a mesh, in the order of installation.

    :arg dict params: validated options of ``MESH_ARGUMENT_SPEC``
    :raises JobError: options that contradict each other
    """
    gateways.node_ports(params)
    names, wanted_gateways = component_names(params), gateways.listed(params)
    params = {**params, "revision": revisions.effective(params, names, wanted_gateways)}
    _checked_charts(params)
    _checked_values(params, names, {gateway["name"] for gateway in wanted_gateways})
    stages = components.stages({*names, *(["gateway"] if wanted_gateways else [])})
    result = []
    for name in names:
        row, values = COMPONENTS[name], _placed_values(name, params)
        for over in (_joint_values(name, names, params), params["values"].get(name)):
            values = merged(values, over or {})
        namespace = row.namespace or params["namespace"]
        # As Istio's documentation has it: each istiod is a release of its own, so that two may be there.
        release = row.release + (revisions.suffix(params["revision"]) if name == "istiod" else "")
        result.append(Release(release, namespace, name, _chart(name, params), stages[name], values))
    for gateway in wanted_gateways:
        values = merged(gateways.values(gateway, params), _placed_values("gateway", params))
        values = merged(values, _platform_values(params))
        dispensable = {"readinessProbe", "imagePullPolicy"}
        for over in (params["values"].get("gateway"), params["values"].get(gateway["name"]), gateway.get("values")):
            values = merged(values, over or {})
            dispensable -= set(over or {})
        namespace, chart = gateways.namespace_of(gateway, params), _chart("gateway", params)
        result.append(
            Release(gateway["name"], namespace, "gateway", chart, stages["gateway"], values, frozenset(dispensable))
        )
    keys = [(release.namespace, release.name) for release in result]
    twice = sorted({"/".join(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise JobError(f"gateways: the name {', '.join(twice)} is used twice; releases need names of their own.")
    for release in result:
        for path in go_yaml.beyond_json(release.values):
            raise JobError(
                f"values: {release.name}: {path} is a number that JSON cannot hold, nor Helm. Put it in quotes to make "
                "it text."
            )
    return sorted(result, key=lambda release: release.stage)


def advice(params: dict[str, Any]) -> list[Finding]:
    """What users should know about the components that they ask for.

    :returns: what became of a name of the guide's time, and what is not for production
    """
    found = []
    for name, former in components.former_names(params.get("components") or []):
        now = f"{' and '.join(former.now)} is installed for it" if former.now else "nothing is installed for it"
        message = f"{former.what} since Istio {former.since}; {now}."
        found.append(Finding("component-renamed", f"component {name}", message, "Use today's names."))
    for name in component_names(params):
        if _chart(name, params).manifest:
            fix = "For production, name a chart of your own in istio_helm_charts."
            found.append(Finding("addon-quick-start", f"component {name}", components.QUICK_START, fix))
    return found


def platform_advice(params: dict[str, Any]) -> list[Finding]:
    """What the platform's settings expect and nothing in this run brings.

    :arg params: with the platform that was found
    """
    names, found = component_names(params), platform(params["platform"], ())
    if found not in PLATFORMS_WITH_CNI or "istiod" not in names or "cni" in names:
        return []
    message = (
        f"the settings of platform {found} leave the redirection of traffic to Istio CNI, which this run does not "
        "install: pods with a sidecar will wait for it in istio-validation."
    )
    fix = "Add cni to istio_helm_components, unless Istio CNI is there already."
    return [Finding("istio-cni-missing", "component cni", message, fix)]
