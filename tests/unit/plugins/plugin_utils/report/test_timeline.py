# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bars begin and end where things did, on one scale."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from harness import report_samples as samples

from ansible_collections.meshops.istio.plugins.plugin_utils.report import model, timeline

STARTED = datetime(2026, 11, 26, 14, 14, 40, 500000, tzinfo=timezone.utc)


def drawn(phases: dict[str, Any], pods: list[dict[str, Any]]) -> timeline.Timeline:
    """The timeline of a sample."""
    return timeline.draw(model.build(phases, "kvm", samples.NOW, pods=pods))


def test_way_of_a_pod() -> None:
    """Step by step, as its conditions tell."""
    (pod,) = timeline.of_pods([samples.APP_POD], STARTED)
    assert (pod["namespace"], pod["name"], pod["ready"], pod["state"]) == ("liveness", "liveness-c56d", True, "")
    assert [(step["step"], step["until"][14:19]) for step in pod["steps"]] == [
        ("scheduling", "14:56"),
        ("init containers", "15:01"),
        ("containers start", "15:02"),
        ("readiness gates", "15:02"),
    ]


def test_pods_that_were_ready_before_are_left_out() -> None:
    """They are not this run's; the others come in the order in which they were made."""
    found = timeline.of_pods([samples.APP_POD, samples.OLD_POD, samples.ISTIOD], STARTED)
    assert [pod["name"] for pod in found] == ["istiod-66f6", "liveness-c56d"]


@pytest.mark.parametrize(("seconds", "drawn"), [(1, True), (2, True), (3, False)])
def test_clock_of_the_cluster_is_another(seconds: int, drawn: bool) -> None:
    """And counts in whole seconds: a little before the start is at the start."""
    ready = timeline.instant("2026-11-26T14:14:52Z")
    assert bool(timeline.of_pods([samples.ISTIOD], ready + timedelta(seconds=seconds))) is drawn


@pytest.mark.parametrize("minutes", [-10, 10])
def test_pods_are_set_to_the_clock_of_the_run(minutes: int) -> None:
    """Else those of a run whose clock is ahead would be left out, and of one behind those of earlier runs drawn."""
    ahead = timedelta(minutes=minutes)
    pods = [samples.APP_POD, samples.OLD_POD, samples.ISTIOD]
    by_ours = timeline.of_pods(pods, STARTED + ahead, ahead)
    by_theirs = timeline.of_pods(pods, STARTED)
    assert [pod["name"] for pod in by_ours] == [pod["name"] for pod in by_theirs]
    for ours, theirs in zip(by_ours, by_theirs, strict=True):
        assert timeline.instant(ours["created"]) - timeline.instant(theirs["created"]) == ahead
        untils = zip(ours["steps"], theirs["steps"], strict=True)
        assert all(timeline.instant(a["until"]) - timeline.instant(b["until"]) == ahead for a, b in untils)


def test_pod_that_is_not_ready_says_why() -> None:
    """And is drawn to the end of the run."""
    lanes = drawn(samples.FAILED, [samples.BROKEN_POD]).lanes
    assert lanes[-1].note == "app: ErrImagePull"
    assert [(bar.kind, bar.seconds) for bar in lanes[-1].bars] == [("init containers", 4.0), ("not ready yet", 11.0)]
    assert lanes[-1].words == "init containers from 7.5 s to 11.5 s, not ready yet from 11.5 s to 22.5 s"


@pytest.mark.parametrize("change", [{"deletionTimestamp": "2026-11-26T14:15:00Z"}, {}])
def test_pods_that_go_or_have_done_their_work_are_left_out(change: dict[str, str]) -> None:
    """An older template's pod, a job's."""
    pod = {**samples.ISTIOD, "metadata": {**samples.ISTIOD["metadata"], **change}}
    if not change:
        pod["status"] = {**pod["status"], "phase": "Succeeded"}
    assert timeline.of_pods([pod], STARTED) == []


def test_bars_are_where_things_happened() -> None:
    """In percent of the run: istio_helm began 6 of its 22.5 seconds after the start."""
    lanes = {lane.name: lane for lane in drawn(samples.GREEN, samples.PODS).lanes}
    assert list(lanes) == [
        "preflight",
        "psp_rbac",
        "crds",
        "istio_helm",
        "liveness_verify",
        "istio-system/istiod-66f6",
        "liveness/liveness-c56d",
    ]
    (helm,) = lanes["istio_helm"].bars
    assert (helm.left, helm.width, helm.start, helm.seconds) == (26.67, 38.67, 6.0, 8.7)
    assert [bar.kind for bar in lanes["liveness/liveness-c56d"].bars] == ["init containers", "containers start"]
    assert lanes["liveness/liveness-c56d"].seconds == 6.0


def test_bars_stay_on_the_scale() -> None:
    """Clocks disagree, and phases may end after the report's own time."""
    phases = {"preflight": {**samples.GREEN["preflight"], "timing": {"started": "2026-11-26T14:14:40Z", "seconds": 99}}}
    bars = [bar for lane in drawn(phases, [samples.BROKEN_POD]).lanes for bar in lane.bars]
    assert all(0 <= bar.left <= bar.left + bar.width <= 100 for bar in bars)


def test_pod_that_was_ready_in_its_first_second() -> None:
    """Has a bar nevertheless."""
    pod = samples.pod("quick", "x", "50", PodScheduled="50", Initialized="50", ContainersReady="50", Ready="50")
    (lane,) = [lane for lane in drawn(samples.GREEN, [pod]).lanes if lane.group == "pod"]
    assert [bar.seconds for bar in lane.bars] == [0.0]


@pytest.mark.parametrize("seconds", [0, 0.4, 3, 22.5, 61, 700, 90000])
def test_marks_are_few_and_in_order(seconds: float) -> None:
    """Whether the run took a moment or a day."""
    report = model.build(samples.GREEN, "kvm", STARTED + timedelta(seconds=seconds))
    marks = timeline.draw(report).marks
    assert marks[0] == (0, 0)
    assert marks == sorted(marks)
    assert len(marks) <= timeline.MOST_MARKS + 1
    assert marks[-1][0] <= 100


def test_only_kinds_that_are_drawn_are_explained() -> None:
    """In the order of the steps."""
    assert drawn(samples.GREEN, samples.PODS).kinds == ["init containers", "containers start"]
    assert drawn(samples.GREEN, []).kinds == []
