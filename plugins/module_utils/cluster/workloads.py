# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods by the workload that owns them: a Deployment of a hundred pods is one finding. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_TEMPLATE_HASH = "pod-template-hash"

Owner = tuple  # (namespace, kind, name)


@dataclass
class Workload:
    """What owns pods of one template.

    :ivar dict labels: of its pods
    :ivar list pods: those of it that have not ended; none when it was found by its Deployment alone
    :ivar list ports: of its containers
    """

    namespace: str
    kind: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    pods: list[dict[str, Any]] = field(default_factory=list)
    ports: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def workload_of(pod: dict[str, Any]) -> Owner:
    """Namespace, kind and name of what owns a pod: the Deployment behind a ReplicaSet, or the pod itself."""
    meta = pod["metadata"]
    for owner in meta.get("ownerReferences") or []:
        if not owner.get("controller"):
            continue
        suffix = "-" + (meta.get("labels") or {}).get(_TEMPLATE_HASH, "?")
        if owner["kind"] == "ReplicaSet" and owner["name"].endswith(suffix):
            return meta["namespace"], "Deployment", owner["name"].removesuffix(suffix)
        return meta["namespace"], owner["kind"], owner["name"]
    return meta["namespace"], "Pod", meta["name"]


def _ports(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [port for container in spec.get("containers") or [] for port in container.get("ports") or []]


def in_the_mesh(spec: dict[str, Any], kind: str) -> bool:
    """Whether the recommendations are about such pods: Istio leaves those of the host's network alone, Jobs end."""
    return not spec.get("hostNetwork") and kind != "Job"


def workloads(pods: Iterable[dict[str, Any]], deployments: Iterable[dict[str, Any]] = ()) -> list[Workload]:
    """Pods by workload, and Deployments that have no pod, such as those whose pods are refused.

    :arg pods: those that have not ended
    """
    found: dict[Owner, Workload] = {}
    for pod in pods:
        owner = workload_of(pod)
        if not in_the_mesh(pod["spec"], owner[1]):
            continue
        if owner not in found:
            found[owner] = Workload(*owner, pod["metadata"].get("labels") or {}, [], _ports(pod["spec"]))
        found[owner].pods.append(pod)
    for deployment in deployments:
        meta, template = deployment["metadata"], deployment["spec"]["template"]
        owner = (meta["namespace"], "Deployment", meta["name"])
        if owner not in found and in_the_mesh(template["spec"], "Deployment"):
            labels = (template.get("metadata") or {}).get("labels") or {}
            found[owner] = Workload(*owner, labels, [], _ports(template["spec"]))
    return list(found.values())
