# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One writer at a time: the living are waited for, the dead are not, and nobody gives back what is not his."""

from __future__ import annotations

import copy
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils import lease
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.kube import ApiError

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=timezone.utc)
MESH = "istio-system"


def text(moment: datetime) -> str:
    """As Kubernetes writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def a_lease(
    holder: str | None = "other/1", renewed: datetime | None = None, seconds: int | None = 30
) -> dict[str, Any]:
    """A Lease, renewed just now by the clock of this machine."""
    spec = {
        "holderIdentity": holder,
        "renewTime": text(renewed or datetime.now(timezone.utc)),
        "leaseDurationSeconds": seconds,
    }
    return {"metadata": {"name": "meshops-istio", "namespace": MESH, "resourceVersion": "1"}, "spec": spec}


@pytest.fixture(scope="module")
def dead_process() -> int:
    """A process that was."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


class FakeCluster:
    """Holds one Lease, with the API server's rules on conflicts."""

    def __init__(self, held: dict[str, Any] | None = None) -> None:
        self.lease = held
        self.log: list[str] = []
        self.before: dict[str, Callable[[], None]] = {}

    def _note(self, verb: str) -> None:
        """Somebody else may come in between."""
        self.log.append(verb)
        self.before.pop(verb, lambda: None)()

    def create(self, obj: dict[str, Any]) -> dict[str, Any]:
        """A second one is a conflict."""
        self._note("create")
        if self.lease:
            raise ApiError(409, "AlreadyExists", "leases already exists")
        self.lease = copy.deepcopy(obj)
        self.lease["metadata"]["resourceVersion"] = "1"
        return copy.deepcopy(self.lease)

    def get(self, api_version: str, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """The Lease."""
        assert (api_version, kind, name, namespace) == ("coordination.k8s.io/v1", "Lease", "meshops-istio", MESH)
        self._note("get")
        return copy.deepcopy(self.lease)

    def replace(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Only as it was read."""
        self._note("replace")
        current = self.lease and self.lease["metadata"]["resourceVersion"]
        if obj["metadata"]["resourceVersion"] != current:
            raise ApiError(409, "Conflict", "the object has been modified")
        self.lease = copy.deepcopy(obj)
        self.lease["metadata"]["resourceVersion"] = str(int(current or 0) + 1)
        return copy.deepcopy(self.lease)

    def delete(self, _obj: dict[str, Any]) -> bool:
        """Whoever holds it."""
        self._note("delete")
        self.lease = None
        return True

    def taken_by(self, holder: str) -> None:
        """Another run takes it."""
        self.lease = {**a_lease(holder), "metadata": {**a_lease()["metadata"], "resourceVersion": "77"}}


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses that pass at once."""
    found: list[float] = []

    def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=lambda: sum(found), sleep=sleep))
    return found


def held(cluster: FakeCluster, said: list[str] | None = None, timeout: float = 40) -> Any:
    """The Lease, for a with statement."""
    return lease.held(cluster, MESH, timeout, (said if said is not None else []).append)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (a_lease(renewed=NOW - timedelta(seconds=30)), False),
        (a_lease(renewed=NOW - timedelta(seconds=31)), True),
        (a_lease(renewed=NOW - timedelta(seconds=31), seconds=60), False),
        (a_lease(renewed=NOW - timedelta(seconds=31), seconds=None), True),
        (a_lease(renewed=NOW + timedelta(seconds=9)), False),
        (a_lease(holder=""), True),
        (a_lease(holder=None), True),
        ({"spec": {"holderIdentity": "a/1"}}, True),
        ({"spec": {"holderIdentity": "a/1", "renewTime": "2026-11-22T19:59:50Z"}}, False),
        ({"spec": None}, True),
        ({}, True),
    ],
)
def test_expired(found: dict[str, Any], expected: bool) -> None:
    """No sign of life for as long as the holder said; a Lease of nobody is nobody's."""
    assert lease.expired(found, NOW) is expected


