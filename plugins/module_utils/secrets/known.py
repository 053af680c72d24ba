# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that are known as such, kept out of results, on any ansible-core.

Up to ansible-core 2.21 a module's results lost what ``no_log`` options hold, and an action could ask for the same.
Since 2.22 core hides registered secrets only in what it displays: a registered result, and so a file that is written
from it, holds them in clear. So this does both: it registers them where core can be told, and masks results itself,
with the placeholders that core has always used.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ansible_collections.meshops.istio.plugins.module_utils.secrets.hiding import LEAST, forms, hidden
from ansible_collections.meshops.istio.plugins.module_utils.secrets.text import hidden_text

try:
    from ansible.module_utils.secrets import register_secrets
except ImportError:  # before ansible-core 2.22

    def register_secrets(values: Iterable[str]) -> None:
        """Stand-in: core hides what ``no_log`` options hold, and results are masked here."""


#: In place of a value that is a secret, and of a part that is.
WHOLE, PART = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER", "********"


class KnownSecrets:
    """Secrets, however they are written: as they are, in JSON, in base64, in a URL.

    :arg credentials: those that core is told of too
    :arg others: secrets that are masked here alone
    """

    def __init__(self, credentials: Iterable[str] = (), others: Iterable[str] = ()) -> None:
        credentials = {secret for secret in map(str.strip, credentials) if secret}
        register_secrets(sorted(credentials))
        self._whole: set[str] = set()
        for secret in credentials | {secret for secret in map(str.strip, others) if secret}:
            self._whole |= {secret, *(form for form in _written(secret) if len(form) >= LEAST)}
        # The longest first: one may be the beginning of another.
        self._parts = sorted(self._whole, key=len, reverse=True)
        self._in_keys = [secret for secret in self._parts if len(secret) >= LEAST]

    def masked(self, value: Any) -> Any:
        """A copy of plain data without them. Keys may hold a long one, but "e" is in "changed" too."""
        if value is None or isinstance(value, bool) or not self._parts:
            return value
        if isinstance(value, str):
            return WHOLE if value in self._whole else self._without(value, self._parts)
        if isinstance(value, Mapping):
            return {
                self._without(key, self._in_keys) if isinstance(key, str) else key: self.masked(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple, set)):
            return [self.masked(item) for item in value]
        if isinstance(value, (int, float)):
            return WHOLE if any(secret in str(value) for secret in self._parts) else value
        return value

    @staticmethod
    def _without(text: str, secrets: Iterable[str]) -> str:
        for secret in secrets:
            text = text.replace(secret, PART)
        return text

    def line(self, text: str) -> str:
        """A line about the options, without what is known to be a secret and what looks like one."""
        return hidden_text(self._without(text, self._parts), lambda _secret: PART)

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A module's options as ``invocation`` shows them: also without what is a secret by its name, in values."""
        return hidden(self.masked(params), lambda _secret: WHOLE)


def _written(secret: str) -> set[str]:
    """Further forms of a secret; of base64, such as ``client-key-data``, the text that it encodes."""
    found = {*forms(secret), quote(secret, safe="")}
    try:
        decoded = base64.b64decode(secret, validate=True).decode()
    except (binascii.Error, ValueError):
        return found
    return {*found, decoded, decoded.strip(), *forms(decoded)} if "PRIVATE KEY" in decoded else found
