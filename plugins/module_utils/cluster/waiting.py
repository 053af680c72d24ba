# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a set of objects: watches, one deadline for all, and an end as soon as the outcome is certain."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import readiness
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, identity, reference
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError, sentence

#: Kinds that run pods: these are watched too, for the reasons why a workload is not ready.
WORKLOADS = ("Deployment", "DaemonSet")
PROGRESS_EVERY = 15.0  # seconds between two progress lines
#: Seconds for which a cause must last that may pass by itself: a cluster autoscaler may bring a node, and a refusal
#: that was there before the wait began may be an old one, mended since, that its controller will try again.
GRACE = 30.0
#: Seconds for which a broken pod stays before it counts: where an older template is wanted again, the pods of the one
#: between are the newest until their controller has deleted them.
SETTLING = 2.0
_SLOW = "Run kubectl describe on each to see why. If it is only slow, increase the role's wait timeout."
_UNWATCHED = {
    "right-missing": "Grant the permission to list and watch them (docs/rbac.yml).",
    "api-unauthorized": "Renew the credentials.",
}


@dataclass
class _Stream:
    """One kind in one namespace: its objects by identity, kept current by a thread."""

    api_version: str
    kind: str
    namespace: str


class Waiter:
    """Watches the kinds of a set of objects, and the pods beside workloads, until all are ready.

    :arg float timeout: seconds until the deadline, for everything together
    :arg say: called with a line of progress now and then
    :arg explain: called then, and in the end, with a Service that has no address yet, for what the cluster knows of it
    """

    def __init__(
        self,
        cluster: Cluster,
        timeout: float,
        say: Callable[[str], None] = lambda line: None,
        explain: Callable[[dict[str, Any]], readiness.Cause | None] = lambda service: None,
    ) -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._say = say
        self._explain = explain
        self._causes: dict[Identity, readiness.Cause] = {}
        self._events: queue.Queue = queue.Queue()
        self._stop = threading.Event()
        self._objects: dict[Identity, dict[str, Any]] = {}
        self._since: dict[tuple, float] = {}
        self._refused_before: set[Identity] = set()
        self._created: set[Identity] = set()

    def wait(self, targets: Iterable[Identity], created: Iterable[Identity] = ()) -> dict[Identity, dict[str, Any]]:
        """Wait for objects to be there and ready.

        :arg targets: identities of the objects
        :arg created: those that are new, so that whatever refuses their pods does so now
        :returns: the ready objects by identity
        :raises JobError: the deadline has passed, or an object will certainly not become ready; names object and cause
        """
        targets, self._created = list(targets), set(created)
        started = last_line = time.monotonic()
        deadline = started + self._timeout
        streams = {(api_version, kind, namespace) for api_version, kind, namespace, _name in targets}
        streams |= {("v1", "Pod", target[2]) for target in targets if target[1] in WORKLOADS}
        threads = [
            threading.Thread(target=self._follow, args=(_Stream(*stream), deadline), daemon=True)
            for stream in sorted(streams)
        ]
        for thread in threads:
            thread.start()
        listed: set[tuple[str, str, str]] = set()
        try:
            while True:
                pending = [target for target in targets if not self._is_ready(target)]
                if not pending:
                    return {target: self._objects[target] for target in targets}
                if listed >= streams:
                    self._fail_if_hopeless(pending)
                now = time.monotonic()
                if now > deadline:
                    self._look_for_causes(pending)
                    fixes = [sentence(self._causes[key].fix) for key in pending if key in self._causes]
                    raise JobError(
                        f"Not ready after {self._timeout:.0f} s: {self._describe_all(pending)}.",
                        fix=" ".join(dict.fromkeys(fixes)) or _SLOW,
                        quotes=[state for target in pending for state in self._states(target)],
                    )
                if now - last_line >= PROGRESS_EVERY:
                    last_line = now
                    self._look_for_causes(pending)
                    self._say(f"{now - started:.0f} s: waiting for {self._describe_all(pending)}")
                try:
                    event = self._events.get(timeout=min(1.0, max(0.01, deadline - now)))
                except queue.Empty:
                    continue
                while event is not None:
                    self._take(event, listed)
                    event = self._events.get_nowait() if not self._events.empty() else None
        finally:
            self._stop.set()

    # -- the watching side --------------------------------------------------------------------------------------------

    def _follow(self, stream: _Stream, deadline: float) -> None:
        """List, then watch, again and again; faults end in another list, the deadline and the stop flag end it all."""
        pause = 0.5
        while not self._stop.is_set() and time.monotonic() < deadline:
            try:
                items, version = self._cluster.list_with_version(
                    stream.api_version, stream.kind, stream.namespace or None
                )
                self._events.put(("LIST", stream, items))
                # Short watches, so that a connection that died unnoticed costs seconds at the most.
                for event in self._cluster.watch(
                    stream.api_version,
                    stream.kind,
                    stream.namespace or None,
                    version,
                    min(60.0, deadline - time.monotonic()),
                ):
                    if self._stop.is_set():
                        return
                    obj = {**event["object"], "apiVersion": stream.api_version, "kind": stream.kind}
                    self._events.put((event["type"], stream, obj))
                pause = 0.5
            except ApiError as error:
                if error.status in (401, 403):
                    self._events.put(("FAULT", stream, error))
                    return
            except (JobError, ValueError):
                # Not reachable, not served yet, or an answer that is not the API server's: all of this may pass.
                pass
            self._stop.wait(pause)
            pause = min(pause * 2, 5.0)

    def _take(self, event: tuple, listed: set) -> None:
        kind, stream, value = event
        key = (stream.api_version, stream.kind, stream.namespace)
        if kind == "FAULT":
            about = f"{stream.kind} objects in " + (
                f"namespace {stream.namespace}" if stream.namespace else "the cluster"
            )
            code = "right-missing" if value.status == 403 else "api-unauthorized"
            message = f"cannot be watched: {value.message.rstrip('.')}."
            raise JobError(message, object=about, fix=_UNWATCHED[code], code=code) from value
        if kind == "LIST":
            if key not in listed:
                refused = {identity(obj) for obj in value if readiness.workload_hopeless(obj)}
                self._refused_before |= refused - self._created
            listed.add(key)
            for known in [
                known for known in self._objects if known[:2] == key[:2] and known[2] == (key[2] or known[2])
            ]:
                del self._objects[known]
            self._objects.update((identity(obj), obj) for obj in value)
        elif kind == "DELETED":
            self._objects.pop(identity(value), None)
        elif kind in ("ADDED", "MODIFIED"):
            self._objects[identity(value)] = value

    # -- the judging side ---------------------------------------------------------------------------------------------

    def _is_ready(self, target: Identity) -> bool:
        obj = self._objects.get(target)
        return obj is not None and readiness.is_ready(obj)

    def _describe_all(self, targets: list[Identity]) -> str:
        return "; ".join(self._describe(target) for target in targets)

    def _describe(self, target: Identity) -> str:
        name = "/".join(filter(None, target[2:]))
        return f"{target[1]} {name} ({'; '.join(self._states(target))})"

    def _states(self, target: Identity) -> list[str]:
        """How far an object is, what its pods do, and what the cluster says of it."""
        obj = self._objects.get(target)
        pods = self._pods_of(obj) if obj and target[1] in WORKLOADS else []
        states = sorted({readiness.pod_state(pod) for pod in pods} - {""})
        states += [self._causes[target].message] if target in self._causes else []
        return [readiness.progress(obj) if obj else "does not exist", *states]

    def _pods_of(self, workload: dict[str, Any]) -> list[dict[str, Any]]:
        labels = workload.get("spec", {}).get("selector", {}).get("matchLabels") or {}
        return [
            obj
            for (_version, kind, namespace, _name), obj in self._objects.items()
            if kind == "Pod"
            and namespace == workload["metadata"].get("namespace", "")
            and labels.items() <= (obj["metadata"].get("labels") or {}).items()
            and not obj["metadata"].get("deletionTimestamp")
        ]

    def _look_for_causes(self, pending: list[Identity]) -> None:
        """Ask why Services have no address.

        :raises JobError: one will certainly get none
        """
        for target in pending:
            obj = self._objects.get(target)
            if target[1] != "Service" or obj is None:
                continue
            cause = self._explain(obj)
            self._causes.pop(target, None)
            if cause:
                self._causes[target] = cause
            if self._counts(target, cause is not None and cause.certain, GRACE):
                raise _certain(reference(obj), "gets no external address", cause)

    def _fail_if_hopeless(self, pending: list[Identity]) -> None:
        for target in pending:
            obj = self._objects.get(target)
            if obj is None or target[1] not in WORKLOADS:
                continue
            certain = readiness.workload_hopeless(obj)
            if self._counts(target, certain is not None, GRACE if target in self._refused_before else 0):
                raise _certain(reference(obj), "cannot start its pods", certain)
            for pod in readiness.current_pods(obj, self._pods_of(obj)):
                certain = readiness.pod_hopeless(pod)
                patience = max(SETTLING, certain.patience) if certain else SETTLING
                if self._counts(("broken", *identity(pod)), certain is not None, patience):
                    raise _certain(f"{reference(pod)} of {reference(obj)}", "cannot start", certain)
                words = readiness.pod_unschedulable(pod)
                if self._counts(identity(pod), words is not None, GRACE):
                    fix = "free capacity, add a node, or lower its requests"
                    cause = readiness.Cause((words or "").rstrip("."), fix, True, "pod-unschedulable")
                    raise _certain(reference(pod), "cannot be scheduled", cause)

    def _counts(self, key: tuple, present: bool, grace: float) -> bool:
        """Whether a cause counts: it is present, and has been for its time of grace."""
        if not present:
            self._since.pop(key, None)
            self._refused_before.discard(key)
            return False
        since = self._since.setdefault(key, time.monotonic())
        return time.monotonic() - since >= min(grace, self._timeout / 2)


def _certain(about: str, what: str, cause: readiness.Cause) -> JobError:
    """The end of waiting for what will not come.

    :arg about: the object, as people name it
    """
    message = f"{what}: {cause.message}."
    return JobError(message, object=about, fix=sentence(cause.fix), code=cause.code, quotes=[cause.message])
