# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Helm release an object belongs to, by the marks that Helm leaves. Pure."""

from __future__ import annotations

from typing import Any

Release = tuple  # (namespace, name)

#: The manager under which Helm applies since 4, and under whose name Helm 3 updates.
HELM_MANAGER = "helm"
MANAGED_BY = ("app.kubernetes.io/managed-by", "Helm")
RELEASE_NAME = "meta.helm.sh/release-name"
RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"


def helm_release(obj: dict[str, Any]) -> Release | None:
    """The Helm release that owns an object, as (namespace, name)."""
    annotations = obj["metadata"].get("annotations") or {}
    name = annotations.get(RELEASE_NAME)
    return (annotations.get(RELEASE_NAMESPACE, ""), name) if name else None


def owned_by_helm(obj: dict[str, Any], release: str, namespace: str) -> dict[str, Any]:
    """An object with the label and annotations by which Helm knows its own."""
    meta, (label, value) = obj["metadata"], MANAGED_BY
    annotations = {**(meta.get("annotations") or {}), RELEASE_NAME: release, RELEASE_NAMESPACE: namespace}
    labels = {**(meta.get("labels") or {}), label: value}
    return {**obj, "metadata": {**meta, "labels": labels, "annotations": annotations}}
