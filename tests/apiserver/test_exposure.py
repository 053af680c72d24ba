# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How gateways meet the world, on a real API server with three nodes: the guide's two ways, and what comes of each."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from apiserver.conftest import TODAY, bed
from harness.beds import BedCluster
from harness.guard import sitecustomize as guard
from harness.in_process import options_of, run_job, run_preflight
from harness.playbooks import ROOT

from ansible_collections.meshops.istio.plugins.module_utils.cluster import waiting
from ansible_collections.meshops.istio.plugins.module_utils.jobs import liveness, releases
from ansible_collections.meshops.istio.plugins.module_utils.liveness import probe

NAME = "istio-ingressgateway"
#: Gateways alone: no istiod is needed where no pod really runs.
ALONE = {"preset": "none", "wait_for": "nothing", "wait_timeout": 60}
OTHER_INGRESS = {"http2": 30810, "https": 30811}
SECOND = {"http2": 30820, "https": 30821}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield an API server with three nodes, for this file alone."""
    with bed("exposure", TODAY, tmp_path_factory.mktemp("home"), "--nodes=3") as found:
        yield found


@pytest.fixture
def mesh(cluster: BedCluster) -> Iterator[str]:
    """Yield a namespace for gateways."""
    with cluster.namespace() as name:
        yield name
        # Their node ports are the cluster's: the next test may want them.
        cluster.kubectl("delete", "services", "--all", "--namespace", name)


def install(cluster: BedCluster, mesh: str, *gateways: dict[str, Any], **given: Any) -> dict[str, Any]:
    """Install gateways. :returns: the result, failed or not"""
    named = [{"name": NAME, **gateway} for gateway in gateways]
    options = {**options_of(cluster.variables), **ALONE, "namespace": mesh, "gateways": named, **given}
    return run_job(releases, options)[0]


def node_ports(cluster: BedCluster, namespace: str, name: str = NAME) -> dict[str, int]:
    """Node ports of a Service by their names."""
    ports = cluster.get("service", name, "--namespace", namespace)["spec"]["ports"]
    return {port["name"]: port["nodePort"] for port in ports if "nodePort" in port}


def service(namespace: str, name: str, node_ports: dict[str, int], **spec: Any) -> dict[str, Any]:
    """A Service of type NodePort, unless it says otherwise."""
    ports = [
        {"name": port, "port": 80 + place, "nodePort": number}
        for place, (port, number) in enumerate(node_ports.items())
    ]
    meta = {"name": name, "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"type": "NodePort", "ports": ports, **spec},
    }


# -- node ports: the guide's two ways ----------------------------------------------------------------------------------


@pytest.fixture
def ingress(cluster: BedCluster) -> Iterator[str]:
    """Yield the namespace of an ingress controller that was there first."""
    with cluster.namespace() as name:
        cluster.apply(service(name, "nginx", OTHER_INGRESS))
        yield name
        cluster.kubectl("delete", "service", "nginx", "--namespace", name, "--ignore-not-found")


def test_ports_of_another_ingress_are_taken_over_10795(cluster: BedCluster, ingress: str, mesh: str) -> None:
    """istio#10795: while the other holds them, nothing is written, and the message says so; then they go over."""
    gateway = {"type": "NodePort", "node_ports": OTHER_INGRESS}
    with cluster.asked() as asked:
        result = install(cluster, mesh, gateway)
    assert result["failed"]
    assert "Node ports are already in use; nothing was changed" in result["msg"]
    for port, number in OTHER_INGRESS.items():
        held = f"port {port}: node port {number} is in use by Service {ingress}/nginx (port {port})."
        assert held in result["msg"]
    assert asked.writes == []
    # What the guide's page says: give that Service other ports first.
    patch = [{"op": "replace", "path": f"/spec/ports/{place}/nodePort", "value": 30840 + place} for place in (0, 1)]
    cluster.kubectl("patch", "service", "nginx", "-n", ingress, "--type=json", "-p", json.dumps(patch))
    assert install(cluster, mesh, gateway)["changed"]
    assert {**node_ports(cluster, mesh), **OTHER_INGRESS} == node_ports(cluster, mesh)
    assert node_ports(cluster, ingress, "nginx") == {"http2": 30840, "https": 30841}
    with cluster.asked() as asked:
        assert not install(cluster, mesh, gateway)["changed"]
    assert asked.writes == []


