# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that are missing, or do not answer."""

from __future__ import annotations

import pytest
from harness.mesh_objects import INGRESS, ISTIO, JUST_NOW, Object, codes, deployment, obj, pod, service, state

from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.diagnose import diagnose
from ansible_collections.meshops.istio.plugins.module_utils.exposure.load_balancers import Evidence

BALANCED = service(INGRESS, ISTIO, type="LoadBalancer")
ADDRESS: Object = {**BALANCED, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
KEY = (ISTIO, INGRESS)
OPEN, CLOSED, LOST = {"192.0.2.1:80": ""}, {"192.0.2.1:80": "Connection refused"}, {"192.0.2.1:80": "timed out"}


def warning(reason: str, message: str) -> Object:
    """An event about the gateway's Service."""
    found = obj("Event", "x", ISTIO) | {"type": "Warning", "reason": reason, "message": message}
    return found | {
        "involvedObject": {"uid": BALANCED["metadata"]["uid"]},
        "source": {"component": "metallb-controller"},
    }


@pytest.mark.parametrize(
    ("seen", "events", "code"),
    [
        (Evidence(), [], "load-balancer-missing"),
        (Evidence(poolless=["MetalLB"]), [], "load-balancer-no-pool"),
        (Evidence(clouds=["AWS"]), [], "load-balancer-pending"),
        (Evidence(unknown=True), [], "load-balancer-pending"),
        (None, [], "load-balancer-pending"),
        (Evidence(), [warning("AllocationFailed", "no available IPs")], "load-balancer-pending"),
    ],
)
def test_no_address(seen: Evidence | None, events: list[Object], code: str) -> None:
    """By what the cluster is, and by what somebody has said; as preflight calls it."""
    found = diagnose(state(BALANCED, *events, addresses=seen)).main
    assert found is not None
    assert found.code == code
    assert not events or "no available IPs" in found.message


def test_a_cloud_has_a_minute() -> None:
    """One that gives none at all is known at once."""
    young = service(INGRESS, ISTIO, type="LoadBalancer")
    young["metadata"]["creationTimestamp"] = JUST_NOW
    assert codes(state(young, addresses=Evidence(clouds=["AWS"]))) == []
    assert codes(state(young, addresses=Evidence())) == ["load-balancer-missing"]


def test_service_that_is_not_there() -> None:
    """Of a gateway that somebody names; a run that has not come to its gateways yet names them too."""
    gone = (f"Service/{INGRESS}",)
    assert codes(state(without=gone)) == ["gateway-missing"]
    assert codes(state(without=gone, exposed=False)) == []
    assert codes(state(without=gone, partly={"Service": {"shop"}})) == []


def test_not_asked_from_outside() -> None:
    """Then no address matters."""
    assert codes(state(BALANCED, addresses=Evidence(), exposed=False)) == []


@pytest.mark.parametrize(
    ("tried", "says"),
    [(OPEN, ""), ({}, ""), ({**LOST, "b:80": ""}, ""), (CLOSED, "kube-proxy"), (LOST, "firewalls")],
)
def test_connections(tried: dict[str, str], says: str) -> None:
    """One that is taken is enough; else a refusal and a silence are different things."""
    found = diagnose(state(ADDRESS, answered={KEY: tried}))
    assert (found.main.code if found.main else "") == ("gateway-unreachable" if says else "")
    assert not found.main or says in found.main.fix


def test_gateway_that_is_not_ready() -> None:
    """Is why it does not answer."""
    broken = state(
        ADDRESS, deployment(INGRESS, ISTIO, 0), pod(INGRESS, ISTIO, "istio-proxy", ready=False), answered={KEY: CLOSED}
    )
    found = codes(broken)
    assert found[0] != "gateway-unreachable"
    assert found[-1] == "gateway-unreachable"


def test_only_nodes_with_a_pod() -> None:
    """With externalTrafficPolicy Local that may be the reason."""
    local = service(INGRESS, ISTIO, type="NodePort", externalTrafficPolicy="Local")
    found = diagnose(state(local, answered={KEY: LOST})).main
    assert found is not None
    assert "externalTrafficPolicy Local" in found.fix
