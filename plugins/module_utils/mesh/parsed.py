# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a mesh, parsed once, where a job begins. Pure.

What the options leave to others (a gateway's namespace, its type, its provider) stands in each gateway from here on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import Source
from ansible_collections.meshops.istio.plugins.module_utils.mesh import components, providers, revisions
from ansible_collections.meshops.istio.plugins.module_utils.mesh.options import PLACES

#: API group that only one platform of Istio's charts serves -> the platform, as the charts call it. They know others,
#: which have nothing of their own to be known by.
PLATFORM_OF_GROUP = {"security.openshift.io": "openshift"}
#: Options that say where Istio's own charts are, and how to get them there; of no matter where none of them is wanted.
REPOSITORY_OPTIONS = (
    "chart_repository",
    "chart_repository_username",
    "chart_repository_password",
    "chart_repository_ca_file",
    "chart_repository_plain_http",
    "chart_keyring",
)
#: Options that reach a chart as they are.
PLACED = frozenset(option for options in PLACES.values() for option in options)


@dataclass(frozen=True)
class Gateway:
    """A gateway as it is wanted.

    :ivar str namespace: its own, else Istio's
    :ivar str type: of its Service: its own, else the exposure of the mesh
    :ivar list ports: as option ``ports``; empty for the chart's own
    :ivar dict node_ports: numbers by the names of ports, as they were given
    :ivar str provider: who gives its address; ``auto`` until the cluster has told
    :ivar dict values: Helm values of this gateway alone
    """

    name: str
    namespace: str
    type: str
    ports: list[dict[str, Any]] = field(hash=False, default_factory=list)
    node_ports: dict[str, Any] = field(hash=False, default_factory=dict)
    replicas: int | None = None
    labels: dict[str, Any] = field(hash=False, default_factory=dict)
    annotations: dict[str, Any] = field(hash=False, default_factory=dict)
    external_traffic_policy: str = ""
    load_balancer_class: str = ""
    load_balancer_ip: str = ""
    load_balancer_source_ranges: list[str] = field(hash=False, default_factory=list)
    internal: bool = False
    values: dict[str, Any] = field(hash=False, default_factory=dict)
    provider: str = providers.AUTO

    @classmethod
    def of(cls, given: Mapping[str, Any], namespace: str, exposure: str, provider: str = providers.AUTO) -> Gateway:
        """An entry of option ``gateways``, with what counts for all where it says nothing."""
        common = {"namespace": namespace, "type": exposure, "provider": provider}
        return cls(**{**common, **{name: value for name, value in given.items() if value is not None}})

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def listed_gateways(
    given: Iterable[Mapping[str, Any]],
    preset: str | None,
    namespace: str,
    exposure: str,
    provider: str = providers.AUTO,
) -> tuple[Gateway, ...]:
    """The gateways that are listed, else those of the preset.

    :arg given: option ``gateways``
    :arg preset: None where nobody says what is installed
    """
    found = [dict(each) for each in given]
    if not found and preset:
        found = [{"name": name} for name in components.PRESETS[preset].gateways]
        for each in found:
            if each["name"] == components.EGRESS and exposure == "LoadBalancer":
                each["type"] = "ClusterIP"
    return tuple(Gateway.of(each, namespace, exposure, provider) for each in found)


@dataclass(frozen=True)
class ChartChoice:
    """A chart of the user's own choice for a component: an entry of option ``charts``.

    :ivar dict repository: where it comes from, as ``MeshOptions.repository``; empty for where the component's own does
    :ivar str name: empty for the component's own, as ``version`` and ``digest``
    """

    component: str
    repository: Mapping[str, Any] = field(hash=False)
    name: str
    version: str
    digest: str

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ChartChoice:
        """An entry of option ``charts``."""
        repository = {option: given.get(option.removeprefix("chart_")) for option in REPOSITORY_OPTIONS}
        parts = [given.get(key) or "" for key in ("name", "version", "digest")]
        return cls(given["component"], repository if given.get("repository") else {}, *parts)

    @property
    def source(self) -> Source | None:
        """Where it comes from, if that is said. :raises JobError: options of it contradict each other"""
        return Source.of(self.repository) if self.repository else None


@dataclass(frozen=True)
class MeshOptions:
    """The options of a mesh (``options.MESH_ARGUMENT_SPEC``), of which none contradicts another.

    :ivar str revision: of istiod, gateways, injection and proof alike; empty for the default one
    :ivar tuple components: beside gateways, by today's names
    :ivar tuple asked: components as they were listed, former names among them
    :ivar dict repository: where Istio's own charts come from, as the options say it
    :ivar dict digests: by which those are pinned, by their names
    :ivar str version: of those charts, which is Istio's
    :ivar str platform: whose settings Istio's charts are to add; ``auto`` until the cluster has told, empty for none
    :ivar dict placed: the options that charts take as they are: ``reaches`` in ``option_table``
    :ivar dict values: Helm values by component or gateway
    """

    namespace: str
    revision: str
    repository: Mapping[str, Any] = field(hash=False)
    digests: dict[str, str] = field(hash=False)
    version: str
    profile: str
    components: tuple[str, ...]
    asked: tuple[str, ...]
    gateways: tuple[Gateway, ...]
    charts: tuple[ChartChoice, ...]
    addons_repository: str
    platform: str
    placed: dict[str, Any] = field(hash=False)
    values: dict[str, Any] = field(hash=False)

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> MeshOptions:
        """Parse a module's options.

        :arg params: validated by ``options.MESH_ARGUMENT_SPEC``
        :raises JobError: one is unknown, or contradicts another; names it
        """
        asked = tuple(params.get("components") or ())
        names = _component_names(asked, params["preset"], params["profile"])
        gateways = listed_gateways(
            params.get("gateways") or (),
            params["preset"],
            params["namespace"],
            params["exposure"],
            params.get("provider") or providers.AUTO,
        )
        values = params.get("values") or {}
        revision = revisions.effective(params.get("revision") or "", values, names, gateways)
        return cls(
            namespace=params["namespace"],
            revision=revision,
            repository={name: params.get(name) for name in REPOSITORY_OPTIONS},
            digests=params.get("chart_digests") or {},
            version=params["chart_version"],
            profile=params["profile"],
            components=names,
            asked=asked,
            gateways=gateways,
            charts=tuple(map(ChartChoice.of, params.get("charts") or ())),
            addons_repository=params.get("addons_repository") or "",
            platform=params.get("platform") or "",
            placed={**{name: params.get(name) for name in PLACED}, "revision": revision},
            values=values,
        )

    def on_platform(self, served: Callable[[], Iterable[str]]) -> MeshOptions:
        """The options with the platform of a cluster.

        :arg served: called where options do not say it, for the cluster's API groups
        """
        if self.platform != providers.AUTO:
            return self
        groups = set(served())
        return replace(self, platform=next((name for group, name in PLATFORM_OF_GROUP.items() if group in groups), ""))

    def with_providers(self, detected: Callable[[], str]) -> MeshOptions:
        """The options in which each gateway of type LoadBalancer has the provider of its address.

        :arg detected: called where options do not say it, for the cluster's
        """

        def provider(gateway: Gateway) -> str:
            if gateway.type != "LoadBalancer" or gateway.provider != providers.AUTO:
                return gateway.provider
            return providers.of_class(gateway.load_balancer_class) if gateway.load_balancer_class else detected()

        return replace(self, gateways=tuple(replace(each, provider=provider(each)) for each in self.gateways))

    @property
    def source(self) -> Source:
        """Where Istio's own charts come from. :raises JobError: options of it contradict each other"""
        return Source.of(self.repository)

    @property
    def gateway_names(self) -> set[str]:
        """Names of its gateways."""
        return {gateway.name for gateway in self.gateways}


def _component_names(asked: tuple[str, ...], preset: str, profile: str) -> tuple[str, ...]:
    """The components beside gateways, by today's names: those that are listed, else those of preset and profile.

    :raises JobError: one is not known
    """
    wanted = asked or (
        *components.PRESETS[preset].components,
        *(components.PROFILES[profile] if preset != "none" else ()),
    )
    for name in wanted:
        if name in components.FORMER_GATEWAYS:
            raise ErrorAbout(
                "gateways are listed in istio_helm_gateways, each by its name.",
                object="components",
                fix=f"Move {name} to istio_helm_gateways.",
            )
        if name not in components.NAMES and name not in components.FORMER:
            raise ErrorAbout(
                f"unknown component {name}. Valid names: {', '.join(components.NAMES)}.",
                object="components",
                fix="Correct the name in istio_helm_components. If it is a gateway, list it in istio_helm_gateways.",
            )
    return tuple(components.current_names(wanted))
