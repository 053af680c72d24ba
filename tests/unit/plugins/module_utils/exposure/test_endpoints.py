# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway is looked for where its Service says, best address first, and never on a node that is down."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.exposure.endpoints import (
    Endpoint,
    Proxied,
    at_address,
    endpoints,
    keeps_local,
    load_balancer_endpoints,
    node_endpoints,
    serving_nodes,
)


def service(kind: str = "NodePort", ingress: Any = None, **port: Any) -> dict[str, Any]:
    """A gateway's Service with the port http2."""
    ports = [
        {"name": "status-port", "port": 15021, "nodePort": 30021},
        {"name": "http2", "port": 80, "nodePort": 30080, **port},
    ]
    status = {"loadBalancer": {} if ingress is None else {"ingress": ingress}}
    return {"kind": "Service", "spec": {"type": kind, "ports": ports}, "status": status}


def node(ready: str = "True", **addresses: str) -> dict[str, Any]:
    """A node with addresses by their type."""
    return {
        "status": {
            "conditions": [{"type": "MemoryPressure", "status": "True"}, {"type": "Ready", "status": ready}],
            "addresses": [{"type": kind, "address": address} for kind, address in addresses.items()],
        }
    }


@pytest.mark.parametrize(
    ("host", "expected"),
    [("192.0.2.1", "192.0.2.1:80"), ("a.example.com", "a.example.com:80"), ("2001:db8::1", "[2001:db8::1]:80")],
)
def test_authority(host: str, expected: str) -> None:
    """An IPv6 address stands in brackets."""
    assert Endpoint(host, 80).authority == expected


def test_addresses_in_order() -> None:
    """All external addresses first, then internal ones, then names; others, such as InternalDNS, never."""
    nodes = [
        node(Hostname="a", InternalIP="10.0.0.1", ExternalIP="192.0.2.1", InternalDNS="a.internal"),
        node(InternalIP="10.0.0.2", ExternalIP="192.0.2.2"),
    ]
    found = node_endpoints(service(), "http2", nodes)
    assert [endpoint.host for endpoint in found] == ["192.0.2.1", "192.0.2.2", "10.0.0.1", "10.0.0.2", "a"]
    assert {endpoint.port for endpoint in found} == {30080}


@pytest.mark.parametrize("ready", ["False", "Unknown"])
def test_only_ready_nodes(ready: str) -> None:
    """A node that is down answers nothing."""
    nodes = [node(ready, InternalIP="10.0.0.1"), node(InternalIP="10.0.0.2")]
    assert node_endpoints(service(), "http2", nodes) == [Endpoint("10.0.0.2", 30080)]


@pytest.mark.parametrize(
    "nodes",
    [
        [],
        [{}],
        [{"status": {"conditions": None, "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}],
        [{"status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": None}}],
    ],
    ids=["no nodes", "bare node", "no conditions", "no addresses"],
)
def test_nodes_that_say_nothing(nodes: list[dict[str, Any]]) -> None:
    """Just joined, maybe."""
    assert node_endpoints(service(), "http2", nodes) == []


def test_port_without_a_node_port() -> None:
    """A ClusterIP Service has none, and neither has a port that is not there."""
    nodes = [node(InternalIP="10.0.0.1")]
    assert node_endpoints(service("ClusterIP", nodePort=None), "http2", nodes) == []
    assert node_endpoints(service(), "https", nodes) == []
    assert node_endpoints({"spec": {}}, "http2", nodes) == []


@pytest.mark.parametrize(
    ("ingress", "expected"),
    [
        ([{"ip": "192.0.2.1"}], [Endpoint("192.0.2.1", 80)]),
        ([{"hostname": "a.elb.example.com"}], [Endpoint("a.elb.example.com", 80)]),
        (
            [{"hostname": "a.example.com", "ip": "192.0.2.1"}],
            [Endpoint("a.example.com", 80), Endpoint("192.0.2.1", 80)],
        ),
        ([{"ports": [{"port": 80}]}, {"ip": ""}], []),
        ([{"hostname": "", "ip": "192.0.2.1"}], [Endpoint("192.0.2.1", 80)]),
        ([{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}], [Endpoint("192.0.2.1", 80), Endpoint("192.0.2.2", 80)]),
        ([], []),
        (None, []),
    ],
    ids=["ip", "host name", "both", "neither", "empty host name", "several", "pending", "pending, no list"],
)
def test_load_balancer(ingress: Any, expected: list[Endpoint]) -> None:
    """The provider's addresses, at the Service's port and not the node's."""
    assert load_balancer_endpoints(service("LoadBalancer", ingress), "http2") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1:80", Endpoint("192.0.2.1", 80)),
        ("[2001:db8::1]:80", Endpoint("2001:db8::1", 80)),
        ("gw.example.com:30010", Endpoint("gw.example.com", 30010)),
        (f"{'a' * 63}.example.com:80", Endpoint(f"{'a' * 63}.example.com", 80)),
        (f"{'a' * 64}.example.com:80", None),
        (f"{'a.' * 130}com:80", None),
        ("a..b:80", None),
        ("-a.example.com:80", None),
        ("a b:80", None),
        (":80", None),
        ("192.0.2.1", None),
        ("192.0.2.1:0", None),
        ("192.0.2.1:65536", None),
        ("192.0.2.1:\u0663", None),
    ],
)
def test_address(text: str, expected: Endpoint | None) -> None:
    """What no DNS query could be made of is told before it is tried."""
    assert at_address(text) == expected


