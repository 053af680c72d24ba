# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ready is what an object's controller says it is, and hopeless only what no waiting mends."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import (
    HOPELESS_RESTARTS,
    current_pods,
    is_ready,
    pod_hopeless,
    pod_state,
    pod_unschedulable,
    progress,
    refusal,
    workload_hopeless,
)


def deployment(replicas: int | None = 2, generation: int = 3, **status: Any) -> dict[str, Any]:
    """A Deployment, available in full but for what is given."""
    ready = {
        "observedGeneration": 3,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "availableReplicas": replicas,
    }
    return {
        "kind": "Deployment",
        "metadata": {"name": "istiod", "generation": generation},
        "spec": {} if replicas is None else {"replicas": replicas},
        "status": {key: value for key, value in {**ready, **status}.items() if value is not None},
    }


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (deployment(), True),
        (deployment(replicas=0), True),
        (deployment(generation=4), False),
        (deployment(updatedReplicas=1), False),
        (deployment(availableReplicas=1), False),
        (deployment(replicas=2, availableReplicas=None), False),
        (deployment(replicas=None, updatedReplicas=1, availableReplicas=1), True),
        (deployment(replicas=None, updatedReplicas=1), False),
        (deployment(replicas=2) | {"status": {}}, False),
        ({"kind": "Deployment", "metadata": {"generation": 1}, "spec": {"replicas": 1}}, False),
    ],
    ids=[
        "all available",
        "scaled to zero",
        "controller has not seen the change",
        "one of the old template",
        "one unavailable",
        "none available",
        "one replica by default",
        "one replica by default, unavailable",
        "no status",
        "just created",
    ],
)
def test_deployment(obj: dict[str, Any], expected: bool) -> None:
    """All wanted replicas are of the latest template and available."""
    assert is_ready(obj) is expected


@pytest.mark.parametrize("field", ["observedGeneration", "updatedReplicas", "availableReplicas"])
def test_deployment_of_which_a_field_is_missing(field: str) -> None:
    """The API server leaves out what is 0, and 0 of one is not all."""
    obj = deployment(replicas=1, generation=1)
    assert is_ready(obj)
    del obj["status"][field]
    assert not is_ready(obj)


@pytest.mark.parametrize(
    "field", ["observedGeneration", "desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"]
)
def test_daemon_set_of_which_a_field_is_missing(field: str) -> None:
    """So with one node."""
    obj = daemon_set(desiredNumberScheduled=1, updatedNumberScheduled=1, numberAvailable=1)
    assert is_ready(obj)
    del obj["status"][field]
    assert not is_ready(obj)


def test_deployment_with_an_old_pod_left() -> None:
    """A rolling update is over when the last pod of the old template is gone."""
    obj = deployment()
    obj["status"]["replicas"] = 3
    assert not is_ready(obj)


def daemon_set(**status: Any) -> dict[str, Any]:
    """A DaemonSet on two nodes, available on both but for what is given."""
    ready = {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
    return {
        "kind": "DaemonSet",
        "metadata": {"name": "istio-cni-node", "generation": 1},
        "status": {key: value for key, value in {**ready, **status}.items() if value is not None},
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, True),
        ({"desiredNumberScheduled": 0, "updatedNumberScheduled": None, "numberAvailable": None}, True),
        ({"desiredNumberScheduled": None}, False),
        ({"observedGeneration": 0}, False),
        ({"updatedNumberScheduled": 1}, False),
        ({"numberAvailable": 1}, False),
        ({"numberAvailable": None}, False),
    ],
)
def test_daemon_set(status: dict[str, Any], expected: bool) -> None:
    """Every node that should has an available pod; before its controller has counted nodes it is not ready."""
    assert is_ready(daemon_set(**status)) is expected


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([("NamesAccepted", "True"), ("Established", "True")], True),
        ([("Established", "False")], False),
        ([("Established", "Unknown")], False),
        ([("Established", "True"), ("Terminating", "True")], False),
        ([("Established", "True"), ("Terminating", "False")], True),
        ([], False),
    ],
)
def test_custom_resource_definition(conditions: list[tuple[str, str]], expected: bool) -> None:
    """The API server serves the kind, and is not about to stop."""
    found = [{"type": kind, "status": status} for kind, status in conditions]
    assert is_ready({"kind": "CustomResourceDefinition", "status": {"conditions": found}}) is expected


