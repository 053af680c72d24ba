# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that need no traffic: real admission, real controllers, a real scheduler; pods that are only played."""

from __future__ import annotations

import json
from typing import Any

import pytest
from faults.fault import Fault, Manifest, look, try_out, until
from faults.manifests import (
    NET_ADMIN,
    cluster_scoped,
    deployment,
    gateway,
    service,
    virtual_service,
)
from harness.beds import BedCluster
from harness.playbooks import ROOT

INJECTED = {"istio-injection": "enabled"}
ROUTE = [service(), gateway("{ns}.example.com"), virtual_service("{ns}.example.com")]
#: What a sidecar looks like in a pod.
MESHED = deployment("web", "app", "istio-proxy")


def spec(**pod: Any) -> dict[str, Any]:
    """A pod's spec with one container."""
    return {"spec": {"containers": [{"name": "app", "image": "app", **pod.pop("container", {})}], **pod}}


def quota(**hard: str) -> Manifest:
    """A ResourceQuota."""
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}}


def limit_range(memory: str) -> Manifest:
    """A LimitRange with a maximum."""
    limits = [{"type": "Container", "max": {"memory": memory}}]
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "team"}, "spec": {"limits": limits}}


def account(name: str) -> Manifest:
    """A ServiceAccount."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def admission(words: str, namespace: str = "{ns}") -> list[Manifest]:
    """A policy that refuses every pod of a namespace with some words."""
    api = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    return [
        cluster_scoped(
            {
                "apiVersion": api,
                "kind": "ValidatingAdmissionPolicy",
                "metadata": {"name": "{ns}"},
                "spec": {
                    "matchConstraints": {"resourceRules": [rule]},
                    "validations": [{"expression": "false", "message": words}],
                },
            }
        ),
        cluster_scoped(
            {
                "apiVersion": api,
                "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": "{ns}"},
                "spec": {"policyName": "{ns}", "validationActions": ["Deny"], "matchResources": here},
            }
        ),
    ]


def late(deployment: Manifest) -> Any:
    """Apply a Deployment once policies are in force, which takes the API server a moment."""

    def apply(cluster: BedCluster, namespace: str) -> None:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "probe-", "namespace": namespace},
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        }
        for _try in range(50):
            answer = cluster.tool("kubectl", "create", "--dry-run=server", "-f-", stdin=json.dumps(pod), check=False)
            if "denied" in answer:
                break
        cluster.apply({**deployment, "metadata": {**deployment["metadata"], "namespace": namespace}})

    return apply


def finalized(cluster: BedCluster, namespace: str) -> None:
    """Delete the namespace, in which a finalizer of nobody holds an object."""
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def unfinalize(cluster: BedCluster, namespace: str) -> None:
    """Let the object go."""
    patch = '{"metadata":{"finalizers":null}}'
    cluster.kubectl("patch", "configmap", "held", "-n", namespace, "--type=merge", "-p", patch)


def addressed(cluster: BedCluster, namespace: str) -> None:
    """Give the Service an address, as a provider does."""
    status = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": "127.18.255.7"}]}}})
    cluster.kubectl("patch", "service", "edge", "-n", namespace, "--subresource=status", "--type=merge", "-p", status)


def complained(cluster: BedCluster, namespace: str) -> None:
    """Have a cloud's controller say why there is no address, as it does."""
    found = cluster.get("service", "edge", "-n", namespace)
    about = {"apiVersion": "v1", "kind": "Service", "name": "edge", "namespace": namespace}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "edge.1", "namespace": namespace},
            "type": "Warning",
            "reason": "SyncLoadBalancerFailed",
            "message": "Error syncing load balancer: failed to ensure load balancer: quota of addresses exceeded",
            "involvedObject": {**about, "uid": found["metadata"]["uid"]},
            "source": {"component": "service-controller"},
            "lastTimestamp": found["metadata"]["creationTimestamp"],
        }
    )


def unlabelled(cluster: BedCluster, namespace: str) -> None:
    """Ask for injection when the pods are there already."""
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    cluster.kubectl("label", "namespace", namespace, "istio-injection=enabled")


def without_istiod(cluster: BedCluster, namespace: str) -> None:
    """Delete istiod, which the gateways and every namespace with a label wait for."""
    LOST.append(cluster.get("deployment", "istiod", "-n", "istio-system"))
    cluster.kubectl("delete", "deployment", "istiod", "-n", "istio-system")


