# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run whose outcome is certain ends within seconds of that, and says why; the deadline is minutes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster.testcluster import TestCluster

NAMESPACE = "doomed"
MOST = 5.0  # seconds between certainty and the end of ansible-playbook
#: Seconds for which a pod that fits on no node is given: an autoscaler may bring one (waiting.GRACE).
FOR_A_NODE = 30.0
TOO_MUCH = {"resources": {"requests": {"cpu": "1000"}}}


def _waits_for_image(pod: dict[str, Any]) -> bool:
    states = [container["state"] for container in pod["status"].get("containerStatuses", [])]
    return any(state.get("waiting", {}).get("reason") == "ImagePullBackOff" for state in states)


def _fits_nowhere(pod: dict[str, Any]) -> bool:
    return any(
        condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"
        for condition in pod["status"].get("conditions", [])
    )


def _is_refused(deployment: dict[str, Any]) -> bool:
    conditions = deployment["status"].get("conditions", [])
    return any(each["type"] == "ReplicaFailure" and each["status"] == "True" for each in conditions)


#: What is wrong: labels of the namespace, variables, the object that shows it, how, for how long, and the words.
CASES: dict[str, tuple[dict[str, str], dict[str, Any], str, Callable[[dict[str, Any]], bool], float, str]] = {
    "image pull": (
        {},
        {"liveness_verify_image": "registry.invalid/none:1"},
        "pods",
        _waits_for_image,
        0,
        "ImagePullBackOff",
    ),
    "policy refusal": (
        {"pod-security.kubernetes.io/enforce": "restricted"},
        {},
        "deployments",
        _is_refused,
        0,
        "violates PodSecurity",
    ),
    "unschedulable": (
        {},
        {"liveness_verify_chart_values": TOO_MUCH},
        "pods",
        _fits_nowhere,
        FOR_A_NODE,
        "fits on no node",
    ),
}


class Moment(threading.Thread):
    """Looks at objects until one of them shows what is wrong."""

    def __init__(self, mesh: TestCluster, kind: str, shows: Callable[[dict[str, Any]], bool]) -> None:
        super().__init__(daemon=True)
        self.mesh, self.kind, self.shows = mesh, kind, shows
        self.at: float | None = None
        self.over = threading.Event()

    def run(self) -> None:
        """Look, again and again."""
        while not self.over.wait(0.1):
            if any(map(self.shows, self.mesh.get(self.kind, f"--namespace={NAMESPACE}")["items"])):
                self.at = time.monotonic()
                return


@pytest.fixture
def mesh(cluster: TestCluster) -> Iterator[TestCluster]:
    """Yield a cluster with Istio, and take the namespace away."""
    cluster.ensure_mesh()
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")


@pytest.mark.parametrize("name", CASES)
def test_ends_when_it_is_certain(name: str, mesh: TestCluster) -> None:
    """Not at the deadline, which is five minutes."""
    labels, variables, kind, shows, grace, words = CASES[name]
    mesh.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    moment = Moment(mesh, kind, shows)
    moment.start()
    try:
        run = mesh.role("liveness_verify", liveness_verify_namespace=NAMESPACE, **variables)
        ended = time.monotonic()
    finally:
        moment.over.set()
        moment.join()
    assert words in run.message
    assert moment.at is not None
    seconds = ended - moment.at - grace
    print(f"\n{name}: ended {seconds:.1f} s after it was certain")
    assert seconds <= MOST
