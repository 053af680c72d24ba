# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each provider is told what it understands, and one that cannot do what is asked is never asked for something else."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure.load_balancers import CLOUDS
from ansible_collections.meshops.istio.plugins.module_utils.mesh import providers
from ansible_collections.meshops.istio.plugins.module_utils.mesh.providers import CHOICES, PRESETS, of_class, of_cluster

BETA = "service.beta.kubernetes.io/"


def settings(provider: str, internal: bool = False, address: str = "") -> tuple[dict[str, str], str]:
    """What a gateway's Service gets."""
    return providers.settings(provider, internal, address, "gateways: in")


def refused(provider: str, internal: bool = False, address: str = "") -> str:
    """The message with which it is refused."""
    with pytest.raises(JobError) as caught:
        settings(provider, internal, address)
    return str(caught.value)


def node(provider: str | None) -> dict[str, Any]:
    """A node of a provider."""
    return {"spec": {"providerID": provider} if provider else {}}


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ("aws", {f"{BETA}aws-load-balancer-type": "nlb", f"{BETA}aws-load-balancer-scheme": "internet-facing"}),
        *((provider, {}) for provider in PRESETS if provider != "aws"),
        ("none", {}),
    ],
)
def test_load_balancer_of_nothing_special(provider: str, expected: dict[str, str]) -> None:
    """The provider's own default, except on AWS: a Network Load Balancer that the internet reaches."""
    assert settings(provider) == (expected, "")


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (
            "aws",
            {
                f"{BETA}aws-load-balancer-type": "nlb",
                f"{BETA}aws-load-balancer-scheme": "internal",
                f"{BETA}aws-load-balancer-internal": "true",
            },
        ),
        (
            "aws-as-it-is",
            {f"{BETA}aws-load-balancer-scheme": "internal", f"{BETA}aws-load-balancer-internal": "true"},
        ),
        ("azure", {f"{BETA}azure-load-balancer-internal": "true"}),
        ("google", {"networking.gke.io/load-balancer-type": "Internal"}),
        ("openstack", {f"{BETA}openstack-internal-load-balancer": "true"}),
        ("digitalocean", {f"{BETA}do-loadbalancer-network": "INTERNAL"}),
        ("hetzner", {"load-balancer.hetzner.cloud/disable-public-network": "true"}),
    ],
)
def test_internal(provider: str, expected: dict[str, str]) -> None:
    """By the words of each."""
    assert settings(provider, internal=True) == (expected, "")


@pytest.mark.parametrize("provider", ["none", "metallb", "kube-vip", "cilium"])
def test_internal_of_a_provider_that_has_none(provider: str) -> None:
    """Never a public one instead: the message says what to do."""
    assert refused(provider, internal=True).startswith("gateways: in: internal: ")
    assert "istio_helm_provider" in refused("none", internal=True)
    assert "metallb.io/address-pool" in refused("metallb", internal=True)


@pytest.mark.parametrize(
    ("provider", "address", "annotations", "field"),
    [
        ("azure", "192.0.2.1", {f"{BETA}azure-load-balancer-ipv4": "192.0.2.1"}, ""),
        (
            "azure",
            "192.0.2.1, 2001:db8::1",
            {f"{BETA}azure-load-balancer-ipv4": "192.0.2.1", f"{BETA}azure-load-balancer-ipv6": "2001:db8::1"},
            "",
        ),
        ("google", "192.0.2.1", {}, "192.0.2.1"),
        ("openstack", "192.0.2.1", {}, "192.0.2.1"),
        ("none", "2001:db8::1", {}, "2001:db8::1"),
        (
            "metallb",
            "192.0.2.1,2001:db8::1",
            {
                "metallb.io/loadBalancerIPs": "192.0.2.1,2001:db8::1",
                "metallb.universe.tf/loadBalancerIPs": "192.0.2.1,2001:db8::1",
            },
            "",
        ),
        ("kube-vip", "192.0.2.1", {"kube-vip.io/loadbalancerIPs": "192.0.2.1"}, ""),
        ("cilium", "192.0.2.1", {"lbipam.cilium.io/ips": "192.0.2.1"}, ""),
    ],
)
def test_certain_address(provider: str, address: str, annotations: dict[str, str], field: str) -> None:
    """An annotation where the provider has one; else the Service's field, deprecated but the common one."""
    assert settings(provider, address=address) == (annotations, field)


