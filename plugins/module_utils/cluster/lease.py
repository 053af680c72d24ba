# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One writer at a time: a Lease in Istio's namespace while Helm releases are written.

Helm's own state is a series of secrets that two writers can garble; server-side apply needs no such lock.

Who holds it is alive as long as we see its Lease change, by our own monotonic clock, as client-go's leaderelection
judges (https://pkg.go.dev/k8s.io/client-go/tools/leaderelection). The times in a Lease are for people: they are written
by the holder's clock and compared with no other.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import process
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

NAME = "meshops-istio"
DURATION = 30  # seconds without a change after which others may take the Lease
RENEW_EVERY = 8.0  # seconds
LOOK_EVERY = 1.0  # seconds between two looks at another's Lease
SAY_EVERY = 30.0  # seconds between two lines of progress
_ATTEMPTS = 10  # to write what others write to at the same time
_API = ("coordination.k8s.io/v1", "Lease", NAME)
_IDENTITY = re.compile(r"^(?P<shown>(?P<host>.+)/(?P<pid>\d+))_(?P<mark>[0-9a-f]*-?\d*)_(?P<run>[0-9a-f]{32})$")

Lease = dict[str, Any]
Say = Callable[[str], None]


def holder_identity() -> str:
    """Who we are: host and process, for people; what tells that process from others; and a word that is never again."""
    return f"{socket.gethostname()}/{os.getpid()}_{process.mark()}_{uuid.uuid4().hex}"


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _object(namespace: str, holder: str) -> Lease:
    api_version, kind, name = _API
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "meshops.istio"}},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": DURATION,
            "acquireTime": _now(),
            "renewTime": _now(),
        },
    }


def _spec(lease: Lease) -> dict[str, Any]:
    return lease.get("spec") or {}


def holder_of(lease: Lease) -> str:
    """The holder as people know it, ``HOST/PID`` of one of our runs; ``""`` for nobody."""
    identity = _spec(lease).get("holderIdentity") or ""
    match = _IDENTITY.match(identity)
    return match["shown"] if match else identity


def dead_here(lease: Lease) -> bool:
    """Whether the holder was a process of this machine that is certainly gone: a killed run need not be waited for."""
    match = _IDENTITY.match(_spec(lease).get("holderIdentity") or "")
    return bool(match) and match["host"] == socket.gethostname() and process.is_gone(int(match["pid"]), match["mark"])


class Sight:
    """Since when a Lease looks as it does, in our own sight."""

    def __init__(self) -> None:
        self._seen: Any = None
        self._since = 0.0
        #: Whether its holder has renewed it while we looked, and whether anybody has written to it.
        self.renewed = self.changed = False

    def expired(self, lease: Lease) -> bool:
        """Whether it has not changed for as long as its holder said, the first look included."""
        seen, now = (lease["metadata"].get("uid"), _spec(lease)), time.monotonic()
        if seen != self._seen:
            self.changed = self._seen is not None
            self.renewed = self.changed and _same_holder(seen, self._seen)
            self._seen, self._since = seen, now
        return now - self._since >= duration_of(lease)


def _same_holder(one: tuple[Any, dict[str, Any]], other: tuple[Any, dict[str, Any]]) -> bool:
    return one[0] == other[0] and one[1].get("holderIdentity") == other[1].get("holderIdentity")


def duration_of(lease: Lease) -> float:
    """Seconds that a holder keeps its Lease without a sign of life, as it says itself."""
    return float(_spec(lease).get("leaseDurationSeconds") or DURATION)


def left_behind(cluster: Cluster, namespace: str, timeout: float, say: Say) -> bool:
    """Whether the Lease is there and its holder is dead: who takes it next may mend what that one left. Only reads.

    Takes as long as the holder said where that has to be seen.

    :arg float timeout: seconds after which who may be alive is taken to be
    """
    sight, told, deadline = Sight(), False, time.monotonic() + timeout
    while time.monotonic() < deadline:
        lease = cluster.get(*_API, namespace)
        if lease is None or not holder_of(lease):
            return False
        if dead_here(lease) or sight.expired(lease):
            return True
        if sight.changed:
            return False
        if not told:
            say(_watching(lease))
            told = True
        time.sleep(LOOK_EVERY)
    return False


def _name(lease: Lease) -> str:
    return f"Lease {lease['metadata']['namespace']}/{NAME}"


def _watching(lease: Lease) -> str:
    seconds = f"{duration_of(lease):.0f} s"
    return f"{_name(lease)} is held by {holder_of(lease)}: waiting up to {seconds} for a sign that it is alive"


