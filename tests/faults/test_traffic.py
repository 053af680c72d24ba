# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on a real mesh: the request fails and the diagnosis says why; the request succeeds and it says nothing."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cluster.testcluster import TestCluster
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from faults.fault import ROWS, Fault, Manifest, Row, assert_silent, assert_told, look, placed, try_out, until
from faults.manifests import (
    cluster_scoped,
    deployment,
    destination_rule,
    gateway,
    peer_authentication,
    service,
    virtual_service,
)
from harness.playbooks import ROOT

PLACE, BESIDE = "faults", "faults-outside"
HTTP, HTTPS = 30010, 30011
NODES = "{.items[0].status.addresses[?(@.type=='InternalIP')].address}"


def app(image: str, name: str = "web", **more: Any) -> Manifest:
    """An application that answers on 8080. :arg more: of its container, or of the pods' template"""
    container = {
        "name": "app",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["netexec", "--http-port=8080"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
        **more.pop("container", {}),
    }
    return deployment(name, spec={"containers": [container]}, **more)


class Place:
    """A namespace of a mesh with an application that has a sidecar, one that has none, and Services for both."""

    def __init__(self, mesh: TestCluster) -> None:
        self.mesh = mesh
        self.image = mesh.variables["liveness_verify_image"]
        self.node = mesh.kubectl("get", "nodes", f"-o=jsonpath={NODES}")

    def make(self) -> None:
        """Have it there."""
        labels = {"istio-injection": "enabled"}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLACE, "labels": labels}}
        soon = {"readiness.status.sidecar.istio.io/periodSeconds": "1"}
        outside = {"sidecar.istio.io/inject": "false"}
        two = [{"name": f"http-{port}", "port": port, "targetPort": 8080} for port in (8081, 9090)]
        objects = [
            app(self.image, labels={"version": "v1"}, annotations=soon),
            app(self.image, "plain", labels=outside),
            service(),
            service("plain", "plain"),
            service("two", "web", *two),
        ]
        self.mesh.apply(namespace, *placed(objects, PLACE))
        elsewhere = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BESIDE}}
        self.mesh.apply(elsewhere, *placed([app(self.image, "outside"), service("outside", "outside")], BESIDE))
        for name, namespace in (("web", PLACE), ("plain", PLACE), ("outside", BESIDE)):
            self.mesh.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=120s")

    def get(self, host: str) -> int:
        """The status of a request through the gateway, if it came from web or plain; 0 without an answer."""
        connection = http.client.HTTPConnection(self.node, HTTP, timeout=3)
        try:
            connection.request("GET", "/hostname", headers={"Host": host})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def get_by_tls(self, host: str) -> int:
        """The same over TLS."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            plain = socket.create_connection((self.node, HTTPS), timeout=3)
            with plain, context.wrap_socket(plain, server_hostname=host) as secured:
                secured.sendall(f"GET /hostname HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                return int(secured.recv(100).split()[1])
        except (OSError, IndexError):
            return 0

    def call(self, host: str) -> int:
        """A call of web by plain, in plain text: 200 or 0."""
        (pod,) = self.mesh.get("pods", "-n", PLACE, "-l", "app=plain")["items"]
        path = f"/api/v1/namespaces/{PLACE}/pods/{pod['metadata']['name']}:8080/proxy/dial"
        answer = self.mesh.kubectl("get", "--raw", f"{path}?host=web&port=80&protocol=http&request=hostname&tries=1")
        return 200 if any(each.startswith("web-") for each in json.loads(answer).get("responses", [])) else 0


@pytest.fixture(scope="module")
def place(mesh: TestCluster) -> Iterator[Place]:
    """Yield the namespace; nothing is wrong with it."""
    found = Place(mesh)
    found.make()
    assert look(mesh, application_namespaces=[PLACE, "liveness"])["findings"] == []
    yield found
    mesh.kubectl("delete", "namespace", PLACE, BESIDE, "--wait=false")


@pytest.fixture(scope="module")
def certificate(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have a Secret with a certificate beside the gateway."""
    folder = tmp_path_factory.mktemp("certificate")
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "faults")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    now = datetime.now(timezone.utc)
    made = made.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    pem = serialization.Encoding.PEM
    (folder / "cert").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    form = serialization.PrivateFormat.TraditionalOpenSSL
    (folder / "key").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    files = (f"--cert={folder / 'cert'}", f"--key={folder / 'key'}")
    place.mesh.kubectl("create", "secret", "tls", "faults-tls", "-n", "istio-system", *files)
    yield
    place.mesh.kubectl("delete", "secret", "faults-tls", "-n", "istio-system")


