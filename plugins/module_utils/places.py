# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where to ask for an application, and how: by the gateway's Service, by a given address, or through the API server.

What the job calls::

    places, send = asked_at(params, cluster, service)
    send(places[0], "/healthz", host)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils import endpoint, probe
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.kube import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.label_selectors import text_of

HTTP, HTTPS = "http", "https"


def check(params: dict[str, Any]) -> None:
    """Refuse options that contradict each other, before anything is written.

    :raises JobError: names the variables
    """
    inside, over_tls = params["verify_from"] == "cluster", params["scheme"] == HTTPS
    if inside and params["address"]:
        raise JobError(
            f"address: {params['address']} would not be asked from inside of the cluster. Set one of "
            "liveness_verify_address and liveness_verify_from: cluster."
        )
    if inside and over_tls:
        raise JobError(
            "scheme: https cannot be asked from inside of the cluster, as the API server's proxy sends no server name "
            "(SNI). Set one of liveness_verify_scheme: https and liveness_verify_from: cluster."
        )
    if over_tls and not params["host_header"]:
        raise JobError(
            "scheme: https needs the name that the certificate is for, which is also sent as server name (SNI). Set "
            "liveness_verify_host to it."
        )


def asked_at(
    params: dict[str, Any], cluster: Cluster, service: dict[str, Any]
) -> tuple[list[endpoint.Place], Callable[..., probe.Answer]]:
    """Where to ask for the app, best first, and how.

    :arg params: the job's options, after ``check``
    :arg service: the gateway's
    :raises JobError: it cannot be asked there; names the variable that mends it
    """
    if params["verify_from"] == "controller":
        found = list(_endpoints(params, cluster, service))
        if params["scheme"] == HTTPS:
            return found, probe.over_tls(params["host_header"], params["ca_file"])
        return found, probe.get
    if not endpoint.has_port(service, params["port"]):
        raise JobError(
            f"Service {params['gateway_namespace']}/{params['gateway']} has no port named {params['port']} (its ports: "
            f"{_port_names(service)}). Name another by liveness_verify_gateway_port."
        )
    return [proxied(params, cluster)], probe.through(cluster)


def proxied(params: dict[str, Any], cluster: Cluster) -> endpoint.Proxied:
    """The gateway as the API server's proxy leads to it."""
    return endpoint.Proxied(cluster.host, params["gateway_namespace"], params["gateway"], params["port"])


def _port_names(service: dict[str, Any]) -> str:
    return ", ".join(port.get("name", str(port["port"])) for port in service["spec"].get("ports") or [])


def _serving(params: dict[str, Any], cluster: Cluster, service: dict[str, Any]) -> set[str] | None:
    """The nodes that answer for a Service that keeps requests on the node where they arrive; None for all.

    :raises JobError: none does
    """
    selector = service["spec"].get("selector")
    if not endpoint.keeps_local(service) or not selector:
        return None
    pods = cluster.list("v1", "Pod", params["gateway_namespace"], label_selector=text_of(selector))
    serving = endpoint.serving_nodes(pods)
    if not serving:
        raise JobError(
            f"Service {params['gateway_namespace']}/{params['gateway']} has external_traffic_policy Local, and no node "
            "runs a pod of it that is ready, so that none answers."
        )
    return serving


def _endpoints(params: dict[str, Any], cluster: Cluster, service: dict[str, Any]) -> list[endpoint.Endpoint]:
    name = f"{params['gateway_namespace']}/{params['gateway']}"
    if params["address"]:
        given = endpoint.at_address(params["address"], params["scheme"])
        if given is None:
            raise JobError(f"address: {params['address']} is not HOST:PORT.")
        return [given]
    nodes, serving = [], None
    if service["spec"].get("type") == "NodePort":
        nodes, serving = cluster.list("v1", "Node"), _serving(params, cluster, service)
    found = endpoint.endpoints(service, params["port"], nodes, serving)
    if not found:
        raise JobError(
            f"Service {name} of type {service['spec'].get('type')} cannot be reached from outside by a port named "
            f"{params['port']} (its ports: {_port_names(service)}). Expose it as NodePort or LoadBalancer "
            "(istio_helm_exposure), ask from inside (liveness_verify_from: cluster), or give the address that leads to "
            "it: liveness_verify_address."
        )
    return [place._replace(scheme=params["scheme"]) for place in found]
