# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings become the releases, values and node ports that they should, or an error that names the setting."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm import sources
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import Source
from ansible_collections.meshops.istio.plugins.module_utils.helm.values import merged
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition, gateways, options
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import MeshOptions


def settings(**given: Any) -> MeshOptions:
    """What a job gets: options as Ansible validates them, with the defaults of those that are not given, parsed."""
    result = ArgumentSpecValidator(copy.deepcopy(options.MESH_ARGUMENT_SPEC)).validate(
        {"chart_version": "1.31.0", **given}
    )
    assert not result.error_messages
    return MeshOptions.of(result.validated_parameters)


def release(name: str, **given: Any) -> composition.Release:
    """One of the releases of a mesh."""
    return next(found for found in composition.releases(settings(**given)) if found.name == name)


def refused(**given: Any) -> str:
    """The message with which a mesh is refused."""
    with pytest.raises(JobError) as caught:
        composition.releases(settings(**given))
    return str(caught.value)


def ports_of(found: composition.Release) -> dict[str, int | None]:
    """Node ports by the name of the port."""
    return {port["name"]: port.get("nodePort") for port in found.values["service"]["ports"]}


def test_default_mesh() -> None:
    """Base and istiod together, then the guide's ingress gateway behind a LoadBalancer."""
    found = composition.releases(settings())
    assert [(item.name, item.namespace, item.chart.name, item.stage, item.runs_pods) for item in found] == [
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
    found = composition.releases(settings(components=["istiod", "base"], gateways=[{"name": "b"}, {"name": "a"}]))
    assert [item.name for item in found] == ["istiod", "istio-base", "b", "a"]
    assert [item.stage for item in found] == [0, 0, 1, 1]


def test_only_some_components() -> None:
    """Who brings a control plane of their own gets gateways alone."""
    gateways = [{"name": "istio-ingressgateway"}]
    assert [item.name for item in composition.releases(settings(preset="none", gateways=gateways))] == [
        "istio-ingressgateway"
    ]
    assert [item.name for item in composition.releases(settings(preset="none", components=["base"]))] == ["istio-base"]


def test_namespace_of_the_mesh() -> None:
    """Istio's namespace is the releases' and is what charts are told; a gateway may have its own."""
    found = {
        item.name: item
        for item in composition.releases(
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
    before = copy.deepcopy(gateways.PORTS)
    release("a", gateways=[{"name": "a", "node_ports": {"http2": 30010}}])
    assert before == gateways.PORTS
    assert ports_of(release("a", gateways=[{"name": "a"}])) == {"status-port": None, "http2": None, "https": None}


@pytest.mark.parametrize("number", ["web", None, True, 30010.5, "", [30010]])
def test_node_port_that_is_no_number(number: Any) -> None:
    """Named with gateway and port."""
    message = refused(gateways=[{"name": "a", "node_ports": {"http2": number}}])
    assert message.startswith(f"gateways: a: node_ports: http2: {number!r} is not a port number. Set ")


def test_node_port_of_a_port_that_is_not_there() -> None:
    """`http` is what most people write for `http2`: the ports that are there are named."""
    message = refused(gateways=[{"name": "a", "node_ports": {"http": 30010}}])
    assert message.startswith("gateways: a: node_ports: http: the gateway has no port of that name.")
    assert "Its ports are status-port, http2, https." in message


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


@pytest.mark.parametrize(
    ("component", "option", "path"),
    [(component, option, path) for component, places in options.PLACES.items() for option, path in places.items()],
)
def test_option_stands_where_its_chart_takes_it(component: str, option: str, path: str) -> None:
    """Each option that charts take as it is; one that is empty is left to the chart."""
    spec = options.MESH_ARGUMENT_SPEC[option]
    value = {"bool": True, "list": ["a"]}.get(spec["type"], (spec.get("choices") or ["a"])[0])
    listed = ["base", "istiod", *{component} - {"base", "istiod", "gateway"}]

    def found(**given: Any) -> Any:
        every = composition.releases(settings(components=listed, gateways=[{"name": "in"}], **given))
        place: Any = next(each.values for each in every if each.component == component)
        for key in path.split("."):
            place = place.get(key, {})
        return place

    by_name = component == "gateway" and option == "image_pull_secrets"
    assert found(**{option: value}) == ([{"name": "a"}] if by_name else value)
    assert found() == (spec.get("default") if option == "namespace" else {})


def test_node_ports_as_preflight_asks_for_them() -> None:
    """With the namespace and Service that may hold them already."""
    two = [
        {"name": "a", "node_ports": {"http2": 30010}},
        {"name": "b", "namespace": "edge", "node_ports": {"https": 30011}},
    ]
    found = composition.node_ports(composition.releases(settings(gateways=two)))
    assert [(item.namespace, item.service, item.name, item.port) for item in found] == [
        ("istio-system", "a", "http2", 30010),
        ("edge", "b", "https", 30011),
    ]
    assert found[1].where == "gateway b, port https"


def https(number: Any, **service: Any) -> dict[str, Any]:
    """Helm values that pin a node port."""
    return {"service": {"ports": [{"name": "https", "port": 443, "nodePort": number}], **service}}


#: Where a node port of gateway `a` may stand.
PLACES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "values of all gateways": lambda values: {"gateways": [{"name": "a"}], "values": {"gateway": values}},
    "values by its name": lambda values: {"gateways": [{"name": "a"}], "values": {"a": values}},
    "its own values": lambda values: {"gateways": [{"name": "a", "values": values}]},
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_node_ports_of_helm_values(place: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """They reach the Service as those of the option do, unless it is of a type that has none."""

    def found(**given: Any) -> list[tuple[str, int]]:
        return [(port.where, port.port) for port in composition.node_ports(composition.releases(settings(**given)))]

    assert found(**place(https(30443))) == [("gateway a, port https", 30443)]
    assert found(exposure="NodePort", **place(https("30443"))) == [("gateway a, port https", 30443)]
    assert found(**place(https(30443, type="ClusterIP"))) == []
    assert found(**place({"service": {"ports": "none"}})) == found(**place({"service": None})) == []
    assert "values: a: service.ports: https: nodePort 'soon' is not a port number" in refused(**place(https("soon")))
    other = {"name": "b", "node_ports": {"http2": 30443}}
    given = place(https(30443))
    assert "Node port 30443 is pinned twice" in refused(**{**given, "gateways": [*given["gateways"], other]})


@pytest.mark.parametrize("number", [float("nan"), float("-inf"), 10**400])
@pytest.mark.parametrize(
    "given",
    [
        lambda number: {"values": {"istiod": {"a": [{"b": number}]}}},
        lambda number: {"gateways": [{"name": "istiod", "namespace": "edge", "values": {"a": [{"b": number}]}}]},
    ],
)
def test_number_that_json_cannot_hold(given: Callable[[Any], dict[str, Any]], number: float) -> None:
    """Helm would take it for text, and each run would find it different."""
    assert "values: istiod: a[0].b is a number that neither JSON nor Helm can represent" in refused(**given(number))


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
    found = composition.releases(settings(preset="none", gateways=gateways))
    assert [item.namespace for item in found] == ["istio-system", "edge"]


def test_unknown_component() -> None:
    """The names that are known are named."""
    message = refused(values={"pillot": {}, "istiod": {}})
    assert message.startswith("values: unknown component pillot. Valid names: base, cert-manager, cni, gateway, ")
    message = refused(components=["base", "pillot"])
    assert message.startswith("components: unknown component pillot. Valid names: base, ")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"pilot": {"traceSampling": 1}}, "pilot is a name from the 2018 chart. Set values of istiod instead."),
        ({"mixer": {}}, "mixer is a name from the 2018 chart; it no longer exists: proxies report telemetry"),
        ({"gateways": {"istio-ingressgateway": {"type": "NodePort"}}}, "List gateways in istio_helm_gateways, and set"),
    ],
)
def test_values_of_the_chart_of_2018(values: dict[str, Any], says: str) -> None:
    """They would reach nothing."""
    assert says in refused(values=values)