@dataclass(frozen=True)
class Lost:
    """A fault that requests do not survive. `{host}` is a host of its own.

    :ivar tuple status: of a request while it is there
    :ivar ask: sends one
    """

    name: str
    expected: str
    status: tuple[int, ...]
    broken: list[Manifest]
    near: list[Manifest]
    ask: Callable[[Place, str], int] = Place.get
    says: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name.replace(" ", "-").replace("'", "")


HOST = "{host}.example.com"
NO_CLUSTER = (500, 503)


def to(host: str, **more: Any) -> list[Manifest]:
    """A Gateway, and a VirtualService that leads to a destination."""
    return [gateway(HOST), virtual_service(HOST, {"host": host, **more})]


def teapot(**match: Any) -> Manifest:
    """A VirtualService that answers by itself."""
    rule = {"directResponse": {"status": 418}, **({"match": [match]} if match else {})}
    return virtual_service(HOST, name="a-teapot", http=[rule])


def secured(name: str, credential: str, host: str = HOST) -> Manifest:
    """A Gateway with TLS."""
    return gateway(host, 443, "HTTPS", name, tls={"mode": "SIMPLE", "credentialName": credential})


def http_80(name: str, **spec: Any) -> Manifest:
    """A Service with one port."""
    return service(name, "web", {"name": "http", "port": 80, "targetPort": spec.pop("target", 8080)}, **spec)


def at_the_gateway(obj: Manifest) -> Manifest:
    """An object in the gateway's namespace, where it counts for the gateway, whatever it calls."""
    return {**obj, "metadata": {**obj["metadata"], "name": "faults", "namespace": "istio-system"}}