def test_second_redirect_and_other_ports_later_45113(cluster: BedCluster, ingress: str, mesh: str) -> None:
    """istio#45113: ports beside the other's, which stays untouched; and the ports of an installed gateway change."""
    assert install(cluster, mesh, {"type": "NodePort", "node_ports": SECOND})["changed"]
    assert {**node_ports(cluster, mesh), **SECOND} == node_ports(cluster, mesh)
    assert node_ports(cluster, ingress, "nginx") == OTHER_INGRESS
    # One of them stays, one is new; and one that the other ingress holds is refused as before.
    refused = install(cluster, mesh, {"type": "NodePort", "node_ports": {**SECOND, "https": 30811}})
    assert f"is in use by Service {ingress}/nginx" in refused["msg"]
    assert install(cluster, mesh, {"type": "NodePort", "node_ports": {**SECOND, "https": 30822}})["changed"]
    assert node_ports(cluster, mesh)["https"] == 30822
    cluster.apply(service(ingress, "heir", {"https": 30821}))


def test_tcp_ports_beside_the_usual_ones(cluster: BedCluster, mesh: str) -> None:
    """They are pinned like the others, on both gateways."""
    ports = [{"name": "http2", "port": 80}, {"name": "tcp-db", "port": 5432, "target_port": 15432}]
    pins = {"http2": 30830, "tcp-db": 30831}
    egress = {"name": "istio-egressgateway", "type": "NodePort", "node_ports": {"http2": 30832}}
    assert install(cluster, mesh, {"type": "NodePort", "ports": ports, "node_ports": pins}, egress)["changed"]
    assert node_ports(cluster, mesh) == pins
    assert node_ports(cluster, mesh, "istio-egressgateway")["http2"] == 30832


# -- load balancers ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def nodes_of(cluster: BedCluster, provider: str) -> Iterator[None]:
    """A node of a cloud among the others."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a-cloud"}, "spec": {"providerID": provider}}
    cluster.apply(node)
    try:
        yield
    finally:
        cluster.kubectl("delete", "node", "a-cloud")


def live(cluster: BedCluster, mesh: str) -> dict[str, Any]:
    """The gateway's Service."""
    return cluster.get("service", NAME, "--namespace", mesh)


def test_all_that_a_gateway_may_say(cluster: BedCluster, mesh: str) -> None:
    """Reaches the objects, by the real chart, and a second run changes nothing."""
    gateway = {
        "replicas": 2,
        "labels": {"team": "edge"},
        "annotations": {"example.com/note": "ours"},
        "external_traffic_policy": "Local",
        "load_balancer_class": "example.com/ours",
        "load_balancer_ip": "192.0.2.9",
        "load_balancer_source_ranges": ["192.0.2.0/24"],
    }
    assert install(cluster, mesh, gateway)["changed"]
    found = live(cluster, mesh)
    assert found["spec"]["type"] == "LoadBalancer"
    assert found["spec"]["externalTrafficPolicy"] == "Local"
    assert found["spec"]["loadBalancerClass"] == "example.com/ours"
    assert found["spec"]["loadBalancerIP"] == "192.0.2.9"
    assert found["spec"]["loadBalancerSourceRanges"] == ["192.0.2.0/24"]
    assert found["metadata"]["annotations"]["example.com/note"] == "ours"
    deployment = cluster.get("deployment", NAME, "--namespace", mesh)
    assert deployment["spec"]["replicas"] == 2
    for labels in (found["metadata"]["labels"], deployment["spec"]["template"]["metadata"]["labels"]):
        assert labels["team"] == "edge"
    assert cluster.get("horizontalpodautoscalers", "--namespace", mesh)["items"] == []
    with cluster.asked() as asked:
        assert not install(cluster, mesh, gateway)["changed"]
    assert asked.writes == []


def test_provider_is_found_by_the_nodes(cluster: BedCluster, mesh: str) -> None:
    """An internal load balancer with an address on Azure; on a cluster of nobody's it is refused, and never public."""
    gateway = {"internal": True, "load_balancer_ip": "10.0.0.9"}
    with cluster.asked() as asked:
        assert "internal: no setting for an internal load balancer is known" in install(cluster, mesh, gateway)["msg"]
    assert asked.writes == []
    with nodes_of(cluster, "azure:///subscriptions/x"):
        assert install(cluster, mesh, gateway)["changed"]
        annotations = live(cluster, mesh)["metadata"]["annotations"]
        assert annotations["service.beta.kubernetes.io/azure-load-balancer-internal"] == "true"
        assert annotations["service.beta.kubernetes.io/azure-load-balancer-ipv4"] == "10.0.0.9"
        assert not install(cluster, mesh, gateway)["changed"]


