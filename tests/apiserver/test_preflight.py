# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check of preflight on a real API server: what makes it fire, a near-miss that keeps it silent, and no write.

A row of ROWS is a code, the objects that make it fire and those of the near-miss, each in namespaces of its own. All of
them are there before the first check runs, so that rows which looked beyond their namespaces would disturb each other.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from apiserver.conftest import TODAY, bed
from harness.beds import LOCAL, BedCluster
from harness.in_process import options_of, run_job, run_preflight
from harness.playbooks import ROOT

from ansible_collections.meshops.istio.plugins.module_utils.cluster.transport import USER_AGENT
from ansible_collections.meshops.istio.plugins.module_utils.exposure import load_balancers
from ansible_collections.meshops.istio.plugins.module_utils.jobs import crds, releases

#: A cluster may be kept for the next run.
RUN = secrets.token_hex(3)
#: Options of a run that installs nothing: what is on the cluster is looked at all the same.
NOTHING = {"preset": "none", "gateways": [], "recommended_cpu": "0", "recommended_memory": "0"}
ISTIOD = {**NOTHING, "components": ["istiod"]}
BALANCED = {**NOTHING, "gateways": [{"name": "edge", "type": "LoadBalancer"}]}
HELM = {"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "{ns}"}


# -- objects -----------------------------------------------------------------------------------------------------------


def deployment(
    name: str,
    pod: dict[str, str] | None = None,
    containers: tuple[str, ...] = ("app",),
    image: str = "app",
    **meta: Any,
) -> dict:
    """A Deployment of one pod. :arg pod: its labels beside the selector's"""
    labels = {"run": name}
    ports = [{"name": "web", "containerPort": 8080}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **meta},
        "spec": {
            "replicas": 0 if meta.get("labels", {}).get("istio") == "pilot" else 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": {**labels, **(pod or {})}},
                "spec": {"containers": [{"name": each, "image": image, "ports": ports} for each in containers]},
            },
        },
    }


def service(name: str, *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A Service; ports that say nothing are 80."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80, **port} for port in ports], **spec},
    }


def quota(**hard: str) -> dict[str, Any]:
    """A ResourceQuota; two underscores stand for a dot."""
    named = {key.replace("__", "."): value for key, value in hard.items()}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": named}}


def limit_range(kind: str = "Container", **item: Any) -> dict[str, Any]:
    """A LimitRange with one item."""
    spec = {"limits": [{"type": kind, **item}]}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "team"}, "spec": spec}


def istiod(name: str = "istiod", revision: str = "default", **meta: Any) -> dict[str, Any]:
    """A control plane's Deployment."""
    labels = {"app": "istiod", "istio": "pilot", "istio.io/rev": revision, **meta.pop("labels", {})}
    return deployment(name, labels=labels, **meta)


def injector(hub: str) -> dict[str, Any]:
    """What an istiod puts into pods, as far as images go."""
    meta = {"name": "istio-sidecar-injector", "labels": {"istio.io/rev": "default"}}
    values = json.dumps({"global": {"hub": hub, "proxy": {"image": "proxyv2"}}})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"values": values}}


def webhooks(name: str, where: str, policy: str = "Fail", **meta: Any) -> dict[str, Any]:
    """A configuration of Istio's that is called for nothing, so that it does no harm here."""
    webhook = {
        "name": "rev.validation.istio.io",
        "clientConfig": {"service": {"namespace": where, "name": "istiod", "path": "/validate"}},
        "failurePolicy": policy,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "objectSelector": {"matchLabels": {"nobody": "has-this"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["bindings"]}],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name, **meta},
        "webhooks": [webhook],
    }