def test_dead_here(dead_process: int) -> None:
    """Only a process of this machine can be known to be gone."""
    here = socket.gethostname()
    assert lease.dead_here(a_lease(f"{here}/{dead_process}"))
    assert not lease.dead_here(a_lease(f"{here}/{os.getpid()}"))
    assert not lease.dead_here(a_lease(f"{here}-2/{dead_process}"))
    assert not lease.dead_here(a_lease(f"{here}/web-1"))
    assert not lease.dead_here(a_lease(here))
    assert not lease.dead_here({})


@pytest.mark.parametrize(
    ("holder", "seconds_ago", "expected"), [("here/DEAD", 1, True), ("other/1", 31, True), ("other/1", 1, False)]
)
def test_left_behind(holder: str, seconds_ago: int, expected: bool, dead_process: int) -> None:
    """By a process of this machine that is gone, or by one that shows no sign of life. Nothing is written."""
    holder = holder.replace("here", socket.gethostname()).replace("DEAD", str(dead_process))
    cluster = FakeCluster(a_lease(holder, datetime.now(timezone.utc) - timedelta(seconds=seconds_ago)))
    assert lease.left_behind(cluster, MESH) is expected  # type: ignore[arg-type]
    assert set(cluster.log) <= {"get"}
    assert not lease.left_behind(FakeCluster(), MESH)  # type: ignore[arg-type]


def test_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel does not let us signal it, and so tells that it is there."""

    def kill(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(lease.os, "kill", kill)
    assert lease.alive(1)


def test_free_lease() -> None:
    """Taken, with what others need to judge us by, and given back."""
    cluster = FakeCluster()
    with held(cluster) as from_the_dead:
        assert from_the_dead is False
        assert cluster.lease is not None
        assert cluster.lease["spec"]["holderIdentity"] == f"{socket.gethostname()}/{os.getpid()}"
        assert cluster.lease["spec"]["leaseDurationSeconds"] == lease.DURATION
        assert not lease.expired(cluster.lease, datetime.now(timezone.utc))
        assert cluster.lease["metadata"]["namespace"] == MESH
    assert cluster.lease is None


def test_given_back_after_a_failure() -> None:
    """However the block ends."""
    cluster = FakeCluster()
    with pytest.raises(JobError, match="helm failed"), held(cluster):
        raise JobError("helm failed")
    assert cluster.lease is None


@pytest.mark.parametrize("kind", ["expired", "dead"])
def test_lease_of_the_dead(kind: str, dead_process: int, slept: list[float]) -> None:
    """Taken over at once; the block is told, because a dead run may have left more behind."""
    renewed = datetime.now(timezone.utc) - timedelta(seconds=31 if kind == "expired" else 0)
    cluster = FakeCluster(
        a_lease("other/1" if kind == "expired" else f"{socket.gethostname()}/{dead_process}", renewed)
    )
    with held(cluster) as from_the_dead:
        assert from_the_dead is True
        assert cluster.lease is not None
        assert cluster.lease["spec"]["holderIdentity"] == lease.holder_identity()
    assert cluster.lease is None
    assert slept == []


def test_lease_of_the_living(slept: list[float]) -> None:
    """Waited for, told once, and taken when it is given back."""
    cluster = FakeCluster(a_lease("ci-7/42"))

    def give_back() -> None:
        cluster.lease = None if len(slept) >= 3 else cluster.lease
        cluster.before["create"] = give_back

    cluster.before["create"] = give_back
    said: list[str] = []
    with held(cluster, said) as from_the_dead:
        assert from_the_dead is False
    assert slept == [1, 1, 1]
    assert said == ["waiting for Lease istio-system/meshops-istio, held by ci-7/42"]


def test_lease_that_stays_held(slept: list[float]) -> None:
    """The message names holder and Lease, and what to do; the Lease stays the other's."""
    cluster = FakeCluster(a_lease("ci-7/42", datetime(2099, 1, 1, tzinfo=timezone.utc)))
    with pytest.raises(JobError) as caught, held(cluster):
        pytest.fail("two writers")
    assert caught.value.message == (
        "Another run writes to this mesh: ci-7/42 holds Lease istio-system/meshops-istio, renewed at "
        "2099-01-01T00:00:00.000000Z. Wait for it to end; a Lease of a dead run expires after 30 s."
    )
    assert 40 <= sum(slept) <= 42
    assert "delete" not in cluster.log


