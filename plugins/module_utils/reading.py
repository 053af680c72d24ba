# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a cluster is read: some fields of each object, some namespaces or all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Objects = list[dict[str, Any]]
#: Namespaces up to which a list for each is made; a list of all is made for more.
FEW = 3


def kept(obj: Any, fields: Any) -> Any:
    """An object reduced to some of its fields.

    :arg fields: names, each with True or the fields below it
    """
    if fields is True or obj is None:
        return obj
    if isinstance(obj, list):
        return [kept(item, fields) for item in obj]
    return {name: kept(obj[name], below) for name, below in fields.items() if name in obj}


def joined(lists: Iterable[Objects | None]) -> Objects | None:
    """All objects of some lists; None when one of them may not be read."""
    found = list(lists)
    return None if None in found else [obj for objects in found for obj in objects or []]
