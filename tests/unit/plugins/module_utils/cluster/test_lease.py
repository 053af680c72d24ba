# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One writer at a time: the living are waited for, the dead are not, and nobody gives back what is not his.

Who is alive is judged by what is seen: no test here may depend on the times that stand in a Lease.
"""

from __future__ import annotations

import copy
import os
import re
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

from ansible_collections.meshops.istio.plugins.module_utils.cluster import lease, process
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError, Unreachable
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

MESH = "istio-system"
RUN = "0" * 32
#: How far a holder's clock is from ours.
SKEWS = [timedelta(minutes=minutes) for minutes in (-10, 0, 10)]


def text(skew: timedelta = timedelta(0)) -> str:
    """This moment, by a clock that is not ours."""
    return (datetime.now(timezone.utc) + skew).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def a_lease(holder: str | None = "other/1", renewed: str | None = None, seconds: int | None = 30) -> dict[str, Any]:
    """A Lease."""
    spec = {"holderIdentity": holder, "renewTime": renewed or text(), "leaseDurationSeconds": seconds}
    return {"metadata": {"name": "meshops-istio", "namespace": MESH, "resourceVersion": "1", "uid": "a"}, "spec": spec}


@pytest.fixture(scope="module")
def killed() -> str:
    """The holder's name of a run of this machine that is gone."""
    run = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = process.mark(run.pid)
    run.kill()
    run.wait()
    return f"{socket.gethostname()}/{run.pid}_{mark}_{RUN}"


class FakeCluster:
    """Holds one Lease, with the API server's rules on conflicts."""

    def __init__(self, held: dict[str, Any] | None = None) -> None:
        self.lease = held
        self.log: list[str] = []
        self.before: dict[str, Callable[[], None]] = {}
        self.after: dict[str, Callable[[], None]] = {}

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
        self.lease["metadata"].update(resourceVersion="1", uid="b")
        self.after.pop("create", lambda: None)()
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
        self.after.pop("replace", lambda: None)()
        return copy.deepcopy(self.lease)

    def delete(self, obj: dict[str, Any], as_read: bool) -> bool:
        """Only as it was read."""
        self._note("delete")
        assert as_read
        if self.lease and obj["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified")
        self.lease = None
        return True

    def taken_by(self, holder: str) -> None:
        """Another run takes it."""
        meta = {**a_lease()["metadata"], "resourceVersion": "77"}
        self.lease = {**a_lease(holder), "metadata": meta}

    @property
    def holder(self) -> str:
        """Whose it is."""
        assert self.lease is not None
        return self.lease["spec"]["holderIdentity"]


class Clock:
    """A monotonic clock that goes on by sleeping; what happens at a moment may be said before.

    :ivar list slept: the pauses
    :ivar dict at: what happens once a moment has come
    """

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.at: dict[float, Callable[[], None]] = {}
        self.every: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        """Seconds slept."""
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.every()
        for moment in [moment for moment in self.at if moment <= self.monotonic()]:
            self.at.pop(moment)()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time passes at once."""
    found = Clock()
    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=found.monotonic, sleep=found.sleep))
    return found


def held(cluster: FakeCluster, said: list[str] | None = None, timeout: float = 40) -> Any:
    """The Lease, for a with statement."""
    return lease.held(cluster, MESH, timeout, (said if said is not None else []).append)  # type: ignore[arg-type]


# -- whose it is -------------------------------------------------------------------------------------------------------


def test_holder_identity() -> None:
    """For people it is host and process; no two are alike, those of one process neither."""
    mine = lease.holder_identity()
    assert mine.startswith(f"{socket.gethostname()}/{os.getpid()}_{process.mark()}_")
    assert mine != lease.holder_identity()
    assert lease.holder_of(a_lease(mine)) == f"{socket.gethostname()}/{os.getpid()}"


@pytest.mark.parametrize("holder", ["ci-7/42", "someone", "", None, "a/b/7", "ci_7/42_x"])
def test_holder_of_another_form(holder: str | None) -> None:
    """Told as it is."""
    assert lease.holder_of(a_lease(holder)) == (holder or "")


def test_dead_here(killed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a process that can be seen from here can be known to be gone."""
    host, dead = socket.gethostname(), re.sub("_.*", "", killed).rpartition("/")[2]
    assert lease.dead_here(a_lease(killed))
    for holder in (
        lease.holder_identity(),
        killed.replace(host, f"{host}-2", 1),
        killed.replace("_", "_0", 1),  # of another PID namespace, or another kernel
        f"{host}/{dead}__{RUN}",  # of a machine where nothing tells
        f"{host}/{dead}",  # of a form that says no more
        host,
        None,
    ):
        assert not lease.dead_here(a_lease(holder)), holder
    assert not lease.dead_here({"metadata": {}})
    monkeypatch.setattr(process, "_PROC", process.Path("/nowhere"))
    assert not lease.dead_here(a_lease(killed))


