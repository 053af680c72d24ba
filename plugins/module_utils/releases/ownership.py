# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose is an object that a release wants to be its own? Pure.

What the job calls: ``foreign(live, name, namespace)`` for each live object that the release wants and its manifest did
not have yet. Helm refuses those ("invalid ownership metadata") unless it is told to take them over; this says by whom
they are, so that the job can say it before anything is written, or have them adopted (``adoption.adopt``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_managers import entries
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import reference
from ansible_collections.meshops.istio.plugins.module_utils.helm.owner import (
    MANAGED_BY,
    RELEASE_NAME,
    RELEASE_NAMESPACE,
    helm_release,
)

HELM, ISTIOCTL, KUBECTL, OPERATOR, ARGO_CD, FLUX, UNKNOWN = (
    "helm",
    "istioctl",
    "kubectl",
    "operator",
    "argo-cd",
    "flux",
    "unknown",
)

#: Labels and annotations by which installers mark what is theirs, beside Helm's own; the first that is found counts.
_MARKS: tuple[tuple[str, str, str], ...] = (
    ("managed-by", OPERATOR, "the Sail operator"),
    ("argocd.argoproj.io/tracking-id", ARGO_CD, "Argo CD"),
    ("argocd.argoproj.io/instance", ARGO_CD, "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", FLUX, "Flux"),
    ("helm.toolkit.fluxcd.io/name", FLUX, "Flux"),
    ("operator.istio.io/managed", ISTIOCTL, "istioctl"),
    ("operator.istio.io/component", ISTIOCTL, "istioctl"),
    ("kubectl.kubernetes.io/last-applied-configuration", KUBECTL, "kubectl apply"),
)
_SAIL = "sail-operator"
#: Field managers, by how their names begin.
_MANAGERS: tuple[tuple[str, str, str], ...] = (
    ("istio-operator", ISTIOCTL, "istioctl"),
    ("argocd", ARGO_CD, "Argo CD"),
    ("kustomize-controller", FLUX, "Flux"),
    ("kubectl", KUBECTL, "kubectl"),
)


@dataclass(frozen=True)
class Foreign:
    """An object that helm would refuse to make part of a release.

    :ivar str object: as people name it
    :ivar str owner: ``helm``, ``istioctl``, ``kubectl``, ``operator``, ``argo-cd``, ``flux`` or ``unknown``
    :ivar str by: the owner in words: ``istioctl``, ``Helm release istio-system/istio``
    :ivar tuple lacks: what helm asks for and does not find, as ``label app.kubernetes.io/managed-by=Helm``
    """

    object: str
    owner: str
    by: str
    lacks: tuple[str, ...]

    @property
    def adoptable(self) -> bool:
        """Whether nobody is at work who would take it back: an operator and a GitOps controller would."""
        return self.owner in (ISTIOCTL, KUBECTL, UNKNOWN, HELM)

    def __str__(self) -> str:
        return f"{self.object} was created by {self.by}"


def foreign(live: dict[str, Any], name: str, namespace: str) -> Foreign | None:
    """Whose an object is, where it is not the release's; None where helm would take it for its own.

    :arg live: the object as it is in the cluster
    :arg name: the release's; :arg namespace: the release's
    """
    meta = live["metadata"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    asked = (
        ("label", labels, *MANAGED_BY),
        ("annotation", annotations, RELEASE_NAME, name),
        ("annotation", annotations, RELEASE_NAMESPACE, namespace),
    )
    lacks = tuple(f"{what} {key}={value}" for what, there, key, value in asked if there.get(key) != value)
    if not lacks:
        return None
    owner, by = maker(live)
    return Foreign(reference(live), owner, by, lacks)


def maker(live: dict[str, Any]) -> tuple[str, str]:
    """Who made an object, as a word for code and in words for people: its marks tell, else who holds its fields."""
    release = helm_release(live)
    if release:
        return HELM, f"Helm release {'/'.join(release)}"
    meta = live["metadata"]
    marks = {**(meta.get("annotations") or {}), **(meta.get("labels") or {})}
    for mark, owner, by in _MARKS:
        if mark in marks and (mark != "managed-by" or marks[mark] == _SAIL):
            return owner, by
    managers = [entry.get("manager") or "" for entry in entries(live) if not entry.get("subresource")]
    for begins, owner, by in _MANAGERS:
        if any(manager.startswith(begins) for manager in managers):
            return owner, by
    return (
        UNKNOWN,
        f"a client other than Helm (field manager {managers[0]})" if managers else "a client other than Helm",
    )
