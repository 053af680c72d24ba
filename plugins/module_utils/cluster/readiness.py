# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When is an object ready, and when is it certain that it never will be?

One predicate and one fail-fast rule per kind, pure: they look at decoded objects and know nothing of HTTP or time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple


class Cause(NamedTuple):
    """Why an object is not ready, neither sentence with its full stop.

    :ivar bool certain: no waiting mends it
    :ivar str code: of the finding that it is
    :ivar float patience: seconds for which it may pass all the same
    """

    message: str
    fix: str
    certain: bool = False
    code: str = ""
    patience: float = 0.0


_IMAGE, _CONFIG = "image-pull", "container-misconfigured"
#: States of a waiting container that no waiting mends without somebody's help -> code, and what to do.
_HOPELESS_WAITING = {
    "ErrImagePull": (_IMAGE, "check the image name and tag, the registry, and imagePullSecrets"),
    "ImagePullBackOff": (_IMAGE, "check the image name and tag, the registry, and imagePullSecrets"),
    "ErrImageNeverPull": (_IMAGE, "load the image onto the node, or change its pull policy, which is Never"),
    "InvalidImageName": (_IMAGE, "correct the image name"),
    "CreateContainerConfigError": (
        _CONFIG,
        "create the ConfigMap or Secret that the container refers to, or set the user that it runs as",
    ),
}

#: What a registry says that no further pull changes; all else, as a registry that is busy or out of reach, may pass.
_NO_IMAGE = re.compile(
    r"not found|manifest unknown|name unknown|does not exist|access denied|no basic auth credentials"
    r"|\b40[13] |[Uu]nauthorized|[Ff]orbidden|authorization failed|no match for platform|invalid reference"
)
#: Seconds for which a pull may go on failing: the kubelet tries after 10, 30 and 70.
_PULLING = 90.0

#: Restarts after which a crash loop is what it looks like; istiod and proxies may crash once or twice while others
#: start.
HOPELESS_RESTARTS = 4

#: Refusals of a pod's creation, as conditions and events quote them -> the code of what is wrong, and what to do.
_REFUSALS = (
    (
        re.compile(r"violates PodSecurity"),
        "pod-security-refused",
        "set a Pod Security level that allows the pod (role psp_rbac), or use Istio CNI",
    ),
    (
        re.compile(
            r"unable to (validate against any pod security policy|admit pod)|no providers available to validate"
        ),
        "pod-security-refused",
        "bind a PodSecurityPolicy to the pod's service account (role psp_rbac)",
    ),
    (
        re.compile(r"unable to validate against any security context constraint"),
        "pod-security-refused",
        "grant the pod's service account a SecurityContextConstraints that admits it (role psp_rbac)",
    ),
    (
        re.compile(r"exceeded quota"),
        "quota-exceeded",
        "raise the namespace's ResourceQuota, which is used up, or lower the requests",
    ),
    (
        re.compile(r"failed quota: \S{1,260} must specify"),
        "quota-needs-figures",
        "set requests and limits in the pod template, or create a LimitRange with defaults in the namespace",
    ),
    (
        re.compile(r"(maximum|minimum) \S+ usage per|limit to request ratio"),
        "limit-range",
        "change the namespace's LimitRange, or the pod's requests and limits",
    ),
    # Kubernetes makes the account "default" itself, a moment after the namespace.
    (
        re.compile(r'serviceaccount (?!"default")\S+ not found'),
        "service-account-missing",
        "create the service account",
    ),
)


