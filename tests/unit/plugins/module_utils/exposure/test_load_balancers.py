# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a load balancer would get an address: each piece of evidence, and what is made of it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.exposure import load_balancers
from ansible_collections.meshops.istio.plugins.module_utils.exposure.load_balancers import (
    CLOUDS,
    Evidence,
    evidence,
    findings,
    guessed,
    told,
)
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import ChartReference, Source
from ansible_collections.meshops.istio.plugins.module_utils.mesh.composition import Release

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
GATEWAY = ["istio-system/in"]
CHART = ChartReference(Source("/charts"), "gateway", "1.31.0")


def service(minutes: float, ingress: list[dict[str, str]] | None = None, kind: str = "LoadBalancer") -> dict[str, Any]:
    """A Service of some age."""
    created = (NOW - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    meta = {"namespace": "shop", "name": "web", "creationTimestamp": created}
    return {
        "metadata": meta,
        "spec": {"type": kind},
        "status": {"loadBalancer": {"ingress": ingress} if ingress else {}},
    }


def node(provider: str | None) -> dict[str, Any]:
    """A node of a provider."""
    return {"metadata": {"name": "a"}, "spec": {"providerID": provider} if provider else {}}


def pod(**labels: str) -> dict[str, Any]:
    """A pod with labels."""
    return {"metadata": {"name": "x", "labels": {key.replace("_", "."): value for key, value in labels.items()}}}


def look(**seen: Any) -> Evidence:
    """Evidence of a cluster on which there is nothing but this."""
    empty: dict[str, Any] = {"services": [], "nodes": [], "pods": [], "crds": [], "pools": {}, "now": NOW}
    return evidence(**{**empty, **seen})


def codes(seen: Evidence) -> list[str]:
    """What is made of it."""
    return [finding.code for finding in findings(GATEWAY, seen)]


def gateway(**service: Any) -> Release:
    """A gateway's release."""
    return Release("in", "istio-system", "gateway", CHART, values={"service": service})


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        (gateway(type="LoadBalancer"), GATEWAY),
        (gateway(type="NodePort"), []),
        (gateway(type="LoadBalancer", loadBalancerClass="example.com/ours"), []),
        (Release("istiod", "istio-system", "istiod", CHART, values={"service": {"type": "LoadBalancer"}}), []),
    ],
)
def test_gateways_that_ask_for_an_address(release: Release, expected: list[str]) -> None:
    """By their type; a class of its own is somebody's who must know."""
    assert load_balancers.gateways_asking([release]) == expected


def test_nobody_asks() -> None:
    """Then nothing is missing."""
    assert findings([], look()) == []


@pytest.mark.parametrize(
    "seen",
    [
        {"services": [service(90, [{"ip": "192.0.2.1"}])]},
        {"services": [service(90, [{"hostname": "x.elb.amazonaws.com"}]), service(90)]},
        {"nodes": [node("aws:///eu-central-1a/i-0")]},
        {"nodes": [node("azure:///subscriptions/x"), node(None)]},
        {"nodes": [node("k3s://a")]},
        {"nodes": [node("strange://a")]},
        {"nodes": [node("ocid1.instance.oc1")]},
        {"crds": ["ipaddresspools.metallb.io"], "pools": {"MetalLB": 1}},
        {"crds": ["ciliumloadbalancerippools.cilium.io"], "pools": {"Cilium": 2}},
        {"crds": ["servicegroups.purelb.io"]},
        {"pods": [pod(component="kube-vip-cloud-provider")]},
        {"pods": [pod(app="metallb", component="controller")]},
        {"nodes": [node("kind://docker/kind/a")], "services": [service(9, [{"ip": "192.0.2.1"}])]},
    ],
)
def test_evidence_for(seen: dict[str, Any]) -> None:
    """An address that was given, a cloud, a provider at work; or a provider of which nothing is known."""
    assert codes(look(**seen)) == []


@pytest.mark.parametrize(
    "seen",
    [
        {},
        {"nodes": [node(None)]},
        {"nodes": [node("kind://docker/kind/a")]},
        {"nodes": [node("strange://a")], "services": [service(9)]},
        {"services": [service(90, kind="NodePort")]},
        {"pods": [pod(component="controller")]},
        {"crds": ["l2advertisements.metallb.io"]},
    ],
)
def test_evidence_against(seen: dict[str, Any]) -> None:
    """No cloud, no provider."""
    assert codes(look(**seen)) == ["load-balancer-missing"]


def test_services_that_wait_are_named() -> None:
    """With their age, once that is more than patience has; a young one says nothing."""
    (finding,) = findings(GATEWAY, look(services=[service(41)]))
    assert finding.object == "gateway istio-system/in"
    assert finding.message.endswith("Waiting for one: shop/web (41 min).")
    assert look(services=[service(2)]).pending == []


@pytest.mark.parametrize(
    ("crd", "provider", "kind"),
    [
        ("ipaddresspools.metallb.io", "MetalLB", "IPAddressPool"),
        ("ciliumloadbalancerippools.cilium.io", "Cilium", "CiliumLoadBalancerIPPool"),
    ],
)
def test_provider_without_a_pool(crd: str, provider: str, kind: str) -> None:
    """Is a message of its own; its running pods do not make up for a pool."""
    pods = [pod(app="metallb", component="controller")]
    (finding,) = findings(GATEWAY, look(crds=[crd], pools={provider: 0}, pods=pods if provider == "MetalLB" else []))
    assert finding.code == "load-balancer-no-pool"
    assert kind in finding.fix
    # Pools that may not be read are not counted, and so are not missing.
    assert codes(look(crds=[crd], pools={}, nodes=[node("strange://x")])) == []