def test_load_balancer_without_the_port() -> None:
    """Then there is nowhere to try."""
    assert load_balancer_endpoints(service("LoadBalancer", [{"ip": "192.0.2.1"}]), "https") == []
    assert load_balancer_endpoints({"spec": {}, "status": {}}, "http2") == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("LoadBalancer", [Endpoint("192.0.2.9", 80)]),
        ("NodePort", [Endpoint("10.0.0.1", 30080)]),
    ],
)
def test_the_type_of_the_service_decides(kind: str, expected: list[Endpoint]) -> None:
    """A LoadBalancer has node ports too, but these are not meant for outside."""
    found = endpoints(service(kind, [{"ip": "192.0.2.9"}]), "http2", [node(InternalIP="10.0.0.1")])
    assert found == expected


def test_urls() -> None:
    """Of a path and its query; through the API server by the name of the Service's port."""
    assert Endpoint("2001:db8::1", 80).url("/a?b=c") == "http://[2001:db8::1]:80/a?b=c"
    place = Proxied("https://192.0.2.9:6443", "istio-system", "in", "http2")
    assert place.path("/a?b=c") == "/api/v1/namespaces/istio-system/services/http:in:http2/proxy/a?b=c"
    assert place.url("/a") == "https://192.0.2.9:6443/api/v1/namespaces/istio-system/services/http:in:http2/proxy/a"


def test_ports_by_name_and_number() -> None:
    """One that is alone may have no name."""
    for wanted, expected in (("http2", 30080), ("80", 30080), ("http", None)):
        found = endpoints(service(), wanted, [node(InternalIP="10.0.0.1")])
        assert [each.port for each in found] == ([expected] if expected else [])


@pytest.mark.parametrize(("policy", "expected"), [("Local", True), ("Cluster", False), (None, False)])
def test_policy_of_traffic(policy: str | None, expected: bool) -> None:
    """Kubernetes' default is Cluster."""
    assert keeps_local({"spec": {"externalTrafficPolicy": policy} if policy else {}}) is expected


def pod(node: str | None, ready: str = "True", **meta: Any) -> dict[str, Any]:
    """A pod of the gateway."""
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": "x", **meta}, "spec": {"nodeName": node} if node else {}, "status": status}


def test_nodes_that_serve() -> None:
    """Those with a pod that is ready, and not going."""
    going = pod("d", deletionTimestamp="2026-11-22T12:00:00Z")
    pods = [pod("a"), pod("a", "False"), pod("b", "False"), pod(None), going, pod("e")]
    assert serving_nodes(pods) == {"a", "e"}


@pytest.mark.parametrize(
    ("serving", "expected"), [(None, ["10.0.0.1", "10.0.0.2"]), ({"b", "c"}, ["10.0.0.2"]), (set(), [])]
)
def test_only_nodes_that_serve(serving: set[str] | None, expected: list[str]) -> None:
    """With externalTrafficPolicy Local; a node that serves and is not ready is none."""
    nodes = [node(InternalIP="10.0.0.1"), node(InternalIP="10.0.0.2"), node("False", InternalIP="10.0.0.3")]
    for name, each in zip("abc", nodes, strict=True):
        each["metadata"] = {"name": name}
    assert [found.host for found in endpoints(service(), "http2", nodes, serving)] == expected
