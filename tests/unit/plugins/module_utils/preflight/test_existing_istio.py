# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An Istio that is there already: whose it is, and what a dead one has left."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.preflight import existing_istio

OURS = {("istio-system", "istiod"), ("istio-system", "istio-base")}


def helm(name: str, namespace: str = "istio-system") -> dict[str, str]:
    """Annotations of what a release owns."""
    return {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace}


def istiod(labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **meta: Any) -> dict:
    """Metadata of a control plane."""
    found = {"name": "istiod", "namespace": "istio-system", "labels": {"istio": "pilot", **(labels or {})}, **meta}
    return {"metadata": {**found, "annotations": annotations or {}}}


@pytest.mark.parametrize(
    ("obj", "code", "says"),
    [
        (istiod(annotations=helm("istiod")), None, ""),
        (istiod({"istio.io/rev": "canary"}, helm("istiod")), None, ""),
        (istiod(annotations=helm("mesh")), "istio-by-other-release", "by Helm release istio-system/mesh"),
        (istiod(annotations=helm("istiod", "mesh")), "istio-by-other-release", "by Helm release mesh/istiod"),
        (istiod({"istio.io/rev": "default"}), "istio-not-by-helm", "without Helm"),
        (istiod({"operator.istio.io/managed": "Reconcile"}), "istio-not-by-helm", "by istioctl"),
        (
            istiod({"install.operator.istio.io/owning-resource": "installed-state"}),
            "istio-not-by-helm",
            "by istioctl (resource installed-state)",
        ),
        (istiod({"install.operator.istio.io/owning-resource": "unknown"}), "istio-not-by-helm", "without Helm"),
        (
            istiod(None, helm("default-istiod"), ownerReferences=[{"kind": "IstioRevision"}]),
            "istio-by-operator",
            "by the Sail operator",
        ),
        (istiod({"istio.io/rev": "canary"}, helm("canary")), "istio-other-revision", "revision canary"),
    ],
)
def test_control_planes(obj: dict[str, Any], code: str | None, says: str) -> None:
    """Ours are silent, those of another revision a warning, and all others in the way."""
    found = existing_istio.istiods([obj], OURS, "default")
    assert [finding.code for finding in found] == ([code] if code else [])
    assert all(says in finding.message and finding.object == "Deployment istio-system/istiod" for finding in found)


def test_revision_of_our_own() -> None:
    """A default istiod is the other revision for who installs a canary."""
    (finding,) = existing_istio.istiods([istiod()], OURS, "canary")
    assert (finding.code, finding.severity) == ("istio-other-revision", "warning")


def operator_resource(name: str, **spec: Any) -> dict[str, Any]:
    """A resource that an operator acts on."""
    return {"metadata": {"name": name, "namespace": "istio-system"}, "spec": spec}


def test_istios_own_operator() -> None:
    """Its resource is only a record of istioctl's unless the operator runs."""
    pod = {"metadata": {"name": "x", "labels": {"name": "istio-operator"}}}
    record = operator_resource("installed-state")
    assert existing_istio.operators([record], [], [], "istio-system", "default") == []
    (finding,) = existing_istio.operators([record], [], [pod], "istio-system", "default")
    assert (finding.code, finding.object) == ("istio-by-operator", "IstioOperator istio-system/installed-state")
    assert existing_istio.operators([], [], [pod], "istio-system", "default") == []


@pytest.mark.parametrize(
    ("name", "namespace", "fires"),
    [("default", "elsewhere", True), ("mine", "istio-system", True), ("mine", "elsewhere", False)],
)
def test_sail_operator(name: str, namespace: str, fires: bool) -> None:
    """The same revision or the same namespace; another Istio of it is its own."""
    resource = operator_resource(name, namespace=namespace, version="v1.30.0")
    assert bool(existing_istio.operators([], [resource], [], "istio-system", "default")) is fires


def configuration(policy: str | None = "Fail", name: str = "rev.validation.istio.io", **meta: Any) -> dict[str, Any]:
    """A webhook that calls istiod."""
    webhook = {"name": name, "clientConfig": {"service": {"namespace": "istio-system", "name": "istiod"}}}
    if policy:
        webhook["failurePolicy"] = policy
    return {"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "left", **meta}, "webhooks": [webhook]}


@pytest.mark.parametrize(
    ("found", "services", "code"),
    [
        (configuration(), set(), "webhook-blocks"),
        (configuration(None), set(), "webhook-blocks"),
        (configuration("Ignore"), set(), "webhook-left"),
        (configuration(), {("istio-system", "istiod")}, None),
        (configuration(annotations=helm("istiod")), set(), None),
        (configuration(annotations=helm("mesh")), set(), "webhook-blocks"),
        (configuration(name="validate.example.com"), set(), None),
    ],
)
def test_webhooks_36905_38880_41607(found: dict[str, Any], services: set[tuple[str, str]], code: str | None) -> None:
    """istio#36905, #38880, #41607: those of an Istio that is gone, by what they do; ours will be served again."""
    findings = existing_istio.webhooks([found], services, OURS)
    assert [finding.code for finding in findings] == ([code] if code else [])
    assert all(finding.fix == "Delete it: kubectl delete validatingwebhookconfiguration left" for finding in findings)


def test_webhook_that_calls_an_address() -> None:
    """An istiod outside of the cluster has no Service that could be missing."""
    found = configuration()
    found["webhooks"][0]["clientConfig"] = {"url": "https://istiod.example.com/inject"}
    assert existing_istio.webhooks([found], set(), OURS) == []


def crd(name: str, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    """Metadata of a definition."""
    return {"metadata": {"name": name, "annotations": annotations or {}}}


@pytest.mark.parametrize(
    ("names", "annotations", "about"),
    [
        (["sidecars.networking.istio.io"], helm("istio-base"), None),
        (["sidecars.networking.istio.io"], None, "CustomResourceDefinition sidecars.networking.istio.io"),
        (
            ["sidecars.networking.istio.io", "gateways.networking.istio.io"],
            helm("base"),
            "CustomResourceDefinition gateways.networking.istio.io and 1 more",
        ),
        (["gateways.gateway.networking.k8s.io", "istios.sailoperator.io"], None, None),
        (["istiooperators.install.istio.io"], None, None),
    ],
)
def test_definitions(names: list[str], annotations: dict[str, str] | None, about: str | None) -> None:
    """One finding for each owner that is not our base release; an operator's definition is not Istio's."""
    found = existing_istio.definitions([crd(name, annotations) for name in names], "istio-system", [istiod()], OURS)
    assert [finding.object for finding in found] == ([about] if about else [])


def test_definitions_of_older_charts() -> None:
    """Helm owns none of those; beside an istiod of ours they are ours. Another release's are not."""
    installed = [istiod(annotations=helm("istiod"))]
    names = ["sidecars.networking.istio.io", "gateways.networking.istio.io"]
    assert existing_istio.definitions([crd(name) for name in names], "istio-system", installed, OURS) == []
    (finding,) = existing_istio.definitions([crd(names[0], helm("other"))], "istio-system", installed, OURS)
    assert finding.code == "crds-foreign"


def test_definitions_that_nobody_uses() -> None:
    """Are told to be left over."""
    (finding,) = existing_istio.definitions([crd("sidecars.networking.istio.io")], "istio-system", [], OURS)
    assert finding.message == "belongs to no Helm release, and no istiod uses it."
