# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application that the mesh is proven with: a chart's objects and given ones, in a namespace, with their sidecars.

Reads the cluster and writes nothing; what is to be applied comes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, identity, reference
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm import charts
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm, private_directory
from ansible_collections.meshops.istio.plugins.module_utils.liveness import injection, removal
from ansible_collections.meshops.istio.plugins.module_utils.liveness.belongings import App, why_kept
from ansible_collections.meshops.istio.plugins.module_utils.mesh import revisions
from ansible_collections.meshops.istio.plugins.module_utils.mesh.istioctl import Istioctl
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import INJECTION, REVISION
from ansible_collections.meshops.istio.plugins.module_utils.task import Task, expanded

#: Options of the application, for the job that applies it.
ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "manifests": {"type": "list", "elements": "dict", "required": True},
    "chart": {"type": "path"},
    "chart_files": {"type": "dict"},
    "chart_release": {"type": "str", "default": "liveness"},
    "chart_values": {"type": "dict", "default": {}},
    "gateways_value": {"type": "str"},
    "helm_binary": {"type": "path"},
    "namespace": {"type": "str"},
    "namespace_labels": {"type": "dict"},
    "injection": {
        "type": "str",
        "choices": [injection.AUTOMATIC, injection.MANUAL],
        "default": injection.AUTOMATIC,
    },
    "injection_source": {"type": "str", "choices": [injection.CONFIG, injection.LIVE], "default": injection.CONFIG},
    "revision": {"type": "str", "default": ""},
    "control_plane_revision": {"type": "str"},
    "istio_namespace": {"type": "str", "default": "istio-system"},
    "istioctl_binary": {"type": "path"},
}

#: Annotation of our app's Deployment that names such of its objects as not every run has, as KIND or, where it has not
#: the app's name, KIND/NAME; their kinds, and versions.
PARTS = "meshops.istio/parts"
_OPTIONAL = {
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "Gateway": "networking.istio.io/v1",
}

#: By which charts name what Helm runs at certain moments, and those moments that are a test.
_HOOK, _TESTS = "helm.sh/hook", {"test", "test-success", "test-failure"}

Objects = list[dict[str, Any]]


@dataclass
class Application:
    """What is to be applied.

    :ivar dict facts: for the task's result
    """

    objects: Objects
    facts: dict[str, Any] = field(default_factory=dict)


def prepare(task: Task, cluster: Cluster) -> Application:
    """Bring together what the options describe.

    :raises JobError: a chart cannot be rendered, or the sidecars cannot be added
    """
    params = task.params
    found = flat(params["manifests"])
    if params["chart"]:
        found = [*_rendered(task, cluster, expanded(params["chart"])), *found]
    if params["chart_files"]:
        with private_directory() as directory:
            found = [*_rendered(task, cluster, _written(params["chart_files"], directory)), *found]
    if params["namespace"]:
        labels = params["namespace_labels"] or injection.namespace_labels(params["injection"], params["revision"])
        found = placed(found, params["namespace"], labels)
    if params["injection"] == injection.MANUAL and params["state"] == "present" and injection.workloads(found):
        return _injected(task, cluster, found)
    return Application(found)


def flat(objects: Objects) -> Objects:
    """Objects with those of Lists in place of the List."""
    found: Objects = []
    for obj in objects:
        is_list = obj.get("kind") == "List" and isinstance(obj.get("items"), list)
        found += flat(obj["items"]) if is_list else [obj]
    return found


def placed(objects: Objects, namespace: str, labels: dict[str, str]) -> Objects:
    """Objects that name no namespace in one, and that namespace with its labels before them."""
    own: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    rest = []
    for obj in objects:
        meta = obj.get("metadata") or {}
        if obj.get("kind") == "Namespace":
            if meta.get("name") == namespace:
                own = obj
                continue
        elif not meta.get("namespace"):
            obj = {**obj, "metadata": {**meta, "namespace": namespace}}
        rest.append(obj)
    # One that says something else about injection would contradict what was asked for.
    given = own["metadata"].get("labels") or {}
    kept = {key: value for key, value in given.items() if key not in (INJECTION, REVISION)}
    return [{**own, "metadata": {**own["metadata"], "labels": {**kept, **labels}}}, *rest]


