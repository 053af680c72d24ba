# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof waits for what it needs, asks where the gateway is, and does not take plain text for mutual TLS."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, identity
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure.endpoints import Endpoint, Place, Proxied
from ansible_collections.meshops.istio.plugins.module_utils.jobs import liveness
from ansible_collections.meshops.istio.plugins.module_utils.liveness import proof
from ansible_collections.meshops.istio.plugins.module_utils.liveness.application import PARTS
from ansible_collections.meshops.istio.plugins.module_utils.liveness.probe import Answer, Evidence
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

APP: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "app", "namespace": "liveness"},
    "spec": {"replicas": 1},
}
CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "app", "namespace": "liveness"},
    "data": {"a": "b"},
}
AVAILABLE = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
XFCC = (
    'By=spiffe://cluster.local/ns/liveness/sa/app;Hash=5f0c;Subject="";'
    "URI=spiffe://cluster.local/ns/{namespace}/sa/istio-ingressgateway"
)


def gateway(name: str = "istio-ingressgateway", namespace: str = "istio-system", ready: bool = True) -> dict[str, Any]:
    """A gateway's Deployment."""
    meta = {"name": name, "namespace": namespace, "generation": 1}
    labels = {"app": name, "istio": name.removeprefix("istio-")}
    template = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": name}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {**APP, "metadata": meta, "spec": spec, "status": AVAILABLE if ready else {}}


def gateway_service(
    kind: str = "NodePort", name: str = "istio-ingressgateway", namespace: str = "istio-system", **status: Any
) -> dict[str, Any]:
    """The gateway's Service."""
    ports = [{"name": "http2", "port": 80, "nodePort": 30010}, {"port": 443, "nodePort": 30011}]
    selector = {"app": name, "istio": name.removeprefix("istio-")}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": kind, "ports": ports, "selector": selector},
        "status": status,
    }


def istiod(revision: str = "", namespace: str = "istio-system", release: str = "istiod") -> list[dict[str, Any]]:
    """What is seen of an istiod: what it injects with, and its Service."""
    suffix = f"-{revision}" if revision else ""
    address = f"istiod{suffix}.{namespace}.svc:15012"
    owner = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}
    texts = {"istio-sidecar-injector": {}, "istio": {"mesh": f"defaultConfig:\n  discoveryAddress: {address}\n"}}
    found: list[dict[str, Any]] = []
    for name, data in texts.items():
        meta = {"name": name + suffix, "namespace": namespace}
        found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
    meta = {"name": f"istiod{suffix}", "namespace": namespace, "annotations": owner}
    return [*found, {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"type": "ClusterIP"}}]


BOTH = [Endpoint("192.0.2.10", 30010), Endpoint("192.0.2.11", 30010)]
NODE = {
    "metadata": {"name": "a"},
    "status": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "192.0.2.10"}],
    },
}


NODE_B = {
    "metadata": {"name": "b"},
    "status": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "192.0.2.11"}],
    },
}


def by_us(obj: dict[str, Any]) -> dict[str, Any]:
    """An object as we have applied it, and nobody else."""
    labels = {f"f:{label}": {} for label in obj["metadata"].get("labels") or {}}
    entry = {
        "manager": "meshops.istio.liveness",
        "operation": "Apply",
        "fieldsV1": {"f:metadata": {"f:labels": labels}} if labels else {},
    }
    return {**obj, "metadata": {**obj["metadata"], "managedFields": [entry]}}


