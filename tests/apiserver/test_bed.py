# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The beds of this folder are what the other tests take them for."""

from __future__ import annotations

import ipaddress
import json
import resource
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver.conftest import TODAY
from harness.beds import BedCluster, bed_command
from harness.playbooks import ROOT
from testbed import controlplane, daemons, registry, versions
from testbed.bed import Bed

GUIDE_POLICY = [
    {
        "apiVersion": "policy/v1beta1",  # the guide's extensions/v1beta1 went with Kubernetes 1.16
        "kind": "PodSecurityPolicy",
        "metadata": {"name": "guide"},
        "spec": {
            "privileged": True,
            "allowedCapabilities": ["NET_ADMIN"],
            **{rule: {"rule": "RunAsAny"} for rule in ("fsGroup", "runAsUser", "seLinux", "supplementalGroups")},
            "volumes": ["*"],
        },
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "guide"},
        "rules": [
            {
                "apiGroups": ["extensions"],
                "resources": ["podsecuritypolicies"],
                "resourceNames": ["guide"],
                "verbs": ["use"],
            }
        ],
    },
]


def deployment(namespace: str, **security_context: Any) -> dict[str, Any]:
    """A Deployment of one pod."""
    labels = {"app": "web"}
    container = {"name": "web", "image": "web", "securityContext": security_context}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def binding(namespace: str) -> dict[str, Any]:
    """The guide's binding: the default account of a namespace may use its policy."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "guide", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "guide"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }


def available(cluster: BedCluster, namespace: str) -> None:
    """Wait until the Deployment's pods are Ready."""
    cluster.kubectl("rollout", "status", "deployment/web", "--namespace", namespace, "--timeout=30s")


