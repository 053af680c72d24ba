# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exceptions that a job raises for its user to read: their parts, and the one place where text is made of them.

Who handles one reads its parts. Nobody takes its text apart. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class JobError(Exception):
    """A failure of which users are told.

    :arg str message: the condition. After an object it goes on as a sentence: ``does not exist.``
    :ivar str object: the variable or Kubernetes object that it is about, as people name it; "" where the message names
        it itself
    :ivar str fix: what to do, in the imperative; "" where the condition says all
    :ivar str code: key of ``codes.CODES`` where the failure is one of those findings, else ""
    :ivar tuple quotes: words of others in the message (the kubelet's, helm's), by which a diagnosis of the same thing
        is known
    :ivar str joint: what stands between object and message in a text
    :ivar dict details: further keys of the failed task's result, such as ``findings``
    """

    def __init__(
        self,
        message: str,
        *,
        object: str = "",
        fix: str = "",
        code: str = "",
        quotes: Sequence[str] = (),
        joint: str = " ",
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.object = object
        self.fix = fix
        self.code = code
        self.quotes = tuple(quotes)
        self.joint = joint
        self.details = details

    @property
    def condition(self) -> str:
        """What is wrong with what, in one text."""
        return f"{self.object}{self.joint}{self.message}" if self.object else self.message

    @property
    def errors(self) -> tuple[JobError, ...]:
        """The failures that this one tells of: itself, unless it is one of several."""
        return (self,)

    def parts(self) -> dict[str, str]:
        """For a task's result."""
        return {"code": self.code, "object": self.object, "message": self.message, "fix": self.fix}

    def __str__(self) -> str:
        return f"{self.condition} {self.fix}" if self.fix else self.condition


def sentence(words: str) -> str:
    """Words of a table as a sentence of its own."""
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


class ErrorAbout(JobError):
    """A failure whose message is a clause of its own, told after its object and a colon: ``gateways: x is used twice.``

    That is how options are told of, whose object is their name or the path to a value in them.
    """

    def __init__(self, message: str, *, joint: str = ": ", **parts: Any) -> None:
        super().__init__(message, joint=joint, **parts)


class JobErrors(JobError):
    """Several failures at once. As one, it is the first of them.

    :arg errors: at least one
    :arg str lead: what stands before them in the text
    :arg str between: what stands between them
    """

    def __init__(self, errors: Sequence[JobError], *, lead: str = "", between: str = "\n") -> None:
        first = errors[0]
        details = {key: value for error in reversed(errors) for key, value in error.details.items()}
        quotes = [words for error in errors for words in error.quotes]
        super().__init__(
            first.message,
            object=first.object,
            fix=first.fix,
            code=first.code,
            quotes=quotes,
            joint=first.joint,
            **details,
        )
        self._all = tuple(errors)
        self._lead, self._between = lead, between

    @property
    def errors(self) -> tuple[JobError, ...]:
        """All of them."""
        return self._all

    def __str__(self) -> str:
        return self._lead + self._between.join(map(str, self._all))