def test_cloud_whose_services_all_wait() -> None:
    """A warning: the cloud's controller may be broken, or only that Service."""
    (finding,) = findings(GATEWAY, look(nodes=[node("gce://p/z/n")], services=[service(10)]))
    assert (finding.code, finding.severity) == ("load-balancer-pending", "warning")
    assert "Google Cloud" in finding.message


def test_clouds_and_local_clusters_are_apart() -> None:
    """A scheme in both tables would be decided by chance."""
    assert not set(CLOUDS) & load_balancers.LOCAL_CLUSTERS


# -- why a Service has none yet ----------------------------------------------------------------------------------------


def waiting(**spec: Any) -> dict[str, Any]:
    """A gateway's Service that has no address."""
    return {"metadata": {"namespace": "istio-system", "name": "in", "uid": "u1"}, "spec": spec}


def event(reason: str, message: str = "no", kind: str = "Warning", uid: str = "u1", **more: Any) -> dict[str, Any]:
    """An event about it."""
    return {
        "metadata": {"creationTimestamp": "2026-11-22T12:00:00Z"},
        "type": kind,
        "reason": reason,
        "message": message,
        "involvedObject": {"uid": uid},
        **more,
    }


ALLOCATION = event(
    "AllocationFailed", 'Failed to allocate IP for "a/b": no available IPs', source={"component": "metallb-controller"}
)


def test_pool_without_an_address_2374() -> None:
    """kind#2374: MetalLB has said that it has none, and does not try again by itself."""
    cause = told(waiting(), [ALLOCATION])
    assert cause is not None
    assert cause.message == (
        'metallb-controller reports AllocationFailed: Failed to allocate IP for "a/b": no available IPs'
    )
    assert cause.certain
    assert "ipaddresspools" in cause.fix


def test_cloud_that_refuses_40324() -> None:
    """istio#40324: its controller tries again, so that this may pass; its words are quoted, on a line and cut."""
    words = "Error syncing load balancer:\n  AccessDenied. " + "x" * 999
    cause = told(waiting(), [event("SyncLoadBalancerFailed", words, reportingComponent="service-controller")])
    assert cause is not None
    assert cause.message.startswith(
        "service-controller reports SyncLoadBalancerFailed: Error syncing load balancer: AccessDenied. xxx"
    )
    assert len(cause.message) < 500
    assert not cause.certain
    assert "permissions, quotas" in cause.fix


def test_newest_warning_counts() -> None:
    """Events say when in different fields."""
    events = [
        event("B", lastTimestamp="2026-11-22T12:05:00Z"),
        event("C", series={"lastObservedTime": "2026-11-22T12:09:00.123456Z"}),
        event("A", eventTime="2026-11-22T12:03:00.000000Z"),
        event("D"),
    ]
    cause = told(waiting(), events)
    assert cause is not None
    assert cause.message == "an event reports C: no"
    assert "istio_helm_exposure" in cause.fix


@pytest.mark.parametrize("other", [event("EnsuringLoadBalancer", kind="Normal"), event("Old", uid="u0")])
def test_events_that_are_no_warnings_about_it(other: dict[str, Any]) -> None:
    """Progress, or an older Service of that name."""
    assert told(waiting(), [other]) is None


def test_class_that_nobody_serves() -> None:
    """Cannot be known for certain: its controller may come."""
    cause = told(waiting(loadBalancerClass="example.com/ours"), [])
    assert cause is not None
    assert "class example.com/ours" in cause.message
    assert not cause.certain
    assert told(waiting(loadBalancerClass="example.com/ours"), [ALLOCATION]) != cause


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (None, "the reason is unknown"),
        (Evidence(), "nothing in this cluster assigns addresses"),
        (Evidence(unknown=True), "belong to an unknown provider"),
        (Evidence(clouds=["AWS"]), "the nodes run on AWS, whose controller reports no problem"),
        (Evidence(poolless=["MetalLB"]), "MetalLB has no address pool"),
        (Evidence(providers=["MetalLB"], clouds=["OpenStack"]), "this cluster assigns addresses (MetalLB)"),
        (Evidence(providers=["Service istio-system/in has an address"]), "nothing in this cluster assigns addresses"),
        (Evidence(providers=["Service shop/in has an address"]), "this cluster assigns addresses (Service shop/in has"),
    ],
)
def test_guess_1494(seen: Evidence | None, words: str) -> None:
    """uds-core#1494: where nobody spoke, what the cluster is tells what is likely; never for certain."""
    cause = guessed(waiting(), seen)
    assert words in cause.message
    assert not cause.certain
    assert not cause.message.endswith(".")
    assert not cause.fix.endswith(".")


def test_every_final_warning_has_a_fix() -> None:
    """A run that ends early must say what to do."""
    assert set(load_balancers.WARNINGS) >= load_balancers.FINAL_WARNINGS
