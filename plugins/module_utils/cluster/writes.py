# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which objects a task has written, for a failure to tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Where a Cluster takes note of what it writes.
NOTES: ContextVar[list[str] | None] = ContextVar("meshops_istio_written", default=None)


@contextmanager
def noted(written: list[str]) -> Iterator[None]:
    """Have every Cluster that is made in the block take note of each object that it writes, dry runs left out.

    By this a job that fails says the truth about what it has changed, wherever it fails.
    """
    token = NOTES.set(written)
    try:
        yield
    finally:
        NOTES.reset(token)
