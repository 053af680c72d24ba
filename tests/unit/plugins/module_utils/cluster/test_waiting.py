# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting ends with the last object that becomes ready, the first that never will, or the deadline: and says which."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster import waiting
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError, Unreachable
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, identity
from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import Cause
from ansible_collections.meshops.istio.plugins.module_utils.cluster.waiting import Waiter
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

SOON = 0.5  # seconds: a deadline that is to pass
LATE = 10.0  # seconds: a deadline that is not

ISTIOD: Identity = ("apps/v1", "Deployment", "istio-system", "istiod")
GATEWAY: Identity = ("apps/v1", "Deployment", "istio-ingress", "gateway")
POD: Identity = ("v1", "Pod", "istio-system", "istiod-5f0c")
DEFINITION: Identity = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "gateways.networking.istio.io")


def deployment(available: int, target: Identity = ISTIOD, **status: Any) -> dict[str, Any]:
    """A Deployment of one replica."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": target[3], "namespace": target[2], "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": target[3]}}},
        "status": {
            "observedGeneration": 1,
            "replicas": 1,
            "updatedReplicas": 1,
            "availableReplicas": available,
            **status,
        },
    }


def pod(app: str = "istiod", namespace: str = "istio-system", **status: Any) -> dict[str, Any]:
    """A pod of a Deployment."""
    metadata = {"name": f"{app}-5f0c", "namespace": namespace, "labels": {"app": app, "pod-template-hash": "5f0c"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


def waits(reason: str, restarts: int = 0, message: str = "it was not found", **more: Any) -> dict[str, Any]:
    """The status of a pod whose only container waits."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "discovery", "state": state, "restartCount": restarts, **more}]}


def unschedulable() -> dict[str, Any]:
    """The status of a pod that fits nowhere."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return {"conditions": [{**condition, "message": "0/1 nodes are available: 1 Insufficient memory."}]}


def definition(established: bool) -> dict[str, Any]:
    """A definition of Istio's."""
    condition = {"type": "Established", "status": "True" if established else "False"}
    return {
        "apiVersion": DEFINITION[0],
        "kind": DEFINITION[1],
        "metadata": {"name": DEFINITION[3]},
        "status": {"conditions": [condition]},
    }


