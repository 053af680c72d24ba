# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes objects compared: is the wanted one there already, and what would change?

Pure functions on decoded JSON. The rules are those of server-side apply: a manager owns the fields it applied, a field
that it applies no more goes away, fields of others and defaults stay.

An API server writes some values in its own way: ``2048Mi`` is stored as ``2Gi``, an empty map not at all. Whoever knows
what was applied before (``applied``) need not know those ways: a field that its manager owns still has been changed by
nobody since. What another manager holds is compared; and whole, unless the server merges it key by key.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_sets import (
    field,
    item_of,
    keys_of,
    union,
    unwanted,
)
from ansible_collections.meshops.istio.plugins.module_utils.cluster.quantities import quantity
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

Identity = tuple  # (apiVersion, kind, namespace or "", name)

#: What the API server keeps for itself: never part of a comparison or a diff.
_SERVER_METADATA = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")

#: Fields whose values are quantities, or maps of them.
_QUANTITIES = ("limits", "requests", "sizeLimit", "divisor", "averageValue")

#: The one key of a merged list that the API server fills in: a port's.
_DEFAULT_KEYS = {"protocol": "TCP"}

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


def last_written(live: dict[str, Any], manager: str) -> str:
    """When a manager last changed an object or what it holds of it, by the API server's clock; "" where it never did.

    To the second, and in a form (RFC 3339, UTC) of which the later one is the greater.
    """
    found = live.get("metadata", {}).get("managedFields") or []
    times = [entry.get("time") or "" for entry in found if entry.get("manager") == manager]
    return max(times, default="")


def _below(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def held_by_anyone(live: dict[str, Any]) -> dict[str, Any]:
    """The fields of an object that some manager holds, as one ``fieldsV1`` set: by it the server's schema shows.

    What is held in parts (a path has others below it) is merged part by part. All else is held in one piece, as a
    Service's selector and a VirtualService's routes are: who adds a key to it has replaced it.
    """
    found: dict[str, Any] = {}
    for entry in live.get("metadata", {}).get("managedFields") or []:
        if entry.get("apiVersion") in (None, live.get("apiVersion")):  # another version has other fields
            found = union(found, entry.get("fieldsV1") or {})
    return found


class _Known(NamedTuple):
    """What is known of a place in an object, to compare what is there with what is wanted.

    :ivar dict own: what the manager holds there
    :ivar dict seen: what any manager holds there
    :ivar applied: what the manager applied there before; None where that is not known
    :ivar bool quantities: the values are quantities
    :ivar bool merged: a map of which others may have keys, whatever is seen: the object itself and its metadata
    """

    own: dict[str, Any]
    seen: dict[str, Any]
    applied: Any = None
    quantities: bool = False
    merged: bool = False

    def at(self, path: str, applied: Any, key: str = "", merged: bool = False) -> _Known:
        """One step further down."""
        quantities = self.quantities or key in _QUANTITIES
        return _Known(self.own.get(path) or {}, self.seen.get(path) or {}, applied, quantities, merged)

    def holds(self, path: str, wanted: Any, applied: Any) -> bool:
        """Whether the manager holds in one piece what it applied, and is to apply that again.

        However the server has written it: ``2048Mi`` as ``2Gi``, an empty map not at all, with defaults.
        """
        return self.own.get(path) == {} and applied is not None and wanted == applied


def _in_place(live: Any, wanted: Any, known: _Known) -> bool:
    """Whether applying a wanted value would certainly leave the live one as it is.

    A map or list that is merged may have keys and items of others. One that is held in one piece, or by nobody, has to
    be the wanted one down to its last key. A false negative only costs a dry run, which knows better.
    """
    if isinstance(wanted, dict):
        return isinstance(live, dict) and _map_in_place(live, wanted, known)
    if not isinstance(wanted, list):
        return contains(live, wanted, known.quantities)
    if not isinstance(live, list):
        return False
    marks = {path[:2] for path in known.seen}
    if "k:" in marks:
        return _items_in_place(live, wanted, known)
    if "v:" in marks:
        return _in_order([live.index(value) if value in live else -1 for value in wanted])
    nothing = _Known({}, {}, quantities=known.quantities)
    return len(live) == len(wanted) and all(_in_place(*pair, nothing) for pair in zip(live, wanted, strict=True))


def _map_in_place(live: dict[str, Any], wanted: dict[str, Any], known: _Known) -> bool:
    is_merged = known.merged or any(path.startswith("f:") for path in known.seen)
    if not is_merged and not live.keys() <= wanted.keys():
        return False
    for key, value in wanted.items():
        path, applied = field(key), _below(known.applied, key)
        if known.holds(path, value, applied):
            continue
        below = known.at(path, applied, key, merged=known.merged and key == "metadata")
        if not _in_place(live.get(key), value, below):
            return False
    return True


def _items_in_place(live: list[Any], wanted: list[Any], known: _Known) -> bool:
    """Of a list that is merged by keys: each item that is wanted is there, in this order."""
    keys = {step: named for step in known.seen if (named := keys_of(step)) is not None}
    positions = []
    for child in wanted:
        whole = {**_DEFAULT_KEYS, **child} if isinstance(child, dict) else child
        path = next((path for path, named in keys.items() if item_of([whole], named)), "")
        there = item_of(live, keys[path]) if path else None
        if there is None or not _in_place(there, child, known.at(path, item_of(known.applied, keys[path]))):
            return False
        positions.append(live.index(there))
    return _in_order(positions)


def _in_order(positions: list[int]) -> bool:
    return -1 not in positions and all(one < other for one, other in itertools.pairwise(positions))


def is_applied(
    live: dict[str, Any], wanted: dict[str, Any], manager: str, applied: dict[str, Any] | None = None
) -> bool:
    """Whether a server-side apply of the wanted object by this manager would certainly change nothing.

    :arg applied: what this manager applied last, where that is known
    """
    known = _Known(owned(live, manager, "Apply", "Update"), held_by_anyone(live), applied, merged=True)
    return _in_place(live, wanted, known) and not any(unwanted(owned(live, manager), wanted))


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


def reference(obj: dict[str, Any]) -> str:
    """An object as people name it: ``Deployment istio-system/istiod``."""
    meta = obj.get("metadata", {})
    name = meta.get("name", "")
    return "{} {}".format(obj.get("kind"), "{}/{}".format(meta["namespace"], name) if meta.get("namespace") else name)
