# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When what happened: the phases of a run, and each pod's way to ready, as bars on one scale. Pure.

The phases' times are this machine's clock, and the pods' are set to it: the cluster's may be another, and counts in
whole seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import conditions, pod_state

#: The steps on a pod's way, in their order: the condition that ends a step, and what the pod does until then.
STEPS = (
    ("PodScheduled", "scheduling"),
    ("Initialized", "init containers"),
    ("ContainersReady", "containers start"),
    ("Ready", "readiness gates"),
)
WAITING = "not ready yet"
#: A pod may seem to be older than the run that made it: its clock is another, and counts in seconds.
TOLERANCE = timedelta(seconds=2)
#: Distances of the marks on the scale, in seconds.
_MARKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
MOST_MARKS = 6


@dataclass(frozen=True)
class Bar:
    """A part of a lane.

    :ivar str kind: what it stands for
    :ivar float left: where it begins, in percent of the scale
    :ivar float width: in percent of the scale
    :ivar float start: where it begins, in seconds from the run's start
    :ivar float seconds: how long it takes
    """

    kind: str
    left: float
    width: float
    start: float
    seconds: float


@dataclass(frozen=True)
class Lane:
    """One phase or one pod.

    :ivar str note: what more there is to say of it
    """

    name: str
    group: str
    bars: list[Bar]
    note: str = ""

    @property
    def seconds(self) -> float:
        """How long all of it took."""
        return round(self.bars[-1].start + self.bars[-1].seconds - self.bars[0].start, 1) if self.bars else 0.0

    @property
    def words(self) -> str:
        """The lane for those who cannot see it."""
        return ", ".join(f"{part.kind} from {part.start:g} s to {part.start + part.seconds:g} s" for part in self.bars)


def instant(text: str) -> datetime:
    """A moment as Kubernetes and our results write it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def of_pods(pods: Iterable[dict[str, Any]], started: datetime, ahead: timedelta = timedelta(0)) -> list[dict[str, Any]]:
    """The way of each pod that became ready, or was made, since a run began; in the order in which they were made.

    :arg ahead: of the cluster's clock this machine's; what is within the tolerance is as good as nothing
    :returns: of each its namespace, name, creation, and steps as (what, until when); a pod that is not ready says why
    """
    found = []
    for pod in pods:
        meta, state = pod["metadata"], conditions(pod)
        if meta.get("deletionTimestamp") or pod.get("status", {}).get("phase") == "Succeeded":
            continue
        ends = {name: _here(state[name]["lastTransitionTime"], ahead) for name, _word in STEPS if _holds(state, name)}
        created = _here(meta["creationTimestamp"], ahead)
        begun = instant(ends.get("Ready") or created)
        if begun < started - TOLERANCE:
            continue
        found.append(
            {
                "namespace": meta.get("namespace", ""),
                "name": meta["name"],
                "created": created,
                "steps": [{"step": word, "until": ends[name]} for name, word in STEPS if name in ends],
                "ready": "Ready" in ends,
                "state": "" if "Ready" in ends else pod_state(pod) or WAITING,
            }
        )
    return sorted(found, key=lambda pod: (pod["created"], pod["namespace"], pod["name"]))


def _here(time: str, ahead: timedelta) -> str:
    """A moment of the cluster's, by this machine's clock."""
    if abs(ahead) <= TOLERANCE:
        return time
    return (instant(time) + ahead).isoformat(timespec="seconds").replace("+00:00", "Z")


def _holds(state: dict[str, dict[str, Any]], name: str) -> bool:
    condition = state.get(name, {})
    return condition.get("status") == "True" and bool(condition.get("lastTransitionTime"))


@dataclass(frozen=True)
class Timeline:
    """Lanes on one scale.

    :ivar list marks: (percent, seconds) of the marks on the scale
    """

    lanes: list[Lane]
    marks: list[tuple[float, int]]

    @property
    def kinds(self) -> list[str]:
        """What bars stand for, in the order of the steps."""
        seen = {part.kind for lane in self.lanes for part in lane.bars if lane.group == "pod"}
        return [word for word in [*(word for _name, word in STEPS), WAITING] if word in seen]


def draw(model: dict[str, Any]) -> Timeline:
    """The lanes of a report: first the phases, then the pods."""
    origin, end = instant(model["started"]), instant(model["ended"])
    total = max((end - origin).total_seconds(), 0.1)

    def between(kind: str, start: datetime, stop: datetime) -> Bar:
        from_, to = (min(max((moment - origin).total_seconds(), 0.0), total) for moment in (start, stop))
        to = max(from_, to)
        left, width = 100 * from_ / total, 100 * (to - from_) / total
        return Bar(kind, round(left, 2), round(width, 2), round(from_, 1), round(to - from_, 1))

    lanes = []
    for row in model["phases"]:
        if row["started"]:
            start = instant(row["started"])
            bars = [between(row["status"], start, start + timedelta(seconds=row["seconds"] or 0))]
            lanes.append(Lane(row["name"], "phase", bars))
    for pod in model["pods"]:
        bars, start = [], instant(pod["created"])
        for step in pod["steps"]:
            stop = max(start, instant(step["until"]))
            if stop > start:
                bars.append(between(step["step"], start, stop))
            start = stop
        if not pod["ready"]:
            bars.append(between(WAITING, start, end))
        elif not bars:
            bars.append(between(STEPS[-2][1], start, start))
        lanes.append(Lane(f"{pod['namespace']}/{pod['name']}", "pod", bars, pod["state"]))
    step = next((mark for mark in _MARKS if total / mark <= MOST_MARKS), int(total))
    marks = [(round(100 * second / total, 2), second) for second in range(0, int(total) + 1, step)]
    return Timeline(lanes, marks)
