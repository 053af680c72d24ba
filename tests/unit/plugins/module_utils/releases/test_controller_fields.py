# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a controller sets again is hidden where the controller holds it, and nowhere else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_sets import named
from ansible_collections.meshops.istio.plugins.module_utils.releases.controller_fields import (
    allocated,
    controlled,
    controller_of,
    visible,
)

KEY = 'k:{"name":"a.istio.io"}'
CHARTS = {"matchExpressions": [{"key": "istio-injection", "operator": "In", "values": ["enabled"]}]}
AKS = {"key": "kubernetes.azure.com/managedby", "operator": "NotIn", "values": ["aks"]}


def configuration(kind: str, manager: str, field: str, subresource: str = "", **webhook: Any) -> dict[str, Any]:
    """A configuration with one webhook, of which one manager holds one field."""
    fields: dict[str, Any] = {"f:clientConfig": {"f:caBundle": {}}} if field == "caBundle" else {f"f:{field}": {}}
    entry = {
        "manager": manager,
        "operation": "Update",
        "fieldsV1": {"f:webhooks": {KEY: fields}},
        **({"subresource": subresource} if subresource else {}),
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "istiod", "managedFields": [entry]},
        "webhooks": [{"name": "a.istio.io", **webhook}],
    }


def validator(manager: str, policy: str) -> dict[str, Any]:
    """A validator whose policy somebody has set."""
    return configuration("ValidatingWebhookConfiguration", manager, "failurePolicy", failurePolicy=policy)


def wanted(**webhook: Any) -> dict[str, Any]:
    """What a chart says of it."""
    return {"webhooks": [{"name": "a.istio.io", **webhook}]}


def held(live: dict[str, Any], obj: dict[str, Any], **more: Any) -> list[str]:
    """The fields that controllers hold, by name."""
    return [named(path) for path in controlled(live, obj, **more)]