def crd(plural: str, group: str, kind: str, version: str = "v1", scope: str = "Namespaced", **meta: Any) -> dict:
    """A definition that takes everything."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", **meta},
        "spec": {
            "group": group,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "scope": scope,
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }


# -- the table ---------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """One check.

    :ivar str about: the object of its finding; ``{ns}`` is the row's namespace
    :ivar str says: part of its message
    :ivar dict options: of the runs; ``{ns}`` too
    :ivar dict labels: of the namespace that fires; ``near_labels`` of the other, the same if not given
    """

    code: str
    about: str
    says: str
    fire: list[dict[str, Any]] = field(default_factory=list)
    near: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=lambda: {**NOTHING, "application_namespaces": ["{ns}"]})
    labels: dict[str, str] = field(default_factory=dict)
    near_labels: dict[str, str] | None = None


MESHED = {"istio-injection": "enabled"}
LABELLED = {"app": "web", "version": "v1"}
IN_ISTIOS = {**ISTIOD, "namespace": "{ns}"}
EDGE = {**BALANCED, "namespace": "{ns}", "ignore": ["load-balancer-missing"]}
FINE = limit_range(default={"cpu": "1", "memory": "3Gi"}, defaultRequest={"cpu": "100m", "memory": "64Mi"})

ROWS: dict[str, Row] = {
    "labels": Row(
        "workload-unlabeled",
        "Deployment {ns}/web",
        "lack the labels app and version",
        [deployment("web")],
        [deployment("web", LABELLED)],
    ),
    "labels, found by injection": Row(
        "workload-unlabeled",
        "Deployment {ns}/web",
        "lack the label version",
        [deployment("web", {"app.kubernetes.io/name": "web"})],
        [deployment("web", {"app.kubernetes.io/name": "web", "app.kubernetes.io/version": "1"})],
        NOTHING,
        MESHED,
    ),
    "port's name": Row(
        "port-unnamed",
        "Service {ns}/web",
        "port 80 (httpfoo) names no protocol",
        [service("web", {"name": "httpfoo"})],
        [
            service("web", {"name": "http-foo"}, {"name": "anything", "port": 81, "appProtocol": "grpc"}),
            service("time", {"name": "ntp", "port": 123, "protocol": "UDP"}),
        ],
    ),
    "the guide's WRONG example": Row(
        "port-conflict",
        "pods {ns}/app=my-app",
        "port 80 has conflicting protocols: http (Service app-svc-1) and http2 (Service app-svc-2)",
        [
            service(f"app-svc-{n}", {"name": f"{p}-app"}, selector={"app": "my-app"})
            for n, p in ((1, "http"), (2, "http2"))
        ],
        [service(f"app-svc-{n}", {"name": "http-app"}, selector={"app": "my-app"}) for n in (1, 2)],
    ),
    "a port by its name and by its number": Row(
        "port-conflict",
        "Deployment {ns}/web",
        "port 8080 has conflicting protocols: grpc (Service b) and http (Service a)",
        [
            deployment("web", LABELLED),
            service("a", {"name": "http", "targetPort": "web"}, selector={"app": "web"}),
            service("b", {"name": "grpc", "targetPort": 8080}, selector={"version": "v1"}),
        ],
        [
            deployment("web", LABELLED),
            service("a", {"name": "http", "targetPort": "web"}, selector={"app": "web"}),
            service("b", {"name": "grpc", "targetPort": 8081}, selector={"version": "v1"}),
        ],
    ),
    "both labels": Row(
        "injection-labels-mixed",
        "Namespace {ns}",
        "istio-injection=enabled and istio.io/rev=canary",
        labels={**MESHED, "istio.io/rev": "canary"},
        near_labels={"istio.io/rev": "canary"},
    ),
    "sidecars here and there": Row(
        "injection-partial",
        "Namespace {ns}",
        "1 of 2 workloads run without a sidecar: old",
        [deployment("new", LABELLED, ("app", "istio-proxy")), deployment("old", LABELLED)],
        [deployment("one", LABELLED), deployment("other", LABELLED)],
        labels=MESHED,
    ),
    "a pod against its namespace": Row(
        "injection-contradicted",
        "Deployment {ns}/web",
        "injection is disabled",
        [deployment("web", {**LABELLED, "sidecar.istio.io/inject": "true"})],
        [deployment("web", {**LABELLED, "sidecar.istio.io/inject": "true"})],
        labels={"istio-injection": "disabled"},
        near_labels={},
    ),
    "pods that are refused": Row(
        "pods-refused",
        "Deployment {ns}/web",
        'violates PodSecurity "restricted:latest"',
        [deployment("web", LABELLED)],
        [deployment("web", LABELLED)],
        labels={"pod-security.kubernetes.io/enforce": "restricted"},
        near_labels={"pod-security.kubernetes.io/enforce": "baseline"},
    ),
    "images of a registry that ends": Row(
        "image-source-retired",
        "Namespace {ns}",
        "runs images from registry.istio.io/release in Deployment web. That registry holds no Istio newer than 1.30",
        [deployment("web", LABELLED, ("app", "istio-proxy"), image="registry.istio.io/release/proxyv2:1.30.4")],
        [deployment("web", LABELLED, ("app", "istio-proxy"), image="docker.io/istio/proxyv2:1.30.4")],
    ),
    "an injector with a registry that ends": Row(
        "image-source-retired",
        "ConfigMap {ns}/istio-sidecar-injector",
        "gives new pods a proxy image from gcr.io/istio-release",
        [istiod(annotations=HELM), injector("gcr.io/istio-release")],
        [istiod(annotations=HELM), injector("docker.io/istio")],
        IN_ISTIOS,
    ),
    "quota on memory": Row(
        "quota-exceeded",
        "ResourceQuota {ns}/team",
        "has 1024 MiB of 1Gi left for requests.memory, but this run needs 2048 MiB",
        [quota(requests__memory="1Gi", requests__cpu="2")],
        [quota(requests__memory="2Gi", requests__cpu="2")],
        IN_ISTIOS,
    ),
    "quota on pods": Row(
        "quota-exceeded",
        "ResourceQuota {ns}/team",
        "has 0 of 0 left for pods, but this run needs 1",
        [quota(pods="0")],
        [quota(pods="1")],
        IN_ISTIOS,
    ),
    "quota on Deployments": Row(
        "quota-exceeded",
        "ResourceQuota {ns}/team",
        "left for count/deployments.apps, but this run needs 1",
        [quota(**{"count/deployments.apps": "0"})],
        # It is there already: a second run needs no more.
        [istiod(annotations=HELM), quota(**{"count/deployments.apps": "1"})],
        IN_ISTIOS,
    ),
    "quota on load balancers": Row(
        "quota-exceeded",
        "ResourceQuota {ns}/team",
        "left for services.loadbalancers, but this run needs 1",
        [quota(services__loadbalancers="0")],
        [quota(services__loadbalancers="1")],
        EDGE,
    ),
    "quota on node ports": Row(
        "quota-exceeded",
        "ResourceQuota {ns}/team",
        "has 2 of 2 left for services.nodeports, but this run needs 3",
        [quota(services__nodeports="2")],
        [quota(services__nodeports="3")],
        EDGE,
    ),
    "quota for the sidecar": Row(
        "quota-exceeded",
        "ResourceQuota {ns}/team",
        "has 64 MiB of 64Mi left for requests.memory, but this run needs 128 MiB",
        [quota(requests__memory="64Mi")],
        [quota(requests__memory="128Mi")],
        {**ISTIOD, "namespace": "istio-nowhere", "application_namespaces": ["{ns}"]},
    ),
    "quota on limits": Row(
        "quota-needs-figures",
        "ResourceQuota {ns}/team",
        "container discovery has no limits.cpu, limits.memory",
        [quota(limits__cpu="8", limits__memory="8Gi")],
        [quota(limits__cpu="8", limits__memory="8Gi"), FINE],
        IN_ISTIOS,
    ),
    "a maximum": Row(
        "limit-range",
        "LimitRange {ns}/team",
        "container discovery requests memory 2048Mi, more than its default limit of 1Gi",
        [limit_range(max={"memory": "1Gi"})],
        [limit_range(max={"memory": "2Gi"})],
        IN_ISTIOS,
    ),
    "a minimum": Row(
        "limit-range",
        "LimitRange {ns}/team",
        "container discovery has cpu 0.5, but at least 600m is required",
        [limit_range(min={"cpu": "600m"})],
        [limit_range(min={"cpu": "500m"})],
        IN_ISTIOS,
    ),
    "a ratio": Row(
        "limit-range",
        "LimitRange {ns}/team",
        "a cpu limit above 10 times its request",
        [limit_range(maxLimitRequestRatio={"cpu": "10"})],
        [limit_range(maxLimitRequestRatio={"cpu": "20"})],
        EDGE,
    ),
    "another release": Row(
        "istio-by-other-release",
        "Deployment {ns}/istiod",
        "installed by Helm release {ns}/mesh",
        [istiod(annotations={**HELM, "meta.helm.sh/release-name": "mesh"})],
        [istiod(annotations=HELM)],
        IN_ISTIOS,
    ),
    "istioctl": Row(
        "istio-not-by-helm",
        "Deployment {ns}/istiod",
        "installed by istioctl (resource installed-state)",
        [istiod(labels={"install.operator.istio.io/owning-resource": "installed-state"})],
        # What Helm makes has the label too, without an owner.
        [istiod(labels={"install.operator.istio.io/owning-resource": "unknown"}, annotations=HELM)],
        IN_ISTIOS,
    ),
    "another revision": Row(
        "istio-other-revision",
        "Deployment {ns}/istiod-canary",
        "an istiod of revision canary, installed without Helm. This run installs revision default",
        [istiod("istiod-canary", "canary")],
        [istiod("istiod-canary", "canary", annotations=HELM)],
        IN_ISTIOS,
    ),
    "webhook that blocks": Row(
        "webhook-blocks",
        "ValidatingWebhookConfiguration {ns}",
        "calls Service {ns}/istiod, which does not exist",
        [webhooks("{ns}", "{ns}")],
        [webhooks("{ns}", "{ns}"), service("istiod", {"name": "https"})],
    ),
    "webhook of a run that was killed": Row(
        "webhook-blocks",
        "ValidatingWebhookConfiguration {ns}",
        "which does not exist",
        [webhooks("{ns}", "{ns}", annotations={**HELM, "meta.helm.sh/release-name": "other"})],
        [webhooks("{ns}", "{ns}", annotations=HELM)],
        IN_ISTIOS,
    ),
    "webhook that is ignored": Row(
        "webhook-left",
        "ValidatingWebhookConfiguration {ns}",
        "calls Service {ns}/istiod, which does not exist",
        [webhooks("{ns}", "{ns}", "Ignore")],
        [webhooks("{ns}", "{ns}", "Ignore"), service("istiod", {"name": "https"})],
    ),
    "node port of a NodePort": Row(
        "node-port-taken",
        "gateway edge, port http2",
        "node port 31{n} is in use by Service {ns}/web (port http)",
        [service("web", {"name": "http", "nodePort": "31{n}"}, type="NodePort")],
        [service("edge", {"name": "http", "nodePort": "31{n}"}, type="NodePort")],
        {
            **NOTHING,
            "namespace": "{ns}",
            "gateways": [{"name": "edge", "type": "NodePort", "node_ports": {"http2": "31{n}"}}],
        },
    ),
    "node port of a LoadBalancer": Row(
        "node-port-taken",
        "gateway edge, port http2",
        "node port 31{n} is in use by Service {ns}/web (port http)",
        [service("web", {"name": "http", "nodePort": "31{n}"}, type="LoadBalancer")],
        [service("edge", {"name": "http", "nodePort": "31{n}"}, type="LoadBalancer")],
        {
            **NOTHING,
            "namespace": "{ns}",
            "gateways": [{"name": "edge", "type": "NodePort", "node_ports": {"http2": "31{n}"}}],
        },
    ),
    "node port of Helm values": Row(
        "node-port-taken",
        "gateway edge, port http2",
        "node port 31{n} is in use by Service {ns}/web (port http)",
        [service("web", {"name": "http", "nodePort": "31{n}"}, type="NodePort")],
        [service("edge", {"name": "http", "nodePort": "31{n}"}, type="NodePort")],
        {
            **NOTHING,
            "namespace": "{ns}",
            "gateways": [{"name": "edge", "type": "NodePort"}],
            "values": {"edge": {"service": {"ports": [{"name": "http2", "port": 80, "nodePort": "31{n}"}]}}},
        },
    ),
    "node port of a health check": Row(
        "node-port-taken",
        "gateway edge, port http2",
        "node port 31{n} is in use by Service {ns}/web (port health check)",
        [service("web", {}, type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort="31{n}")],
        [service("web", {}, type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort="32{n}")],
        {
            **NOTHING,
            "namespace": "{ns}",
            "gateways": [{"name": "edge", "type": "NodePort", "node_ports": {"http2": "31{n}"}}],
        },
    ),
}


def filled(data: Any, **values: str) -> Any:
    """Data with its ``{ns}`` and ``{n}`` replaced; numbers that they made are numbers."""
    if isinstance(data, dict):
        return {filled(key, **values): filled(value, **values) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [filled(item, **values) for item in data]
    if not isinstance(data, str) or "{" not in data:
        return data
    for name, value in values.items():
        data = data.replace(f"{{{name}}}", value)
    return int(data) if data.isdigit() else data


def placed(obj: dict[str, Any], number: int, namespace: str) -> dict[str, Any]:
    """An object in the namespace of its row."""
    obj = filled(obj, ns=namespace, n=f"{number:03d}")
    if obj["kind"] != "ValidatingWebhookConfiguration":
        obj["metadata"]["namespace"] = namespace
    return obj


def place(name: str, kind: str) -> tuple[int, str]:
    """Number and namespace of a row's firing or near-miss half."""
    number = 2 * list(ROWS).index(name) + (kind == "near")
    return number, f"row-{RUN}-{number:03d}-{kind}"


