# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets taken out of a report, whoever put them into a message. Pure.

A second line of defence: results hold no secret that is known as one. What looks like one is known in one place,
``hiding``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.secrets.hiding import hidden

HIDDEN = "(hidden)"
#: Characters that a known secret must have: a shorter one would be found inside of words.
LEAST = 4


def redacted(value: Any, secrets: Iterable[str] = ()) -> Any:
    """A copy of plain data without what is, or looks like, a secret.

    :arg secrets: strings that are known to be some
    """
    return hidden(value, lambda _secret: HIDDEN, (secret for secret in secrets if len(secret) >= LEAST))
