# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one cause first, what it explains behind it, each finding once, and nothing of a healthy mesh."""

from __future__ import annotations

import pytest
from harness.mesh_objects import (
    KINDS,
    Object,
    codes,
    deployment,
    namespace,
    pod,
    refused,
    service,
    state,
    virtual_service,
)

from ansible_collections.meshops.istio.plugins.module_utils.codes import CODES
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.diagnose import LAYERS, diagnose, in_order
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.symptom import Symptom


def symptom(code: str, name: str = "x", breaks: str = "", needs: str = "") -> Symptom:
    """A finding. :arg breaks: names of things"""
    things = [frozenset((each, "", "") for each in names.split()) for names in (breaks, needs)]
    return Symptom(code, name, "is wrong.", "Mend it.", ("seen",), *things)


def test_healthy() -> None:
    """Nothing is found, and nothing is left out."""
    found = diagnose(state())
    assert (found.main, found.findings, found.skipped) == (None, [], [])
    assert found.as_dict() == {"main": None, "findings": [], "skipped": []}


def test_one_cause() -> None:
    """An application whose pods are refused has no endpoint, and its host is not answered for."""
    words = 'pods "x" is forbidden: unable to validate against any pod security policy: []'
    broken = state(deployment(available=0, conditions=refused(words)), without=("Pod/web-1-x",))
    found = diagnose(broken).as_dict()
    assert found["main"] == found["findings"][0]
    assert found["main"] == {
        "severity": "error",
        "code": "pod-security-refused",
        "object": "Deployment shop/web",
        "message": f"its pods are rejected: {words}.",
        "fix": "Bind a PodSecurityPolicy to the pod's service account (role psp_rbac).",
        "evidence": [words],
    }
    assert [each["code"] for each in found["findings"][1:]] == ["service-without-endpoints"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([("image-pull", "", ""), ("gateway-unknown", "", "")], ["image-pull", "gateway-unknown"]),
        ([("injection-partial", "", ""), ("gateway-unknown", "", "")], ["gateway-unknown", "injection-partial"]),
        ([("image-pull", "a", "b"), ("gateway-unknown", "b", "")], ["gateway-unknown", "image-pull"]),
        ([("injection-partial", "a", ""), ("gateway-unknown", "", "a")], ["injection-partial", "gateway-unknown"]),
        ([("image-pull", "a", "a")], ["image-pull"]),
    ],
    ids=["as-found", "errors-first", "cause-first", "even-a-warning", "not-itself"],
)
def test_order(found: list[tuple[str, str, str]], expected: list[str]) -> None:
    """Causes, then errors, then as the layers have them."""
    made = [symptom(code, "x", breaks, needs) for code, breaks, needs in found]
    assert [each.code for each in in_order(made)] == expected


def test_each_once() -> None:
    """However many rules say it."""
    assert len(in_order([symptom("image-pull"), symptom("image-pull"), symptom("image-pull", "y")])) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_may_not_be_read(kind: str) -> None:
    """No rule stumbles, none says anything, and those that are left out are named once."""
    found = diagnose(state(unread=(kind,)))
    assert found.findings == []
    assert all(f"no permission to read {kind}" in line or f" {kind}" in line for line in found.skipped)
    assert len(set(found.skipped)) == len(found.skipped)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_which_nothing_is_there(kind: str) -> None:
    """No rule stumbles, none is left out, and what is found has a fix."""
    broken = state()
    broken.objects[kind] = []
    found = diagnose(broken)
    assert found.skipped == []
    assert all(each.object and each.message and each.fix for each in found.findings)


def test_layers_are_in_the_order_of_what_needs_what() -> None:
    """The cluster before the mesh, the mesh before what goes through it."""
    names = [name for name, _rules in LAYERS]
    assert names == ["admission", "control plane", "pods", "injection", "routing", "exposure", "mutual TLS", "istioctl"]
    rules = [rule for _name, rules in LAYERS for rule in rules]
    assert len({rule.about for rule in rules}) == len(rules)


def test_two_faults() -> None:
    """That have nothing to do with each other: the deeper first."""
    several: list[Object] = [
        virtual_service(to={"host": "wbe"}),
        namespace("spare", istio_injection="enabled"),
        pod("spare", "spare", "app"),
        service("spare", "spare"),
    ]
    assert codes(state(*several, applications={"shop", "spare"})) == ["destination-unknown", "injection-partial"]


def test_every_finding_can_be_acted_upon() -> None:
    """Its code is known; its texts are sentences."""
    for changed in ([virtual_service(gateways=["x"])], [service(app="x")], [namespace(rev="x")]):
        for finding in diagnose(state(*changed)).findings:
            assert finding.code in CODES
            assert finding.message.endswith(".")
            assert finding.evidence
            assert str(finding).startswith(f"[{finding.code}] {finding.object}: ")