@dataclass
class Bench:
    """An API server with the objects of the table on it."""

    cluster: BedCluster

    def run(self, **options: Any) -> dict[str, Any]:
        """Run preflight. :returns: its result"""
        result, _task = run_preflight({**options_of(self.cluster.variables), **options})
        assert "findings" in result, result
        return result

    def found(self, **options: Any) -> dict[tuple[str, str], str]:
        """Messages by code and object."""
        return {(item["code"], item["object"]): item["message"] for item in self.run(**options)["findings"]}

    def codes(self, **options: Any) -> set[str]:
        """The codes of what was found."""
        return {code for code, _about in self.found(**options)}

    @contextlib.contextmanager
    def with_objects(self, *objects: dict[str, Any]) -> Iterator[None]:
        """Objects that are there for a while."""
        self.cluster.apply(*objects)
        try:
            yield
        finally:
            text = json.dumps({"kind": "List", "apiVersion": "v1", "items": objects})
            self.cluster.kubectl("delete", "-f-", "--ignore-not-found", "--wait=true", "--grace-period=0", stdin=text)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield an API server for this file alone: what is anywhere on a cluster is what preflight looks at."""
    with bed("preflight", TODAY, tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture(scope="module")
def bench(mine: BedCluster) -> Iterator[Bench]:
    """Put all rows on the API server, let its controllers look at them; in the end, nothing was written."""
    objects: list[dict[str, Any]] = []
    for name, row in ROWS.items():
        for kind in ("fire", "near"):
            number, namespace = place(name, kind)
            labels = row.near_labels if kind == "near" and row.near_labels is not None else row.labels
            objects.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
            objects += [placed(obj, number, namespace) for obj in getattr(row, kind)]
    began = mine.audit.mark()
    mine.apply(*[obj for obj in objects if obj["kind"] == "Namespace"])
    mine.apply(*[obj for obj in objects if obj["kind"] != "Namespace"])
    _settled(mine)
    yield Bench(mine)
    asked = mine.audit.count(began, user_agent=USER_AGENT)
    assert asked.requests == []
    assert asked.reads > 0


def _settled(cluster: BedCluster, patience: float = 30.0) -> None:
    """Wait until each Deployment's pods are there or refused, and each quota has been counted."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        deployments = cluster.get("deployments", "--all-namespaces")["items"]
        quotas = cluster.get("resourcequotas", "--all-namespaces")["items"]
        conditions = [
            {item["type"]: item["status"] for item in obj["status"].get("conditions", [])} for obj in deployments
        ]
        if all(quota.get("status", {}).get("hard") for quota in quotas) and all(
            "True" in (each.get("Available"), each.get("ReplicaFailure")) for each in conditions
        ):
            return
        time.sleep(0.3)
    raise AssertionError("the controllers did not come to an end")