OUTSIDE = f"outside.{BESIDE}.svc.cluster.local"
WEB = {"matchLabels": {"app": "web"}}
V1 = [{"name": "v1", "labels": {"version": "v1"}}]
V9 = [{"name": "v1", "labels": {"version": "v9"}}]
DISABLE = {"trafficPolicy": {"tls": {"mode": "DISABLE"}}}
MUTUAL = {"trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}

FAULTS = [
    Lost(
        "Gateway's selector wrong",
        "gateway-selects-nothing",
        (404,),
        [gateway(HOST, selector={"istio": "ingres"}), virtual_service(HOST)],
        to("web"),
        says="istio=ingres",
    ),
    Lost(
        "port that the gateway has not",
        "gateway-port-unexposed",
        (404,),
        [gateway(HOST, 8888), virtual_service(HOST)],
        to("web"),
        says="8888",
    ),
    Lost(
        "reference to no Gateway",
        "gateway-unknown",
        (404,),
        [gateway(HOST), virtual_service(HOST, gateways=["wbe"])],
        [gateway(HOST), virtual_service(HOST, gateways=[f"{PLACE}/web", "mesh"])],
        says=f"{PLACE}/wbe",
    ),
    Lost(
        "host that the Gateway has not",
        "gateway-host-mismatch",
        (404,),
        [gateway("shop.example.org"), virtual_service(HOST)],
        [gateway("*.example.com"), virtual_service(HOST)],
        says="shop.example.org",
    ),
    Lost(
        "host for another namespace",
        "gateway-host-mismatch",
        (404,),
        [gateway(f"elsewhere/{HOST}"), virtual_service(HOST)],
        [gateway(f"./{HOST}"), virtual_service(HOST)],
        says="elsewhere/",
    ),
    Lost(
        "route that is not exported",
        "route-not-exported",
        (404,),
        [gateway(HOST), virtual_service(HOST, exportTo=["."])],
        [gateway(HOST), virtual_service(HOST, exportTo=[".", "istio-system"])],
    ),
    Lost("destination that is no Service", "destination-unknown", NO_CLUSTER, to("wbe"), to("web"), says="wbe"),
    Lost(
        "destination in two parts",
        "destination-unknown",
        NO_CLUSTER,
        to(f"web.{PLACE}"),
        to(f"web.{PLACE}.svc.cluster.local"),
    ),
    Lost(
        "the pods' port for the Service's",
        "destination-port-unknown",
        NO_CLUSTER,
        to("web", port={"number": 8080}),
        to("web", port={"number": 80}),
    ),
    Lost(
        "one of several ports not named",
        "destination-port-unknown",
        NO_CLUSTER,
        to("two"),
        to("two", port={"number": 9090}),
        says="8081, 9090",
    ),
    Lost(
        "subset that is nowhere",
        "destination-subset-unknown",
        NO_CLUSTER,
        [*to("web", subset="v2"), destination_rule("web", subsets=V1)],
        [*to("web", subset="v1"), destination_rule("web", subsets=V1)],
    ),
    Lost(
        "subset of no pod",
        "subset-selects-nothing",
        (503,),
        [*to("web", subset="v1"), destination_rule("web", subsets=V9)],
        [*to("web", subset="v1"), destination_rule("web", subsets=V1)],
        says="version=v9",
    ),
    Lost(
        "Service that selects no pod",
        "service-without-endpoints",
        (503,),
        [*to("own"), service("own", "wbe")],
        [*to("own"), service("own", "web")],
        says="app=wbe",
    ),
    Lost(
        "targetPort that the pods have not",
        "service-without-endpoints",
        (503,),
        [*to("own"), http_80("own", target="web")],
        [*to("own"), http_80("own", target="http")],
    ),
    Lost(
        "two VirtualServices for every request",
        "virtual-services-conflict",
        (418,),
        [gateway(HOST), teapot(), virtual_service(HOST)],
        [gateway(HOST), teapot(uri={"prefix": "/tea"}), virtual_service(HOST)],
    ),
    Lost(
        "two Gateways with TLS for one host",
        "gateways-conflict",
        (404,),
        [secured("a", "faults-tls"), secured("web", "faults-tls"), virtual_service(HOST)],
        [secured("a", "faults-tls", f"a.{HOST}"), secured("web", "faults-tls"), virtual_service(HOST)],
        Place.get_by_tls,
    ),
    Lost(
        "certificate that is not there",
        "gateway-certificate-missing",
        (0,),
        [secured("web", "faults-lost"), virtual_service(HOST)],
        [secured("web", "faults-tls"), virtual_service(HOST)],
        Place.get_by_tls,
        says="faults-lost",
    ),
    Lost(
        "rule without mutual TLS to strict pods",
        "mtls-disabled-by-rule",
        (503,),
        [*to("web"), destination_rule("web", **DISABLE), peer_authentication("STRICT", selector=WEB)],
        [*to("web"), destination_rule("web", **DISABLE), peer_authentication("PERMISSIVE")],
    ),
    Lost(
        "rule with mutual TLS to no sidecar",
        "mtls-without-sidecar",
        (503,),
        [*to(OUTSIDE), at_the_gateway(destination_rule(OUTSIDE, **MUTUAL))],
        [*to("web"), at_the_gateway(destination_rule(f"web.{PLACE}.svc.cluster.local", **MUTUAL))],
    ),
    Lost(
        "strict mutual TLS and a plain caller",
        "mtls-strict-plain-caller",
        (0,),
        [peer_authentication("STRICT")],
        [peer_authentication("PERMISSIVE")],
        Place.call,
        says="plain",
    ),
]  # fmt: skip


def hosted(objects: list[Manifest], host: str) -> list[Manifest]:
    """Manifests with the host of a fault."""
    return placed(json.loads(json.dumps(objects).replace("{host}", host)), PLACE)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_request(fault: Lost, place: Place, certificate: None) -> None:
    """It fails, for the reason that is told; it succeeds, and there is nothing to tell."""
    row, started = Row(fault.name, "kind", fault.expected), time.monotonic()
    ROWS.append(row)
    host = str(fault).lower()
    asked = HOST.format(host=host)
    options = json.loads(json.dumps({"application_namespaces": [PLACE], **fault.options}).replace("{host}", host))
    told = Fault(fault.name, fault.expected, [], [], says=fault.says)
    broken, near = hosted(fault.broken, host), hosted(fault.near, host)
    try:
        for obj in broken:  # one after the other, so that one is the oldest
            place.mesh.apply(obj)
            if obj["metadata"]["name"].startswith("a"):
                time.sleep(1.1)
        assert until(lambda: fault.ask(place, asked) in fault.status, 30), fault.ask(place, asked)
        assert_told(row, told, look(place.mesh, **options))
        remove(place.mesh, broken)
        place.mesh.apply(*near)
        assert until(lambda: fault.ask(place, asked) == 200, 30), fault.ask(place, asked)
        assert_silent(row, look(place.mesh, **options))
    finally:
        remove(place.mesh, [*broken, *near])
        row.seconds = time.monotonic() - started


# -- pods, the control plane and the way to the cluster ----------------------------------------------------------------


def pods(image: str) -> list[Fault]:
    """Faults of pods, as a kubelet has them."""
    sound = app(image)
    reference = {"envFrom": [{"configMapRef": {"name": "settings"}}]}
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
    wrong = {"httpGet": {"path": "/healthz", "port": 8081}, "periodSeconds": 1}
    return [
        Fault(
            "image that is nowhere",
            "image-pull",
            [app("127.0.0.1:1/web:1"), service()],
            [sound, service()],
            says="127.0.0.1:1/web:1",
        ),
        Fault(
            "command that ends",
            "container-crashes",
            [app(image, container={"args": ["entropy-of-nothing"]})],
            [sound],
            says="exit code",
        ),
        Fault(
            "ConfigMap missing",
            "container-misconfigured",
            [app(image, container=reference)],
            [settings, app(image, container=reference)],
            says='configmap "settings" not found',
        ),
        Fault(
            "readiness probe that fails",
            "pod-unready",
            [app(image, container={"readinessProbe": wrong})],
            [sound],
            says="connection refused",
        ),
    ]


@pytest.mark.parametrize("number", range(4), ids=lambda number: str(pods("")[number]))
def test_pod(number: int, place: Place) -> None:
    """What the kubelet says is the evidence."""
    try_out(place.mesh, "kind", pods(place.image)[number])


def second_injector(bundle: str) -> Manifest:
    """Another webhook to istiod, for namespaces with a label of ours."""
    webhook = {
        "name": "namespace.sidecar-injector.istio.io",
        "clientConfig": {
            "service": {"name": "istiod", "namespace": "istio-system", "path": "/inject", "port": 443},
            "caBundle": bundle,
        },
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"faults": "{ns}"}},
    }
    return cluster_scoped(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "faults-{ns}"},
            "webhooks": [webhook],
        }
    )


