# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""What the test bed raises; ``__main__`` turns it into one message and an exit code."""

from __future__ import annotations


class BedError(Exception):
    """The bed cannot go on. The text says what is wrong and what to do about it."""

    exit_code = 1


class CannotRunContainers(BedError):
    """This machine or user cannot run containers at all."""

    exit_code = 3
