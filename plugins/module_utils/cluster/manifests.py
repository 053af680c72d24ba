# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of objects brought into the cluster: read all at once, compared, and only what differs applied.

A run that finds everything in place reads and writes nothing. What differs is asked of the server by a dry run first,
so that ``changed`` and the diff are the server's own words and not a guess.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import FIELD_MANAGER, Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import (
    Identity,
    brief,
    comparable,
    digest,
    identity,
    is_applied,
    reference,
    same,
)
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.cluster.schemas import Schemas
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.secrets.hiding import certain_secrets, hidden

#: Kinds that others live in, are instances of, or refer to: applied before the rest, in this order.
_FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount", "ConfigMap", "Secret", "ClusterRole", "Role")
DYING_TIMEOUT = 120.0  # seconds that an earlier deletion may still take
NOT_THERE_YET = "its namespace or kind does not exist yet"
_BEING_DELETED = "it is being deleted"
_BY_WEBHOOK = "an admission webhook does not support dry run"
_NO_DRY_RUN = "does not support dry run"


@dataclass
class Change:
    """One object that is not as it is wanted.

    :ivar dict wanted: the object as given
    :ivar dict before: the live object, or None
    :ivar dict after: what the server would store, by its dry run; the wanted object itself where no dry run is
        possible; None when the object is deleted
    :ivar bool dry_run: whether the server was asked
    :ivar dict dying: the live object that is being deleted and must be gone first
    :ivar str unasked: why the server could not be asked
    :ivar bool validated: whether it was checked against the schema of its kind instead
    """

    wanted: dict[str, Any]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    dry_run: bool = True
    dying: dict[str, Any] | None = None
    unasked: str = NOT_THERE_YET
    validated: bool = False

    @property
    def verb(self) -> str:
        """``created``, ``changed`` or ``deleted``."""
        if self.after is None:
            return "deleted"
        return "changed" if self.before else "created"

    def diff(self) -> dict[str, Any]:
        """The change as Ansible shows diffs, without a new definition's schemas; ``job.perform`` hides its secrets."""
        if self.after is None:
            return removal_diff(self.before or self.wanted)
        name = reference(self.wanted)
        how = "validated locally, not dry-run" if self.validated else "not dry-run"
        return {
            "before": comparable(self.before) if self.before else "",
            "after": comparable(self.after) if self.before else brief(comparable(self.after)),
            "before_header": name,
            "after_header": name + ("" if self.dry_run else f" ({how}: {self.unasked})"),
        }


