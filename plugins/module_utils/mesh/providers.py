# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each provider of load balancers has to be told for an internal one, or for a certain address. Pure.

Kubernetes has no field for it: every provider reads annotations of its own. The table holds those that their own
documentation or source names; for all others there is option ``annotations`` of a gateway.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout

AUTO, NONE = "auto", "none"
AWS, AWS_AS_IT_IS = "aws", "aws-as-it-is"
#: Without it, whoever serves the Service decides; see ``AWS_AS_IT_IS``.
AWS_SCHEME = "service.beta.kubernetes.io/aws-load-balancer-scheme"


@dataclass(frozen=True)
class Preset:
    """What one provider understands.

    :ivar str name: as people call it
    :ivar tuple schemes: of a node's ``providerID``
    :ivar tuple groups: API groups that only it serves
    :ivar tuple classes: values of a Service's ``loadBalancerClass`` that are its own
    :ivar dict always: annotations that every load balancer gets
    :ivar dict public: annotations of one that the internet may reach, beside ``always``
    :ivar dict internal: annotations of an internal one, beside ``always``; None where it has none
    :ivar dict addresses: version of IP -> the annotations that ask for an address; {} where only the Service's field
        ``loadBalancerIP`` does; None where an address cannot be asked for
    :ivar str why: why ``internal`` or ``addresses`` is None, where one is
    :ivar str instead: what to do then
    """

    name: str
    schemes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    always: dict[str, str] = field(default_factory=dict)
    public: dict[str, str] = field(default_factory=dict)
    internal: dict[str, str] | None = None
    addresses: dict[int, tuple[str, ...]] | None = field(default_factory=dict)
    why: str = ""
    instead: str = ""


def _alike(*annotations: str) -> dict[int, tuple[str, ...]]:
    """Annotations that take an address of either version of IP, and with a comma one of both."""
    return {4: annotations, 6: annotations}


#: Two controllers may serve a Service on AWS, and which does is not ours to choose. That of cloud-provider-aws (its
#: docs/service_controller.md) makes a classic balancer unless the type is "nlb", and an internal one where
#: "...-internal" is there. The AWS Load Balancer Controller (its docs/guide/service/annotations.md) takes what its
#: webhook gave its class, whatever the type is (webhooks/core/service_mutator.go), makes NLBs only, and internal ones
#: unless "...-scheme" says otherwise. So all of them are given: an NLB comes of either.
_AWS_INTERNAL = {AWS_SCHEME: "internal", "service.beta.kubernetes.io/aws-load-balancer-internal": "true"}
_AWS_WHY = "An NLB has an address in each subnet."
_AWS_ADDRESSES = (
    "Set their allocation IDs in annotations: "
    "{service.beta.kubernetes.io/aws-load-balancer-eip-allocations: eipalloc-...}. With the AWS Load Balancer "
    "Controller, set private addresses by service.beta.kubernetes.io/aws-load-balancer-private-ipv4-addresses."
)

#: The finding that a gateway is which asks for what its provider cannot do.
UNABLE = "load-balancer-unable"

PRESETS: dict[str, Preset] = {
    AWS: Preset(
        "AWS",
        schemes=("aws",),
        classes=("service.k8s.aws/nlb", "eks.amazonaws.com/nlb"),
        always={"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"},
        public={AWS_SCHEME: "internet-facing"},
        internal=_AWS_INTERNAL,
        addresses=None,
        why=_AWS_WHY,
        instead=_AWS_ADDRESSES,
    ),
    # For a Service that is there already and has no scheme: "Do not modify or add the type annotation on an existing
    # service object" (aws-load-balancer-controller, docs/guide/service/nlb.md): the old balancer would be left behind.
    # And a scheme of ours would open to the internet what that controller had made internal.
    AWS_AS_IT_IS: Preset("AWS", internal=_AWS_INTERNAL, addresses=None, why=_AWS_WHY, instead=_AWS_ADDRESSES),
    # cloud-provider-azure, "Azure LoadBalancer": the annotations of an address deprecate the Service's field.
    "azure": Preset(
        "Azure",
        schemes=("azure",),
        internal={"service.beta.kubernetes.io/azure-load-balancer-internal": "true"},
        addresses={
            4: ("service.beta.kubernetes.io/azure-load-balancer-ipv4",),
            6: ("service.beta.kubernetes.io/azure-load-balancer-ipv6",),
        },
    ),
    # Google Cloud, "LoadBalancer Service parameters": a literal address is the Service's field.
    "google": Preset(
        "Google Cloud",
        schemes=("gce",),
        classes=("networking.gke.io/l4-regional-external", "networking.gke.io/l4-regional-internal"),
        internal={"networking.gke.io/load-balancer-type": "Internal"},
    ),
    # cloud-provider-openstack, docs/openstack-cloud-controller-manager/expose-applications-using-loadbalancer-type-
    # service.md: a floating address is the Service's field.
    "openstack": Preset(
        "OpenStack",
        schemes=("openstack",),
        internal={"service.beta.kubernetes.io/openstack-internal-load-balancer": "true"},
    ),
    # digitalocean-cloud-controller-manager, docs/controllers/services/annotations.md, since v0.1.53.
    "digitalocean": Preset(
        "DigitalOcean",
        schemes=("digitalocean",),
        internal={"service.beta.kubernetes.io/do-loadbalancer-network": "INTERNAL"},
        addresses=None,
        why="DigitalOcean chooses the address, and keeps it while the Service exists.",
        instead="Remove load_balancer_ip.",
    ),
    # hcloud-cloud-controller-manager, docs/reference/load_balancer_annotations.md; it must know a private network.
    "hetzner": Preset(
        "Hetzner Cloud",
        schemes=("hcloud",),
        internal={"load-balancer.hetzner.cloud/disable-public-network": "true"},
        addresses=None,
        why="Hetzner Cloud chooses the address.",
        instead="Remove load_balancer_ip. To keep the address of an existing load balancer, name it in annotations: "
        "{load-balancer.hetzner.cloud/name: NAME}.",
    ),
    # MetalLB, "Usage": the first since 0.14.9, the second before. It refuses the Service's field beside them.
    "metallb": Preset(
        "MetalLB",
        groups=("metallb.io",),
        addresses=_alike("metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"),
        why="MetalLB assigns addresses from its pools.",
        instead="Choose a pool of internal addresses in annotations: {metallb.io/address-pool: NAME}.",
    ),
    # kube-vip's source, LoadbalancerIPAnnotation.
    "kube-vip": Preset(
        "kube-vip",
        classes=("kube-vip.io/kube-vip-class",),
        addresses=_alike("kube-vip.io/loadbalancerIPs"),
        why="kube-vip assigns addresses from its pools, whether they are internal or public.",
        instead="Remove internal.",
    ),
    # Cilium, "LoadBalancer IP Address Management (LB IPAM)", "Requesting IPs".
    "cilium": Preset(
        "Cilium",
        classes=("io.cilium/bgp-control-plane", "io.cilium/l2-announcer"),
        addresses=_alike("lbipam.cilium.io/ips"),
        why="Cilium assigns addresses from its pools.",
        instead="Choose a pool by setting the labels that its serviceSelector matches.",
    ),
}