# -- through the role, while the cluster is empty ----------------------------------------------------------------------


def host(cluster: BedCluster) -> dict[str, Any]:
    """An inventory host that is a cluster."""
    found = {"istio_kubeconfig": str(cluster.kubeconfig), "istio_context": cluster.variables["istio_context"]}
    return {**LOCAL, **found}


def play(pattern: str, *ignored: str) -> dict[str, Any]:
    """Role preflight on some hosts, and a task that would write."""
    role = {"name": "include", "ansible.builtin.include_role": {"name": "meshops.istio.preflight"}}
    defaults = {"kubeconfig": "{{ istio_kubeconfig }}", "context": "{{ istio_context }}"}
    return {
        "hosts": pattern,
        "gather_facts": False,
        "module_defaults": {"group/meshops.istio.istio": defaults},
        "vars": {"preflight_ignore": ["load-balancer-missing", "kubernetes-too-old", *ignored]},
        "tasks": [role, {"name": "write", "ansible.builtin.debug": {"msg": "writing"}}],
    }


def test_two_hosts_that_are_one_cluster(mine: BedCluster, psp: BedCluster) -> None:
    """Both stop, each naming the other; two clusters, one host, or a user who ignores the code go on."""
    clusters = {"here": mine, "there": psp, "alone": mine, "twin-a": mine, "twin-b": mine, "one": mine, "other": mine}
    plays = [play("here:there"), play("alone"), play("twin-a:twin-b", "cluster-twice"), play("one:other")]
    hosts = {name: host(cluster) for name, cluster in clusters.items()}
    run = mine.playbook(plays, hosts=hosts, istio_kubeconfig=None, istio_context=None).run()
    words = {failure.host: failure.data["msg"] for failure in run.failures}
    assert set(words) == {"one", "other"}, run.output
    assert "[cluster-twice] one: is the same cluster as other (UID " in words["one"]
    assert {result.host for result in run.results if result.task == "write"} == set(clusters) - set(words)