class Held:
    """The Lease as this run holds it.

    :ivar bool from_the_dead: whether it was taken from a holder that is dead, whose traces may be mended
    """

    def __init__(self, cluster: Cluster, lease: Lease, from_the_dead: bool) -> None:
        self.from_the_dead = from_the_dead
        self._cluster = cluster
        self._namespace: str = lease["metadata"]["namespace"]
        self._holder: str = lease["spec"]["holderIdentity"]
        self._lock = threading.Lock()

    def still(self) -> None:
        """Show a sign of life, before something is written that only a holder may write.

        Only who holds the Lease can renew it, so that whoever can has held it all the while, however long ago the last
        time was.

        :raises JobError: it is another's by now, is gone, or cannot be renewed
        """
        where = f"Lease {self._namespace}/{NAME}"
        try:
            with self._lock:
                current = self._renew()
        except ApiError as error:
            raise JobError(
                f"cannot be renewed: {error.message.rstrip('.')}. Nothing more was written.",
                object=where,
                fix="Check that the account may update leases, and run again.",
                quotes=[error.message],
            ) from error
        if current is None:
            raise JobError(
                "was deleted while this run held it, so another run may be writing. Nothing more was written.",
                object=where,
                fix="Run again.",
            )
        if current["spec"].get("holderIdentity") != self._holder:
            raise JobError(
                f"was taken over by {holder_of(current)} because this run could not renew it for {DURATION} s. Nothing "
                "more was written.",
                object=where,
                fix="Wait for that run to end, and run again.",
            )

    def _renew(self) -> Lease | None:
        """Renew it, if it is ours. :returns: the Lease as it is then, None if it is gone"""
        for attempt in range(1, _ATTEMPTS + 1):
            current = self._cluster.get(*_API, self._namespace)
            if current is None or current["spec"].get("holderIdentity") != self._holder:
                return current
            current["spec"]["renewTime"] = _now()
            try:
                return self._cluster.replace(current)
            except ApiError as error:  # changed since: by others, or by us, and the answer was lost
                if error.status not in (404, 409) or attempt == _ATTEMPTS:
                    raise
        return None

    def keep(self, stop: threading.Event) -> None:
        """Renew it again and again. Faults may pass; who is about to write looks itself."""
        while not stop.wait(RENEW_EVERY):
            with contextlib.suppress(ApiError, JobError), self._lock:
                self._renew()

    def give_back(self) -> None:
        """Delete it, if it is still ours; where that fails it expires by itself."""
        with contextlib.suppress(ApiError, JobError):
            current = self._cluster.get(*_API, self._namespace)
            if current and current["spec"].get("holderIdentity") == self._holder:
                self._cluster.delete(current, as_read=True)


@contextlib.contextmanager
def held(cluster: Cluster, namespace: str, timeout: float, say: Say) -> Iterator[Held]:
    """Hold the Lease while the block runs, and give it back.

    :arg float timeout: seconds to wait for another holder
    :raises JobError: somebody else goes on holding it
    """
    lease = _Taker(cluster, namespace, timeout, say).take()
    stop = threading.Event()
    thread = threading.Thread(target=lease.keep, args=(stop,), daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        stop.set()
        thread.join(timeout=RENEW_EVERY)
        lease.give_back()


class _Taker:
    """Takes the Lease, now or when its holder is done or dead."""

    def __init__(self, cluster: Cluster, namespace: str, timeout: float, say: Say) -> None:
        self._cluster, self._namespace, self._timeout, self._say = cluster, namespace, timeout, say
        self._wanted = _object(namespace, holder_identity())
        self._sight = Sight()
        #: Whether our last attempt was to take it from the dead: its answer may be lost.
        self._from_the_dead = False

    def take(self) -> Held:
        """:raises JobError: it cannot be taken, or somebody else goes on holding it"""
        started, said, told_alive = time.monotonic(), -SAY_EVERY, False
        while True:
            try:
                lease, is_ours = self._try()
            except ApiError as error:
                where = f"Lease {self._namespace}/{NAME}"
                raise JobError(
                    f"cannot be acquired: {error.message.rstrip('.')}.",
                    object=where,
                    fix="Check that the account may create leases and that the namespace is not being deleted.",
                    quotes=[error.message],
                ) from error
            if lease and is_ours:
                return Held(self._cluster, lease, self._from_the_dead)
            now = time.monotonic() - started
            if now > self._timeout:
                raise self._not_taken(lease, now)
            if lease is None:
                continue
            if now - said >= SAY_EVERY or self._sight.renewed != told_alive:
                self._say(self._waiting(lease, now))
                said, told_alive = now, self._sight.renewed
            time.sleep(LOOK_EVERY)

    def _try(self) -> tuple[Lease | None, bool]:
        """Look, and take it if it may be taken. :returns: the Lease if it is there, and whether it is ours"""
        lease = self._cluster.get(*_API, self._namespace)
        try:
            if lease is None:
                self._from_the_dead = False
                return self._cluster.create(self._wanted_now()), True
            if _spec(lease).get("holderIdentity") == self._wanted["spec"]["holderIdentity"]:
                return lease, True  # we have it, and did not hear so
            if holder_of(lease) and not dead_here(lease) and not self._sight.expired(lease):
                return lease, False
            self._from_the_dead = bool(holder_of(lease))
            taken = self._cluster.replace({**lease, "spec": self._wanted_now()["spec"]})
            if self._from_the_dead:
                self._say(f"{_name(lease)} is taken over from {holder_of(lease)}, which is no longer alive")
            return taken, True
        except ApiError as error:
            if error.status == 409 or (lease and error.status == 404):  # another was faster: look again
                return None, False
            raise

    def _wanted_now(self) -> Lease:
        self._wanted["spec"]["acquireTime"] = self._wanted["spec"]["renewTime"] = _now()
        return self._wanted

    def _waiting(self, lease: Lease, waited: float) -> str:
        if not self._sight.renewed:
            return _watching(lease)
        left = max(0.0, self._timeout - waited)
        return (
            f"{_name(lease)} is held by {holder_of(lease)}, which is alive: waiting up to {left:.0f} s for it to finish"
        )

    def _not_taken(self, lease: Lease | None, waited: float) -> JobError:
        if lease is None:
            message = f"could not be acquired within {waited:.0f} s because other runs acquired it first."
            return JobError(message, object=f"Lease {self._namespace}/{NAME}", fix="Run again.")
        if self._sight.renewed:
            told = f"is still active after {waited:.0f} s"
        else:
            told = f"has not renewed it for {waited:.0f} s, but it expires only after {duration_of(lease):.0f} s"
        return JobError(
            f"Another run is writing to this mesh: {holder_of(lease)} holds {_name(lease)} and {told}.",
            fix="Wait for it to end and run again, or increase istio_helm_wait_timeout.",
        )