def with_istiod(cluster: BedCluster, namespace: str) -> None:
    """Put it back."""
    lost = LOST.pop()
    meta = {key: lost["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
    cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": lost["spec"]})
    cluster.kubectl("rollout", "status", "deployment/istiod", "-n", "istio-system", "--timeout=60s")


def without_injector(cluster: BedCluster, namespace: str) -> None:
    """Delete the webhook."""
    LOST.append(cluster.get("mutatingwebhookconfiguration", "istio-sidecar-injector"))
    cluster.kubectl("delete", "mutatingwebhookconfiguration", "istio-sidecar-injector")


def with_injector(cluster: BedCluster, namespace: str) -> None:
    """Put it back."""
    lost = LOST.pop()
    meta = {key: lost["metadata"][key] for key in ("name", "labels")}
    cluster.apply({**{key: lost[key] for key in ("apiVersion", "kind", "webhooks")}, "metadata": meta})


LOST: list[Manifest] = []
EDGE = [deployment("edge", "istio-proxy"), service("edge", "edge", type="LoadBalancer")]
AT_THE_EDGE = {"gateways": ["{ns}/edge"]}
ISTIOD_LABELS = {"app": "istiod", "istio": "pilot"}


def own_istiod(replicas: int = 1) -> Manifest:
    """An istiod in a namespace of its own."""
    found = deployment("istiod", "discovery")
    found["metadata"]["labels"] = ISTIOD_LABELS
    found["spec"]["replicas"] = replicas
    return found


def own_webhooks(bundle: str | None, where: str = "{ns}") -> Manifest:
    """A webhook that injects for nobody, and is of an istiod in a namespace of its own."""
    called: dict[str, Any] = {"service": {"name": "istiod", "namespace": where, "path": "/inject"}}
    if bundle:
        called["caBundle"] = bundle
    webhook = {
        "name": "rev.namespace.sidecar-injector.istio.io",
        "clientConfig": called,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"nobody": "has-this"}},
    }
    return cluster_scoped(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "istio-{ns}", "labels": {"istio.io/rev": "{ns}"}},
            "webhooks": [webhook],
        }
    )


OWN = {"namespace": "{ns}", "application_namespaces": ["{ns}"]}
SCC = 'unable to validate against any security context constraint: [provider "restricted-v2": Forbidden: not usable]'
LARGE = {"resources": {"requests": {"cpu": "1000"}}}
SMALL = {"resources": {"requests": {"cpu": "10m"}}}

