# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes objects compared: is the wanted one there already, and what would change?

Pure functions on decoded JSON. The rules are those of server-side apply: a manager owns the fields it applied, a field
that it applies no more goes away, fields of others and defaults stay.

An API server writes some values in its own way: ``2048Mi`` is stored as ``2Gi``, an empty map not at all. Whoever knows
what was applied before (``applied``) need not know those ways: a field that its manager owns still has been changed by
nobody since.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.capacity import quantity
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

Identity = tuple  # (apiVersion, kind, namespace or "", name)

#: What the API server keeps for itself: never part of a comparison or a diff.
_SERVER_METADATA = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")

#: Fields whose values are quantities, or maps of them.
_QUANTITIES = ("limits", "requests", "sizeLimit", "divisor", "averageValue")

#: What YAML takes for no character, or for the end of a line, unless it is escaped.
_UNSAFE_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def json_for_yaml(data: Any) -> str:
    """Data as JSON that readers of YAML take too: helm, istioctl, and API servers for an apply.

    JSON in ASCII is not: it escapes an emoji as a pair of halves, and to YAML neither half is a character.
    """
    text = json.dumps(data, ensure_ascii=False)
    return _UNSAFE_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def instant(text: str) -> datetime:
    """A timestamp of the API's."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def identity(obj: dict[str, Any]) -> Identity:
    """What makes an object that one: its API version, kind, namespace and name."""
    meta = obj["metadata"]
    return obj["apiVersion"], obj["kind"], meta.get("namespace") or "", meta["name"]


def contains(live: Any, wanted: Any, quantities: bool = False) -> bool:
    """Whether every field that is wanted has that value in the live object already.

    Lists must be of equal length, their items each contained; a default that the server added to an item does no harm.
    An empty map is not nothing: a ``namespaceSelector: {}`` selects all. A false negative only costs a dry run, which
    knows better.

    :arg quantities: the values are quantities, of which ``2048Mi`` and ``2Gi`` are the same
    """
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            contains(live.get(key), value, quantities or key in _QUANTITIES) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(contains(*pair) for pair in zip(live, wanted, strict=True))
        )
    alike = live == wanted and isinstance(live, bool) == isinstance(wanted, bool)
    return alike or (quantities and _same_quantity(live, wanted))


def _same_quantity(one: Any, other: Any) -> bool:
    try:
        return None not in (one, other) and quantity(one) == quantity(other)
    except JobError:
        return False


def owned(live: dict[str, Any], manager: str, *operations: str) -> dict[str, Any]:
    """The ``fieldsV1`` set that a manager owns; without operations, what it applied.

    :arg operations: ``Apply`` and ``Update``; the first that there is counts
    """
    entries = {
        entry.get("operation"): entry.get("fieldsV1") or {}
        for entry in live.get("metadata", {}).get("managedFields") or []
        if entry.get("manager") == manager and not entry.get("subresource")
    }
    return next((entries[operation] for operation in operations or ("Apply",) if operation in entries), {})


def item_of(items: Any, keys: dict[str, Any]) -> Any:
    """The item of an associative list that the key of a ``fieldsV1`` path names; keys left out were defaulted."""
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and all(item.get(key, value) == value for key, value in keys.items()):
            return item
    return None


def _below(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def abandoned(fields: dict[str, Any], live: Any, wanted: Any, applied: Any = None) -> bool:
    """Whether a ``fieldsV1`` set holds something that the wanted object has no more: the next apply would remove it.

    A path with none below it is owned as one piece, as the selector of a Service or the routes of a VirtualService are:
    there the live value has to be the wanted one, down to its last key.

    :arg applied: what the manager applied before, where that is known
    """
    for path, below in fields.items():
        mark, _colon, name = path.partition(":")
        if mark == "f":
            if not isinstance(wanted, dict) or name not in wanted:
                return True
            there, child, before = _below(live, name), wanted[name], _below(applied, name)
        elif mark == "k":
            there, child, before = (item_of(each, json.loads(name)) for each in (live, wanted, applied))
            if child is None:
                return True
        elif mark == "v":
            if not isinstance(wanted, list) or json.loads(name) not in wanted:
                return True
            continue
        else:
            continue
        if below:
            if abandoned(below, there, child, before):
                return True
        elif there != child and (before is None or before != child):
            return True
    return False


def in_place(live: Any, wanted: Any, fields: dict[str, Any], applied: Any = None, quantities: bool = False) -> bool:
    """As ``contains``, for one who knows which fields the manager owns and, where that is known, what it applied.

    A field that the manager owns in one piece, and that is wanted as it was applied, is in place, however the server
    has written it. Items of an associative list are found by their keys, so that items of others do no harm.
    """
    if isinstance(wanted, dict) and wanted:
        return all(
            _in_place_at(f"f:{key}", _below(live, key), value, fields, _below(applied, key), quantities, key)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list) and any(path.startswith("k:") for path in fields):
        return _items_in_place(live, wanted, fields, applied)
    return contains(live, wanted, quantities)


def _items_in_place(live: Any, wanted: list[Any], fields: dict[str, Any], applied: Any) -> bool:
    """Of an associative list: each item that is wanted is there, in this order."""
    keys = {path: json.loads(path[2:]) for path in fields if path.startswith("k:")}
    last = -1
    for child in wanted:
        path = next((path for path, named in keys.items() if item_of([child], named)), "")
        there = item_of(live, keys.get(path, {})) if path else None
        if there is None or not _in_place_at(path, there, child, fields, item_of(applied, keys[path])):
            return False
        position = live.index(there)
        if position <= last:
            return False
        last = position
    return True


def _in_place_at(
    path: str,
    live: Any,
    wanted: Any,
    fields: dict[str, Any],
    applied: Any,
    quantities: bool = False,
    key: str = "",
) -> bool:
    below = fields.get(path)
    if below == {} and applied is not None and wanted == applied:
        return True
    return in_place(live, wanted, below or {}, applied, quantities or key in _QUANTITIES)


def is_applied(
    live: dict[str, Any], wanted: dict[str, Any], manager: str, applied: dict[str, Any] | None = None
) -> bool:
    """Whether a server-side apply of the wanted object by this manager would certainly change nothing.

    :arg applied: what this manager applied last, where that is known
    """
    return in_place(live, wanted, owned(live, manager, "Apply", "Update"), applied) and not abandoned(
        owned(live, manager), live, wanted, applied
    )


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


def brief(obj: dict[str, Any]) -> dict[str, Any]:
    """An object fit for a diff that has nothing to compare with: of a definition's schemas only the lengths are told.

    Istio's are 900 KiB, in which nobody would find the rest.
    """
    if obj.get("kind") != "CustomResourceDefinition":
        return obj
    versions = obj["spec"].get("versions") or []
    told = [
        {**each, "schema": f"<{len(json.dumps(each['schema']))} characters>"} if "schema" in each else each
        for each in versions
    ]
    return {**obj, "spec": {**obj["spec"], "versions": told}}


def digest(obj: dict[str, Any]) -> str:
    """The same for objects that say the same."""
    return hashlib.sha256(json.dumps(obj, sort_keys=True).encode()).hexdigest()[:16]


def changed_fields(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    """Paths of the fields that differ between two states of an object, as ``spec.replicas``, ``spec.ports[0].port``."""
    return list(_changed(comparable(before), comparable(after), ""))


def _changed(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            name = f'["{key}"]' if "." in key or "/" in key else f"{'.' if path else ''}{key}"
            yield from _changed(before.get(key), after.get(key), path + name)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for position, pair in enumerate(zip(before, after, strict=True)):
            yield from _changed(*pair, f"{path}[{position}]")
    elif before != after:
        yield path
