# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_pod_security: Istio's and the applications' pods may run, with as little privilege as works."""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils import manifests, pod_security
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.job import Task, argument_spec
from ansible_collections.meshops.istio.plugins.module_utils.kube import FIELD_MANAGER, Cluster

#: A manager of its own: other jobs label the same namespaces, and an apply drops what its manager applied before.
MANAGER = f"{FIELD_MANAGER}.pod-security"

ARGUMENT_SPEC = argument_spec(
    {
        "namespaces": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "runs": {"type": "str", "choices": sorted(pod_security.LEVEL_FOR), "default": "application"},
                "level": {"type": "str", "choices": list(pod_security.LEVELS)},
            },
        },
        "force": {"type": "bool", "default": False},
    }
)


def run(task: Task) -> dict[str, Any]:
    """Label the namespaces, creating those that are not there.

    :raises JobError: labels of somebody else would refuse the pods
    """
    params, cluster = task.params, Cluster(task.params)
    levels: dict[str, str] = {}
    for namespace in params["namespaces"]:
        level = namespace["level"] or pod_security.LEVEL_FOR[namespace["runs"]]
        levels[namespace["name"]] = max(level, levels.get(namespace["name"], level), key=pod_security.LEVELS.index)
    skeletons = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in levels]
    live = {obj["metadata"]["name"]: obj for obj in manifests.read(cluster, skeletons).values()}
    wanted, problems = [], []
    for name, level in levels.items():
        foreign = pod_security.foreign_labels(live.get(name), MANAGER)
        obj, found = pod_security.namespace_object(name, level, foreign, params["force"])
        problems += found
        if name not in live or "labels" in obj["metadata"]:
            wanted.append(obj)
    if problems:
        raise JobError(" ".join(problems))
    plan = manifests.plan(cluster, wanted, MANAGER, preview=task.check_mode or task.diff)
    if plan.changes and not task.check_mode:
        manifests.apply(cluster, plan.changes, MANAGER)
    result: dict[str, Any] = {
        "changed": bool(plan.changes),
        "mechanism": "PodSecurityAdmission",
        "levels": levels,
        "objects": plan.names,
    }
    if task.diff:
        result["diff"] = [change.diff() for change in plan.changes]
    return result
