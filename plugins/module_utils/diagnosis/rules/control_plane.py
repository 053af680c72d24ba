# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is there an istiod that serves, do the API server's calls reach it, and do the proxies have what it says? Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import progress
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.state import MeshState, pod_is_ready
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.symptom import (
    INJECTOR,
    ISTIOD,
    Symptom,
    quoted,
    thing,
)
from ansible_collections.meshops.istio.plugins.module_utils.findings import ERROR
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import is_gateway
from ansible_collections.meshops.istio.plugins.module_utils.preflight import existing_istio

#: Where istiod publishes the CA that signs its own certificate and those of the proxies.
ROOT_CERTIFICATE = ("istio-ca-root-cert", "root-cert.pem")


def missing(state: MeshState) -> Iterator[Symptom]:
    """No istiod, though something here waits for one."""
    if state.istiods or not state.knows("Deployment", state.istio_namespace) or _elsewhere(state):
        return
    asking = sorted(name for name in state.applications if state.asks(name))
    gateways = [thing(obj) for obj in state.inside("Deployment") if is_gateway(obj)]
    reasons = [
        *(f"namespace {name} requests sidecar injection" for name in asking[:3]),
        *("{} {}/{} gets its image from istiod".format(*key) for key in gateways[:3]),
    ]
    if not reasons:
        return
    message = f"has no istiod, but needs one: {', '.join(reasons)}."
    fix = "Run role istio_helm to install it, or set istio_helm_namespace to the namespace where it runs."
    about = f"Namespace {state.istio_namespace}"
    yield Symptom("istiod-missing", about, message, fix, tuple(reasons), frozenset({ISTIOD, INJECTOR, *gateways}))


def _elsewhere(state: MeshState) -> bool:
    """Whether istiod is meant to run outside of this cluster: its webhook calls a URL, or a Service without pods."""
    for _configuration, webhook in state.injectors:
        called = webhook.get("clientConfig") or {}
        where = called.get("service")
        service = state.get("Service", where["namespace"], where["name"]) if where else None
        if called.get("url") or (service and not service["spec"].get("selector")):
            return True
    return False


def not_ready(state: MeshState) -> Iterator[Symptom]:
    """Control planes of which no pod serves; of a rollout the old ones do."""
    for istiod in state.istiods:
        status, wanted = istiod.get("status", {}), istiod["spec"].get("replicas", 1)
        key = thing(istiod)
        if status.get("availableReplicas", 0) or any(map(pod_is_ready, state.pods_by_workload.get(key, []))):
            continue
        why = f"has no ready pod ({progress(istiod)})"
        fix = f"Find the reason: kubectl describe pods -n {key[1]} -l istio=pilot"
        if wanted == 0:
            why = "is scaled to zero replicas"
            fix = f"Scale it up: kubectl scale deployment {key[2]} -n {key[1]} --replicas=1"
        message = f"{why}, so no sidecars are injected and proxies receive no configuration updates."
        about = f"Deployment {key[1]}/{key[2]}"
        breaks = frozenset({ISTIOD, INJECTOR})
        yield Symptom("istiod-not-ready", about, message, fix, (progress(istiod),), breaks, frozenset({key}))


def webhooks_without_service(state: MeshState) -> Iterator[Symptom]:
    """Webhooks of Istio's whose Service is gone, as preflight finds them."""
    if "Service" not in state.objects:
        return
    services = {(service["metadata"]["namespace"], service["metadata"]["name"]) for service in state.of("Service")}
    kinds = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
    for kind in kinds:
        breaks = frozenset({INJECTOR}) if kind == kinds[0] else frozenset()
        for found in existing_istio.webhooks(state.of(kind), services, set()):
            fix = (
                "Run role istio_helm to restore the Service. If this Istio is no longer installed, its webhook is a "
                f"leftover. {found.fix}"
            )
            if found.severity == ERROR:
                evidence = (f"{found.object} {found.message}",)
                yield Symptom(found.code, found.object, found.message, fix, evidence, breaks, frozenset({ISTIOD}))


def _pem(text: str) -> str:
    return "".join(text.split())


def webhook_certificates(state: MeshState) -> Iterator[Symptom]:
    """Injectors that the API server cannot trust: without a CA, or with another than istiod's.

    With another one only where the API server says so itself: who signs by other means than istiod's own knows better.
    """
    published = state.get("ConfigMap", state.istio_namespace, ROOT_CERTIFICATE[0])
    root = _pem(((published or {}).get("data") or {}).get(ROOT_CERTIFICATE[1], ""))
    refused = _words_of_x509(state)
    seen = set()
    for configuration, webhook in state.injectors:
        name = configuration["metadata"]["name"]
        called = webhook.get("clientConfig") or {}
        if name in seen or called.get("url"):
            continue
        if not called.get("caBundle"):
            if not state.lasts(configuration["metadata"].get("creationTimestamp"), 30):
                continue  # istiod writes it as soon as it is ready
            message = "has no caBundle, so the API server does not trust istiod and rejects the pods that it selects."
            evidence, needs = ("clientConfig.caBundle is empty",), frozenset({ISTIOD})
        elif root and refused and _decoded(called["caBundle"]) != root:
            message = f"its caBundle is not the CA that signed istiod's certificate: {refused}."
            evidence, needs = (refused, "clientConfig.caBundle differs from ConfigMap istio-ca-root-cert"), frozenset()
        else:
            continue
        seen.add(name)
        fix = (
            "Stop whatever else sets caBundle, such as GitOps, and restart istiod, which writes its own CA: "
            f"kubectl rollout restart deployment -n {state.istio_namespace} -l istio=pilot"
        )
        about = f"MutatingWebhookConfiguration {name}"
        yield Symptom("webhook-certificate", about, message, fix, evidence, frozenset({INJECTOR}), needs)


def _decoded(bundle: str) -> str:
    try:
        return _pem(base64.b64decode(bundle).decode("utf-8", "replace"))
    except (binascii.Error, ValueError):
        return ""


def _words_of_x509(state: MeshState) -> str:
    """What the API server says of a certificate when it calls an injector; "" where it says nothing."""
    said = [
        condition.get("message", "")
        for workload in state.inside("Deployment")
        for condition in workload.get("status", {}).get("conditions") or []
        if condition["type"] == "ReplicaFailure" and condition.get("status") == "True"
    ]
    said += [event.get("message", "") for event in state.of("Event") if event.get("reason") == "FailedCreate"]
    found = [words for words in said if "sidecar-injector.istio.io" in words and "x509:" in words]
    return quoted(found[0][found[0].index("x509:") :]) if found else ""


def out_of_sync(state: MeshState) -> Iterator[Symptom]:
    """Proxies that refuse what istiod sends, or have not got it."""
    for proxy, lacks in state.out_of_sync:
        message = f"is not in sync with istiod ({lacks}) and keeps its previous configuration."
        fix = (
            f"Check istiod's log for the rejected configuration: kubectl logs -n {state.istio_namespace} -l istio=pilot"
        )
        yield Symptom("proxy-out-of-sync", f"proxy {proxy}", message, fix, (lacks,), needs=frozenset({ISTIOD}))
