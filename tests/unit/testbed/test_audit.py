# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Counting requests in an audit log."""

from __future__ import annotations

import json

import pytest
from testbed.audit import AuditLog, count_requests, parse

ADMIN = "kubernetes-admin"


def event(verb, resource="configmaps", user=ADMIN, agent="helm/v4", uri="/api/v1/x", stage="ResponseComplete"):
    """One line of the log."""
    return (
        json.dumps(
            {
                "kind": "Event",
                "stage": stage,
                "verb": verb,
                "requestURI": uri,
                "user": {"username": user},
                "userAgent": agent,
                "objectRef": {"resource": resource},
                "responseStatus": {"code": 200},
            }
        )
        + "\n"
    )


def counted(*lines, **filters):
    return count_requests(parse(lines), **filters)


@pytest.mark.parametrize("verb", ["get", "list", "watch"])
def test_reads(verb):
    assert counted(event(verb)).reads == 1


@pytest.mark.parametrize("verb", ["create", "update", "patch", "delete", "deletecollection"])
def test_writes(verb):
    count = counted(event(verb))
    assert (count.writes, count.reads) == (1, 0)
    assert count.requests[0].verb == verb


def test_a_dry_run_writes_nothing():
    count = counted(event("patch", uri="/apis/apps/v1/x?dryRun=All&fieldManager=a"), event("patch", uri="/x?dryRun="))
    assert (count.dry_runs, count.writes) == (1, 1)


@pytest.mark.parametrize("resource", ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "tokenreviews"])
def test_a_review_is_a_question(resource):
    count = counted(event("create", resource))
    assert (count.reviews, count.writes) == (1, 0)


def test_the_system_is_left_out_unless_asked_for():
    lines = [event("update", "leases", user="system:node:a", agent="kubelet"), event("update")]
    assert counted(*lines).writes == 1
    assert counted(*lines, user="system:node:a").writes == 1
    assert counted(*lines, user_agent="kubelet").writes == 1


def test_one_program_among_others():
    lines = [event("get", agent="helm/v4"), event("get", agent="OpenAPI-Generator/37/python"), event("get", user="bob")]
    assert counted(*lines, user_agent="python").reads == 1
    assert counted(*lines, user=ADMIN).reads == 2
    assert counted(*lines, user=ADMIN, user_agent="helm").reads == 1


def test_one_request_is_one_event():
    assert counted(event("create", stage="Panic"), event("create")).writes == 1


def test_health_checks_have_no_object():
    line = json.dumps({"stage": "ResponseComplete", "verb": "get", "requestURI": "/readyz", "user": {}}) + "\n"
    assert counted(line).reads == 1


def test_a_line_that_is_being_written_waits():
    assert counted(event("get"), event("get")[:20]).reads == 1


def test_a_log_is_counted_from_a_mark(tmp_path):
    path = tmp_path / "audit.log"
    path.write_text(event("create") * 3)
    log = AuditLog(path)
    mark = log.mark()
    with path.open("a") as f:
        f.write(event("get") + event("patch"))
    count = log.count(mark)
    assert (count.reads, count.writes) == (1, 1)


def test_a_mark_of_another_log_is_refused(tmp_path):
    path = tmp_path / "audit.log"
    path.write_text(event("create"))
    log = AuditLog(path)
    mark = log.mark()
    path.rename(tmp_path / "kept")  # or the new file might get the old one's inode
    path.write_text(event("create"))
    with pytest.raises(ValueError, match="replaced"):
        log.count(mark)


def test_writes_since_this_was_last_asked(tmp_path):
    path, memory = tmp_path / "audit.log", tmp_path / "writes.json"
    path.write_text(event("create") + event("get"))
    log = AuditLog(path)
    assert [request.verb for request in log.writes_since_last_time(memory)] == ["create"]
    with path.open("a") as f:
        f.write(event("patch") + event("update", user="system:node:a"))
    assert [request.verb for request in log.writes_since_last_time(memory)] == ["patch"]
    assert log.writes_since_last_time(memory) == []
    path.rename(tmp_path / "kept")  # the cluster was made anew
    path.write_text(event("delete"))
    assert [request.verb for request in log.writes_since_last_time(memory)] == ["delete"]
