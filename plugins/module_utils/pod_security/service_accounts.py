# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service accounts the pods of a namespace use, or would if they were admitted.

Pods that are refused do not exist, so their controllers' templates are what must be read (guide, "Preparation": "If
your apps are using a custom service account then you need to create the binding for each of them").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel

#: Kinds that make pods, and where their pods' spec is. ReplicaSets and Jobs of others have an owner that is read too.
POD_SPECS: dict[tuple[str, str], tuple[str, ...]] = {
    ("v1", "Pod"): ("spec",),
    ("apps/v1", "Deployment"): ("spec", "template", "spec"),
    ("apps/v1", "ReplicaSet"): ("spec", "template", "spec"),
    ("apps/v1", "StatefulSet"): ("spec", "template", "spec"),
    ("apps/v1", "DaemonSet"): ("spec", "template", "spec"),
    ("batch/v1", "Job"): ("spec", "template", "spec"),
    ("batch/v1", "CronJob"): ("spec", "jobTemplate", "spec", "template", "spec"),
}

#: Those of the charts that work on the node, which may live beside others in kube-system.
NODE_ACCOUNTS = ("istio-cni", "ztunnel")


def used_by(workloads: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Names of the service accounts that some workloads' pods use, in order; ``default`` is always one of them."""
    found = {"default"}
    for workload in workloads:
        if workload["kind"] != "Pod" and workload["metadata"].get("ownerReferences"):
            continue
        spec: Any = workload
        for step in POD_SPECS[workload["apiVersion"], workload["kind"]]:
            spec = (spec or {}).get(step)
        spec = spec or {}
        found.add(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")
    return tuple(sorted(found))


def in_namespace(cluster: Cluster, namespace: str) -> tuple[str, ...]:
    """Names of the service accounts that the pods of a namespace use or would use."""
    listed = in_parallel(lambda kind: cluster.list(*kind, namespace), POD_SPECS)
    return used_by(workload for workloads in listed for workload in workloads)