def test_definition_that_is_not_there() -> None:
    """A bare kind stands for an object that nobody has seen yet."""
    assert not is_ready({"kind": "CustomResourceDefinition"})


@pytest.mark.parametrize(
    ("bundles", "expected"),
    [(["Q0E=", "Q0E="], True), (["Q0E=", ""], False), (["Q0E=", None], False), ([None], False)],
)
def test_injector_has_its_ca_in_every_webhook_46307(bundles: list[str | None], expected: bool) -> None:
    """istio#46307: a gateway that starts before the injector can answer keeps the image `auto`."""
    webhooks: list[dict[str, Any]] = [
        {"clientConfig": {"caBundle": bundle} if bundle is not None else {}} for bundle in bundles
    ]
    assert is_ready({"kind": "MutatingWebhookConfiguration", "webhooks": webhooks}) is expected


@pytest.mark.parametrize(
    ("kind", "ingress", "expected"),
    [
        ("LoadBalancer", [{"ip": "192.0.2.1"}], True),
        ("LoadBalancer", [{"hostname": "a.example.com"}], True),
        ("LoadBalancer", [], False),
        ("LoadBalancer", None, False),
        ("NodePort", None, True),
        ("ClusterIP", None, True),
    ],
)
def test_service_waits_for_the_address_of_a_load_balancer_40324(kind: str, ingress: Any, expected: bool) -> None:
    """istio#40324: a LoadBalancer that stays pending is what a run hangs on; other types have nothing to wait for."""
    status = {"loadBalancer": {} if ingress is None else {"ingress": ingress}}
    assert is_ready({"kind": "Service", "spec": {"type": kind}, "status": status}) is expected


def test_other_kinds_are_ready_when_they_exist() -> None:
    """A ConfigMap has no state."""
    assert is_ready({"kind": "ConfigMap"})


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (deployment(availableReplicas=1), "1/2 available"),
        ({"kind": "Deployment"}, "0/1 available"),
        (daemon_set(numberAvailable=1), "1/2 available"),
        ({"kind": "DaemonSet"}, "0/0 available"),
        ({"kind": "Service"}, "no external address yet"),
        ({"kind": "CustomResourceDefinition"}, "not ready"),
    ],
)
def test_progress(obj: dict[str, Any], expected: str) -> None:
    """The line that is shown meanwhile counts."""
    assert progress(obj) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            'pods "istiod-1" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
            "Pod Security level",
        ),
        (
            'pods "web-1" is forbidden: PodSecurityPolicy: unable to admit pod: '
            "[spec.initContainers[0].securityContext.capabilities.add: Invalid value]",
            "PodSecurityPolicy",
        ),
        (
            'pods "web-1" is forbidden: unable to validate against any pod security policy: [capabilities.add]',
            "PodSecurityPolicy",
        ),
        ("pods is forbidden: no providers available to validate pod request", "PodSecurityPolicy"),
        (
            'pods "web-1" is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=1, limited: cpu=1',
            "ResourceQuota",
        ),
        (
            'pods "web-1" is forbidden: error looking up service account web/app: serviceaccount "app" not found',
            "service account",
        ),
    ],
    ids=["psa", "psp", "psp before 1.20", "psp without policies", "quota", "service account"],
)
def test_refusals_that_last(message: str, expected: str) -> None:
    """Each refusal of the guide's troubleshooting is known by the API server's own words, old and new (istio#6806)."""
    assert expected in (refusal(message) or "")


@pytest.mark.parametrize(
    "message",
    [
        "",
        'Internal error occurred: failed calling webhook "rev.namespace.sidecar-injector.istio.io": connection refused',
        'pods "web-1" is forbidden: error looking up service account web/default: serviceaccount "default" not found',
        'would violate PodSecurity "restricted:latest": runAsNonRoot != true',
        "etcdserver: request timed out",
    ],
    ids=["nothing", "injector not up", "account that Kubernetes makes itself", "warning only", "etcd"],
)
def test_refusals_that_pass(message: str) -> None:
    """A controller tries again, and these pass without anybody's help."""
    assert refusal(message) is None


