# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check found: severity, a stable code, the object, the message and the fix. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.codes import CODES, ERROR, WARNING

__all__ = ["CODES", "ERROR", "MOST_SHOWN", "WARNING", "Finding", "errors", "shown"]

#: Warnings of one code that are shown; the result holds them all.
MOST_SHOWN = 10


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    :ivar str code: key of ``CODES``
    :ivar str object: the variable or Kubernetes object that it is about
    :ivar str message: what is wrong with it, with figures
    :ivar str fix: what to do
    """

    code: str
    object: str
    message: str
    fix: str

    @property
    def severity(self) -> str:
        """``error`` or ``warning``."""
        return CODES[self.code]

    def parts(self) -> dict[str, str]:
        """Those that a failure has too."""
        return {"code": self.code, "object": self.object, "message": self.message, "fix": self.fix}

    def as_dict(self) -> dict[str, Any]:
        """For a task's result."""
        return {"severity": self.severity, **asdict(self)}

    def __str__(self) -> str:
        return f"[{self.code}] {self.object}: {self.message} Fix: {self.fix}"


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Those that stop a run."""
    return [finding for finding in findings if finding.severity == ERROR]


def shown(findings: Iterable[Finding]) -> list[str]:
    """Findings as lines for people, of each code at most ``MOST_SHOWN``, and then how many more there are."""
    lines, count = [], Counter()
    for finding in findings:
        count[finding.code] += 1
        if count[finding.code] <= MOST_SHOWN:
            lines.append(str(finding))
    more = [f"[{code}] and {number - MOST_SHOWN} more." for code, number in count.items() if number > MOST_SHOWN]
    return lines + more
