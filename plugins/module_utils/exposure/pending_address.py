# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a Service of type LoadBalancer has no address yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import Cause
from ansible_collections.meshops.istio.plugins.module_utils.cluster.reading import UNFINISHED, Objects, joined, listed
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure import load_balancers

#: Seconds after which a cluster that explains nothing is looked at again.
LOOK_EVERY = 60.0
#: Kind -> what ``load_balancers.evidence`` looks at.
_LOOKED_AT: dict[str, dict[str, Any]] = {
    "Service": {
        "metadata": {"name": True, "namespace": True, "creationTimestamp": True},
        "spec": {"type": True},
        "status": {"loadBalancer": True},
    },
    "Node": {"spec": {"providerID": True}},
    "Pod": {"metadata": {"labels": True}},
}


def why_pending(cluster: Cluster) -> Callable[[dict[str, Any]], Cause]:
    """A function that says why a Service of type LoadBalancer has no address yet.

    Its events are read each time. The cluster is looked at only where they tell nothing, and seldom, as lists are long.
    """
    looked: list[tuple[float, load_balancers.Evidence | None]] = []

    def explain(service: dict[str, Any]) -> Cause:
        told = load_balancers.told(service, _events(cluster, service["metadata"]))
        if told:
            return told
        if not looked or time.monotonic() - looked[-1][0] > LOOK_EVERY:
            looked.append((time.monotonic(), evidence(cluster)))
        return load_balancers.guessed(service, looked[-1][1])

    return explain


def _events(cluster: Cluster, meta: dict[str, Any]) -> list[dict[str, Any]]:
    """About a Service; none without the right, or from a server that is busy: an explanation is worth no failure."""
    selector = f"involvedObject.kind=Service,involvedObject.name={meta['name']}"
    try:
        return cluster.list("v1", "Event", meta["namespace"], field_selector=selector)
    except (ApiError, JobError):
        return []


def evidence(cluster: Cluster) -> load_balancers.Evidence | None:
    """Who gives addresses to Services; None where the cluster may not be looked at."""
    lists: list[Callable[[], Objects | None]] = [
        *(lambda kind=kind: listed(cluster, "v1", kind, fields=_LOOKED_AT[kind]) for kind in ("Service", "Node")),
        lambda: listed(cluster, "v1", "Pod", fields=_LOOKED_AT["Pod"], field_selector=UNFINISHED),
        lambda: listed(cluster, "apiextensions.k8s.io/v1", "CustomResourceDefinition", metadata_only=True),
    ]
    try:
        services, nodes, pods, definitions = in_parallel(lambda read: read(), lists)
        if services is None or nodes is None or pods is None or definitions is None:
            return None
        names = [definition["metadata"]["name"] for definition in definitions]
        return load_balancers.evidence(services, nodes, pods, names, pools(cluster, set(names)), cluster.now())
    except (ApiError, JobError):
        return None


def pools(cluster: Cluster, served: set[str]) -> dict[str, int]:
    """Number of address pools by provider; a provider whose pools may not be read is left out.

    :arg served: names of the cluster's definitions
    """
    counted = {}
    for provider in load_balancers.POOLED:
        if provider.crd not in served:
            continue
        found = joined(listed(cluster, version, provider.kind) for version in provider.api_versions)
        if found is not None:
            counted[provider.name] = len(found)
    return counted
