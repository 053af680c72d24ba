# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sidecars: the labels by which the injector adds them, and ``istioctl kube-inject``, which adds them beforehand.

kube-inject gets the workloads alone, by standard input; no other object, such as a Secret, leaves this process. Of its
answer only the pods' template is taken: the rest has been through istioctl's idea of the kind, with its zero values.
The template is filled in from what istiod's own ConfigMaps say (source ``config``), which takes no other right than to
read them and always ends in the same, or by the running istiod (``live``), for which istioctl forwards a port to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import json_for_yaml
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm.charts import documents
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import credentials, private_directory
from ansible_collections.meshops.istio.plugins.module_utils.mesh import revisions
from ansible_collections.meshops.istio.plugins.module_utils.mesh.istioctl import Istioctl
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import INJECTION, REVISION

AUTOMATIC, MANUAL = "automatic", "manual"
CONFIG, LIVE = "config", "live"

#: Kinds that kube-inject knows -> where that is which it changes.
_WHOLE: tuple[str, ...] = ()
_TEMPLATE = ("spec", "template")
PARTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("v1", "Pod"): _WHOLE,
    ("v1", "ReplicationController"): _TEMPLATE,
    ("apps/v1", "DaemonSet"): _TEMPLATE,
    ("apps/v1", "Deployment"): _TEMPLATE,
    ("apps/v1", "ReplicaSet"): _TEMPLATE,
    ("apps/v1", "StatefulSet"): _TEMPLATE,
    ("batch/v1", "CronJob"): ("spec", "jobTemplate"),
    ("batch/v1", "Job"): _TEMPLATE,
    ("apps.openshift.io/v1", "DeploymentConfig"): _TEMPLATE,
}
_INJECTOR, _MESH = "istio-sidecar-injector", "istio"
_TAG = "istio.io/tag"
_STATUS = "sidecar.istio.io/status"

Objects = list[dict[str, Any]]


def namespace_labels(mode: str, revision: str) -> dict[str, str]:
    """The labels of a namespace whose pods have a sidecar.

    With manual injection the injector is turned away: what is in the template already needs no second time, and where
    namespaces without a label are injected (``enableNamespacesByDefault``) no label would not do.

    :arg mode: ``automatic`` or ``manual``
    :arg revision: revision or tag of the istiod that injects; empty for the default
    """
    if mode == MANUAL:
        return {INJECTION: "disabled"}
    return {REVISION: revision} if revision else {INJECTION: "enabled"}


@dataclass(frozen=True)
class Settings:
    """What istiod injects with.

    :ivar str revision: empty for the default
    """

    revision: str
    templates: str
    values: str
    mesh: str


def _names(revision: str) -> tuple[str, str]:
    """Names of the two ConfigMaps of a revision."""
    suffix = revisions.suffix(revision)
    return _INJECTOR + suffix, _MESH + suffix


def revision_of(cluster: Cluster, namespace: str, wanted: str) -> str | None:
    """The revision that a name stands for, which may be a tag's; None when istiod is not there under that name.

    :arg namespace: Istio's
    :arg wanted: empty for the default
    """
    if cluster.get("v1", "ConfigMap", _names(wanted)[0], namespace):
        return wanted
    tagged = cluster.list(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        label_selector=f"{_TAG}={wanted or revisions.DEFAULT}",
    )
    for webhooks in tagged:
        found = (webhooks["metadata"].get("labels") or {}).get(REVISION, "")
        if found and found != wanted and cluster.get("v1", "ConfigMap", _names(found)[0], namespace):
            return found
    return None


def settings(cluster: Cluster, namespace: str, revision: str) -> Settings:
    """Read what the istiod of a revision injects with.

    :raises JobError: its ConfigMaps are not as they should be
    """
    keys = []
    for name, wanted in zip(_names(revision), (("config", "values"), ("mesh",)), strict=True):
        data = (cluster.get("v1", "ConfigMap", name, namespace) or {}).get("data") or {}
        missing = [key for key in wanted if key not in data]
        if missing:
            raise JobError(
                f"has no {' and no '.join(missing)}, which manual injection needs.",
                object=f"ConfigMap {namespace}/{name}",
                fix="Run role istio_helm to restore it, or set liveness_verify_injection_source: live.",
            )
        keys += [data[key] for key in wanted]
    return Settings(revision, *keys)


