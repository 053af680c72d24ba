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
    WARNING,
    Finding,
    errors,
)

MISSING = Finding("helm-missing", "helm_binary", "helm is not at /opt/helm.", "Install helm.")
UNTESTED = Finding("kubernetes-untested", "Kubernetes", "1.38 is newer than 1.37.", "Test it first.")


@pytest.mark.parametrize("code", CODES)
def test_codes(code: str) -> None:
    """Words joined by hyphens, a severity that is one, and a sentence."""
    severity, meaning = CODES[code]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", code)
    assert severity in (ERROR, WARNING)
    assert re.fullmatch(r"[A-Z].+\.", meaning)


def test_meanings_differ() -> None:
    """Two codes of one meaning would be one too many."""
    assert len({meaning for _severity, meaning in CODES.values()}) == len(CODES)


def test_finding_in_a_result() -> None:
    """With the severity, which is the code's."""
    assert MISSING.as_dict() == {
        "severity": "error",
        "code": "helm-missing",
        "object": "helm_binary",
        "message": "helm is not at /opt/helm.",
        "fix": "Install helm.",
    }
    assert UNTESTED.severity == "warning"


def test_finding_as_text() -> None:
    """One line: the code, what it is about, the cause and the fix."""
    assert str(MISSING) == "[helm-missing] helm_binary: helm is not at /opt/helm. Fix: Install helm."


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
