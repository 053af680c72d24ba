# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runs of an app have made, and what of it may be taken away. Pure.

An object that was not there before gets a label, which our field manager holds then; a copy that somebody makes of it
has the label and not the manager, and an object of somebody else that is applied over has the manager and not the
label. The app's namespace keeps a list of them, so that what an app has no more is found.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_managers import entries
from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_sets import labels_in
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, identity, owned

#: Label of what was made here, with the app that it is part of.
LABEL = "meshops.istio/app"
#: Annotation of the app's namespace, by the app's name: what it has made, an object a line.
LIST = "meshops.istio/made-by."
#: Kinds that others live in, or have objects of, whoever made them: Helm too leaves what is in a chart's crds/.
SHARED = ("Namespace", "CustomResourceDefinition")
#: By which charts name what is to outlive them (https://helm.sh/docs/howto/charts_tips_and_tricks/).
_POLICY, _KEEP = "helm.sh/resource-policy", "keep"
#: Why what was made here, and might be deleted, is not.
STAYS = f"{_POLICY}: {_KEEP}"
_VALUE = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")
_NAME = re.compile(r"^[A-Za-z0-9_.-]{0,54}[A-Za-z0-9]$")

Object = dict[str, Any]


@dataclass(frozen=True)
class App:
    """What is told from other apps by namespace and name.

    :ivar str namespace: "" where objects name their own
    :ivar str manager: our field manager
    """

    namespace: str
    name: str
    manager: str

    @property
    def label(self) -> str:
        """Value of the label: namespace and name where they are short enough to be read."""
        text = f"{self.namespace or 'default'}.{self.name}"
        return text if _VALUE.match(text) else hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def annotation(self) -> str:
        """Name of the annotation."""
        return LIST + (self.name if _NAME.match(self.name) else hashlib.sha256(self.name.encode()).hexdigest()[:32])

    def is_home(self, obj: Object) -> bool:
        """Whether an object is the app's own namespace."""
        return bool(self.namespace) and obj["kind"] == "Namespace" and obj["metadata"]["name"] == self.namespace

    def part_of(self, live: Object) -> str:
        """The app that a live object is part of, as the label says and our manager holds it; "" for none."""
        held = labels_in(owned(live, self.manager))
        return (live["metadata"].get("labels") or {}).get(LABEL, "") if LABEL in held else ""

    def made(self, live: Object) -> bool:
        """Whether a live object was made by a run of this app.

        One without a label, that nobody but us has ever written, was made before there were labels.
        """
        part_of = self.part_of(live)
        return part_of == self.label if part_of else authors(live) == {self.manager}


def authors(live: Object) -> set[str]:
    """Who holds fields of an object; not of its status, nor by scaling it."""
    return {entry.get("manager") or "" for entry in entries(live) if not entry.get("subresource")}


def marked(
    app: App, wanted: Iterable[Object], live: dict[Identity, Object], removed: Iterable[Object] = ()
) -> list[Object]:
    """Objects with the label, where they are not there yet or were made here; and their list on the app's namespace.

    :arg live: live objects by identity
    :arg removed: what the app had and is about to lose
    """
    objects, made = [], set()
    for obj in wanted:
        label = _label(app, obj, live.get(identity(obj)))
        made |= {identity(obj)} if label == app.label else set()
        objects.append(_with(obj, "labels", {LABEL: label} if label else {}))
    gone = set(map(identity, removed))
    homes = {key: there for key, there in live.items() if app.is_home(there)}
    return [_listing(app, obj, homes.get(identity(obj)), made, gone) if app.is_home(obj) else obj for obj in objects]


def _label(app: App, obj: Object, there: Object | None) -> str:
    if obj["kind"] in SHARED:
        return ""
    if there is None or there["metadata"].get("deletionTimestamp"):
        return app.label
    # What another app of ours has made stays that one's.
    return app.part_of(there) or (app.label if app.made(there) else "")


def _with(obj: Object, field: str, more: dict[str, str]) -> Object:
    """An object with further labels or annotations."""
    meta = obj["metadata"]
    return {**obj, "metadata": {**meta, field: {**(meta.get(field) or {}), **more}}} if more else obj


def _listing(app: App, home: Object, there: Object | None, made: set[Identity], gone: set[Identity]) -> Object:
    """The app's namespace with the list, and those of other apps that live there too."""
    lines = sorted(
        f"{api_version} {kind} {namespace}/{name}"
        for api_version, kind, namespace, name in (listed(app, there) | made) - gone
    )
    own = {app.annotation: "\n".join(lines)} if lines else {}
    return _with(home, "annotations", {**_lists_of_others(app, there), **own})


def _lists_of_others(app: App, home: Object | None) -> dict[str, str]:
    annotations = (home or {}).get("metadata", {}).get("annotations") or {}
    return {key: value for key, value in annotations.items() if key.startswith(LIST) and key != app.annotation}


def left_home(app: App, there: Object, gone: set[Identity]) -> Object:
    """The app's namespace when the app is gone: without what we have set on it, unless another app needs that.

    :arg there: the namespace as it is
    :arg gone: what need not be looked for any more
    """
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": app.namespace}}
    if _lists_of_others(app, there):
        held = labels_in(owned(there, app.manager))
        labels = there["metadata"].get("labels") or {}
        home = _with(home, "labels", {key: value for key, value in labels.items() if key in held})
    return _listing(app, home, there, set(), gone)


def listed(app: App, home: Object | None) -> set[Identity]:
    """What the list on an app's namespace names; nothing of what is no line of ours."""
    text = ((home or {}).get("metadata", {}).get("annotations") or {}).get(app.annotation) or ""
    found = set()
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) == 3 and "/" in words[2]:
            found.add((words[0], words[1], *words[2].split("/", 1)))
    return found


def why_kept(app: App, live: Object, wanted: Object | None = None) -> str:
    """Why an object of the app may not be deleted; "" where it may.

    :arg wanted: as it is rendered, where it is
    """
    if live["kind"] in SHARED:
        return "it may contain other objects" if live["kind"] == "Namespace" else "other objects of this kind may exist"
    if not app.made(live):
        if app.part_of(live):
            return f"it belongs to {app.part_of(live)}"
        others = sorted(authors(live) - {app.manager, ""})
        return f"this app did not create it (other field managers: {', '.join(others) or 'none'})"
    if any(_policy(obj) == _KEEP for obj in (live, wanted or {})):
        return STAYS
    return ""


def _policy(obj: Object) -> str:
    """As Helm reads it."""
    return str(((obj.get("metadata") or {}).get("annotations") or {}).get(_POLICY) or "").strip().lower()