def refusal(cluster: BedCluster, namespace: str) -> str:
    """What the ReplicaSet's controller is told when it wants to create the pod."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for event in cluster.get("events", "--namespace", namespace, "--field-selector=reason=FailedCreate")["items"]:
            return event["message"]
        time.sleep(0.1)
    raise AssertionError("nothing was refused")


def refused_create(cluster: BedCluster, namespace: str) -> tuple[float, str]:
    """Create things until one is refused, since the API server hears of webhooks a moment later.

    :returns: the seconds that the refusal took, and its words
    """
    deadline = time.monotonic() + 10
    create = ("kubectl", "create", "configmap", "--namespace", namespace)
    while (began := time.monotonic()) < deadline:
        answer = cluster.tool(*create, f"note-{began}", check=False)
        if "created" not in answer:
            return time.monotonic() - began, answer
    raise AssertionError("nothing was refused")


def ask(cluster: BedCluster, cafile: Path | None) -> int:
    """The status of /readyz without a credential."""
    context = ssl.create_default_context(cafile=str(cafile) if cafile else None)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(f"{cluster.server}/readyz", timeout=5) as answer:
        return answer.status


@pytest.mark.parametrize("name", ["today", "psp"])
def test_it_answers_over_verified_tls(request, name):
    cluster = request.getfixturevalue(name)
    assert ask(cluster, cluster.ca) == 200
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(cluster, None)


@pytest.mark.parametrize(("name", "version"), [("today", TODAY), ("psp", versions.PSP_KUBERNETES)])
def test_it_is_of_its_version(request, name, version):
    cluster = request.getfixturevalue(name)
    assert json.loads(cluster.kubectl("get", "--raw", "/version"))["gitVersion"] == version


def test_pods_of_a_deployment_become_ready(today):
    with today.namespace() as namespace:
        today.apply(deployment(namespace, privileged=True))
        available(today, namespace)
        (pod,) = today.get("pods", "--namespace", namespace)["items"]
    assert pod["spec"]["nodeName"] == "node-1"
    assert pod["status"]["podIP"].startswith("239.244.")


def test_every_address_on_a_bed_is_of_this_machine(aws):
    """What a run may ask is of the loopback network; what must be of another is one that nobody can call."""
    with aws.namespace() as namespace:
        aws.apply(deployment(namespace))
        ports = [{"port": 80}]
        for name, kind in {"front": "LoadBalancer", "node": "NodePort"}.items():
            meta = {"name": name, "namespace": namespace}
            spec = {"type": kind, "ports": ports, "selector": {"app": "web"}}
            aws.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        available(aws, namespace)
        host = "--for=jsonpath={.status.loadBalancer.ingress[0].hostname}"
        aws.kubectl("wait", "service/front", "--namespace", namespace, host, "--timeout=30s")
        aws.kubectl("wait", "endpointslice", "--all", "--namespace", namespace, "--for=jsonpath={.endpoints[0]}")
        found = {kind: aws.get(kind, "--all-namespaces")["items"] for kind in ("nodes", "pods", "services")}
        slices = aws.get("endpointslices", "--namespace", namespace)["items"]
        (pod,) = [pod["metadata"]["name"] for pod in found["pods"] if pod["metadata"]["namespace"] == namespace]
        began = time.monotonic()
        for path in (f"pods/{pod}:80", "services/front:80"):
            with pytest.raises(AssertionError, match=r"address not allowed|network is unreachable"):
                aws.kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/{path}/proxy/")
        assert time.monotonic() - began < 10
    asked = [urllib.parse.urlsplit(aws.server).hostname]
    asked += [
        each["address"]
        for node in found["nodes"]
        for each in node["status"]["addresses"]
        if each["type"] in ("InternalIP", "ExternalIP")
    ]
    named = [each["address"] for node in found["nodes"] for each in node["status"]["addresses"]]
    assert [each for each in named if each not in asked and not each.endswith(".invalid")] == []
    asked += [address for obj in found["services"] for address in obj["spec"]["clusterIPs"]]
    asked += [pod["status"]["hostIP"] for pod in found["pods"]]
    balancers = [
        each for obj in found["services"] for each in obj["status"].get("loadBalancer", {}).get("ingress") or []
    ]
    asked += [each["ip"] for each in balancers if "ip" in each]
    assert [address for address in asked if not ipaddress.ip_address(address).is_loopback] == []
    assert [each for each in balancers if not each["hostname"].endswith(".example")] == []
    inside = {pod["status"]["podIP"] for pod in found["pods"]}
    inside |= {address for each in slices for endpoint in each["endpoints"] for address in endpoint["addresses"]}
    assert inside
    assert [address for address in inside if not ipaddress.ip_address(address).is_multicast] == []
    for address in inside:
        # Not by Python, which the guard of the tests would stop: the kernel itself refuses.
        done = subprocess.run(["bash", "-c", f"</dev/tcp/{address}/80"], capture_output=True, text=True, check=False)
        assert "Network is unreachable" in done.stderr


def test_pod_security_policy_admission_refuses_until_a_policy_may_be_used(psp):
    with psp.namespace() as refused, psp.namespace() as admitted:
        psp.apply(deployment(refused))
        assert "no providers available to validate pod request" in refusal(psp, refused)
        try:
            psp.apply(*GUIDE_POLICY, binding(admitted), deployment(admitted, capabilities={"add": ["NET_ADMIN"]}))
            available(psp, admitted)
            (pod,) = psp.get("pods", "--namespace", admitted)["items"]
            assert pod["metadata"]["annotations"]["kubernetes.io/psp"] == "guide"
        finally:
            psp.kubectl("delete", "podsecuritypolicy/guide", "clusterrole/guide", "--ignore-not-found")


def test_a_hardened_cluster_refuses_what_istio_init_needs_where_no_label_allows_it(hardened):
    with (
        hardened.namespace() as strict,
        hardened.namespace({"pod-security.kubernetes.io/enforce": "privileged"}) as lax,
    ):
        for namespace in (strict, lax):
            hardened.apply(deployment(namespace, capabilities={"add": ["NET_ADMIN"]}))
        assert 'violates PodSecurity "baseline:latest"' in refusal(hardened, strict)
        available(hardened, lax)


def test_openshift_kinds_are_served_with_their_schema(openshift):
    constraints = {
        "apiVersion": "security.openshift.io/v1",
        "kind": "SecurityContextConstraints",
        "metadata": {"name": "bed"},
        **{f"allow{what}": False for what in ("HostDirVolumePlugin", "HostIPC", "HostNetwork", "HostPID")},
        **{f"allow{what}": False for what in ("HostPorts", "PrivilegedContainer")},
        **dict.fromkeys(("allowedCapabilities", "defaultAddCapabilities", "requiredDropCapabilities")),
        "priority": None,
        "readOnlyRootFilesystem": False,
        "volumes": ["configMap"],
    }
    openshift.apply(constraints)
    try:
        assert openshift.get("securitycontextconstraints", "bed")["volumes"] == ["configMap"]
        with pytest.raises(AssertionError, match="readOnlyRootFilesystem"):
            openshift.apply({**constraints, "readOnlyRootFilesystem": "no"})
    finally:
        openshift.kubectl("delete", "securitycontextconstraints", "bed")


def test_a_service_gets_a_host_name_from_the_played_cloud_and_others_do_not(aws):
    ingress = "jsonpath={.status.loadBalancer.ingress[0].hostname}"
    kinds = {"front": {"type": "LoadBalancer"}, "node": {"type": "NodePort"}}
    kinds["other"] = {"type": "LoadBalancer", "loadBalancerClass": "example.com/other"}
    with aws.namespace() as namespace, aws.asked() as asked:
        for name, spec in kinds.items():
            metadata = {"name": name, "namespace": namespace}
            aws.apply(
                {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}], **spec}}
            )
        front = ("service/front", "--namespace", namespace)
        aws.kubectl("wait", *front, f"--for={ingress}", "--timeout=30s")
        (name,) = aws.get(*front)["status"]["loadBalancer"]["ingress"]
        assert list(name) == ["hostname"]
        assert name["hostname"].endswith(".amazonaws.example")
        for other in ("node", "other"):
            assert aws.get(f"service/{other}", "--namespace", namespace)["status"] == {"loadBalancer": {}}
    assert len([write for write in asked.writes if "/services/" in write]) == 3  # its own writes are the system's


def test_a_webhook_that_nobody_serves_fails_at_once(today):
    with today.namespace() as namespace:
        labels = {"kubernetes.io/metadata.name": namespace}
        service = {"name": "nobody", "namespace": namespace, "path": "/", "port": 443}
        webhook = {
            "name": "nobody.example.com",
            "clientConfig": {"service": service},
            "namespaceSelector": {"matchLabels": labels},
            "rules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}
            ],
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        metadata = {"name": "nobody", "namespace": namespace}
        today.apply(
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 443}]}},
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": namespace},
                "webhooks": [webhook],
            },
        )
        try:
            seconds, message = refused_create(today, namespace)
            assert "connection refused" in message
            assert seconds < 2
        finally:
            today.kubectl("delete", "validatingwebhookconfiguration", namespace)


def test_what_is_asked_is_counted(today):
    with today.asked() as asked:
        today.kubectl("get", "--raw", "/api/v1/namespaces/default/pods")
        today.kubectl("create", "configmap", "counted", "--namespace=default")
        today.kubectl("delete", "configmap", "counted", "--namespace=default")
    assert [write.split()[0] for write in asked.writes] == ["create", "delete"]
    assert asked.count.reads >= 1


def test_accounts_have_tokens_that_count_as_theirs(today):
    token = today.account("somebody")
    user = "system:serviceaccount:meshops-accounts:somebody"
    with today.asked(user=user) as asked:
        today.playbook(
            [
                {
                    "hosts": "all",
                    "gather_facts": False,
                    "tasks": [
                        {
                            "name": "ask",
                            "kubernetes.core.k8s_info": {"kind": "Namespace", "name": "default"},
                            "failed_when": False,
                        }
                    ],
                }
            ],
            environ=today.credential(token),
        ).run().succeeded()
    assert asked.count.reads >= 1


def children_seconds() -> float:
    """Seconds of CPU that our children used until now."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_second_up_finds_it_up_in_less_than_a_second(today):
    name = today.kubeconfig.parent.name
    before = controlplane.processes(Bed(name))
    began = children_seconds()  # of CPU, as this machine may be busy with something else
    again = bed_command("up", f"--control-plane={TODAY}", "--name", name)
    assert again.returncode == 0, again.stderr
    assert children_seconds() - began < 1
    assert controlplane.processes(Bed(name)) == before


