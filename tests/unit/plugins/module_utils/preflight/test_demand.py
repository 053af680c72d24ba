# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rendered charts demand beyond what is there."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.preflight import demand
from ansible_collections.meshops.istio.plugins.module_utils.preflight.demand import Demand

SPEC = {"containers": [{"name": "discovery", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}]}


def deployment(replicas: int | None = None, **meta: Any) -> dict[str, Any]:
    """A rendered Deployment `istiod`."""
    spec: dict[str, Any] = {"template": {"spec": SPEC}}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"kind": "Deployment", "metadata": {"name": "istiod", **meta}, "spec": spec}


def autoscaler(least: int) -> dict[str, Any]:
    """Its autoscaler."""
    spec = {"scaleTargetRef": {"name": "istiod"}, "minReplicas": least}
    return {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "istiod"}, "spec": spec}


def service(kind: str, **spec: Any) -> dict[str, Any]:
    """A rendered Service with two ports."""
    found = {"type": kind, "ports": [{"port": 80}, {"port": 443}], **spec}
    return {"kind": "Service", "metadata": {"name": "in"}, "spec": found}


def pod(node: str | None = "a", name: str = "istiod", namespace: str = "mesh") -> dict[str, Any]:
    """A pod of a Deployment."""
    owner = {"kind": "ReplicaSet", "name": f"{name}-1", "controller": True}
    meta = {"name": f"{name}-1-x", "namespace": namespace, "labels": {"pod-template-hash": "1"}}
    return {"metadata": {**meta, "ownerReferences": [owner]}, "spec": {"nodeName": node, "containers": []}}


def of(documents: list[dict[str, Any]], *pods: dict[str, Any], **there: Any) -> Demand:
    """The demand of one release in namespace `mesh`."""
    existing = there.get("services", []), there.get("deployments", [])
    return demand.of([("mesh", documents)], pods, *existing, there.get("nodes", 0))


@pytest.mark.parametrize(
    ("documents", "missing"),
    [
        ([deployment()], 1),
        ([deployment(3)], 3),
        ([deployment(0)], 0),
        ([deployment(), autoscaler(2)], 2),
        ([deployment(5), autoscaler(2)], 2),
    ],
)
def test_replicas(documents: list[dict[str, Any]], missing: int) -> None:
    """The chart's figure, or the least of its autoscaler."""
    (pods,) = of(documents).pods
    assert (pods.namespace, pods.name, pods.missing, pods.unscheduled) == ("mesh", "istiod", missing, missing)


def test_a_daemon_set_has_a_pod_on_each_node() -> None:
    """As Istio CNI and ztunnel; on one of three nodes it runs already."""
    wanted = {**deployment(), "kind": "DaemonSet", "metadata": {"name": "ztunnel"}}
    running = pod(name="ztunnel")
    running["metadata"]["ownerReferences"] = [{"kind": "DaemonSet", "name": "ztunnel", "controller": True}]
    found = of([wanted], running, nodes=3)
    assert [(pods.name, pods.missing, pods.unscheduled) for pods in found.pods] == [("ztunnel", 2, 2)]
    assert dict(found.counts["mesh"]) == {"pods": 2}


@pytest.mark.parametrize(
    ("pods", "missing", "unscheduled"),
    [
        ([pod()], 1, 1),
        ([pod(None)], 1, 2),
        ([pod(), pod(), pod()], 0, 0),
        ([pod(namespace="other"), pod(name="another")], 2, 2),
    ],
)
def test_pods_that_are_there(pods: list[dict[str, Any]], missing: int, unscheduled: int) -> None:
    """Count against a quota once they exist, and hold room once they are on a node."""
    (found,) = of([deployment(2)], *pods).pods
    assert (found.missing, found.unscheduled) == (missing, unscheduled)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (service("ClusterIP"), {"services": 1}),
        (service("NodePort"), {"services": 1, "node_ports": 2}),
        (service("LoadBalancer"), {"services": 1, "node_ports": 2, "load_balancers": 1}),
        (service("LoadBalancer", allocateLoadBalancerNodePorts=False), {"services": 1, "load_balancers": 1}),
        (deployment(), {"pods": 1, "deployments": 1}),
    ],
)
def test_counts(document: dict[str, Any], expected: dict[str, int]) -> None:
    """As a quota counts."""
    assert dict(of([document]).counts["mesh"]) == expected


def test_objects_that_are_there_do_not_count() -> None:
    """A second run demands nothing."""
    there = {"metadata": {"namespace": "mesh", "name": "in"}}
    assert of([service("NodePort")], services=[there]).counts == {}
    assert not of([deployment()], pod(), deployments=[{"metadata": {"namespace": "mesh", "name": "istiod"}}]).counts[
        "mesh"
    ]


def test_rooms() -> None:
    """One for each pod, by names that differ."""
    rooms = of([deployment(2)]).rooms()
    assert list(rooms) == ["mesh/istiod", "mesh/istiod (1)"]
    assert str(rooms["mesh/istiod"]) == "0.5 CPU, 1024 MiB"


def test_sidecars() -> None:
    """One for each application namespace in which none runs yet."""
    injected = {"metadata": {"namespace": "shop"}, "spec": {"containers": [{"name": "istio-proxy"}]}}
    found = Demand()
    demand.add_sidecars(found, ["shop", "bank"], {"requests": {"cpu": "100m"}}, [injected])
    assert [(pods.namespace, pods.missing, pods.unscheduled) for pods in found.pods] == [("bank", 1, 0)]
    demand.add_sidecars(found, ["other"], None, [])
    assert len(found.pods) == 1
