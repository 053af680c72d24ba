# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""What a person sees while the bed works."""

from __future__ import annotations

import io

import pytest
from testbed.phases import Phases


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def clock():
    times = iter([0.0, 481.4, 500.0, 501.25])
    return lambda: next(times)


def test_work_is_announced_and_timed(stream, clock):
    phases = Phases(2, stream, clock)
    with phases.phase("Kubernetes", "~8 min cold") as phase:
        phase.start()
        phase.start()
    with phases.phase("helm") as phase:
        phase.start()
    assert stream.getvalue().splitlines() == [
        "[1/2] Kubernetes … expected ~8 min cold",
        "[1/2] Kubernetes: done in 481 s",
        "[2/2] helm …",
        "[2/2] helm: done in 1.2 s",
    ]
    assert phases.durations == {"Kubernetes": pytest.approx(481.4), "helm": pytest.approx(1.25)}


def test_a_cached_phase_takes_one_line(stream, clock):
    phases = Phases(1, stream, clock)
    with phases.phase("Kubernetes", "~8 min cold"):
        pass
    assert stream.getvalue() == "[1/1] Kubernetes: cached\n"


def test_a_note_says_why_there_was_no_work(stream, clock):
    with Phases(1, stream, clock).phase("docker") as phase:
        phase.note = "answers"
    assert stream.getvalue() == "[1/1] docker: answers\n"


def test_a_failure_is_told_and_passed_on(stream, clock):
    phases = Phases(1, stream, clock)

    def work():
        with phases.phase("Kubernetes") as phase:
            phase.start()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        work()
    assert stream.getvalue().splitlines()[-1] == "[1/1] Kubernetes: failed after 481 s"
