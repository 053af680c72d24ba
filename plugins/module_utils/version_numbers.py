# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions as numbers: the one place where they are taken apart. Pure."""

from __future__ import annotations

import re


def numbers(version: str) -> tuple[int, ...]:
    """``(1, 31, 1)`` of ``v1.31.1-rc.0``, ``(1, 31)`` of ``1.31``; empty for what is no version."""
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(number) for number in match.groups() if number) if match else ()