# -- judged by sight ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.parametrize("form", ["other/1", f"other/1_0011aabbccdd-77_{RUN}"])
def test_holder_that_shows_no_sign_of_life(form: str, skew: timedelta, clock: Clock) -> None:
    """Taken over when it has not changed for 30 s in our sight, whatever its times say; neither before nor later."""
    cluster, said = FakeCluster(a_lease(form, text(skew))), []
    with held(cluster, said) as ours:
        assert ours.from_the_dead is True
        assert cluster.holder.startswith(socket.gethostname())
        assert clock.slept == [1.0] * 30
    assert cluster.lease is None
    assert said == [
        "Lease istio-system/meshops-istio is held by other/1: waiting up to 30 s for a sign that it is alive",
        "Lease istio-system/meshops-istio is taken over from other/1, which is no longer alive",
    ]


@pytest.mark.parametrize("skew", SKEWS)
def test_holder_that_is_alive(skew: timedelta, clock: Clock) -> None:
    """As long as it renews its Lease: named, and left alone, whatever its clock says."""
    cluster, said = FakeCluster(a_lease(renewed=text(skew))), []

    def renew() -> None:
        if cluster.lease and len(clock.slept) % 8 == 0:
            cluster.lease["spec"]["renewTime"] = text(skew)

    clock.every = renew
    with pytest.raises(JobError) as caught, held(cluster, said, timeout=100):
        pytest.fail("two writers")
    assert str(caught.value) == (
        "Another run is writing to this mesh: other/1 holds Lease istio-system/meshops-istio and is still active after "
        "101 s. Wait for it to end and run again, or increase istio_helm_wait_timeout."
    )
    assert set(cluster.log) == {"get"}
    assert said == [
        "Lease istio-system/meshops-istio is held by other/1: waiting up to 30 s for a sign that it is alive",
        *(
            "Lease istio-system/meshops-istio is held by other/1, which is alive: waiting up to "
            f"{left} s for it to finish"
            for left in (92, 62, 32, 2)
        ),
    ]


@pytest.mark.parametrize(("seconds", "slept"), [(6, 6), (None, 30), (35, 35)])
def test_holder_says_itself_how_long(seconds: int | None, slept: int, clock: Clock) -> None:
    """As client-go takes it."""
    with held(FakeCluster(a_lease(seconds=seconds))):
        assert len(clock.slept) == slept


def test_holder_that_may_keep_it_for_longer_than_we_wait(clock: Clock) -> None:
    """Named, with how long it may."""
    words = r"other/1 holds .* and has not renewed it for 41 s, but it expires only after 3600 s\."
    with pytest.raises(JobError, match=words), held(FakeCluster(a_lease(seconds=3600))):
        pytest.fail("two writers")


def test_holder_that_dies_while_we_wait(clock: Clock) -> None:
    """From its last sign of life on."""
    cluster = FakeCluster(a_lease())

    def renew() -> None:
        assert cluster.lease
        cluster.lease["spec"]["renewTime"] = text()

    clock.at = {12.0: renew}
    with held(cluster, timeout=60) as ours:
        assert ours.from_the_dead is True
    assert 42 <= clock.monotonic() <= 43


def test_another_run_that_takes_it_from_the_dead(clock: Clock) -> None:
    """It is watched anew: what we have seen of the one before says nothing."""
    cluster = FakeCluster(a_lease())
    clock.at = {29.0: lambda: cluster.taken_by("faster/2")}
    with pytest.raises(JobError, match="faster/2 holds Lease"), held(cluster):
        pytest.fail("two writers")
    assert cluster.holder == "faster/2"


def test_what_others_write_to_a_lease_is_no_sign_of_life(clock: Clock) -> None:
    """A label, say, again and again."""
    cluster = FakeCluster(a_lease())

    def label() -> None:
        assert cluster.lease
        cluster.lease["metadata"]["resourceVersion"] = str(len(clock.slept) + 1)

    clock.every = label
    with held(cluster) as ours:
        assert ours.from_the_dead is True


