# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes objects compared: is the wanted one there already, and what would change?

Pure functions on decoded JSON. The rules are those of server-side apply: a manager owns the fields it applied, a field
that it applies no more goes away, fields of others and defaults stay.
"""

from __future__ import annotations

import copy
import json
from typing import Any

Identity = tuple  # (apiVersion, kind, namespace or "", name)

#: What the API server keeps for itself: never part of a comparison or a diff.
_SERVER_METADATA = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")

#: Where `kubectl apply` keeps a copy of the whole object.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def identity(obj: dict[str, Any]) -> Identity:
    """What makes an object that one: its API version, kind, namespace and name."""
    meta = obj["metadata"]
    return obj["apiVersion"], obj["kind"], meta.get("namespace") or "", meta["name"]


def contains(live: Any, wanted: Any) -> bool:
    """Whether every field that is wanted has that value in the live object already.

    Lists must be of equal length, their items each contained; a default that the server added to an item does no harm.
    An empty map is not nothing: a ``namespaceSelector: {}`` selects all. A false negative (``500m`` against ``0.5``)
    only costs a dry run, which knows better.
    """
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(contains(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(contains(*pair) for pair in zip(live, wanted, strict=True))
        )
    return live == wanted and isinstance(live, bool) == isinstance(wanted, bool)


def _owned(live: dict[str, Any], manager: str) -> dict[str, Any]:
    for entry in live.get("metadata", {}).get("managedFields") or []:
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return entry.get("fieldsV1") or {}
    return {}


def _item(items: Any, keys: dict[str, Any]) -> Any:
    """The item of an associative list that the key of a ``fieldsV1`` path names; keys left out were defaulted."""
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and all(item.get(key, value) == value for key, value in keys.items()):
            return item
    return None


def abandoned(fields: dict[str, Any], live: Any, wanted: Any) -> bool:
    """Whether a ``fieldsV1`` set holds something that the wanted object has no more: the next apply would remove it.

    A path with none below it is owned as one piece, as the selector of a Service or the routes of a VirtualService are:
    there the live value has to be the wanted one, down to its last key.
    """
    for path, below in fields.items():
        mark, _colon, name = path.partition(":")
        if mark == "f":
            if not isinstance(wanted, dict) or name not in wanted:
                return True
            there, child = (live or {}).get(name), wanted[name]
        elif mark == "k":
            there, child = _item(live, json.loads(name)), _item(wanted, json.loads(name))
            if child is None:
                return True
        elif mark == "v":
            if not isinstance(wanted, list) or json.loads(name) not in wanted:
                return True
            continue
        else:
            continue
        if abandoned(below, there, child) if below else there != child:
            return True
    return False


def is_applied(live: dict[str, Any], wanted: dict[str, Any], manager: str) -> bool:
    """Whether a server-side apply of the wanted object by this manager would certainly change nothing."""
    return contains(live, wanted) and not abandoned(_owned(live, manager), live, wanted)


def comparable(obj: dict[str, Any] | None) -> dict[str, Any]:
    """A copy without what the server keeps for itself and without status; ``{}`` for None."""
    if not obj:
        return {}
    result = {key: value for key, value in obj.items() if key != "status"}
    result["metadata"] = {key: value for key, value in obj.get("metadata", {}).items() if key not in _SERVER_METADATA}
    return copy.deepcopy(result)


def same(before: dict[str, Any] | None, after: dict[str, Any] | None) -> bool:
    """Whether two states of an object are alike for a user."""
    return comparable(before) == comparable(after)


def masked(obj: dict[str, Any], before: dict[str, Any] | None = None) -> dict[str, Any]:
    """A copy fit for a diff: of a Secret's values it tells only the length, and whether they were others before."""
    result = comparable(obj)
    if result.get("kind") == "Secret":
        for field in ("data", "stringData"):
            if result.get(field):
                old = (before or {}).get(field) or {}
                result[field] = {key: _mask(value, old.get(key, value)) for key, value in result[field].items()}
        annotations = result["metadata"].get("annotations") or {}
        if _LAST_APPLIED in annotations:
            annotations[_LAST_APPLIED] = _mask(annotations[_LAST_APPLIED])
    return result


def _mask(value: Any, before: Any = None) -> str:
    changed = ", changed" if before not in (None, value) else ""
    return f"<{len(str(value))} characters{changed}>"
