# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a failure: the cause is added to its message, once, in time, and never at the cost of another failure."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import Unreachable
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis import after_failure
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.diagnose import Diagnosis
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.symptom import Symptom
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.jobs.runner import perform
from ansible_collections.meshops.istio.plugins.module_utils.task import Scope, Task

WORDS = 'pods "web-x" is forbidden: exceeded quota: team, requested: requests.cpu=1'
NO_ANSWER = JobError("No 200.")
CAUSE = Symptom("quota-exceeded", "Deployment shop/web", f"its pods are rejected: {WORDS}.", "Raise it.", (WORDS,))


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what a diagnosis of the cluster does: ``does`` is called for it."""
    given: dict[str, Any] = {"does": lambda: Diagnosis([CAUSE], ["a check"])}
    monkeypatch.setattr(
        after_failure, "_Hasty", lambda params, timeout: SimpleNamespace(params=params, timeout=timeout)
    )
    monkeypatch.setattr(after_failure, "read_and_diagnose", lambda cluster, scope: given["does"]())
    return given


def test_cause_is_added(found: dict[str, Any]) -> None:
    """Behind the message, with the whole diagnosis beside it."""
    result = after_failure.explained(NO_ANSWER, {}, Scope())
    assert result["msg"] == f"No 200. Cause: {CAUSE}"
    assert result["diagnosis"]["main"]["code"] == "quota-exceeded"
    assert result["diagnosis"]["skipped"] == ["a check"]


def test_cause_that_is_told_already(found: dict[str, Any]) -> None:
    """Is not told again; line breaks make no difference."""
    words = f"{WORDS[:40]}\n{WORDS[40:]}"
    error = JobError(f"cannot start its pods: {words}.", object="Deployment shop/web", fix="Raise it.", quotes=[words])
    result = after_failure.explained(error, {}, Scope())
    assert result["msg"] == str(error)
    assert result["diagnosis"]["main"]


def test_short_evidence_is_no_quote() -> None:
    """A word that both have proves nothing; nor do words of ours that happen to be alike."""
    short = Symptom("istiod-not-ready", "Deployment x", "no.", "Mend.", ("0/1 available",))
    error = JobError("Not ready: Deployment y (0/1 available)", quotes=["0/1 available"])
    assert not after_failure.says(error, short)
    assert not after_failure.says(JobError(f"Not quoted: {WORDS}"), CAUSE)


def test_nothing_found(found: dict[str, Any]) -> None:
    """The message stays as it is, and that nothing was found is in the result."""
    found["does"] = lambda: Diagnosis([], [])
    assert after_failure.explained(NO_ANSWER, {}, Scope()) == {
        "msg": "No 200.",
        "diagnosis": Diagnosis([], []).as_dict(),
    }


@pytest.mark.parametrize("error", [Unreachable("gone"), JobError("no credentials"), KeyError("metadata")])
def test_failure_of_the_diagnosis(error: Exception, found: dict[str, Any]) -> None:
    """Is nobody's business."""

    def fail() -> Diagnosis:
        raise error

    found["does"] = fail
    assert after_failure.explained(NO_ANSWER, {}, Scope()) == {"msg": "No 200."}


def test_time(found: dict[str, Any]) -> None:
    """One that takes too long is not waited for."""

    def sleep() -> Diagnosis:
        time.sleep(2)
        return Diagnosis([CAUSE], [])

    found["does"] = sleep
    started = time.monotonic()
    assert after_failure.explained(NO_ANSWER, {}, Scope(), seconds=0.2) == {"msg": "No 200."}
    assert time.monotonic() - started < 1


def failing(looks: bool) -> SimpleNamespace:
    """A job that fails before it looks at anything, or after."""

    def run(task: Task) -> dict[str, Any]:
        task.looks_at = Scope() if looks else None
        raise JobError("No 200.", tried=3)

    return SimpleNamespace(run=run)


def test_jobs(found: dict[str, Any]) -> None:
    """Only those that have begun to look at the mesh are explained by it; details go along."""
    plain = perform(failing(False), Task({}))
    del plain["timing"]
    assert plain == {
        "failed": True,
        "msg": "No 200.",
        "errors": [NO_ANSWER.parts()],
        "tried": 3,
        "changed": False,
    }
    result = perform(failing(True), Task({}))
    assert result["msg"].endswith(str(CAUSE))
    assert result["errors"] == [NO_ANSWER.parts()]
    assert (result["tried"], result["diagnosis"]["main"]["object"]) == (3, "Deployment shop/web")
