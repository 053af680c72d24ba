# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking an app away: its objects as they are, which of them go, and why others stay. Only reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import manifests
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import NotServed
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, identity, reference
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.liveness import belongings
from ansible_collections.meshops.istio.plugins.module_utils.liveness.belongings import App

Objects = list[dict[str, Any]]


@dataclass
class Removal:
    """What taking an app away comes to.

    :ivar list gone: live objects to be deleted, in that order
    :ivar dict kept: why each of the others stays, by identity
    :ivar dict going: what holds those that are being deleted already, as people name them
    :ivar list changes: of the app's namespace, which loses what this app has set on it
    """

    gone: Objects = field(default_factory=list)
    kept: dict[Identity, str] = field(default_factory=dict)
    going: dict[str, str] = field(default_factory=dict)
    changes: list[manifests.Change] = field(default_factory=list)


def plan(cluster: Cluster, app: App, rendered: Objects) -> Removal:
    """Look at what an app is made of, and at what it was made of before.

    :arg rendered: its objects as they would be applied
    """
    wanted = {identity(obj): obj for obj in _placed(cluster, rendered)}
    home = cluster.get("v1", "Namespace", app.namespace) if app.namespace else None
    before = sorted(belongings.listed(app, home) - set(wanted))
    keys = [*reversed(wanted), *before]
    found = Removal()
    for key, live in zip(keys, in_parallel(lambda key: read(cluster, key), keys), strict=True):
        if live is None or app.is_home(live):
            continue
        why = belongings.why_kept(app, live, wanted.get(key))
        if why:
            found.kept[key] = why
        elif live["metadata"].get("deletionTimestamp"):
            found.going[reference(live)] = holders(live)
        else:
            found.gone.append(live)
    if home and not home["metadata"].get("deletionTimestamp"):
        # What was made here and is to stay is looked for again next time.
        stays = {key for key, why in found.kept.items() if why == belongings.STAYS}
        left = belongings.left_home(app, home, belongings.listed(app, home) - stays)
        found.changes = manifests.plan(cluster, [left], app.manager, live={identity(left): home}).changes
    return found


def _placed(cluster: Cluster, objects: Iterable[dict[str, Any]]) -> Objects:
    """Objects under the identities that they have in the cluster. What is of no kind that is served is not there."""
    found = []
    for obj in objects:
        try:
            found += manifests.placed(cluster, [obj])
        except NotServed:  # noqa: PERF203 -- each may be of such a kind
            continue
    return found


def read(cluster: Cluster, key: Identity) -> dict[str, Any] | None:
    """One object as it is; None where it, or its kind, is not there any more."""
    api_version, kind, namespace, name = key
    try:
        return cluster.get(api_version, kind, name, namespace or None)
    except NotServed:
        return None


def carry_out(cluster: Cluster, app: App, removal: Removal) -> None:
    """Delete what goes, and say what is held.

    :raises JobError: the server refuses one
    """
    manifests.delete(cluster, removal.gone)
    manifests.apply(cluster, removal.changes, app.manager)
    held = [obj for obj in removal.gone if obj["metadata"].get("finalizers")]
    for obj, live in zip(held, in_parallel(lambda obj: read(cluster, identity(obj)), held), strict=True):
        if live and live["metadata"]["uid"] == obj["metadata"]["uid"]:
            removal.going[reference(live)] = holders(live)


def holders(dying: dict[str, Any]) -> str:
    """What an object that is being deleted waits for."""
    return ", ".join(dying["metadata"].get("finalizers") or []) or "none"


def warnings(removal: Removal) -> list[str]:
    """What the user is told: of kinds that nobody would expect to go, nothing."""
    named = {key: why for key, why in removal.kept.items() if key[1] != "Namespace"}
    found = [f"{_named(key)} is kept: {why}." for key, why in named.items()]
    return found + [f"{name} is still being deleted (finalizers: {what})." for name, what in removal.going.items()]


def _named(key: Identity) -> str:
    return f"{key[1]} {'/'.join(filter(None, key[2:]))}"


def kept(removal: Removal) -> list[str]:
    """For the task's result."""
    return [f"{_named(key)}: {why}" for key, why in removal.kept.items()]
