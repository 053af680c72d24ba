# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a field is read from managedFields and from the API server's conflicts, and can be handed over."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_managers import (
    Conflict,
    by_installers,
    by_updates_of,
    conflicts,
    handed_over,
    orphaned,
)
from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_sets import (
    named,
    paths,
    value_at,
    with_values_of,
    without,
)

PORT = 'k:{"port":80,"protocol":"TCP"}'
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "edge", "namespace": "mesh", "labels": {"app": "edge", "team": "a"}, "finalizers": ["x", "y"]},
    "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}, {"port": 443, "protocol": "TCP"}]},
}


def entry(manager: str, fields: dict[str, Any], operation: str = "Update", **more: Any) -> dict[str, Any]:
    """An entry of managedFields."""
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields, **more}


def labels(*names: str) -> dict[str, Any]:
    """A set of labels."""
    return {"f:metadata": {"f:labels": {f"f:{name}": {} for name in names}}}


def refused(*causes: tuple[str, str]) -> ApiError:
    """A conflict as the API server tells it."""
    found = [{"reason": "FieldManagerConflict", "message": message, "field": field} for message, field in causes]
    return ApiError(409, "Conflict", f"Apply failed with {len(found)} conflicts", {"causes": found})


def test_conflicts_60497() -> None:
    """Azure's admissionsenforcer holds the selectors of istiod's webhooks."""
    field = '.webhooks[name="object.sidecar-injector.istio.io"].namespaceSelector'
    error = refused(('conflict with "admissionsenforcer" using admissionregistration.k8s.io/v1', field))
    found = conflicts(SERVICE, error)
    assert found == [Conflict("Service mesh/edge", field, "admissionsenforcer")]
    assert not found[0].adoptable
    assert str(found[0]) == f"Service mesh/edge: {field} is owned by admissionsenforcer"


def test_conflicts_59630() -> None:
    """An apply names no version; istioctl's is one that adoption ends."""
    found = conflicts(SERVICE, refused(('conflict with "istio-operator"', ".metadata.labels.release")))
    assert found == [Conflict("Service mesh/edge", ".metadata.labels.release", "istio-operator", "Apply")]
    assert found[0].adoptable


@pytest.mark.parametrize(
    ("message", "manager", "operation", "subresource"),
    [
        ('conflict with "kubectl" with subresource "scale" using apps/v1', "kubectl", "Update", "scale"),
        ('conflict with "a \\"b\\" c" using v1 at 2026-11-22T18:50:00Z', 'a "b" c', "Update", ""),
        ('conflict with "x" with subresource "status"', "x", "Apply", "status"),
    ],
)
def test_words_of_a_conflict(message: str, manager: str, operation: str, subresource: str) -> None:
    """Names may hold what they like."""
    found = conflicts(SERVICE, refused((message, ".spec.replicas")))
    assert [(each.manager, each.operation, each.subresource) for each in found] == [(manager, operation, subresource)]


@pytest.mark.parametrize(
    "details", [{}, {"causes": [{"reason": "FieldValueInvalid", "message": "conflict with x", "field": "spec"}]}]
)
def test_conflict_of_another_kind(details: dict[str, Any]) -> None:
    """A quota's, or one about versions, names no manager."""
    assert conflicts(SERVICE, ApiError(409, "Conflict", "the object has been modified", details)) == []


@pytest.mark.parametrize(
    ("manager", "operation", "adoptable"),
    [
        ("kubectl-client-side-apply", "Update", True),
        ("kubectl-edit", "Update", True),
        ("kubectl", "Update", True),
        ("kubectlish", "Update", False),
        ("istio-operator", "Apply", True),
        ("istioctl", "Update", True),
        ("pilot-discovery", "Update", False),
        ("argocd-controller", "Apply", False),
    ],
)
def test_what_adoption_takes_over(manager: str, operation: str, adoptable: bool) -> None:
    """People's and installers', not controllers' at work."""
    assert Conflict("Service a/b", ".spec", manager, operation).adoptable is adoptable


def test_paths_and_their_names() -> None:
    """What is owned in one piece, and how the API server calls it."""
    fields = {
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {'v:"x"': {}}},
        "f:spec": {"f:ports": {PORT: {".": {}, "f:nodePort": {}}}},
    }
    assert [named(path) for path in paths(fields)] == [
        ".metadata.labels.app",
        '.metadata.finalizers[="x"]',
        '.spec.ports[port=80,protocol="TCP"].nodePort',
    ]