class FakeCluster:
    """Lists and watches from a script. Of each kind, the last list is given again and again; watches end empty.

    :ivar dict lists: successive answers to lists, by kind; an exception is raised
    :ivar dict watches: the events of successive watches, by kind; an exception among them is raised
    """

    def __init__(self, **lists: list[Any]) -> None:
        self.lists: dict[str, list[Any]] = lists
        self.watches: dict[str, list[list[Any]]] = {}
        self.listed: list[tuple[str, str | None]] = []
        self.watched: list[tuple[str, str | None, str]] = []

    def list_with_version(self, api_version: str, kind: str, namespace: str | None) -> tuple[list[Any], str]:
        """As kube.Cluster."""
        self.listed.append((kind, namespace))
        answers = self.lists.get(kind, [[]])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [one for one in answer if namespace in (None, one["metadata"].get("namespace"))], "7"

    def watch(
        self, api_version: str, kind: str, namespace: str | None, version: str, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """As kube.Cluster."""
        self.watched.append((kind, namespace, version))
        scripts = self.watches.get(kind)
        for event in scripts.pop(0) if scripts else []:
            if isinstance(event, Exception):
                raise event
            yield {"type": event[0], "object": event[1]}
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken pods count at once."""
    monkeypatch.setattr(waiting, "SETTLING", 0)


class Impatient(threading.Event):
    """A stop flag on which nobody waits for long."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait a moment."""
        return super().wait(0.01)


def wait(
    cluster: FakeCluster, *targets: Identity, timeout: float = LATE, say: Callable[[str], None] = lambda line: None
) -> dict[Identity, dict[str, Any]]:
    """Wait for targets, with hardly a pause between two lists."""
    waiter = Waiter(cluster, timeout, say)  # type: ignore[arg-type]
    waiter._stop = Impatient()
    return waiter.wait(targets)


def failure(cluster: FakeCluster, *targets: Identity, timeout: float = LATE) -> str:
    """The message with which a wait ends; one whose outcome is certain has to end long before its deadline."""
    started = time.monotonic()
    with pytest.raises(JobError) as caught:
        wait(cluster, *targets, timeout=timeout)
    assert time.monotonic() - started < LATE / 2
    return str(caught.value)


def test_ready_at_once() -> None:
    """The ready objects come back; pods are watched where workloads are, and nowhere else."""
    cluster = FakeCluster(Deployment=[[deployment(1)]], CustomResourceDefinition=[[definition(True)]])
    assert wait(cluster, ISTIOD, DEFINITION) == {ISTIOD: deployment(1), DEFINITION: definition(True)}
    assert set(cluster.listed) <= {
        ("Deployment", "istio-system"),
        ("Pod", "istio-system"),
        ("CustomResourceDefinition", None),
    }


def test_nothing_to_wait_for() -> None:
    """Ends at once, without a request."""
    cluster = FakeCluster()
    assert wait(cluster) == {}
    assert cluster.listed == []


@pytest.mark.parametrize("verb", ["ADDED", "MODIFIED"])
def test_ready_by_an_event(verb: str) -> None:
    """The watch goes on from the list; events need not say what they are about."""
    ready = {key: value for key, value in deployment(1).items() if key not in ("apiVersion", "kind")}
    cluster = FakeCluster(Deployment=[[deployment(0)] if verb == "MODIFIED" else [], [deployment(1)]])
    cluster.watches["Deployment"] = [[("BOOKMARK", {"metadata": {}}), (verb, ready)]]
    assert wait(cluster, ISTIOD) == {ISTIOD: deployment(1)}
    assert cluster.watched[0][2] == "7"


def test_deleted_object_is_not_ready() -> None:
    """It was ready when it was listed; what is waited for besides it takes longer."""
    cluster = FakeCluster(Deployment=[[deployment(1)], []], CustomResourceDefinition=[[definition(False)]])
    cluster.watches["Deployment"] = [[("DELETED", deployment(1))]]
    message = failure(cluster, ISTIOD, DEFINITION, timeout=SOON)
    assert "Deployment istio-system/istiod (does not exist)" in message


@pytest.mark.parametrize(
    "fault",
    [
        ApiError(410, "Expired", "too old resource version"),
        ApiError(500, "InternalError", "etcdserver: request timed out"),
        Unreachable("connection refused"),
    ],
    ids=["410", "500", "unreachable"],
)
@pytest.mark.parametrize("where", ["list", "watch"])
def test_fault_ends_in_another_list(fault: Exception, where: str) -> None:
    """An API server that restarts in between costs a wait nothing but time."""
    cluster = FakeCluster(Deployment=[[deployment(0)], [deployment(1)]])
    if where == "list":
        cluster.lists["Deployment"].insert(0, fault)
    else:
        cluster.watches["Deployment"] = [[("MODIFIED", deployment(0)), fault]]
    assert wait(cluster, ISTIOD) == {ISTIOD: deployment(1)}


def test_list_forgets_what_is_gone() -> None:
    """Of its own kind and namespace alone: the other gateway stays known."""
    cluster = FakeCluster(Deployment=[[deployment(1, GATEWAY)]], CustomResourceDefinition=[[definition(False)]])
    waiter = Waiter(cluster, SOON)  # type: ignore[arg-type]
    streams = [waiting._Stream(*key) for key in (ISTIOD[:3], GATEWAY[:3], DEFINITION[:3])]
    listed: set[tuple[str, str, str]] = set()
    waiter._take(("LIST", streams[0], [deployment(1)]), listed)
    waiter._take(("LIST", streams[1], [deployment(1, GATEWAY)]), listed)
    waiter._take(("LIST", streams[2], [definition(True)]), listed)
    waiter._take(("LIST", streams[0], []), listed)
    assert set(waiter._objects) == {GATEWAY, DEFINITION}
    waiter._take(("LIST", streams[2], []), listed)
    assert set(waiter._objects) == {GATEWAY}
    assert listed == {ISTIOD[:3], GATEWAY[:3], DEFINITION[:3]}


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("kind", "where"), [("Deployment", "namespace istio-system"), ("CustomResourceDefinition", "the cluster")]
)
def test_missing_right_ends_it(status: int, kind: str, where: str) -> None:
    """Waiting brings no rights: the server's own words are shown at once."""
    error = ApiError(status, "Forbidden", f'User "ci" cannot list {kind}')
    cluster = FakeCluster(**{kind: [error]})
    assert failure(cluster, ISTIOD, DEFINITION).startswith(
        f'{kind} objects in {where} cannot be watched: User "ci" cannot list {kind}. '
    )


def test_image_that_cannot_be_pulled() -> None:
    """Names the pod, its workload, the cause and the fix."""
    cluster = FakeCluster(Deployment=[[deployment(0)]], Pod=[[pod(**waits("ImagePullBackOff"))]])
    message = failure(cluster, ISTIOD)
    assert message.startswith(
        "Pod istio-system/istiod-5f0c of Deployment istio-system/istiod cannot start: "
        "container discovery: ImagePullBackOff: it was not found. Check the image name"
    )


