# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of a small mesh, as an API server shows them: a healthy one, of which tests change one thing each."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.diagnose import diagnose
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.state import MeshState

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)
#: A moment ago, and long ago.
JUST_NOW, BEFORE = "2026-01-01T11:59:58Z", "2026-01-01T10:00:00Z"
SHOP, ISTIO, INGRESS = "shop", "istio-system", "istio-ingressgateway"
KINDS = [
    "ConfigMap",
    "DaemonSet",
    "Deployment",
    "DestinationRule",
    "Event",
    "Gateway",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PeerAuthentication",
    "Pod",
    "Secret",
    "Service",
    "ServiceEntry",
    "StatefulSet",
    "ValidatingWebhookConfiguration",
    "VirtualService",
]


def obj(kind: str, name: str, namespace: str = SHOP, spec: Object | None = None, **meta: Any) -> Object:
    """An object."""
    meta = {
        "name": name,
        "namespace": namespace,
        "uid": f"{kind}/{namespace}/{name}",
        "creationTimestamp": BEFORE,
        **meta,
    }
    return {"kind": kind, "metadata": meta, "spec": spec or {}, "status": {}}


def namespace(name: str = SHOP, **labels: str) -> Object:
    """A namespace; ``rev`` is the label of a revision."""
    named = {"istio.io/rev" if key == "rev" else key.replace("_", "-"): value for key, value in labels.items()}
    return {"kind": "Namespace", "metadata": {"name": name, "labels": named}, "status": {}}


def pod(owner: str = "web", where: str = SHOP, *containers: str, ready: bool = True, **over: Any) -> Object:
    """A pod of a Deployment, that runs. :arg over: labels, annotations, spec, status"""
    labels = {"app": owner, "pod-template-hash": "1", **over.get("labels", {})}
    reference = [{"kind": "ReplicaSet", "name": f"{owner}-1", "controller": True}]
    found = obj("Pod", f"{owner}-1-x", where, labels=labels, ownerReferences=reference)
    found["metadata"]["annotations"] = over.get("annotations", {})
    names = containers or ("app", "istio-proxy")
    found["spec"] = {
        "containers": [{"name": name, "ports": [{"name": "http", "containerPort": 8080}]} for name in names],
        **over.get("spec", {}),
    }
    running = {"running": {"startedAt": BEFORE}}
    found["status"] = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [
            {"name": name, "image": name, "ready": ready, "started": True, "state": running} for name in names
        ],
        **over.get("status", {}),
    }
    return found


def deployment(name: str = "web", where: str = SHOP, available: int = 1, replicas: int = 1, **over: Any) -> Object:
    """A Deployment. :arg over: labels of its own, of its pods, conditions"""
    labels = {"app": name, **over.get("pod_labels", {})}
    found = obj("Deployment", name, where, labels=over.get("labels", {}), generation=1)
    found["spec"] = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": labels, "annotations": over.get("annotations", {})}},
    }
    counts = {"replicas": replicas, "updatedReplicas": replicas, "availableReplicas": available}
    found["status"] = {"observedGeneration": 1, **counts, "conditions": over.get("conditions", [])}
    return found


def refused(words: str, since: str = BEFORE) -> list[Object]:
    """Conditions of a Deployment whose pods are refused."""
    return [{"type": "ReplicaFailure", "status": "True", "message": words, "lastTransitionTime": since}]


