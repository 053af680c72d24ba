# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways: which there are, their ports, and how their Services meet the world. Pure.

Each is a release of the gateway chart (``mesh``); here is what its own options become.
"""

from __future__ import annotations

import copy
import ipaddress
from dataclasses import dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout
from ansible_collections.meshops.istio.plugins.module_utils.mesh import providers
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import Gateway

#: The gateway chart's own ports; a list in Helm values replaces the chart's, so they are always given whole.
PORTS: tuple[dict[str, Any], ...] = (
    {"name": "status-port", "port": 15021, "protocol": "TCP", "targetPort": 15021},
    {"name": "http2", "port": 80, "protocol": "TCP", "targetPort": 80},
    {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443},
)

#: The injected probe looks every 15 s, first when the proxy cannot be ready yet, so that a gateway counts as unready
#: for 15 s after it could serve. This one is the injector's own, asked more often.
READINESS_PROBE: dict[str, Any] = {
    "httpGet": {"path": "/healthz/ready", "port": 15021},
    "initialDelaySeconds": 1,
    "periodSeconds": 2,
    "timeoutSeconds": 3,
    "failureThreshold": 15,
}


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


def ports_of(gateway: Gateway) -> list[dict[str, Any]]:
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
        for port in gateway.ports
    ] or copy.deepcopy(list(PORTS))
    names = [port["name"] for port in ports]
    for name, number in gateway.node_ports.items():
        where = f"gateways: {gateway.name}: node_ports: {name}"
        if name not in names:
            message = f"the gateway has no port of that name. Its ports are {', '.join(names)}."
            raise ErrorAbout(message, object=where, fix="Use the name of one of its ports.")
        try:
            number = int(str(number))  # neither true nor 30010.5
        except ValueError:
            raise ErrorAbout(
                f"{number!r} is not a port number.", object=where, fix="Set a port number, such as 30010."
            ) from None
        if gateway.type == "ClusterIP":
            raise ErrorAbout(
                "a Service of type ClusterIP has no node ports.",
                object=where,
                fix="Use type NodePort or LoadBalancer.",
            )
        ports[names.index(name)]["nodePort"] = number
    return ports


def _texts(given: dict[str, Any] | None) -> dict[str, str]:
    """Labels and annotations are texts, and YAML's ``true`` or ``80`` is none."""
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in (given or {}).items()
        if value is not None
    }


def _is_range(text: str) -> bool:
    try:
        return bool(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return False


def _only_for(gateway: Gateway) -> None:
    """Options that a Service of another type does not know: Kubernetes would refuse, or overlook them.

    :raises JobError: names the option
    """
    balanced = ("load_balancer_class", "load_balancer_ip", "load_balancer_source_ranges", "internal")
    known = {"external_traffic_policy": ("LoadBalancer", "NodePort"), **dict.fromkeys(balanced, ("LoadBalancer",))}
    for option, kinds in known.items():
        if getattr(gateway, option) and gateway.type not in kinds:
            raise ErrorAbout(
                f"{option} applies only to a Service of type {' or '.join(kinds)}, and this one is {gateway.type}.",
                object=f"gateways: {gateway.name}",
                fix="Remove the option, or change the gateway's type.",
            )


def _exposure_values(gateway: Gateway) -> dict[str, Any]:
    """How a gateway's Service meets the world: what is left out is the chart's and the provider's own default.

    :raises JobError: an option that does not fit the type, or that the provider cannot fulfil
    """
    _only_for(gateway)
    where = f"gateways: {gateway.name}"
    annotations, address = {}, ""
    if gateway.type == "LoadBalancer" and gateway.provider != providers.AUTO:
        annotations, address = providers.settings(gateway.provider, gateway.internal, gateway.load_balancer_ip, where)
    ranges = list(gateway.load_balancer_source_ranges)
    for text in ranges:
        if not _is_range(text):
            raise ErrorAbout(
                f"{text} is not a CIDR range, such as 192.0.2.0/24.",
                object=f"{where}: load_balancer_source_ranges",
                fix="Correct the range in istio_helm_gateways.",
            )
    wanted_fields = {
        "annotations": _texts({**annotations, **gateway.annotations}),
        "externalTrafficPolicy": gateway.external_traffic_policy,
        "loadBalancerClass": gateway.load_balancer_class,
        "loadBalancerIP": address,
        "loadBalancerSourceRanges": ranges,
    }
    return {key: value for key, value in wanted_fields.items() if value}


def values(gateway: Gateway) -> dict[str, Any]:
    """What the gateway chart is told by a gateway's own options.

    :raises JobError: options that contradict each other
    """
    service = {"type": gateway.type, "ports": ports_of(gateway)}
    found: dict[str, Any] = {
        "service": {**service, **_exposure_values(gateway)},
        "readinessProbe": copy.deepcopy(READINESS_PROBE),
    }
    if gateway.replicas is not None:
        # The chart's autoscaler would set a number of its own.
        found.update(replicaCount=gateway.replicas, autoscaling={"enabled": False})
    if gateway.labels:
        found["labels"] = _texts(gateway.labels)
    return found