def _written(files: dict[str, str], directory: Path) -> Path:
    """A chart that came as its files' contents."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return directory


def left_over(app: App, cluster: Cluster, wanted: Objects, live: dict[Identity, dict[str, Any]]) -> Objects:
    """Objects that an earlier run made as part of our app, and this one does not want, as they are.

    :arg live: live objects of those that are wanted
    """
    there = set(map(identity, wanted))
    parts = [
        (*part.partition("/"), key)
        for key, obj in live.items()
        for part in ((obj["metadata"].get("annotations") or {}).get(PARTS) or "").split()
    ]
    had = [(_OPTIONAL[kind], kind, key[2], name or key[3]) for kind, _slash, name, key in parts if kind in _OPTIONAL]
    found = filter(None, (removal.read(cluster, key) for key in had if key not in there))
    return [obj for obj in found if not why_kept(app, obj) and not obj["metadata"].get("deletionTimestamp")]


def _rendered(task: Task, cluster: Cluster, path: Path) -> Objects:
    """What a chart renders to, without what Helm would run at certain moments: here nobody would.

    :raises JobError: there is no helm, or it refuses the chart
    """
    params = task.params
    chart = charts.Chart(path)
    if not chart.metadata["name"]:
        raise JobError(
            "is not a chart: its Chart.yaml has no name.", object=str(chart.path), fix="Set name in Chart.yaml."
        )
    text = Helm(params["helm_binary"]).template(
        params["chart_release"],
        params["namespace"] or "default",
        chart.path,
        params["chart_values"],
        cluster.version()["gitVersion"],
        include_crds=True,
    )
    found, left_out = [], []
    for obj in charts.documents(text):
        moments = ((obj.get("metadata") or {}).get("annotations") or {}).get(_HOOK)
        if not moments:
            found.append(obj)
        elif not {moment.strip() for moment in moments.split(",")} <= _TESTS:
            left_out.append(f"{reference(obj)} ({moments})")
    if left_out:
        task.warnings.append(
            f"chart {chart.path}: Helm hooks are not applied: {', '.join(left_out)}. Add those that the application "
            "needs to liveness_verify_manifests."
        )
    return found


def _injected(task: Task, cluster: Cluster, objects: Objects) -> Application:
    """The objects with sidecars in their templates.

    Before the first run there is no istiod that could say what a sidecar is: in check mode they are shown without.

    :raises JobError: there is no istiod, or istioctl fails
    """
    params, namespace = task.params, task.params["istio_namespace"]
    wanted = params["revision"] if params["revision"] != revisions.DEFAULT else ""
    revision = injection.revision_of(cluster, namespace, wanted)
    if revision is None:
        under = f" of revision or tag {wanted}" if wanted else ""
        missing = f"Manual injection needs istiod{under}, which does not exist in namespace {namespace}"
        if not task.check_mode:
            raise JobError(
                f"{missing}.",
                fix="Run role istio_helm to install it, or set liveness_verify_revision and istio_helm_namespace to "
                "those of an existing istiod.",
                code="istiod-missing",
            )
        task.warnings.append(f"{missing}. The application is shown without its sidecar.")
        return Application(objects, {"injected": []})
    istioctl = Istioctl(params["istioctl_binary"])
    if params["injection_source"] == injection.LIVE:
        inject = injection.by_istiod(istioctl, cluster, namespace, revision)
    else:
        inject = injection.by_config(istioctl, injection.settings(cluster, namespace, revision))
    found, remarks = injection.injected(objects, inject)
    task.warnings += remarks
    done = [obj for obj in injection.workloads(found) if injection.is_injected(obj)]
    return Application(found, {"injected": [reference(obj) for obj in done]})