@pytest.mark.parametrize("name", ["ingressgateway", "egressgateway", "gateways"])
def test_gateways_are_no_components(name: str) -> None:
    """There may be many, so they have a list of their own."""
    assert refused(components=[name]) == (
        f"components: gateways are listed in istio_helm_gateways, each by its name. Move {name} to istio_helm_gateways."
    )


def names(**given: Any) -> list[str]:
    """The releases of a mesh, in order."""
    return [item.name for item in composition.releases(settings(**given))]


def test_preset_guide() -> None:
    """All that the guide's chart turned on, of which Mixer has no heir: everything but mutual TLS and cert-manager."""
    addons = ["prometheus", "grafana", "jaeger", "kiali"]
    gateways = ["istio-ingressgateway", "istio-egressgateway"]
    assert names(preset="guide") == ["istio-base", "istiod", *addons, *gateways]
    assert release("prometheus", preset="guide").namespace == "istio-system"


@pytest.mark.parametrize(("exposure", "expected"), [("LoadBalancer", "ClusterIP"), ("NodePort", "NodePort")])
def test_egress_gateway_of_the_preset(exposure: str, expected: str) -> None:
    """On KVM the guide gives both gateways node ports; a cloud's address would be for nobody."""
    found = release("istio-egressgateway", preset="guide", exposure=exposure)
    assert found.values["service"]["type"] == expected


