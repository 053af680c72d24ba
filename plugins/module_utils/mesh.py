# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mesh is made of: the settings of a run turned into Helm releases with their charts and values.

Pure. The table ``COMPONENTS`` says which chart a component is and when it is installed; Istio's own knowledge stays in
Istio's charts.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError


class Component(NamedTuple):
    """One of Istio's charts.

    :ivar str chart: the chart's name in Istio's repository
    :ivar int stage: releases of a stage are installed together, a stage when the one before it is ready
    :ivar bool runs_pods: whether there is anything to wait for
    """

    chart: str
    stage: int
    runs_pods: bool = True


#: base and istiod share a stage: neither needs the other to be ready, only the definitions that role crds has applied
#: (or, without that role, that base brings while istiod starts). Gateways need the injector: their image is "auto".
COMPONENTS: dict[str, Component] = {
    "base": Component("base", 0, runs_pods=False),
    "istiod": Component("istiod", 0),
    "gateway": Component("gateway", 1),
}

#: The gateway chart's own ports; a list in Helm values replaces the chart's, so they are always given whole.
GATEWAY_PORTS: tuple[dict[str, Any], ...] = (
    {"name": "status-port", "port": 15021, "protocol": "TCP", "targetPort": 15021},
    {"name": "http2", "port": 80, "protocol": "TCP", "targetPort": 80},
    {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443},
)

#: The injected probe looks every 15 s, first when the proxy cannot be ready yet, so that a gateway counts as unready
#: for 15 s after it could serve. This one is the injector's own, asked more often.
GATEWAY_READINESS_PROBE: dict[str, Any] = {
    "httpGet": {"path": "/healthz/ready", "port": 15021},
    "initialDelaySeconds": 1,
    "periodSeconds": 2,
    "timeoutSeconds": 3,
    "failureThreshold": 15,
}

#: API group that only one platform of Istio's charts serves -> the platform, as the charts call it. They know others,
#: which have nothing of their own to be known by.
PLATFORM_OF_GROUP = {"security.openshift.io": "openshift"}

#: Options that say how charts are come by and verified, part of the next; doc fragment meshops.istio.mesh.charts.
CHART_ARGUMENT_SPEC: dict[str, Any] = {
    "chart_repository_username": {"type": "str"},
    "chart_repository_password": {"type": "str", "no_log": True},
    "chart_repository_ca_file": {"type": "path"},
    "chart_repository_plain_http": {"type": "bool", "default": False},
    "chart_keyring": {"type": "path"},
    "chart_digests": {"type": "dict", "default": {}},
}

#: Options that describe a mesh; the modules that need them share this; doc fragment meshops.istio.mesh describes it.
MESH_ARGUMENT_SPEC: dict[str, Any] = {
    "namespace": {"type": "str", "default": "istio-system"},
    "chart_repository": {
        "type": "str",
        "default": "https://istio-release.storage.googleapis.com/charts",
    },
    "chart_version": {"type": "str", "required": True},
    "components": {
        "type": "list",
        "elements": "str",
        "choices": ["base", "istiod"],
        "default": ["base", "istiod"],
    },
    "exposure": {"type": "str", "choices": ["LoadBalancer", "NodePort"], "default": "LoadBalancer"},
    "gateways": {
        "type": "list",
        "elements": "dict",
        "default": [{"name": "istio-ingressgateway"}],
        "options": {
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str"},
            "type": {"type": "str", "choices": ["LoadBalancer", "NodePort", "ClusterIP"]},
            "ports": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "target_port": {"type": "int"},
                    "protocol": {"type": "str", "default": "TCP"},
                },
            },
            "node_ports": {"type": "dict", "default": {}},
            "values": {"type": "dict", "default": {}},
        },
    },
    "hub": {"type": "str"},
    "tag": {"type": "str"},
    "image_pull_policy": {"type": "str", "choices": ["Always", "IfNotPresent", "Never"]},
    "platform": {"type": "str", "default": "auto"},
    "values": {"type": "dict", "default": {}},
    "helm_binary": {"type": "path"},
    **CHART_ARGUMENT_SPEC,
}