TODAY = [
    Fault(
        "PSA refuses istio-init",
        "pod-security-refused",
        [deployment("web", **spec(initContainers=[{"name": "istio-init", "image": "x", **NET_ADMIN}]))],
        [deployment("web", **spec(initContainers=[{"name": "istio-validation", "image": "x"}]))],
        {"pod-security.kubernetes.io/enforce": "baseline"},
        says="violates PodSecurity",
    ),
    Fault(
        "SCC's words",
        "pod-security-refused",
        admission(SCC),
        [deployment()],
        says="security context constraint",
        after=late(deployment()),
    ),
    Fault(
        "policy engine refuses",
        "admission-denied",
        admission("images must be signed"),
        [*admission("images must be signed", "nowhere"), deployment()],
        says="images must be signed",
        after=late(deployment()),
    ),
    Fault(
        "quota used up",
        "quota-exceeded",
        [
            quota(**{"requests.cpu": "10m"}),
            deployment("web", **spec(container={"resources": {"requests": {"cpu": "1"}}})),
        ],
        [
            quota(**{"requests.cpu": "2"}),
            deployment("web", **spec(container={"resources": {"requests": {"cpu": "1"}}})),
        ],
        says="exceeded quota",
    ),
    Fault(
        "quota wants figures",
        "quota-needs-figures",
        [quota(**{"limits.memory": "1Gi"}), deployment()],
        [
            quota(**{"limits.memory": "1Gi"}),
            deployment("web", **spec(container={"resources": {"limits": {"memory": "1Mi"}}})),
        ],
        says="must specify limits.memory",
    ),
    Fault(
        "LimitRange refuses",
        "limit-range",
        [limit_range("1Mi"), deployment("web", **spec(container={"resources": {"limits": {"memory": "2Mi"}}}))],
        [limit_range("2Mi"), deployment("web", **spec(container={"resources": {"limits": {"memory": "2Mi"}}}))],
        says="maximum memory usage per Container",
    ),
    Fault(
        "service account missing",
        "service-account-missing",
        [deployment("web", **spec(serviceAccountName="web"))],
        [account("web"), deployment("web", **spec(serviceAccountName="web"))],
        says='serviceaccount "web" not found',
    ),
    Fault(
        "no node has room",
        "pod-unschedulable",
        [deployment("web", **spec(container=LARGE)), *ROUTE],
        [deployment("web", **spec(container=SMALL)), *ROUTE],
        says="Insufficient cpu",
        labels={"istio-injection": "disabled"},
    ),
    Fault(
        "namespace is being deleted",
        "namespace-terminating",
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/nobody"]}}],
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "free"}}],
        says="example.com/nobody",
        after=finalized,
        undo=unfinalize,
    ),
    Fault(
        "webhook without a Service",
        "webhook-blocks",
        [own_istiod(), own_webhooks("{bundle}")],
        [own_istiod(), own_webhooks("{bundle}"), service("istiod", "istiod", {"port": 443})],
        options=OWN,
        says="does not exist",
    ),
    Fault(
        "istiod missing",
        "istiod-missing",
        [MESHED, *ROUTE],
        [MESHED, *ROUTE],
        INJECTED,
        says="requests sidecar injection",
        after=without_istiod,
        undo=with_istiod,
    ),
    Fault(
        "istiod scaled to nothing",
        "istiod-not-ready",
        [own_istiod(0), service("istiod", "istiod", {"port": 443}), own_webhooks("{bundle}")],
        [own_istiod(1), service("istiod", "istiod", {"port": 443}), own_webhooks("{bundle}")],
        options=OWN,
    ),
    Fault(
        "istiod's Service selects nothing",
        "service-without-endpoints",
        [own_istiod(), service("istiod", "pilot", {"port": 443}), own_webhooks("{bundle}")],
        [own_istiod(), service("istiod", "istiod", {"port": 443}), own_webhooks("{bundle}")],
        options=OWN,
        says="app=pilot",
    ),
    Fault(
        "webhook without caBundle",
        "webhook-certificate",
        [own_istiod(), service("istiod", "istiod", {"port": 443}), own_webhooks(None)],
        [own_istiod(), service("istiod", "istiod", {"port": 443}), own_webhooks("{bundle}")],
        options=OWN,
        says="caBundle",
    ),
    Fault(
        "revision that is not there",
        "injection-revision-unknown",
        [deployment(), *ROUTE],
        [MESHED, *ROUTE],
        {"istio.io/rev": "1-16"},
        near_labels={"istio.io/rev": "default"},
        says="istio.io/rev=1-16",
    ),
    Fault(
        "namespace without a label",
        "injection-label-missing",
        [deployment(), *ROUTE],
        [MESHED, *ROUTE],
        near_labels=INJECTED,
    ),
    Fault(
        "label refuses the sidecar",
        "injection-contradicted",
        [deployment(labels={"sidecar.istio.io/inject": "false"}), *ROUTE],
        [MESHED, deployment("job", labels={"sidecar.istio.io/inject": "false"}), *ROUTE],
        INJECTED,
        says="label sidecar.istio.io/inject=false",
    ),
    Fault(
        "annotation refuses the sidecar",
        "injection-contradicted",
        [deployment(annotations={"sidecar.istio.io/inject": "false"}), *ROUTE],
        [deployment("web", "app", "istio-proxy", annotations={"sidecar.istio.io/inject": "true"}), *ROUTE],
        INJECTED,
        says="annotation sidecar.istio.io/inject=false",
    ),
    Fault(
        "pods on the node's network",
        "injection-host-network",
        [deployment("web", **spec(hostNetwork=True)), *ROUTE],
        [MESHED, deployment("agent", **spec(hostNetwork=True)), *ROUTE],
        INJECTED,
    ),
    Fault(
        "pods older than the label",
        "injection-partial",
        [deployment(), *ROUTE],
        [MESHED, *ROUTE],
        near_labels=INJECTED,
        after=unlabelled,
    ),
    Fault(
        "host that no Gateway has",
        "host-not-served",
        [MESHED, service()],
        [MESHED, *ROUTE],
        INJECTED,
        options={"host_header": "{ns}.example.com"},
    ),
    Fault(
        "VirtualService for the mesh alone",
        "host-not-routed",
        [MESHED, service(), gateway("{ns}.example.com"), virtual_service("{ns}.example.com", gateways=["mesh"])],
        [MESHED, *ROUTE],
        INJECTED,
        options={"host_header": "{ns}.example.com"},
    ),
    Fault(
        "injector deleted",
        "injector-missing",
        [MESHED, *ROUTE],
        [MESHED, *ROUTE],
        INJECTED,
        after=without_injector,
        undo=with_injector,
    ),
    Fault(
        "gateway without a Service",
        "gateway-missing",
        EDGE[:1],
        [EDGE[0], service("edge", "edge", type="NodePort")],
        options=AT_THE_EDGE,
    ),
    Fault(
        "no load balancer here",
        "load-balancer-missing",
        EDGE,
        EDGE,
        options=AT_THE_EDGE,
        after_near=addressed,
    ),
    Fault(
        "a cloud says why",
        "load-balancer-pending",
        EDGE,
        EDGE,
        options=AT_THE_EDGE,
        says="quota of addresses exceeded",
        after=complained,
        after_near=addressed,
    ),
]