def test_a_second_run_over_our_own_is_silent(mine: BedCluster) -> None:
    """Definitions without a control plane, all of it, and what is left of it when a run is killed."""
    namespace = f"istio-{RUN}"
    own = {**options_of(mine.variables), "namespace": namespace}
    meshed = {**own, "exposure": "NodePort", "values": mine.variables["istio_helm_values"]}

    def findings() -> list[dict[str, Any]]:
        return run_preflight({**meshed, "recommended_cpu": "0", "recommended_memory": "0"})[0]["findings"]

    mine.kubectl("create", "namespace", namespace)
    try:
        assert findings() == []
        assert run_job(crds, own)[0]["changed"]
        assert findings() == []
        assert run_job(releases, {**meshed, "wait_for": "nothing", "wait_timeout": 60})[0]["changed"]
        assert findings() == []
        # A release's first objects are there, its Services are not, and its webhook is called already.
        mine.kubectl("delete", "deployment,service,secret", "--all", "--namespace", namespace)
        mine.apply(webhooks(f"istio-validator-{RUN}", namespace, annotations=filled(HELM, ns=namespace)))
        assert findings() == []
    finally:
        kinds = "crd,validatingwebhookconfiguration,mutatingwebhookconfiguration"
        ours = [name for name in mine.kubectl("get", kinds, "--output=name").split() if "istio" in name]
        mine.kubectl("delete", *ours)


