# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of Services as Istio reads them, and Services that give one port of a pod two protocols."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.workloads import Workload
from ansible_collections.meshops.istio.plugins.module_utils.preflight.service_ports import (
    conflict_findings,
    name_findings,
    protocol,
)


def service(name: str, *ports: dict[str, Any], namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    """A Service that selects `app: my-app`; ports that say nothing are 80."""
    found = {"selector": {"app": "my-app"}, "ports": [{"port": 80, **port} for port in ports], **spec}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": found}


def workload(name: str = "web", namespace: str = "shop", **labels: str) -> Workload:
    """Pods with a port named `web`."""
    ports = [{"name": "web", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]
    return Workload(namespace, "Deployment", name, {"app": "my-app", **labels}, [], ports)


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        *(
            ({"name": name}, name)
            for name in ("http", "http2", "grpc", "mongo", "redis", "https", "tls", "tcp", "mysql")
        ),
        ({"name": "http-foo"}, "http"),
        ({"name": "httpfoo"}, None),
        ({"name": "grpc-web"}, "grpc-web"),
        ({"name": "grpc-web-foo"}, "grpc-web"),
        ({"name": "web-http"}, None),
        ({}, None),
        ({"name": "web", "appProtocol": "http"}, "http"),
        ({"name": "http", "appProtocol": "example.com/own"}, None),
        ({"appProtocol": "kubernetes.io/h2c"}, "http2"),
        ({"appProtocol": "kubernetes.io/wss"}, "https"),
        ({"appProtocol": "HTTP"}, "http"),
        ({"name": "database", "port": 3306}, "tcp"),
        ({"name": "database", "port": 3307}, None),
    ],
)
def test_protocol(port: dict[str, Any], expected: str | None) -> None:
    """The name up to its first hyphen; `appProtocol` counts before it; a few ports are plain TCP by their number."""
    assert protocol({"port": 80, **port}) == expected


def test_names() -> None:
    """One finding for each Service; UDP and Services that lead elsewhere are silent."""
    found = name_findings(
        [
            service("a", {"name": "web"}, {"name": "admin", "port": 81}, {"name": "http-ok", "port": 82}),
            service("b", {"name": "ntp", "port": 123, "protocol": "UDP"}),
            service("c", {"name": "web"}, type="ExternalName"),
            service("d", {"name": "web", "appProtocol": "odd"}),
        ]
    )
    assert [(finding.object, finding.message) for finding in found] == [
        ("Service shop/a", "port 80 (web), port 81 (admin) name no protocol, so Istio guesses it."),
        ("Service shop/d", "port 80 (web) with appProtocol odd names no protocol, so Istio guesses it."),
    ]
    assert "http-web" in found[0].fix


GUIDE = [service("app-svc-1", {"name": "http-app"}), service("app-svc-2", {"name": "http2-app"})]


def test_the_guides_wrong_example() -> None:
    """With pods and, since it has none, without."""
    for pods, about in (([workload()], "Deployment shop/web"), ([], "pods shop/app=my-app")):
        (finding,) = conflict_findings(GUIDE, pods)
        assert (finding.code, finding.object) == ("port-conflict", about)
        assert finding.message.startswith(
            "port 80 has conflicting protocols: http (Service app-svc-1) and http2 (Service app-svc-2)."
        )


@pytest.mark.parametrize(
    ("first", "second", "fires"),
    [
        ({"name": "http"}, {"name": "grpc"}, True),
        ({"name": "http"}, {"name": "http-other", "port": 81, "targetPort": 80}, False),
        ({"name": "http"}, {"name": "grpc", "targetPort": 81}, False),
        ({"name": "http"}, {"name": "grpc", "port": 81, "targetPort": 80}, True),
        ({"name": "http", "targetPort": "web"}, {"name": "grpc", "targetPort": 8080}, True),
        ({"name": "http", "targetPort": "web"}, {"name": "grpc", "targetPort": "none"}, False),
        ({"name": "http", "targetPort": 53}, {"name": "tls", "targetPort": "dns"}, False),
        ({"name": "http"}, {"name": "grpc", "protocol": "UDP"}, False),
        ({"name": "http"}, {"name": "unnamed"}, False),
    ],
)
def test_ports_of_the_same_pods(first: dict[str, Any], second: dict[str, Any], fires: bool) -> None:
    """Target ports count, resolved by name for each pod; a port without a protocol is a finding of its own."""
    assert bool(conflict_findings([service("a", first), service("b", second)], [workload()])) is fires


def test_other_pods() -> None:
    """Services that select different pods, or live elsewhere, do not meet."""
    narrow = service("b", {"name": "grpc"}, selector={"app": "my-app", "version": "v2"})
    assert conflict_findings([GUIDE[0], narrow], [workload(version="v1"), workload("old", version="v3")]) == []
    assert len(conflict_findings([GUIDE[0], narrow], [workload(version="v2")])) == 1
    elsewhere = service("b", {"name": "grpc"}, namespace="bank")
    assert conflict_findings([GUIDE[0], elsewhere], [workload(), workload(namespace="bank")]) == []
    assert conflict_findings([GUIDE[0], service("b", {"name": "grpc"}, selector={})], [workload()]) == []


def test_one_finding_for_the_same_services() -> None:
    """However many workloads they select; the same pair in another namespace is another."""
    other = [service(item["metadata"]["name"], *item["spec"]["ports"], namespace="bank") for item in GUIDE]
    assert len(conflict_findings(GUIDE, [workload("a"), workload("b")])) == 1
    assert len(conflict_findings([*GUIDE, *other], [])) == 2