class World:
    """Cluster, waiter and network in one; takes note of what is done to them."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects: dict[Identity, dict[str, Any]] = {identity(obj): obj for obj in objects}
        self.log: list[str] = []
        self.asked: list[tuple[Any, ...]] = []
        self.body = XFCC.format(namespace="istio-system")
        self.after_wait: dict[Identity, dict[str, Any]] = {}
        self.pods: list[dict[str, Any]] = []
        self.counts: dict[str, Iterator[int]] = {}
        self.send: Any = None
        self.created: list[str] = []
        self.host = "https://192.0.2.9:6443"

    def namespaced(self, obj: dict[str, Any]) -> bool:
        """All that is used here, but for the namespace."""
        return obj["kind"] != "Namespace"

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """One object."""
        return self.objects.get((api_version, kind, namespace or "", name))

    def list(self, api_version: str, kind: str, namespace: str = "", **options: str) -> list[dict[str, Any]]:
        """The nodes, or pods."""
        if kind == "Pod" and options and "field_selector" not in options:
            self.log.append(f"list {kind} {options}")
        if kind == "Node":
            return [NODE, NODE_B]
        if kind != "Pod":
            return [obj for key, obj in self.objects.items() if key[:3] == (api_version, kind, namespace)]
        return [
            {**pod, "apiVersion": api_version, "kind": kind, "metadata": {**pod["metadata"], "namespace": namespace}}
            for pod in self.pods
        ]

    def delete(self, obj: dict[str, Any], same: bool) -> bool:
        """Forget the very object that was read."""
        assert same
        self.log.append(f"delete {obj['kind']} {obj['metadata']['name']}")
        return bool(self.objects.pop(identity(obj), None))

    def fetch(self, path: str, headers: dict[str, str], _timeout: float) -> tuple[int, dict[str, str], bytes]:
        """Through the API server's proxy, a Service's answer or what a proxy has counted."""
        if "/stats/prometheus" in path and not self.counts:
            return 403, {}, b"{}"
        if "/stats/prometheus" in path:
            reporter = "source" if "/istio-system/" in path else "destination"
            return 200, {}, METRIC.format(reporter=reporter, value=next(self.counts[reporter])).encode()
        self.asked.append((path, headers))
        return 200, {"server": "istio-envoy"}, self.body.encode()

    def apply(
        self, obj: dict[str, Any], dry_run: bool = False, manager: str = "", strict: bool = False
    ) -> dict[str, Any]:
        """Store."""
        assert manager == "meshops.istio.liveness"
        self.log.append(f"{'dry run' if dry_run else 'apply'} {obj['kind']} {obj['metadata']['name']}")
        if not dry_run:
            self.objects[identity(obj)] = by_us(obj)
        return obj


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A cluster with a gateway that is ready, and an application that answers."""
    found = World(gateway(), gateway_service(), *istiod())

    class Waiter:
        """All becomes ready."""

        def __init__(self, *_arguments: Any) -> None:
            pass

        def wait(self, keys: list[Identity], created: list[Identity]) -> dict[Identity, dict[str, Any]]:
            found.created = [key[3] for key in created]
            found.log.append("wait for " + ", ".join(f"{key[1]} {key[2]}/{key[3]}" for key in keys))
            return {key: found.after_wait.get(key) or found.objects[key] for key in keys}

    def in_a_row(
        endpoints: list[Place], path: str, host: str | None, successes: int, timeout: float, _say: Any, send: Any
    ) -> tuple[Place, Evidence]:
        found.asked.append((endpoints, path, host, successes, timeout))
        found.send = send
        return endpoints[0], Evidence(endpoints[0].url(path), 200, "istio-envoy", [1.0] * successes, successes)

    def get(endpoint: Endpoint, path: str, host: str | None) -> Answer:
        found.asked.append((endpoint, path, host))
        return Answer(200, {}, found.body, 1.0)

    monkeypatch.setattr(proof, "_PAUSE", 0)
    monkeypatch.setattr(liveness, "Cluster", lambda _params: found)
    monkeypatch.setattr(liveness, "Waiter", Waiter)
    monkeypatch.setattr(proof.probe, "in_a_row", in_a_row)
    monkeypatch.setattr(proof.probe, "get", get)
    return found


def run(check_mode: bool = False, diff: bool = False, **given: Any) -> dict[str, Any]:
    """Run the job as Ansible would."""
    return liveness.run(task_of(check_mode, diff, **given))


def task_of(check_mode: bool = False, diff: bool = False, **given: Any) -> Task:
    """A task with validated options."""
    options = {"manifests": [copy.deepcopy(APP), copy.deepcopy(CONFIG)], **given}
    validated = ArgumentSpecValidator(copy.deepcopy(liveness.ARGUMENT_SPEC)).validate(options)
    assert not validated.error_messages
    return Task(validated.validated_parameters, check_mode, diff)


def test_first_run(world: World) -> None:
    """The application is applied, waited for, and asked through the gateway's node port."""
    result = run()
    assert world.log == ["apply ConfigMap app", "apply Deployment app", "wait for Deployment liveness/app"]
    assert world.created == ["app", "app"]
    assert world.asked == [(BOTH, "/healthz", None, 3, 300)]
    assert result == {
        "changed": True,
        "objects": ["Deployment liveness/app", "ConfigMap liveness/app"],
        "evidence": {
            "url": "http://192.0.2.10:30010/healthz",
            "status": 200,
            "server": "istio-envoy",
            "latencies_ms": [1.0, 1.0, 1.0],
            "tries": 3,
            "asked_from": "controller",
            "counted": {name: {"unknown": "it has no running pods"} for name in ("gateway", "sidecar")},
            "served_by": {"gateway": [], "sidecar": []},
            "gateways": result["evidence"]["gateways"],
        },
    }
    (proven,) = result["evidence"]["gateways"]
    about = {"name": "istio-ingressgateway", "namespace": "istio-system", "proof": "request"}
    shown = {key: value for key, value in result["evidence"].items() if key != "gateways"}
    assert proven == {**about, **shown}


def test_second_run_writes_nothing(world: World) -> None:
    """It asks all the same: a mesh may be broken although nothing has changed."""
    world.objects[identity(APP)] = {**APP, "status": AVAILABLE}
    world.objects[identity(CONFIG)] = CONFIG
    result = run(diff=True)
    assert (result["changed"], result["objects"], result["diff"]) == (False, [], [])
    assert world.log == []
    assert len(world.asked) == 1


