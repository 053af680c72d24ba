# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles and pods of runs look like that went well, failed, only checked, or met somebody hostile."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from typing import Any

NOW = datetime(2026, 11, 26, 14, 15, 3, tzinfo=timezone.utc)
GATEWAY = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway"
APP = "spiffe://cluster.local/ns/liveness/sa/liveness"
URL = "http://192.0.2.10:30010/healthz"

ISTIOD = {
    "address": "istiod.istio-system.svc:15012",
    "service": "istiod",
    "namespace": "istio-system",
    "revision": "default",
    "release": "istio-system/istiod",
}

WARNING = {
    "severity": "warning",
    "code": "room-short",
    "object": "cluster",
    "message": "has 1.25 CPU, 23936 MiB free on 1 node, but 4 CPU, 7629 MiB are recommended for a full installation.",
    "fix": "Add capacity before you deploy workloads, unless the mesh is small.",
}
ERROR = {
    "severity": "error",
    "code": "node-port-taken",
    "object": "gateway istio-ingressgateway, port http2",
    "message": "node port 30010 is in use by Service default/web (port http).",
    "fix": "Choose another node port in istio_helm_gateways, or change that Service.",
}
KINDS = [f"kind{number}.networking.istio.io" for number in range(15)]
DEPLOYMENT = "Deployment liveness/liveness"


def _timing(second: int, seconds: float) -> dict[str, Any]:
    return {"started": f"2026-11-26T14:14:{second:02}.500Z", "seconds": seconds}


def _release(name: str, action: str) -> dict[str, Any]:
    reasons = {"none": [], "install": ["not installed"], "upgrade": ["values"]}[action]
    return {
        "name": name,
        "namespace": "istio-system",
        "chart": name,
        "chart_version": "1.31.1",
        "action": action,
        "reasons": reasons,
        "drift": [],
        "objects": [f"created Deployment istio-system/{name}"] if action == "install" else [],
    }


#: From nothing to an answer, as site.yml hands it over.
GREEN: dict[str, dict[str, Any]] = {
    "variables": {"changed": False, "msg": "The arg spec validation passed"},
    "preflight": {
        "changed": False,
        "findings": [WARNING],
        "warnings": [f"[room-short] cluster: {WARNING['message']} Fix: {WARNING['fix']}"],
        "versions": {"helm": "4.3.1", "istio": "1.31.1", "kubernetes": "1.37.2"},
        "cluster": {"uid": "02c3a0e9-c8d6-4f13-9392-8dfae7b65a66", "free": {"cpu": "1.250", "nodes": 1}},
        "timing": _timing(40, 0.7),
    },
    "cluster_twice": {"changed": False, "skipped": True, "skip_reason": "Conditional result was False"},
    "psp_rbac": {
        "changed": True,
        "mechanism": "PodSecurityAdmission",
        "objects": ["Namespace istio-system", "Namespace liveness"],
        "diff": [{"before": "", "after": "somebody's Secret"}],
        "timing": _timing(42, 0.2),
    },
    "crds": {
        "changed": True,
        "crds": KINDS,
        "objects": [f"CustomResourceDefinition {kind}" for kind in KINDS],
        "timing": _timing(43, 3.3),
    },
    "istio_helm": {
        "changed": True,
        "namespaces": [],
        "releases": [
            _release("istio-base", "none"),
            _release("istiod", "install"),
            _release("istio-ingressgateway", "install"),
        ],
        "warnings": ["Drift detected: spec.replicas of Deployment istio-system/istiod was modified outside Helm."],
        "timing": _timing(46, 8.7),
    },
    "liveness_verify": {
        "changed": True,
        "objects": [DEPLOYMENT],
        "evidence": {
            "url": URL,
            "status": 200,
            "server": "istio-envoy",
            "latencies_ms": [18.2, 4.2, 2.0],
            "tries": 4,
            "asked_from": "controller",
            "mtls": {"by": APP, "uri": GATEWAY},
            "tls": {"server_name": "mesh.example.com", "version": "TLSv1.3", "issuer": "Example CA"},
            "counted": {
                "gateway": {"metric": "istio_requests_total", "answers": 4},
                "sidecar": {"unknown": "forbidden"},
            },
            "served_by": {"gateway": [ISTIOD], "sidecar": [ISTIOD]},
            "gateways": [
                {
                    "name": "istio-ingressgateway",
                    "namespace": "istio-system",
                    "proof": "request",
                    "url": URL,
                    "status": 200,
                    "mtls": {"by": APP, "uri": GATEWAY},
                    "served_by": {"gateway": [ISTIOD], "sidecar": [ISTIOD]},
                },
                {"name": "public", "namespace": "edge", "proof": "request", "url": f"{URL}?edge", "status": 200},
                {
                    "name": "istio-egressgateway",
                    "namespace": "istio-system",
                    "proof": "readiness",
                    "why": "it handles traffic that leaves the mesh and routes no requests to the application",
                    "url": "http://192.0.2.10:30022/healthz/ready",
                    "status": 200,
                    "served_by": {"gateway": [ISTIOD]},
                },
                {"name": "inner", "namespace": "edge", "proof": "none", "why": "its Service is of type ClusterIP"},
            ],
            "of_tomorrow": {"gateway": {"requests": 4, "errors": 0}, "sidecar": ["inbound", 4]},
        },
        "timing": _timing(55, 7.2),
    },
}


