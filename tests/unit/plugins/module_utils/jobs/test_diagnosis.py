# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job looks where its options say, and never fails because of what it finds."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.diagnose import Diagnosis
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.symptom import Symptom
from ansible_collections.meshops.istio.plugins.module_utils.jobs import diagnosis
from ansible_collections.meshops.istio.plugins.module_utils.jobs.runner import perform
from ansible_collections.meshops.istio.plugins.module_utils.task import Scope, Task

CAUSE = Symptom("gateway-unknown", "VirtualService shop/web", "names Gateway shop/wbe.", "Name another.", ("wbe",))


def run(monkeypatch: pytest.MonkeyPatch, found: Diagnosis, **options: Any) -> tuple[dict[str, Any], list[Scope]]:
    """Run the job. :returns: its result, and what it looked at"""
    looked: list[Scope] = []
    monkeypatch.setattr(diagnosis, "Cluster", lambda params: None)

    def look(_cluster: None, scope: Scope) -> Diagnosis:
        looked.append(scope)
        return found

    monkeypatch.setattr(diagnosis, "read_and_diagnose", look)
    validated = ArgumentSpecValidator(diagnosis.ARGUMENT_SPEC).validate(options)
    assert not validated.error_messages
    return perform(diagnosis, Task(validated.validated_parameters)), looked


def test_finding_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is returned, and in words for people."""
    result, _looked = run(monkeypatch, Diagnosis([CAUSE], []))
    assert not result.get("failed")
    assert not result["changed"]
    assert result["diagnosis"]["main"] == CAUSE.as_dict()
    assert result["lines"] == [str(CAUSE), "  evidence: wbe"]


def test_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the options have it."""
    options = {
        "gateways": ["edge/in"],
        "application_namespaces": ["shop"],
        "host_header": "a.example",
        "connect": False,
    }
    _result, looked = run(monkeypatch, Diagnosis([], []), **options)
    assert looked == [Scope("istio-system", [("edge", "in")], ["shop"], host="a.example", connect=False)]


def test_gateway_without_a_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is refused."""
    result, looked = run(monkeypatch, Diagnosis([], []), gateways=["in"])
    assert result["msg"] == "gateways: in is not NAMESPACE/NAME. Write it like istio-system/istio-ingressgateway."
    assert looked == []