def test_pull_that_succeeds_in_the_end() -> None:
    """A registry that was busy: ten seconds later the image is there."""
    busy = pod(**waits("ImagePullBackOff", message="503 Service Unavailable"))
    assert wait(FakeCluster(Deployment=[[deployment(0)]] * 4 + [[deployment(1)]], Pod=[[busy]]), ISTIOD)


def test_hopeless_by_an_event() -> None:
    """The pod fails after it was listed."""
    cluster = FakeCluster(Deployment=[[deployment(0)]], Pod=[[]])
    cluster.watches["Pod"] = [
        [("ADDED", pod(**waits("ContainerCreating"))), ("MODIFIED", pod(**waits("InvalidImageName")))]
    ]
    assert "InvalidImageName" in failure(cluster, ISTIOD)


def test_broken_pod_that_is_about_to_be_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A revert to the template before: its pods run, and the newest pod is the broken one that goes in a moment."""
    broken = {"containerStatuses": waits("ImagePullBackOff")["containerStatuses"]}
    both = deployment(1, replicas=2)
    monkeypatch.setattr(waiting, "SETTLING", 0.3)
    assert wait(FakeCluster(Deployment=[[both]] * 4 + [[deployment(1)]], Pod=[[pod(**broken)]]), ISTIOD)
    started = time.monotonic()
    assert "ImagePullBackOff" in failure(FakeCluster(Deployment=[[both]], Pod=[[pod(**broken)]]), ISTIOD)
    assert time.monotonic() - started >= 0.3


REFUSAL = 'pods "istiod-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
REFUSED = {"type": "ReplicaFailure", "status": "True", "message": REFUSAL}


def test_refused_pods() -> None:
    """Pod Security Admission refuses them, and the Deployment says so: there is no pod to look at."""
    cluster = FakeCluster(Deployment=[[deployment(0)], [deployment(0, conditions=[REFUSED])]])
    message = failure(cluster, ISTIOD)
    assert message.startswith(f"Deployment istio-system/istiod cannot start its pods: {REFUSAL}. ")
    assert "psp_rbac" in message


def test_a_refusal_from_before_may_be_mended_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its controller tries again in its own time: what was there before the wait counts only when it lasts."""
    monkeypatch.setattr(waiting, "GRACE", 0.2)
    before = deployment(0, conditions=[REFUSED])
    assert wait(FakeCluster(Deployment=[[before], [deployment(1)]]), ISTIOD)
    started = time.monotonic()
    assert REFUSAL in failure(FakeCluster(Deployment=[[before]]), ISTIOD)
    assert time.monotonic() - started >= 0.2


def test_a_refusal_of_what_is_new() -> None:
    """Cannot be an old one, however soon the controller was refused: it counts at once."""
    refused = FakeCluster(Deployment=[[deployment(0, conditions=[REFUSED])]])
    waiter = Waiter(refused, LATE)  # type: ignore[arg-type]
    waiter._stop = Impatient()
    started = time.monotonic()
    with pytest.raises(JobError, match="cannot start its pods"):
        waiter.wait([ISTIOD], created=[ISTIOD])
    assert time.monotonic() - started < LATE / 2


def test_crash_loop() -> None:
    """At the fourth restart it is one."""
    ended = {"lastState": {"terminated": {"exitCode": 255, "reason": "Error"}}}
    cluster = FakeCluster(Deployment=[[deployment(0)]], Pod=[[pod(**waits("CrashLoopBackOff", 4, **ended))]])
    message = failure(cluster, ISTIOD)
    assert "container discovery has restarted 4 times (exit code 255, Error)" in message
    assert "kubectl logs --previous -c discovery" in message


def test_crash_that_may_pass() -> None:
    """Three restarts are not a loop yet: the wait goes on to its deadline and shows the state."""
    cluster = FakeCluster(Deployment=[[deployment(0)]], Pod=[[pod(**waits("CrashLoopBackOff", 3))]])
    assert failure(cluster, ISTIOD, timeout=SOON) == (
        "Not ready after 0 s: Deployment istio-system/istiod (0/1 available; discovery: CrashLoopBackOff). "
        + waiting._SLOW
    )


