# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an installation is about to create, as far as it takes room or counts against a quota. Pure.

It is read from the charts as helm renders them. What is in the cluster already is left out, so that a second run
demands nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.workloads import workload_of
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import has_sidecar
from ansible_collections.meshops.istio.plugins.module_utils.preflight.capacity import Room, pod_requests

#: Kinds that a demand is made of.
KINDS = ("DaemonSet", "Deployment", "HorizontalPodAutoscaler", "Service")


@dataclass(frozen=True)
class Pods:
    """Pods of one template.

    :ivar str name: of the Deployment or DaemonSet that makes them
    :ivar int missing: how many of them do not exist yet
    :ivar int unscheduled: how many of them hold no room on a node yet
    :ivar dict spec: of each
    """

    namespace: str
    name: str
    missing: int
    unscheduled: int
    spec: dict[str, Any] = field(hash=False, default_factory=dict)


@dataclass
class Demand:
    """Everything that is about to be created.

    :ivar dict counts: number of objects by namespace, and by their names in a ResourceQuota
    """

    pods: list[Pods] = field(default_factory=list)
    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def count(self, namespace: str, **numbers: int) -> None:
        """Add to the counts of a namespace."""
        self.counts.setdefault(namespace, Counter()).update({key: number for key, number in numbers.items() if number})

    def rooms(self) -> dict[str, Room]:
        """Requests of the pods that hold no room on a node yet, by name; further replicas are numbered."""
        return {
            f"{pods.namespace}/{pods.name}{f' ({number})' if number else ''}": pod_requests(pods.spec)
            for pods in self.pods
            for number in range(pods.unscheduled)
        }


def _replicas(deployment: dict[str, Any], documents: Iterable[dict[str, Any]]) -> int:
    """How many pods a Deployment begins with; an autoscaler's minimum counts more than its own figure."""
    name = deployment["metadata"]["name"]
    for document in documents:
        if document["kind"] == "HorizontalPodAutoscaler" and document["spec"]["scaleTargetRef"]["name"] == name:
            return document["spec"].get("minReplicas") or 1
    replicas = deployment["spec"].get("replicas")
    return 1 if replicas is None else replicas


def _node_ports(service: dict[str, Any]) -> int:
    spec = service["spec"]
    if spec.get("type") == "NodePort" or (
        spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True)
    ):
        return len(spec.get("ports") or [])
    return 0


def of(
    rendered: Iterable[tuple[str, list[dict[str, Any]]]],
    pods: Iterable[dict[str, Any]],
    services: Iterable[dict[str, Any]],
    deployments: Iterable[dict[str, Any]],
    nodes: int = 0,
) -> Demand:
    """What rendered charts hold that is not there yet.

    :arg rendered: for each release its namespace and its objects, of ``KINDS`` at least
    :arg pods: those of the cluster that have not ended
    :arg services: those of the cluster
    :arg deployments: those of the releases' namespaces
    :arg nodes: how many take ordinary pods; a DaemonSet puts one on each
    """
    existing, scheduled = Counter(), Counter()
    for pod in pods:
        where = workload_of(pod)
        existing[where] += 1
        scheduled[where] += bool(pod["spec"].get("nodeName"))
    there = {("Service", obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in services}
    there |= {("Deployment", obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in deployments}
    demand = Demand()
    for release_namespace, documents in rendered:
        for document in documents:
            kind, name = document["kind"], document["metadata"]["name"]
            namespace = document["metadata"].get("namespace") or release_namespace
            new = (kind, namespace, name) not in there
            if kind in ("DaemonSet", "Deployment"):
                wanted = nodes if kind == "DaemonSet" else _replicas(document, documents)
                where = (namespace, kind, name)
                missing, unscheduled = max(0, wanted - existing[where]), max(0, wanted - scheduled[where])
                spec = document["spec"]["template"]["spec"]
                demand.pods.append(Pods(namespace, name, missing, unscheduled, spec))
                demand.count(namespace, pods=missing, deployments=int(new and kind == "Deployment"))
            elif kind == "Service" and new:
                balanced = document["spec"].get("type") == "LoadBalancer"
                demand.count(namespace, services=1, node_ports=_node_ports(document), load_balancers=int(balanced))
    return demand


def add_sidecars(
    demand: Demand, namespaces: Iterable[str], resources: dict[str, Any] | None, pods: Iterable[dict[str, Any]]
) -> None:
    """Add one sidecar to each namespace of an application in which none runs yet; the app's own container is its own.

    :arg resources: of the proxy, as istiod will inject it; None when there will be no istiod
    :arg pods: those of the cluster that have not ended
    """
    if resources is None:
        return
    injected = {pod["metadata"]["namespace"] for pod in pods if has_sidecar(pod)}
    spec = {"containers": [{"name": "istio-proxy", "resources": resources}]}
    for namespace in namespaces:
        if namespace not in injected:
            demand.pods.append(Pods(namespace, "the first application with a sidecar", 1, 0, spec))
            demand.count(namespace, pods=1)
