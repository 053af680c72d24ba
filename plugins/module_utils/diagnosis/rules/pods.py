# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why pods are not created, or do not become ready: what admission, the scheduler and the kubelet say. Pure.

What their words mean is readiness.py's; here they are told for every workload that is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import (
    conditions,
    containers,
    deployment_ready,
    last_end,
    observed,
    pod_unschedulable,
    refusal_code,
)
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.state import MeshState, Objects
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.symptom import (
    INJECTOR,
    ISTIOD,
    Symptom,
    Thing,
    quoted,
    thing,
)
from ansible_collections.meshops.istio.plugins.module_utils.errors import sentence
from ansible_collections.meshops.istio.plugins.module_utils.mesh import retirement
from ansible_collections.meshops.istio.plugins.module_utils.preflight import namespaces

#: A webhook of Istio's that the API server could not call.
_INJECTOR_FAILED = re.compile(r'failed calling webhook "[^"]*sidecar-injector\.istio\.io"')
#: Seconds after which a refusal that no rule knows, and a pod that runs and is not ready, are told of.
SETTLING, PATIENCE = 5.0, 30.0
_IMAGE = ("ErrImageNeverPull", "ErrImagePull", "ImageInspectError", "ImagePullBackOff", "InvalidImageName")
_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
#: Ends of a container after which one that is being restarted counts as crashing.
_CRASHES = 2
#: Containers of Istio's that crash for reasons of their own -> what to do.
_ISTIOS = {
    "istio-init": "allow NET_ADMIN and NET_RAW for the pod (role psp_rbac), or use Istio CNI",
    "istio-validation": "install Istio CNI (istio_helm_components), or find out why its pod on this node is not ready",
    "istio-proxy": "check that istiod is ready, which the proxy waits for",
}


def _named(key: Thing) -> str:
    return f"{key[0]} {key[1]}/{key[2]}"


def going(state: MeshState) -> Iterator[Symptom]:
    """Namespaces that are being deleted, so that nothing can be made in them."""
    broken = {thing(obj) for kind in ("Deployment", "Service") for obj in state.of(kind)}
    for namespace in state.of("Namespace"):
        breaks = frozenset(key for key in broken if key[1] == namespace["metadata"]["name"])
        for found in namespaces.terminating([namespace], state.control_plane | state.named):
            yield Symptom(found.code, found.object, found.message, found.fix, (found.message,), breaks)


def _refusals(state: MeshState) -> Iterator[tuple[dict[str, Any], str, str | None]]:
    """Workloads whose pods are refused, with the API server's words and the moment since when."""
    for workload in state.inside("Deployment"):
        failure = conditions(workload).get("ReplicaFailure", {})
        if failure.get("status") == "True" and observed(workload):
            yield workload, failure.get("message", ""), failure.get("lastTransitionTime")
    for kind, wanted, there in (
        ("StatefulSet", "replicas", "replicas"),
        ("DaemonSet", "desiredNumberScheduled", "currentNumberScheduled"),
    ):
        for workload in state.inside(kind):
            status = workload.get("status", {})
            asked = workload["spec"].get("replicas", 1) if kind == "StatefulSet" else status.get(wanted, 0)
            events = state.events_of(workload, "FailedCreate")
            if events and status.get(there, 0) < asked:
                yield workload, events[-1].get("message", ""), workload["metadata"].get("creationTimestamp")


def refused(state: MeshState) -> Iterator[Symptom]:
    """Pods that admission refuses; its words are the evidence."""
    for workload, words, since in _refusals(state):
        key = thing(workload)
        known = refusal_code(words)
        needs: frozenset[Thing] = frozenset()
        if known:
            code, fix = known
        elif _INJECTOR_FAILED.search(words):
            code, needs = "injector-unreachable", frozenset({INJECTOR})
            fix = "check that istiod is ready, and that the API server can connect to its port 15017"
        elif state.lasts(since, SETTLING):
            code, fix = "admission-denied", "follow the message of the policy or webhook that rejects the pods"
        else:
            continue
        message = f"its pods are rejected: {quoted(words)}."
        fix = sentence(fix)
        yield Symptom(code, _named(key), message, fix, (quoted(words),), frozenset({key}), needs)