def test_killed_run_of_this_machine(killed: str, clock: Clock) -> None:
    """Need not be watched."""
    with held(FakeCluster(a_lease(killed))) as ours:
        assert ours.from_the_dead is True
    assert clock.slept == []


@pytest.mark.parametrize("holder", ["", None])
def test_lease_of_nobody(holder: str | None, clock: Clock) -> None:
    """Given up in order: taken at once, and nobody has left anything behind."""
    with held(FakeCluster(a_lease(holder))) as ours:
        assert ours.from_the_dead is False
    assert clock.slept == []


@pytest.mark.parametrize("skew", SKEWS)
def test_left_behind(skew: timedelta, clock: Clock, killed: str) -> None:
    """Asked without taking it: the dead are told from the living by sight too. Nothing is written."""
    cluster, said = FakeCluster(a_lease(renewed=text(skew))), []

    def renew() -> None:
        assert cluster.lease
        cluster.lease["spec"]["renewTime"] = text(skew)

    def asked(held: dict[str, Any] | None = cluster.lease) -> bool:
        cluster.lease = held
        return lease.left_behind(cluster, MESH, 40, said.append)  # type: ignore[arg-type]

    assert asked()
    assert clock.monotonic() == 30
    assert said == [
        "Lease istio-system/meshops-istio is held by other/1: waiting up to 30 s for a sign that it is alive"
    ]
    clock.at = {39.0: renew}
    assert not asked(a_lease(renewed=text(skew)))
    assert clock.monotonic() == 39
    assert asked(a_lease(killed))
    assert not asked(a_lease(""))
    assert not asked(None)
    assert clock.monotonic() == 39
    assert set(cluster.log) == {"get"}


def test_left_behind_is_not_watched_for_ever(clock: Clock) -> None:
    """Who may hold it for an hour is taken to be alive; and so is who takes it from another."""
    assert not lease.left_behind(FakeCluster(a_lease(seconds=3600)), MESH, 40, lambda _line: None)  # type: ignore[arg-type]
    assert clock.monotonic() == 40
    cluster = FakeCluster(a_lease())
    clock.at = {45.0: lambda: cluster.taken_by("faster/2")}
    assert not lease.left_behind(cluster, MESH, 40, lambda _line: None)  # type: ignore[arg-type]
    assert clock.monotonic() == 45


# -- taken, kept and given back ----------------------------------------------------------------------------------------


def test_free_lease() -> None:
    """Taken, with what others need to judge us by, and given back."""
    cluster = FakeCluster()
    with held(cluster) as ours:
        assert ours.from_the_dead is False
        assert cluster.lease is not None
        assert cluster.lease["spec"]["leaseDurationSeconds"] == lease.DURATION
        assert cluster.lease["spec"]["acquireTime"] == cluster.lease["spec"]["renewTime"]
        assert cluster.lease["metadata"]["namespace"] == MESH
    assert cluster.lease is None


@pytest.mark.parametrize("error", [JobError("helm failed"), KeyboardInterrupt()])
def test_given_back_after_a_failure(error: BaseException) -> None:
    """However the block ends."""
    cluster = FakeCluster()
    with pytest.raises(type(error)), held(cluster):
        raise error
    assert cluster.lease is None


def test_lease_of_the_living(clock: Clock) -> None:
    """Waited for, and taken when it is given back."""
    cluster = FakeCluster(a_lease("ci-7/42"))

    def give_back() -> None:
        cluster.lease = None

    clock.at = {3.0: give_back}
    with held(cluster) as ours:
        assert ours.from_the_dead is False
    assert clock.slept == [1, 1, 1]


@pytest.mark.parametrize(("verb", "from_the_dead"), [("create", False), ("replace", True)])
def test_answer_that_is_lost(verb: str, from_the_dead: bool, clock: Clock, killed: str) -> None:
    """The request is made again, and is a conflict with itself: what we find is ours, and was taken as it was taken."""
    cluster = FakeCluster(a_lease(killed) if verb == "replace" else None)

    def lost() -> None:
        raise ApiError(409, "AlreadyExists", "leases already exists")

    cluster.after[verb] = lost
    with held(cluster) as ours:
        assert ours.from_the_dead is from_the_dead
        assert cluster.holder.startswith(socket.gethostname())
    assert clock.slept == []
    assert cluster.lease is None


def test_two_runs_take_over_the_same_lease(clock: Clock) -> None:
    """One is faster; the other sees a conflict and waits for it."""
    cluster = FakeCluster(a_lease())
    cluster.before["replace"] = lambda: cluster.taken_by("faster/2")
    with pytest.raises(JobError, match="faster/2 holds Lease"), held(cluster):
        pytest.fail("two writers")
    assert cluster.holder == "faster/2"


