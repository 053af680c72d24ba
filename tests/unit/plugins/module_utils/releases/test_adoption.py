# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adoption changes who holds the fields of an object, and tries again when somebody was faster."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import JSON_PATCH
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.releases.adoption import TRIES, adopt

FIELDS = {"f:metadata": {"f:labels": {"f:release": {}}}}
CRD = "gateways.networking.istio.io"


def definition(manager: str = "istio-operator", version: str = "7") -> dict[str, Any]:
    """A definition that istioctl has installed."""
    entry = {"manager": manager, "operation": "Apply", "apiVersion": "apiextensions.k8s.io/v1", "fieldsV1": FIELDS}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD, "resourceVersion": version, "managedFields": [entry]},
    }


class FakeCluster:
    """One object, of which each patch meets what a test has written down.

    :ivar list answers: an error, or None for success
    :ivar found: what is read after a conflict
    """

    def __init__(self, *answers: ApiError | None, found: dict[str, Any] | None = None) -> None:
        self.answers = list(answers)
        self.found = found
        self.patches: list[Any] = []

    def patch(self, obj: dict[str, Any], patch: Any, form: str, manager: str) -> dict[str, Any]:
        """As kube.Cluster."""
        assert (form, manager) == (JSON_PATCH, "helm")
        self.patches.append(copy.deepcopy(patch))
        answer = self.answers.pop(0)
        if answer:
            raise answer
        return obj

    def get(self, api_version: str, kind: str, name: str, namespace: str | None) -> dict[str, Any] | None:
        """As kube.Cluster."""
        assert (api_version, kind, name, namespace) == (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            CRD,
            None,
        )
        return self.found


def conflict() -> ApiError:
    """Somebody was faster."""
    return ApiError(409, "Conflict", "the object has been modified")


def test_adopt_59630() -> None:
    """istio#59630: what istioctl applied is what helm applied; one patch, good for this version of the object only."""
    cluster = FakeCluster(None)
    assert adopt(cluster, definition())
    assert cluster.patches == [
        [
            {
                "op": "replace",
                "path": "/metadata/managedFields",
                "value": [{**definition()["metadata"]["managedFields"][0], "manager": "helm"}],
            },
            {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        ]
    ]


def test_nothing_to_adopt() -> None:
    """No request."""
    assert not adopt(FakeCluster(), definition("helm"))


def test_somebody_was_faster() -> None:
    """It is read again."""
    cluster = FakeCluster(conflict(), None, found=definition(version="8"))
    assert adopt(cluster, definition())
    assert [patch[1]["value"] for patch in cluster.patches] == ["7", "8"]


@pytest.mark.parametrize("found", [None, definition("helm")])
def test_somebody_was_faster_and_there_is_nothing_left(found: dict[str, Any] | None) -> None:
    """The object is gone, or adopted already."""
    assert not adopt(FakeCluster(conflict(), found=found), definition())


def test_object_that_changes_all_the_time() -> None:
    """There is an end to it."""
    cluster = FakeCluster(*[conflict()] * TRIES, found=definition())
    with pytest.raises(JobError, match=f"^CustomResourceDefinition {CRD} was changed by another client during each of"):
        adopt(cluster, definition())
    assert len(cluster.patches) == TRIES


def test_refusal() -> None:
    """Says of what."""
    with pytest.raises(
        JobError, match=f"^CustomResourceDefinition {CRD} was rejected by the API server: no\\. Correct"
    ):
        adopt(FakeCluster(ApiError(403, "Forbidden", "no")), definition())
