# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_crds: Istio's definitions, just as the base chart would create them.

They carry Helm's ownership, where they are part of the release, and are applied under Helm's own field manager, so that
the base release adopts them without conflict, by Helm 3 or 4 (istio#43204, istio#59630).
"""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import manifests
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import identity
from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import is_ready
from ansible_collections.meshops.istio.plugins.module_utils.cluster.waiting import Waiter
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm import chart_lookup, charts
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm
from ansible_collections.meshops.istio.plugins.module_utils.helm.owner import HELM_MANAGER, owned_by_helm
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import pinned
from ansible_collections.meshops.istio.plugins.module_utils.helm.values import merged
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition, options
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import MeshOptions
from ansible_collections.meshops.istio.plugins.module_utils.task import Task, argument_spec

KIND = "CustomResourceDefinition"
RELEASE = "istio-base"

#: All that describe a mesh, as every module of the group takes them; those that base does not need are only checked.
ARGUMENT_SPEC = argument_spec({**options.MESH_ARGUMENT_SPEC, "wait_timeout": {"type": "int", "default": 120}})


def run(task: Task) -> dict[str, Any]:
    """Apply the definitions that differ and wait until the API server serves them.

    :raises JobError: options that contradict each other; the chart cannot be had, holds no definition, or the server
        refuses one
    """
    params = task.params
    mesh = MeshOptions.of(params)
    composition.releases(mesh)  # names options that contradict each other before anything is read
    helm = Helm(params["helm_binary"])
    chart = chart_lookup.locate(lambda: helm, mesh.source, "base", mesh.version, pinned(mesh.digests, "base"))
    values = merged({"global": {"istioNamespace": mesh.namespace}}, mesh.values.get("base") or {})
    cluster = Cluster(params)
    kube_version = cluster.version()["gitVersion"]
    rendering = (helm, chart, RELEASE, mesh.namespace, values, kube_version, (KIND,))
    wanted = [owned_by_helm(crd, RELEASE, mesh.namespace) for crd in charts.rendered(*rendering)]
    # Older charts have them in their crds directory. Helm installs those beside the release and owns none:
    # marks of ownership would be taken off again by Helm 4, whose field manager is the same.
    wanted = wanted or charts.rendered(*rendering, include_crds=True)
    if not wanted:
        raise JobError(
            f"renders no {KIND} with these values.",
            object=f"The base chart {chart.path}",
            fix="Check base.enableCRDTemplates and global.resourceScope under base in istio_helm_values.",
        )
    plan = manifests.plan(cluster, wanted, HELM_MANAGER, preview=task.check_mode or task.diff)
    if plan.changes and not task.check_mode:
        manifests.apply(cluster, plan.changes, HELM_MANAGER)
    unready = [identity(obj) for obj in wanted if not is_ready(plan.live.get(identity(obj)) or {"kind": KIND})]
    unready = list(dict.fromkeys(unready + [identity(change.wanted) for change in plan.changes]))
    if unready and not task.check_mode:
        Waiter(cluster, params["wait_timeout"], task.say).wait(unready)
    result: dict[str, Any] = {
        "changed": bool(plan.changes),
        "crds": sorted(crd["metadata"]["name"] for crd in wanted),
        "objects": plan.names,
        "planned": plan.planned,
        "chart_version": str(chart.metadata["version"]),
    }
    if task.diff:
        result["diff"] = [change.diff() for change in plan.changes]
    return result