def test_the_documented_rights_are_enough(mine: BedCluster) -> None:
    """An account with docs/rbac.yml alone: what it may not read is left out, and nothing fails for it."""
    mine.kubectl("apply", "-f", ROOT / "docs/rbac.yml")
    token = mine.token("meshops", "meshops-istio")
    direct = {"kubeconfig": None, "context": None, "host": mine.server, "ca_cert": str(mine.ca), "api_key": token}
    options = {**options_of(mine.variables), **direct, "exposure": "NodePort", "application_namespaces": ["liveness"]}
    result, _task = run_preflight({**options, "recommended_cpu": "0", "recommended_memory": "0"})
    assert result["findings"] == []


# -- the rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
def test_it_fires_and_a_near_miss_does_not(name: str, bench: Bench) -> None:
    row = ROWS[name]
    number, namespace = place(name, "fire")
    values = {"ns": namespace, "n": f"{number:03d}"}
    found = bench.found(**filled(row.options, **values))
    about = filled(row.about, **values)
    assert (row.code, about) in found
    assert filled(row.says, **values) in found[row.code, about]

    number, namespace = place(name, "near")
    values = {"ns": namespace, "n": f"{number:03d}"}
    found = bench.found(**filled(row.options, **values))
    assert (row.code, filled(row.about, **values)) not in found


# -- what is not in a namespace ----------------------------------------------------------------------------------------


def test_namespaces_that_are_being_deleted(bench: Bench) -> None:
    """With what holds them; one that is only active is silent."""
    note = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note", "finalizers": ["example.com/hold"]}}
    with bench.cluster.namespace() as going, bench.cluster.namespace() as staying:
        bench.cluster.apply({**note, "metadata": {**note["metadata"], "namespace": going}})
        bench.cluster.kubectl("delete", "namespace", going, "--wait=false")
        try:
            deadline = time.monotonic() + 20
            message = ""
            while "example.com/hold" not in message and time.monotonic() < deadline:
                found = bench.found(**NOTHING, application_namespaces=[going, staying])
                message = found["namespace-terminating", f"Namespace {going}"]
                time.sleep(0.3)
            assert "Some content in the namespace has finalizers remaining: example.com/hold in 1" in message
            assert ("namespace-terminating", f"Namespace {staying}") not in found
        finally:
            patch = json.dumps({"metadata": {"finalizers": []}})
            bench.cluster.kubectl("patch", "configmap", "note", "-n", going, "--type=merge", "-p", patch)


OWN_CRD = {"meta.helm.sh/release-name": "istio-base", "meta.helm.sh/release-namespace": "istio-system"}
BASE = {**NOTHING, "components": ["base"]}


def test_definitions_of_a_dead_install(bench: Bench) -> None:
    """Of nobody, or of another release; ours are silent, and so are those that only look like Istio's."""
    foreign = crd("sidecars", "networking.istio.io", "Sidecar")
    with bench.with_objects(foreign):
        message = bench.found(**BASE)["crds-foreign", "CustomResourceDefinition sidecars.networking.istio.io"]
    assert message.startswith("belongs to no Helm release")
    ours = crd("sidecars", "networking.istio.io", "Sidecar", annotations=OWN_CRD)
    with bench.with_objects(ours, crd("sidecars", "example.com", "Sidecar")):
        assert "crds-foreign" not in bench.codes(**BASE)


