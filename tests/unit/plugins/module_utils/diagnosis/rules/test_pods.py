# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that are refused or do not start: each by its own code, and nothing of what passes by itself."""

from __future__ import annotations

from typing import Any

import pytest
from harness.mesh_objects import (
    BEFORE,
    ISTIO,
    JUST_NOW,
    SHOP,
    Object,
    codes,
    deployment,
    namespace,
    obj,
    pod,
    refused,
    service,
    state,
)

from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.diagnose import diagnose

GUIDE = (
    'pods "app-v1-" is forbidden: unable to validate against any pod security policy: '
    "[spec.initContainers[0].securityContext.privileged: Invalid value: true: Privileged containers are not allowed"
)
WEBHOOK = (
    'Internal error occurred: failed calling webhook "namespace.sidecar-injector.istio.io": failed to call webhook: '
    'Post "https://istiod.istio-system.svc:443/inject?timeout=10s": '
)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (GUIDE, "pod-security-refused"),
        ('pods "web-" is forbidden: PodSecurityPolicy: unable to admit pod: []', "pod-security-refused"),
        (
            'pods "web-x" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities',
            "pod-security-refused",
        ),
        ("unable to validate against any security context constraint: []", "pod-security-refused"),
        ('pods "web-x" is forbidden: exceeded quota: team, requested: pods=1', "quota-exceeded"),
        ('pods "web-x" is forbidden: failed quota: team: must specify limits.cpu', "quota-needs-figures"),
        ("maximum memory usage per Container is 1Mi, but limit is 2Mi", "limit-range"),
        ('error looking up service account shop/web: serviceaccount "web" not found', "service-account-missing"),
        ('admission webhook "validate.kyverno.svc-fail" denied the request: no', "admission-denied"),
        (WEBHOOK + "context deadline exceeded", "injector-unreachable"),
    ],
)
def test_refusals(words: str, code: str) -> None:
    """The application's Service has no endpoint for it, which is a consequence."""
    broken = state(deployment(available=0, conditions=refused(words)), without=("Pod/web-1-x",))
    found = diagnose(broken)
    assert codes(broken) == [code, "service-without-endpoints"]
    assert found.main is not None
    assert found.main.object == "Deployment shop/web"
    assert words[:60] in found.main.evidence[0]


@pytest.mark.parametrize(
    "conditions",
    [
        refused('error looking up service account shop/default: serviceaccount "default" not found', JUST_NOW),
        [{**refused(GUIDE)[0], "status": "False"}],
    ],
    ids=["a-moment-old", "mended"],
)
def test_refusals_that_pass(conditions: list[Object]) -> None:
    """Kubernetes tries again."""
    assert codes(state(deployment(conditions=conditions))) == []


def test_refused_pods_of_other_workloads() -> None:
    """Only events tell of them; none does once the pods are there."""
    sets = obj("StatefulSet", "db", spec={"replicas": 1, "template": {"metadata": {"labels": {"app": "db"}}}})
    event = obj("Event", "db.1") | {
        "type": "Warning",
        "reason": "FailedCreate",
        "message": f"create Pod db-0 in StatefulSet db failed error: {GUIDE}",
        "involvedObject": {"uid": sets["metadata"]["uid"]},
    }
    assert codes(state(sets, event)) == ["pod-security-refused"]
    assert codes(state(sets | {"status": {"replicas": 1}}, event)) == []


def waiting(reason: str, restarts: int = 0, **more: Any) -> Object:
    """The status of a pod with a container that waits."""
    container = {
        "name": "app",
        "image": "app:1",
        "ready": False,
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": "words of the kubelet"}},
        **more,
    }
    return {"containerStatuses": [container]}


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("ErrImagePull", "image-pull"),
        ("ImagePullBackOff", "image-pull"),
        ("ErrImageNeverPull", "image-pull"),
        ("InvalidImageName", "image-pull"),
        ("CreateContainerConfigError", "container-misconfigured"),
        ("RunContainerError", "container-misconfigured"),
    ],
)
def test_containers_that_cannot_start(reason: str, code: str) -> None:
    """What the kubelet says is the evidence."""
    found = diagnose(state(deployment(available=0), pod(ready=False, status=waiting(reason))))
    assert [each.code for each in found.findings] == [code, "service-without-endpoints"]
    assert found.main is not None
    assert found.main.evidence[0] == f"{reason}: words of the kubelet"


