# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An istiod that is missing, does not serve, or is not trusted; proxies that refuse what it says."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from harness.mesh_objects import (
    BEFORE,
    INGRESS,
    ISTIO,
    JUST_NOW,
    Object,
    codes,
    deployment,
    namespace,
    obj,
    pod,
    refused,
    service,
    state,
    webhooks,
)

from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.diagnose import diagnose

ISTIOD = {"labels": {"istio": "pilot"}}
NO_ISTIOD = ("Deployment/istiod", "Pod/istiod-1-x", "Service/istiod")


def test_istiod_missing() -> None:
    """Namespaces that ask for injection wait for it; webhooks that call nobody are a consequence."""
    assert codes(state(without=NO_ISTIOD)) == ["istiod-missing", "webhook-blocks"]


def test_gateway_waits_for_istiod() -> None:
    """Its image comes from there."""
    waiting = deployment(INGRESS, ISTIO, annotations={"inject.istio.io/templates": "gateway"})
    alone = state(waiting, namespace(), without=(*NO_ISTIOD, "MutatingWebhookConfiguration/istio-sidecar-injector"))
    assert codes(alone)[0] == "istiod-missing"
    assert f"Deployment {ISTIO}/{INGRESS} gets its image from istiod" in diagnose(alone).findings[0].evidence


@pytest.mark.parametrize(
    "called", [{"url": "https://istiod.example/inject", "service": None}, {}], ids=["url", "service"]
)
def test_istiod_elsewhere(called: Object) -> None:
    """A cluster whose control plane is another cluster's: its webhook calls a URL, or a Service without pods."""
    remote = service("istiod", ISTIO, selector=None)
    found = state(webhooks(**called), remote, without=("Deployment/istiod", "Pod/istiod-1-x"))
    assert codes(found) == []


def test_nobody_waits_for_istiod() -> None:
    """A cluster without Istio is no broken mesh."""
    nothing = state(namespace(), without=(*NO_ISTIOD, "MutatingWebhookConfiguration/istio-sidecar-injector"))
    assert "istiod-missing" not in codes(nothing)


@pytest.mark.parametrize(("replicas", "says"), [(1, "0/1 available"), (0, "scaled to zero replicas")])
def test_istiod_not_ready(replicas: int, says: str) -> None:
    """For a reason that is not known, or because somebody wants none."""
    gone = () if replicas else ("Pod/istiod-1-x",)
    broken = state(
        deployment("istiod", ISTIO, 0, replicas, **ISTIOD), pod("istiod", ISTIO, "discovery", ready=False), without=gone
    )
    found = diagnose(broken)
    assert "istiod-not-ready" in codes(broken)
    assert any(says in each.message for each in found.findings)


def test_istiod_in_rollout() -> None:
    """The pods of before serve."""
    two = deployment("istiod", ISTIO, 1, 2, **ISTIOD)
    assert codes(state(two)) == []


def test_istiod_of_another_namespace() -> None:
    """Does not count beside one of Istio's own."""
    other = deployment("istiod-old", "other", 0, 0, **ISTIOD)
    assert codes(state(other)) == []


def test_service_of_a_webhook() -> None:
    """It is gone, and istiod is there; or it selects nothing."""
    assert codes(state(without=("Service/istiod",))) == ["webhook-blocks"]
    assert codes(state(service("istiod", ISTIO, app="pilot"))) == ["service-without-endpoints"]


X509 = (
    'failed calling webhook "namespace.sidecar-injector.istio.io": Post "https://istiod": x509: certificate signed by'
)


def encoded(text: str) -> str:
    """A caBundle."""
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("bundle", "words", "expected"),
    [
        (None, "", "webhook-certificate"),
        (encoded("other"), X509, "webhook-certificate"),
        (encoded("other"), "", None),
        (encoded("CA"), X509, None),
        ("no base64!", X509, "webhook-certificate"),
    ],
    ids=["empty", "another", "another-and-trusted", "the-same", "broken"],
)
def test_certificates(bundle: str | None, words: str, expected: str | None) -> None:
    """Another CA counts only where the API server does not trust it: some sign by other means."""
    app = [deployment(available=0, conditions=refused(words))] if words else []
    found = codes(state(webhooks(caBundle=bundle), *app, without=("Pod/web-1-x",) if words else ()))
    assert (found[0] if found else None) == (expected or ("injector-unreachable" if words else None))


def test_webhook_of_a_moment_ago() -> None:
    """Istiod writes its CA as soon as it is ready."""
    young = webhooks(caBundle=None)
    young["metadata"]["creationTimestamp"] = JUST_NOW
    assert codes(state(young)) == []
    young["metadata"]["creationTimestamp"] = BEFORE
    assert codes(state(young)) == ["webhook-certificate"]


def test_out_of_sync() -> None:
    """As istioctl tells it."""
    found = diagnose(state(out_of_sync=[("web-1-x.shop", "Listener ERROR")])).main
    assert found is not None
    assert (found.code, found.object, found.evidence) == (
        "proxy-out-of-sync",
        "proxy web-1-x.shop",
        ("Listener ERROR",),
    )


def test_analysis() -> None:
    """Errors before warnings, of the namespaces that are looked at, after our own findings; advice is left out.

    Of a mesh of which there is nothing else to say, warnings are left out too.
    """

    def message(level: str, origin: str, code: str = "IST0101") -> dict[str, Any]:
        return {
            "level": level,
            "origin": origin,
            "code": code,
            "message": "Referenced host not found.",
            "documentationUrl": "u",
        }

    analysis = [
        message("Info", "Namespace shop"),
        message("Warning", "Gateway shop/web", "IST0104"),
        message("Error", "VirtualService shop/web"),
        message("Error", "VirtualService elsewhere/web"),
    ]
    found = diagnose(state(obj("Gateway", "istio-autogenerated-k8s-ingress", ISTIO), analysis=analysis)).findings
    assert [each.code for each in found] == ["gateway-autogenerated", "istioctl-analysis", "istioctl-analysis"]
    assert [each.object for each in found[1:]] == ["VirtualService shop/web", "Gateway shop/web"]
    assert found[1].message == "Referenced host not found (IST0101)."
    assert codes(state(analysis=analysis)) == ["istioctl-analysis"] * 2
    assert codes(state(analysis=analysis[:2])) == []