def labelled(cluster: Any, namespace: str) -> None:
    """Have the second injector called for the namespace, and the application made anew."""
    cluster.kubectl("label", "namespace", namespace, f"faults={namespace}")
    time.sleep(1)
    cluster.kubectl("rollout", "restart", "deployment/web", "-n", namespace)


def test_wrong_authority_in_the_webhook(place: Place) -> None:
    """As a GitOps tool that applies an older caBundle does: the API server trusts istiod no more."""
    live = place.mesh.get("mutatingwebhookconfiguration", "istio-sidecar-injector")
    right = live["webhooks"][0]["clientConfig"]["caBundle"]
    wrong = base64.b64encode(place.mesh.ca.read_bytes()).decode()
    fault = Fault(
        "another CA in the webhook",
        "webhook-certificate",
        [second_injector(wrong), app(place.image)],
        [second_injector(right), app(place.image)],
        says="x509:",
        after=labelled,
        after_near=labelled,
    )
    try_out(place.mesh, "kind", fault)


def test_the_gateway_of_2018(place: Place) -> None:
    """Where it exists it is the main finding; one of another name is none."""
    old = gateway("*", name="istio-autogenerated-k8s-ingress")
    new = gateway("*", name="istio-k8s-ingress")
    there = {"namespace": "istio-system"}
    old["metadata"].update(there)
    new["metadata"].update(there)
    try_out(
        place.mesh, "kind", Fault("istio-autogenerated-k8s-ingress", "gateway-autogenerated", [old], [new], says="2018")
    )