def test_load_balancer_that_is_there_stays_what_it_is_on_aws(cluster: BedCluster, mesh: str) -> None:
    """One that somebody made before is not changed into another; a new one is a Network Load Balancer."""
    kind = "service.beta.kubernetes.io/aws-load-balancer-type"
    assert install(cluster, mesh, {}, provider="none")["changed"]
    with nodes_of(cluster, "aws:///eu-central-1a/i-0123456789"):
        assert not install(cluster, mesh, {})["changed"]
        assert kind not in (live(cluster, mesh)["metadata"].get("annotations") or {})
        cluster.kubectl("delete", "service", NAME, "--namespace", mesh)
        assert install(cluster, mesh, {})["changed"]
        assert live(cluster, mesh)["metadata"]["annotations"][kind] == "nlb"
        assert not install(cluster, mesh, {})["changed"]


def test_preflight_says_what_a_provider_cannot_do(cluster: BedCluster, mesh: str) -> None:
    """Before the first role writes."""
    options = {**options_of(cluster.variables), "preset": "none", "namespace": mesh, "recommended_cpu": "0"}
    gateway = {"name": NAME, "internal": True}

    def codes(**given: Any) -> set[str]:
        result, _task = run_preflight({**options, "gateways": [gateway], **given})
        return {finding["code"] for finding in result["findings"]}

    assert "load-balancer-unable" in codes()
    assert "load-balancer-unable" not in codes(provider="azure")
    with nodes_of(cluster, "azure:///subscriptions/x"):
        assert "load-balancer-unable" not in codes()


# -- an address that does not come -------------------------------------------------------------------------------------


def ask(cluster: BedCluster, mesh: str, **given: Any) -> dict[str, Any]:
    """Ask for the app, of which nothing is applied here. :returns: the result, failed or not"""
    own = {"manifests": [], "gateway": NAME, "gateway_namespace": mesh, "wait_timeout": 3}
    access = {key: options_of(cluster.variables)[key] for key in ("kubeconfig", "context")}
    return run_job(liveness, {**access, **own, **given})[0]


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Causes are looked for at once, and requests into nowhere are given up soon."""
    monkeypatch.setattr(waiting, "PROGRESS_EVERY", 0.2)
    monkeypatch.setattr(waiting, "GRACE", 0.6)
    monkeypatch.setattr(probe, "REQUEST_TIMEOUT", 0.3)


def warning(mesh: str, uid: str, reason: str, message: str, component: str) -> dict[str, Any]:
    """An event about the gateway's Service."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    about = {"apiVersion": "v1", "kind": "Service", "name": NAME, "namespace": mesh, "uid": uid}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{NAME}.{reason.lower()}", "namespace": mesh},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": about,
        "source": {"component": component},
        "lastTimestamp": now,
    }


@pytest.mark.usefixtures("_hasty")
def test_pending_address_is_explained_40324_2374_1494(cluster: BedCluster, mesh: str) -> None:
    """istio#40324, kind#2374, uds-core#1494: by what is there, by what a cloud says, and by MetalLB's last word."""
    install(cluster, mesh, {}, provider="none")
    cluster.kubectl("rollout", "status", f"deployment/{NAME}", "-n", mesh, "--timeout=60s")
    message = ask(cluster, mesh)["msg"]
    assert message.startswith("Not ready after 3 s: Service ")
    assert (
        "no external address yet; nothing in this cluster assigns addresses: no cloud nodes, no load balancer provider"
        in message
    )
    # A diagnosis may follow: there is no istiod here.
    assert " Install a provider such as MetalLB, or set istio_helm_exposure: NodePort." in message
    with nodes_of(cluster, "gce://project/zone/name"):
        assert "the nodes run on Google Cloud, whose controller reports no problem" in ask(cluster, mesh)["msg"]
    uid = live(cluster, mesh)["metadata"]["uid"]
    words = "Error syncing load balancer: failed to ensure load balancer: quota"
    cluster.apply(warning(mesh, uid, "SyncLoadBalancerFailed", words, "service-controller"))
    message = ask(cluster, mesh)["msg"]
    assert message.startswith("Not ready after 3 s")
    assert f"service-controller reports SyncLoadBalancerFailed: {words}" in message
    time.sleep(1)  # events have seconds
    words = f'Failed to allocate IP for "{mesh}/{NAME}": no available IPs'
    cluster.apply(warning(mesh, uid, "AllocationFailed", words, "metallb-controller"))
    started = time.monotonic()
    message = ask(cluster, mesh, wait_timeout=60)["msg"]
    assert time.monotonic() - started < 20
    assert message.startswith(
        f"Service {mesh}/{NAME} gets no external address: metallb-controller reports AllocationFailed: {words}"
    )


