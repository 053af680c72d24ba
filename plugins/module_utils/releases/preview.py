# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Helm release would change, object by object, as the API server sees it. Writes nothing.

What the job calls::

    before = release_objects.stored_objects(cluster, stored)
    wanted = release_objects.rendered_objects(...)
    live = manifests.read(cluster, [*all objects of all releases])  # optional: one read for all
    found = preview(cluster, before, wanted, Upgrade.of(helm.major, stored, adopt), live)
    found.changes    # created, changed, deleted: Change.verb, Change.diff()
    found.conflicts  # what helm 4 would stop at: Conflict.controller, Conflict.adoptable
    drifted(cluster, before, live)  # of an intact release: changes that its own manifest would make

The changes are what helm does: of Helm 4 a server-side apply as ``helm``, of Helm 3 its merge of three objects. What a
controller sets again anyway (``controller_fields``) is neither shown nor counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_managers import (
    Conflict,
    Entry,
    by_installers,
    by_updates_of,
    conflicts,
    orphaned,
)
from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_sets import (
    FieldPath,
    named,
    value_at,
    with_values_of,
    without,
)
from ansible_collections.meshops.istio.plugins.module_utils.cluster.kinds import group_of
from ansible_collections.meshops.istio.plugins.module_utils.cluster.manifests import (
    Change,
    Plan,
    Writer,
    plan,
    read,
    refused,
)
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import (
    Identity,
    comparable,
    is_applied,
    last_written,
    reference,
    same,
)
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm.owner import HELM_MANAGER
from ansible_collections.meshops.istio.plugins.module_utils.helm.storage import Stored
from ansible_collections.meshops.istio.plugins.module_utils.helm.three_way_merge import merge_patch, merged
from ansible_collections.meshops.istio.plugins.module_utils.releases.controller_fields import (
    allocated,
    controlled,
    visible,
)

#: Annotation and value of what helm leaves when a chart has it no more.
KEEP = ("helm.sh/resource-policy", "keep")
_DEFINITION = "CustomResourceDefinition"
_AUTOSCALER = "HorizontalPodAutoscaler"

Live = dict[Identity, dict[str, Any]]


@dataclass(frozen=True)
class Upgrade:
    """How helm is going to write.

    :ivar bool server_side: whether it applies, as Helm 4 does for releases that no Helm 3 has written
    :ivar bool hands_over: whether it applies first what it has updated before: Helm 4 does when it installs
    :ivar bool adopt: whether ``adoption.adopt`` goes before, so that what installers hold becomes Helm's
    :ivar bool knows_applied: whether the manifest before is what helm has applied last: after an upgrade that failed or
        was killed, some objects are of that one
    :ivar bool sets_back: whether ``set_back`` goes before, as a merge leaves alone what others have added to a map, and
        in kinds that Helm does not know whatever the manifest has not changed
    :ivar str recorded: when helm had written it, as ``Stored.modified``: an object that was written later under helm's
        name is somebody else's work, or of a restored backup
    """

    server_side: bool = True
    hands_over: bool = False
    adopt: bool = False
    knows_applied: bool = True
    sets_back: bool = False
    recorded: str = ""

    @classmethod
    def of(cls, helm_major: int, stored: Stored | None, adopt: bool = False, repair: bool = False) -> Upgrade:
        """What ``helm upgrade --install`` of a major does by default.

        :arg stored: the newest revision; None where helm will install
        :arg repair: whether what has drifted is to be as that revision has it
        """
        installs = stored is None or stored.status == "uninstalled"
        server_side = helm_major >= 4 and (installs or stored.apply_method == "ssa")
        knows = installs or stored.status == "deployed"
        return cls(
            server_side,
            hands_over=server_side and installs,
            adopt=adopt,
            knows_applied=knows,
            sets_back=repair and not server_side,
            recorded=stored.modified if stored else "",
        )


@dataclass
class Preview(Plan):
    """What a release would change, and what helm would stop at."""

    conflicts: list[Conflict] = field(default_factory=list)


def _same_object(obj: dict[str, Any]) -> tuple[str, ...]:
    """What helm knows an object by: not by the version of its API, which is only a view of it."""
    meta = obj["metadata"]
    return group_of(obj["apiVersion"]), obj["kind"], meta.get("namespace") or "", meta["name"]


