# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings become the releases, values and node ports that they should, or an error that names the setting."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils import mesh
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError


def settings(**given: Any) -> dict[str, Any]:
    """What a job gets: options as Ansible validates them, with the defaults of those that are not given."""
    result = ArgumentSpecValidator(copy.deepcopy(mesh.MESH_ARGUMENT_SPEC)).validate(
        {"chart_version": "1.31.0", **given}
    )
    assert not result.error_messages
    return result.validated_parameters


def release(name: str, **given: Any) -> mesh.Release:
    """One of the releases of a mesh."""
    return next(found for found in mesh.releases(settings(**given)) if found.name == name)


def refused(**given: Any) -> str:
    """The message with which a mesh is refused."""
    with pytest.raises(JobError) as caught:
        mesh.releases(settings(**given))
    return caught.value.message


def ports_of(found: mesh.Release) -> dict[str, int | None]:
    """Node ports by the name of the port."""
    return {port["name"]: port.get("nodePort") for port in found.values["service"]["ports"]}


def test_default_mesh() -> None:
    """Base and istiod together, then the guide's ingress gateway behind a LoadBalancer."""
    found = mesh.releases(settings())
    assert [(item.name, item.namespace, item.chart, item.stage, item.runs_pods) for item in found] == [
        ("istio-base", "istio-system", "base", 0, False),
        ("istiod", "istio-system", "istiod", 0, True),
        ("istio-ingressgateway", "istio-system", "gateway", 1, True),
    ]
    assert found[0].values == {"global": {"istioNamespace": "istio-system"}}
    assert found[1].values == {"global": {"istioNamespace": "istio-system"}}
    assert found[2].values["service"]["type"] == "LoadBalancer"
    assert "imagePullPolicy" not in found[2].values


def test_gateways_come_after_istiod_46307() -> None:
    """istio#46307: a gateway's image is `auto` until istiod's injector replaces it, whatever order is asked for."""
    found = mesh.releases(settings(components=["istiod", "base"], gateways=[{"name": "b"}, {"name": "a"}]))
    assert [item.name for item in found] == ["istiod", "istio-base", "b", "a"]
    assert [item.stage for item in found] == [0, 0, 1, 1]


def test_only_some_components() -> None:
    """Who brings a control plane of their own gets gateways alone."""
    assert [item.name for item in mesh.releases(settings(components=[]))] == ["istio-ingressgateway"]
    assert [item.name for item in mesh.releases(settings(components=["base"], gateways=[]))] == ["istio-base"]


def test_namespace_of_the_mesh() -> None:
    """Istio's namespace is the releases' and is what charts are told; a gateway may have its own."""
    found = {
        item.name: item
        for item in mesh.releases(
            settings(namespace="mesh", gateways=[{"name": "in"}, {"name": "out", "namespace": "edge"}])
        )
    }
    assert [found[name].namespace for name in ("istio-base", "istiod", "in", "out")] == ["mesh", "mesh", "mesh", "edge"]
    assert found["istiod"].values["global"]["istioNamespace"] == "mesh"
    assert found["istio-base"].values["global"]["istioNamespace"] == "mesh"


def test_hub_and_tag_reach_istiod_and_every_proxy_57215() -> None:
    """istio#57215: only `global.hub` and `global.tag` reach istiod and the proxies that it injects alike."""
    given = {"hub": "registry.example.com/istio", "tag": "1.31.0-distroless"}
    assert release("istiod", **given).values == {
        "global": {"istioNamespace": "istio-system", "hub": "registry.example.com/istio", "tag": "1.31.0-distroless"}
    }
    assert not {"hub", "tag", "global"} & release("istio-ingressgateway", **given).values.keys()


def test_pull_policy_reaches_istiod_and_gateways_54841() -> None:
    """istio#54841: a gateway's pod is given Always for the image `auto` before the injector names the real one."""
    assert release("istiod", image_pull_policy="IfNotPresent").values["global"]["imagePullPolicy"] == "IfNotPresent"
    assert release("istio-ingressgateway", image_pull_policy="IfNotPresent").values["imagePullPolicy"] == "IfNotPresent"


def test_gateway_readiness_probe_is_asked_often() -> None:
    """The injected probe's 15 s would be most of the time until the first 200 through a new gateway."""
    probe = release("istio-ingressgateway").values["readinessProbe"]
    assert probe["httpGet"] == {"path": "/healthz/ready", "port": 15021}
    assert probe["periodSeconds"] <= 2
    assert probe["initialDelaySeconds"] <= 1
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 30


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "LoadBalancer"),
        ({"exposure": "NodePort"}, "NodePort"),
        ({"exposure": "NodePort", "gateways": [{"name": "istio-ingressgateway", "type": "ClusterIP"}]}, "ClusterIP"),
    ],
)
def test_service_type(given: dict[str, Any], expected: str) -> None:
    """A gateway's own type, else the exposure of the mesh."""
    assert release("istio-ingressgateway", **given).values["service"]["type"] == expected