@pytest.mark.parametrize("fault", TODAY, ids=str)
def test_today(fault: Fault, today: BedCluster) -> None:
    """The main finding is the fault, and the near-miss is none."""
    (bundle,) = {
        webhook["clientConfig"]["caBundle"]
        for webhook in today.get("mutatingwebhookconfiguration", "istio-sidecar-injector")["webhooks"]
    }
    for obj in [*fault.broken, *fault.near]:
        for webhook in obj.get("webhooks", []):
            if webhook["clientConfig"].get("caBundle") == "{bundle}":
                webhook["clientConfig"]["caBundle"] = bundle
    try_out(today, "control plane", fault)


# -- PodSecurityPolicy, the guide's first ------------------------------------------------------------------------------


def policy(name: str, capabilities: list[str]) -> list[Manifest]:
    """A PodSecurityPolicy, and that the namespace's pods may use it."""
    anything = {"rule": "RunAsAny"}
    rules = {"seLinux": anything, "runAsUser": anything, "supplementalGroups": anything, "fsGroup": anything}
    group = "rbac.authorization.k8s.io"
    return [
        cluster_scoped(
            {
                "apiVersion": "policy/v1beta1",
                "kind": "PodSecurityPolicy",
                "metadata": {"name": name},
                "spec": {**rules, "volumes": ["*"], "allowedCapabilities": capabilities},
            }
        ),
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": {"name": "pods"},
            "rules": [
                {
                    "apiGroups": ["policy"],
                    "resources": ["podsecuritypolicies"],
                    "verbs": ["use"],
                    "resourceNames": [name],
                }
            ],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "pods"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "pods"},
            "subjects": [{"apiGroup": group, "kind": "Group", "name": "system:serviceaccounts:{ns}"}],
        },
    ]


APP = deployment("web", **spec(initContainers=[{"name": "istio-init", "image": "x", **NET_ADMIN}]))
POLICIES = [
    Fault("no policy at all", "pod-security-refused", [APP], [*policy("{ns}", ["*"]), APP], says="PodSecurityPolicy: "),
    Fault(
        "a policy that is too strict",
        "pod-security-refused",
        [*policy("{ns}", []), APP],
        [*policy("{ns}", ["NET_ADMIN", "NET_RAW"]), APP],
        says="capability may not be added",
    ),
]


@pytest.mark.parametrize("fault", POLICIES, ids=str)
def test_pod_security_policy(fault: Fault, psp: BedCluster) -> None:
    """The guide's message, in the words of Kubernetes 1.24."""
    try_out(psp, "1.24 with PSP", fault)


# -- rights ------------------------------------------------------------------------------------------------------------


def test_rights(today: BedCluster) -> None:
    """With docs/rbac.yml alone some checks are left out, and named; with docs/rbac-diagnose.yml none."""
    today.kubectl("apply", "-f", ROOT / "docs/rbac.yml")
    today.kubectl("delete", "--ignore-not-found", "-f", ROOT / "docs/rbac-diagnose.yml")
    access = {
        "kubeconfig": None,
        "context": None,
        "host": today.server,
        "ca_cert": str(today.ca),
        "api_key": today.token("meshops", "meshops-istio"),
    }
    options = {**access, "application_namespaces": ["liveness"], "connect": False}
    lacking = {
        "DaemonSet objects: no permission to read them",
        "Event objects in liveness: no permission to read them",
        "StatefulSet objects: no permission to read them",
    }
    # The API server's authorizer hears of bindings by a watch.
    assert until(lambda: lacking <= set(look(today, **options)["skipped"]), 10), look(today, **options)
    assert look(today, **options)["findings"] == []
    today.kubectl("apply", "-f", ROOT / "docs/rbac-diagnose.yml")
    with today.asked() as asked:
        complete = until(lambda: len(look(today, **options)["skipped"]) == 1, 10)
    assert complete, look(today, **options)
    assert asked.writes == []