@pytest.mark.parametrize(
    "stranger",
    [
        pod("prometheus", **waits("ImagePullBackOff")),
        pod(namespace="web", **waits("ImagePullBackOff")),
        {
            **pod(**waits("ImagePullBackOff")),
            "metadata": {**pod()["metadata"], "deletionTimestamp": "2026-11-22T18:50:00Z"},
        },
        {**pod(**waits("ImagePullBackOff")), "metadata": {"name": "bare", "namespace": "istio-system"}},
    ],
    ids=["another app's", "in another namespace", "about to go", "without labels"],
)
def test_pods_of_others_do_not_count(stranger: dict[str, Any]) -> None:
    """Neither for the outcome nor in the message."""
    other = ("apps/v1", "Deployment", "web", "x")
    cluster = FakeCluster(Deployment=[[deployment(0), deployment(1, other)]], Pod=[[stranger]])
    message = failure(cluster, ISTIOD, other, timeout=SOON)
    assert message == f"Not ready after 0 s: Deployment istio-system/istiod (0/1 available). {waiting._SLOW}"


def test_pods_of_what_is_ready_do_not_count() -> None:
    """One of many replicas may fail later; that is no matter of this wait."""
    cluster = FakeCluster(
        Deployment=[[deployment(1), deployment(0, GATEWAY)]], Pod=[[pod(**waits("ImagePullBackOff"))]]
    )
    assert failure(cluster, ISTIOD, GATEWAY, timeout=SOON) == (
        f"Not ready after 0 s: Deployment istio-ingress/gateway (0/1 available). {waiting._SLOW}"
    )


def test_deadline_names_all_that_is_not_ready() -> None:
    """Each with its state, and with the different states of its pods."""
    second = pod(containerStatuses=[{"name": "discovery", "state": {"running": {}}, "ready": False, "started": True}])
    second["metadata"]["name"] = "istiod-2"
    cluster = FakeCluster(
        Deployment=[[deployment(0)]],
        Pod=[[pod(**waits("ContainerCreating")), second]],
        CustomResourceDefinition=[[definition(False)]],
    )
    assert failure(cluster, ISTIOD, GATEWAY, DEFINITION, timeout=SOON) == (
        "Not ready after 0 s: Deployment istio-system/istiod (0/1 available; discovery: ContainerCreating; "
        "discovery: running, not ready); Deployment istio-ingress/gateway (does not exist); "
        f"CustomResourceDefinition gateways.networking.istio.io (not ready). {waiting._SLOW}"
    )


def test_unschedulable_pod_counts_after_a_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """An autoscaler may bring a node: the scheduler's no counts only when it lasts."""
    monkeypatch.setattr(waiting, "GRACE", 0.1)
    cluster = FakeCluster(Deployment=[[deployment(0)]], Pod=[[pod(**unschedulable())]])
    started = time.monotonic()
    message = failure(cluster, ISTIOD)
    assert time.monotonic() - started >= 0.1
    assert message.startswith(
        "Pod istio-system/istiod-5f0c cannot be scheduled: 0/1 nodes are available: 1 Insufficient memory. Free cap"
    )


def test_grace_is_at_most_half_of_the_time() -> None:
    """A short wait says what is wrong too, and not only that it is over."""
    cluster = FakeCluster(Deployment=[[deployment(0)]], Pod=[[pod(**unschedulable())]])
    assert "cannot be scheduled" in failure(cluster, ISTIOD, timeout=0.4)


def test_grace_starts_anew_once_a_pod_was_scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time without a node before that does not count."""
    monkeypatch.setattr(waiting, "GRACE", 30.0)
    now = [100.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    waiter = Waiter(FakeCluster(), 300.0)  # type: ignore[arg-type]
    for seconds, status in (
        (0, unschedulable()),
        (29, unschedulable()),
        (10, {}),
        (10, unschedulable()),
        (29, unschedulable()),
    ):
        now[0] += seconds
        waiter._objects = {ISTIOD: deployment(0), POD: pod(**status)}
        waiter._fail_if_hopeless([ISTIOD])
    now[0] += 2
    with pytest.raises(JobError):
        waiter._fail_if_hopeless([ISTIOD])


def test_nothing_is_certain_before_everything_is_listed() -> None:
    """The Deployment's list may be older than the pods'."""
    cluster = FakeCluster(Deployment=[[deployment(0)]], Pod=[Unreachable("connection refused")])
    cluster.lists["Deployment"] = [
        [deployment(0, conditions=[{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}])]
    ]
    assert failure(cluster, ISTIOD, timeout=SOON).startswith("Not ready after")


def test_progress_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for, now and then."""
    monkeypatch.setattr(waiting, "PROGRESS_EVERY", 0.15)
    lines: list[str] = []
    cluster = FakeCluster(Deployment=[[deployment(0)]])
    with pytest.raises(JobError):
        wait(cluster, ISTIOD, timeout=SOON, say=lines.append)
    assert 1 <= len(lines) <= 4
    assert lines[-1] == "0 s: waiting for Deployment istio-system/istiod (0/1 available)"


