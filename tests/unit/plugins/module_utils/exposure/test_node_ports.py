# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node ports: who holds them, which range they are from, and what a dry run's refusal means."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.exposure import node_ports
from ansible_collections.meshops.istio.plugins.module_utils.exposure.node_ports import Holder
from ansible_collections.meshops.istio.plugins.module_utils.mesh.gateways import NodePort

OTHER: dict[str, Any] = {"metadata": {}, "spec": {"containers": []}}
PINNED = NodePort("istio-system", "in", "http2", 30010)


def service(**spec: Any) -> dict[str, Any]:
    """A Service `default/web`."""
    return {"metadata": {"namespace": "default", "name": "web"}, "spec": spec}


def api_server(*words: str, **more: Any) -> dict[str, Any]:
    """The API server's own pod, as kubeadm runs it."""
    containers = [{"name": "kube-apiserver", "command": list(words), **more}]
    return {"metadata": {"labels": {"component": "kube-apiserver"}}, "spec": {"containers": containers}}


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([], range(30000, 32768)),
        ([api_server("kube-apiserver", "--secure-port=6443")], range(30000, 32768)),
        (
            [{"metadata": {}, "spec": {"containers": []}}, api_server("x", "--service-node-port-range=80-30009")],
            range(80, 30010),
        ),
        ([api_server("sh", args=["--service-node-port-range=30000-30005"])], range(30000, 30006)),
    ],
)
def test_port_range(pods: list[dict[str, Any]], expected: range) -> None:
    """What the API server is told, where its pod can be seen; managed clusters hide it and use the default."""
    assert node_ports.port_range(pods) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30010}]}, {30010: "http"}),
        ({"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 30010}]}, {30010: ""}),
        ({"type": "LoadBalancer", "healthCheckNodePort": 30010, "ports": [{"port": 80}]}, {30010: "health check"}),
        ({"type": "ClusterIP", "ports": [{"port": 30010}]}, {}),
        ({"type": "ExternalName"}, {}),
    ],
)
def test_holders(spec: dict[str, Any], expected: dict[int, str]) -> None:
    """Every way in which a Service may hold a node port."""
    found = {port: Holder("default", "web", name) for port, name in expected.items()}
    assert node_ports.holders([service(**spec)]) == found


@pytest.mark.parametrize(
    ("held", "code", "asked"),
    [
        ({}, None, True),
        ({30010: Holder("default", "web", "http")}, "node-port-taken", False),
        ({30010: Holder("istio-system", "in", "http2")}, None, False),
        ({30010: Holder("default", "in", "http2")}, "node-port-taken", False),
        ({30011: Holder("default", "web", "http")}, None, True),
    ],
)
def test_pinned_port(held: dict[int, Holder], code: str | None, asked: bool) -> None:
    """Free, another's, our own; only a port that nobody is known to hold is asked of the API server."""
    found, unsure = node_ports.findings([PINNED], held, node_ports.DEFAULT_RANGE)
    assert [finding.code for finding in found] == ([code] if code else [])
    assert unsure == ([PINNED] if asked else [])


@pytest.mark.parametrize(
    ("port", "held", "codes"),
    [
        (29999, {}, ["node-port-out-of-range"]),
        (30000, {}, []),
        (32767, {}, []),
        (32768, {}, ["node-port-out-of-range"]),
        (8080, {8081: Holder("a", "b", "")}, []),
    ],
)
def test_range(port: int, held: dict[int, Holder], codes: list[str]) -> None:
    """A Service outside of the range tells that the range is another, so only the API server knows."""
    pinned = NodePort("istio-system", "in", "http2", port)
    found, _unsure = node_ports.findings([pinned], held, node_ports.DEFAULT_RANGE)
    assert [finding.code for finding in found] == codes


@pytest.mark.parametrize(
    ("message", "codes"),
    [
        ("spec.ports[0].nodePort: Invalid value: 30010: provided port is already allocated", ["node-port-taken"]),
        ('services is forbidden: User "jane" cannot create resource "services"', []),
    ],
)
def test_refused_probe(message: str, codes: list[str]) -> None:
    """Only what it says of the port counts."""
    assert [finding.code for finding in node_ports.refused(PINNED, message)] == codes
    assert node_ports.probe(PINNED)["spec"]["ports"][0]["nodePort"] == 30010