def by_config(istioctl: Istioctl, found: Settings) -> Callable[[str], tuple[str, list[str]]]:
    """kube-inject from what was read: without a cluster, so that the same goes in and out each time."""

    def inject(text: str) -> tuple[str, list[str]]:
        with private_directory() as directory:
            flags = []
            contents = {
                "--injectConfigFile": found.templates,
                "--valuesFile": found.values,
                "--meshConfigFile": found.mesh,
            }
            for flag, content in contents.items():
                path = directory / flag.strip("-")
                path.touch(mode=0o600, exist_ok=False)
                path.write_text(content, encoding="utf-8")
                flags += [flag, str(path)]
            # Without a revision, istioctl would ask a cluster for the default one.
            flags += ["--revision", found.revision or revisions.DEFAULT]
            return istioctl.kube_inject(text, flags, {**os.environ, "KUBECONFIG": os.devnull})

    return inject


def by_istiod(
    istioctl: Istioctl, cluster: Cluster, namespace: str, revision: str
) -> Callable[[str], tuple[str, list[str]]]:
    """kube-inject by the running istiod. It takes the rights to list its pods and to forward a port to one of them."""

    def inject(text: str) -> tuple[str, list[str]]:
        with credentials(cluster) as environment:
            flags = ["--istioNamespace", namespace, *(["--revision", revision] if revision else [])]
            flags += cluster.connection.acting_flags()
            return istioctl.kube_inject(text, flags, environment)

    return inject


def workloads(objects: Objects) -> Objects:
    """Those of some objects that can have a sidecar."""
    found = [(obj, PARTS.get((obj.get("apiVersion"), obj.get("kind")))) for obj in objects]
    return [obj for obj, path in found if path is not None and _at(obj, path or ("spec",))]


def injected(objects: Objects, inject: Callable[[str], tuple[str, list[str]]]) -> tuple[Objects, list[str]]:
    """Objects with sidecars in the pods' templates; those that cannot have one, or have it already, as they are.

    :arg inject: kube-inject
    :returns: the objects, and istioctl's remarks about those that got none
    """
    candidates = workloads(objects)
    if not candidates:
        return objects, []
    text = "\n---\n".join(json_for_yaml(obj) for obj in candidates)
    output, remarks = inject(text)
    answers = {id(obj): answer for obj, answer in zip(candidates, documents(output), strict=True)}
    return [_with_part(obj, answers[id(obj)]) if id(obj) in answers else obj for obj in objects], remarks


def is_injected(workload: dict[str, Any]) -> bool:
    """Whether a workload has its sidecar in the template."""
    meta = _at(workload, PARTS[workload["apiVersion"], workload["kind"]]).get("metadata") or {}
    return _STATUS in (meta.get("annotations") or {})


def _with_part(obj: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """An object with that of an answer which kube-inject changes; the object itself where that changes nothing."""
    path = PARTS[obj["apiVersion"], obj["kind"]]
    before, after = _at(obj, path), _without_nulls(_at(answer, path))
    if path == _WHOLE:
        after = {**obj, "metadata": after["metadata"], "spec": after["spec"]}
    if _bare(before) == _bare(after):
        return obj
    if path == _WHOLE:
        return after
    return {**obj, "spec": {**obj["spec"], path[-1]: after}}


def _at(obj: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        obj = (obj or {}).get(step)
    return obj


def _without_nulls(value: Any) -> Any:
    """Without the nulls that Go writes for a time that is not set."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _bare(value: Any) -> Any:
    """Without all that is empty, which Go writes for structures that nobody filled."""
    if isinstance(value, dict):
        bare = {key: _bare(item) for key, item in value.items()}
        return {key: item for key, item in bare.items() if item not in (None, {}, [])}
    return [_bare(item) for item in value] if isinstance(value, list) else value
