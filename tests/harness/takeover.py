# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other managers at an object: each field that is held in one piece is added to, replaced or cut short, in every way.

Which fields those are is read from the object's own ``managedFields``, so that no kind has to be known here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import JSON_PATCH, Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_sets import FieldPath, paths, value_at
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import owned, reference, same

Object = dict[str, Any]
OTHER = "example.com/by-another"


@dataclass(frozen=True)
class Piece:
    """A field of an object that its manager holds in one piece, and what somebody makes of it."""

    deed: str
    path: FieldPath


def pieces(live: Object, manager: str) -> list[Piece]:
    """Each map and list that a manager holds in one piece, with each deed."""
    held = [path for path in paths(owned(live, manager, "Apply", "Update")) if value_at(live, path)]
    return [Piece(deed, path) for path in held if isinstance(value_at(live, path), (dict, list)) for deed in _DEEDS]


def _added(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield {**value, OTHER: "x"}
        yield from _deeper(value)
        return
    if all(isinstance(item, dict) for item in value):
        yield from ([*value[:-1], one] for one in _added(value[-1]))
        yield [*value, value[-1]]
        yield from ([*value, {**value[-1], key: f"{each}x"}] for key, each in value[-1].items())
    else:
        yield [*value, "example.com" if isinstance(value[-1], str) else value[-1] + 1]
        yield [*value, "x"]
        yield [*value, value[-1]]


def _deeper(value: Object) -> Iterator[Any]:
    """With more somewhere below."""
    for key, below in value.items():
        if isinstance(below, (dict, list)) and below:
            yield from ({**value, key: one} for one in _added(below))
    yield {**value, "optional": True}
    yield {**value, "matchExpressions": [{"key": OTHER, "operator": "DoesNotExist"}]}


def _replaced(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from ({**value, key: one} for one in _replaced(below))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from ([*value[:number], one, *value[number + 1 :]] for one in _replaced(item))
        yield value[::-1]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, str):
        yield f"{value}x"
        yield "*"
    else:
        yield value + 1


def _removed(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield value[:-1]
        yield from ([*value[:-1], one] for one in _removed(value[-1]))
    elif isinstance(value, dict):
        yield from ({key: below for key, below in value.items() if key != gone} for gone in reversed(value))
        for key, below in value.items():
            yield from ({**value, key: one} for one in _removed(below))


_DEEDS: dict[str, Callable[[Any], Iterator[Any]]] = {"added to": _added, "replaced": _replaced, "cut short": _removed}


def _put(cluster: Cluster, manager: str, live: Object, _wanted: Object, path: FieldPath, value: Any) -> Object:
    return _sent(cluster, "PUT", cluster._path(live), manager, with_value(live, path, value))


def _patch(cluster: Cluster, manager: str, live: Object, _wanted: Object, path: FieldPath, value: Any) -> Object:
    patch = [{"op": "replace", "path": _pointer(live, path), "value": value}]
    return _sent(cluster, "PATCH", cluster._path(live), manager, patch, JSON_PATCH)


def _apply(cluster: Cluster, manager: str, _live: Object, wanted: Object, path: FieldPath, value: Any) -> Object:
    return _applied(cluster, manager, with_value(wanted, path, value))


def _anew(cluster: Cluster, manager: str, live: Object, wanted: Object, path: FieldPath, value: Any) -> Object:
    """Delete it and make it again."""
    edited = with_value(wanted, path, value)
    _applied(cluster, manager, edited, dryRun="All")
    cluster.delete(live)
    return _sent(cluster, "POST", cluster._path(live).rpartition("/")[0], manager, edited)


def _applied(cluster: Cluster, manager: str, obj: Object, **query: str) -> Object:
    query = {"force": "true", "fieldValidation": "Strict", **query}
    return _sent(cluster, "PATCH", cluster._path(obj), manager, obj, "application/apply-patch+yaml", **query)


def _sent(
    cluster: Cluster, method: str, path: str, manager: str, body: Any, form: str = "application/json", **query: str
) -> Object:
    """What the API server makes of it; to an apply that makes no sense it answers 500, which is not to be repeated."""
    return cluster.request(method, path, {"fieldManager": manager, **query}, body, {"Content-Type": form}, retry_for=0)


#: In which way, and under which name; "" is the very name of who holds the field.
WAYS: dict[str, tuple[Callable[..., Object], str]] = {
    "kubectl edit": (_put, "kubectl-edit"),
    "kubectl patch": (_patch, "kubectl-patch"),
    "kubectl apply --server-side --force-conflicts": (_apply, "kubectl"),
    "an update under the same name": (_put, ""),
    "an apply under the same name": (_apply, ""),
    "deleted and made anew": (_anew, "kubectl-create"),
}


def take_over(cluster: Cluster, live: Object, wanted: Object, piece: Piece, way: str, manager: str) -> bool:
    """Have another manager do its deed. :returns: whether the API server lets anybody do it"""
    write, name = WAYS[way]
    for value in _DEEDS[piece.deed](value_at(live, piece.path)):
        for _attempt in range(5):
            try:
                after = write(cluster, name or manager, live, wanted, piece.path, value)
            except ApiError as error:
                if error.status == 409 and "modified" in error.message:  # by a controller
                    meta = live["metadata"]
                    found = cluster.get(live["apiVersion"], live["kind"], meta["name"], meta.get("namespace"))
                    assert found
                    live = {**found, "apiVersion": live["apiVersion"], "kind": live["kind"]}
                    continue
                break
            if not same(live, after):
                return True
            break
    return False


def with_value(obj: Object, path: FieldPath, value: Any) -> Object:
    """A copy with another value at a path."""
    result = copy.deepcopy(obj)
    holder = value_at(result, path[:-1])
    assert isinstance(holder, dict), (reference(obj), path)
    holder[path[-1][2:]] = value
    return result


def _pointer(live: Object, path: FieldPath) -> str:
    """A path as a JSON pointer."""
    steps, place = [], live
    for step in path:
        if step.startswith("f:"):
            name: Any = step[2:]
        else:
            item = value_at(place, (step,))
            name = place.index(item)  # type: ignore[attr-defined]
        steps.append(str(name).replace("~", "~0").replace("/", "~1"))
        place = place[name]
    return "/" + "/".join(steps)


def dotted(live: Object, path: FieldPath) -> str:
    """A path as the job names it: ``spec.template.spec.containers[0].args``."""
    text, place = "", live
    for step in path:
        if step.startswith("f:"):
            name = step[2:]
            text += f'["{name}"]' if "." in name or "/" in name else f"{'.' if text else ''}{name}"
        else:
            text += f"[{place.index(value_at(place, (step,)))}]"  # type: ignore[attr-defined]
        place = value_at(place, (step,))
    return text
