# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's log, the audit log and the pods' times."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from bench import timeline
from bench.figures import Sample

LOG = """\
2026-05-04 10:00:02,000 p=821 u=root n=ansible INFO| TASK [meshops.istio.crds : Apply the definitions] ******
2026-05-04 10:00:02,500 p=821 u=root n=ansible INFO| [kind] install istio-system/istiod: not installed
2026-05-04 10:00:03,250 p=821 u=root n=ansible | TASK [Say [what] was proven] ******
2026-05-04 10:00:03,300 p=821 u=root n=ansible INFO| ok: [kind] => {
    "msg": "TASK [not one] ***"
}
2026-05-04 10:00:04,000 p=821 u=root n=ansible INFO| PLAY RECAP *********
2026-05-04 10:00:04,001 p=821 u=root n=ansible INFO| kind : ok=12 changed=4
"""


def local(seconds: float) -> float:
    """Seconds since the epoch of a second after ten o'clock, local time."""
    return datetime(2026, 5, 4, 10).timestamp() + seconds


def event(verb="get", agent="meshops.istio", user="kubernetes-admin", query="", at="2026-05-04T10:00:00.500000Z"):
    """A line of an audit log."""
    return (
        json.dumps(
            {
                "stage": "ResponseComplete",
                "verb": verb,
                "user": {"username": user},
                "userAgent": agent,
                "requestURI": f"/api/v1/secrets{query}",
                "requestReceivedTimestamp": at,
            }
        )
        + "\n"
    )


def test_tasks_begin_where_the_log_says():
    starts = timeline.task_starts(LOG)
    assert [name for _at, name in starts] == [
        "meshops.istio.crds : Apply the definitions",
        "Say [what] was proven",
        "",
    ]
    assert [at - local(0) for at, _name in starts] == pytest.approx([2.0, 3.25, 4.0])


def test_requests_are_counted_by_the_first_word_of_the_user_agent():
    lines = [
        event(),
        event(),
        event("patch", query="?dryRun=All"),
        event("patch", agent="Helm/4.3.1"),
        event(agent="kubectl/v1.37.2 (linux/amd64)"),
        event("update", agent="kubelet/v1", user="system:node:x"),
    ]
    assert timeline.by_agent(timeline.audit.parse(lines)) == {
        "Helm": {"reads": 0, "writes": 1, "dry_runs": 0},
        "kubectl": {"reads": 1, "writes": 0, "dry_runs": 0},
        "meshops.istio": {"reads": 2, "writes": 0, "dry_runs": 1},
    }


def test_each_task_gets_its_seconds_and_its_requests():
    instants = [local(2.1), local(2.2), local(3.5)]
    requests = [
        (at, next(iter(timeline.audit.parse([event(verb)]))))
        for at, verb in zip(instants, ("get", "patch", "list"), strict=True)
    ]
    found = timeline.tasks(local(0), local(4.5), LOG, requests)
    assert [(task["at"], task["seconds"], task["reads"], task["writes"]) for task in found] == [
        (0.0, 2.0, 0, 0),
        (2.0, 1.25, 1, 1),
        (3.25, 0.75, 1, 0),
        (4.0, 0.5, 0, 0),
    ]
    assert found[0]["task"] == "(before the first task)"
    assert found[1]["said"] == [{"at": 2.5, "line": "install istio-system/istiod: not installed"}]
    assert sum(task["seconds"] for task in found) == pytest.approx(4.5)


def test_requests_come_in_the_order_in_which_they_came_in():
    lines = [event(at="2026-05-04T10:00:01.000000Z"), event("list"), event(user="system:apiserver")]
    assert [(round(at % 60, 1), request.verb) for at, request in timeline.request_times(lines)] == [
        (0.5, "list"),
        (1.0, "get"),
    ]


def pod(name, created, started, ready):
    """A pod as the API server shows it; times in seconds after ten."""

    def text(seconds):
        return f"2026-05-04T10:00:{seconds:02d}Z"

    running = {"running": {"startedAt": text(started)}} if started is not None else {"waiting": {}}
    condition = {"type": "Ready", "status": "True" if ready is not None else "False"}
    return {
        "metadata": {"name": name, "namespace": "istio-system", "creationTimestamp": text(created)},
        "status": {
            "containerStatuses": [{"state": running}],
            "conditions": [condition | {"lastTransitionTime": text(ready or 0)}],
        },
    }


def test_pods_are_told_in_the_order_of_their_creation():
    started = timeline.instant("2026-05-04T10:00:02Z")
    assert timeline.pods(started, [pod("gateway", 20, None, None), pod("istiod", 5, 7, 15)]) == [
        {"pod": "istio-system/istiod", "created": 3.0, "started": 5.0, "ready": 13.0},
        {"pod": "istio-system/gateway", "created": 18.0, "started": None, "ready": None},
    ]


def test_a_description_has_all_of_it():
    sample = Sample(1, "ours", "fresh", 4.5, load=2.0, cpu=3.0, first_200=4.0, steps={"kubectl apply": 1.25})
    sample.tasks = timeline.tasks(local(0), local(4.5), LOG, [])
    sample.pods = timeline.pods(0.0, [pod("gateway", 20, None, None)])
    text = timeline.describe(sample)
    assert (
        text.splitlines()[0] == "ours, fresh, round 1: 4.5 s, 3.0 s of processor time, load 2.0, first 200 after 4.0 s"
    )
    for part in ("kubectl apply", "Apply the definitions", "istio-system/gateway", "not installed", "(the end)"):
        assert part in text