def test_workload_whose_pods_are_refused() -> None:
    """The message is the API server's, the fix ours."""
    message = 'pods "web-1" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities'
    failing = {"type": "ReplicaFailure", "status": "True", "message": message}
    obj = {"status": {"conditions": [{"type": "Available", "status": "False"}, failing]}}
    found = workload_hopeless(obj)
    assert found
    assert (found.message, found.code, found.certain) == (message, "pod-security-refused", True)
    assert "psp_rbac" in found.fix


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "ReplicaFailure", "status": "False", "message": "violates PodSecurity"},
        {"type": "Progressing", "status": "True", "message": "violates PodSecurity"},
        {"type": "ReplicaFailure", "status": "True", "message": "failed calling webhook"},
        {"type": "ReplicaFailure", "status": "True"},
    ],
)
def test_workload_that_may_recover(condition: dict[str, str]) -> None:
    """Only a failure that holds now and is known to last is certain."""
    assert workload_hopeless({"status": {"conditions": [condition]}}) is None


def pod(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), **status: Any) -> dict[str, Any]:
    """A pod with the states of its containers."""
    return {"status": {"containerStatuses": list(containers), "initContainerStatuses": list(init), **status}}


def waiting(reason: str, message: str = "", restarts: int = 0, name: str = "discovery") -> dict[str, Any]:
    """A container that waits."""
    state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    return {"name": name, "state": state, "restartCount": restarts, "ready": False, "started": False}


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        ("ImagePullBackOff", "registry"),
        ("ErrImageNeverPull", "pull policy"),
        ("InvalidImageName", "image name"),
        ("CreateContainerConfigError", "ConfigMap"),
    ],
)
def test_hopeless_containers(reason: str, fix: str) -> None:
    """States that somebody has to mend, with the container, the kubelet's words and what to do."""
    found = pod_hopeless(pod(waiting(reason, "the kubelet's words")))
    assert found is not None
    assert found[0] == f"container discovery: {reason}: the kubelet's words"
    assert fix in found[1]
    assert found.code == ("container-misconfigured" if "Config" in reason else "image-pull")


def test_hopeless_init_container() -> None:
    """istio-init is one of these."""
    found = pod_hopeless(pod(waiting("PodInitializing"), init=(waiting("ImagePullBackOff", name="istio-init"),)))
    assert found is not None
    assert found[0].startswith("container istio-init: ImagePullBackOff")


BACK_OFF = 'Back-off pulling image "r.example.com/a:1": ErrImagePull: failed to pull and unpack image: '
CERTAIN = (
    "rpc error: code = NotFound desc = failed to resolve reference: r.example.com/a:1: not found",
    BACK_OFF + "pull access denied, repository does not exist or may require authorization",
    BACK_OFF + "unexpected status from HEAD request to https://r.example.com/v2/a/manifests/1: 403 Forbidden",
    BACK_OFF + "failed to authorize: failed to fetch anonymous token: 401 Unauthorized",
    BACK_OFF + "no match for platform in manifest",
    "Error response from daemon: manifest for a:1 not found: manifest unknown",
    "no basic auth credentials",
)
PASSING = (
    'Back-off pulling image "r.example.com/a:1"',
    BACK_OFF + "dial tcp 192.0.2.1:443: i/o timeout",
    BACK_OFF + "dial tcp 192.0.2.1:443: connect: connection refused",
    BACK_OFF + "toomanyrequests: You have reached your pull rate limit",
    BACK_OFF + "unexpected status from HEAD request: 503 Service Unavailable",
    BACK_OFF + "unexpected EOF",
)


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
@pytest.mark.parametrize("words", [*CERTAIN, *PASSING])
def test_pulls(words: str, reason: str) -> None:
    """No waiting changes what a registry has said; one that is busy or out of reach gets the time of several pulls."""
    found = pod_hopeless(pod(waiting(reason, words)))
    assert found is not None
    assert found.patience == (0 if words in CERTAIN else 90)


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", "CrashLoopBackOff"])
def test_states_that_pass(reason: str) -> None:
    """A first start may fail."""
    assert pod_hopeless(pod(waiting(reason))) is None


