# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that says "proven" has proven what it has installed: its gateways, each of them, and its istiod."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cluster.testcluster import TestCluster
from harness.playbooks import Run

from ansible_collections.meshops.istio.plugins.module_utils.helm.values import merged

NAMESPACES = ("proof", "istio-ingress")
#: What the test bed's Envoy counts by.
COUNTS = {
    "podAnnotations": {"proxy.istio.io/config": '{"proxyStatsMatcher": {"inclusionPrefixes": ["http.outbound_"]}}'}
}
SMALL = {**COUNTS, "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}, "autoscaling": {"enabled": False}}
OWN = {"liveness_verify_namespace": "proof", "liveness_verify_host": "proof.example.com"}
TAGS = "--tags=istio_helm,liveness_verify"


def gateway(name: str, **options: Any) -> dict[str, Any]:
    """An entry of the list of gateways."""
    return {"name": name, **options, "values": merged(SMALL, options.get("values", {}))}


@pytest.fixture(scope="module")
def mesh_of_old(cluster: TestCluster) -> Iterator[TestCluster]:
    """Yield a cluster with Istio; what comes beside it goes afterwards."""
    cluster.ensure_mesh()
    yield cluster
    found = cluster.tool(
        "helm", "list", "--all-namespaces", "--short", "--filter=^(proof-.*|istio-ingress|istiod-canary)$"
    )
    for name in found.split():
        namespace = "istio-ingress" if name == "istio-ingress" else "istio-system"
        cluster.tool("helm", "uninstall", name, "--namespace", namespace)
    cluster.kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", *NAMESPACES)


def site(mesh: TestCluster, *arguments: str, **over: Any) -> Run:
    """Install and prove."""
    return mesh.site(TAGS, *arguments, **{**OWN, **over})


def evidence(run: Run) -> dict[str, Any]:
    """What a run has proven."""
    return run.succeeded().of("istio_liveness").data["evidence"]


def proofs(seen: dict[str, Any]) -> dict[str, str]:
    """How each gateway was proven."""
    return {each["name"]: each["proof"] for each in seen["gateways"]}


LISTED = {"istio_helm_gateways": [gateway("proof-public", node_ports={"http2": 30090})]}
#: Labels, kind, names and ports as in public reports (istio#36760, istio#38792; istio#37610, istio#56658, istio#59490),
#: and a gateway that routes nothing to the app.
SHAPES = [
    gateway("proof-labels", labels={"app": "istio-ingress", "istio": "ingressgateway"}),
    gateway(
        "proof-nodes",
        ports=[{"name": "status-port", "port": 15021}, {"name": "web", "port": 8080}],
        values={"kind": "DaemonSet", "name": "proof-other", "serviceAccount": {"name": "proof-account"}},
    ),
    gateway("proof-egress", node_ports={"status-port": 30095}),
]


@pytest.mark.long
def test_listed_gateway_is_proven_and_not_the_old_one(mesh_of_old: TestCluster) -> None:
    """The first run's gateway goes on answering on 30010; the second proves 30090, and names the first's."""
    run = site(mesh_of_old, **LISTED)
    seen = evidence(run)
    assert seen["url"].endswith(":30090/healthz")
    assert seen["mtls"]["uri"].endswith("/ns/istio-system/sa/proof-public")
    assert seen["counted"]["gateway"].get("answers", 0) >= 3, seen["counted"]
    found = run.of("istio_releases").data["findings"]
    assert [each["object"].rpartition("/")[2] for each in found] == ["istio-egressgateway", "istio-ingressgateway"]
    assert "[gateway-not-listed] Release istio-system/istio-ingressgateway" in run.output


def test_planted_gateway_is_no_proof(mesh_of_old: TestCluster) -> None:
    """It answers 200 by the address, through Envoy and over mutual TLS, and is not the one that is listed."""
    mesh_of_old.role("istio_helm", **LISTED).succeeded()
    old = evidence(mesh_of_old.role("liveness_verify", **OWN, liveness_verify_gateway="istio-ingressgateway"))
    address = old["url"].split("/")[2]
    run = mesh_of_old.role("liveness_verify", **OWN, **LISTED, liveness_verify_address=address)
    assert run.code != 0
    assert "was answered by a gateway other than istio-system/proof-public" in run.message
    assert "/sa/istio-ingressgateway" in run.message


@pytest.mark.long
def test_every_shape_of_a_gateway_is_asked(mesh_of_old: TestCluster) -> None:
    """By what its release's objects say; and a second run, and check mode before it, agree."""
    given = {"istio_helm_gateways": SHAPES}
    shown = site(mesh_of_old, "--check", **given).succeeded().of("istio_liveness").data
    run = site(mesh_of_old, **given)
    assert proofs(evidence(run)) == {
        "proof-labels": "request",
        "proof-nodes": "request",
        "proof-egress": "readiness",
    }
    assert shown["objects"] == run.of("istio_liveness").data["objects"]
    with mesh_of_old.asked() as asked:
        again = site(mesh_of_old, **given).succeeded()
    assert (again.changed, asked.writes) == ([], [])


def canary(mesh: TestCluster) -> dict[str, Any]:
    """Variables of an istiod of another revision, which fits beside the first."""
    small = {"istiod": {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}}
    return {
        "istio_helm_revision": "canary",
        "istio_helm_components": ["istiod"],
        "istio_helm_gateways": [gateway("istio-ingress", namespace="istio-ingress")],
        "istio_helm_values": merged(mesh.variables.get("istio_helm_values") or {}, small),
    }


@pytest.mark.long
def test_revision_beside_another_istiod(mesh_of_old: TestCluster) -> None:
    """Its istiod serves gateway and sidecar, which an app that was there gets anew; the evidence says so."""
    seen = evidence(site(mesh_of_old, **canary(mesh_of_old)))
    assert {each["release"] for side in seen["served_by"].values() for each in side} == {"istio-system/istiod-canary"}
    labels = mesh_of_old.get("namespace", "proof")["metadata"]["labels"]
    assert (labels.get("istio.io/rev"), labels.get("istio-injection")) == ("canary", None)


def test_planted_istiod_is_no_proof(mesh_of_old: TestCluster) -> None:
    """The other one injects the app, which answers 200 over mutual TLS all the same."""
    installed = canary(mesh_of_old)
    mesh_of_old.role("istio_helm", **installed).succeeded()
    given = {**OWN, **installed, "liveness_verify_injection_labels": {"istio-injection": "enabled"}}
    run = mesh_of_old.role("liveness_verify", **given)
    assert run.code != 0
    assert "The application's sidecar in namespace proof is served by the istiod of revision default" in run.message
    assert "(Helm release istio-system/istiod), but this run verifies the istiod of revision canary" in run.message
