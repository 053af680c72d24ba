# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A failure has parts, and one text that is made of them."""

from __future__ import annotations

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import NotServed, Unreachable
from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout, JobError, JobErrors, sentence
from ansible_collections.meshops.istio.plugins.module_utils.findings import CODES
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import HelmError
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import ChartError

FIRST = JobError("is full.", object="Node a", fix="Add one.", code="room-none", quotes=["no room"], tried=3)
SECOND = ErrorAbout("x is none.", object="port", tried=4, more=1)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (JobError("It is full."), "It is full."),
        (JobError("It is full.", fix="Add one."), "It is full. Add one."),
        (JobError("is full.", object="Node a"), "Node a is full."),
        (FIRST, "Node a is full. Add one."),
        (SECOND, "port: x is none."),
        (ErrorAbout("x is none.", fix="Give one."), "x is none. Give one."),
        (Unreachable("is down.", object="The API server"), "The API server is down."),
        (ChartError("is gone.", object="Chart base", fix="Take another."), "Chart base is gone. Take another."),
        (ChartError("it is gone.", object="Chart base", joint=": ", fix="No."), "Chart base: it is gone. No."),
        (
            HelmError(["pull", "a/b"], "Error: no"),
            "helm pull a/b failed: Error: no. Correct what helm reports, and run again.",
        ),
        (JobErrors([FIRST]), str(FIRST)),
        (JobErrors([FIRST, SECOND]), f"{FIRST}\n{SECOND}"),
        (
            JobErrors([FIRST, SECOND], lead="Nothing was written: ", between="; "),
            f"Nothing was written: {FIRST}; {SECOND}",
        ),
    ],
)
def test_text(error: JobError, text: str) -> None:
    """Object, condition and fix, as a person reads them."""
    assert str(error) == text


def test_parts() -> None:
    """Each as it was given, whatever the text is; what a code says is said by the table."""
    assert FIRST.parts() == {"code": "room-none", "object": "Node a", "message": "is full.", "fix": "Add one."}
    assert (FIRST.condition, SECOND.condition) == ("Node a is full.", "port: x is none.")
    assert (FIRST.errors, FIRST.details, FIRST.quotes) == ((FIRST,), {"tried": 3}, ("no room",))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("x"), "api-unreachable"),
        (NotServed("x"), ""),
        (ChartError("x"), "chart-missing"),
        (ChartError("x", code="chart-unverified"), "chart-unverified"),
        (HelmError(["template", "x"], "no"), "chart-refused"),
        (HelmError(["upgrade", "x"], "no"), ""),
    ],
)
def test_code(error: JobError, code: str) -> None:
    """Of a kind of failure that is always the same finding; of others there is none."""
    assert error.code == code
    assert not code or code in CODES


def test_several() -> None:
    """Parts, code and quotes are the first's, details of the first count before those of others, and none is lost."""
    both = JobErrors([FIRST, SECOND])
    assert both.parts() == FIRST.parts()
    assert both.errors == (FIRST, SECOND)
    assert both.details == {"tried": 3, "more": 1}
    assert both.quotes == ("no room",)


@pytest.mark.parametrize("words", ["correct it", "correct it.", "Correct it"])
def test_sentence(words: str) -> None:
    """Words of a table are a sentence at the edge, with one full stop."""
    assert sentence(words) == "Correct it."
