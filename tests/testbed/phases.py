# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Progress, told: what runs, how long it usually takes, how long it took.

[3/9] Kubernetes programs … expected ~8 min cold
[3/9] Kubernetes programs: done in 481 s
[4/9] helm: cached
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Phase:
    """One numbered step. ``start`` is called only when there is work, so a cached step takes one line."""

    def __init__(self, phases: Phases, number: int, name: str, expected: str) -> None:
        self._phases, self._number, self.name, self._expected = phases, number, name, expected
        self._started: float | None = None
        self.note = ""

    def start(self) -> None:
        """Says that the work begins; called twice it says so once."""
        if self._started is None:
            self._started = self._phases.clock()
            self._say(f"{self.name} …" + (f" expected {self._expected}" if self._expected else ""))

    def finish(self, error: BaseException | None = None) -> None:
        """Says how it ended, with the duration in seconds."""
        seconds = None if self._started is None else self._phases.clock() - self._started
        self._phases.durations[self.name] = seconds or 0.0
        if error is not None:
            self._say(f"{self.name}: failed" + (f" after {seconds:.0f} s" if seconds else ""))
        elif seconds is None:
            self._say(f"{self.name}: {self.note or 'cached'}")
        else:
            self._say(
                f"{self.name}: done in {seconds:.{0 if seconds >= 10 else 1}f} s"
                + (f" ({self.note})" if self.note else "")
            )

    def _say(self, text: str) -> None:
        self._phases.say(f"[{self._number}/{self._phases.total}] {text}")


class Phases:
    """Numbers the phases of one command, which may run in several threads.

    :param total: how many there will be
    :param stream: where the lines go (standard error by default: standard output is for results)
    :param clock: seconds, monotonic
    """

    def __init__(self, total: int, stream: TextIO | None = None, clock=time.monotonic) -> None:
        self.total, self.clock = total, clock
        self._stream, self._count, self._lock = stream or sys.stderr, 0, threading.Lock()
        self.durations: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Prints one line, whole, even when threads talk at once."""
        with self._lock:
            print(text, file=self._stream, flush=True)

    @contextmanager
    def phase(self, name: str, expected: str = "") -> Iterator[Phase]:
        """One phase around a block; an exception is reported as its failure and goes on."""
        with self._lock:
            self._count += 1
            number = self._count
        phase = Phase(self, number, name, expected)
        try:
            yield phase
        except BaseException as e:
            phase.finish(e)
            raise
        phase.finish()
