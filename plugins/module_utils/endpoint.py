# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a gateway answers: its Service's address as seen from outside the cluster. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple


class Endpoint(NamedTuple):
    """A place to send a request to.

    :ivar str host: an IP address or a DNS name
    """

    host: str
    port: int

    @property
    def authority(self) -> str:
        """``host:port``; IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


#: Addresses of a node in the order in which somebody outside the cluster would try them.
_ADDRESS_TYPES = ("ExternalIP", "InternalIP", "Hostname")


def _port(service: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((port for port in service["spec"].get("ports") or [] if port.get("name") == name), None)


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def node_endpoints(service: dict[str, Any], port_name: str, nodes: list[dict[str, Any]]) -> list[Endpoint]:
    """The node port of a Service on every ready node; [] when the port has none."""
    port = _port(service, port_name)
    if not port or not port.get("nodePort"):
        return []
    found = []
    for wanted in _ADDRESS_TYPES:
        for node in filter(_is_ready, nodes):
            addresses = node.get("status", {}).get("addresses") or []
            found += [Endpoint(item["address"], port["nodePort"]) for item in addresses if item["type"] == wanted]
    return found


def load_balancer_endpoints(service: dict[str, Any], port_name: str) -> list[Endpoint]:
    """The addresses that a provider gave a Service: host names (AWS) or IPs (Azure, MetalLB); [] while pending."""
    port = _port(service, port_name)
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    if not port:
        return []
    return [Endpoint(entry.get("hostname") or entry["ip"], port["port"]) for entry in ingress]


def endpoints(service: dict[str, Any], port_name: str, nodes: list[dict[str, Any]]) -> list[Endpoint]:
    """Where to try, best first, by the type of the Service."""
    if service["spec"].get("type") == "LoadBalancer":
        return load_balancer_endpoints(service, port_name)
    return node_endpoints(service, port_name, nodes)
