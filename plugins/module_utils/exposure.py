# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster tells about gateways' Services: who gives addresses, who holds ports, why an address is missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils import (
    gateways,
    load_balancer,
    mesh,
    node_ports,
    providers,
    snapshot,
)
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.kube import ApiError, Cluster, in_parallel, served_groups
from ansible_collections.meshops.istio.plugins.module_utils.readiness import Cause

#: Nodes that are looked at: all of a cluster are of one provider, and the first may be of none yet.
SOME_NODES = 20
#: Seconds after which a cluster that explains nothing is looked at again.
LOOK_EVERY = 60.0


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


def pinned(releases: Iterable[mesh.Release]) -> list[gateways.NodePort]:
    """The node ports that the values of some gateways' releases pin, whoever set them there."""
    found = []
    for release in releases:
        service = release.values.get("service") or {}
        if release.component != "gateway" or service.get("type") not in ("NodePort", "LoadBalancer"):
            continue
        for port in service.get("ports") or []:
            if port.get("nodePort"):
                name, protocol = port.get("name", str(port.get("port"))), port.get("protocol", "TCP")
                found.append(gateways.NodePort(release.namespace, release.name, name, int(port["nodePort"]), protocol))
    return found


def refuse_taken_ports(cluster: Cluster, releases: Iterable[mesh.Release]) -> None:
    """Stop while nothing is written yet: helm would say only that a port is allocated already (istio#10795).

    Reads Services only where a port is pinned. Ports that nobody is seen to hold are asked for by a dry run.

    :arg releases: those that are about to be written
    :raises JobError: names each port that another Service holds, the Service, and the fix
    """
    wanted = pinned(releases)
    if not wanted:
        return
    try:
        held = node_ports.holders(cluster.list("v1", "Service"))
    except ApiError as error:
        if error.status != 403:
            raise
        held = {}
    # Which range the cluster has, only a real create tells for certain, and helm's error then names it.
    found, unsure = node_ports.findings(wanted, held, range(1, 65536))
    asked = in_parallel(lambda port: _asked(cluster, port), unsure)
    found += [finding for findings in asked for finding in findings]
    if found:
        lines = "; ".join(f"{finding.object}: {finding.message} {finding.fix}" for finding in found)
        raise JobError(f"Nothing was written, as node ports are not free: {lines}")


def _asked(cluster: Cluster, port: gateways.NodePort) -> list[Finding]:
    try:
        cluster.create(node_ports.probe(port), dry_run=True)
    except ApiError as error:
        return node_ports.refused(port, error.message)
    return []


def why_pending(cluster: Cluster) -> Callable[[dict[str, Any]], Cause]:
    """A function that says why a Service of type LoadBalancer has no address yet.

    Its events are read each time. The cluster is looked at only where they tell nothing, and seldom, as lists are long.
    """
    looked: list[tuple[float, load_balancer.Evidence | None]] = []

    def explain(service: dict[str, Any]) -> Cause:
        told = load_balancer.told(service, _events(cluster, service["metadata"]))
        if told:
            return told
        if not looked or time.monotonic() - looked[-1][0] > LOOK_EVERY:
            looked.append((time.monotonic(), evidence(cluster)))
        return load_balancer.guessed(service, looked[-1][1])

    return explain


def _events(cluster: Cluster, meta: dict[str, Any]) -> list[dict[str, Any]]:
    """About a Service; none without the right, or from a server that is busy: an explanation is worth no failure."""
    selector = f"involvedObject.kind=Service,involvedObject.name={meta['name']}"
    try:
        return cluster.list("v1", "Event", meta["namespace"], field_selector=selector)
    except (ApiError, JobError):
        return []


def evidence(cluster: Cluster) -> load_balancer.Evidence | None:
    """Who gives addresses to Services; None where the cluster may not be looked at."""
    try:
        seen, now = snapshot.Reader(cluster, [], []).addresses(), cluster.now()
    except (ApiError, JobError):
        return None
    if seen.services is None or seen.nodes is None or seen.pods is None or seen.crds is None:
        return None
    names = [crd["metadata"]["name"] for crd in seen.crds]
    return load_balancer.evidence(seen.services, seen.nodes, seen.pods, names, seen.pools, now)
