# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One release written by helm: again after a fault that passes by itself, and noted where it fails in the end too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import lease
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm import storage
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm, HelmError
from ansible_collections.meshops.istio.plugins.module_utils.releases import adoption
from ansible_collections.meshops.istio.plugins.module_utils.releases.preview import set_back
from ansible_collections.meshops.istio.plugins.module_utils.releases.steps import Step
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

#: Seconds after its first fault for which a release is tried again: an API server that restarts is back by then.
PERSISTENCE = 60.0
_LONGEST_PAUSE = 8.0


class Writer:
    """Writes one release.

    :arg environment: gives helm the cluster and its credentials
    :arg held: the Lease by which this run may write; None in check mode
    :arg stored: reads what Helm knows of releases, by namespace and name
    """

    def __init__(
        self,
        task: Task,
        cluster: Cluster,
        helm: Helm,
        environment: dict[str, str],
        held: lease.Held | None,
        stored: Callable[[list[tuple[str, str]]], dict[tuple[str, str], storage.Stored]],
    ) -> None:
        self.task, self.cluster, self.helm = task, cluster, helm
        self.environment, self.lease, self._stored = environment, held, stored
        #: Whether a revision was begun whose record was taken back.
        self._has_begun = False

    def write(self, step: Step) -> None:
        """Bring one release where it is wanted. :raises JobError: helm's failure, or somebody else writes"""
        release = step.release
        self._still()
        if step.action == "recover":
            # The lease is ours and the run that left this behind is gone: without its record, helm starts over from
            # the revision before it, and objects that it had created carry Helm's ownership already.
            self.cluster.delete(step.stored.secret, as_read=True)
        self.task.say(f"{step.action} {release.namespace}/{release.name}: {', '.join(step.reasons)}")
        if self.helm.major >= 4:  # older ones know no fields of others
            for live in step.adopted:
                adoption.adopt(self.cluster, live)
        for wanted in step.set_back:
            set_back(self.cluster, wanted)
        try:
            self._persist(step)
        except (JobError, ApiError):
            if self._has_begun or self._is_recorded(step):
                self._note(step)
            raise
        self._note(step)

    def _still(self) -> None:
        if self.lease:
            self.lease.still()

    def _note(self, step: Step) -> None:
        self.task.written.append(f"release {step.release.namespace}/{step.release.name}")

    def _persist(self, step: Step) -> None:
        """Have helm write a release, and again as long as what stops it may pass.

        :raises HelmError: its last failure; :raises JobError, ApiError: another run has come, or no server answers
        """
        pause, deadline = 1.0, float("inf")
        while fault := self._fault(step):
            deadline = min(deadline, time.monotonic() + PERSISTENCE)
            if not fault.may_pass or time.monotonic() + pause > deadline:
                raise fault
            self.task.say(f"{fault} Trying again in {pause:.0f} s.")
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            self._still()
            if self._is_done_or_undone(step, fault):
                return

    def _is_done_or_undone(self, step: Step, fault: HelmError) -> bool:
        """Whether helm had recorded its success; where it had not, its record is taken back, to begin anew.

        :raises HelmError: the record cannot be taken back
        """
        now = self._recorded(step)
        if now is None:
            return False
        if now.status == "deployed":
            return True
        if storage.in_secrets():
            self._has_begun = True
            self.cluster.delete(now.secret, as_read=True)
        elif now.status in storage.PENDING:
            raise fault
        return False

    def _recorded(self, step: Step) -> storage.Stored | None:
        """The revision that helm has begun, which it does before it writes an object; None where it has not."""
        key = (step.release.namespace, step.release.name)
        now = self._stored([key]).get(key)
        before = None if step.action == "recover" else step.stored  # whose record is deleted
        return now if (now and now.revision) != (before and before.revision) else None

    def _is_recorded(self, step: Step) -> bool:
        """Whether helm has begun a revision; so too where nobody can tell."""
        try:
            return self._recorded(step) is not None
        except (JobError, ApiError):
            return True

    def _fault(self, step: Step) -> HelmError | None:
        """Have helm write a release once. :returns: its failure"""
        release = step.release
        wanted: dict[str, Any] = {
            # A first revision may find objects of a run that was killed, of which istiod holds fields by now.
            "force_conflicts": self.helm.major >= 4 and (step.forces or step.is_first),
            "take_ownership": bool(step.adopted),
            "description": storage.description(step.chart, step.is_first),
        }
        timeout = self.task.params["wait_timeout"]
        where = (release.name, release.namespace, step.chart.path, release.values)
        try:
            self.helm.upgrade(*where, self.environment, timeout, **wanted)
        except HelmError as error:
            return error
        return None
