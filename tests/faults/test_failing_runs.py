# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A failing run stops soon after its cause is certain, and tells it once, with the whole diagnosis in its result."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cluster.testcluster import TestCluster
from faults.fault import STOPPED, Manifest, placed
from faults.manifests import NET_ADMIN, deployment, gateway, service, virtual_service
from harness.beds import BedCluster
from harness.in_process import run_job

from ansible_collections.meshops.istio.plugins.module_utils.jobs import liveness

#: Seconds that a failing run may take from the moment at which its cause is certain.
SOON = 5.0
#: Seconds for which a pod must fit on no node: a cluster autoscaler may bring one.
AUTOSCALER = 30.0


@dataclass
class Failed:
    """How a run ended.

    :ivar float seconds: from the moment at which the cause was seen in the cluster to the end of the task
    """

    result: dict[str, Any]
    seconds: float


def verify(cluster: BedCluster, namespace: str, *objects: Manifest, **over: Any) -> dict[str, Any]:
    """What role liveness_verify's task returns."""
    options = {
        "kubeconfig": str(cluster.kubeconfig),
        "context": cluster.variables["istio_context"],
        "manifests": list(objects),
        "namespace": namespace,
        "namespace_labels": {"istio-injection": "disabled"},
        "wait_timeout": 120,
        **over,
    }
    return run_job(liveness, options)[0]


def failing(cluster: BedCluster, namespace: str, app: Manifest, certain: Callable[[], bool]) -> Failed:
    """Run it with an application that cannot start.

    :arg certain: whether the cluster shows by now why not; asked again and again
    """
    seen: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not seen and not ended.is_set():
            if certain():
                seen.append(time.monotonic())
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = verify(cluster, namespace, app)
    finally:
        now = time.monotonic()
        ended.set()
        watcher.join()
    assert result.get("failed"), result
    if not seen and certain():  # who looks on is slower than the task
        seen.append(now)
    assert seen, "it failed before anybody could know why"
    return Failed(result, now - seen[0])


def statuses(cluster: BedCluster, kind: str, namespace: str) -> list[dict[str, Any]]:
    """Of all objects of a kind."""
    return [item.get("status", {}) for item in cluster.get(kind, "-n", namespace)["items"]]


def assert_told(found: Failed, code: str, words: str) -> None:
    """The message has the cluster's words, once, and the result has the diagnosis."""
    message, main = found.result["msg"], found.result["diagnosis"]["main"]
    assert main["code"] == code, found.result
    assert message.count(words) >= 1, message
    assert "Cause:" not in message, "the job itself has said so already"


def test_policy_refusal(today: BedCluster) -> None:
    """A pod that its namespace's level does not admit."""
    with today.namespace({"pod-security.kubernetes.io/enforce": "baseline"}) as namespace:
        app = deployment("web", spec={"containers": [{"name": "app", "image": "app", **NET_ADMIN}]})

        def refused() -> bool:
            conditions = [
                each for found in statuses(today, "deployments", namespace) for each in found.get("conditions", [])
            ]
            return any(each["type"] == "ReplicaFailure" for each in conditions)

        found = failing(today, namespace, app, refused)
    STOPPED.append((found.result["diagnosis"]["main"]["code"], found.seconds))
    assert found.seconds < SOON
    assert_told(found, "pod-security-refused", "violates PodSecurity")


def test_unschedulable(today: BedCluster) -> None:
    """A pod that no node has room for; it is certain when no autoscaler has brought one."""
    with today.namespace() as namespace:
        app = deployment(
            "web", spec={"containers": [{"name": "app", "image": "x", "resources": {"requests": {"cpu": "1000"}}}]}
        )

        def unschedulable() -> bool:
            conditions = [each for found in statuses(today, "pods", namespace) for each in found.get("conditions", [])]
            return any(each.get("reason") == "Unschedulable" for each in conditions)

        found = failing(today, namespace, app, unschedulable)
    STOPPED.append((found.result["diagnosis"]["main"]["code"], found.seconds))
    assert AUTOSCALER - 1 < found.seconds < AUTOSCALER + SOON
    assert_told(found, "pod-unschedulable", "Insufficient cpu")


@pytest.mark.cluster
def test_image_pull(mesh: TestCluster) -> None:
    """From the kubelet's first back-off on."""
    with mesh.namespace() as namespace:
        app = deployment("web", spec={"containers": [{"name": "app", "image": "127.0.0.1:1/web:1"}]})

        def backs_off() -> bool:
            containers = [
                each for found in statuses(mesh, "pods", namespace) for each in found.get("containerStatuses", [])
            ]
            return any(each["state"].get("waiting", {}).get("reason") == "ImagePullBackOff" for each in containers)

        found = failing(mesh, namespace, app, backs_off)
    STOPPED.append((found.result["diagnosis"]["main"]["code"], found.seconds))
    assert found.seconds < SOON
    assert_told(found, "image-pull", "127.0.0.1:1/web:1")


@pytest.mark.cluster
def test_no_answer_is_explained(mesh: TestCluster) -> None:
    """The task only knows that it got 404; the cause is added to its message, and nothing of it is written."""
    host = "explained.example.com"
    app = deployment(
        "web",
        spec={
            "containers": [
                {
                    "name": "app",
                    "image": mesh.variables["liveness_verify_image"],
                    "args": ["netexec", "--http-port=8080"],
                    "imagePullPolicy": "IfNotPresent",
                }
            ]
        },
    )
    with mesh.namespace() as namespace:
        route = virtual_service(host, {"host": "web", "port": {"number": 8080}})
        objects = placed([app, service(), gateway(host), route], namespace)
        given = {"host_header": host, "path": "/hostname", "wait_timeout": 30}
        started = time.monotonic()
        result = verify(mesh, namespace, *objects, **given)
        assert time.monotonic() - started < 30 + 10 + SOON
        assert result["msg"].startswith("Timed out after 30 s waiting for 3 consecutive 200 responses"), json.dumps(
            result
        )
        assert f"Cause: [destination-port-unknown] VirtualService {namespace}/web: " in result["msg"]
        assert result["diagnosis"]["main"]["code"] == "destination-port-unknown"