def service(name: str = "web", where: str = SHOP, app: str = "", **spec: Any) -> Object:
    """A Service with port 80."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return obj("Service", name, where, {"selector": {"app": app or name}, "ports": ports, **spec})


def gateway(name: str = "web", *hosts: str, where: str = SHOP, number: int = 80, **over: Any) -> Object:
    """A Gateway. :arg over: selector, protocol, tls"""
    server = {
        "port": {"number": number, "protocol": over.pop("protocol", "HTTP")},
        "hosts": list(hosts) or ["a.example"],
    }
    if "tls" in over:
        server["tls"] = over.pop("tls")
    selector = over.pop("selector", {"istio": "ingressgateway"})
    return obj("Gateway", name, where, {"selector": selector, "servers": [server]}, **over)


def virtual_service(name: str = "web", host: str = "a.example", where: str = SHOP, **over: Any) -> Object:
    """A VirtualService. :arg over: of its spec; ``to`` is its destination"""
    meta = {key: over.pop(key) for key in ("creationTimestamp",) if key in over}
    route: Object = {"route": [{"destination": over.pop("to", {"host": "web"})}]}
    if "match" in over:
        route["match"] = over.pop("match")
    spec = {"hosts": [host], "gateways": ["web"], "http": [route], **over}
    return obj("VirtualService", name, where, spec, **meta)


def webhooks(revision: str = "default", **over: Any) -> Object:
    """Istio's injector. :arg over: of its ``clientConfig``"""

    def webhook(name: str, namespaces: list[Object]) -> Object:
        inject = [{"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}]
        called = {"service": {"namespace": ISTIO, "name": "istiod"}, "caBundle": "Q0E="}
        return {
            "name": f"{name}.sidecar-injector.istio.io",
            "clientConfig": {key: value for key, value in {**called, **over}.items() if value is not None},
            "namespaceSelector": {"matchExpressions": namespaces},
            "objectSelector": {"matchExpressions": inject},
        }

    none = {"key": "istio-injection", "operator": "DoesNotExist"}
    found = obj("MutatingWebhookConfiguration", "istio-sidecar-injector", "", labels={"istio.io/rev": revision})
    del found["metadata"]["namespace"]
    found["webhooks"] = [
        webhook("rev.namespace", [{"key": "istio.io/rev", "operator": "In", "values": [revision]}, none]),
        webhook("namespace", [{"key": "istio-injection", "operator": "In", "values": ["enabled"]}]),
    ]
    return found


def healthy() -> list[Object]:
    """A mesh of which nothing is to be said: istiod, a gateway, and an application that it leads to."""
    ingress = {"istio": "ingressgateway"}
    return [
        namespace(ISTIO),
        namespace(istio_injection="enabled"),
        deployment("istiod", ISTIO, labels={"istio": "pilot"}),
        pod("istiod", ISTIO, "discovery"),
        service("istiod", ISTIO),
        obj("ConfigMap", "istio-ca-root-cert", ISTIO) | {"data": {"root-cert.pem": "CA"}},
        webhooks(),
        deployment(INGRESS, ISTIO, pod_labels=ingress),
        pod(INGRESS, ISTIO, "istio-proxy", labels=ingress),
        service(INGRESS, ISTIO, type="NodePort"),
        deployment(),
        pod(),
        service(),
        gateway(),
        virtual_service(),
    ]


def state(*changed: Object, without: tuple[str, ...] = (), unread: tuple[str, ...] = (), **over: Any) -> MeshState:
    """The healthy mesh with some objects changed or added.

    :arg without: objects that are not there, as KIND/NAME
    :arg unread: kinds that may not be read
    """
    kept = {_key(each): each for each in healthy()}
    kept.update((_key(each), each) for each in changed)
    objects: dict[str, list[Object]] = {kind: [] for kind in KINDS if kind not in unread}
    for each in kept.values():
        if each["kind"] in objects and f"{each['kind']}/{each['metadata']['name']}" not in without:
            objects[each["kind"]].append(each)
    given = {"applications": {SHOP}, "named": {SHOP}, "now": NOW, **over}
    return MeshState(ISTIO, [(ISTIO, INGRESS)], objects=objects, **given)


def _key(each: Object) -> tuple[str, str, str]:
    return each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]


def codes(found: MeshState) -> list[str]:
    """Codes of a diagnosis, the main one first."""
    return [finding.code for finding in diagnose(found).findings]