@dataclass(frozen=True)
class Release:
    """A Helm release as it is wanted.

    :ivar str name: the release's name; a gateway's Service, Deployment and ``istio`` label derive from it
    :ivar str component: key of ``COMPONENTS``
    :ivar dict values: the user-supplied values, complete
    :ivar frozenset dispensable: top-level keys among them that nobody asked for, which an older chart may not know
    """

    name: str
    namespace: str
    component: str
    values: dict[str, Any] = field(hash=False, default_factory=dict)
    dispensable: frozenset[str] = frozenset()

    def fitted(self, accepted: frozenset[str] | None) -> Release:
        """The release for a chart whose schema accepts only some keys; None for any."""
        refused = self.dispensable - accepted if accepted is not None else frozenset()
        return replace(self, values={key: value for key, value in self.values.items() if key not in refused})

    @property
    def chart(self) -> str:
        """Name of the chart in Istio's repository."""
        return COMPONENTS[self.component].chart

    @property
    def stage(self) -> int:
        """When it is installed, from 0."""
        return COMPONENTS[self.component].stage

    @property
    def runs_pods(self) -> bool:
        """Whether there is anything to wait for."""
        return COMPONENTS[self.component].runs_pods


@dataclass(frozen=True)
class NodePort:
    """One node port that a gateway's Service wants.

    :ivar str where: how a user finds it in the variables
    """

    namespace: str
    service: str
    name: str
    port: int
    protocol: str = "TCP"

    @property
    def where(self) -> str:
        return f"gateway {self.service}, port {self.name}"


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Helm's way of merging values: maps recursively, everything else replaced."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def gateway_type(gateway: dict[str, Any], params: dict[str, Any]) -> str:
    """Service type of a gateway: its own, else the exposure of the mesh."""
    return gateway.get("type") or params["exposure"]


def gateway_namespace(gateway: dict[str, Any], params: dict[str, Any]) -> str:
    """Namespace of a gateway: its own, else Istio's."""
    return gateway.get("namespace") or params["namespace"]


def gateway_ports(gateway: dict[str, Any], params: dict[str, Any]) -> list[dict[str, Any]]:
    """The ports of a gateway's Service as the chart takes them, with the node ports that are pinned.

    :raises JobError: a node port is not a number, belongs to no port of the gateway, or is pinned on a type that has
        none
    """
    ports = [
        {
            "name": port["name"],
            "port": port["port"],
            "protocol": port["protocol"],
            "targetPort": port.get("target_port") or port["port"],
        }
        for port in gateway.get("ports") or []
    ] or copy.deepcopy(list(GATEWAY_PORTS))
    names = [port["name"] for port in ports]
    for name, number in (gateway.get("node_ports") or {}).items():
        where = f"gateways: {gateway['name']}: node_ports: {name}"
        if name not in names:
            raise JobError(f"{where}: the gateway has no port of that name. Its ports are {', '.join(names)}.")
        try:
            number = int(str(number))  # neither true nor 30010.5
        except ValueError:
            raise JobError(f"{where}: {number!r} is not a port number.") from None
        if gateway_type(gateway, params) == "ClusterIP":
            raise JobError(
                f"{where}: a Service of type ClusterIP has no node ports. Use type NodePort or LoadBalancer."
            )
        ports[names.index(name)]["nodePort"] = number
    return ports


