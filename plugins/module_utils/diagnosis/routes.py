# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Gateways and VirtualServices mean: hosts, references, destinations, and which of them meet. Pure.

As Istio reads them (pkg/config/host, pilot/pkg/model/gateway.go, virtualservice.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.cluster.selectors import contains
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.state import MeshState, Objects, labels_of

#: The gateway's name that means all sidecars, and no gateway.
MESH = "mesh"
_SERVICE_HOST = re.compile(r"^([^.*]+)\.([^.]+)\.svc(\..+)?$")
_TLS_PASSTHROUGH = ("PASSTHROUGH", "AUTO_PASSTHROUGH")


class Destination(NamedTuple):
    """Where a VirtualService sends requests.

    :ivar str host: in full
    :ivar int port: 0 where none is named
    :ivar str where: the place in the VirtualService
    """

    host: str
    port: int
    subset: str
    where: str


class Server(NamedTuple):
    """One server of a Gateway.

    :ivar dict gateway: the whole Gateway
    """

    gateway: dict[str, Any]
    number: int
    protocol: str
    hosts: list[str]
    tls: dict[str, Any]

    @property
    def terminates_http(self) -> bool:
        """Whether its requests are routed by their Host header."""
        return self.protocol in ("HTTP", "HTTP2", "GRPC", "GRPC-WEB") or (
            self.protocol == "HTTPS" and self.tls.get("mode") not in _TLS_PASSTHROUGH
        )


# -- hosts -------------------------------------------------------------------------------------------------------------


def full(host: str, namespace: str) -> str:
    """A host of a destination in full: short names are of the namespace of who names them."""
    return host if "." in host or "*" in host else f"{host}.{namespace}.svc.cluster.local"


def service_of(host: str) -> tuple[str, str] | None:
    """Namespace and name of the Service that a host in full stands for; None for other hosts."""
    found = _SERVICE_HOST.match(host)
    return (found[2], found[1]) if found and found[3] else None


def matches(pattern: str, host: str) -> bool:
    """Whether two hosts, either with a wildcard in front, have a host in common."""
    if pattern.startswith("*") and host.startswith("*"):
        longer, shorter = sorted((pattern[1:], host[1:]), key=len, reverse=True)
        return longer.endswith(shorter)
    for wild, exact in ((pattern, host), (host, pattern)):
        if wild.startswith("*"):
            return len(exact) >= len(wild) and exact.endswith(wild[1:])
    return pattern.lower() == host.lower()


def _in_namespace(pattern: str, own: str, namespace: str) -> bool:
    return pattern == "*" or (own if pattern == "." else pattern) == namespace


def server_takes(server: Server, host: str, namespace: str) -> bool:
    """Whether a VirtualService of a namespace may have a host on a Gateway's server: NAMESPACE/HOST limits it."""
    own = server.gateway["metadata"]["namespace"]
    for entry in server.hosts:
        limit, slash, pattern = entry.rpartition("/")
        if (not slash or _in_namespace(limit, own, namespace)) and matches(pattern, host):
            return True
    return False


# -- Gateways ----------------------------------------------------------------------------------------------------------


def servers(gateway: dict[str, Any]) -> list[Server]:
    """The servers of a Gateway."""
    found = []
    for entry in gateway["spec"].get("servers") or []:
        port = entry.get("port") or {}
        protocol = (port.get("protocol") or "").upper()
        found.append(
            Server(gateway, int(port.get("number") or 0), protocol, entry.get("hosts") or [], entry.get("tls") or {})
        )
    return found


def references(virtual_service: dict[str, Any]) -> list[tuple[str, str] | None]:
    """Namespace and name of the Gateways that a VirtualService is for; None stands for the mesh."""
    own = virtual_service["metadata"]["namespace"]
    found: list[tuple[str, str] | None] = []
    for text in virtual_service["spec"].get("gateways") or [MESH]:
        if text == MESH:
            found.append(None)
        elif "/" in text:
            namespace, _slash, name = text.partition("/")
            found.append((own if namespace == "." else namespace, name))
        else:
            found.append(service_of(text) or (own, text))  # NAME.NAMESPACE.svc.DOMAIN, as it was until 1.1
    return found


def workloads_of(state: MeshState, gateway: dict[str, Any]) -> Objects:
    """Pods that a Gateway selects."""
    return state.pods(None, gateway["spec"].get("selector") or {})


def services_of(state: MeshState, gateway: dict[str, Any]) -> Objects:
    """Services that lead to the pods that a Gateway selects, or to those that its workloads would make."""
    selector = gateway["spec"].get("selector") or {}
    namespaces = {key[1] for key in state.workloads(None, selector)}
    found = []
    for service in state.of("Service"):
        wanted, namespace = service["spec"].get("selector"), service["metadata"]["namespace"]
        if wanted and namespace in namespaces and state.workloads(namespace, {**selector, **wanted}):
            found.append(service)
    return found


def is_listened_on(state: MeshState, service: dict[str, Any], port: dict[str, Any]) -> bool:
    """Whether a gateway's pods listen where a port of their Service leads: they do for Gateways only."""
    pods = state.pods_behind(service)
    for gateway in state.of("Gateway"):
        selector = gateway["spec"].get("selector") or {}
        if any(contains(labels_of(pod), selector) for pod in pods) and any(
            server.number in (port["port"], port.get("targetPort")) for server in servers(gateway)
        ):
            return True
    return False


def is_ours(state: MeshState, gateway: dict[str, Any]) -> bool:
    """Whether a Gateway is for one of the gateways that are asked about, or of a namespace that is looked at."""
    if gateway["metadata"]["namespace"] in state.control_plane | state.applications:
        return True
    selector = gateway["spec"].get("selector") or {}
    return any(contains(labels_of(pod), selector) for each in state.gateway_services for pod in state.pods_behind(each))


# -- VirtualServices ---------------------------------------------------------------------------------------------------


def is_delegate(virtual_service: dict[str, Any]) -> bool:
    """Whether it is a part of others, which have the hosts."""
    return not virtual_service["spec"].get("hosts")


def destinations(virtual_service: dict[str, Any]) -> Iterator[Destination]:
    """Everything that a VirtualService sends requests to, mirrors included."""
    own, spec = virtual_service["metadata"]["namespace"], virtual_service["spec"]
    for part in ("http", "tls", "tcp"):
        for place, rule in enumerate(spec.get(part) or []):
            where = f"{part}[{place}]"
            named = [route.get("destination") for route in rule.get("route") or []]
            named += [rule.get("mirror"), *(each.get("destination") for each in rule.get("mirrors") or [])]
            for destination in filter(None, named):
                if destination.get("host"):
                    port = (destination.get("port") or {}).get("number") or 0
                    subset = destination.get("subset") or ""
                    yield Destination(full(destination["host"], own), int(port), subset, where)


def bound(state: MeshState, virtual_service: dict[str, Any]) -> list[Server]:
    """The servers of Gateways on which a VirtualService has one of its hosts."""
    found = []
    for reference in references(virtual_service):
        gateway = state.get("Gateway", *reference) if reference else None
        for server in servers(gateway) if gateway else []:
            namespace = virtual_service["metadata"]["namespace"]
            if any(server_takes(server, host, namespace) for host in virtual_service["spec"].get("hosts") or []):
                found.append(server)
    return found


def exported_to(obj: dict[str, Any], namespace: str) -> bool:
    """Whether an object of Istio's is seen from a namespace."""
    own, where = obj["metadata"]["namespace"], obj["spec"].get("exportTo") or ["*"]
    return any(_in_namespace(pattern, own, namespace) for pattern in where)


def routed_services(state: MeshState) -> Objects:
    """Services that some gateway sends requests to."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for virtual_service in state.of("VirtualService"):
        if any(references(virtual_service)) or is_delegate(virtual_service):
            for destination in destinations(virtual_service):
                key = service_of(destination.host)
                service = state.get("Service", *key) if key else None
                if key and service:
                    found[key] = service
    return list(found.values())


def selector_text(gateway: dict[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((gateway["spec"].get("selector") or {}).items()))


def gateway_pods(state: MeshState) -> list[dict[str, Any]]:
    return [pod for service in state.gateway_services for pod in state.pods_behind(service)]


def looked_at(state: MeshState) -> list[dict[str, Any]]:
    return state.inside("VirtualService")