class _Applies(Writer):
    """As Helm 4 writes: a server-side apply, which stops at what others hold.

    :arg before: the objects of the manifest before
    :arg released: what no autoscaler scales any more
    :arg bool ask: whether conflicts are asked for
    """

    def __init__(
        self,
        before: Iterable[dict[str, Any]],
        upgrade: Upgrade,
        released: Iterable[tuple[str, str, str]] = (),
        ask: bool = True,
    ) -> None:
        super().__init__(HELM_MANAGER)
        self.before = {_same_object(obj): obj for obj in before} if upgrade.knows_applied else {}
        self.upgrade = upgrade
        self.released = set(released)
        self.ask = ask
        self.conflicts: dict[Conflict, None] = {}

    def _gives(self, entry: Entry) -> bool:
        """Whether what an entry holds is Helm's before helm applies."""
        return (self.upgrade.adopt and by_installers(entry)) or (
            self.upgrade.hands_over and by_updates_of(HELM_MANAGER)(entry)
        )

    def change(self, cluster: Cluster, wanted: dict[str, Any], live: dict[str, Any] | None) -> Change | None:
        """As ``Writer.change``; notes conflicts."""
        held = controlled(live, wanted, self.released)
        orphans: list[FieldPath] = []
        if live:
            self._note_taken_from(held, wanted, live)
            before = self._applied_before(wanted, live)
            orphans = orphaned(live, self._gives, wanted)
            if not orphans and is_applied(
                live, with_values_of(wanted, live, held), self.manager, before and with_values_of(before, live, held)
            ):
                return None
        after = self._applied(cluster, wanted, live)
        if live and orphans:
            patch = merge_patch(comparable(live), without(comparable(after), orphans))
            after = cluster.patch(live, patch, dry_run=True, manager=self.manager)
        return _shown(wanted, live, after, held)

    def _applied_before(self, wanted: dict[str, Any], live: dict[str, Any]) -> dict[str, Any] | None:
        """What helm has applied last, for certain: None where somebody has written under its name since."""
        is_later = last_written(live, self.manager) > self.upgrade.recorded
        return None if is_later else self.before.get(_same_object(wanted))

    def _note_taken_from(
        self, held: dict[FieldPath, tuple[str, str]], wanted: dict[str, Any], live: dict[str, Any]
    ) -> None:
        """Helm stops at a controller's field, too, although nothing would come of it; that needs no dry run to know."""
        for path, (manager, why) in held.items() if self.ask else ():
            value = value_at(wanted, path)
            if value is not None and value != value_at(live, path):
                self.conflicts[Conflict(reference(wanted), named(path), manager, controller=why)] = None

    def _applied(self, cluster: Cluster, wanted: dict[str, Any], live: dict[str, Any] | None) -> dict[str, Any]:
        def apply(force: bool) -> dict[str, Any]:
            return cluster.apply(wanted, dry_run=True, manager=self.manager, force=force, strict=True)

        if not (live and self.ask):
            return apply(force=True)
        try:
            return apply(force=False)
        except ApiError as error:
            found = conflicts(wanted, error) if error.status == 409 else []
            if not found:
                raise
        known = {(conflict.object, conflict.field, conflict.manager) for conflict in self.conflicts}
        for conflict in found:
            entry = {
                "manager": conflict.manager,
                "operation": conflict.operation,
                "subresource": conflict.subresource,
            }
            if (conflict.object, conflict.field, conflict.manager) not in known and not self._gives(entry):
                self.conflicts[conflict] = None
        return apply(force=True)


class _Merges(Writer):
    """As Helm 3 writes: a merge of the manifest before, the new one and the live object, which knows no conflict."""

    def __init__(self, before: Iterable[dict[str, Any]], released: Iterable[tuple[str, str, str]] = ()) -> None:
        super().__init__(HELM_MANAGER)
        self.before = {_same_object(obj): obj for obj in before}
        self.released = set(released)

    def change(self, cluster: Cluster, wanted: dict[str, Any], live: dict[str, Any] | None) -> Change | None:
        """As ``Writer.change``."""
        if not live:
            return _shown(wanted, None, cluster.create(wanted, dry_run=True), {})
        patch = merge_patch(live, merged(self.before.get(_same_object(wanted), wanted), wanted, live))
        if not patch:
            return None
        after = cluster.patch(live, patch, dry_run=True, manager=self.manager)
        return _shown(wanted, live, after, controlled(live, wanted, self.released))


def _shown(
    wanted: dict[str, Any], live: dict[str, Any] | None, after: dict[str, Any], held: Iterable[FieldPath]
) -> Change | None:
    hidden = [*held, *allocated(live, after, wanted)]
    before, after = live and without(live, hidden), without(after, hidden)
    return None if before and same(before, after) else Change(wanted, before, after)