@pytest.mark.parametrize("ready", [0, 1])
def test_threads_end_with_the_wait(ready: int) -> None:
    """Whatever its outcome."""
    before = set(threading.enumerate())
    cluster = FakeCluster(Deployment=[[deployment(ready)]])
    if ready:
        wait(cluster, ISTIOD)
    else:
        failure(cluster, ISTIOD, timeout=SOON)
    deadline = time.monotonic() + 2
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


def test_targets_may_be_an_iterator() -> None:
    """They are gone through more than once."""
    waiter = Waiter(FakeCluster(Deployment=[[deployment(1)]]), LATE)  # type: ignore[arg-type]
    assert set(waiter.wait(identity(one) for one in [deployment(1)])) == {ISTIOD}


# -- addresses ---------------------------------------------------------------------------------------------------------

SERVICE: Identity = ("v1", "Service", "istio-system", "in")
A_LIST_LATER = 0.8  # seconds: a deadline after the second list, which comes 0.5 s after a watch that ends


def balanced(*ingress: dict[str, str]) -> dict[str, Any]:
    """A Service of type LoadBalancer."""
    meta = {"name": SERVICE[3], "namespace": SERVICE[2]}
    status = {"loadBalancer": {"ingress": list(ingress)}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"type": "LoadBalancer"}, "status": status}


class Explains:
    """Gives causes in turn, the last one again and again."""

    def __init__(self, *causes: Cause | None) -> None:
        self.causes = list(causes)
        self.asked = 0

    def __call__(self, _service: dict[str, Any]) -> Cause | None:
        """One cause."""
        self.asked += 1
        return self.causes.pop(0) if len(self.causes) > 1 else self.causes[0]


def wait_for_address(
    explain: Explains, timeout: float = SOON, ingress: tuple[dict[str, str], ...] = ()
) -> tuple[str, list[str]]:
    """Wait. :returns: the message of the failure, and the lines of progress"""
    lines: list[str] = []
    cluster = FakeCluster(Service=[[balanced(*ingress)]])
    try:
        Waiter(cluster, timeout, lines.append, explain).wait([SERVICE])  # type: ignore[arg-type]
    except JobError as error:
        return str(error), lines
    return "", lines


def test_address_that_comes_is_not_explained() -> None:
    """Nothing is read for it."""
    explain = Explains(Cause("never", "mind"))
    assert wait_for_address(explain, LATE, ({"hostname": "a.elb.example.com"},)) == ("", [])
    assert explain.asked == 0


def test_pending_address_is_explained_40324(monkeypatch: pytest.MonkeyPatch) -> None:
    """istio#40324: while it is waited for, and in the end, with the fix."""
    monkeypatch.setattr(waiting, "PROGRESS_EVERY", 0.15)
    message, lines = wait_for_address(Explains(Cause("nothing here gives an address", "use node ports")), A_LIST_LATER)
    pending = "Service istio-system/in (no external address yet; nothing here gives an address)"
    assert lines[0].endswith(f"waiting for {pending}")
    assert message == f"Not ready after 1 s: {pending}. Use node ports."


def test_explanation_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last one is told."""
    monkeypatch.setattr(waiting, "PROGRESS_EVERY", 0.15)
    message, lines = wait_for_address(Explains(Cause("quota", "raise it"), None), A_LIST_LATER)
    assert "quota" in lines[0]
    assert message == f"Not ready after 1 s: Service istio-system/in (no external address yet). {waiting._SLOW}"


def test_refused_address_ends_the_wait_2374(monkeypatch: pytest.MonkeyPatch) -> None:
    """kind#2374: after a time of grace, in which a pool may be made."""
    monkeypatch.setattr(waiting, "PROGRESS_EVERY", 0.02)
    monkeypatch.setattr(waiting, "GRACE", 0.1)
    explain = Explains(Cause("metallb says AllocationFailed: no available IPs", "add addresses", certain=True))
    started = time.monotonic()
    message, lines = wait_for_address(explain, LATE)
    assert 0.1 <= time.monotonic() - started < LATE / 2
    assert lines != []
    assert message == (
        "Service istio-system/in gets no external address: metallb says AllocationFailed: no available IPs. "
        "Add addresses."
    )


def test_refusal_that_is_mended_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of grace begins anew."""
    monkeypatch.setattr(waiting, "PROGRESS_EVERY", 0.02)
    monkeypatch.setattr(waiting, "GRACE", 0.1)
    refused = Cause("AllocationFailed", "add addresses", certain=True)
    message, _lines = wait_for_address(Explains(refused, refused, None, refused, None), SOON)
    assert message.startswith("Not ready after")
