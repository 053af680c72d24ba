# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_releases: a set of Helm releases, written by helm when they must be and never otherwise."""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import lease, manifests
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.findings import shown
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import credentials
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition, options
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import MeshOptions
from ansible_collections.meshops.istio.plugins.module_utils.releases.installation import DRIFT_FIX, Installation
from ansible_collections.meshops.istio.plugins.module_utils.releases.steps import Step
from ansible_collections.meshops.istio.plugins.module_utils.task import Task, argument_spec

ARGUMENT_SPEC = argument_spec(
    {
        **options.MESH_ARGUMENT_SPEC,
        "repair_drift": {"type": "bool", "default": False},
        "planned": {"type": "dict", "default": {}},
        "wait_for": {"type": "str", "choices": ["gateways", "control-plane", "nothing"], "default": "gateways"},
        "wait_timeout": {"type": "int", "default": 300},
    }
)


def run(task: Task) -> dict[str, Any]:
    """Install, upgrade, restore, repair or leave alone each release of the mesh.

    :raises JobError: bad options, no helm, no chart, what stands in the way, helm's own failure, or objects that do not
        become ready
    """
    mesh = MeshOptions.of(task.params)
    composition.releases(mesh)  # names options that contradict each other before anything is read
    task.warnings += shown(composition.advice(mesh))
    cluster = Cluster(task.params)
    with credentials(cluster) as environment:
        job = Installation(task, mesh, cluster, environment)
        try:
            return _run(task, job)
        except JobError as error:
            if job.written:
                error.details = {"releases": [step.result() for step in job.written], **error.details}
            raise


def _run(task: Task, job: Installation) -> dict[str, Any]:
    steps = job.plan()
    namespaces: list[manifests.Change] = []
    if _changes(steps):
        namespaces = job.missing_namespaces()
        job.examine(steps)
    if task.check_mode:
        job.respect_the_living(steps)  # what the run would stop at is no change to announce
    diff = _diff(steps)
    if _changes(steps) and not task.check_mode:
        namespaces = manifests.create(job.cluster, namespaces)
        with lease.held(job.cluster, job.options.namespace, job.patience, task.say) as job.lease:
            seen, steps = steps, job.plan()
            job.respect_the_living(steps)
            if [step.version for step in seen] == [step.version for step in steps]:
                steps = seen
            else:  # another run has come between: what counts is what is left to do
                job.examine(steps)
                diff = _diff(steps)
            task.looks_at = job.scope
            job.carry_out(steps)
    elif not task.check_mode:
        task.looks_at = job.scope
        job.wait_for_all(steps)
    for step in steps:
        if step.action == "none":
            task.warnings += [f"Drift detected: {words} was modified outside Helm. {DRIFT_FIX}" for words in step.drift]
    unlisted = job.unlisted_gateways()
    task.warnings += shown(unlisted)
    result: dict[str, Any] = {
        "changed": bool(_changes(steps) or namespaces),
        "namespaces": [change.wanted["metadata"]["name"] for change in namespaces],
        "releases": [step.result() for step in steps],
        "gateways": job.gateways(steps),
        "findings": [finding.as_dict() for finding in unlisted],
    }
    if task.diff:
        result["diff"] = [*(change.diff() for change in namespaces), *diff]
    return result


def _changes(steps: list[Step]) -> bool:
    return any(step.action != "none" for step in steps)


def _diff(steps: list[Step]) -> list[dict[str, Any]]:
    """Taken before anything is written: a step then knows its new revision."""
    return [diff for step in steps if step.action != "none" for diff in step.diff()]
