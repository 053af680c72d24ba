# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The app that stays for monitoring: its optional parts, HTTPS at the gateway, what the proxies count, and its end."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.testcluster import TestCluster
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from harness.playbooks import Run

NAMESPACE, HOST, SECRET = "monitored", "mesh.example.com", "monitored-tls"
OWN = {"liveness_verify_namespace": NAMESPACE, "liveness_verify_host": HOST}


class App:
    """The app in a namespace of its own."""

    def __init__(self, mesh: TestCluster) -> None:
        self.mesh = mesh

    def verify(self, *arguments: str, **over: Any) -> Run:
        """Run the role."""
        return self.mesh.role("liveness_verify", *arguments, **{**OWN, **over})

    def evidence(self, **over: Any) -> dict[str, Any]:
        """What it proves."""
        return self.verify(**over).succeeded().of("istio_liveness").data["evidence"]

    def still(self, **over: Any) -> None:
        """A run has nothing more to do, in check mode neither."""
        for arguments in ((), ("--check", "--diff")):
            with self.mesh.asked() as asked:
                run = self.verify(*arguments, **over).succeeded()
            assert (run.changed, asked.writes) == ([], [])

    def there(self, kinds: str) -> set[str]:
        """Which objects of some kinds there are."""
        found = self.mesh.get(kinds, f"--namespace={NAMESPACE}")["items"]
        return {obj["kind"] for obj in found if "deletionTimestamp" not in obj["metadata"]}


@pytest.fixture(scope="module")
def app(cluster: TestCluster) -> Iterator[App]:
    """Yield the app on a cluster with Istio."""
    cluster.ensure_mesh()
    yield App(cluster)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found")
    cluster.kubectl("delete", "secret", SECRET, "--namespace=istio-system", "--ignore-not-found")


PARTS = "poddisruptionbudgets,horizontalpodautoscalers"
AUTOSCALED = {
    "podDisruptionBudget": {"enabled": False},
    "horizontalPodAutoscaler": {"enabled": True, "maxReplicas": 2},
}


def test_optional_parts_come_and_go(app: App) -> None:
    """A disruption budget by default; what a later run does not want is deleted, as check mode says beforehand."""
    app.verify().succeeded()
    assert app.there(PARTS) == {"PodDisruptionBudget"}
    app.still()
    shown = app.verify("--check", "--diff", liveness_verify_chart_values=AUTOSCALED).succeeded()
    done = app.verify(liveness_verify_chart_values=AUTOSCALED).succeeded()
    names = [run.of("istio_liveness").data["objects"] for run in (shown, done)]
    assert names[0] == names[1]
    assert set(names[0]) == {
        f"Namespace {NAMESPACE}",  # its annotation lists what the app has made
        f"Deployment {NAMESPACE}/liveness",
        f"HorizontalPodAutoscaler {NAMESPACE}/liveness",
        f"PodDisruptionBudget {NAMESPACE}/liveness",
    }
    assert app.there(PARTS) == {"HorizontalPodAutoscaler"}
    app.still(liveness_verify_chart_values=AUTOSCALED)


MONITORS = "servicemonitors.monitoring.coreos.com"


