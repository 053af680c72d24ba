# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run installs is what it proves, each gateway in the best way there is, and what is not proven is said."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure.gateway_objects import Gateway, as_the_chart_has_it
from ansible_collections.meshops.istio.plugins.module_utils.liveness import gateway_targets
from ansible_collections.meshops.istio.plugins.module_utils.liveness.gateway_targets import (
    NONE,
    READINESS,
    REQUEST,
    Target,
)
from ansible_collections.meshops.istio.plugins.module_utils.mesh.gateways import PORTS


def options(**over: Any) -> dict[str, Any]:
    """Of istio_liveness."""
    defaults = {
        "istio_namespace": "istio-system",
        "namespace": "liveness",
        "gateways": [],
        "preset": "lean",
        "exposure": "NodePort",
        "gateway": None,
        "gateway_namespace": None,
        "asked": [],
        "verify_from": "controller",
        "address": None,
        "scheme": "http",
        "port": None,
    }
    return {**defaults, **over}


PUBLIC, INNER = {"name": "public", "namespace": "edge"}, {"name": "inner", "type": "ClusterIP"}
EGRESS = {"name": "istio-egressgateway"}
PRESETS_OWN, OUT = ["istio-system/istio-ingressgateway"], "istio-system/istio-egressgateway"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, PRESETS_OWN),
        ({"preset": None}, PRESETS_OWN),
        ({"preset": "guide"}, [*PRESETS_OWN, OUT]),
        ({"gateways": [{"name": "public"}]}, ["istio-system/public"]),
        ({"gateways": [{"name": "istio-ingress", "namespace": "istio-ingress"}]}, ["istio-ingress/istio-ingress"]),
        ({"gateways": [PUBLIC], "preset": None}, ["edge/public"]),
        (
            {"gateways": [EGRESS, INNER, PUBLIC]},
            ["edge/public", OUT, "istio-system/inner"],
        ),
        (
            {"gateways": [EGRESS, INNER], "verify_from": "cluster"},
            ["istio-system/inner", OUT],
        ),
        ({"gateways": [EGRESS]}, [OUT]),
        ({"gateways": [INNER, PUBLIC], "gateway": "inner"}, ["istio-system/inner", "edge/public"]),
        ({"gateways": [INNER, PUBLIC], "gateway_namespace": "edge"}, ["edge/public", "istio-system/inner"]),
        ({"gateways": [PUBLIC], "gateway": "old"}, ["istio-system/old", "edge/public"]),
        ({"gateway": "old", "gateway_namespace": "edge", "preset": None}, ["edge/old"]),
        ({"gateway_namespace": "edge", "preset": None}, ["edge/istio-ingressgateway"]),
        ({"preset": "none", "gateway": "old"}, ["istio-system/old"]),
        ({"gateways": [{"name": "a", "namespace": "x"}, {"name": "a", "namespace": "y"}]}, ["x/a", "y/a"]),
    ],
    ids=str,
)
def test_what_is_proven(given: dict[str, Any], expected: list[str]) -> None:
    """What is installed, all of it; first the one that is named, else the first that requests can come in by."""
    assert list(map(str, gateway_targets.wanted(options(**given)))) == expected


def test_nothing_to_prove() -> None:
    """A run that installs no gateway and is told of none."""
    with pytest.raises(JobError, match=r"^This run installs no gateway.*istio_helm_gateways.*liveness_verify_gateway"):
        gateway_targets.wanted(options(preset="none"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"gateways": [PUBLIC]}, ""),
        ({"gateways": [PUBLIC], "gateway": "public"}, ""),
        ({"gateway": "old", "preset": None}, ""),
        (
            {"gateways": [PUBLIC], "gateway": "old"},
            "to gateway istio-system/old, which this run does not install",
        ),
    ],
)
def test_a_gateway_that_the_run_does_not_install(given: dict[str, Any], told: str) -> None:
    """Somebody has named one, and the run installs others: said, with the variables."""
    warning = gateway_targets.not_installed(gateway_targets.wanted(options(**given)))
    assert told in warning
    assert bool(told) == bool(warning)
    assert not told or "it installs edge/public" in warning


def made(name: str, kind: str = "NodePort", ports: Any = PORTS, **over: Any) -> Gateway:
    """A gateway as the chart has it."""
    gateway = as_the_chart_has_it("istio-system", name, kind, list(ports))
    return Gateway.of_dict({**gateway.as_dict(), **over})