def test_crash_loop_is_hopeless_at_the_fourth_restart() -> None:
    """Istiod and proxies may crash once or twice while others start."""
    few, many = (waiting("CrashLoopBackOff", restarts=HOPELESS_RESTARTS - more) for more in (1, 0))
    assert HOPELESS_RESTARTS == 4
    assert pod_hopeless(pod(few)) is None
    found = pod_hopeless(pod({**many, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}))
    assert found is not None
    assert found[0] == "container discovery has restarted 4 times (exit code 137, OOMKilled)"
    assert found[1] == "read its log (kubectl logs --previous -c discovery)"
    assert found.code == "container-crashes"


def test_crash_loop_without_a_last_state() -> None:
    """The kubelet may have forgotten it."""
    found = pod_hopeless(pod(waiting("CrashLoopBackOff", restarts=9)))
    assert found is not None
    assert "(exit code unknown)" in found[0]


def test_running_after_restarts_is_not_hopeless() -> None:
    """Only a container that waits for its next start is in a crash loop."""
    assert pod_hopeless(pod({"name": "a", "state": {"running": {}}, "restartCount": 9})) is None


def unschedulable(status: str = "False", reason: str = "Unschedulable") -> dict[str, Any]:
    """What the scheduler says of a pod."""
    return {"type": "PodScheduled", "status": status, "reason": reason, "message": "0/1 nodes: Insufficient cpu."}


def test_unschedulable() -> None:
    """The scheduler's own words; no other condition counts."""
    assert pod_unschedulable(pod(conditions=[unschedulable()])) == "0/1 nodes: Insufficient cpu."
    assert pod_unschedulable(pod(conditions=[unschedulable(status="True")])) is None
    assert pod_unschedulable(pod(conditions=[unschedulable(reason="SchedulingGated")])) is None
    assert pod_unschedulable(pod()) is None


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (pod(conditions=[unschedulable()]), "unschedulable: 0/1 nodes: Insufficient cpu."),
        (pod(waiting("ContainerCreating")), "discovery: ContainerCreating"),
        (pod({"name": "a", "state": {"running": {}}, "ready": False, "started": True}), "a: running, not ready"),
        (pod({"name": "a", "state": {"running": {}}, "ready": True, "started": True}), ""),
        (pod({"name": "a", "state": {"terminated": {"exitCode": 0}}}), ""),
        ({}, ""),
    ],
)
def test_pod_state(obj: dict[str, Any], expected: str) -> None:
    """The most telling fact about a pod that is not ready."""
    assert pod_state(obj) == expected


def test_an_old_refusal_is_not_this_generations() -> None:
    """A condition from before the object was changed says nothing of the object as it is."""
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: compute"}
    workload = {
        "kind": "Deployment",
        "metadata": {"generation": 2},
        "status": {"observedGeneration": 2, "conditions": [refused]},
    }
    assert workload_hopeless(workload)
    workload["status"]["observedGeneration"] = 1
    assert workload_hopeless(workload) is None


def test_only_pods_of_the_present_template_count() -> None:
    """A rollout keeps the broken pod of the template before it until the new one is available."""

    def pod(name: str, template: str, created: str) -> dict:
        return {"metadata": {"name": name, "labels": {"pod-template-hash": template}, "creationTimestamp": created}}

    old, new = pod("old", "a", "2026-01-01T00:00:00Z"), pod("new", "b", "2026-01-01T00:01:00Z")
    workload = {"metadata": {"generation": 2}, "status": {"observedGeneration": 2, "updatedReplicas": 1}}
    assert current_pods(workload, [old, new]) == [new]
    assert current_pods(workload, []) == []
    workload["status"]["updatedReplicas"] = 0  # the new template has no pod yet: the newest is an old one
    assert current_pods(workload, [old]) == []
    workload["status"] = {"observedGeneration": 1, "updatedReplicas": 1}
    assert current_pods(workload, [old]) == []