def test_operators(bench: Bench) -> None:
    """The Sail operator's resource for the same Istio; one for another revision is somebody else's."""
    sail = crd("istios", "sailoperator.io", "Istio", scope="Cluster")
    with bench.with_objects(sail):
        bench.cluster.kubectl("wait", "--for=condition=Established", "crd/istios.sailoperator.io")
        resource = {"apiVersion": "sailoperator.io/v1", "kind": "Istio", "metadata": {"name": "default"}}
        with bench.with_objects({**resource, "spec": {"namespace": "istio-system", "version": "v1.30.2"}}):
            message = bench.found(**BASE)["istio-by-operator", "Istio default"]
            assert "install Istio v1.30.2 in istio-system" in message
        other = {**resource, "metadata": {"name": "canary"}, "spec": {"namespace": "istio-canary"}}
        with bench.with_objects(other):
            assert "istio-by-operator" not in bench.codes(**BASE)


def test_istios_own_operator(bench: Bench) -> None:
    """Its resource is a record that istioctl leaves, until the operator's pod is there to act on it."""
    with bench.with_objects(crd("istiooperators", "install.istio.io", "IstioOperator", "v1alpha1")):
        bench.cluster.kubectl("wait", "--for=condition=Established", "crd/istiooperators.install.istio.io")
        meta = {"name": "installed-state", "namespace": "default"}
        record = {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "metadata": meta}
        with bench.with_objects(record):
            assert "istio-by-operator" not in bench.codes(**BASE)
            meta = {"name": "istio-operator", "namespace": "default", "labels": {"name": "istio-operator"}}
            spec = {"containers": [{"name": "operator", "image": "operator"}]}
            with bench.with_objects({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}):
                found = bench.found(**BASE)
    assert ("istio-by-operator", "IstioOperator default/installed-state") in found


def cloud_node(provider: str) -> dict[str, Any]:
    """A node that a cloud's controller has named."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "of-a-cloud"}, "spec": {"providerID": provider}}


def test_load_balancers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing gives an address; a cloud's nodes, a provider with a pool, or an address that is there do."""
    gateway = "gateway istio-system/edge"
    assert "nothing in this cluster assigns addresses" in bench.found(**BALANCED)["load-balancer-missing", gateway]
    assert "load-balancer-missing" not in bench.codes(**{**BALANCED, "exposure": "NodePort", "gateways": []})
    with bench.with_objects(cloud_node("kind://docker/kind/kind-control-plane")):
        assert "load-balancer-missing" in bench.codes(**BALANCED)
    with bench.with_objects(cloud_node("aws:///eu-central-1a/i-0123456789")):
        assert not {"load-balancer-missing", "load-balancer-pending"} & bench.codes(**BALANCED)
        # Services of type LoadBalancer wait on this bed for as long as it lives.
        monkeypatch.setattr(load_balancers, "PATIENCE", load_balancers.timedelta(0))
        assert "the nodes run on AWS" in bench.found(**BALANCED)["load-balancer-pending", gateway]


def test_load_balancer_pools(bench: Bench) -> None:
    """MetalLB is installed and has no pool; with one, all is well."""
    pools = crd("ipaddresspools", "metallb.io", "IPAddressPool", "v1beta1")
    with bench.with_objects(pools):
        bench.cluster.kubectl("wait", "--for=condition=Established", "crd/ipaddresspools.metallb.io")
        found = bench.found(**BALANCED)
        assert "MetalLB has no address pool" in found["load-balancer-no-pool", "gateway istio-system/edge"]
        pool = {"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool"}
        with bench.with_objects({**pool, "metadata": {"name": "all", "namespace": "default"}}):
            assert not {"load-balancer-no-pool", "load-balancer-missing"} & bench.codes(**BALANCED)


def test_room(bench: Bench) -> None:
    """No node has that much; the guide's figures are a warning."""
    large = {"istiod": {"resources": {"requests": {"memory": "999Gi"}}}}
    assert ("room-none", "istio-system/istiod") in bench.found(**ISTIOD, values=large)
    assert "room-none" not in bench.codes(**ISTIOD)
    assert "room-short" in bench.codes(**{**ISTIOD, "recommended_cpu": "9999"})
    assert "room-short" not in bench.codes(**ISTIOD)


