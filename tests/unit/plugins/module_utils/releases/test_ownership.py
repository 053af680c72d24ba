# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An object that helm would refuse is told by whom it is, from its marks and its field managers."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.releases.ownership import foreign

OURS = {"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system"}
MANAGED = {"app.kubernetes.io/managed-by": "Helm"}


def live(
    labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, *managers: str
) -> dict[str, Any]:
    """An object with some marks."""
    meta = {
        "name": "istiod",
        "namespace": "istio-system",
        "labels": labels,
        "annotations": annotations,
        "managedFields": [{"manager": manager, "operation": "Update"} for manager in managers],
    }
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}


def test_ours() -> None:
    """Helm would take it for its own."""
    assert foreign(live(MANAGED, OURS), "istiod", "istio-system") is None


@pytest.mark.parametrize(
    ("labels", "annotations", "lacks"),
    [
        ({}, OURS, ("label app.kubernetes.io/managed-by=Helm",)),
        (MANAGED, {**OURS, "meta.helm.sh/release-name": "x"}, ("annotation meta.helm.sh/release-name=istiod",)),
        (
            None,
            None,
            (
                "label app.kubernetes.io/managed-by=Helm",
                "annotation meta.helm.sh/release-name=istiod",
                "annotation meta.helm.sh/release-namespace=istio-system",
            ),
        ),
    ],
)
def test_what_helm_asks_for(labels: Any, annotations: Any, lacks: tuple[str, ...]) -> None:
    """All three, as its "invalid ownership metadata" says."""
    found = foreign(live(labels, annotations), "istiod", "istio-system")
    assert found is not None
    assert found.lacks == lacks


@pytest.mark.parametrize(
    ("labels", "annotations", "managers", "owner", "by"),
    [
        (MANAGED, {**OURS, "meta.helm.sh/release-name": "mesh"}, (), "helm", "Helm release istio-system/mesh"),
        ({"operator.istio.io/managed": "Reconcile"}, {}, ("istio-operator",), "istioctl", "istioctl"),
        ({}, {}, ("kube-controller-manager", "istio-operator"), "istioctl", "istioctl"),
        ({"managed-by": "sail-operator"}, {}, (), "operator", "the Sail operator"),
        ({"managed-by": "me"}, {}, ("kubectl-create",), "kubectl", "kubectl"),
        ({}, {"argocd.argoproj.io/tracking-id": "x"}, ("argocd-controller",), "argo-cd", "Argo CD"),
        ({"kustomize.toolkit.fluxcd.io/name": "x"}, {}, (), "flux", "Flux"),
        ({}, {"kubectl.kubernetes.io/last-applied-configuration": "{}"}, (), "kubectl", "kubectl apply"),
        ({}, {}, ("terraform",), "unknown", "a client other than Helm (field manager terraform)"),
        ({}, {}, (), "unknown", "a client other than Helm"),
    ],
)
def test_by_whom_43204(labels: Any, annotations: Any, managers: tuple[str, ...], owner: str, by: str) -> None:
    """istio#43204: "invalid ownership metadata" alone says nothing of what to do."""
    found = foreign(live(labels, annotations, *managers), "istiod", "istio-system")
    assert found is not None
    assert (found.owner, found.by) == (owner, by)
    assert str(found) == f"ServiceAccount istio-system/istiod was created by {by}"
    assert found.adoptable is (owner not in ("operator", "argo-cd", "flux"))