def _unchanged(result: dict[str, Any]) -> dict[str, Any]:
    kept = copy.deepcopy(result)
    kept["changed"] = False
    if "objects" in kept:
        kept["objects"] = []
    for release in kept.get("releases", []):
        release.update(action="none", reasons=[], objects=[])
    return kept


#: The same once more.
SECOND = {name: _unchanged(result) for name, result in GREEN.items()}
#: Before anything is there, in check mode.
CHECK = {
    **GREEN,
    "liveness_verify": {name: value for name, value in GREEN["liveness_verify"].items() if name != "evidence"},
}
#: Preflight says no.
REFUSED: dict[str, dict[str, Any]] = {
    **{name: {} for name in GREEN},
    "preflight": {
        **GREEN["preflight"],
        "failed": True,
        "msg": "Preflight failed with 1 error; nothing was changed:\n"
        f"[node-port-taken] {ERROR['object']}: {ERROR['message']}",
        "findings": [WARNING, ERROR],
    },
}
#: The app's image cannot be pulled; nobody has diagnosed it.
FAILED: dict[str, dict[str, Any]] = {
    **SECOND,
    "liveness_verify": {
        "changed": False,
        "failed": True,
        "msg": "Pod liveness/liveness-b7dd of Deployment liveness/liveness cannot start: container app: "
        'ImagePullBackOff: Back-off pulling image "localhost/nothing:1". Check the image name.',
        "errors": [
            {
                "code": "image-pull",
                "object": "Pod liveness/liveness-b7dd of Deployment liveness/liveness",
                "message": "cannot start: container app: ImagePullBackOff: Back-off pulling image "
                '"localhost/nothing:1".',
                "fix": "Check the image name.",
            }
        ],
        "timing": _timing(47, 14.4),
    },
}
#: The same with a diagnosis.
DIAGNOSED: dict[str, dict[str, Any]] = {
    **FAILED,
    "liveness_verify": {
        **FAILED["liveness_verify"],
        "diagnosis": {
            "main": {
                "severity": "error",
                "code": "image-pull",
                "object": "Pod liveness/liveness-b7dd",
                "message": "The image localhost/nothing:1 cannot be pulled: there is no such image.",
                "fix": "Correct liveness_verify_image.",
                "evidence": ["event Failed: failed to resolve reference", "no other pod uses that image"],
            },
            "findings": [
                {
                    "severity": "error",
                    "code": "no-endpoints",
                    "object": "Service liveness/liveness",
                    "message": "None of its pods is ready.",
                    "fix": "Fix its pods.",
                    "evidence": [],
                }
            ],
            "skipped": ["proxies: no permission to read"],
        },
    },
}

SCRIPT = "<script>alert(1)</script>"
HOSTILE_TEXT = f"\"'><img src=x onerror=alert(1)>{SCRIPT} {{{{ 7*7 }}}} \x00\x1b[31m\ud800 \u202e &amp;"


def hostile() -> dict[str, dict[str, Any]]:
    """Every text of a diagnosed failure is somebody's who wants a script to run, a tag to close or a tool to break."""

    def spoilt(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item if key in ("started", "severity") else spoilt(item) for key, item in value.items()}
        if isinstance(value, list):
            return [spoilt(item) for item in value]
        return HOSTILE_TEXT if isinstance(value, str) else value

    phases = spoilt({**DIAGNOSED, "liveness_verify": {**GREEN["liveness_verify"], **DIAGNOSED["liveness_verify"]}})
    return {**phases, f"odd {SCRIPT}": {"changed": True, "objects": [HOSTILE_TEXT]}}


def pod(name: str, namespace: str, created: str, **until: str) -> dict[str, Any]:
    """A pod with its conditions, each with the second of 14:14 or the time at which it came true; "" where it has not.

    :arg until: by condition
    """

    def time(text: str) -> str:
        return f"2026-11-26T14:{text if ':' in text else '14:' + text}Z"

    conditions = [
        {"type": condition, "status": "True" if text else "False", "lastTransitionTime": time(text or created)}
        for condition, text in until.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": time(created)},
        "spec": {},
        "status": {"phase": "Running", "conditions": conditions},
    }


ISTIOD = pod("istiod-66f6", "istio-system", "48", PodScheduled="48", Initialized="48", ContainersReady="52", Ready="52")
APP_POD = pod(
    "liveness-c56d", "liveness", "56", PodScheduled="56", Initialized="15:01", ContainersReady="15:02", Ready="15:02"
)
OLD_POD = pod("web-1", "liveness", "01", PodScheduled="01", Initialized="02", ContainersReady="03", Ready="03")
BROKEN_POD = pod("liveness-b7dd", "liveness", "48", PodScheduled="48", Initialized="52", ContainersReady="", Ready="")
BROKEN_POD["status"].update(
    phase="Pending",
    containerStatuses=[{"name": "app", "ready": False, "state": {"waiting": {"reason": "ErrImagePull"}}}],
)
PODS = [ISTIOD, APP_POD, OLD_POD]