@pytest.mark.parametrize("provider", ["aws", "aws-as-it-is", "digitalocean", "hetzner"])
def test_certain_address_that_cannot_be_had(provider: str) -> None:
    """The message says what can."""
    assert refused(provider, address="192.0.2.1").startswith("gateways: in: load_balancer_ip: ")
    assert "aws-load-balancer-eip-allocations" in refused("aws", address="192.0.2.1")


@pytest.mark.parametrize("address", ["mesh.example.com", "192.0.2.1,192.0.2.2", "192.0.2.300", "192.0.2.0/24", ","])
def test_address_that_is_none(address: str) -> None:
    """Before anything is written."""
    assert "gateways: in: load_balancer_ip: " + address + " is neither an IP address nor" in refused(
        "metallb", address=address
    )


def test_two_addresses_of_a_field_that_takes_one() -> None:
    """The Service's own."""
    assert refused("google", address="192.0.2.1,2001:db8::1").endswith(
        "Google Cloud accepts only one address. Set a single address in load_balancer_ip."
    )


def test_internal_with_a_certain_address() -> None:
    """Both."""
    assert settings("azure", internal=True, address="10.0.0.9") == (
        {f"{BETA}azure-load-balancer-internal": "true", f"{BETA}azure-load-balancer-ipv4": "10.0.0.9"},
        "",
    )


@pytest.mark.parametrize(
    ("served", "nodes", "expected"),
    [
        ([], [node("aws:///eu-central-1a/i-0123456789")], "aws"),
        ([], [node(None), node("azure:///subscriptions/x")], "azure"),
        ([], [node("gce://project/zone/name")], "google"),
        ([], [node("openstack:///c0ffee")], "openstack"),
        ([], [node("digitalocean://123")], "digitalocean"),
        ([], [node("hcloud://123")], "hetzner"),
        (["apps", "metallb.io"], [node("openstack:///c0ffee")], "metallb"),
        ([], [node("kind://docker/kind/kind-control-plane")], "none"),
        ([], [node("strange")], "none"),
        (["cilium.io"], [{}], "none"),
        ([], [], "none"),
    ],
)
def test_provider_of_a_cluster(served: list[str], nodes: list[dict[str, Any]], expected: str) -> None:
    """By MetalLB's API, else by the nodes. Cilium is on many clusters whose addresses somebody else gives."""
    assert of_cluster(served, nodes) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("service.k8s.aws/nlb", "aws"), ("eks.amazonaws.com/nlb", "aws"), ("example.com/ours", "none")],
)
def test_provider_of_a_class(name: str, expected: str) -> None:
    """Of an unknown class nothing is assumed, whatever the nodes are."""
    assert of_class(name) == expected


def test_the_table_is_of_one_mind() -> None:
    """No scheme, group or class of two providers; clouds are called as preflight calls them; what is not has a way."""
    for names in ("schemes", "groups", "classes"):
        all_of_them = [name for preset in PRESETS.values() for name in getattr(preset, names)]
        assert len(all_of_them) == len(set(all_of_them))
    for preset in PRESETS.values():
        assert all(CLOUDS[scheme] == preset.name for scheme in preset.schemes)
        assert bool(preset.instead) == (preset.internal is None or preset.addresses is None)
        for words in (preset.why, preset.instead):
            assert bool(words) == bool(preset.instead)
            assert not words or ((words[0].isupper() or words.startswith("kube-vip")) and words.endswith("."))
        for texts in (preset.always, preset.public, preset.internal or {}):
            assert all(isinstance(value, str) for value in texts.values())
    assert set(CHOICES) == {"auto", "none", *PRESETS} - {"aws-as-it-is"}
