# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gives gateways' Services their addresses, as options say or the cluster tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster, served_groups
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.mesh import gateways, providers

#: Nodes that are looked at: all of a cluster are of one provider, and the first may be of none yet.
SOME_NODES = 20


def provided(params: dict[str, Any], detected: Callable[[], str]) -> dict[str, Any]:
    """Options of a mesh in which each gateway of type LoadBalancer has the provider of its address.

    :arg params: validated options of ``mesh.MESH_ARGUMENT_SPEC``
    :arg detected: called where options do not say it, for the cluster's
    """

    def provider(gateway: dict[str, Any]) -> str:
        wanted = params["provider"]
        if wanted == providers.AUTO and gateway.get("load_balancer_class"):
            return providers.of_class(gateway["load_balancer_class"])
        return detected() if wanted == providers.AUTO else wanted

    with_providers = [
        {**gateway, "provider": provider(gateway)}
        if gateways.service_type(gateway, params) == "LoadBalancer"
        else gateway
        for gateway in gateways.listed(params)
    ]
    return {**params, "gateways": with_providers}


def resolved(cluster: Cluster, params: dict[str, Any], served: Iterable[str] | None = None) -> dict[str, Any]:
    """As ``provided``, with what the cluster tells; and on AWS, load balancers that are there stay what they are.

    Nothing is read for gateways of other types, nor where options say whose load balancers these are.

    :arg served: the cluster's API groups, if they are known already
    :raises JobError: the nodes may not be read
    """
    found: list[str] = []  # once the cluster has been looked at

    def detected() -> str:
        if not found:
            found.append(_detected(cluster, served_groups(cluster) if served is None else served))
        return found[0]

    result = provided(params, detected)
    for gateway in result["gateways"]:
        if gateway.get("provider") == providers.AWS and _has_no_scheme(cluster, gateway, params):
            gateway["provider"] = providers.AWS_AS_IT_IS
    return result


def _detected(cluster: Cluster, served: Iterable[str]) -> str:
    known = providers.of_cluster(served, [])
    if known != providers.NONE:
        return known
    try:
        nodes = cluster.request("GET", "/api/v1/nodes", {"limit": SOME_NODES}).get("items") or []
    except ApiError as error:
        if error.status != 403:
            raise
        raise JobError(
            "Who gives addresses to Services of type LoadBalancer is told by the nodes, which may not be read: "
            f"{error.message}. Allow it (docs/rbac.yml), or name the provider: istio_helm_provider."
        ) from error
    return providers.of_cluster((), nodes)


def _has_no_scheme(cluster: Cluster, gateway: dict[str, Any], params: dict[str, Any]) -> bool:
    """Whether a gateway's Service is there, with a load balancer of which the annotations do not say what it is."""
    service = cluster.get("v1", "Service", gateway["name"], gateways.namespace_of(gateway, params))
    if service is None or service["spec"].get("type") != "LoadBalancer":
        return False
    return providers.AWS_SCHEME not in (service["metadata"].get("annotations") or {})
