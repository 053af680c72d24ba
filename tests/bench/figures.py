# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured, reduced to a few figures. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

OURS, ISTIOCTL = "ours", "istioctl"
FRESH, RERUN = "fresh", "rerun"


@dataclass
class Sample:
    """One run of one contender.

    :ivar int round: from 1; 0 is the warm-up, which no figure uses
    :ivar str kind: ``fresh`` (from an empty cluster to the answer) or ``rerun`` (nothing to do)
    :ivar float seconds: from the first command's start until the app has answered 200 through the gateway
    :ivar float load: the machine's load average of the last minute, when the sample began
    :ivar float cpu: processor seconds of the contender's own processes; other load on the machine hardly changes it
    :ivar first_200: seconds from the start to the first 200 that anybody would have seen
    :ivar dict steps: seconds of each command
    :ivar dict requests: reads and writes of the API by user agent
    :ivar list tasks: our seconds, reads and writes by task
    :ivar list pods: seconds from the start at which each pod was created, was started and was Ready; whole seconds
    """

    round: int
    contender: str
    kind: str
    seconds: float
    load: float
    cpu: float = 0.0
    first_200: float | None = None
    steps: dict[str, float] = field(default_factory=dict)
    requests: dict[str, dict[str, int]] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    pods: list[dict[str, Any]] = field(default_factory=list)

    def total(self, key: str) -> int:
        """``reads`` or ``writes`` of all user agents together."""
        return sum(counts[key] for counts in self.requests.values())


def pick(samples: Iterable[Sample], contender: str, kind: str) -> list[Sample]:
    """The counted samples of one contender and kind, by round."""
    found = [s for s in samples if s.round > 0 and s.contender == contender and s.kind == kind]
    return sorted(found, key=lambda sample: sample.round)


def ratios(samples: Iterable[Sample], kind: str) -> list[float]:
    """Our seconds over istioctl's, round by round: neighbours in time, so that what disturbs one disturbs both."""
    samples = list(samples)
    theirs = {sample.round: sample.seconds for sample in pick(samples, ISTIOCTL, kind)}
    return [s.seconds / theirs[s.round] for s in pick(samples, OURS, kind) if s.round in theirs]


def typical(samples: Iterable[Sample]) -> Sample:
    """The sample of median duration; of two in the middle the shorter."""
    ordered = sorted(samples, key=lambda sample: sample.seconds)
    return ordered[(len(ordered) - 1) // 2]


def figures(samples: Iterable[Sample]) -> dict[str, float | int]:
    """The figures of a benchmark: medians over the rounds; a ratio below 1 means that we are faster.

    :raises ValueError: no round is complete
    """
    samples = list(samples)
    result: dict[str, float | int] = {}
    for kind in (FRESH, RERUN):
        pairs = ratios(samples, kind)
        if not pairs:
            raise ValueError("no round is complete")
        for contender, prefix in ((OURS, ""), (ISTIOCTL, "istioctl_")):
            chosen = pick(samples, contender, kind)
            result[f"{prefix}{kind}_s"] = round(statistics.median(sample.seconds for sample in chosen), 2)
            result[f"{prefix}{kind}_cpu_s"] = round(statistics.median(sample.cpu for sample in chosen), 2)
            for key in ("reads", "writes"):
                result[f"{prefix}{kind}_{key}"] = round(statistics.median(sample.total(key) for sample in chosen))
        result[f"{kind}_vs_istioctl"] = round(statistics.median(pairs), 3)
    return result


#: Heading, the figure's key without its contender's prefix, the key of the ratio, digits after the point.
ROWS = (
    ("empty cluster to 200, s", "fresh_s", "fresh_vs_istioctl", 1),
    ("again, nothing to do, s", "rerun_s", "rerun_vs_istioctl", 1),
    ("own processor time, fresh, s", "fresh_cpu_s", None, 1),
    ("own processor time, again, s", "rerun_cpu_s", None, 1),
    ("reads of the API, fresh", "fresh_reads", None, 0),
    ("writes to the API, fresh", "fresh_writes", None, 0),
    ("reads of the API, again", "rerun_reads", None, 0),
    ("writes to the API, again", "rerun_writes", None, 0),
)


def table(now: dict[str, Any], last: dict[str, Any] | None = None) -> str:
    """The figures for people.

    :arg last: the figures of the run before, whose times and ratios are shown beside
    """
    last = last or {}
    lines = [f"{'medians':<30}{'ours':>8}{'istioctl':>10}{'ratio':>8}{'last ours':>12}{'last ratio':>12}"]
    for heading, key, ratio, digits in ROWS:
        cells = [
            _cell(now.get(key), 8, digits),
            _cell(now.get(f"istioctl_{key}"), 10, digits),
            _cell(now.get(ratio), 8, 2),
            _cell(last.get(key), 12, digits),
            _cell(last.get(ratio), 12, 2),
        ]
        lines.append(f"{heading:<30}{''.join(cells)}".rstrip())
    return "\n".join(lines)


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'' if value is None else f'{value:.{digits}f}':>{width}}"