def test_second_run_waits_for_what_is_not_ready(world: World) -> None:
    """Application and gateway, whoever restarted them."""
    world.objects[identity(APP)] = APP
    world.objects[identity(CONFIG)] = CONFIG
    world.objects[identity(gateway())] = gateway(ready=False)
    run()
    assert world.log == ["wait for Deployment liveness/app, Deployment istio-system/istio-ingressgateway"]


def test_check_mode(world: World) -> None:
    """Says what would be applied, by the server's dry run; asks nobody."""
    result = run(check_mode=True, diff=True)
    assert sorted(world.log) == ["dry run ConfigMap app", "dry run Deployment app"]
    assert result["changed"] is True
    assert "evidence" not in result
    assert len(result["diff"]) == 2
    assert world.asked == []


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ({}, "Set liveness_verify_gateway"),
        ({"preset": "lean"}, "Run role istio_helm to install it."),
    ],
)
def test_gateway_that_is_not_there(given: dict[str, Any], fix: str, world: World) -> None:
    """The message names it, and the role that installs it or the variables; nothing is written."""
    world.objects = {}
    with pytest.raises(JobError) as caught:
        run(**given)
    assert str(caught.value).startswith("Gateway istio-system/istio-ingressgateway does not exist: no Helm release")
    assert fix in str(caught.value)
    assert world.log == []


def test_gateway_without_a_service(world: World) -> None:
    """There is nobody to ask, which is said before anything is written; an address leads to it all the same."""
    del world.objects[identity(gateway_service())]
    with pytest.raises(
        JobError, match=r"^Gateway istio-system/istio-ingressgateway has no Service that selects its pods"
    ):
        run()
    assert world.log == []
    run(manifests=[], address="192.0.2.9:80")
    assert world.asked[0][0] == [Endpoint("192.0.2.9", 80)]


def test_further_deployments_are_waited_for(world: World) -> None:
    """They are not asked, but the run is not over before they are ready; each is waited for once."""
    world.objects[identity(gateway("egress", "edge"))] = gateway("egress", "edge", ready=False)
    run(deployments=["edge/egress", "istio-system/istio-ingressgateway"], manifests=[])
    assert world.log == ["wait for Deployment edge/egress"]
    with pytest.raises(JobError, match=r"^Deployment edge/missing does not exist\."):
        run(deployments=["edge/missing"], manifests=[])


@pytest.mark.parametrize("name", ["egress", "/egress", "edge/"])
def test_name_of_another_gateway(name: str, world: World) -> None:
    """With its namespace."""
    with pytest.raises(JobError, match=f"^deployments: {name} is not NAMESPACE/NAME\\. Write it like"):
        run(deployments=[name])


def test_load_balancer_that_is_pending_40324(world: World) -> None:
    """istio#40324: its address is waited for, with the pods and under the same deadline."""
    pending = gateway_service("LoadBalancer")
    world.objects[identity(pending)] = pending
    ready = gateway_service("LoadBalancer", loadBalancer={"ingress": [{"hostname": "a.elb.example.com"}]})
    world.after_wait[identity(pending)] = ready
    run(manifests=[])
    assert world.log == ["wait for Service istio-system/istio-ingressgateway"]
    assert world.asked[0][0] == [Endpoint("a.elb.example.com", 80)]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("mesh.example.com:8080", Endpoint("mesh.example.com", 8080)),
        ("192.0.2.1:80", Endpoint("192.0.2.1", 80)),
        ("[2001:db8::1]:80", Endpoint("2001:db8::1", 80)),
    ],
)
def test_address_that_is_given(address: str, expected: Endpoint, world: World) -> None:
    """A provider forwards from elsewhere: a LoadBalancer that stays pending is no hindrance (kind#2374)."""
    pending = gateway_service("LoadBalancer")
    world.objects[identity(pending)] = pending
    run(manifests=[], address=address)
    assert world.log == []
    assert world.asked[0][0] == [expected]


@pytest.mark.parametrize("address", ["mesh.example.com", ":80", "mesh.example.com:http"])
def test_address_that_is_none(address: str, world: World) -> None:
    """The message says how one looks."""
    with pytest.raises(JobError, match=f"^address: {address} is not HOST:PORT\\. Set liveness_verify_address"):
        run(address=address)


@pytest.mark.parametrize(("kind", "port"), [("ClusterIP", "http2"), ("NodePort", "http")])
def test_gateway_that_cannot_be_reached(kind: str, port: str, world: World) -> None:
    """The message names type, port and the ports that are there."""
    world.objects[identity(gateway_service())] = gateway_service(kind)
    with pytest.raises(JobError) as caught:
        run(port=port)
    assert str(caught.value).startswith(
        f"Service istio-system/istio-ingressgateway of type {kind} cannot be reached from outside on a port named "
        f"{port} (its ports: http2, 443). Expose it as NodePort or LoadBalancer"
    )


