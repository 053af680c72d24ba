# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run in check mode has announced, read from its tasks' diffs, held against what then became of the cluster."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from harness.beds import BedCluster
from harness.snapshots import CHOSEN, Delta, Key, Place, Snapshot, changed, is_within, key_of, leaves, places_held, take

#: In the header of an object that the API server could not be asked about: its defaults are not known.
_NOT_ASKED = "not dry-run"
#: In place of what nobody would read: a definition's schema.
_SIZE = re.compile(r"^<(\d+) characters>$")
#: In place of a secret, which may be a part of a value. That it changes is announced, not to what.
_HIDDEN = re.compile(r"<hidden: [0-9a-f]{8}>")
_QUANTITY = re.compile(r"^(\d+(?:\.\d+)?)(m|k|[KMG]i?)?$")
_FACTORS = {None: 1, "m": 1e-3, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_RELEASE = re.compile(r"^release \S+")


@dataclass
class Announced:
    """What was announced about one object, by one task or several.

    :ivar bool asked: whether the API server has said how it will look, down to the defaults
    """

    name: str
    verb: str
    asked: bool
    fields: dict[Place, tuple[Any, Any]] = field(default_factory=dict)


def honestly_done(
    cluster: BedCluster, announce: Callable[[], Iterable[dict[str, Any]]], act: Callable[[], Any], settles: float = 0
) -> list[str]:
    """Announce, act, and hold the one against the other.

    :arg announce: a run in check mode with diffs; returns what each of its tasks returned
    :arg float settles: seconds in which controllers may set their own fields again that helm has taken from them
    :returns: all that was announced, and done, as ``created Deployment istio-system/istiod``
    :raises AssertionError: the announcement wrote something, or something came otherwise
    """
    before = take(cluster.kubeconfig)
    with cluster.asked() as asked:
        promised = announced(announce())
    assert not asked.writes, asked.writes
    broken = broken_promises({}, before, take(cluster.kubeconfig))
    assert not broken, broken
    act()
    deadline = time.monotonic() + settles
    while (broken := broken_promises(promised, before, take(cluster.kubeconfig))) and time.monotonic() < deadline:
        time.sleep(1)
    assert not broken, broken
    return sorted(f"{entry.verb} {entry.name}" for entry in promised.values())


def announced(results: Iterable[dict[str, Any]]) -> dict[Key, Announced]:
    """What tasks announce together.

    :arg results: what each returned, in check mode and with diffs
    :raises AssertionError: the names of the objects in a task's result are not those of its diff
    """
    found: dict[Key, Announced] = {}
    for result in results:
        entries = [_entry(diff) for diff in result.get("diff") or [] if not _RELEASE.match(diff["after_header"])]
        _assert_named(result, [entry for _key, entry in entries])
        for key, entry in entries:
            known = found.setdefault(key, entry)
            known.asked = known.asked and entry.asked
            known.fields.update(entry.fields)
    return found


def _entry(diff: dict[str, Any]) -> tuple[Key, Announced]:
    before, after = diff["before"] or None, diff["after"] or None
    verb = "deleted" if after is None else "changed" if before else "created"
    name = diff["before_header"]
    assert diff["after_header"].startswith(name), diff["after_header"]
    fields = changed(leaves(before), leaves(after), lambda place: False) if after else {}
    return key_of(after or before), Announced(name, verb, _NOT_ASKED not in diff["after_header"], fields)


def _assert_named(result: dict[str, Any], entries: list[Announced]) -> None:
    """``objects`` says in words what the diff shows."""
    names = sorted(entry.name for entry in entries)
    if "releases" in result:
        words = [words for release in result["releases"] for words in release["objects"]]
        words += [f"created Namespace {name}" for name in result["namespaces"]]
        names = sorted(f"{entry.verb} {entry.name}" for entry in entries)
    else:
        words = result["objects"]
    assert sorted(words) == names, (sorted(words), names)


def broken_promises(promised: dict[Key, Announced], before: Snapshot, after: Snapshot) -> list[str]:
    """Whatever came otherwise than it was announced, a line each; [] where the run was honest."""
    done = before.until(after)
    found = [f"not announced: {delta.verb} {_words(key)}" for key, delta in done.items() if key not in promised]
    for key, entry in promised.items():
        delta = done.get(key)
        if delta is None:
            found.append(f"announced, and nothing came of it: {entry.verb} {entry.name}")
        elif delta.verb != entry.verb:
            found.append(f"{entry.name}: announced as {entry.verb}, and {delta.verb}")
        elif entry.asked:
            found += [f"{entry.name}: {line}" for line in _otherwise(entry, delta, after.objects.get(key))]
        else:
            found += [f"{entry.name}: {line}" for line in _missing(entry, after.objects[key])]
    return found


def _words(key: Key) -> str:
    return f"{key[1]} {'/'.join(filter(None, key[2:]))}"


def _otherwise(entry: Announced, delta: Delta, obj: dict[str, Any] | None) -> list[str]:
    """Both ways, each field with the value before and after."""
    held = places_held(obj) if obj else set()
    sized = {place for place, pair in entry.fields.items() if _SIZE.match(str(pair[1]))}
    lines = []
    for place, pair in delta.fields.items():
        if place not in entry.fields and not is_within(place, sized):
            lines.append(f"not announced: {_dotted(place)}: {pair[0]!r} -> {pair[1]!r}")
    for place, pair in entry.fields.items():
        if place in sized:
            if not _is_of_size(pair[1], _at(obj, place)):
                lines.append(f"{_dotted(place)}: announced as {pair[1]}, and is of another size")
        elif _HIDDEN.search(str(pair)):
            if place not in delta.fields:
                lines.append(f"announced, and not so: {_dotted(place)} is another secret")
        elif place not in delta.fields:
            # What the API server chooses, it may choose in a dry run too; what it adds to a new object is there; and
            # a controller may have taken a new object's field over since.
            added = entry.verb == "created" and (_at(obj, place) == pair[1] or is_within(place, held))
            if not (added or set(CHOSEN) & set(place)):
                lines.append(f"announced, and not so: {_dotted(place)}: {pair[0]!r} -> {pair[1]!r}")
        elif delta.fields[place] != pair:
            lines.append(f"{_dotted(place)}: announced {pair!r}, and it was {delta.fields[place]!r}")
    return lines


def _missing(entry: Announced, obj: dict[str, Any]) -> list[str]:
    """Of an object that nobody could be asked about: what its manifest says must be there."""
    lines = []
    for place, (_before, wanted) in entry.fields.items():
        there = _at(obj, place)
        # What is false, zero or empty may be stored as nothing.
        if _HIDDEN.search(str(wanted)):
            kept = there is not None
        elif _SIZE.match(str(wanted)):
            kept = _is_of_size(wanted, there)
        else:
            kept = _alike(wanted or None, there or None)
        if not kept:
            lines.append(f"announced, and not so: {_dotted(place)}: {wanted!r}, and it is {there!r}")
    return lines


def _alike(one: Any, other: Any) -> bool:
    """``2048Mi`` is stored as ``2Gi``."""
    if one == other:
        return True
    found = [_QUANTITY.match(str(each)) for each in (one, other)]
    return all(found) and len({float(each[1]) * _FACTORS[each[2]] for each in found if each}) == 1


def _at(obj: Any, place: Place) -> Any:
    """The value at a place of an object; None where there is none."""
    for name in place:
        if isinstance(obj, list):
            obj = obj[name] if isinstance(name, int) and name < len(obj) else None
        else:
            obj = obj.get(name) if isinstance(obj, dict) else None
    return obj


def _is_of_size(words: str, value: Any) -> bool:
    size = int(_SIZE.match(words)[1])  # type: ignore[index]
    return size == len(value if isinstance(value, str) else json.dumps(value))


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))