HTTPS_ONLY, WEB = [PORTS[0], PORTS[2]], {"name": "http", "port": 8080}
#: Options of the run, those of the second gateway, what that is -> how it is proven, and words of why.
SECOND: dict[str, tuple[dict[str, Any], dict[str, Any], Gateway, str, str]] = {
    "node port": ({}, {}, made("second"), REQUEST, ""),
    "load balancer": ({}, {}, made("second", "LoadBalancer"), REQUEST, ""),
    "ClusterIP": ({}, {}, made("second", "ClusterIP"), NONE, "of type ClusterIP; to request it, set live"),
    "ClusterIP from inside": ({"verify_from": "cluster"}, {}, made("second", "ClusterIP"), REQUEST, ""),
    "no Service": ({}, {}, made("second", "", [], service=""), NONE, "no Service selects its pods"),
    "internal": ({}, {"internal": True}, made("second", "LoadBalancer"), NONE, "its load balancer is internal"),
    "internal from inside": (
        {"verify_from": "cluster"},
        {"internal": True},
        made("second", "LoadBalancer"),
        REQUEST,
        "",
    ),
    "an address of the first": ({"address": "192.0.2.9:80"}, {}, made("second"), NONE, "leads to another gateway"),
    "egress": ({}, {}, made("istio-egressgateway"), READINESS, "it handles traffic that leaves the mesh"),
    "egress of ClusterIP": ({}, {}, made("istio-egressgateway", "ClusterIP"), NONE, "of type ClusterIP"),
    "egress without status": ({}, {}, made("istio-egressgateway", ports=PORTS[1:]), NONE, "no port 15021"),
    "only HTTPS": (
        {},
        {},
        made("second", ports=HTTPS_ONLY),
        READINESS,
        "no port for HTTP (its ports: status-port, ht",
    ),
    "HTTPS": ({"scheme": "https"}, {}, made("second", ports=HTTPS_ONLY), REQUEST, ""),
    "left out": ({"asked": ["first"]}, {}, made("second"), NONE, "liveness_verify_gateways does not include it"),
    "asked by name": ({"asked": ["second"]}, {}, made("second"), REQUEST, ""),
    "asked by both": ({"asked": ["istio-system/second"]}, {}, made("second"), REQUEST, ""),
    "port of another name": (
        {"port": "http2"},
        {},
        made("second", ports=[WEB]),
        REQUEST,
        "",
    ),
}


@pytest.mark.parametrize(("given", "entry", "gateway", "proof", "why"), SECOND.values(), ids=SECOND)
def test_how_a_further_gateway_is_proven(
    given: dict[str, Any], entry: dict[str, Any], gateway: Gateway, proof: str, why: str
) -> None:
    """By a request where one can be sent, else by its own word, else not at all; never without a reason."""
    params = options(gateways=[{"name": "first"}, {"name": gateway.name, **entry}], **given)
    found = zip(gateway_targets.wanted(params), [made("first"), gateway], strict=True)
    first, second = gateway_targets.targets(params, found)
    assert (first.proof, first.is_first, second.proof, second.is_first) == (REQUEST, True, proof, False)
    assert why in second.why
    assert bool(second.why) == (proof != REQUEST)
    assert (second.port is None) == (proof == NONE)


def test_own_application_that_is_bound_to_one() -> None:
    """Its own Gateway selects some pods; the other gateway cannot route a request to it."""
    params = options(gateways=[{"name": "first"}, {"name": "second"}])
    found = list(zip(gateway_targets.wanted(params), [made("first"), made("second")], strict=True))
    gateway = {"apiVersion": "networking.istio.io/v1beta1", "kind": "Gateway", "spec": {"selector": {"istio": "first"}}}
    everyone = {**gateway, "spec": {}}
    other_api = {**everyone, "apiVersion": "gateway.networking.k8s.io/v1"}
    for objects, proof in (([gateway], READINESS), ([gateway, everyone], REQUEST), ([gateway, other_api], READINESS)):
        _first, second = gateway_targets.targets(params, found, gateway_targets.selected_by(objects))
        assert second.proof == proof


def bound(*gateways: Gateway, scheme: str = "http", port: str | None = None) -> list[dict[str, Any]]:
    """Value gateways of the app's chart."""
    params = options(gateways=[{"name": gateway.name} for gateway in gateways], scheme=scheme, port=port)
    found = zip(gateway_targets.wanted(params), gateways, strict=True)
    return gateway_targets.bindings(gateway_targets.targets(params, found), scheme)


def test_the_app_is_bound_to_each() -> None:
    """By the labels of its pods and the ports of its Service; one that routes nothing to it is left alone."""
    labels = {"app": "istio-ingress", "istio": "ingressgateway"}
    other = made("second", ports=[{"name": "web", "port": 8080}], selector=labels)
    assert bound(made("first"), other, made("istio-egressgateway")) == [
        {"name": "", "selector": {"app": "first", "istio": "first"}, "http": 80, "https": 443},
        {"name": "second", "selector": labels, "http": 8080, "https": 443},
    ]


def test_alike_gateways_are_one() -> None:
    """Of another namespace with the same labels: Istio's Gateway selects in all."""
    twin = Gateway.of_dict({**made("first").as_dict(), "namespace": "edge"})
    params = options(gateways=[{"name": "first"}, {"name": "first", "namespace": "edge"}])
    found = zip(gateway_targets.wanted(params), [made("first"), twin], strict=True)
    assert len(gateway_targets.bindings(gateway_targets.targets(params, found), "http")) == 1


def test_names_do_not_collide() -> None:
    """Two of a name beside the first, with labels of their own."""
    found = [Target(made("first"), REQUEST)]
    for namespace in ("x", "y"):
        gateway = {**made("a").as_dict(), "namespace": namespace, "selector": {"istio": namespace}}
        found.append(Target(Gateway.of_dict(gateway), REQUEST))
    assert [each["name"] for each in gateway_targets.bindings(found, "http")] == ["", "a", "y-a"]


@pytest.mark.parametrize(("scheme", "port", "expected"), [("http", "web", (81, 443)), ("https", "web", (80, 81))])
def test_a_port_that_is_named(scheme: str, port: str, expected: tuple[int, int]) -> None:
    """The server of its scheme has its number."""
    (binding,) = bound(made("first", ports=[*PORTS, {"name": "web", "port": 81}]), scheme=scheme, port=port)
    assert (binding["http"], binding["https"]) == expected