@pytest.mark.usefixtures("_hasty")
def test_address_that_comes_while_it_is_waited_for(cluster: BedCluster, mesh: str) -> None:
    """A host name, as on AWS: it is asked as soon as it is there."""
    install(cluster, mesh, {}, provider="none")
    status = {"status": {"loadBalancer": {"ingress": [{"hostname": "a.elb.invalid"}]}}}
    patch = ["patch", "service", NAME, "-n", mesh, "--subresource=status", "--type=merge", "-p", json.dumps(status)]
    timer = threading.Timer(1.0, cluster.kubectl, patch)
    timer.start()
    message = ask(cluster, mesh, wait_timeout=10)["msg"]
    timer.join()
    assert "http://a.elb.invalid:80/healthz" in message


# -- nodes that answer -------------------------------------------------------------------------------------------------


def addresses(cluster: BedCluster, names: set[str]) -> set[str]:
    """Internal addresses of some nodes."""
    return {
        address["address"]
        for node in cluster.get("nodes")["items"]
        for address in node["status"]["addresses"]
        if node["metadata"]["name"] in names and address["type"] == "InternalIP"
    }


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize("policy", ["Local", "Cluster"])
def test_external_traffic_policy(policy: str, cluster: BedCluster, mesh: str) -> None:
    """Local: of three nodes, only the one with the gateway's pod is asked; Cluster: all of them."""
    install(cluster, mesh, {"type": "NodePort", "replicas": 1, "external_traffic_policy": policy})
    cluster.kubectl("rollout", "status", f"deployment/{NAME}", "-n", mesh, "--timeout=60s")
    (pod,) = cluster.get("pods", "--namespace", mesh)["items"]
    everywhere = {node["metadata"]["name"] for node in cluster.get("nodes")["items"]}
    assert len(everywhere) == 3
    message = ask(cluster, mesh)["msg"]
    serving = {pod["spec"]["nodeName"]} if policy == "Local" else everywhere
    port = node_ports(cluster, mesh)["http2"]
    for address in addresses(cluster, everywhere):
        asked = f"http://{address}:{port}/healthz" in message
        assert asked == (address in addresses(cluster, serving)), message


# -- from inside of the cluster ----------------------------------------------------------------------------------------


class Pod(http.server.BaseHTTPRequestHandler):
    """What answers in a pod that is none: it tells what it was asked."""

    def do_GET(self) -> None:
        """Answer a GET."""
        told = {"host": self.headers["Host"], "authorization": self.headers["Authorization"], "path": self.path}
        xfcc = f"By=spiffe://cluster.local/ns/a/sa/app;URI=spiffe://cluster.local/ns/{self.headers['Host']}/sa/in"
        self.send_response(200)
        self.send_header("X-Told", json.dumps(told))
        self.end_headers()
        self.wfile.write(xfcc.encode())
        self.server.told.append(told)  # type: ignore[attr-defined]

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def own_address() -> str:
    """An address of this machine that an API server passes requests on to, which loopback is not."""
    found = sorted(guard.own_addresses())
    if not found:
        pytest.skip("this machine has no address but those of loopback, to which no API server passes requests on")
    return found[0]


@pytest.fixture
def private(cluster: BedCluster, mesh: str) -> Iterator[list[dict[str, Any]]]:
    """Put a gateway there of type ClusterIP, whose only pod is a server on this machine. Yields what it was asked."""
    address = own_address()
    with http.server.ThreadingHTTPServer((address, 0), Pod) as server:
        server.told = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        meta = {"name": NAME, "namespace": mesh}
        container = {"name": "proxy", "image": "proxy"}
        pods = {"serviceAccountName": "in", "containers": [container]}
        template = {"metadata": {"labels": {"app": "none"}}, "spec": pods}
        # The slice is written by hand: Kubernetes makes one of pods on nodes only, and there kwok writes the pods'
        # addresses. The API server passes requests on to addresses that some pod has.
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": meta,
                "spec": {"ports": [{"name": "http2", "port": 80}]},
            },
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": meta,
                "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "none"}}, "template": template},
            },
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": meta,
                "spec": {"schedulerName": "nobody", "containers": [container]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**meta, "labels": {"kubernetes.io/service-name": NAME}},
                "addressType": "IPv4",
                "ports": [{"name": "http2", "port": server.server_port}],
                "endpoints": [{"addresses": [address], "targetRef": {"kind": "Pod", "name": NAME, "namespace": mesh}}],
            },
        )
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        patch = json.dumps({"status": status})
        cluster.kubectl("patch", "pod", NAME, "-n", mesh, "--subresource=status", "--type=merge", "-p", patch)
        yield server.told  # type: ignore[attr-defined]
        cluster.kubectl("delete", "pod", NAME, "-n", mesh, "--grace-period=0", "--force")
        server.shutdown()


