# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The grammar of ``fieldsV1``, by which the API server says who holds which fields of an object. Pure.

A set is a tree of steps: ``{"f:spec": {"f:ports": {'k:{"port":80}': {".": {}, "f:name": {}}}}}``. A step leads to a key
of a map (``f:``), or to an item of a list by some of its keys (``k:``), by its value (``v:``) or by its place (``i:``);
``.`` is the map or item itself. A path is a tuple of steps (structured-merge-diff, ``fieldpath``).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from typing import Any

FieldSet = dict[str, Any]
FieldPath = tuple  # of steps
ITSELF = "."
#: There is nothing where a step leads to; None may be there.
MISSING = object()


def field(name: str) -> str:
    """The step to a key of a map."""
    return f"f:{name}"


def item(keys: dict[str, Any]) -> str:
    """The step to an item of a list."""
    return f"k:{json.dumps(keys, sort_keys=True, separators=(',', ':'))}"


def keys_of(step: str) -> dict[str, Any] | None:
    """The keys by which a step leads to an item; None where it leads to something else."""
    return json.loads(step[2:]) if step.startswith("k:") else None


def item_of(items: Any, keys: dict[str, Any]) -> Any:
    """The item of a list that has some keys, and None where there is none; keys left out were defaulted."""
    for each in items if isinstance(items, list) else []:
        if isinstance(each, dict) and all(each.get(key, value) == value for key, value in keys.items()):
            return each
    return None


def below(value: Any, step: str) -> Any:
    """What a step leads to; MISSING where it leads to nothing, or by a place in a list, which says nothing for long."""
    mark, _colon, name = step.partition(":")
    if mark == "f":
        return value.get(name, MISSING) if isinstance(value, dict) else MISSING
    if mark == "k":
        found = item_of(value, json.loads(name))
        return MISSING if found is None else found
    if mark == "v" and isinstance(value, list) and json.loads(name) in value:
        return json.loads(name)
    return MISSING


def labels_in(fields: FieldSet) -> set[str]:
    """Names of the labels that a set holds."""
    held = fields.get(field("metadata"), {}).get(field("labels"), {})
    return {step.partition(":")[2] for step in held if step != ITSELF}


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in one of two sets."""
    return {step: union(one.get(step, {}), other.get(step, {})) for step in {**one, **other}}


def paths(fields: FieldSet, before: FieldPath = ()) -> Iterator[FieldPath]:
    """What a set holds in one piece each."""
    for step, under in fields.items():
        if step == ITSELF:
            continue
        if any(each != ITSELF for each in under):
            yield from paths(under, (*before, step))
        else:
            yield (*before, step)


def unwanted(
    fields: FieldSet, wanted: Any, others: Iterable[FieldSet] = (), before: FieldPath = ()
) -> Iterator[FieldPath]:
    """The paths of a set to what a wanted object does not have, and none of some other sets holds."""
    for step, under in fields.items():
        if step == ITSELF or step.startswith("i:"):
            continue
        child, held = below(wanted, step), [each[step] for each in others if step in each]
        if child is MISSING and not held:
            yield (*before, step)
        else:
            yield from unwanted(under, child, held, (*before, step))


def named(path: FieldPath) -> str:
    """A path as the API server names it in a conflict: ``.webhooks[name="a"].failurePolicy``."""
    text = ""
    for step in path:
        mark, _colon, name = step.partition(":")
        if mark == "f":
            text += f".{name}"
        elif mark == "k":
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(name).items()) + "]"
        else:
            text += f"[{name}]" if mark == "i" else f"[={name}]"
    return text


def value_at(obj: Any, path: FieldPath) -> Any:
    """The value at a path; None when it is not there."""
    for step in path:
        obj = below(obj, step)
    return None if obj is MISSING else obj


def without(obj: dict[str, Any], gone: Iterable[FieldPath]) -> dict[str, Any]:
    """A copy of an object without what is at some paths; what is left empty by that goes too."""
    result = copy.deepcopy(obj)
    for path in gone:
        _remove(result, path)
    return result


def _remove(obj: Any, path: FieldPath) -> None:
    holder, step = value_at(obj, path[:-1]), path[-1]
    found = below(holder, step)
    if found is MISSING:
        return
    if isinstance(holder, dict):
        del holder[step.partition(":")[2]]
    else:
        holder.remove(found)
    if not holder and len(path) > 1:
        _remove(obj, path[:-1])


def with_values_of(obj: dict[str, Any], live: dict[str, Any], taken: Iterable[FieldPath]) -> dict[str, Any]:
    """A copy of an object that has the live values at some paths, where both have what they stand in."""
    result = copy.deepcopy(obj)
    for path in taken:
        holder, value = value_at(result, path[:-1]), value_at(live, path)
        if isinstance(holder, dict) and path[-1].startswith("f:"):
            holder[path[-1][2:]] = copy.deepcopy(value)
    return result