@pytest.mark.parametrize("kind", ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"])
@pytest.mark.parametrize("manager", ["pilot-discovery", "cert-manager-cainjector"])
def test_ca_bundle_57643_25447(kind: str, manager: str) -> None:
    """istio#57643, argo-cd#25447: it never counts as a change."""
    live = configuration(kind, manager, "caBundle", clientConfig={"caBundle": "QUJD", "url": "https://x"})
    assert held(live, wanted()) == ['.webhooks[name="a.istio.io"].clientConfig.caBundle']
    assert visible(live)["webhooks"] == [{"name": "a.istio.io", "clientConfig": {"url": "https://x"}}]


def test_ca_bundle_that_a_chart_sets() -> None:
    """Then it is Helm's, and its change is one."""
    live = configuration("MutatingWebhookConfiguration", "helm", "caBundle", clientConfig={"caBundle": "QUJD"})
    assert held(live, wanted()) == []
    assert visible(live) == live


@pytest.mark.parametrize("chart", [{}, {"failurePolicy": "Ignore"}, {"failurePolicy": "Fail"}])
def test_failure_policy_59367(chart: dict[str, str]) -> None:
    """istio#59367: the chart says Ignore when it installs, nothing when it upgrades, and istiod makes it Fail."""
    assert held(validator("pilot-discovery", "Fail"), wanted(**chart)) == ['.webhooks[name="a.istio.io"].failurePolicy']


@pytest.mark.parametrize(
    ("manager", "policy"), [("kubectl-edit", "Fail"), ("helm", "Ignore"), ("pilot-discovery", "Ignore")]
)
def test_failure_policy_that_istiod_did_not_close(manager: str, policy: str) -> None:
    """An edit is a change, and a policy that is still Helm's too."""
    assert held(validator(manager, policy), wanted(failurePolicy="Ignore")) == []


def test_failure_policy_of_the_injector() -> None:
    """Istiod does not touch that one."""
    live = configuration("MutatingWebhookConfiguration", "pilot-discovery", "failurePolicy", failurePolicy="Fail")
    assert held(live, wanted(failurePolicy="Ignore")) == []


def test_namespace_selector_60497() -> None:
    """istio#60497: AKS adds an expression to each webhook's selector."""
    selector = {"matchExpressions": [*CHARTS["matchExpressions"], AKS]}
    live = configuration(
        "MutatingWebhookConfiguration", "admissionsenforcer", "namespaceSelector", namespaceSelector=selector
    )
    field = '.webhooks[name="a.istio.io"].namespaceSelector'
    assert held(live, wanted(namespaceSelector=CHARTS)) == [field]
    assert controller_of(live, field, wanted(namespaceSelector=CHARTS)).startswith("AKS")
    assert controller_of(live, field.replace("a.istio.io", "b"), wanted(namespaceSelector=CHARTS)) == ""


@pytest.mark.parametrize(
    "selector",
    [
        {"matchExpressions": [{"key": "istio-injection", "operator": "NotIn", "values": ["disabled"]}]},
        {"matchLabels": {"a": "b"}, **CHARTS},
    ],
)
def test_namespace_selector_that_the_chart_changes(selector: dict[str, Any]) -> None:
    """AKS' expression does not hide that."""
    live = configuration(
        "MutatingWebhookConfiguration",
        "admissionsenforcer",
        "namespaceSelector",
        namespaceSelector={"matchExpressions": [*CHARTS["matchExpressions"], AKS]},
    )
    assert held(live, wanted(namespaceSelector=selector)) == []


def deployment(manager: str, subresource: str = "") -> dict[str, Any]:
    """A Deployment that somebody has scaled."""
    entry = {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    entry |= {"subresource": subresource} if subresource else {}
    meta = {"name": "istiod", "namespace": "mesh", "managedFields": [entry]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": 3}}


def test_replicas_of_an_autoscaler() -> None:
    """It scales again, unless it goes away with this upgrade."""
    live = deployment("kube-controller-manager", "scale")
    assert held(live, {"spec": {"replicas": 1}}) == [".spec.replicas"]
    assert held(live, {"spec": {"replicas": 1}}, released={("mesh", "Deployment", "istiod")}) == []
    assert held(live, {"spec": {"replicas": 1}}, released={("mesh", "Deployment", "other")}) == [".spec.replicas"]


@pytest.mark.parametrize("manager", ["kubectl", "helm"])
def test_replicas_that_somebody_has_set(manager: str) -> None:
    """`kubectl scale` uses the same subresource."""
    assert held(deployment(manager, "scale"), {"spec": {"replicas": 1}}) == []
    assert held(deployment("kube-controller-manager"), {"spec": {"replicas": 1}}) == []


def service(**spec: Any) -> dict[str, Any]:
    """A Service of two ports."""
    ports = [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    spec = {"ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "edge"}, "spec": copy.deepcopy(spec)}


def test_what_a_new_service_is_given() -> None:
    """The next dry run gives another address and other ports; what the chart pins is not of that kind."""
    after = service(clusterIP="10.0.0.1", clusterIPs=["10.0.0.1"], type="LoadBalancer", healthCheckNodePort=31000)
    after["spec"]["ports"][0]["nodePort"], after["spec"]["ports"][1]["nodePort"] = 30080, 31234
    chart = service(type="LoadBalancer")
    chart["spec"]["ports"][0]["nodePort"] = 30080
    assert [named(path) for path in allocated(None, after, chart)] == [
        ".spec.clusterIP",
        ".spec.clusterIPs",
        ".spec.healthCheckNodePort",
        '.spec.ports[port=53,protocol="UDP"].nodePort',
    ]


def test_what_a_service_has_and_keeps_or_loses() -> None:
    """Losing its node ports is a change."""
    before = service(clusterIP="10.0.0.1", type="NodePort")
    before["spec"]["ports"][0]["nodePort"] = 31234
    assert allocated(before, copy.deepcopy(before), service(type="NodePort")) == []
    assert allocated(before, service(clusterIP="10.0.0.1", type="ClusterIP"), service(type="ClusterIP")) == []
    assert allocated(None, {"kind": "Pod", "spec": {"clusterIP": "x"}}, {}) == []


def test_visible_of_nothing() -> None:
    """An object that is not there has no fields."""
    assert visible(None) is None
    assert controlled(None) == {}
