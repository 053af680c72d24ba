# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a gateway answers: its Service's address as seen from outside the cluster, or through the API server. Pure."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import Any, NamedTuple, Protocol

from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import is_true

#: A DNS label; underscores are not in RFC 1123, and are in names that resolve.
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class Place(Protocol):
    """Where a request may be sent."""

    def url(self, path: str) -> str:
        """Of a path there."""


class Endpoint(NamedTuple):
    """A place to send a request to.

    :ivar str host: an IP address or a DNS name
    :ivar str scheme: ``http`` or ``https``
    """

    host: str
    port: int
    scheme: str = "http"

    @property
    def authority(self) -> str:
        """``host:port``; IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, path: str) -> str:
        """Of a path there."""
        return f"{self.scheme}://{self.authority}{path}"


def is_host(text: str) -> bool:
    """Whether a text is an IP address or a DNS name: labels of at most 63 characters, 253 in all (RFC 1123)."""
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(text))
    return len(text) <= 253 and all(map(_LABEL.fullmatch, text.removesuffix(".").split(".")))


def at_address(text: str, scheme: str = "http") -> Endpoint | None:
    """Of ``HOST:PORT``, IPv6 in brackets; None where it is something else."""
    host, _colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_one = is_host(host) and port.isascii() and port.isdigit() and 0 < int(port) < 65536
    return Endpoint(host, int(port), scheme) if is_one else None


class Proxied(NamedTuple):
    """A port of a Service, asked for through the API server's proxy, which sends the request to one of its pods.

    :ivar str api: URL of the API server
    :ivar str port: its name
    """

    api: str
    namespace: str
    service: str
    port: str

    def path(self, path: str) -> str:
        """Where the API server takes the request."""
        return f"/api/v1/namespaces/{self.namespace}/services/http:{self.service}:{self.port}/proxy{path}"

    def url(self, path: str) -> str:
        """Of a path there."""
        return self.api + self.path(path)


#: Addresses of a node in the order in which somebody outside the cluster would try them.
_ADDRESS_TYPES = ("ExternalIP", "InternalIP", "Hostname")


def _port(service: dict[str, Any], name: str) -> dict[str, Any] | None:
    """A port by its name, or by its number, as one that is alone may have no name."""
    ports = service["spec"].get("ports") or []
    return next((port for port in ports if name in (port.get("name"), str(port["port"]))), None)


def keeps_local(service: dict[str, Any]) -> bool:
    """Whether a node passes requests to its own pods only, so that one without drops them."""
    return service["spec"].get("externalTrafficPolicy") == "Local"


def serving_nodes(pods: list[dict[str, Any]]) -> set[str]:
    """Names of the nodes on which some of a Service's pods can serve."""
    return {
        pod["spec"]["nodeName"]
        for pod in pods
        if pod["spec"].get("nodeName") and is_true(pod, "Ready") and not pod["metadata"].get("deletionTimestamp")
    }


def node_endpoints(
    service: dict[str, Any], port_name: str, nodes: list[dict[str, Any]], serving: set[str] | None = None
) -> list[Endpoint]:
    """The node port of a Service on every ready node; [] when the port has none.

    :arg serving: names of the nodes that answer; None for all
    """
    port = _port(service, port_name)
    if not port or not port.get("nodePort"):
        return []
    answering = [
        node for node in nodes if is_true(node, "Ready") and (serving is None or node["metadata"]["name"] in serving)
    ]
    found = []
    for wanted in _ADDRESS_TYPES:
        for node in answering:
            addresses = node.get("status", {}).get("addresses") or []
            found += [Endpoint(item["address"], port["nodePort"]) for item in addresses if item["type"] == wanted]
    return found


def load_balancer_endpoints(service: dict[str, Any], port_name: str) -> list[Endpoint]:
    """Addresses that a provider gave a Service: host names (AWS), IPs (Azure, MetalLB) or both; [] while pending."""
    port = _port(service, port_name)
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    if not port:
        return []
    addresses = [entry[kind] for kind in ("hostname", "ip") for entry in ingress if entry.get(kind)]
    return [Endpoint(address, port["port"]) for address in addresses]


def endpoints(
    service: dict[str, Any], port_name: str, nodes: list[dict[str, Any]], serving: set[str] | None = None
) -> list[Endpoint]:
    """Where to try, best first, by the type of the Service.

    :arg serving: as for ``node_endpoints``
    """
    if service["spec"].get("type") == "LoadBalancer":
        return load_balancer_endpoints(service, port_name)
    return node_endpoints(service, port_name, nodes, serving)
