# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Medians, ratios and the table."""

from __future__ import annotations

import pytest
from bench.figures import FRESH, ISTIOCTL, OURS, RERUN, Sample, figures, pick, ratios, table, typical


def sample(number, contender, kind, seconds, **agents):
    """A sample whose user agents made (reads, writes)."""
    requests = {agent: {"reads": reads, "writes": writes} for agent, (reads, writes) in agents.items()}
    return Sample(number, contender, kind, seconds, load=1.0, requests=requests)


@pytest.fixture
def samples():
    """Three rounds and a warm-up that would spoil every figure."""
    found = [sample(0, who, kind, 999.0, helm=(999, 999)) for who in (OURS, ISTIOCTL) for kind in (FRESH, RERUN)]
    for number, ours, theirs in ((3, 40.0, 20.0), (1, 10.0, 20.0), (2, 30.0, 10.0)):
        found += [
            sample(number, OURS, FRESH, ours, helm=(100, 40), ours=(20, 5)),
            sample(number, ISTIOCTL, FRESH, theirs, istioctl=(50, 39)),
            sample(number, OURS, RERUN, ours / 10, ours=(20 + number, 0)),
            sample(number, ISTIOCTL, RERUN, theirs / 20, istioctl=(45, 39), kubectl=(8, 0)),
        ]
    return found


def test_figures_are_medians_over_the_counted_rounds(samples):
    found = figures(samples)
    assert (found["fresh_s"], found["istioctl_fresh_s"]) == (30.0, 20.0)
    assert (found["rerun_s"], found["istioctl_rerun_s"]) == (3.0, 1.0)


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_not_the_ratio_of_the_medians(samples):
    assert ratios(samples, FRESH) == [0.5, 3.0, 2.0]
    assert figures(samples)["fresh_vs_istioctl"] == 2.0


def test_requests_of_all_user_agents_are_added(samples):
    found = figures(samples)
    assert (found["rerun_reads"], found["rerun_writes"]) == (22, 0)
    assert (found["istioctl_rerun_reads"], found["istioctl_rerun_writes"]) == (53, 39)
    assert (found["fresh_reads"], found["fresh_writes"]) == (120, 45)


def test_processor_time_is_a_median_too(samples):
    for one, cpu in zip(pick(samples, OURS, RERUN), (5.0, 3.0, 4.0), strict=True):
        one.cpu = cpu
    assert figures(samples)["rerun_cpu_s"] == 4.0


def test_a_round_that_only_one_finished_has_no_ratio(samples):
    samples.append(sample(4, OURS, FRESH, 1.0))
    assert ratios(samples, FRESH) == [0.5, 3.0, 2.0]


def test_without_a_complete_round_there_are_no_figures():
    with pytest.raises(ValueError, match="no round is complete"):
        figures([sample(0, OURS, FRESH, 1.0), sample(0, ISTIOCTL, FRESH, 1.0)])


def test_the_typical_sample_is_one_that_was_measured(samples):
    assert typical(pick(samples, OURS, FRESH)).round == 2
    assert typical(pick(samples, OURS, FRESH)[:2]).seconds == 10.0


def test_the_table_shows_the_last_run_beside(samples):
    now = figures(samples)
    lines = table(now, now | {"fresh_s": 77.0}).splitlines()
    assert lines[0].split() == ["medians", "ours", "istioctl", "ratio", "last", "ours", "last", "ratio"]
    assert lines[1].endswith("    30.0      20.0    2.00        77.0        2.00")
    assert lines[-1].split()[-3:] == ["0", "39", "0"]


def test_the_first_table_has_nothing_beside(samples):
    assert table(figures(samples)).splitlines()[1].split()[-3:] == ["30.0", "20.0", "2.00"]
