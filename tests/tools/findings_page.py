#!/usr/bin/env python3
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The codes in docs/findings.md, written from plugins/module_utils/codes.py; the rest of the page is written by hand.

findings_page.py          write them
findings_page.py --check  say whether they are current, and end with 1 if not
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.meshops.istio.plugins.module_utils.codes import CODES, Code  # noqa: E402

PAGE = ROOT / "docs/findings.md"
BEGIN = "<!-- codes: written by tests/tools/findings_page.py from plugins/module_utils/codes.py -->"
END = "<!-- end of codes -->"
WIDTH = 130
_PART = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
#: A word, or code with all its spaces: a command that is broken in two cannot be copied.
_WORD = re.compile(r"(?:[^\s`]*`[^`]*`)+[^\s`]*|\S+")


def wrapped(text: str) -> str:
    """Text in lines of at most ``WIDTH`` characters, code never broken."""
    lines = [""]
    for word in _WORD.findall(text):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def section(name: str, code: Code) -> str:
    """One code's section."""
    parts = {"Cause": code.cause, "See": code.see, "Fix": code.fix}
    return "\n\n".join(
        [f"### `{name}` ({code.severity})", *(wrapped(f"**{key}** {text}") for key, text in parts.items())]
    )


def part() -> str:
    """Everything between the marks, the marks included."""
    return "\n\n".join([BEGIN, *(section(name, code) for name, code in CODES.items()), END])


def page() -> str:
    """The page as it should be.

    :raises SystemExit: there is no place for the codes
    """
    text = PAGE.read_text()
    if len(_PART.findall(text)) != 1:
        raise SystemExit(f"{PAGE.relative_to(ROOT)}: there must be one pair of lines\n{BEGIN}\n{END}")
    return _PART.sub(lambda _match: part(), text)


def main() -> int:
    """Write the page, or say whether it is current."""
    wanted = page()
    if wanted == PAGE.read_text():
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{PAGE.relative_to(ROOT)} is not current: run tests/tools/findings_page.py")
        return 1
    PAGE.write_text(wanted)
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
