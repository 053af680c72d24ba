# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JUnit that AWX's and CI's readers take: well-formed whatever is in it, and its counts are right."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from harness import report_samples as samples

from ansible_collections.meshops.istio.plugins.plugin_utils.report import junit, model


def suite(phases: dict[str, Any], **more: Any) -> ET.Element:
    """The one suite of a sample's file."""
    root = ET.fromstring(junit.render(model.build(phases, "kvm", samples.NOW, **more)))  # noqa: S314 -- our own
    (found,) = root
    return found


def cases(found: ET.Element, tag: str) -> list[str]:
    """Names of the cases that hold a tag."""
    return [case.get("name", "") for case in found if case.find(tag) is not None]


def test_run_that_went_well() -> None:
    """A case a phase, finding and piece of evidence, with its time; none fails."""
    found = suite(samples.GREEN)
    assert {key: found.get(key) for key in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "11",
        "failures": "0",
        "errors": "0",
        "skipped": "1",
        "time": "22.500",
    }
    assert [(case.get("classname"), case.get("name")) for case in found][4:] == [
        ("istio.phase", "liveness_verify"),
        ("istio.finding.preflight", "room-short cluster"),
        ("istio.evidence", f"{samples.URL} answers 200"),
        ("istio.evidence", "mutual TLS between gateway and application"),
        ("istio.evidence", "gateway edge/public"),
        ("istio.evidence", "gateway istio-system/istio-egressgateway"),
        ("istio.evidence", "gateway edge/inner"),
    ]
    assert cases(found, "skipped") == ["gateway edge/inner"]
    assert found[3].get("time") == "8.700"


def test_run_that_failed() -> None:
    """The phase fails, and so does each error that was found; what was not reached is skipped."""
    found = suite(samples.REFUSED)
    assert cases(found, "failure") == ["preflight", f"node-port-taken {samples.ERROR['object']}"]
    assert cases(found, "skipped") == ["psp_rbac", "crds", "istio_helm", "liveness_verify"]
    assert (found.get("failures"), found.get("skipped")) == ("2", "4")
    assert "Fix: Choose another" in (found.findall(".//failure")[1].text or "")


def test_evidence_of_a_failure_is_in_its_text() -> None:
    """A reader of CI sees no other page."""
    text = suite(samples.DIAGNOSED).findall(".//failure")[1].text or ""
    assert text.splitlines()[1:] == [
        "event Failed: failed to resolve reference",
        "no other pod uses that image",
        "Fix: Correct liveness_verify_image.",
    ]


def test_hostile_texts() -> None:
    """Control characters and lone surrogates have no place in XML, however they are escaped."""
    found = suite(samples.hostile())
    assert samples.SCRIPT in (found.findall(".//failure")[-1].text or "")


@pytest.mark.parametrize("status", [404, None])
def test_answer_that_is_none(status: int | None) -> None:
    """Evidence of another status is a failure, should there ever be one."""
    proof = {**samples.GREEN["liveness_verify"], "evidence": {"url": samples.URL, "status": status}}
    assert cases(suite({"liveness_verify": proof}), "failure") == [f"{samples.URL} answers 200"]
