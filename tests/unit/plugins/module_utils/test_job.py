# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's errors become a failed result, its options stand beside kubernetes.core's, and its secrets are known."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils import job
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.job import Task, argument_spec, perform, secrets_of
from ansible_collections.meshops.istio.plugins.module_utils.kube import ApiError, Unreachable

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443"}}],
    "users": [{"name": "u", "user": {"token": "token-of-the-user", "client-key-data": "a2V5LW9mLXRoZS11c2Vy"}}],
}


def ending(result: Any) -> SimpleNamespace:
    """A job that ends with a result, or with an exception."""

    def run(task: Task) -> dict[str, Any]:
        if isinstance(result, Exception):
            raise result
        return result

    return SimpleNamespace(run=run)


def performed(outcome: Any) -> dict[str, Any]:
    """The result of such a job without its timing, which is never twice the same."""
    result = perform(ending(outcome), Task({}))
    assert set(result.pop("timing")) == {"started", "seconds"}
    return result


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"changed": True, "names": ["a"]}, {"changed": True, "names": ["a"]}),
        ({"names": []}, {"changed": False, "names": []}),
        ({"changed": False}, {"changed": False}),
    ],
)
def test_result(result: dict[str, Any], expected: dict[str, Any]) -> None:
    """Is passed on; without a word about it, nothing has changed."""
    assert performed(result) == expected


def test_job_gets_its_task() -> None:
    """With params and all."""
    task = Task({"size": 1}, check_mode=True)
    assert perform(SimpleNamespace(run=lambda given: {"same": given is task}), task)["same"] is True


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (JobError("what and why"), {"msg": "what and why"}),
        (
            JobError("no room", findings=[{"code": "room-none"}]),
            {"msg": "no room", "findings": [{"code": "room-none"}]},
        ),
        (Unreachable("cannot be reached"), {"msg": "cannot be reached"}),
        (ApiError(403, "Forbidden", "User x cannot y"), {"msg": "The API server answered 403: User x cannot y"}),
        (ApiError(409, "Conflict", ""), {"msg": "The API server answered 409: Conflict"}),
    ],
    ids=["JobError", "with details", "Unreachable", "ApiError", "without a message"],
)
def test_error_is_a_failed_result(error: Exception, expected: dict[str, Any]) -> None:
    """The user reads a message, never a traceback."""
    assert performed(error) == {"failed": True, "changed": False, **expected}


@pytest.mark.parametrize("fault", [None, JobError("no room")], ids=["success", "failure"])
def test_result_says_when_and_how_long(fault: Exception | None) -> None:
    """In the form in which Kubernetes writes times, on Python 3.9 too; a job that fails has taken its time as well."""

    def run(_task: Task) -> dict[str, Any]:
        time.sleep(0.05)
        if fault:
            raise fault
        return {}

    before = datetime.now(timezone.utc)
    timing = perform(SimpleNamespace(run=run), Task({}))["timing"]
    started = datetime.strptime(timing["started"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert abs((started - before).total_seconds()) < 1
    assert 0.05 <= timing["seconds"] < 5


def test_job_that_changed_something_before_it_failed() -> None:
    """Says so."""
    error = JobError("the second of two failed", changed=True)
    assert perform(ending(error), Task({}))["changed"] is True


def test_fault_of_ours_is_not_hidden() -> None:
    """Somebody has to see its traceback."""
    with pytest.raises(ZeroDivisionError):
        perform(ending(ZeroDivisionError()), Task({}))


def test_argument_spec() -> None:
    """kubernetes.core's options, by its names, with ours beside them; Ansible can read them."""
    spec = argument_spec({"size": {"type": "int", "required": True}})
    assert set(spec) == {"size", *job.AUTH_ARG_SPEC}
    assert {"kubeconfig", "context", "host", "api_key", "validate_certs"} <= set(spec)
    assert spec["api_key"]["no_log"] is True
    found = ArgumentSpecValidator(spec).validate({"size": "3", "verify_ssl": "no"})
    assert not found.error_messages
    assert (found.validated_parameters["size"], found.validated_parameters["validate_certs"]) == (3, False)


def test_argument_specs_are_copies() -> None:
    """Ansible writes into them."""
    own = {"size": {"type": "int", "options": {}}}
    spec = argument_spec(own)
    spec["size"]["options"]["x"] = {}
    spec["host"]["x"] = 1
    assert own == {"size": {"type": "int", "options": {}}}
    assert "x" not in argument_spec(own)["host"]


def test_secrets_of_a_kubeconfig() -> None:
    """Given as a mapping it holds secrets that no `no_log` knows of."""
    assert secrets_of({"kubeconfig": KUBECONFIG}) >= {"token-of-the-user", "a2V5LW9mLXRoZS11c2Vy"}


@pytest.mark.parametrize("params", [{"kubeconfig": "/home/a/.kube/config"}, {"kubeconfig": None}, {}])
def test_no_secrets(params: dict[str, Any]) -> None:
    """A path is none."""
    assert secrets_of(params) == set()


def test_tasks_share_no_warnings() -> None:
    """Each has its own; without anybody to show them, lines of progress go nowhere."""
    first, second = Task({}), Task({})
    first.warnings.append("x")
    first.say("12 s: waiting")
    assert second.warnings == []
    assert (first.check_mode, first.diff) == (False, False)
