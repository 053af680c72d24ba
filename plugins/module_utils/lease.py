# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One writer at a time: a Lease in Istio's namespace while Helm releases are written.

Helm's own state is a series of secrets that two writers can garble; server-side apply needs no such lock.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.kube import ApiError, Cluster

NAME = "meshops-istio"
DURATION = 30  # seconds that a holder which shows no sign of life keeps the lease
RENEW_EVERY = 8.0  # seconds


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def holder_identity() -> str:
    """Who we are, for the people who look at the Lease: host and process."""
    return f"{socket.gethostname()}/{os.getpid()}"


def _object(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "meshops.istio"}},
        "spec": {
            "holderIdentity": holder_identity(),
            "leaseDurationSeconds": DURATION,
            "acquireTime": _now(),
            "renewTime": _now(),
        },
    }


def expired(lease: dict[str, Any], now: datetime) -> bool:
    """Whether a Lease's holder has shown no sign of life for as long as it said it would."""
    spec = lease.get("spec") or {}
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return True
    renewed = datetime.fromisoformat(spec["renewTime"].replace("Z", "+00:00"))
    return now - renewed > timedelta(seconds=spec.get("leaseDurationSeconds") or DURATION)


def dead_here(lease: dict[str, Any]) -> bool:
    """Whether the holder was a process of this very machine that is gone: a killed run need not be waited for."""
    host, _slash, pid = (lease.get("spec") or {}).get("holderIdentity", "").rpartition("/")
    return host == socket.gethostname() and pid.isdigit() and not alive(int(pid))


def alive(pid: int) -> bool:
    """Whether a process of this machine is there, by whatever user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def left_behind(cluster: Cluster, namespace: str) -> bool:
    """Whether the Lease is there and its holder is dead: who takes it next may mend what that one left."""
    lease = cluster.get("coordination.k8s.io/v1", "Lease", NAME, namespace)
    return lease is not None and (expired(lease, datetime.now(timezone.utc)) or dead_here(lease))


@contextlib.contextmanager
def held(cluster: Cluster, namespace: str, timeout: float, say: Callable[[str], None]) -> Iterator[bool]:
    """Hold the Lease while the block runs, and give it back.

    :arg float timeout: seconds to wait for another holder
    :returns: for the block, whether it was taken over from a holder that is dead, whose traces may be mended
    :raises JobError: somebody else goes on holding it
    """
    lease, from_the_dead = _acquire(cluster, namespace, timeout, say)
    stop = threading.Event()
    thread = threading.Thread(target=_renew, args=(cluster, lease, stop), daemon=True)
    thread.start()
    try:
        yield from_the_dead
    finally:
        stop.set()
        thread.join(timeout=RENEW_EVERY)
        with contextlib.suppress(ApiError, JobError):
            current = _ours(cluster, lease)
            if current:
                cluster.delete(current)


def _acquire(
    cluster: Cluster, namespace: str, timeout: float, say: Callable[[str], None]
) -> tuple[dict[str, Any], bool]:
    deadline = time.monotonic() + timeout
    told = False
    while True:
        wanted = _object(namespace)
        try:
            return cluster.create(wanted), False
        except ApiError as error:
            if error.status != 409:
                raise JobError(f"Lease {namespace}/{NAME} cannot be taken: {error.message}") from error
        lease = cluster.get("coordination.k8s.io/v1", "Lease", NAME, namespace)
        if lease is None:
            continue
        if expired(lease, datetime.now(timezone.utc)) or dead_here(lease):
            lease["spec"] = wanted["spec"]
            try:
                return cluster.replace(lease), True
            except ApiError as error:
                if error.status != 409:
                    raise
                continue
        holder = lease["spec"]["holderIdentity"]
        if time.monotonic() > deadline:
            raise JobError(
                f"Another run writes to this mesh: {holder} holds Lease {namespace}/{NAME}, renewed at "
                f"{lease['spec']['renewTime']}. Wait for it to end; a Lease of a dead run expires after {DURATION} s."
            )
        if not told:
            say(f"waiting for Lease {namespace}/{NAME}, held by {holder}")
            told = True
        time.sleep(1)


def _renew(cluster: Cluster, lease: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(RENEW_EVERY):
        with contextlib.suppress(ApiError, JobError):
            current = _ours(cluster, lease)
            if current:
                current["spec"]["renewTime"] = _now()
                cluster.replace(current)


def _ours(cluster: Cluster, lease: dict[str, Any]) -> dict[str, Any] | None:
    """The Lease as it is now, or None when it is gone or another run has taken it over from us."""
    current = cluster.get("coordination.k8s.io/v1", "Lease", NAME, lease["metadata"]["namespace"])
    return current if current and current["spec"].get("holderIdentity") == lease["spec"]["holderIdentity"] else None
