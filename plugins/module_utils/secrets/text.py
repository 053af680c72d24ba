# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text without what looks like a secret in it. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.secrets.names import names_secret

Mark = Callable[[Any], str]
#: Values that are no secret, whatever their key is called.
_HARMLESS = frozenset(("", "true", "false"))
#: Of this process and of those that it forks, as Ansible does its workers.
_RUN = os.urandom(32)
MARK = re.compile(r"<hidden: [0-9a-f]{8}>$|<hidden:$|\(hidden\)$")


def mark(secret: Any) -> str:
    """What is shown in place of a secret: the same for the same one, within one run."""
    data = secret if isinstance(secret, bytes) else str(secret).encode("utf-8", "surrogatepass")
    return f"<hidden: {hmac.new(_RUN, data, hashlib.sha256).hexdigest()[:8]}>"


_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
#: Of which a web token, JWT, is a part.
_RUN_OF_TOKEN = re.compile(r"[\w.-]{14,}")
_AUTHORIZATION = re.compile(
    r"(\bauthorization\\{0,3}[\"']?\s{0,8}[=:]\s{0,8}\\{0,3}[\"']?\w{1,40}\s{1,8})([^\s\"',;\\]+)", re.IGNORECASE
)
_SCHEME = re.compile(r"(\b(?:Bearer|Basic)\s{1,8})([\w.~+/=-]{8,})", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)([^/\s@\"']{1,2000})@")
_PROVIDERS = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{20,}|\bglpat-[\w-]{20,}|\bxox[abpr]-[\w-]{10,}")
#: A name and what comes between it and its value: ``name=``, ``"name": "``, and so in JSON within JSON.
_PAIR = re.compile(r"(?<![\w.-])([\w.-]+)(\\{0,3}[\"']?[ \t]{0,8}[=:][ \t]{0,8})")
_QUOTED = re.compile(r"(\\{0,3}\")([^\"\n]{1,4096}?)(?=\\{0,3}\")|(\\{0,3}')([^'\n]{1,4096})(?=')")
_BARE = re.compile(r"(\\{0,3}[\"']?)(?![\s\"'{\[])([^\s\"',;&}\]\\]{4,})")
_FLAG = re.compile(r"(?<![\w-])(--?[\w-]+)(\s{1,8})(?!-)(\S+)")
_BLOB = re.compile(r"(?<![\w+/])[A-Za-z0-9+/]{100,}={0,2}")
#: How a certificate begins in base64 of its PEM form and of its bytes; both are public.
_CERTIFICATE = ("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS", "MII")
#: How a PEM form begins in base64, which may be in lines.
_PEM_IN_BASE64 = re.compile(
    r"(?<![\w+/])LS0tLS1CRUdJTi[A-Za-z0-9+/]+={0,2}"
    r"(?:(?:[ \t\r]{0,8}\n[ \t]{0,40}|\\n)[A-Za-z0-9+/]{4,}={0,2}(?![\w:.+/-]))*"
)
#: A file's path is no secret; base64 may begin as one.
_PATH = re.compile(r"(?:~|\.{1,2})(?:/[\w.@-]{1,64}){1,32}/?|(?:/[\w.@-]{1,64}){2,32}/?")
_MIXED = re.compile(r"(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?=[^0-9]*[0-9])\w{8,}")
#: What begins a header, and is no secret itself.
_SCHEMES = frozenset(("bearer", "basic", "digest", "negotiate"))


def _is_path(value: str) -> bool:
    return bool(_PATH.fullmatch(value)) and not any(_MIXED.match(part) for part in value.split("/"))


def is_harmless(value: str) -> bool:
    return value.lower() in _HARMLESS or _is_path(value) or MARK.match(value) is not None


def _without_web_tokens(text: str, put: Mark) -> str:
    def replaced(match: re.Match[str]) -> str:
        run, start, last_dot = match[0], 0, match[0].rfind(".")
        while (start := run.find("eyJ", start)) >= 0:
            if last_dot < start + 11:
                break
            begins = not start or not (run[start - 1].isalnum() or run[start - 1] == "_")
            if begins and run.find(".", start, start + 11) < 0:
                return run[:start] + put(run[start:])
            start += 3
        return run

    return _RUN_OF_TOKEN.sub(replaced, text) if "eyJ" in text else text


def _without_values(text: str, put: Mark) -> str:
    """Without the values of names that name a secret: ``name=value``, ``"name": "value"``."""
    parts, done = [], 0
    for match in _PAIR.finditer(text):
        if match.start() < done or not names_secret(match[1]):
            continue
        value = _QUOTED.match(text, match.end()) or _BARE.match(text, match.end())
        if value is None:
            continue
        quote, secret = [group for group in value.groups() if group is not None]
        if not is_harmless(secret) and secret.lower() not in _SCHEMES:
            parts += [text[done : match.end()], quote, put(secret)]
            done = value.end()
    return "".join([*parts, text[done:]])


def _is_public(blob: str) -> bool:
    """Whether base64 is a certificate; several keys and certificates may be in one PEM file."""
    if not blob.startswith(_CERTIFICATE):
        return False
    digits = "".join(blob.replace("\\n", "").split())
    try:
        data = base64.b64decode(digits[: len(digits) // 4 * 4])
    except (binascii.Error, ValueError):
        return False
    # An X.509 certificate's version is the first that is in it; a private key begins with a number.
    return b"PRIVATE KEY" not in data if blob.startswith(_CERTIFICATE[0]) else b"\xa0\x03\x02\x01" in data[:16]


def _two_parts(match: re.Match[str], put: Mark) -> str:
    return match[1] + put(match[2])


def _scheme(match: re.Match[str], put: Mark) -> str:
    """With a digit or an equals sign: "basic authentication" is none."""
    return _two_parts(match, put) if re.search(r"[\d=]", match[2]) else match[0]


def _flag(match: re.Match[str], put: Mark) -> str:
    return match[1] + match[2] + put(match[3]) if names_secret(match[1]) and not is_harmless(match[3]) else match[0]


def _blob(match: re.Match[str], put: Mark) -> str:
    return match[0] if _is_public(match[0]) else put(match[0])


#: Expressions and what becomes of a match, in this order; ``_without_web_tokens`` and ``_without_values`` besides.
_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Mark], str]], ...] = (
    (_PEM, lambda match, put: put(match[0])),
    (_PEM_IN_BASE64, _blob),
    (_AUTHORIZATION, _two_parts),
    (_SCHEME, _scheme),
    (_LOGIN, lambda match, put: put(match[1]) + "@"),
    (_PROVIDERS, lambda match, put: put(match[0])),
    (_FLAG, _flag),
)


def hidden_text(text: str, put: Mark = mark) -> str:
    """Text without what looks like a secret in it."""
    for pattern, replaced in _RULES:
        text = pattern.sub(lambda match, replaced=replaced: replaced(match, put), text)
    text = _without_values(_without_web_tokens(text, put), put)
    return _BLOB.sub(lambda match: _blob(match, put), text)