@pytest.mark.parametrize(
    ("image", "ends"),
    [("registry.istio.io/release/proxyv2:1.30.4", True), ("docker.io/istio/proxyv2:1.30.4", False)],
)
def test_image_of_a_registry_that_ends(image: str, ends: bool) -> None:
    """The kubelet only says that it is not found."""
    status = waiting("ImagePullBackOff", image=image)
    main = diagnose(state(deployment(available=0), pod(ready=False, status=status))).main
    assert main is not None
    assert ("docker.io/istio has the same images (istio_helm_hub)" in main.message) is ends
    assert ("removal for December 2026" in main.message) is ends


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"], ids=["creating", "initializing"])
def test_containers_that_are_about_to_start(reason: str) -> None:
    """Is no finding: a pod of a moment ago."""
    young = pod(ready=False, status=waiting(reason))
    young["metadata"]["creationTimestamp"] = JUST_NOW
    assert codes(state(deployment(available=0), young)) == []


def test_crashes() -> None:
    """A second end is a crash, a first one is not; what Istio's own container needs is said."""
    ended = {"lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    crashing = state(deployment(available=0), pod(ready=False, status=waiting("CrashLoopBackOff", 2, **ended)))
    assert codes(crashing)[0] == "container-crashes"
    assert diagnose(crashing).findings[0].evidence == ("exit code 1, Error",)
    once = pod(ready=True, status=waiting("CrashLoopBackOff", 1))
    assert codes(state(once)) == []
    init = waiting("CrashLoopBackOff", 3, name="istio-init")["containerStatuses"]
    found = diagnose(state(deployment(available=0), pod(ready=False, status={"initContainerStatuses": init})))
    assert "NET_ADMIN" in found.findings[0].fix


def test_unschedulable() -> None:
    """The scheduler's words."""
    words = "0/3 nodes are available: 3 Insufficient cpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    status = {"phase": "Pending", "conditions": [condition], "containerStatuses": []}
    found = diagnose(state(deployment(available=0), pod(ready=False, status=status)))
    assert found.main is not None
    assert (found.main.code, found.main.evidence) == ("pod-unschedulable", (words.rstrip("."),))


def test_a_rollout_that_does_not_work_yet() -> None:
    """The pods of the template before serve: there is an image that cannot be had, and nothing else to say."""
    broken = pod(ready=False, status=waiting("ImagePullBackOff"), labels={"pod-template-hash": "2"})
    broken["metadata"].update(name="web-2-x", creationTimestamp="2026-01-01T11:00:00Z")
    broken["metadata"]["ownerReferences"][0]["name"] = "web-2"
    assert codes(state(broken)) == ["image-pull"]
    broken["status"]["containerStatuses"][0]["state"] = {"running": {"startedAt": JUST_NOW}}
    assert codes(state(broken)) == []


def test_probes() -> None:
    """Pods that run for a while and are not ready; the event tells which probe."""
    bare = pod(ready=False)
    event = obj("Event", "web.1") | {
        "type": "Warning",
        "reason": "Unhealthy",
        "message": "Readiness probe failed: HTTP probe failed with statuscode: 503",
        "involvedObject": {"uid": bare["metadata"]["uid"]},
    }
    broken = state(deployment(available=0), bare, event)
    assert codes(broken) == ["pod-unready", "service-without-endpoints"]
    assert "statuscode: 503" in diagnose(broken).findings[0].message
    young = pod(ready=False)
    young["metadata"]["creationTimestamp"] = JUST_NOW
    young["status"]["containerStatuses"][0]["state"]["running"] = {"startedAt": JUST_NOW}
    assert codes(state(deployment(available=0), young)) == []


def test_probes_of_a_rollout() -> None:
    """The pods of the template before serve."""
    old = pod(labels={"pod-template-hash": "0"})
    old["metadata"].update(name="web-0-x", creationTimestamp="2026-01-01T09:00:00Z")
    old["metadata"]["ownerReferences"][0]["name"] = "web-0"
    assert codes(state(deployment(available=1, replicas=2), pod(ready=False), old)) == []


def test_namespace_that_goes() -> None:
    """Explains whatever is wrong in it; one that nobody named is nobody's."""
    going = namespace()
    going["metadata"]["deletionTimestamp"] = BEFORE
    broken = state(going, deployment(available=0), without=("Pod/web-1-x",))
    assert codes(broken)[0] == "namespace-terminating"
    other = {**namespace("other"), "status": {"phase": "Terminating"}}
    assert codes(state(other)) == []


def test_pods_of_istiod_come_before_istiod() -> None:
    """And before what has no sidecar or endpoint for it."""
    broken = state(
        deployment("istiod", ISTIO, available=0, labels={"istio": "pilot"}),
        pod("istiod", ISTIO, "discovery", ready=False, status=waiting("ImagePullBackOff")),
        deployment(available=0, conditions=refused(WEBHOOK + "no endpoints available for service istiod")),
        service("istiod", ISTIO),
        without=("Pod/web-1-x",),
    )
    assert codes(broken)[0] == "image-pull"
    assert set(codes(broken)[1:]) == {"istiod-not-ready", "injector-unreachable", "service-without-endpoints"}
    assert diagnose(broken).findings[0].object == f"Deployment {ISTIO}/istiod"
    assert SHOP in str(diagnose(broken).findings)
