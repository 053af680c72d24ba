# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words and sentences of the report. Pure."""

from __future__ import annotations

import re
from typing import Any

#: Characters of a cause that the verdict quotes.
LONGEST = 160


def plural(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def sentence(cause: dict[str, Any]) -> str:
    """The cause in one sentence, however long its message is."""
    text = " ".join(" ".join(filter(None, [cause["object"], cause["message"]])).split())
    first = re.split(r"(?<=[.!?])\s+(?=[A-Z\"'])", text, maxsplit=1)[0].rstrip(".")
    return f"{first}." if len(first) <= LONGEST else f"{first[:LONGEST].rsplit(' ', 1)[0]} ..."
