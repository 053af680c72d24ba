# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the seconds went: Ansible's log, the API server's audit log and the pods' own times on one line. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from testbed import audit

from bench.figures import Sample

#: Ansible's log: local time with milliseconds, process, user, logger, level (since ansible-core 2.17), the line.
_LOGGED = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) p=\d+ u=\S+ n=\S+ \w* ?\| (.*)$")
_TASK = re.compile(r"^(?:TASK \[(.*)\]|PLAY RECAP) \*+$")


def logged(log: str) -> list[tuple[float, str]]:
    """The lines of Ansible's log that begin an entry, each with its seconds since the epoch."""
    matches = filter(None, map(_LOGGED.match, log.splitlines()))
    return [(datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f").timestamp(), match[2]) for match in matches]


def task_starts(log: str) -> list[tuple[float, str]]:
    """When each task of a playbook's log began; the last is the recap, ``""``."""
    matches = [(at, _TASK.match(line)) for at, line in logged(log)]
    return [(at, match[1] or "") for at, match in matches if match]


def said(log: str) -> list[tuple[float, str]]:
    """The lines of progress (``[host] ...``) in a playbook's log."""
    return [(at, line.partition("] ")[2]) for at, line in logged(log) if line.startswith("[")]


def by_agent(requests: Iterable[audit.Request]) -> dict[str, dict[str, int]]:
    """Reads and writes of everybody who is not the cluster itself, by the first word of the user agent."""
    people = [request for request in requests if not request.user.startswith(audit.SYSTEM_USERS)]
    names = {request: re.split(r"[/ ]", request.user_agent)[0] or "unknown" for request in people}
    result = {}
    for name in sorted(set(names.values())):
        count = audit.count_requests(request for request in people if names[request] == name)
        result[name] = {"reads": count.reads, "writes": count.writes, "dry_runs": count.dry_runs}
    return result


def request_times(lines: Iterable[str]) -> list[tuple[float, audit.Request]]:
    """Each request of an audit log with the seconds since the epoch at which it came in; the cluster's own left out."""
    found = [
        (instant(json.loads(line)["requestReceivedTimestamp"]), request)
        for line in lines
        for request in audit.parse([line])
        if not request.user.startswith(audit.SYSTEM_USERS)
    ]
    return sorted(found, key=lambda entry: entry[0])


def instant(text: str) -> float:
    """Seconds since the epoch of a time in Kubernetes' way of writing it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def tasks(
    started: float, ended: float, log: str, requests: Iterable[tuple[float, audit.Request]]
) -> list[dict[str, Any]]:
    """Seconds, reads and writes by task, with what is before the first and after the last one.

    :arg started, ended: of the whole process, in seconds since the epoch
    """
    starts = [(started, "(before the first task)")] + [(at, name or "(the end)") for at, name in task_starts(log)]
    result = []
    requests = list(requests)
    for (begin, name), (end, _next) in zip(starts, [*starts[1:], (ended, "")], strict=True):
        count = audit.count_requests(request for at, request in requests if begin <= at < end)
        lines = [{"at": round(at - started, 2), "line": line} for at, line in said(log) if begin <= at < end]
        entry = {"task": name, "at": round(begin - started, 2), "seconds": round(end - begin, 2)}
        entry |= {"reads": count.reads, "writes": count.writes, "dry_runs": count.dry_runs}
        result.append(entry | ({"said": lines} if lines else {}))
    return result


def pods(started: float, items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """When each pod was created, its last container started and it was Ready, in seconds after ``started``.

    Kubernetes keeps whole seconds here, so that each may be up to one too early.
    """
    result = []
    for pod in items:
        status = pod.get("status", {})
        running = [c.get("state", {}).get("running") for c in status.get("containerStatuses") or []]
        ready = [c["lastTransitionTime"] for c in status.get("conditions") or [] if _true(c, "Ready")]
        times = {
            "created": pod["metadata"]["creationTimestamp"],
            "started": max((state["startedAt"] for state in running), default=None) if all(running) else None,
            "ready": ready[0] if ready else None,
        }
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        result.append({"pod": name, **{k: round(instant(v) - started, 1) if v else None for k, v in times.items()}})
    return sorted(result, key=lambda entry: entry["created"])


def _true(condition: dict[str, Any], kind: str) -> bool:
    return condition.get("type") == kind and condition.get("status") == "True"


def describe(sample: Sample) -> str:
    """Where the seconds of one sample went, for people."""
    lines = [f"{sample.contender}, {sample.kind}, round {sample.round}: {sample.seconds:.1f} s"]
    lines[0] += f", {sample.cpu:.1f} s of processor time, load {sample.load:.1f}"
    if sample.first_200 is not None:
        lines[0] += f", first 200 after {sample.first_200:.1f} s"
    if sample.tasks:
        lines.append(f"  {'at':>6} {'seconds':>7} {'reads':>5} {'writes':>6} {'dry':>4}  task")
    for task in sample.tasks:
        numbers = (
            f"{task['at']:>6.1f} {task['seconds']:>7.2f} {task['reads']:>5} {task['writes']:>6} {task['dry_runs']:>4}"
        )
        lines.append(f"  {numbers}  {task['task']}")
        lines += [f"  {line['at']:>6.1f} {'':>26}  {line['line']}" for line in task.get("said", [])]
    lines += [f"  {seconds:>7.2f}  {step}" for step, seconds in sample.steps.items()]
    if sample.pods:
        lines.append(f"  {'created':>7} {'started':>7} {'ready':>7}  pod")
    for pod in sample.pods:
        numbers = " ".join(f"{'' if pod[k] is None else pod[k]:>7}" for k in ("created", "started", "ready"))
        lines.append(f"  {numbers}  {pod['pod']}")
    return "\n".join(lines)