def test_two_runs_take_over_the_same_lease(slept: list[float]) -> None:
    """One is faster; the other sees a conflict and waits for it."""
    cluster = FakeCluster(a_lease(renewed=datetime(2020, 1, 1, tzinfo=timezone.utc)))
    cluster.before["replace"] = lambda: cluster.taken_by("faster/2")
    with pytest.raises(JobError, match="faster/2 holds Lease"), held(cluster, timeout=3):
        pytest.fail("two writers")
    assert cluster.lease is not None
    assert cluster.lease["spec"]["holderIdentity"] == "faster/2"


def test_lease_that_is_given_back_between_two_looks(slept: list[float]) -> None:
    """It is there when we create ours, and gone when we look: we try again."""
    cluster = FakeCluster(a_lease())

    def give_back() -> None:
        cluster.lease = None

    cluster.before["get"] = give_back
    with held(cluster):
        assert cluster.log == ["create", "get", "create"]


@pytest.mark.parametrize(("status", "message"), [(403, "leases is forbidden"), (404, "namespaces not found")])
def test_lease_that_cannot_be_taken(status: int, message: str) -> None:
    """The message names it, and why."""
    cluster = FakeCluster()

    def refuse() -> None:
        raise ApiError(status, "", message)

    cluster.before["create"] = refuse
    with pytest.raises(JobError, match=f"^Lease istio-system/meshops-istio cannot be taken: {message}$"), held(cluster):
        pytest.fail("no lease")


def renewals(monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, number: int) -> threading.Event:
    """Renew often; the event is set after a number of renewals or failures to."""
    monkeypatch.setattr(lease, "RENEW_EVERY", 0.01)
    done = threading.Event()

    def count() -> None:
        if cluster.log.count("get") >= number:
            done.set()
        cluster.before["get"] = count

    cluster.before["get"] = count
    return done


def test_lease_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the block runs, a sign of life is given; faults on the way do not end that."""
    cluster = FakeCluster()
    done = renewals(monkeypatch, cluster, 4)

    def fail() -> None:
        raise ApiError(500, "", "etcd leader changed")

    with held(cluster):
        assert cluster.lease is not None
        first = cluster.lease["spec"]["renewTime"]
        cluster.before["replace"] = fail
        assert done.wait(5)
        assert cluster.lease["spec"]["renewTime"] > first
        assert cluster.lease["spec"]["acquireTime"] <= first
    asked = len(cluster.log)
    time.sleep(0.03)
    assert len(cluster.log) == asked


def test_lease_that_was_taken_from_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """We could not renew it for too long: it is the other's now, to renew and to give back."""
    cluster = FakeCluster()
    done = renewals(monkeypatch, cluster, 3)
    with held(cluster):
        cluster.taken_by("other/1")
        assert done.wait(5)
    assert cluster.lease is not None
    assert cluster.lease["spec"]["holderIdentity"] == "other/1"
    assert cluster.lease["metadata"]["resourceVersion"] == "77"


def test_lease_that_cannot_be_given_back() -> None:
    """The work is done: the Lease expires by itself."""
    cluster = FakeCluster()

    def fail() -> None:
        raise ApiError(500, "", "etcd leader changed")

    with held(cluster):
        cluster.before["delete"] = fail
    assert cluster.log[-1] == "delete"