#: Providers that people may name; the others are found only.
CHOICES: tuple[str, ...] = (AUTO, NONE, *(name for name in PRESETS if name != AWS_AS_IT_IS))


def of_class(load_balancer_class: str) -> str:
    """The provider that serves a class; ``none`` for one that is not known here, whose owner knows what it needs."""
    return next((name for name, preset in PRESETS.items() if load_balancer_class in preset.classes), NONE)


def of_cluster(served: Iterable[str], nodes: Iterable[dict[str, Any]]) -> str:
    """The provider of a cluster.

    MetalLB comes first: who installs it on a cloud's machines does it for want of the cloud's own load balancers.

    :arg served: the cluster's API groups
    """
    groups = set(served)
    schemes = {((node.get("spec") or {}).get("providerID") or "").partition("://")[0] for node in nodes}
    for name, preset in PRESETS.items():
        if groups & set(preset.groups):
            return name
    return next((name for name, preset in PRESETS.items() if schemes & set(preset.schemes)), NONE)


def parsed_addresses(text: str, where: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses that ``load_balancer_ip`` asks for: one, or one of IPv4 and one of IPv6 with a comma.

    :raises JobError: it is something else
    """
    try:
        found = [ipaddress.ip_address(part.strip()) for part in text.split(",")]
    except ValueError:
        found = []
    versions = [address.version for address in found]
    if not found or len(set(versions)) < len(versions):
        raise ErrorAbout(
            f"{text} is neither an IP address nor an IPv4 and an IPv6 address separated by a comma.",
            object=where,
            fix="Correct the address in istio_helm_gateways.",
        )
    return found


def settings(provider: str, internal: bool, address: str, where: str) -> tuple[dict[str, str], str]:
    """What a gateway's Service of type LoadBalancer needs.

    :arg str provider: key of ``PRESETS``, or ``none``
    :arg str address: as ``parsed_addresses`` takes it; empty for any
    :arg str where: how a user finds the gateway in the variables
    :returns: annotations, and the value of the Service's field ``loadBalancerIP``
    :raises JobError: the provider cannot do that, or nobody knows how it does
    """
    preset = PRESETS.get(provider)
    if internal and preset is None:
        raise ErrorAbout(
            "no setting for an internal load balancer is known for this cluster's provider, so it would be public.",
            object=f"{where}: internal",
            fix="Set istio_helm_provider, or remove internal and set the annotations that the provider documents.",
            code=UNABLE,
        )
    if preset is None:
        preset = Preset("")
    if internal and preset.internal is None:
        raise ErrorAbout(preset.why, object=f"{where}: internal", fix=preset.instead, code=UNABLE)
    result = {**preset.always, **((preset.internal or {}) if internal else preset.public)}
    if not address:
        return result, ""
    if preset.addresses is None:
        raise ErrorAbout(preset.why, object=f"{where}: load_balancer_ip", fix=preset.instead, code=UNABLE)
    addresses = parsed_addresses(address, f"{where}: load_balancer_ip")
    for found in addresses:
        for annotation in preset.addresses.get(found.version, ()):
            result[annotation] = ",".join(filter(None, (result.get(annotation), str(found))))
    if preset.addresses:
        return result, ""
    if len(addresses) > 1:
        message = f"{preset.name or 'a Service'} accepts only one address."
        fix = "Set a single address in load_balancer_ip."
        raise ErrorAbout(message, object=f"{where}: load_balancer_ip", fix=fix, code=UNABLE)
    return result, str(addresses[0])
