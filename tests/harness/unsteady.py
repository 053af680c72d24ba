# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A way to an API server on which some requests go wrong, by chance that can be repeated."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from harness.passage import Passage, Request

_REASONS = {
    429: ("TooManyRequests", "the server has received too many requests"),
    500: ("InternalError", "Internal error occurred: etcdserver: request timed out"),
    503: ("ServiceUnavailable", "apiserver not ready"),
}


class Unsteady(Passage):
    """While it is entered, every so often a request has a fault.

    :arg kinds: of ``FAULTS``
    :arg int rate: so many of a hundred requests
    :ivar counted: faults by their kind
    """

    def __init__(self, kubeconfig: Path, folder: Path, kinds: tuple[str, ...], rate: int, seed: int) -> None:
        super().__init__(kubeconfig, folder, f"unsteady-{seed}")
        self._kinds, self._rate = kinds, rate
        self._random = Random(seed)  # noqa: S311 - nothing is kept secret by it
        self._lock = threading.Lock()
        self.counted: Counter[str] = Counter()

    def take(self, request: Request) -> None:
        """Hand a request on, or let something happen to it."""
        with self._lock:
            kind = self._random.choice(self._kinds) if self._random.randrange(100) < self._rate else ""
            self.counted[kind] += 1
        FAULTS.get(kind, Passage.hand_on)(self, request)


def _answers(status: int) -> Callable[[Passage, Request], None]:
    reason, message = _REASONS[status]
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
    more: dict[str, Any] = {"retry_after": "1"} if status == 429 else {}
    return lambda _passage, request: request.answer(status, {**body, "reason": reason, "message": message}, **more)


def _late(passage: Passage, request: Request) -> None:
    time.sleep(1.5)
    passage.hand_on(request)


def _unheard(passage: Passage, request: Request) -> None:
    """It is carried out, and nobody hears of it."""
    _status, _headers, length, _chunks = passage.ask(request)
    assert length is not None or "watch=" in request.path
    request.drop()


def _cut(passage: Passage, request: Request) -> None:
    """Half an answer."""
    status, headers, length, chunks = passage.ask(request)
    request.begin(status, headers, length)
    data = next(chunks, b"")
    request.handler.wfile.write(data[: len(data) // 2])
    request.drop()


#: What may happen to a request.
FAULTS: dict[str, Callable[[Any, Request], None]] = {
    "429": _answers(429),
    "500": _answers(500),
    "503": _answers(503),
    "late": _late,
    "lost": lambda _passage, request: request.drop(),
    "unheard": _unheard,
    "cut": _cut,
}
