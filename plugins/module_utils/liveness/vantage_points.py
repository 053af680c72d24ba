# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where to ask for an application, and how: by the gateway's Service, by a given address, or through the API server.

What the job calls::

    places, send = asked_at(params, cluster, target, service, nodes)
    send(places[0], "/healthz", host)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.selectors import text_of
from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout, JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure import endpoints
from ansible_collections.meshops.istio.plugins.module_utils.exposure.gateway_objects import Gateway, called
from ansible_collections.meshops.istio.plugins.module_utils.liveness import probe
from ansible_collections.meshops.istio.plugins.module_utils.liveness.gateway_targets import OUTSIDE, REQUEST, Target

HTTP, HTTPS = "http", "https"
Nodes = Callable[[], "list[dict[str, Any]]"]


def check(params: dict[str, Any]) -> None:
    """Refuse options that contradict each other, before anything is written.

    :raises JobError: names the variables
    """
    inside, over_tls = params["verify_from"] == "cluster", params["scheme"] == HTTPS
    if inside and params["address"]:
        raise ErrorAbout(
            f"{params['address']} is not used for requests from inside the cluster.",
            object="address",
            fix="Set either liveness_verify_address or liveness_verify_from: cluster, not both.",
        )
    if inside and over_tls:
        raise ErrorAbout(
            "https is not supported from inside the cluster: the API server's proxy sends no server name (SNI).",
            object="scheme",
            fix="Set either liveness_verify_scheme: https or liveness_verify_from: cluster, not both.",
        )
    if params["host_header"] and not endpoints.is_host(params["host_header"]):
        raise ErrorAbout(
            f"{params['host_header']} is not a valid host name.",
            object="host_header",
            fix="Set liveness_verify_host to a DNS name of at most 253 characters, in labels of at most 63.",
        )
    if over_tls and not params["host_header"]:
        raise ErrorAbout(
            "https requires the host name of the certificate, which is also sent as server name (SNI).",
            object="scheme",
            fix="Set liveness_verify_host to that host name.",
        )


def check_way(params: dict[str, Any], target: Target) -> None:
    """Refuse a gateway that cannot be asked from where the options say, before anything is written.

    :raises JobError: names the variable that mends it
    """
    gateway = target.gateway
    if given_address(params, target):
        return
    if not gateway.service:
        raise JobError(
            "has no Service that selects its pods (service.type: None).",
            object=f"Gateway {gateway}",
            fix="Set liveness_verify_address to an address that leads to it.",
        )
    if params["verify_from"] == "cluster" and target.port is None:
        raise JobError(
            f"has no port {_wanted(params)} (its ports: {_port_names(gateway)}).",
            object=f"Service {gateway.namespace}/{gateway.service}",
            fix="Set liveness_verify_gateway_port to one of its ports.",
        )
    if params["verify_from"] == "controller" and (target.port is None or gateway.type not in OUTSIDE):
        raise _unreachable(params, target)


def _unreachable(params: dict[str, Any], target: Target) -> JobError:
    gateway = target.gateway
    return JobError(
        f"of type {gateway.type} cannot be reached from outside on a port {_wanted(params)} (its ports: "
        f"{_port_names(gateway)}).",
        object=f"Service {gateway.namespace}/{gateway.service}",
        fix="Expose it as NodePort or LoadBalancer (istio_helm_exposure), set liveness_verify_gateway_port to its "
        "port, request it from inside (liveness_verify_from: cluster), or set liveness_verify_address to an address "
        "that leads to it.",
    )


def asked_at(
    params: dict[str, Any], cluster: Cluster, target: Target, service: dict[str, Any] | None, nodes: Nodes
) -> tuple[list[endpoints.Place], Callable[..., probe.Answer]]:
    """Where to ask a gateway, best first, and how.

    :arg params: the job's options, after ``check`` and, for the application's gateway, ``check_way``
    :arg service: the gateway's, live
    :arg nodes: returns those of the cluster; called where a node port is asked
    :raises JobError: it cannot be asked there; names the variable that mends it
    """
    if params["verify_from"] == "cluster":
        return [proxied(cluster, target)], probe.through(cluster)
    address = given_address(params, target)
    found = [address] if address else _endpoints(params, cluster, target, service or {"spec": {}}, nodes)
    if params["scheme"] == HTTPS and target.proof == REQUEST:
        return found, probe.over_tls(params["host_header"], params["ca_file"])
    return found, probe.get


def given_address(params: dict[str, Any], target: Target) -> endpoints.Endpoint | None:
    """The address that leads to the application's gateway, where somebody has said it.

    :raises JobError: it is none
    """
    if not params["address"] or not target.is_first:
        return None
    found = endpoints.at_address(params["address"], params["scheme"])
    if found is None:
        fix = "Set liveness_verify_address to HOST:PORT, for example 192.0.2.10:80. Put IPv6 addresses in brackets."
        raise ErrorAbout(f"{params['address']} is not HOST:PORT.", object="address", fix=fix)
    return found


def proxied(cluster: Cluster, target: Target) -> endpoints.Proxied:
    """A gateway as the API server's proxy leads to it."""
    gateway = target.gateway
    return endpoints.Proxied(cluster.host, gateway.namespace, gateway.service, called(target.port or {"port": 80}))


def _wanted(params: dict[str, Any]) -> str:
    """Which port is looked for, in words."""
    return f"named {params['port']}" if params["port"] else f"for {params['scheme'].upper()}"


def _port_names(gateway: Gateway) -> str:
    return ", ".join(map(called, gateway.ports)) or "none"


def _serving(cluster: Cluster, gateway: Gateway, service: dict[str, Any]) -> set[str] | None:
    """The nodes that answer for a Service that keeps requests on the node where they arrive; None for all.

    :raises JobError: none does
    """
    selector = service["spec"].get("selector")
    if not endpoints.keeps_local(service) or not selector:
        return None
    pods = cluster.list("v1", "Pod", gateway.namespace, label_selector=text_of(selector))
    serving = endpoints.serving_nodes(pods)
    if not serving:
        raise JobError(
            "has externalTrafficPolicy Local, but no node runs a ready gateway pod, so no node accepts requests.",
            object=f"Service {gateway.namespace}/{gateway.service}",
            fix=f"Find out why the pods are not ready: kubectl describe pods --namespace {gateway.namespace}",
        )
    return serving


def _endpoints(
    params: dict[str, Any], cluster: Cluster, target: Target, service: dict[str, Any], nodes: Nodes
) -> list[endpoints.Endpoint]:
    gateway, there, serving = target.gateway, [], None
    if service["spec"].get("type") == "NodePort" and target.port:
        there, serving = nodes(), _serving(cluster, gateway, service)
    found = endpoints.endpoints(service, called(target.port), there, serving) if target.port else []
    if not found:
        raise _unreachable(params, target)
    scheme = params["scheme"] if target.proof == REQUEST else HTTP
    return [place._replace(scheme=scheme) for place in found]