def test_value_at() -> None:
    """A key that the server would default may be missing."""
    assert value_at(SERVICE, ("f:spec", "f:ports", PORT, "f:nodePort")) == 30080
    assert value_at(SERVICE, ("f:spec", "f:ports", 'k:{"port":9}', "f:nodePort")) is None
    assert value_at(SERVICE, ("f:metadata", "f:finalizers", 'v:"x"')) == "x"
    assert value_at(None, ("f:spec",)) is None


def test_without() -> None:
    """What is left empty goes with what was in it; the object itself stays as it was."""
    gone = [
        ("f:metadata", "f:labels", "f:app"),
        ("f:metadata", "f:labels", "f:team"),
        ("f:metadata", "f:finalizers", 'v:"x"'),
        ("f:spec", "f:ports", PORT, "f:nodePort"),
        ("f:spec", "f:ports", 'k:{"port":443,"protocol":"TCP"}'),
        ("f:status", "f:nothing"),
    ]
    assert without(SERVICE, gone) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "edge", "namespace": "mesh", "finalizers": ["y"]},
        "spec": {"type": "NodePort", "ports": [{"port": 80}]},
    }
    assert SERVICE["metadata"]["labels"] == {"app": "edge", "team": "a"}


def test_with_values_of() -> None:
    """Only where the object has a place for the value."""
    wanted = {"spec": {"ports": [{"port": 80}]}}
    port, other = ("f:spec", "f:ports", PORT, "f:nodePort"), ("f:status", "f:a")
    assert with_values_of(wanted, SERVICE, [port, other]) == {"spec": {"ports": [{"port": 80, "nodePort": 30080}]}}
    assert wanted == {"spec": {"ports": [{"port": 80}]}}


def test_handed_over_59630() -> None:
    """What istioctl applied is what helm applied, and nobody else's changes."""
    operator = entry("istio-operator", labels("release", "old"), "Apply", time="then")
    helm = entry("helm", labels("app", "release"), "Apply")
    other = entry("pilot-discovery", {"f:webhooks": {}})
    status = entry("istio-operator", {"f:status": {}}, "Apply", subresource="status")
    after = handed_over([operator, helm, other, status], by_installers, "helm")
    assert after == [entry("helm", labels("app", "release", "old"), "Apply"), other, status]


def test_handed_over_where_helm_has_applied_nothing() -> None:
    """Of several installers all, into one entry."""
    applied = entry("kubectl-client-side-apply", labels("a"))
    created = entry("kubectl-create", labels("b"))
    assert handed_over([applied, created], by_installers, "helm") == [entry("helm", labels("a", "b"), "Apply")]


def test_handed_over_of_another_version() -> None:
    """Its fields may be others: they are nobody's then."""
    old = entry("kubectl-create", {"f:spec": {"f:old": {}}}, apiVersion="v1beta1")
    helm = entry("helm", labels("a"), "Apply")
    assert handed_over([old, helm], by_installers, "helm") == [helm]


@pytest.mark.parametrize("manager", ["kubectl-edit", "kubectl-label", "pilot-discovery", "helm"])
def test_nothing_to_hand_over(manager: str) -> None:
    """What somebody has set by hand stays theirs."""
    managed = [entry(manager, labels("a"))]
    assert handed_over(managed, by_installers, "helm") is managed


def test_updates_of_helm_3() -> None:
    """Helm 4 that installs over them hands them over to itself."""
    managed = [entry("helm", labels("a")), entry("helm", labels("b"), subresource="scale"), entry("x", labels("a"))]
    after = handed_over(managed, by_updates_of("helm"), "helm")
    assert after == [entry("helm", labels("a"), "Apply"), *managed[1:]]


def test_orphaned() -> None:
    """What only those hold that hand over, and nobody wants."""
    managed = [
        entry("kubectl-create", {**labels("app", "team"), "f:spec": {"f:ports": {PORT: {".": {}, "f:nodePort": {}}}}}),
        entry("kubectl-label", labels("team")),
    ]
    live = {**SERVICE, "metadata": {**SERVICE["metadata"], "managedFields": managed}}
    wanted = {"metadata": {"labels": {"x": "y"}}, "spec": {"ports": [{"port": 443}]}}
    assert [named(path) for path in orphaned(live, by_installers, wanted)] == [
        ".metadata.labels.app",
        '.spec.ports[port=80,protocol="TCP"]',
    ]
    wanted["spec"]["ports"] = [{"port": 80}]
    assert [named(path) for path in orphaned(live, by_installers, wanted)] == [
        ".metadata.labels.app",
        '.spec.ports[port=80,protocol="TCP"].nodePort',
    ]