def test_preset_none() -> None:
    """Only what is listed."""
    assert names(preset="none") == []
    assert names(preset="none", profile="ambient") == []
    assert names(preset="none", components=["kiali"]) == ["kiali"]


def test_what_is_listed_counts_more_than_the_preset() -> None:
    """Each of the two lists by itself."""
    assert names(preset="guide", components=["istiod"]) == ["istiod", "istio-ingressgateway", "istio-egressgateway"]
    assert names(gateways=[{"name": "edge"}]) == ["istio-base", "istiod", "edge"]


def test_ambient() -> None:
    """Istio CNI beside istiod, then ztunnel, which needs both; each chart is told."""
    found = {item.component: item for item in composition.releases(settings(profile="ambient"))}
    assert {name: item.stage for name, item in found.items()} == {
        "base": 0, "istiod": 0, "cni": 0, "ztunnel": 1, "gateway": 1,
    }  # fmt: skip
    assert found["istiod"].values["profile"] == found["cni"].values["profile"] == "ambient"
    assert (found["cni"].name, found["cni"].chart.name) == ("istio-cni", "cni")
    assert found["ztunnel"].values == {"istioNamespace": "istio-system"}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.31.1", {"pilot": {"cni": {"enabled": True}}}),
        ("1.24.0", {"pilot": {"cni": {"enabled": True}}}),
        ("1.23.6", {"istio_cni": {"enabled": True}}),
    ],
)
def test_istiod_knows_of_istio_cni_54968(version: str, expected: dict[str, Any]) -> None:
    """istio#54968: from 1.23 to 1.24 the flag moved, and istio-init was back in pods that may not have it."""
    given = {"chart_version": version, "components": ["base", "istiod", "cni"]}
    assert release("istiod", **given).values == {"global": {"istioNamespace": "istio-system"}, **expected}
    assert "pilot" not in release("istiod", chart_version=version).values


def test_istio_csr() -> None:
    """It signs instead of istiod, so it is ready before istiod, and cert-manager before both."""
    given = {"components": ["istiod", "base", "istio-csr", "cert-manager", "ztunnel"], "gateways": [{"name": "in"}]}
    found = {item.component: item for item in composition.releases(settings(**given))}
    assert [found[name].stage for name in ("cert-manager", "istio-csr", "istiod", "gateway", "ztunnel")] == [
        0,
        1,
        2,
        3,
        3,
    ]
    assert found["istiod"].values["global"]["caAddress"] == "cert-manager-istio-csr.cert-manager.svc:443"
    assert found["istiod"].values["env"] == {"ENABLE_CA_SERVER": "false"}
    assert found["ztunnel"].values["caAddress"] == "cert-manager-istio-csr.cert-manager.svc:443"
    assert found["istio-csr"].values == {"app": {"istio": {"namespace": "istio-system"}}}
    assert found["cert-manager"].namespace == found["istio-csr"].namespace == "cert-manager"
    own = {"leaderElection": {"namespace": "cert-manager"}}  # not kube-system, where nothing else is written
    assert found["cert-manager"].values == {"crds": {"enabled": True}, "global": own}
    assert "caAddress" not in release("istiod").values["global"]


def test_pull_secrets_reach_every_pod_of_istio_57215() -> None:
    """istio#57215: names in `global` reach istiod and sidecars, and no gateway, whose chart wants references."""
    given = {"image_pull_secrets": ["a", "b"], "components": ["istiod", "cni", "ztunnel"]}
    assert release("istiod", **given).values["global"]["imagePullSecrets"] == ["a", "b"]
    assert release("istio-cni", **given).values["global"]["imagePullSecrets"] == ["a", "b"]
    assert release("ztunnel", **given).values["imagePullSecrets"] == ["a", "b"]
    assert release("istio-ingressgateway", **given).values["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


def test_images_of_every_component() -> None:
    """Each chart takes them elsewhere."""
    given = {"hub": "h", "tag": "t", "image_pull_policy": "Never", "profile": "ambient"}
    assert release("istio-cni", **given).values["global"] == {"hub": "h", "tag": "t", "imagePullPolicy": "Never"}
    found = release("ztunnel", **given).values
    assert [found[key] for key in ("hub", "tag", "imagePullPolicy")] == ["h", "t", "Never"]


# -- where charts come from --------------------------------------------------------------------------------------------


def test_istios_charts_come_from_its_repository() -> None:
    """In Istio's version."""
    assert release("istiod", chart_repository="/charts").chart == sources.ChartReference(
        Source("/charts"), "istiod", "1.31.0"
    )


def test_manifests_come_from_istio_too() -> None:
    """Of the same version."""
    expected = sources.ChartReference(Source("https://x/1.31.0/addons"), "kiali", "1.31.0", manifest=True)
    assert release("kiali", preset="guide", addons_repository="https://x/{version}/addons").chart == expected


def test_chart_of_ones_own() -> None:
    """Then the component takes values."""
    entry = {"component": "prometheus", "repository": "https://x", "version": "28.13.0"}
    found = release("prometheus", preset="guide", charts=[entry], values={"prometheus": {"a": 1}})
    assert found.chart == sources.ChartReference(Source("https://x"), "prometheus", "28.13.0")
    assert found.values == {"a": 1}


def test_another_version_of_a_chart() -> None:
    """The rest stays."""
    found = release(
        "cert-manager", components=["cert-manager"], charts=[{"component": "cert-manager", "version": "v9"}]
    )
    assert (found.chart.name, found.chart.version) == ("cert-manager", "v9")
    assert found.chart.source.repository.startswith("https://")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"charts": [{"component": "prometheus", "repository": "x"}]}, "needs both repository and version"),
        ({"charts": [{"component": "base", "version": "1"}]}, "provides the CRDs for role crds"),
        ({"charts": [{"component": "pilot", "version": "1"}]}, "unknown component pilot"),
        (
            {"preset": "guide", "values": {"kiali": {"a": 1}}},
            "kiali is installed from Istio's manifest, which takes no values",
        ),
    ],
)
def test_charts_and_values_that_reach_nothing(given: dict[str, Any], says: str) -> None:
    """One message, before anything is read."""
    assert says in refused(**given)