def test_node_ports_are_pinned_10795() -> None:
    """istio#10795, istio#45113: a list in Helm values replaces the chart's, so the ports are given whole."""
    gateways = [{"name": "istio-ingressgateway", "node_ports": {"http2": 30010, "status-port": "30012"}}]
    found = release("istio-ingressgateway", exposure="NodePort", gateways=gateways)
    assert found.values["service"]["ports"] == [
        {"name": "status-port", "port": 15021, "protocol": "TCP", "targetPort": 15021, "nodePort": 30012},
        {"name": "http2", "port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30010},
        {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443},
    ]


def test_own_ports_replace_the_charts() -> None:
    """The target is the port itself unless another is given."""
    ports = [{"name": "tcp", "port": 31400}, {"name": "dns", "port": 53, "target_port": 5353, "protocol": "UDP"}]
    gateways = [{"name": "edge", "ports": ports, "node_ports": {"dns": 30053}}]
    assert release("edge", gateways=gateways).values["service"]["ports"] == [
        {"name": "tcp", "port": 31400, "protocol": "TCP", "targetPort": 31400},
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353, "nodePort": 30053},
    ]


def test_meshes_do_not_share_their_ports() -> None:
    """What one run pins must not stay in the table of ports for the next."""
    before = copy.deepcopy(mesh.GATEWAY_PORTS)
    release("a", gateways=[{"name": "a", "node_ports": {"http2": 30010}}])
    assert before == mesh.GATEWAY_PORTS
    assert ports_of(release("a", gateways=[{"name": "a"}])) == {"status-port": None, "http2": None, "https": None}


@pytest.mark.parametrize("number", ["web", None, True, 30010.5, "", [30010]])
def test_node_port_that_is_no_number(number: Any) -> None:
    """Named with gateway and port."""
    message = refused(gateways=[{"name": "a", "node_ports": {"http2": number}}])
    assert message == f"gateways: a: node_ports: http2: {number!r} is not a port number."


def test_node_port_of_a_port_that_is_not_there() -> None:
    """`http` is what most people write for `http2`: the ports that are there are named."""
    message = refused(gateways=[{"name": "a", "node_ports": {"http": 30010}}])
    assert message.startswith("gateways: a: node_ports: http: the gateway has no port of that name.")
    assert message.endswith("Its ports are status-port, http2, https.")


def test_node_ports_of_a_cluster_ip() -> None:
    """Kubernetes would refuse them only after half of the mesh is installed."""
    gateways = [{"name": "a", "type": "ClusterIP", "node_ports": {"http2": 30010}}]
    assert "a Service of type ClusterIP has no node ports" in refused(gateways=gateways)


def test_cluster_ip_without_node_ports() -> None:
    """An egress gateway is called from inside."""
    found = release("istio-egressgateway", gateways=[{"name": "istio-egressgateway", "type": "ClusterIP"}])
    assert found.values["service"]["type"] == "ClusterIP"


@pytest.mark.parametrize(
    "gateways",
    [
        [{"name": "a", "node_ports": {"http2": 30010}}, {"name": "b", "node_ports": {"https": 30010}}],
        [{"name": "a", "node_ports": {"http2": 30010, "https": "30010"}}],
    ],
)
def test_node_port_that_is_pinned_twice_2582(gateways: list[dict[str, Any]]) -> None:
    """uds-core#2582: node ports that collide are named with both who want them."""
    message = refused(exposure="NodePort", gateways=gateways)
    assert message.startswith("Node port 30010 is pinned twice: by gateway a, port http2 and by gateway ")
    assert f"gateway {gateways[-1]['name']}, port https" in message


def test_node_port_for_tcp_and_udp() -> None:
    """HTTP/3 is announced for the port of HTTPS: one Service may have one number for both, two Services may not."""
    tls = {"name": "https", "port": 443}
    quic = {"name": "quic", "port": 443, "protocol": "UDP"}
    both = {"name": "a", "ports": [tls, quic], "node_ports": {"https": 30443, "quic": 30443}}
    assert ports_of(release("a", gateways=[both])) == {"https": 30443, "quic": 30443}
    apart = [
        {"name": "a", "ports": [tls], "node_ports": {"https": 30443}},
        {"name": "b", "ports": [quic], "node_ports": {"quic": 30443}},
    ]
    assert "Node port 30443 is pinned twice" in refused(gateways=apart)


def test_node_ports_as_preflight_asks_for_them() -> None:
    """With the namespace and Service that may hold them already."""
    gateways = [{"name": "a", "node_ports": {"http2": 30010}}, {"name": "b", "namespace": "edge"}]
    gateways[1]["node_ports"] = {"https": 30011}  # type: ignore[assignment]
    found = mesh.node_ports(settings(gateways=gateways))
    assert [(item.namespace, item.service, item.name, item.port) for item in found] == [
        ("istio-system", "a", "http2", 30010),
        ("edge", "b", "https", 30011),
    ]
    assert found[1].where == "gateway b, port https"


@pytest.mark.parametrize(
    "gateways",
    [
        [{"name": "a"}, {"name": "a"}],
        [{"name": "a", "namespace": "istio-system"}, {"name": "a"}],
        [{"name": "istiod"}, {"name": "a"}],
    ],
)
def test_name_that_is_used_twice(gateways: list[dict[str, Any]]) -> None:
    """Two releases of a namespace cannot share a name."""
    name = "istiod" if gateways[0]["name"] == "istiod" else "a"
    assert f"the name istio-system/{name} is used twice" in refused(gateways=gateways)


