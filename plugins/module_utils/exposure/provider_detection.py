# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gives gateways' Services their addresses, as options say or the cluster tells."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster, served_groups
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.mesh import providers
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import Gateway, MeshOptions

#: Nodes that are looked at: all of a cluster are of one provider, and the first may be of none yet.
SOME_NODES = 20


def resolved(cluster: Cluster, options: MeshOptions) -> MeshOptions:
    """The options with the platform and the load balancers' providers that a cluster tells.

    Nothing is read that options say, nor for gateways of other types. On AWS, load balancers that are there stay what
    they are.

    :raises JobError: the nodes may not be read
    """
    served = functools.lru_cache(maxsize=1)(lambda: served_groups(cluster))
    detected = functools.lru_cache(maxsize=1)(lambda: _detected(cluster, served()))
    options = options.on_platform(served).with_providers(detected)
    as_it_is = [
        replace(gateway, provider=providers.AWS_AS_IT_IS)
        if gateway.provider == providers.AWS and _has_no_scheme(cluster, gateway)
        else gateway
        for gateway in options.gateways
    ]
    return replace(options, gateways=tuple(as_it_is))


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
            f"The load balancer provider is unknown, because the nodes cannot be listed: {error.message}.",
            fix="Grant the permissions in docs/rbac.yml, or set istio_helm_provider.",
            code="right-missing",
            quotes=[error.message],
        ) from error
    return providers.of_cluster((), nodes)


def _has_no_scheme(cluster: Cluster, gateway: Gateway) -> bool:
    """Whether a gateway's Service is there, with a load balancer of which the annotations do not say what it is."""
    service = cluster.get("v1", "Service", gateway.name, gateway.namespace)
    if service is None or service["spec"].get("type") != "LoadBalancer":
        return False
    return providers.AWS_SCHEME not in (service["metadata"].get("annotations") or {})
