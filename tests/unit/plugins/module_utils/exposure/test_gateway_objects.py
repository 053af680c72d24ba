# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway is what its objects say, whatever the values of its chart made of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.exposure.gateway_objects import (
    Gateway,
    as_the_chart_has_it,
    called,
    of_objects,
    port_for,
    status_port,
)
from ansible_collections.meshops.istio.plugins.module_utils.mesh.gateways import PORTS

LABELS = {"app": "istio-ingress", "istio": "ingress"}


def chart(kind: str = "Deployment", name: str = "istio-ingress", **over: Any) -> list[dict[str, Any]]:
    """What Istio's gateway chart renders. :arg over: labels, account, service (None for no Service), ports"""
    labels = over.get("labels", {"app": name, "istio": name.removeprefix("istio-")})
    meta = {"name": name, "namespace": "edge"}
    pods = {"labels": {**labels, "sidecar.istio.io/inject": "true"}}
    template = {"metadata": pods, "spec": {"serviceAccountName": over.get("account", name)}}
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": meta,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
    ]
    if over.get("service", "NodePort"):
        ports = over.get("ports", copy.deepcopy(list(PORTS)))
        spec = {"type": over.get("service", "NodePort"), "selector": labels, "ports": ports}
        found.append({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    return found


#: Public reports, and other values of the chart -> what its objects are then.
VALUES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as it is": ({}, {"kind": "Deployment", "workload": "istio-ingress", "selector": LABELS}),
    "kind: DaemonSet (istio#37610, istio#56658, istio#59490)": ({"kind": "DaemonSet"}, {"kind": "DaemonSet"}),
    "labels (istio#36760, istio#38792)": (
        {"labels": {"app": "istio-ingress", "istio": "ingressgateway"}},
        {"selector": {"app": "istio-ingress", "istio": "ingressgateway"}, "workload": "istio-ingress"},
    ),
    "name": (
        {"name": "edge-proxy"},
        {"workload": "edge-proxy", "service": "edge-proxy", "selector": {"app": "edge-proxy", "istio": "edge-proxy"}},
    ),
    "service.type: None": ({"service": None}, {"service": "", "type": "", "ports": [], "selector": LABELS}),
    "serviceAccount.name": ({"account": "shared"}, {"account": "shared"}),
    "service.type": ({"service": "LoadBalancer"}, {"type": "LoadBalancer", "service": "istio-ingress"}),
}


@pytest.mark.parametrize(("values", "expected"), VALUES.values(), ids=VALUES)
def test_values_of_the_chart(values: dict[str, Any], expected: dict[str, Any]) -> None:
    """Names, kind, labels and account come out of the objects; the release's name says nothing of them."""
    gateway = of_objects("edge", "istio-ingress", chart(**values))
    assert gateway is not None
    assert {key: gateway.as_dict()[key] for key in expected} == expected
    assert gateway.key == ("edge", "istio-ingress")
    assert gateway.selector.items() <= gateway.labels.items()


def test_its_own_service_among_others() -> None:
    """A chart may bring a Service for metrics, or one that selects nothing."""
    other = {"kind": "Service", "metadata": {"name": "a"}, "spec": {"selector": {"app": "other"}, "ports": []}}
    bare = {"kind": "Service", "metadata": {"name": "b"}, "spec": {"externalName": "a.example", "ports": []}}
    gateway = of_objects("edge", "istio-ingress", [other, bare, *chart()])
    assert gateway is not None
    assert gateway.service == "istio-ingress"


@pytest.mark.parametrize(("name", "leads"), [("public", True), ("another", False)])
@pytest.mark.parametrize("spec", [{"spec": {"ports": [{"name": "http2", "port": 80}]}}, {"spec": {}}, {}])
def test_service_without_a_selector(spec: dict[str, Any], name: str, leads: bool) -> None:
    """Its endpoints are written by hand: it is the gateway's where it has its name."""
    meta = {"name": "public", "namespace": "ingress"}
    labels = {"app": "public"}
    template = {"metadata": {"labels": labels}, "spec": {}}
    workload = {"kind": "Deployment", "metadata": meta, "spec": {"selector": {"matchLabels": labels}}}
    workload["spec"]["template"] = template
    service = {"kind": "Service", "metadata": {**meta, "name": name}, **spec}
    found = of_objects("ingress", "public", [workload, service])
    assert found is not None
    assert found.service == (name if leads else "")
    assert found.selector == labels


def test_nothing_of_a_gateway() -> None:
    """As a release of something else."""
    assert of_objects("edge", "x", [{"kind": "ConfigMap", "metadata": {"name": "x"}}]) is None


def test_guess_is_what_the_chart_makes() -> None:
    """For check mode, before there is a release."""
    made = of_objects("edge", "istio-ingress", chart())
    guess = as_the_chart_has_it("edge", "istio-ingress", "NodePort", list(PORTS))
    assert made is not None
    assert {**made.as_dict(), "labels": LABELS} == guess.as_dict()


def test_there_and_back() -> None:
    """Through a task's result; what a later version adds is no matter."""
    made = as_the_chart_has_it("edge", "istio-ingress", "NodePort", list(PORTS))
    assert Gateway.of_dict({**made.as_dict(), "more": 1}) == made


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("istio-egressgateway", {}, True),
        ("out", {"istio": "egressgateway"}, True),
        ("istio-ingressgateway", {"istio": "ingressgateway"}, False),
    ],
)
def test_egress(name: str, labels: dict[str, str], expected: bool) -> None:
    """By its name or its label."""
    assert Gateway("edge", name, selector=labels).is_egress is expected


def port(number: int, name: str = "", **more: Any) -> dict[str, Any]:
    """A port of a Service."""
    return {"name": name, "port": number, "protocol": "TCP", **more}


STATUS, TLS = port(15021, "status-port"), port(443, "https")


@pytest.mark.parametrize(
    ("ports", "http", "https"),
    [
        (PORTS, 80, 443),
        ([STATUS, port(8080, "web")], 8080, None),
        ([STATUS, port(1080, "http-web"), TLS], 1080, 443),
        ([STATUS, port(81, "http"), port(82, "http2")], 82, None),
        ([STATUS, port(1080, "web", appProtocol="http")], 1080, None),
        ([port(1080)], 1080, None),
        ([STATUS, port(1080, "web"), port(1081, "admin")], None, None),
        ([STATUS, port(15443, "tls"), port(31400, "tcp")], None, None),
        ([STATUS, TLS], None, 443),
        ([STATUS, port(1443, "https-web")], None, 1443),
        ([{**port(80, "http"), "protocol": "UDP"}], None, None),
        ([], None, None),
    ],
    ids=str,
)
def test_port_that_takes_requests(ports: list[dict[str, Any]], http: int | None, https: int | None) -> None:
    """By its name, its appProtocol or its number; else the only one that may; never a guess among several."""
    found = [port_for(ports, scheme) for scheme in ("http", "https")]
    assert [each and each["port"] for each in found] == [http, https]


@pytest.mark.parametrize(("wanted", "expected"), [("http2", 80), ("443", 443), ("web", None)])
def test_port_that_is_named(wanted: str, expected: int | None) -> None:
    """By its name or number, and no other in its place."""
    found = port_for(PORTS, "http", wanted)
    assert (found and found["port"]) == expected


def test_status_port() -> None:
    """By where it leads to; ports are called by their names, where they have any."""
    assert [called(each) for each in (status_port(PORTS), port(80)) if each] == ["status-port", "80"]
    moved = status_port([port(80), port(9000, "ready", targetPort=15021)])
    assert moved is not None
    assert called(moved) == "ready"
    assert status_port([port(80)]) is None