def _waiting(pods: Objects, reasons: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The first pod with a container that waits for one of some reasons, and that container."""
    for pod in pods:
        for container in containers(pod):
            if (container.get("state", {}).get("waiting") or {}).get("reason") in reasons:
                return pod, container
    return None


def image(state: MeshState) -> Iterator[Symptom]:
    """Images that cannot be pulled."""
    for key, pods in state.pods_by_workload.items():
        found = _waiting(pods, _IMAGE)
        if not found:
            continue
        pod, container = found
        waiting = container["state"]["waiting"]
        pulls = state.events_of(pod, "Failed", "ErrImageNeverPull", "InspectFailed")
        words = [quoted(event.get("message", "")) for event in pulls if container["image"] in event.get("message", "")]
        said = f"{waiting['reason']}: {quoted(waiting.get('message', ''))}"
        message = f"image {container['image']} of container {container['name']} is unavailable: {said}."
        ends = retirement.end_of(container["image"])
        message += f" {ends}" if ends else ""
        fix = "Check the image name and tag, the registry, and imagePullSecrets."
        if waiting["reason"] == "ErrImageNeverPull":
            fix = "Load the image onto the nodes, or change its pull policy, which is Never."
        yield Symptom("image-pull", _named(key), message, fix, (said, *words[-2:]), frozenset({key}))


def unschedulable(state: MeshState) -> Iterator[Symptom]:
    """Pods for which the scheduler finds no node."""
    for key, pods in state.pods_by_workload.items():
        words = next(filter(None, map(pod_unschedulable, pods)), None)
        if words:
            message = f"its pods cannot be scheduled: {quoted(words)}."
            fix = "Free capacity, add a node, or lower the requests. Tolerate the nodes' taints if they are intended."
            yield Symptom("pod-unschedulable", _named(key), message, fix, (quoted(words),), frozenset({key}))


def misconfigured(state: MeshState) -> Iterator[Symptom]:
    """Containers that refer to what is not there."""
    for key, pods in state.pods_by_workload.items():
        found = _waiting(pods, _CONFIG)
        if found:
            _pod, container = found
            waiting = container["state"]["waiting"]
            said = f"{waiting['reason']}: {quoted(waiting.get('message', ''))}"
            message = f"container {container['name']} cannot be created: {said}."
            fix = "Create the ConfigMap, Secret or user that it references, or correct the reference."
            yield Symptom("container-misconfigured", _named(key), message, fix, (said,), frozenset({key}))


def crashing(state: MeshState) -> Iterator[Symptom]:
    """Containers that end again and again."""
    for key, pods in state.pods_by_workload.items():
        found = _waiting(pods, ("CrashLoopBackOff",))
        if not found or found[1].get("restartCount", 0) < _CRASHES:
            continue
        pod, container = found
        name, end = container["name"], last_end(container)
        words = quoted(container.get("lastState", {}).get("terminated", {}).get("message") or "")
        message = f"container {name} has restarted {container['restartCount']} times ({end})."
        fix = f"Check the container's log: kubectl logs --previous -n {key[1]} {pod['metadata']['name']} -c {name}"
        if name in _ISTIOS:
            fix = f"{sentence(_ISTIOS[name])} {fix}"
        yield Symptom("container-crashes", _named(key), message, fix, (end, *filter(None, [words])), frozenset({key}))


def unready(state: MeshState) -> Iterator[Symptom]:
    """Workloads of which no pod is ready though all have run for a while: their probes fail.

    Where something else is known of them, that is the cause.
    """
    for workload in state.inside("Deployment"):
        key = thing(workload)
        status, pods = workload.get("status", {}), state.pods_by_workload.get(key, [])
        if deployment_ready(workload) or status.get("availableReplicas", 0) or not observed(workload):
            continue
        started = [since for pod in pods for since in [_running_since(pod)] if since]
        if not pods or len(started) < len(pods) or not state.lasts(max(started), PATIENCE):
            continue
        names = sorted({each["name"] for pod in pods for each in containers(pod) if not each.get("ready")})
        words = [quoted(event.get("message", "")) for pod in pods for event in state.events_of(pod, "Unhealthy")]
        if not names:
            continue
        said = f": {words[-1]}" if words else ""
        message = f"its pods are running but not ready (container {', '.join(names)}){said}."
        fix = (
            f"Check the container's log and readiness probe: kubectl logs -n {key[1]} deployment/{key[2]} -c {names[0]}"
        )
        if names == ["istio-proxy"]:
            fix = f"{sentence(_ISTIOS['istio-proxy'])} {fix}"
        needs = frozenset({key, *([ISTIOD] if names == ["istio-proxy"] else [])})
        yield Symptom("pod-unready", _named(key), message, fix, tuple(words[-2:]), frozenset({key}), needs)


def _running_since(pod: dict[str, Any]) -> str | None:
    """Since when the last of a pod's main containers has run; None while one does not."""
    found = [
        (each.get("state", {}).get("running") or {}).get("startedAt")
        for each in pod.get("status", {}).get("containerStatuses") or []
    ]
    return max(found) if found and all(found) else None