def conditions(obj: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The conditions of an object's status by type."""
    return {item["type"]: item for item in obj.get("status", {}).get("conditions") or []}


def is_true(obj: dict[str, Any], condition: str) -> bool:
    """Whether a condition of an object's status is, as ``Ready`` of a pod or node."""
    return conditions(obj).get(condition, {}).get("status") == "True"


def deployment_ready(obj: dict[str, Any]) -> bool:
    """All wanted replicas are of the latest template and available, and none of an older one is left."""
    status, wanted = obj.get("status", {}), obj.get("spec", {}).get("replicas", 1)
    return (
        observed(obj)
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("availableReplicas", 0) >= wanted
        and status.get("replicas", 0) <= status.get("updatedReplicas", 0)
    )


def daemon_set_ready(obj: dict[str, Any]) -> bool:
    """Every node that should has an available pod of the latest template."""
    status = obj.get("status", {})
    wanted = status.get("desiredNumberScheduled", 0)
    return (
        observed(obj)
        and "desiredNumberScheduled" in status
        and status.get("updatedNumberScheduled", 0) >= wanted
        and status.get("numberAvailable", 0) >= wanted
    )


def custom_resource_definition_ready(obj: dict[str, Any]) -> bool:
    """The API server serves the kind."""
    return is_true(obj, "Established") and not is_true(obj, "Terminating")


def mutating_webhook_ready(obj: dict[str, Any]) -> bool:
    """Istiod has written its CA into every webhook: before that, no injection (and no gateway's image) can succeed."""
    return all(webhook.get("clientConfig", {}).get("caBundle") for webhook in obj.get("webhooks") or [])


def service_ready(obj: dict[str, Any]) -> bool:
    """A LoadBalancer has an address; every other type is ready when it exists."""
    if obj.get("spec", {}).get("type") != "LoadBalancer":
        return True
    ingress = obj.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return any(entry.get("ip") or entry.get("hostname") for entry in ingress)


READY: dict[str, Callable[[dict[str, Any]], bool]] = {
    "CustomResourceDefinition": custom_resource_definition_ready,
    "DaemonSet": daemon_set_ready,
    "Deployment": deployment_ready,
    "MutatingWebhookConfiguration": mutating_webhook_ready,
    "Service": service_ready,
}


def is_ready(obj: dict[str, Any]) -> bool:
    """Whether an object is ready; kinds without a rule of their own are when they exist."""
    return READY.get(obj["kind"], lambda _obj: True)(obj)


def progress(obj: dict[str, Any]) -> str:
    """How far an object is, in a few words: ``0/1 available``."""
    status = obj.get("status", {})
    if obj["kind"] == "Deployment":
        return f"{status.get('availableReplicas', 0)}/{obj.get('spec', {}).get('replicas', 1)} available"
    if obj["kind"] == "DaemonSet":
        return f"{status.get('numberAvailable', 0)}/{status.get('desiredNumberScheduled', 0)} available"
    if obj["kind"] == "Service":
        return "no external address yet"
    return "not ready"


#: Labels by which pods of one template are told from those of another.
_TEMPLATE_LABELS = ("pod-template-hash", "controller-revision-hash")


def observed(obj: dict[str, Any]) -> bool:
    """Whether a controller has seen the object as it is now; before that, its status speaks of an older one."""
    return obj.get("status", {}).get("observedGeneration", 0) >= obj.get("metadata", {}).get("generation", 0)


def current_pods(workload: dict[str, Any], pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of a workload's pods that are of its present template; a rollout keeps older ones, however broken, beside.

    They are those of the newest pod's template, as soon as the controller counts any that are up to date.
    """
    status = workload.get("status", {})
    updated = status.get("updatedReplicas", 0) or status.get("updatedNumberScheduled", 0)
    if not pods or not updated or not observed(workload):
        return []

    def template(pod: dict[str, Any]) -> list[str | None]:
        return [(pod["metadata"].get("labels") or {}).get(label) for label in _TEMPLATE_LABELS]

    newest = max(pods, key=lambda pod: pod["metadata"].get("creationTimestamp", ""))
    return [pod for pod in pods if template(pod) == template(newest)]


def refusal_code(message: str) -> tuple[str, str] | None:
    """Code and fix of a pod's refusal, or None when the message names no refusal that is certain to last."""
    for pattern, code, fix in _REFUSALS:
        if pattern.search(message):
            return code, fix
    return None


def refusal(message: str) -> str | None:
    """What to do about a refused pod, or None when the message names no refusal that is certain to last."""
    found = refusal_code(message)
    return found[1] if found else None


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """What the kubelet says of a pod's containers, those that come first included."""
    status = pod.get("status", {})
    return (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])


def last_end(container: dict[str, Any]) -> str:
    """How a container ended when it last did."""
    ended = container.get("lastState", {}).get("terminated", {})
    return f"exit code {ended.get('exitCode')}, {ended.get('reason', '')}" if ended else "exit code unknown"


def pod_hopeless(pod: dict[str, Any]) -> Cause | None:
    """Why a pod will not become ready by waiting, or None."""
    for container in containers(pod):
        waiting = container.get("state", {}).get("waiting", {})
        reason, restarts = waiting.get("reason", ""), container.get("restartCount", 0)
        if reason in _HOPELESS_WAITING:
            code, fix = _HOPELESS_WAITING[reason]
            words = waiting.get("message", "")
            may_pass = reason in ("ErrImagePull", "ImagePullBackOff") and not _NO_IMAGE.search(words)
            message = f"container {container['name']}: {reason}: {words}"
            return Cause(message, fix, True, code, _PULLING if may_pass else 0.0)
        if reason == "CrashLoopBackOff" and restarts >= HOPELESS_RESTARTS:
            message = f"container {container['name']} has restarted {restarts} times ({last_end(container)})"
            fix = f"read its log (kubectl logs --previous -c {container['name']})"
            return Cause(message, fix, True, "container-crashes")
    return None


def pod_state(pod: dict[str, Any]) -> str:
    """What a pod that is not ready is doing, in a few words; "" when there is nothing to tell."""
    unschedulable = pod_unschedulable(pod)
    if unschedulable:
        return f"unschedulable: {unschedulable}"
    for container in containers(pod):
        state = container.get("state", {})
        if state.get("waiting", {}).get("reason"):
            return f"{container['name']}: {state['waiting']['reason']}"
        if "running" in state and not container.get("ready") and container.get("started") is not None:
            return f"{container['name']}: running, not ready"
    return ""


def workload_hopeless(obj: dict[str, Any]) -> Cause | None:
    """Why a workload's pods will not be created by waiting, or None."""
    failure = conditions(obj).get("ReplicaFailure", {})
    if failure.get("status") != "True" or not observed(obj):
        return None
    message = failure.get("message", "")
    found = refusal_code(message)
    return Cause(message, found[1], True, found[0]) if found else None


def pod_unschedulable(pod: dict[str, Any]) -> str | None:
    """The scheduler's own words when it finds no node for a pod; an autoscaler may still bring one."""
    scheduled = conditions(pod).get("PodScheduled", {})
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return scheduled.get("message", "")
    return None
