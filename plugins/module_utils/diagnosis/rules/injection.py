# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why pods that should have a sidecar have none. Pure.

Whether a webhook is called for a pod is computed as the API server does, from the webhook's own selectors. A workload
that chose to have none is told of only where a gateway sends requests to it: those are in plain text then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.selectors import selects
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.routes import routed_services
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.state import MeshState, Objects, labels_of
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.symptom import (
    INJECTOR,
    ISTIOD,
    Symptom,
    Thing,
    sidecar,
)
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import (
    INJECT,
    INJECTION,
    REVISION,
    has_sidecar,
)

#: What Istio's own labels and annotations say of pods that have a proxy without a sidecar: gateways, and ambient mode.
_OTHER_MESH = {"istio.io/dataplane-mode": "ambient"}


def _called_for(state: MeshState, namespace: str, labels: dict[str, str]) -> bool:
    """Whether any injector is called for a pod with such labels."""
    own = {"kubernetes.io/metadata.name": namespace, **labels_of(state.namespace(namespace))}
    return any(
        selects(webhook.get("namespaceSelector"), own) and selects(webhook.get("objectSelector"), labels)
        for _configuration, webhook in state.injectors
    )


def _revisions(state: MeshState) -> list[str]:
    """Revisions and tags that some injector serves."""
    return sorted({labels_of(each).get(REVISION, "default") for each, _webhook in state.injectors})


def revisions(state: MeshState) -> Iterator[Symptom]:
    """Namespaces that ask for injection where nobody hears them."""
    if "MutatingWebhookConfiguration" not in state.objects:
        return
    for name in sorted(state.applications - state.control_plane):
        labels = labels_of(state.namespace(name))
        if not state.asks(name) or _called_for(state, name, {}):
            continue
        asked = f"{INJECTION}={labels[INJECTION]}" if INJECTION in labels else f"{REVISION}={labels[REVISION]}"
        about, evidence, needs = f"Namespace {name}", [f"label {asked}"], frozenset({ISTIOD})
        breaks = frozenset(map(sidecar, _workloads_in(state, name)))
        if not state.injectors:
            message = f"requests sidecar injection ({asked}), but no webhook injects sidecars."
            fix = "Run role istio_helm to restore istiod's MutatingWebhookConfiguration istio-sidecar-injector."
            yield Symptom("injector-missing", about, message, fix, tuple(evidence), breaks, needs)
            continue
        served = ", ".join(_revisions(state))
        message = f"requests injection by a revision that does not exist ({asked}). Existing revisions: {served}."
        drop = f"{INJECTION}- " if INJECTION in labels else ""
        label = f"kubectl label namespace {name} {drop}{REVISION}={_revisions(state)[0]} --overwrite"
        fix = f"Set the label to an existing revision, then restart the namespace's pods: {label}"
        evidence.append(f"revisions and tags with a webhook: {served}")
        yield Symptom("injection-revision-unknown", about, message, fix, tuple(evidence), breaks)


def _workloads_in(state: MeshState, namespace: str) -> list[Thing]:
    return [key for key in state.pods_by_workload if key[1] == namespace]


def without_sidecar(state: MeshState) -> Iterator[Symptom]:
    """Workloads whose pods have no sidecar, with the reason."""
    routed = {key for service in routed_services(state) for key in state.workloads_behind(service)}
    for key, pods in state.pods_by_workload.items():
        kind, namespace, _name = key
        bare = [pod for pod in pods if not has_sidecar(pod)]
        if namespace in state.control_plane or kind == "Job" or not bare or _is_ambient(state, namespace, bare):
            continue
        found = _reason(state, key, bare, key in routed)
        if found:
            yield found


def _is_ambient(state: MeshState, namespace: str, pods: Objects) -> bool:
    own = labels_of(state.namespace(namespace))
    return any(own.get(key) == value or labels_of(pods[0]).get(key) == value for key, value in _OTHER_MESH.items())


def _refusal(pod: dict[str, Any]) -> str:
    """How a pod says that it wants no sidecar; "" where it does not. The label counts before the older annotation."""
    if INJECT in labels_of(pod):
        return f"label {INJECT}={labels_of(pod)[INJECT]}" if labels_of(pod)[INJECT] == "false" else ""
    annotations = pod["metadata"].get("annotations") or {}
    return f"annotation {INJECT}={annotations[INJECT]}" if annotations.get(INJECT) in ("false", "off", "no") else ""


def _reason(state: MeshState, key: Thing, pods: Objects, routed: bool) -> Symptom | None:
    """Why pods of one workload have no sidecar; None where that is as it should be."""
    pod, (kind, namespace, name) = pods[0], key
    about, asked, refusal = f"{kind} {namespace}/{name}", state.asks(namespace), _refusal(pods[0])
    wants = asked or labels_of(pod).get(INJECT) == "true"
    breaks = frozenset({sidecar(key)})
    seen = (
        f"containers of pod {pod['metadata']['name']}: {', '.join(each['name'] for each in pod['spec']['containers'])}"
    )
    restart = f"kubectl rollout restart {kind.lower()} {name} -n {namespace}"
    if refusal and routed:
        message = (
            f"receives requests from a gateway in plain text, because its pods opt out of the sidecar ({refusal})."
        )
        fix = f"Remove the {refusal} from the pod template, if the workload belongs in the mesh."
        return Symptom("injection-contradicted", about, message, fix, (refusal, seen), breaks)
    if refusal:
        return None
    if pod["spec"].get("hostNetwork"):
        if not routed or not wants:
            return None
        message = "receives requests from a gateway, but its pods use the host network, where Istio injects no sidecar."
        fix = "Remove hostNetwork from the pod template, if the workload belongs in the mesh."
        return Symptom("injection-host-network", about, message, fix, ("spec.hostNetwork is true", seen), breaks)
    if asked is False and labels_of(pod).get(INJECT) == "true":
        label = f"{INJECTION}={labels_of(state.namespace(namespace)).get(INJECTION)}"
        unlabel = f"kubectl label namespace {namespace} {INJECTION}-"
        message = (
            f"its pods request a sidecar ({INJECT}=true), but label {label} of namespace {namespace} takes precedence."
        )
        fix = f"Remove the namespace's label and restart the pods: {unlabel} && {restart}"
        return Symptom("injection-contradicted", about, message, fix, (f"namespace's label {label}", seen), breaks)
    if wants and "MutatingWebhookConfiguration" in state.objects and _called_for(state, namespace, labels_of(pod)):
        message = "its pods have no sidecar, because they are older than the injection label or than istiod."
        created = pod["metadata"].get("creationTimestamp", "an unknown time")
        started = f"pod {pod['metadata']['name']} was created at {created}"
        needs = frozenset({INJECTOR})
        return Symptom("injection-partial", about, message, f"Restart them: {restart}", (started, seen), breaks, needs)
    if asked is None and not wants and routed and namespace in state.named:
        message = (
            f"receives requests from a gateway in plain text, because namespace {namespace} has no injection label."
        )
        enable = f"kubectl label namespace {namespace} {INJECTION}=enabled"
        fix = f"Label the namespace and restart the pods: {enable} && {restart}"
        evidence = (f"no label {INJECTION} or {REVISION} on namespace {namespace}", seen)
        return Symptom("injection-label-missing", about, message, fix, evidence, breaks)
    return None