# -- advice ------------------------------------------------------------------------------------------------------------


def test_names_of_the_guide_are_understood() -> None:
    """What they became is installed, once, and said; with base, which was a part of the chart of then."""
    given = settings(components=["pilot", "galley", "mixer", "certmanager"])
    assert [item.name for item in composition.releases(given)][:3] == ["istio-base", "istiod", "cert-manager"]
    assert {finding.code for finding in composition.advice(given)} == {"component-renamed"}
    assert [f"{finding.object} {finding.message}" for finding in composition.advice(given)] == [
        "component pilot as of Istio 1.5, it is part of istiod. istiod is installed in its place.",
        "component galley as of Istio 1.5, it is part of istiod. istiod is installed in its place.",
        "component mixer as of Istio 1.8, it no longer exists: proxies report telemetry (Telemetry), "
        "AuthorizationPolicy and WasmPlugin do the rest. Nothing is installed in its place.",
        "component certmanager as of Istio 1.5, it is cert-manager's own chart. cert-manager is installed in its "
        "place.",
    ]


def test_what_is_not_for_production_is_said() -> None:
    """As long as it comes from Istio's manifest."""
    chart = {"component": "kiali", "repository": "https://x", "version": "2.27.0"}
    found = composition.advice(settings(components=["istiod", "kiali", "jaeger"], charts=[chart]))
    assert [(finding.code, finding.object) for finding in found] == [("addon-quick-start", "component jaeger")]
    assert composition.advice(settings()) == []


def test_values_that_are_no_map() -> None:
    """A name alone is what YAML makes of values that were commented out; a text is a mistake."""
    assert release("istiod", values={"istiod": None, "gateway": None}).values == {
        "global": {"istioNamespace": "istio-system"}
    }
    assert (
        refused(values={"istiod": "small"})
        == "values: istiod: 'small' is not a map of Helm values. Correct istio_helm_values."
    )


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
    assert merged(base, over) == expected


def test_merged_shares_nothing() -> None:
    """What is changed in the result reaches neither side."""
    base, over = {"a": {"b": []}}, {"c": {"d": []}}
    result = merged(base, over)
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
    assert settings(platform=wanted).on_platform(lambda: served).platform == expected


def test_platform_reaches_every_chart() -> None:
    """Each of them adds settings of its own; the user's values win."""
    found = composition.releases(settings(platform="openshift", values={"istiod": {"global": {"platform": "gke"}}}))
    assert [item.values["global"]["platform"] for item in found] == ["openshift", "gke", "openshift"]
    assert not any("platform" in item.values.get("global", {}) for item in composition.releases(settings()))


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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"platform": "openshift"}, ["istio-cni-missing"]),
        ({"platform": "openshift", "components": ["base", "istiod", "cni"]}, []),
        ({"platform": "openshift", "profile": "ambient"}, []),
        ({"platform": "openshift", "components": ["base"]}, []),
        ({"platform": "gke"}, []),
        ({"platform": ""}, []),
        ({}, []),
    ],
)
def test_platform_that_expects_istio_cni(given: dict[str, Any], expected: list[str]) -> None:
    """OpenShift's settings do; without it, pods with a sidecar never start."""
    assert [finding.code for finding in composition.platform_advice(settings(**given))] == expected