@pytest.fixture
def prometheus_operator(app: App) -> Iterator[None]:
    """Have its kind defined, as far as the app has use for it."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    names = {"kind": "ServiceMonitor", "plural": "servicemonitors", "singular": "servicemonitor"}
    spec = {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": names, "versions": [version]}
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}
    app.mesh.apply({**definition, "metadata": {"name": MONITORS}})
    app.mesh.kubectl("wait", "--for=condition=Established", f"crd/{MONITORS}", "--timeout=30s")
    yield
    app.mesh.kubectl("delete", "crd", MONITORS)


def test_service_monitor(app: App, prometheus_operator: None) -> None:
    """What it names is there: the Service's port leads to what sidecar and app have counted, in Prometheus' format."""
    monitored = {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}
    app.verify(liveness_verify_chart_values=monitored).succeeded()
    monitor = app.mesh.get(MONITORS, "liveness", f"--namespace={NAMESPACE}")
    (endpoint,) = monitor["spec"]["endpoints"]
    selector = ",".join(f"{name}={value}" for name, value in monitor["spec"]["selector"]["matchLabels"].items())
    (service,) = app.mesh.get("services", f"--namespace={NAMESPACE}", f"--selector={selector}")["items"]
    place = f"/api/v1/namespaces/{NAMESPACE}/services/{service['metadata']['name']}:{endpoint['port']}/proxy"
    assert "# TYPE envoy_" in app.mesh.kubectl("get", "--raw", place + endpoint["path"])
    app.still(liveness_verify_chart_values=monitored)
    app.verify().succeeded()
    assert app.mesh.get(MONITORS, f"--namespace={NAMESPACE}")["items"] == []


def test_value_that_the_chart_does_not_know(app: App) -> None:
    """Refused before anything is written, with its name."""
    with app.mesh.asked() as asked:
        run = app.verify(liveness_verify_chart_values={"replica": 2})
    assert "'replica' not allowed" in run.message
    assert asked.writes == []


def test_gateway_and_sidecar_have_counted(app: App) -> None:
    """Their own counters, which no configuration can pretend."""
    counted = app.evidence(liveness_verify_successes=5)["counted"]
    assert set(counted) == {"gateway", "sidecar"}
    assert all(count["answers"] >= 5 for count in counted.values()), counted


# -- over TLS ----------------------------------------------------------------------------------------------------------


def authority(name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate that signs others, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return certificate(name, key, None), key


def certificate(name: str, key: Any, issuer: tuple[x509.Certificate, Any] | None) -> x509.Certificate:
    """A certificate for a name, of an issuer or of itself."""
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(issuer[0].subject if issuer else own)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is None:
        usage = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        signs = x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)
        builder = builder.add_extension(signs, critical=True)
    else:
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key())
        builder = builder.add_extension(by, critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256())


def pem(of: Any) -> str:
    """As a file holds it."""
    if isinstance(of, x509.Certificate):
        return of.public_bytes(serialization.Encoding.PEM).decode()
    plain = serialization.NoEncryption()
    return of.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


@pytest.fixture(scope="module")
def over_tls(app: App, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the variables for a gateway with a certificate for the host, of an authority of our own."""
    issuer, key = authority("Mesh CA"), ec.generate_private_key(ec.SECP256R1())
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET, "namespace": "istio-system"},
        "stringData": {"tls.crt": pem(certificate(HOST, key, issuer)), "tls.key": pem(key)},
    }
    app.mesh.kubectl("apply", "-f-", stdin=json.dumps(secret))
    ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca_file.write_text(pem(issuer[0]))
    return {"liveness_verify_tls_credential_name": SECRET, "liveness_verify_ca_file": str(ca_file)}


def test_over_tls(app: App, over_tls: dict[str, Any]) -> None:
    """By name on port 443, verified; mutual TLS inside all the same."""
    evidence = app.evidence(**over_tls)
    assert evidence["url"].startswith("https://")
    assert evidence["url"].endswith(":30011/healthz")
    assert (evidence["status"], evidence["server"]) == (200, "istio-envoy")
    shown = evidence["tls"]
    assert (shown["server_name"], shown["subject"], shown["issuer"]) == (HOST, HOST, "Mesh CA")
    assert evidence["mtls"]["uri"].endswith("/sa/istio-ingressgateway")
    app.still(**over_tls)


def test_certificate_of_somebody_else(app: App, over_tls: dict[str, Any], tmp_path: Path) -> None:
    """An answer of 200 is none, as long as nobody knows from whom."""
    stranger = tmp_path / "stranger.pem"
    stranger.write_text(pem(authority("Mesh CA")[0]))
    run = app.verify(**{**over_tls, "liveness_verify_ca_file": str(stranger), "liveness_verify_wait_timeout": 5})
    assert "certificate verify failed" in run.message


# -- the end -----------------------------------------------------------------------------------------------------------


def test_whose_fault_it_is(app: App) -> None:
    """Nobody answers where it was asked, and the gateway answers from inside: it is what stands between."""
    run = app.verify(liveness_verify_address="127.0.0.1:1", liveness_verify_wait_timeout=5)
    assert "From inside the cluster, the gateway returns 200: the mesh works" in run.message


def test_absent(app: App) -> None:
    """All of it goes, and only that; again, there is nothing to do."""
    app.verify().succeeded()
    kinds = f"deployments,services,serviceaccounts,gateways.networking.istio.io,virtualservices,{PARTS}"
    shown = app.verify("--check", liveness_verify_state="absent").succeeded()
    assert shown.of("istio_liveness").data["changed"]
    gone = app.verify(liveness_verify_state="absent").succeeded().of("istio_liveness").data
    assert gone["objects"] == shown.of("istio_liveness").data["objects"]
    assert app.there(kinds) == {"ServiceAccount"}  # that of the namespace
    assert app.mesh.get("namespace", NAMESPACE)["status"]["phase"] == "Active"
    app.still(liveness_verify_state="absent")
