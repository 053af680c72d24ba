# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets taken out of a report, whoever put them into a message. Pure.

A second line of defence: results hold no secret that is known as one. It looks for what secrets look like, and hides
too much rather than too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

HIDDEN = "(hidden)"

_NAMES = (
    r"pass(?:word|wd|phrase)?|token|secret|api[_-]?key|access[_-]?key|private[_-]?key|client[_-]key[_-]data"
    r"|client[_-]certificate[_-]data|certificate[_-]authority[_-]data"
)
#: Keys whose values are hidden, whatever they look like.
_KEY = re.compile(rf"(?:^|[_.-])(?:{_NAMES}|authorization|credentials?|kubeconfig)$", re.IGNORECASE)
#: What is hidden in any text, and what stays of it.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"), HIDDEN),
    (re.compile(r"\b(authorization[\"']?\s*[=:]\s*[\"']?\w+\s+)[^\s\"',;]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    # with a digit or an equals sign: "basic authentication" is none
    (re.compile(r"\b(Bearer|Basic)\s+(?=\S*[\d=])[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"(?<=://)[^/\s@\"']+@"), f"{HIDDEN}@"),
    (
        re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{20,}|\bglpat-[\w-]{20,}|\bxox[abpr]-[\w-]{10,}"),
        HIDDEN,
    ),
    # name=value, "name": "value"; a file's path is no secret
    (
        re.compile(
            rf"((?<![\w.-])[\w.-]*(?:{_NAMES})[\"']?\s*[=:]\s*[\"']?)(?![\s\"'/~(])[^\s\"',;&}}]{{4,}}", re.IGNORECASE
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(rf"(--[\w-]*(?:{_NAMES})\s+)(?!-)\S+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?<![\w+/])[A-Za-z0-9+/]{100,}={0,2}"), HIDDEN),
)


def redacted(value: Any, secrets: Iterable[str] = ()) -> Any:
    """A copy of plain data without what is, or looks like, a secret.

    :arg secrets: strings that are known to be some
    """
    # Longest first: one may be the beginning of another. What is short would be found inside of words.
    known = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)
    return _redacted(value, known)


def _redacted(value: Any, known: list[str]) -> Any:
    if isinstance(value, dict):
        return {
            _text(key, known): HIDDEN
            if isinstance(item, str) and item and _KEY.search(str(key))
            else _redacted(item, known)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redacted(item, known) for item in value]
    return _text(value, known) if isinstance(value, str) else value


def _text(value: Any, known: list[str]) -> Any:
    if not isinstance(value, str):
        return value
    for secret in known:
        value = value.replace(secret, HIDDEN)
    for pattern, stays in _PATTERNS:
        value = pattern.sub(stays, value)
    return value
