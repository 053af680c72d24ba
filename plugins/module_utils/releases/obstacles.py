# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of releases that are about to be written, and what helm will do to each of their objects.

Everything that would make helm stop half-way is found before it starts, and told together: objects of other installers,
fields that others hold, node ports that are taken, objects that the API server refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_managers import (
    Conflict,
    by_installers,
    entries,
)
from ansible_collections.meshops.istio.plugins.module_utils.cluster.manifests import read
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, identity
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError, JobErrors
from ansible_collections.meshops.istio.plugins.module_utils.exposure import port_conflicts
from ansible_collections.meshops.istio.plugins.module_utils.helm import release_objects
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm
from ansible_collections.meshops.istio.plugins.module_utils.helm.storage import Stored, upgraded_from
from ansible_collections.meshops.istio.plugins.module_utils.releases import ownership
from ansible_collections.meshops.istio.plugins.module_utils.releases.preview import Upgrade, preview
from ansible_collections.meshops.istio.plugins.module_utils.releases.steps import Step
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

Objects = list[dict[str, Any]]
_DEFINITION = "CustomResourceDefinition"
#: Objects or fields that one message names; the others are counted.
_MOST_NAMED = 5


class Examination:
    """Looks at the releases of one run that are about to be written. Writes nothing.

    :arg environment: of ``helm.credentials``, for charts that look at the cluster
    :arg is_planned: whether another task makes of an object what is wanted of it, before these releases are written
    """

    def __init__(
        self,
        task: Task,
        cluster: Cluster,
        helm: Helm,
        environment: dict[str, str],
        is_planned: Callable[[dict[str, Any]], bool] = lambda wanted: False,
    ) -> None:
        self.task = task
        self.cluster = cluster
        self.helm = helm
        self.environment = environment
        self.adopts: bool = task.params["adopt"]
        self.repairs: bool = task.params["repair_drift"]
        self.is_planned = is_planned
        self.kube_version = cluster.version()["gitVersion"]

    def examine(self, steps: list[Step]) -> None:
        """Note in each step that will be written what it adopts, forces and changes.

        :raises JobError: it cannot go well; names objects, causes and fixes
        """
        changing = [step for step in steps if step.action != "none"]
        port_conflicts.refuse_taken_ports(self.cluster, [step.release for step in changing])
        wanted = self._all_rendered(changing)
        for step, objects in zip(changing, wanted, strict=True):
            step.rendered = objects
        before = [release_objects.stored_objects(self.cluster, self._upgraded_from(step)) for step in changing]
        definitions = [obj for objects in wanted for obj in objects if obj["kind"] == _DEFINITION]
        planned = {identity(obj) for objects in wanted for obj in objects if self.is_planned(obj)}
        wanted, before = _without(planned, wanted), _without(planned, before)
        live = read(self.cluster, [obj for objects in [*wanted, *before] for obj in objects])
        stops: list[JobError] = []
        for step, objects in zip(changing, wanted, strict=True):
            stops += self._ownership(step, objects, live)
        if stops:
            raise JobErrors(stops)
        for step, objects, earlier in zip(changing, wanted, before, strict=True):
            if self._is_previewed(objects, live):
                stops += self._preview(step, earlier, objects, live, definitions)
        if stops:
            raise JobErrors(stops)

    def _upgraded_from(self, step: Step) -> Stored | None:
        return None if step.is_first or step.stored is None else upgraded_from(self.cluster, step.stored)

    def _all_rendered(self, steps: list[Step]) -> list[Objects]:
        """Stage by stage: a later one may use kinds whose definitions an earlier one brings."""
        found: dict[int, Objects] = {}
        for stage in sorted({step.release.stage for step in steps}):
            of_stage = [step for step in steps if step.release.stage == stage]
            found.update(zip(map(id, of_stage), in_parallel(self._rendered, of_stage), strict=True))
        return [found[id(step)] for step in steps]

    def _rendered(self, step: Step) -> Objects:
        is_upgrade = step.stored is not None and not step.is_first
        return release_objects.rendered_objects(
            self.cluster, self.helm, step.chart, step.release, self.kube_version, is_upgrade, self.environment
        )

    def _is_previewed(self, wanted: Objects, live: dict[Identity, dict[str, Any]]) -> bool:
        """For the eyes of a user, or because objects are there that helm may stop at."""
        shown = self.task.check_mode or self.task.diff
        return shown or any(identity(obj) in live for obj in wanted if obj["kind"] != _DEFINITION)

    def _ownership(self, step: Step, wanted: Objects, live: dict[Identity, dict[str, Any]]) -> list[JobError]:
        """Objects that helm would refuse to make part of the release ("invalid ownership metadata")."""
        release, found, marked = step.release, {}, []
        for obj in wanted:
            there = live.get(identity(obj))
            foreign = there and ownership.foreign(there, release.name, release.namespace)
            if foreign:
                found[foreign] = there
            elif any(map(by_installers, entries(there))):
                marked.append(there)
        if self.adopts:
            # Role crds has given the definitions Helm's marks already, and left their installer's fields alone.
            step.adopted = marked
        if not found:
            return []
        busy = [foreign for foreign in found if not foreign.adoptable]
        if self.adopts and not busy:
            step.adopted = [*found.values(), *marked]
            step.forces = True
            self._warn_of_records({foreign.by for foreign in found if foreign.owner == ownership.HELM})
            return []
        about = busy if self.adopts else list(found)
        message = f"cannot take over existing objects: {_named(about)}."
        fix = (
            "Remove the Istio resource or the application that manages them, which would take them back at once."
            if busy
            else "Set istio_helm_adopt: true to make them part of the release, or uninstall what created them."
        )
        return [JobError(message, object=f"Release {release.namespace}/{release.name}", fix=fix)]

    def _warn_of_records(self, others: set[str]) -> None:
        for other in sorted(others):
            self.task.warnings.append(
                f"{other} still lists objects that are now adopted. Do not uninstall it, because that would delete "
                "them. Delete its record instead: the Secrets sh.helm.release.v1.NAME.* in its namespace."
            )

    def _preview(
        self,
        step: Step,
        before: Objects,
        wanted: Objects,
        live: dict[Identity, dict[str, Any]],
        definitions: Objects,
    ) -> list[JobError]:
        """What helm will do to each object, and the fields at which Helm 4 would stop."""
        stored, repair = None if step.is_first else step.stored, step.action == "repair"
        upgrade = Upgrade.of(self.helm.major, stored, bool(step.adopted), repair)
        found = preview(self.cluster, before, wanted, upgrade, live, definitions)
        step.changes = found.changes
        step.set_back = [change.wanted for change in found.changes if change.verb == "changed" and upgrade.sets_back]
        held = [conflict for conflict in found.conflicts if not self._may_take(conflict, step)]
        step.forces = upgrade.server_side and (step.forces or bool(found.conflicts))
        if not held:
            return []
        release = step.release
        message = f"conflicts with other field managers: {_named(held)}."
        fix = (
            "Stop the other managers from setting these fields, set the same values in istio_helm_values, or set "
            "istio_helm_repair_drift: true to take the fields over."
        )
        return [JobError(message, object=f"Release {release.namespace}/{release.name}", fix=fix)]

    def _may_take(self, conflict: Conflict, step: Step) -> bool:
        """Whether a field may be taken over without a question, or was asked for."""
        return bool(conflict.controller) or self.repairs or (bool(step.adopted) and conflict.adoptable)


def _without(left_out: set[Identity], sets: list[Objects]) -> list[Objects]:
    return [[obj for obj in objects if identity(obj) not in left_out] for objects in sets]


def _named(found: list[Any]) -> str:
    more = f", and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return "; ".join(str(each) for each in found[:_MOST_NAMED]) + more