def test_private_gateway_is_asked_through_the_api_server(
    cluster: BedCluster, mesh: str, private: list[dict[str, Any]]
) -> None:
    """Nothing is written for it; the Host header arrives as it was sent, and our credentials do not arrive at all."""
    with cluster.asked() as asked:
        result = ask(cluster, mesh, verify_from="cluster", host_header=mesh, echo_path="/echo?a=b", wait_timeout=30)
    assert asked.writes == []
    assert "evidence" in result, result
    assert result["evidence"]["asked_from"] == "cluster"
    assert result["evidence"]["url"].endswith(f"/namespaces/{mesh}/services/http:{NAME}:http2/proxy/healthz")
    assert result["evidence"]["mtls"]["uri"] == f"spiffe://cluster.local/ns/{mesh}/sa/in"
    assert {told["host"] for told in private} == {mesh}
    assert {told["authorization"] for told in private} == {None}
    assert [told["path"] for told in private] == ["/healthz"] * 3 + ["/echo?a=b"]


def test_host_header_that_nobody_asked_for(cluster: BedCluster, mesh: str, private: list[dict[str, Any]]) -> None:
    """Is the API server's own, which a VirtualService for * takes."""
    assert "evidence" in ask(cluster, mesh, verify_from="cluster", wait_timeout=30)
    assert {f"https://{told['host']}" for told in private} == {cluster.server}


def test_api_server_without_a_pod(cluster: BedCluster, mesh: str, private: list[dict[str, Any]]) -> None:
    """It says so itself, and that is told from an answer of the gateway's."""
    cluster.kubectl("delete", "endpointslice", NAME, "-n", mesh)
    message = ask(cluster, mesh, verify_from="cluster", wait_timeout=1)["msg"]
    assert "the API server returned 503: no endpoints available for service" in message
    assert private == []


def test_rights_to_ask_through_the_api_server(cluster: BedCluster, mesh: str, private: list[dict[str, Any]]) -> None:
    """docs/rbac.yml alone has none: preflight and the run say so, with the file that has them."""
    for name in ("rbac.yml", "rbac-proxy.yml"):
        cluster.kubectl("apply", "-f", ROOT / "docs" / name)
    cluster.kubectl("delete", "rolebinding", "meshops-istio-proxy", "-n", "istio-system")
    account = "--serviceaccount=meshops:meshops-istio"
    for role in ("control-plane", "application"):
        cluster.kubectl("create", "rolebinding", role, f"--clusterrole=meshops-istio-{role}", account, "-n", mesh)
    token = cluster.token("meshops", "meshops-istio")
    direct = {"kubeconfig": None, "context": None, "host": cluster.server, "ca_cert": str(cluster.ca), "api_key": token}
    own = {**options_of(cluster.variables), **direct, "preset": "none", "namespace": mesh, "recommended_cpu": "0"}
    own.update(gateways=[{"name": NAME, "type": "ClusterIP"}], application_namespaces=[mesh], verify_from="cluster")

    def missing() -> list[dict[str, Any]]:
        found = run_preflight({**own, "recommended_memory": "0"})[0]["findings"]
        return [finding for finding in found if finding["code"] == "right-missing"]

    (finding,) = missing()
    assert finding["object"] == "get services/proxy"
    assert "docs/rbac-proxy.yml" in finding["fix"]
    message = ask(cluster, mesh, **direct, verify_from="cluster", wait_timeout=30)["msg"]
    assert f"The API server does not proxy requests to Service {mesh}/{NAME}: " in message
    assert "Bind the role in docs/rbac-proxy.yml" in message
    cluster.kubectl("create", "rolebinding", "proxy", "--clusterrole=meshops-istio-proxy", account, "-n", mesh)
    deadline = time.monotonic() + 10
    while missing() and time.monotonic() < deadline:  # the API server's authorizer hears of it by a watch
        time.sleep(0.2)
    assert "evidence" in ask(cluster, mesh, **direct, verify_from="cluster", wait_timeout=30)
    assert len(private) == 3
