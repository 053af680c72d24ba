# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh in the eyes of others: istioctl, a policy for nothing but mutual TLS, an application outside of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster.testcluster import TestCluster

PLAIN = "liveness-plain"


def test_proxies_are_in_sync(mesh: TestCluster) -> None:
    """Gateways and application have what istiod wants them to have."""
    lines = mesh.tool("istioctl", "proxy-status").splitlines()
    for name in ("istio-ingressgateway", "istio-egressgateway", "liveness"):
        (line,) = [line for line in lines if line.startswith(f"{name}-")]
        assert "STALE" not in line
        assert "NOT SENT" not in line
        assert "(CDS,LDS,EDS" in line


def test_istioctl_finds_no_error(mesh: TestCluster) -> None:
    """In any namespace."""
    found: list[dict[str, Any]] = json.loads(
        mesh.tool("istioctl", "analyze", "--all-namespaces", "--output=json", check=False) or "[]"
    )
    assert [message for message in found if message["level"] == "Error"] == []


@pytest.fixture
def strict(mesh: TestCluster) -> Iterator[TestCluster]:
    """Yield the mesh with plain text forbidden everywhere."""
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "istio-system"},
        "spec": {"mtls": {"mode": "STRICT"}},
    }
    mesh.apply(policy)
    yield mesh
    mesh.kubectl("delete", "peerauthentication", "default", "--namespace=istio-system")


def test_the_proof_holds_under_strict_mutual_tls(strict: TestCluster) -> None:
    """The gateway's own connection to the application is mutual TLS."""
    run = strict.role("liveness_verify").succeeded()
    assert run.of("istio_liveness").data["evidence"]["status"] == 200


def test_an_application_without_a_sidecar_is_no_proof(mesh: TestCluster) -> None:
    """It answers 200 through the gateway, and the role still says that this is not the mesh."""
    run = mesh.role(
        "liveness_verify",
        liveness_verify_namespace=PLAIN,
        liveness_verify_host="plain.example.com",
        liveness_verify_injection_labels={"istio-injection": "disabled"},
    )
    mesh.kubectl("delete", "namespace", PLAIN, "--wait=false", "--ignore-not-found")
    assert run.code != 0
    assert "not over mutual TLS" in run.message
    assert "has no sidecar" in run.message
    assert "istio-injection" in run.message