def scaled(replicas: int) -> Callable[[Any, str], None]:
    """Scale istiod, and make the application anew where it is gone."""

    def scale(cluster: Any, namespace: str) -> None:
        cluster.kubectl("scale", "deployment/istiod", "-n", "istio-system", f"--replicas={replicas}")
        if replicas:
            cluster.kubectl("rollout", "status", "deployment/istiod", "-n", "istio-system", "--timeout=120s")
            return
        cluster.kubectl("wait", "--for=delete", "pod", "-l", "app=istiod", "-n", "istio-system", "--timeout=60s")
        cluster.kubectl("rollout", "restart", "deployment/web", "-n", namespace)

    return scale


def test_istiod_down_while_pods_are_refused(place: Place) -> None:
    """The refused pods of the application are a consequence."""
    fault = Fault(
        "istiod down",
        "istiod-not-ready",
        [app(place.image), service()],
        [app(place.image), service()],
        {"istio-injection": "enabled"},
        after=scaled(0),
        undo=scaled(1),
    )
    try_out(place.mesh, "kind", fault)


def envoy_filter(kind: str) -> Manifest:
    """A filter in front of all others of the application's proxy, of a type that Envoy knows, or not."""
    patch = {"operation": "INSERT_FIRST", "value": {"name": "faults", "typed_config": {"@type": kind}}}
    match = {
        "context": "SIDECAR_INBOUND",
        "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}},
    }
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "faults"},
        "spec": {"configPatches": [{"applyTo": "HTTP_FILTER", "match": match, "patch": patch}]},
    }


def test_proxies_out_of_sync(place: Place) -> None:
    """A stock Envoy has no filter of Istio's telemetry, and refuses the whole listener."""
    types = "type.googleapis.com/"
    fault = Fault(
        "filter that Envoy does not know",
        "proxy-out-of-sync",
        [app(place.image), service(), envoy_filter(f"{types}stats.PluginConfig")],
        [app(place.image), service(), envoy_filter(f"{types}envoy.extensions.filters.http.cors.v3.Cors")],
        {"istio-injection": "enabled"},
        {"istioctl_binary": place.mesh.variables["istio_helm_istioctl_binary"]},
    )
    try_out(place.mesh, "kind", fault)


def firewall(place: Place, verb: str) -> None:
    """Drop what comes to the node port, before the node looks at it."""
    node = f"{place.mesh.variables['istio_context'].removeprefix('kind-')}-control-plane"
    rule = ["PREROUTING", "-p", "tcp", "--dport", str(HTTP), "-j", "DROP"]
    subprocess.run(["docker", "exec", node, "iptables", "-t", "raw", verb, *rule], check=True)


def test_firewall_before_the_node_port(place: Place) -> None:
    """All is well within the cluster, and no connection gets there."""
    row, started = Row("firewall before the node port", "kind", "gateway-unreachable"), time.monotonic()
    ROWS.append(row)
    objects = hosted(to("web"), "firewall")
    place.mesh.apply(*objects)
    try:
        assert until(lambda: place.get("firewall.example.com") == 200, 30)
        assert_silent(row, look(place.mesh, application_namespaces=[PLACE]))
        firewall(place, "-I")
        try:
            assert place.get("firewall.example.com") == 0
            fault = Fault(row.name, row.expected, [], [], says=f"{place.node}:{HTTP}")
            assert_told(row, fault, look(place.mesh, application_namespaces=[PLACE]))
        finally:
            firewall(place, "-D")
    finally:
        remove(place.mesh, objects)
        row.seconds = time.monotonic() - started


def test_playbook(place: Place) -> None:
    """It names the cause, with the fix, and does not fail."""
    objects = placed([virtual_service("playbook.example.com", gateways=["wbe"])], PLACE)
    place.mesh.apply(*objects)
    try:
        run = place.mesh.playbook(ROOT / "playbooks/diagnose.yml", diagnose_application_namespaces=[PLACE]).run()
    finally:
        remove(place.mesh, objects)
    line = run.succeeded().of("istio_diagnosis_info").data["lines"][0]
    assert line.startswith(f"[gateway-unknown] VirtualService {PLACE}/web: references Gateway {PLACE}/wbe")
    assert " Fix: " in line
    assert line in run.output


def remove(mesh: TestCluster, objects: list[Manifest]) -> None:
    """Delete what a fault was made of."""
    if objects:
        text = json.dumps({"kind": "List", "apiVersion": "v1", "items": objects})
        mesh.kubectl("delete", "--ignore-not-found", "-f-", stdin=text)