def test_mutual_tls_is_proven(world: World) -> None:
    """By what the application was handed, at the endpoint that answered."""
    result = run(echo_path="/header?key=X-Forwarded-Client-Cert", host_header="a.example.com", path="/ok", successes=2)
    assert result["evidence"]["mtls"] == {
        "by": "spiffe://cluster.local/ns/liveness/sa/app",
        "uri": "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway",
    }
    assert world.asked == [
        (BOTH, "/ok", "a.example.com", 2, 300),
        (Endpoint("192.0.2.10", 30010), "/header?key=X-Forwarded-Client-Cert", "a.example.com"),
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "The request reached the app, but not over mutual TLS: http://192.0.2.10:30010/echo (200) echoes no"),
        ("By=spiffe://cluster.local/ns/liveness/sa/app", "The request reached the app, but not over mutual TLS"),
        (XFCC.format(namespace="elsewhere"), "http://192.0.2.10:30010/echo was answered by a gateway other than"),
    ],
)
def test_mutual_tls_is_not_proven(body: str, message: str, world: World) -> None:
    """A 200 alone is no proof: plain text, or another caller."""
    world.body = body
    with pytest.raises(JobError) as caught:
        run(echo_path="/echo")
    assert str(caught.value).startswith(message)


def test_application_that_does_not_echo(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answered before: the message says what did not."""

    def refuse(*_arguments: Any) -> None:
        raise OSError("connection reset")

    monkeypatch.setattr(proof.probe, "get", refuse)
    with pytest.raises(JobError, match=r"^http://192\.0\.2\.10:30010/echo did not respond: connection reset\. Check"):
        run(echo_path="/echo")


# -- several gateways --------------------------------------------------------------------------------------------------

PUBLIC: dict[str, Any] = {"name": "public", "namespace": "edge"}
#: The application's, for the pods of every gateway.
ROUTE: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "app", "namespace": "liveness"},
    "spec": {"servers": []},
}


def add(world: World, name: str, namespace: str, kind: str = "NodePort", workload: str = "Deployment") -> None:
    """Another gateway."""
    for obj in ({**gateway(name, namespace), "kind": workload}, gateway_service(kind, name, namespace)):
        world.objects[identity(obj)] = obj


def proofs(result: dict[str, Any]) -> dict[str, str]:
    """How each gateway was proven."""
    return {f"{each['namespace']}/{each['name']}": each["proof"] for each in result["evidence"]["gateways"]}


def test_what_is_installed_is_asked(world: World) -> None:
    """The gateway that the run lists, and not the one of an earlier run, whose name is the default."""
    add(world, "public", "edge")
    world.body = XFCC.format(namespace="edge").replace("istio-ingressgateway", "public")
    result = run(manifests=[], gateways=[PUBLIC], preset="lean", echo_path="/echo")
    assert proofs(result) == {"edge/public": "request"}
    assert result["evidence"]["mtls"]["uri"].endswith("/ns/edge/sa/public")


def test_each_gateway_is_asked(world: World) -> None:
    """One that does not answer fails the run, whatever the first has said."""
    add(world, "public", "edge")
    both = [{"name": "istio-ingressgateway"}, PUBLIC]
    result = run(manifests=[ROUTE], gateways=both)
    assert proofs(result) == {"istio-system/istio-ingressgateway": "request", "edge/public": "request"}
    assert len(world.asked) == 2
    del world.objects[identity(gateway_service(name="public", namespace="edge"))]
    assert run(manifests=[ROUTE], gateways=both)["evidence"]["gateways"][1]["why"] == "no Service selects its pods"


def test_second_gateway_that_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names it."""
    add(world, "public", "edge")
    answers = iter([True, False])

    def in_a_row(places: list[Place], path: str, *_more: Any) -> tuple[Place, Evidence]:
        if next(answers):
            return places[0], Evidence(places[0].url(path), 200, "istio-envoy", [1.0], 1)
        raise JobError("Timed out after 300 s waiting for 3 consecutive 200 responses: 404.")

    monkeypatch.setattr(proof.probe, "in_a_row", in_a_row)
    with pytest.raises(
        JobError,
        match=r"^Timed out after 300 s waiting for 3 consecutive 200 responses: .* Gateway: edge/public\.",
    ):
        run(manifests=[ROUTE], gateways=[{"name": "istio-ingressgateway"}, PUBLIC])


def test_gateways_are_waited_for(world: World) -> None:
    """All of them, by what runs their pods; and for the addresses of those that are asked."""
    add(world, "public", "edge", "LoadBalancer", "DaemonSet")
    add(world, "istio-egressgateway", "edge", "ClusterIP")
    egress = gateway("istio-egressgateway", "edge", ready=False)
    world.objects[identity(egress)] = egress
    pending = gateway_service("LoadBalancer", "public", "edge")
    ready = {**pending, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.20"}]}}}
    world.after_wait[identity(pending)] = ready
    daemon_set = {**gateway("public", "edge"), "kind": "DaemonSet"}
    world.objects[identity(daemon_set)] = daemon_set
    result = run(manifests=[], gateways=[PUBLIC, {"name": "istio-egressgateway", "namespace": "edge"}])
    assert world.log == [
        "wait for DaemonSet edge/public, Deployment edge/istio-egressgateway, Service edge/public",
    ]
    assert proofs(result) == {"edge/public": "request", "edge/istio-egressgateway": "none"}
    assert world.asked[0][0] == [Endpoint("192.0.2.20", 80)]


def test_egress_gateway_says_that_it_is_ready(world: World) -> None:
    """At its own port, by its own path; it routes nothing to the application."""
    add(world, "istio-egressgateway", "edge")
    service = gateway_service(name="istio-egressgateway", namespace="edge")
    service["spec"]["ports"].append({"name": "status-port", "port": 15021, "nodePort": 30022})
    world.objects[identity(service)] = service
    egress = {"name": "istio-egressgateway", "namespace": "edge"}
    result = run(manifests=[], gateways=[{"name": "istio-ingressgateway"}, egress])
    shown = result["evidence"]["gateways"][1]
    assert (shown["proof"], shown["url"]) == ("readiness", "http://192.0.2.10:30022/healthz/ready")
    assert "leaves the mesh" in shown["why"]


def test_another_gateway_answers_by_its_address(world: World) -> None:
    """A planted one of the same namespace: the app's word of who has called it tells them apart."""
    add(world, "public", "istio-system")
    with pytest.raises(JobError, match="by a gateway other than istio-system/public: the caller of the app was"):
        run(manifests=[], gateways=[{"name": "public"}], address="192.0.2.9:80", echo_path="/echo")


def owned(name: str) -> dict[str, Any]:
    """A pod of a gateway's Deployment."""
    owner = {"kind": "ReplicaSet", "name": f"{name}-5f", "controller": True}
    meta = {"name": f"{name}-5f-x", "labels": {"pod-template-hash": "5f"}, "ownerReferences": [owner]}
    return {**pod("a"), "metadata": meta}


def test_another_gateway_behind_the_same_service(world: World) -> None:
    """Its pods have the same labels: an answer would prove neither of them."""
    world.pods = [owned("istio-ingressgateway")]
    run(manifests=[])
    world.pods.append(owned("old"))
    with pytest.raises(JobError, match=r"also selects pods of Deployment istio-system/old, so responses may"):
        run(manifests=[])


def test_gateway_that_somebody_names(world: World) -> None:
    """It leads to the app, what is installed is asked too, and that they differ is said."""
    add(world, "public", "edge")
    options = {"manifests": [ROUTE], "gateways": [PUBLIC], "gateway": "istio-ingressgateway"}
    validated = ArgumentSpecValidator(copy.deepcopy(liveness.ARGUMENT_SPEC)).validate(options).validated_parameters
    task = Task(validated)
    assert list(proofs(liveness.run(task))) == ["istio-system/istio-ingressgateway", "edge/public"]
    assert "which this run does not install (it installs edge/public)" in task.warnings[0]


def test_check_mode_takes_what_is_planned(world: World) -> None:
    """What a run would stop at is no change to announce; a gateway that is not there yet is no hindrance."""
    world.objects = {}
    assert run(check_mode=True, gateways=[PUBLIC], exposure="NodePort")["changed"]
    with pytest.raises(JobError, match="cannot be reached from outside"):
        run(check_mode=True, gateways=[{**PUBLIC, "type": "ClusterIP"}])
    planned = {"namespace": "edge", "name": "public", "service": "other", "type": "NodePort", "ports": []}
    with pytest.raises(JobError, match=r"^Service edge/other of type NodePort .*its ports: none"):
        run(check_mode=True, gateways=[PUBLIC], planned_gateways=[planned])


# -- who serves the proxies --------------------------------------------------------------------------------------------


def proxied(name: str, address: str = "", revision: str = "default", **labels: str) -> dict[str, Any]:
    """A pod with a proxy, as the injector of some istiod has made it."""
    config = json.dumps({"discoveryAddress": address} if address else {})
    proxy = {
        "name": "istio-proxy",
        "env": [{"name": "PROXY_CONFIG", "value": config}, {"name": "POD", "valueFrom": {}}],
    }
    meta = {"name": name, "annotations": {"istio.io/rev": revision}, "labels": labels}
    return {"metadata": meta, "spec": {"nodeName": "a", "containers": [{"name": "app"}], "initContainers": [proxy]}}


CANARY = "istiod-canary.istio-system.svc:15012"


@pytest.fixture
def serving(world: World) -> World:
    """Pods of gateway and application, chosen by their labels."""
    world.objects[identity(APP)] = {**with_selector()[0], "status": AVAILABLE}
    world.objects[identity(CONFIG)] = CONFIG
    every = world.list

    def chosen(api_version: str, kind: str, namespace: str = "", **options: str) -> list[dict[str, Any]]:
        wanted = dict(each.split("=") for each in options.get("label_selector", "").split(",") if "=" in each)
        found = every(api_version, kind, namespace, **options)
        return [obj for obj in found if kind != "Pod" or wanted.items() <= obj["metadata"]["labels"].items()]

    world.list = chosen  # type: ignore[method-assign]
    return world


def pods(gateway_at: str = "", sidecar_at: str = "", revision: str = "default") -> list[dict[str, Any]]:
    """Of both."""
    labels = {"app": "istio-ingressgateway", "istio": "ingressgateway"}
    return [proxied("in", gateway_at, revision, **labels), proxied("app", sidecar_at, revision, app="app")]


def test_evidence_says_which_istiod_served_both(serving: World) -> None:
    """With its owner; the default address is one that the injector leaves out."""
    serving.pods = pods()
    evidence = run(manifests=with_selector())["evidence"]
    own = {
        "address": "istiod.istio-system.svc:15012",
        "service": "istiod",
        "namespace": "istio-system",
        "revision": "default",
        "release": "istio-system/istiod",
    }
    assert evidence["served_by"] == {"gateway": [own], "sidecar": [own]}
    assert evidence["gateways"][0]["served_by"] == evidence["served_by"]


@pytest.mark.parametrize(
    ("found", "whose", "other"),
    [
        (pods(sidecar_at=CANARY), r"The proxy of gateway istio-system/istio-ingressgateway", "istiod.istio-system.svc"),
        (pods(gateway_at=CANARY), r"The application's sidecar in namespace default", "istiod.istio-system.svc"),
        (
            pods(CANARY, "istiod.mesh.svc:15012"),
            r"The application's sidecar in namespace default",
            "istiod.mesh.svc:15012",
        ),
    ],
)
def test_second_istiod_serves_a_proxy(found: list[dict[str, Any]], whose: str, other: str, serving: World) -> None:
    """The old one, of another release, or one of another namespace: an answer would prove that one."""
    for obj in (*istiod(release="my-istiod"), *istiod("canary", release="istiod-canary")):
        serving.objects[identity(obj)] = obj
    serving.pods = found
    with pytest.raises(JobError) as caught:
        run(manifests=with_selector(), control_plane_revision="canary")
    message = str(caught.value)
    assert message.startswith(whose)
    assert f"is served by the istiod of revision default at {other}" in message
    assert (
        f"but this run verifies the istiod of revision canary at {CANARY} (Helm release istio-system/istiod-canary)"
        in message
    )
    assert caught.value.fix
    assert caught.value.fix in message
    assert ("Helm release istio-system/my-istiod" in message) == (other == "istiod.istio-system.svc")


def test_all_are_served_by_the_revision(serving: World) -> None:
    """As it should be; the other istiod is there, and serves nobody of these."""
    for obj in (*istiod(release="my-istiod"), *istiod("canary", release="istiod-canary")):
        serving.objects[identity(obj)] = obj
    serving.pods = pods(CANARY, "istiod-canary.istio-system.svc.cluster.local:15012", "canary")
    evidence = run(manifests=with_selector(), control_plane_revision="canary")["evidence"]
    found = [each["release"] for side in evidence["served_by"].values() for each in side]
    assert found == ["istio-system/istiod-canary"] * 2


def test_istiod_that_cannot_be_seen(serving: World) -> None:
    """Then nobody can tell whose proof it is, which is said."""
    for obj in istiod():
        del serving.objects[identity(obj)]
    serving.pods = pods()
    options = {"manifests": with_selector()}
    task = Task(ArgumentSpecValidator(copy.deepcopy(liveness.ARGUMENT_SPEC)).validate(options).validated_parameters)
    evidence = liveness.run(task)["evidence"]
    assert "istiod that should serve the proxies cannot be determined from namespace istio-system" in task.warnings[0]
    assert evidence["served_by"]["sidecar"][0]["revision"] == "default"


# -- nodes that keep requests to themselves ----------------------------------------------------------------------------


def local_service() -> dict[str, Any]:
    """The gateway's Service with externalTrafficPolicy Local."""
    service = gateway_service()
    service["spec"].update(externalTrafficPolicy="Local", selector={"app": "in", "istio": "ingressgateway"})
    return service


def pod(node: str, ready: str = "True") -> dict[str, Any]:
    """A pod of the gateway."""
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": f"in-{node}"}, "spec": {"nodeName": node}, "status": status}


def test_only_nodes_with_a_ready_gateway_pod_are_asked(world: World) -> None:
    """externalTrafficPolicy Local: a node without a pod of the gateway drops what comes to it."""
    world.objects[identity(gateway_service())] = local_service()
    world.pods = [pod("a", "False"), pod("b")]
    run(manifests=[])
    assert world.asked[0][0] == [Endpoint("192.0.2.11", 30010)]
    assert world.log[0] == "list Pod {'label_selector': 'app=in,istio=ingressgateway'}"


def test_no_node_answers(world: World) -> None:
    """The message says why none is asked."""
    world.objects[identity(gateway_service())] = local_service()
    world.pods = [pod("a", "False")]
    with pytest.raises(JobError, match=r"has externalTrafficPolicy Local, but no node runs a ready gateway pod"):
        run(manifests=[])


def test_pods_are_not_read_for_other_services(world: World) -> None:
    """Every node passes requests on."""
    run(manifests=[])
    assert world.log == []


# -- what the proxies have counted -------------------------------------------------------------------------------------

METRIC = 'istio_requests_total{{reporter="{reporter}",response_code="200"}} {value}\n'


@pytest.fixture
def counting(world: World) -> World:
    """Pods of gateway and application, whose proxies count on with each look."""
    selector = {"matchLabels": {"app": "app"}}
    world.objects[identity(APP)] = {**APP, "spec": {**APP["spec"], "selector": selector}, "status": AVAILABLE}
    world.objects[identity(CONFIG)] = CONFIG
    service = gateway_service()
    service["spec"]["selector"] = {"istio": "ingressgateway"}
    world.objects[identity(service)] = service
    world.pods = [pod("a")]
    world.counts = {"source": iter([7, 10]), "destination": iter([0, 3])}
    return world


def with_selector() -> list[dict[str, Any]]:
    """The application, whose pods can be found."""
    return [{**APP, "spec": {**APP["spec"], "selector": {"matchLabels": {"app": "app"}}}}, CONFIG]


def test_proxies_have_counted_the_answers(counting: World) -> None:
    """Before and after; what was there before is others'."""
    counted = run(manifests=with_selector())["evidence"]["counted"]
    assert counted == {name: {"metric": "istio_requests_total", "answers": 3} for name in ("gateway", "sidecar")}


def test_sidecar_that_was_passed_by(counting: World) -> None:
    """Answers that it has not seen prove nothing."""
    counting.counts = {"source": itertools.count(7, 3), "destination": itertools.repeat(5)}
    with pytest.raises(JobError, match=r"answered 3 times, but the sidecar counted 0 \(istio_requests_total\)"):
        run(manifests=with_selector())


def test_answers_of_a_pod_that_ends(counting: World) -> None:
    """A moment after a rollout; asked once more, they come from the new one."""
    counting.counts = {"source": itertools.count(7, 3), "destination": iter([5, 6, 6, 9])}
    assert run(manifests=with_selector())["evidence"]["counted"]["sidecar"]["answers"] == 3


# -- over TLS ----------------------------------------------------------------------------------------------------------


def test_over_tls(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the port and name that are given."""
    monkeypatch.setattr(proof.probe, "over_tls", lambda name, ca_file: (name, ca_file))
    service = gateway_service()
    service["spec"]["ports"][1]["name"] = "https"
    world.objects[identity(service)] = service
    run(scheme="https", port="https", host_header="mesh.example.com", ca_file="/ca.pem", manifests=[])
    assert world.asked[0][0] == [Endpoint(place.host, 30011, "https") for place in BOTH]
    assert world.send == ("mesh.example.com", "/ca.pem")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scheme": "https"}, "Set liveness_verify_host to that host name"),
        ({"scheme": "https", "host_header": "a", "verify_from": "cluster"}, "sends no server name"),
        ({"address": "192.0.2.1:80", "verify_from": "cluster"}, "is not used for requests from inside"),
    ],
)
def test_options_that_contradict_each_other(given: dict[str, Any], message: str, world: World) -> None:
    """Said before anything is written."""
    with pytest.raises(JobError, match=message):
        run(**given)
    assert world.log == []


# -- whose fault it is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words"),
    [(200, "the mesh works, and the problem is in front of it"), (503, "returns 503 too. Check the mesh")],
)
def test_no_answer_from_outside(status: int, words: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same question through the API server tells the mesh from what is in front of it."""

    def nothing(*_arguments: Any) -> None:
        raise JobError("Timed out after 300 s waiting for 3 consecutive 200 responses: timed out.")

    def fetch(path: str, *_more: Any) -> tuple[int, dict[str, str], bytes]:
        assert path == f"{PROXY}/healthz"
        return status, {}, b""

    monkeypatch.setattr(proof.probe, "in_a_row", nothing)
    monkeypatch.setattr(world, "fetch", fetch)
    with pytest.raises(
        JobError,
        match=rf"^Timed out after 300 s waiting for .* From inside the cluster, .*{words}",
    ):
        run(manifests=[])


# -- absent ------------------------------------------------------------------------------------------------------------


def test_absent(world: World) -> None:
    """What was applied is taken away, last things first; who lives in the namespace beside it is not asked."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "liveness"}}
    for obj in (APP, CONFIG):
        world.objects[identity(obj)] = by_us(obj)
    world.objects[identity(space)] = space
    shown = run(check_mode=True, diff=True, state="absent", namespace="liveness")
    assert (shown["changed"], len(shown["diff"]), world.log) == (True, 2, [])
    result = run(state="absent", namespace="liveness")
    assert result == {"changed": True, "objects": ["ConfigMap liveness/app", "Deployment liveness/app"], "kept": []}
    assert world.log == ["delete ConfigMap app", "delete Deployment app"]
    assert run(state="absent", namespace="liveness") == {"changed": False, "objects": [], "kept": []}
    assert world.asked == []


def test_absent_leaves_what_others_have_made(world: World) -> None:
    """And says so, in the result and by a warning."""
    theirs = {**CONFIG, "metadata": {**CONFIG["metadata"], "managedFields": [{"manager": "kubectl-create"}]}}
    world.objects.update({identity(APP): by_us(APP), identity(theirs): theirs})
    for objects in (["Deployment liveness/app"], []):
        task = task_of(state="absent", namespace="liveness")
        result = liveness.run(task)
        why = "this app did not create it (other field managers: kubectl-create)"
        assert (result["objects"], result["kept"]) == (objects, [f"ConfigMap liveness/app: {why}"])
        assert task.warnings == [f"ConfigMap liveness/app is kept: {why}."]


def test_gateways_that_the_app_was_bound_to(world: World) -> None:
    """One that is not installed any more: its Gateway goes; that of the app stays."""
    gone = {**ROUTE, "metadata": {"name": "app-public", "namespace": "liveness"}}
    annotated = {**APP, "metadata": {**APP["metadata"], "annotations": {PARTS: "Gateway/app-public Gateway/app-inner"}}}
    for obj in (annotated, gone, ROUTE):
        world.objects[identity(obj)] = by_us(obj)
    bare = {**APP, "metadata": {**APP["metadata"], "annotations": {PARTS: "Gateway/app-inner"}}}
    assert "Gateway liveness/app-public" in run(manifests=[bare, ROUTE])["objects"]
    assert identity(gone) not in world.objects
    assert identity(ROUTE) in world.objects


def test_what_the_app_had_and_has_no_more(world: World) -> None:
    """Its Deployment remembers; the optional object goes before the Deployment forgets it."""
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {**APP["metadata"]}}
    annotated = {**APP, "metadata": {**APP["metadata"], "annotations": {PARTS: "PodDisruptionBudget Unknown"}}}
    for obj in (annotated, budget):
        world.objects[identity(obj)] = by_us(obj)
    bare = {**APP, "metadata": {**APP["metadata"], "annotations": {PARTS: ""}}}
    assert run(manifests=[bare])["objects"] == ["Deployment liveness/app", "PodDisruptionBudget liveness/app"]
    assert world.log[:3] == ["dry run Deployment app", "delete PodDisruptionBudget app", "apply Deployment app"]


# -- from inside of the cluster ----------------------------------------------------------------------------------------

PROXY = "/api/v1/namespaces/istio-system/services/http:istio-ingressgateway:http2/proxy"


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_private_gateway_is_asked_through_the_api_server(kind: str, world: World) -> None:
    """Whatever its type; the evidence says so, and mutual TLS is proven in the same way."""
    ingress = {"ingress": [{"ip": "10.0.0.9"}]}
    world.objects[identity(gateway_service())] = gateway_service(kind, loadBalancer=ingress)
    result = run(manifests=[], verify_from="cluster", echo_path="/header?key=X", host_header="a.example.com")
    assert world.asked == [
        ([Proxied(world.host, "istio-system", "istio-ingressgateway", "http2")], "/healthz", "a.example.com", 3, 300),
        (f"{PROXY}/header?key=X", {"Accept": "*/*", "Host": "a.example.com"}),
    ]
    assert result["evidence"]["url"] == f"{world.host}{PROXY}/healthz"
    assert result["evidence"]["asked_from"] == "cluster"
    assert result["evidence"]["mtls"]["uri"].endswith("/sa/istio-ingressgateway")


def test_private_gateway_without_the_port(world: World) -> None:
    """Its ports are named."""
    with pytest.raises(
        JobError, match=r"has no port named http \(its ports: http2, 443\)\. Set liveness_verify_gateway_port"
    ):
        run(manifests=[], verify_from="cluster", port="http")


def test_address_is_not_asked_from_inside(world: World) -> None:
    """Who gives both means one of them."""
    with pytest.raises(JobError, match=r"^address: 192\.0\.2\.1:80 is not used for requests from inside the cluster\."):
        run(manifests=[], verify_from="cluster", address="192.0.2.1:80")