@dataclass
class Plan:
    """What an apply of a set of objects would do.

    :ivar dict live: live objects by identity, for whoever wants to look at them without a second read
    """

    changes: list[Change] = field(default_factory=list)
    live: dict[Identity, dict[str, Any]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The changed objects as people name them."""
        return [reference(change.wanted) for change in self.changes]

    @property
    def planned(self) -> dict[str, str]:
        """The changed objects with a digest of what is wanted, for a later task of the same run."""
        return {reference(change.wanted): digest(change.wanted) for change in self.changes}


def read(cluster: Cluster, wanted: Iterable[dict[str, Any]]) -> dict[Identity, dict[str, Any]]:
    """The live objects of a set: one list for each kind and namespace where that is fewer reads than one get each."""
    groups: dict[tuple[str, str, str], list[Identity]] = {}
    for obj in wanted:
        key = identity(obj)
        groups.setdefault(key[:3], []).append(key)

    def fetch(group: tuple[tuple[str, str, str], list[Identity]]) -> list[dict[str, Any]]:
        (api_version, kind, namespace), keys = group
        if len(keys) == 1:
            live = cluster.get(api_version, kind, keys[0][3], namespace or None)
            return [live] if live else []
        return cluster.list(api_version, kind, namespace or None)

    found = {identity(obj): obj for objs in in_parallel(fetch, groups.items()) for obj in objs}
    return {key: found[key] for keys in groups.values() for key in keys if key in found}


class Writer:
    """How somebody writes objects: here by server-side apply, taking over what others hold.

    :arg manager: the field manager
    """

    def __init__(self, manager: str = FIELD_MANAGER) -> None:
        self.manager = manager

    def change(self, cluster: Cluster, wanted: dict[str, Any], live: dict[str, Any] | None) -> Change | None:
        """What writing one object would change, by the server's own dry run; None for nothing.

        :raises ApiError: the server refuses it
        """
        if live and is_applied(live, wanted, self.manager):
            return None
        after = cluster.apply(wanted, dry_run=True, manager=self.manager, strict=True)
        return None if live and same(live, after) else Change(wanted, live, after)


def plan(
    cluster: Cluster,
    wanted: list[dict[str, Any]],
    manager: str = FIELD_MANAGER,
    preview: bool = True,
    writer: Writer | None = None,
    live: dict[Identity, dict[str, Any]] | None = None,
    definitions: Iterable[dict[str, Any]] = (),
) -> Plan:
    """Compare a set of objects with the cluster. Writes nothing.

    :arg bool preview: ask the server for a dry run of objects that are missing too, for check mode and diffs; a run
        that creates them next has no use for that
    :arg writer: who is going to write them; ours by default
    :arg live: live objects, where they have been read already
    :arg definitions: CustomResourceDefinitions that are not there yet
    :raises JobError: the server, or the schema of its kind, refuses an object; names it and says why
    """
    writer = writer or Writer(manager)
    wanted = placed(cluster, wanted)
    found = read(cluster, wanted) if live is None else live
    # What is being deleted will be gone, however much it looks like what is wanted.
    dying = {key: obj for key, obj in found.items() if obj["metadata"].get("deletionTimestamp")}
    live = {key: obj for key, obj in found.items() if key not in dying}

    def examine(obj: dict[str, Any]) -> Change | None:
        if identity(obj) in dying:
            return Change(obj, None, obj, dry_run=False, dying=dying[identity(obj)], unasked=_BEING_DELETED)
        before = live.get(identity(obj))
        if not before and not preview:
            return Change(obj, None, obj, dry_run=False)
        try:
            return writer.change(cluster, obj, before)
        except ApiError as error:
            if error.status == 404 and not before:
                return Change(obj, None, obj, dry_run=False)
            if error.status == 400 and _NO_DRY_RUN in error.message:
                return Change(obj, before, obj, dry_run=False, unasked=_BY_WEBHOOK)
            raise refused(obj, error) from error

    changes = [change for change in in_parallel(examine, wanted) if change]
    if preview:
        _validate(cluster, [change for change in changes if not change.dry_run], definitions)
    return Plan(changes, live)


def _validate(cluster: Cluster, changes: list[Change], definitions: Iterable[dict[str, Any]]) -> None:
    """Check what could not be dry-run against the schema of its kind.

    :raises JobError: names every object and field that the API server would refuse
    """
    schemas = Schemas(lambda path: _published(cluster, path), definitions)
    faults = []
    for change in changes:
        if change.unasked == NOT_THERE_YET:
            found = schemas.faults(change.wanted)
            change.validated = found is not None
            faults += [f"{reference(change.wanted)}: {fault}" for fault in found or []]
    if faults:
        raise JobError(
            f"Schema validation failed: {'; '.join(faults)}.",
            fix="Correct the manifest or the chart value that it comes from.",
        )


def _published(cluster: Cluster, path: str) -> dict[str, Any] | None:
    try:
        return cluster.request("GET", path)
    except ApiError as error:
        if error.status in (403, 404):
            return None
        raise


def placed(cluster: Cluster, wanted: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Objects under the identities that the server will give them. :raises JobError: one lacks what makes it that"""
    return [_placed(cluster, obj) for obj in wanted]


def _placed(cluster: Cluster, obj: dict[str, Any]) -> dict[str, Any]:
    """An object under the identity that the server will give it: without the namespace that its kind cannot have.

    :raises JobError: what makes it that object is missing; users write some of them
    """
    meta = obj.get("metadata") or {}
    if not (obj.get("apiVersion") and obj.get("kind") and meta.get("name")):
        raise JobError(
            f"An object lacks apiVersion, kind or metadata.name: {str(hidden(comparable(obj)))[:200]}.",
            fix="Add the missing field to the manifest.",
        )
    if not cluster.namespaced(obj):
        return {**obj, "metadata": {key: value for key, value in meta.items() if key != "namespace"}}
    if not meta.get("namespace"):
        raise JobError("has no metadata.namespace.", object=reference(obj), fix="Set it in the manifest.")
    return obj


def apply(cluster: Cluster, changes: list[Change], manager: str = FIELD_MANAGER) -> None:
    """Apply what a plan found different, namespaces and definitions first, the rest in parallel.

    :raises JobError: the server refuses an object
    """
    order = {kind: rank for rank, kind in enumerate(_FIRST)}
    ranks: dict[int, list[Change]] = {}
    for change in changes:
        ranks.setdefault(order.get(change.wanted["kind"], len(_FIRST)), []).append(change)

    def write(change: Change) -> None:
        if change.dying:
            until_gone(cluster, change.dying)
        try:
            change.after = cluster.apply(change.wanted, manager=manager, strict=True)
        except ApiError as error:
            raise refused(change.wanted, error) from error

    for rank in sorted(ranks):
        in_parallel(write, ranks[rank])


def create(cluster: Cluster, changes: list[Change]) -> list[Change]:
    """Create what a plan found missing, one after another.

    :returns: the changes that were made: not those of objects that another run has created meanwhile
    :raises JobError: the server refuses one
    """
    made = []
    for change in changes:
        if change.dying:
            until_gone(cluster, change.dying)
        try:
            change.after = cluster.create(change.wanted)
        except ApiError as error:
            if error.status != 409:
                raise refused(change.wanted, error) from error
        else:
            made.append(change)
    return made


def delete(cluster: Cluster, objects: list[dict[str, Any]]) -> None:
    """Delete objects one after another, in the order given; what is gone already is no fault.

    :arg objects: as they were read: another that has come since in the place of one is left alone
    :raises JobError: the server refuses one
    """
    for obj in objects:
        try:
            cluster.delete(obj, same=True)
        except ApiError as error:  # noqa: PERF203 -- each may be refused
            if error.status != 409:
                raise refused(obj, error) from error


def removal_diff(obj: dict[str, Any]) -> dict[str, Any]:
    """A deletion as Ansible shows diffs; ``job.perform`` hides its secrets."""
    name = reference(obj)
    return {"before": brief(comparable(obj)), "after": "", "before_header": name, "after_header": name}


def until_gone(cluster: Cluster, dying: dict[str, Any], timeout: float = DYING_TIMEOUT) -> None:
    """Wait until an object that is being deleted is gone.

    :raises JobError: it stays; names what holds it
    """
    meta, deadline = dying["metadata"], time.monotonic() + timeout
    while True:
        live = cluster.get(dying["apiVersion"], dying["kind"], meta["name"], meta.get("namespace"))
        if live is None or live["metadata"]["uid"] != meta["uid"]:
            return
        if time.monotonic() > deadline:
            spec = live.get("spec") or {}
            holders = live["metadata"].get("finalizers") or spec.get("finalizers") or []
            raise JobError(
                f"has been terminating since {meta['deletionTimestamp']} and still exists after another {timeout:.0f} "
                f"s. Finalizers: {', '.join(holders) or 'none'}.",
                object=reference(dying),
                fix="Wait until it is deleted, and run again.",
            )
        time.sleep(1)


def refused(obj: dict[str, Any], error: ApiError) -> JobError:
    """The API server's refusal of one object, as an error that names it; its words may quote the object."""
    words = hidden(error.message or error.reason, known=certain_secrets(obj))
    return JobError(
        f"was rejected by the API server: {words.rstrip('.')}.",
        object=reference(obj),
        fix="Correct what the API server reports, and run again.",
        quotes=[words],
    )
