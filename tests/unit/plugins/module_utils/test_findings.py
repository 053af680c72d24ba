# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A finding carries what its code says of it, and only errors stop a run."""

from __future__ import annotations

import re

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.findings import (
    CODES,
    ERROR,
    MOST_SHOWN,
    WARNING,
    Finding,
    errors,
    shown,
)

MISSING = Finding("helm-missing", "helm_binary", "helm was not found at /opt/helm.", "Install helm.")
UNTESTED = Finding("kubernetes-untested", "Kubernetes", "1.38 is newer than 1.37.", "Test it first.")


@pytest.mark.parametrize("code", CODES)
def test_codes(code: str) -> None:
    """Words joined by hyphens, and a severity that is one."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", code)
    assert CODES[code] in (ERROR, WARNING)


def test_finding_in_a_result() -> None:
    """With the severity, which is the code's."""
    assert MISSING.as_dict() == {
        "severity": "error",
        "code": "helm-missing",
        "object": "helm_binary",
        "message": "helm was not found at /opt/helm.",
        "fix": "Install helm.",
    }
    assert UNTESTED.severity == "warning"


def test_finding_as_text() -> None:
    """One line: the code, what it is about, the cause and the fix."""
    assert str(MISSING) == "[helm-missing] helm_binary: helm was not found at /opt/helm. Fix: Install helm."


def test_code_that_is_not_in_the_table() -> None:
    """Is a mistake of ours, and shows as one."""
    with pytest.raises(KeyError):
        _ = Finding("no-such-code", "", "", "").severity


def test_findings_that_are_alike_are_one() -> None:
    """Two checks may find the same."""
    assert {MISSING, Finding(**{key: value for key, value in MISSING.as_dict().items() if key != "severity"})} == {
        MISSING
    }


def test_errors() -> None:
    """Warnings do not stop a run; the order stays."""
    unsupported = Finding("helm-unsupported", "helm_binary", "helm is 5.0.0.", "Use helm 4.")
    assert errors(iter([UNTESTED, MISSING, UNTESTED, unsupported])) == [MISSING, unsupported]
    assert errors([UNTESTED]) == []


def test_warnings_that_are_shown_are_few_of_each_code() -> None:
    """Ten of each code, and how many more; the order stays."""
    many = [Finding("port-unnamed", f"Service {number}", "x.", "y.") for number in range(MOST_SHOWN + 3)]
    lines = shown([UNTESTED, *many])
    assert lines[:2] == [str(UNTESTED), str(many[0])]
    assert len(lines) == 1 + MOST_SHOWN + 1
    assert lines[-1] == "[port-unnamed] and 3 more."
    assert shown(many[:MOST_SHOWN]) == [str(finding) for finding in many[:MOST_SHOWN]]