def test_beds_live_side_by_side_and_end_without_a_trace(today, tmp_path):
    other, shared = Bed("api-bed-test"), tmp_path / "shared.kubeconfig"
    up = ("up", f"--control-plane={TODAY}", "--name", other.name, "--kubeconfig", shared)
    shared.write_text(today.kubeconfig.read_text())
    before = controlplane.processes(Bed(today.kubeconfig.parent.name))
    try:
        made = bed_command(*up)
        assert made.returncode == 0, made.stderr
        contexts = {context["name"] for context in yaml.safe_load(shared.read_text())["contexts"]}
        assert contexts == {today.variables["istio_context"], other.cluster}
        assert shared.stat().st_mode & 0o777 == 0o600

        # One that died is started again, with all that it knew.
        kubectl = [today.tools / "kubectl", "--kubeconfig", other.kubeconfig]
        subprocess.run([*kubectl, "create", "namespace", "kept"], check=True, capture_output=True)
        running = controlplane.daemons(other)
        running.stop(["kube-apiserver", "kwok"])
        assert "starting again: kube-apiserver, kwok" in bed_command(*up).stderr
        subprocess.run([*kubectl, "get", "namespace", "kept"], check=True, capture_output=True)

        # A killed `up` leaves no note that it is complete: the next one begins anew.
        pids = [pid for _name, pid in controlplane.processes(other)]
        other.state.unlink()
        made = bed_command(*up)
        assert made.returncode == 0, made.stderr
        assert not any(daemons.identity(pid) for pid in pids)
        pids = [pid for _name, pid in controlplane.processes(other)]
        assert all(daemons.identity(pid) for pid in pids)

        assert "Run `down --name" in bed_command("up", "--control-plane", "--nodes=2", "--name", other.name).stderr
    finally:
        assert bed_command("down", "--name", other.name).returncode == 0
    assert not any(daemons.identity(pid) for pid in pids)
    assert not other.directory.exists()
    assert [context["name"] for context in yaml.safe_load(shared.read_text())["contexts"]] == [
        today.variables["istio_context"]
    ]
    assert controlplane.processes(Bed(today.kubeconfig.parent.name)) == before
    assert ROOT in other.directory.parents