def test_lease_that_is_given_back_between_two_looks(clock: Clock) -> None:
    """It is there when we create ours, and gone when we look: we try again."""
    cluster = FakeCluster()

    def gone() -> None:
        cluster.lease = None

    def appear() -> None:
        cluster.lease = a_lease()
        cluster.before["get"] = gone

    cluster.before["create"] = appear
    with held(cluster):
        assert cluster.log == ["get", "create", "get", "create"]


@pytest.mark.parametrize(("status", "message"), [(403, "leases is forbidden"), (404, "namespaces not found")])
@pytest.mark.parametrize("verb", ["get", "create"])
def test_lease_that_cannot_be_taken(verb: str, status: int, message: str) -> None:
    """The message names it, and why."""
    cluster = FakeCluster()

    def refuse() -> None:
        raise ApiError(status, "", message)

    cluster.before[verb] = refuse
    words = f"^Lease istio-system/meshops-istio cannot be acquired: {message}. Check that "
    with pytest.raises(JobError, match=words), held(cluster):
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
    done = renewals(monkeypatch, cluster, 5)

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
    done = renewals(monkeypatch, cluster, 4)
    with held(cluster):
        cluster.taken_by("other/1")
        assert done.wait(5)
    assert cluster.holder == "other/1"
    assert cluster.lease is not None
    assert cluster.lease["metadata"]["resourceVersion"] == "77"


def test_given_back_while_another_takes_it() -> None:
    """Between our look and our deletion: it stays the other's."""
    cluster = FakeCluster()
    with held(cluster):
        cluster.before["delete"] = lambda: cluster.taken_by("other/1")
    assert cluster.holder == "other/1"


def test_lease_that_cannot_be_given_back() -> None:
    """The work is done: the Lease expires by itself."""
    cluster = FakeCluster()

    def fail() -> None:
        raise ApiError(500, "", "etcd leader changed")

    with held(cluster):
        cluster.before["delete"] = fail
    assert cluster.log[-1] == "delete"


# -- before each write -------------------------------------------------------------------------------------------------


def test_still_ours() -> None:
    """It is renewed, so that nobody takes it while helm starts; also after a pause that nobody used."""
    cluster = FakeCluster()
    with held(cluster) as ours:
        assert cluster.lease is not None
        first = cluster.lease["spec"]["renewTime"]
        ours.still()
        assert cluster.lease["spec"]["renewTime"] > first


def test_still_ours_though_it_changed() -> None:
    """Somebody labels it just then, or the answer to our renewal was lost."""
    cluster = FakeCluster()
    with held(cluster) as ours:

        def label() -> None:
            assert cluster.lease
            version = cluster.lease["metadata"]["resourceVersion"]
            cluster.lease["metadata"]["resourceVersion"] = f"{version}0"

        cluster.before["replace"] = label
        ours.still()

        def again() -> None:
            label()
            cluster.before["replace"] = again

        cluster.log.clear()
        again()
        with pytest.raises(JobError, match="cannot be renewed: the object has been modified"):
            ours.still()
        assert cluster.log.count("replace") == 10
        cluster.before.clear()
    assert cluster.lease is None


def test_not_ours_any_more() -> None:
    """Nothing more may be written: why, and what to do."""
    cluster = FakeCluster()
    with held(cluster) as ours:
        cluster.taken_by(f"ci-7/42_0011aabbccdd-77_{RUN}")
        with pytest.raises(JobError) as caught:
            ours.still()
        assert str(caught.value) == (
            "Lease istio-system/meshops-istio was taken over by ci-7/42 because this run could not renew it for 30 s. "
            "Nothing more was written. Wait for that run to end, and run again."
        )
        cluster.lease = None
        with pytest.raises(JobError, match="was deleted while this run held it, so another run may be writing"):
            ours.still()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ApiError(500, "", "etcd leader changed"), "meshops-istio cannot be renewed: etcd leader changed"),
        (Unreachable("The API server cannot be reached."), "cannot be reached"),
    ],
)
@pytest.mark.parametrize("verb", ["get", "replace"])
def test_cannot_be_renewed(verb: str, error: Exception, words: str) -> None:
    """Then another may take it at any moment."""
    cluster = FakeCluster()

    def fail() -> None:
        raise error

    with held(cluster) as ours:
        cluster.before[verb] = fail
        with pytest.raises(JobError, match=words):
            ours.still()