def test_same_name_in_two_namespaces() -> None:
    """Helm keeps releases by namespace."""
    gateways = [{"name": "a"}, {"name": "a", "namespace": "edge"}]
    found = mesh.releases(settings(components=[], gateways=gateways))
    assert [item.namespace for item in found] == ["istio-system", "edge"]


def test_unknown_component() -> None:
    """`pilot` of the guide's time is not a chart any more; the names that are known are named."""
    message = refused(values={"pilot": {}, "istiod": {}})
    assert message == "values: unknown component pilot. Known here: base, gateway, istio-ingressgateway, istiod."


def test_values_that_are_no_map() -> None:
    """A name alone is what YAML makes of values that were commented out; a text is a mistake."""
    assert release("istiod", values={"istiod": None, "gateway": None}).values == {
        "global": {"istioNamespace": "istio-system"}
    }
    assert refused(values={"istiod": "small"}) == "values: istiod: 'small' is no map of Helm values."


def test_values_over_ours() -> None:
    """For all gateways, then for one by name, then by the gateway's own option: the nearest wins; ours stay beneath."""
    found = release(
        "a",
        gateways=[{"name": "a", "values": {"labels": {"own": "1", "all": "own"}}}, {"name": "b"}],
        values={
            "gateway": {"labels": {"all": "1", "name": "1"}, "autoscaling": {"enabled": False}},
            "a": {"labels": {"name": "2", "own": "0"}, "service": {"annotations": {"x": "y"}}},
        },
    )
    assert found.values["labels"] == {"own": "1", "all": "own", "name": "2"}
    assert found.values["autoscaling"] == {"enabled": False}
    assert found.values["service"]["annotations"] == {"x": "y"}
    assert found.values["service"]["type"] == "LoadBalancer"


def test_values_for_one_gateway_are_not_the_others() -> None:
    """Each gateway starts from ours."""
    given = {"gateways": [{"name": "a"}, {"name": "b"}], "values": {"a": {"labels": {"x": "y"}}}}
    assert "labels" in release("a", **given).values
    assert "labels" not in release("b", **given).values


def test_values_of_istiod() -> None:
    """They are merged with what it is told about the mesh."""
    given = {"values": {"istiod": {"global": {"logging": {"level": "debug"}}, "pilot": {"cpu": 1}}}}
    assert release("istiod", **given).values == {
        "global": {"istioNamespace": "istio-system", "logging": {"level": "debug"}},
        "pilot": {"cpu": 1},
    }


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": {"b": 1}}, {"a": "x"}, {"a": "x"}),
        ({"a": "x"}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_merged_as_helm_does(base: dict[str, Any], over: dict[str, Any], expected: dict[str, Any]) -> None:
    """Maps recursively, everything else replaced; null is left for Helm, which takes it for "remove the default"."""
    assert mesh.merged(base, over) == expected


def test_merged_shares_nothing() -> None:
    """What is changed in the result reaches neither side."""
    base, over = {"a": {"b": []}}, {"c": {"d": []}}
    result = mesh.merged(base, over)
    result["a"]["b"].append(1)
    result["c"]["d"].append(1)
    assert (base, over) == ({"a": {"b": []}}, {"c": {"d": []}})


@pytest.mark.parametrize(
    ("wanted", "served", "expected"),
    [
        ("auto", ["apps", "policy"], ""),
        ("auto", ["apps", "security.openshift.io"], "openshift"),
        ("", ["security.openshift.io"], ""),
        ("k3s", ["security.openshift.io"], "k3s"),
    ],
)
def test_platform(wanted: str, served: list[str], expected: str) -> None:
    """Only OpenShift can be known by the API groups that it serves."""
    assert mesh.platform(wanted, served) == expected


def test_platform_reaches_every_chart() -> None:
    """Each of them adds settings of its own; the user's values win."""
    found = mesh.releases(settings(platform="openshift", values={"istiod": {"global": {"platform": "gke"}}}))
    assert [item.values["global"]["platform"] for item in found] == ["openshift", "gke", "openshift"]
    assert not any("platform" in item.values.get("global", {}) for item in mesh.releases(settings()))


@pytest.mark.parametrize(
    ("given", "accepted", "expected"),
    [
        ({}, None, True),
        ({}, frozenset({"service", "readinessProbe"}), True),
        ({}, frozenset({"service"}), False),
        ({"values": {"gateway": {"readinessProbe": {"periodSeconds": 9}}}}, frozenset({"service"}), True),
    ],
)
def test_what_nobody_asked_for_is_left_out_of_older_charts(
    given: dict[str, Any], accepted: frozenset[str] | None, expected: bool
) -> None:
    """Helm's schema check would refuse it; what the user asked for is refused, as it should be."""
    found = release("istio-ingressgateway", **given).fitted(accepted)
    assert ("readinessProbe" in found.values) is expected
    assert "service" in found.values