def test_node_port_outside_of_the_range(bench: Bench) -> None:
    """Kubernetes' default ends at 32767."""
    gateway = {"name": "edge", "type": "NodePort", "node_ports": {"http2": 32768}}
    assert "node-port-out-of-range" in bench.codes(**{**NOTHING, "gateways": [gateway]})
    inside = {**gateway, "node_ports": {"http2": 32767}}
    assert "node-port-out-of-range" not in bench.codes(**{**NOTHING, "gateways": [inside]})


# -- versions, programs, charts, access --------------------------------------------------------------------------------


def program(path: Path, words: str) -> str:
    """A program that says something."""
    path.write_text(f"#!/bin/sh\necho '{words}'\n")
    path.chmod(0o755)
    return str(path)


def test_versions_and_programs(bench: Bench, tmp_path: Path) -> None:
    """What each option makes of it, and that the bed's own are right."""
    own = {"recommended_cpu": "0", "recommended_memory": "0", "ignore": ["load-balancer-missing"]}
    assert not {code for code in bench.codes(**own) if code.startswith(("helm-", "chart-", "kubernetes-", "istioctl-"))}
    expected = {
        "kubernetes-untested": {"chart_version": "1.24.0"},
        "istio-unknown": {"chart_version": "1.99.0"},
        "chart-missing": {"chart_version": "1.31.99"},
        "helm-missing": {"helm_binary": "/nonexistent/helm"},
        "helm-unsupported": {"helm_binary": program(tmp_path / "helm", "v2.17.0")},
        "istioctl-missing": {"istioctl_binary": "/nonexistent/istioctl"},
        "istioctl-skewed": {"istioctl_binary": program(tmp_path / "istioctl", "1.29.3")},
        "chart-refused": {"values": {"gateway": {"nonsense": 1}}},
    }
    for code, options in expected.items():
        assert code in bench.codes(**{**own, **options}), code
    assert "istioctl-skewed" not in bench.codes(**own, istioctl_binary=program(tmp_path / "near", "1.30.3"))
    # The gateway chart of 1.27 and Helm 4 do not go together; the base and istiod charts are not concerned.
    assert "helm-unsupported" in bench.codes(**own, chart_version="1.27.3")
    assert "helm-unsupported" not in bench.codes(
        **own, chart_version="1.27.3", preset="none", components=["base", "istiod"]
    )


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_access(bench: Bench) -> None:
    """No answer, no credential that counts, no check of the certificate, no right; an administrator has none of it."""
    cluster = bench.cluster
    direct = {"kubeconfig": None, "context": None, "host": cluster.server, "ca_cert": str(cluster.ca)}
    nobody = cluster.account("preflight-nobody")
    assert "api-unreachable" in bench.codes(**{**direct, "host": "https://127.0.0.1:1", "api_key": "x"})
    assert "api-unauthorized" in bench.codes(**direct, api_key="x")
    found = bench.found(**direct, api_key=nobody, application_namespaces=["shop"])
    assert any(about.endswith(" nodes") for _code, about in found)
    assert {code for code, _about in found} == {"right-missing"}
    assert "tls-unverified" in bench.codes(validate_certs=False)
    assert not {"tls-unverified", "right-missing", "api-unauthorized"} & bench.codes()


def test_kubernetes_that_is_too_old(psp: BedCluster) -> None:
    """Istio of today on the last Kubernetes of the guide's time."""
    options = {**options_of(psp.variables), "chart_version": "1.31.0", **NOTHING}
    message = {item["code"]: item["message"] for item in run_preflight(options)[0]["findings"]}["kubernetes-too-old"]
    assert message == "runs Kubernetes v1.24.17; Istio 1.31 is known to run on 1.32 to 1.37."
    near = run_preflight({**options, "chart_version": "1.18.0"})[0]["findings"]
    assert "kubernetes-too-old" not in {item["code"] for item in near}


def test_pods_that_the_guides_policies_refuse(psp: BedCluster) -> None:
    """The guide's own trouble, named before Istio is installed."""
    with psp.namespace() as namespace:
        psp.apply({**deployment("web", LABELLED), "metadata": {"name": "web", "namespace": namespace}})
        psp.kubectl("wait", "--for=condition=ReplicaFailure", "deployment/web", "-n", namespace, "--timeout=20s")
        options = {**options_of(psp.variables), **NOTHING, "application_namespaces": [namespace]}
        found = {item["code"]: item for item in run_preflight(options)[0]["findings"]}
        refused = found["pods-refused"]
        assert refused["object"] == f"Deployment {namespace}/web"
        assert "no providers available to validate pod request" in refused["message"]
        assert "psp_rbac" in refused["fix"]