def test_a_registry_comes_back_and_ends_with_its_bed():
    own = Bed("api-bed-registry")
    up = ("up", f"--control-plane={TODAY}", "--name", own.name)
    try:
        made = bed_command(*up, "--registry")
        assert made.returncode == 0, made.stderr
        place = registry.find(own)
        told = yaml.safe_load(own.vars_file.read_text())["testbed_registry"]
        assert told["address"] == place.address
        for secret in (place.login, place.password, place.directory / "server.key"):
            assert secret.stat().st_mode & 0o777 == 0o600
        assert not registry.answers(registry.Place(place.directory, place.plain_address, place.address, False))

        # It is asked for once: whoever comes back to the bed finds it, what was pushed in it, and its CA.
        registry.daemons(own).stop()
        again = bed_command(*up)
        assert again.returncode == 0, again.stderr
        assert yaml.safe_load(own.vars_file.read_text())["testbed_registry"] == told
        with registry.Client(place) as client:
            kind = "application/vnd.oci.image.manifest.v1+json"
            assert client.request("GET", "/v2/charts/istiod/manifests/1.31.0", Accept=kind).status == 200
            assert client.request("GET", "/charts/index.yaml").status == 200
        with registry.Client(place) as client:
            client.headers = {}
            assert client.request("GET", "/v2/charts/istiod/manifests/1.31.0").status == 401
            assert client.request("GET", "/charts/index.yaml").status == 401
        pid = registry.daemons(own).pid(registry.NAME)
        assert daemons.identity(pid)
    finally:
        assert bed_command("down", "--name", own.name).returncode == 0
    assert not daemons.identity(pid)
    assert not own.directory.exists()