def preview(
    cluster: Cluster,
    before: list[dict[str, Any]],
    wanted: list[dict[str, Any]],
    upgrade: Upgrade | None = None,
    live: Live | None = None,
    definitions: Iterable[dict[str, Any]] = (),
) -> Preview:
    """What helm would do to the cluster by going from one manifest of a release to another.

    :arg before: objects of the manifest before, as written (``release_objects``); [] where there is none
    :arg wanted: objects of the new one, as written
    :arg upgrade: how helm writes; as Helm 4 does by default
    :arg live: live objects, at least those of both sets, where they have been read already
    :arg definitions: CustomResourceDefinitions of other releases that are not there yet
    :raises JobError: the API server, or the schema of its kind, refuses an object; names it and says why
    """
    upgrade = upgrade or Upgrade()
    kept = {_same_object(obj) for obj in wanted}
    gone = [obj for obj in before if _same_object(obj) not in kept and _is_served(cluster, obj)]
    definitions = [*definitions, *(obj for obj in wanted if obj["kind"] == _DEFINITION)]
    cluster.announce(definitions)
    live = read(cluster, [*wanted, *gone]) if live is None else live
    released = _scaled_by(gone)
    if upgrade.server_side or upgrade.sets_back:
        writer: _Applies | _Merges = _Applies(before, upgrade, released, ask=upgrade.server_side)
    else:
        writer = _Merges(before, released)
    found = plan(cluster, wanted, writer=writer, live=live, definitions=definitions)
    found.changes += [change for change in (_deletion(obj, live) for obj in gone) if change]
    return Preview(found.changes, found.live, list(writer.conflicts) if isinstance(writer, _Applies) else [])


def drifted(
    cluster: Cluster, stored: list[dict[str, Any]], live: Live | None = None, recorded: str = ""
) -> list[Change]:
    """Fields of a release's objects that are not as its own manifest has them; objects that are gone are left out.

    Where nothing drifted no dry run is made: a field that helm still holds has been changed by nobody since.

    :arg stored: objects of the newest revision, as written
    :arg live: live objects in full, where they have been read already
    :arg recorded: of that revision, as ``Stored.modified``
    """
    live = read(cluster, stored) if live is None else live
    there = {_same_object(obj) for obj in live.values()}
    present = [obj for obj in stored if _same_object(obj) in there]
    return plan(cluster, present, writer=_Applies(present, Upgrade(recorded=recorded), ask=False), live=live).changes


def set_back(cluster: Cluster, wanted: dict[str, Any]) -> None:
    """Give an object of a release that helm merges the fields that its manifest has, as an apply would.

    :raises JobError: the server refuses it
    """
    meta = wanted["metadata"]
    live = cluster.get(wanted["apiVersion"], wanted["kind"], meta["name"], meta.get("namespace"))
    if live is None:
        return
    try:
        after = cluster.apply(wanted, dry_run=True, manager=HELM_MANAGER, strict=True)
        patch = merge_patch(comparable(live), comparable(with_values_of(after, live, controlled(live, wanted))))
        if patch:
            patch.setdefault("metadata", {})["resourceVersion"] = live["metadata"]["resourceVersion"]
            cluster.patch(wanted, patch, manager=HELM_MANAGER)
    except ApiError as error:
        raise refused(wanted, error) from error


def _is_served(cluster: Cluster, obj: dict[str, Any]) -> bool:
    try:
        return bool(cluster.resource(obj["apiVersion"], obj["kind"]))
    except JobError:  # its definition is gone, and it with it
        return False


def _scaled_by(objects: Iterable[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """(namespace, kind, name) of what the autoscalers among some objects scale."""
    found = set()
    for obj in objects:
        if obj["kind"] == _AUTOSCALER:
            target = obj["spec"]["scaleTargetRef"]
            found.add((obj["metadata"].get("namespace") or "", target["kind"], target["name"]))
    return found


def _deletion(obj: dict[str, Any], live: Live) -> Change | None:
    there = visible(next((found for found in live.values() if _same_object(found) == _same_object(obj)), None))
    if there is None or there["metadata"].get("deletionTimestamp"):
        return None
    annotation, keep = KEEP
    if (there["metadata"].get("annotations") or {}).get(annotation) == keep:
        return None
    return Change(obj, there, None)
