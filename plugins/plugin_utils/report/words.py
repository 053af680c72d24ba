# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words and sentences of the report. Pure."""

from __future__ import annotations

import textwrap

#: Characters of a cause that are told where one line must do.
LONGEST = 160


def plural(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def brief(about: str, message: str) -> str:
    """An object and what is wrong with it on one line, however long the message is.

    :arg about: the object; "" where the message names it
    """
    text = " ".join((f"{about}: {message}" if about else message).split())
    return textwrap.shorten(text, LONGEST, placeholder=" ...") if " " in text[:LONGEST] else text[:LONGEST]