def node_ports(params: dict[str, Any]) -> list[NodePort]:
    """All node ports that the gateways of a mesh pin.

    :raises JobError: as ``gateway_ports``, or two gateways pin the same number
    """
    found: dict[int, NodePort] = {}
    for gateway in params["gateways"]:
        for port in gateway_ports(gateway, params):
            if "nodePort" not in port:
                continue
            pinned = NodePort(
                gateway_namespace(gateway, params), gateway["name"], port["name"], port["nodePort"], port["protocol"]
            )
            other = found.setdefault(pinned.port, pinned)
            # One Service may have a number for TCP and UDP both, as HTTP/3 needs it; two Services may not.
            shared = (other.namespace, other.service) == (pinned.namespace, pinned.service)
            if other is not pinned and not (shared and other.protocol != pinned.protocol):
                raise JobError(
                    f"Node port {pinned.port} is pinned twice: by {other.where} and by {pinned.where}. "
                    "Give each port one of its own in istio_helm_gateways."
                )
    return list(found.values())


def platform(wanted: str, served: Iterable[str]) -> str:
    """The platform whose settings Istio's charts are to add; empty for none.

    :arg wanted: option ``platform``; ``auto`` looks at what is served
    :arg served: the cluster's API groups
    """
    if wanted != "auto":
        return wanted
    return next((found for group, found in PLATFORM_OF_GROUP.items() if group in served), "")


def _platform_values(params: dict[str, Any]) -> dict[str, Any]:
    name = platform(params.get("platform") or "", ())
    return {"global": {"platform": name}} if name else {}


def _global_values(params: dict[str, Any]) -> dict[str, Any]:
    """What istiod hands on to every proxy it injects (istio#57215: ``global.hub`` reaches istiod and proxies alike)."""
    wanted = {
        "istioNamespace": params["namespace"],
        "hub": params.get("hub"),
        "tag": params.get("tag"),
        "imagePullPolicy": params.get("image_pull_policy"),
    }
    return {key: value for key, value in wanted.items() if value}


def _gateway_values(gateway: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "service": {"type": gateway_type(gateway, params), "ports": gateway_ports(gateway, params)},
        "readinessProbe": copy.deepcopy(GATEWAY_READINESS_PROBE),
    }
    if params.get("image_pull_policy"):
        # The pod's pull policy is defaulted to Always before the injector puts an image in place of "auto".
        values["imagePullPolicy"] = params["image_pull_policy"]
    return values


def releases(params: dict[str, Any]) -> list[Release]:
    """The Helm releases of a mesh, in the order of installation.

    :arg dict params: validated options of ``MESH_ARGUMENT_SPEC``
    :raises JobError: options that contradict each other
    """
    node_ports(params)
    known = set(COMPONENTS) | {gateway["name"] for gateway in params["gateways"]}
    unknown = sorted(set(params["values"]) - known)
    if unknown:
        raise JobError(f"values: unknown component {', '.join(unknown)}. Known here: {', '.join(sorted(known))}.")
    for name, over in params["values"].items():
        if not isinstance(over, (dict, type(None))):
            raise JobError(f"values: {name}: {over!r} is no map of Helm values.")
    result = []
    for component in params["components"]:
        name = {"base": "istio-base"}.get(component, component)
        values = {"global": _global_values(params)} if component == "istiod" else {}
        if component == "base":
            values = {"global": {"istioNamespace": params["namespace"]}}
        for over in (_platform_values(params), params["values"].get(component)):
            values = merged(values, over or {})
        result.append(Release(name, params["namespace"], component, values))
    for gateway in params["gateways"]:
        values = merged(_gateway_values(gateway, params), _platform_values(params))
        dispensable = {"readinessProbe", "imagePullPolicy"}
        for over in (params["values"].get("gateway"), params["values"].get(gateway["name"]), gateway.get("values")):
            values = merged(values, over or {})
            dispensable -= set(over or {})
        namespace = gateway_namespace(gateway, params)
        result.append(Release(gateway["name"], namespace, "gateway", values, frozenset(dispensable)))
    names = [(release.namespace, release.name) for release in result]
    twice = sorted({"/".join(name) for name in names if names.count(name) > 1})
    if twice:
        raise JobError(f"gateways: the name {', '.join(twice)} is used twice; releases need names of their own.")
    return sorted(result, key=lambda release: release.stage)
