# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Will a Service of type LoadBalancer get an address? Evidence for it and against it. Pure.

Nothing in Kubernetes says so outright. What is looked at is what has been read anyway: Services, nodes, pods, names of
definitions; and the pools of the providers that have such.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import instant
from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import Cause
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding

#: Schemes of a node's ``providerID`` whose cloud controllers give addresses to Services. k3s is here for its servicelb.
CLOUDS: dict[str, str] = {
    "aws": "AWS",
    "azure": "Azure",
    "civo": "Civo",
    "digitalocean": "DigitalOcean",
    "equinixmetal": "Equinix Metal",
    "exoscale": "Exoscale",
    "gce": "Google Cloud",
    "harvester": "Harvester",
    "hcloud": "Hetzner Cloud",
    "ibm": "IBM Cloud",
    "k3s": "k3s (servicelb)",
    "linode": "Akamai (Linode)",
    "openstack": "OpenStack",
    "qcloud": "Tencent Cloud",
    "scaleway": "Scaleway",
    "vultr": "Vultr",
}
#: Schemes of clusters that have no load balancer of their own.
LOCAL_CLUSTERS = frozenset({"kind", "kwok", "rke2"})


class Pooled(NamedTuple):
    """A provider whose definition is there, and which works only with a pool.

    :ivar str crd: the definition by which it is known
    :ivar tuple api_versions: of the pools, newest first
    """

    name: str
    crd: str
    api_versions: tuple[str, ...]
    kind: str


POOLED: tuple[Pooled, ...] = (
    Pooled("MetalLB", "ipaddresspools.metallb.io", ("metallb.io/v1beta1",), "IPAddressPool"),
    Pooled(
        "Cilium",
        "ciliumloadbalancerippools.cilium.io",
        ("cilium.io/v2", "cilium.io/v2alpha1"),
        "CiliumLoadBalancerIPPool",
    ),
)
#: Definitions of providers that need nothing else to be known by.
PROVIDER_CRDS: dict[str, str] = {
    "eips.network.kubesphere.io": "OpenELB",
    "loadbalancerips.kube-vip.io": "kube-vip",
    "servicegroups.purelb.io": "PureLB",
}
#: Labels of providers' own pods: those that have no definition, or had none in older versions.
PROVIDER_PODS: tuple[tuple[str, dict[str, str]], ...] = (
    ("kube-vip", {"component": "kube-vip-cloud-provider"}),
    ("kube-vip", {"app.kubernetes.io/name": "kube-vip-ds"}),
    ("kube-vip", {"app.kubernetes.io/name": "kube-vip"}),
    ("MetalLB", {"app": "metallb", "component": "controller"}),
    ("AWS Load Balancer Controller", {"app.kubernetes.io/name": "aws-load-balancer-controller"}),
    ("loxilb", {"app": "kube-loxilb-app"}),
)
#: Reasons of warnings about a Service -> what to do. MetalLB's (controller/service.go) is final: it tries again only
#: when its pools or other Services change. Those of a cloud's service controller (k8s.io/cloud-provider) and of the AWS
#: Load Balancer Controller (pkg/k8s/events.go) are tried again and again, and may pass.
WARNINGS: dict[str, str] = {
    "AllocationFailed": "add addresses to a pool (kubectl get ipaddresspools --all-namespaces), or set "
    "load_balancer_ip to one that a pool has",
    "FailedBuildModel": "fix what the AWS Load Balancer Controller reports: subnet tags, annotations",
    "FailedDeployModel": "fix what the AWS Load Balancer Controller reports: its IAM role, quotas, subnets",
    "SyncLoadBalancerFailed": "fix what the cloud's controller reports: its permissions, quotas, subnets, annotations",
    "UnAvailableLoadBalancer": "make nodes ready, and remove the label "
    "node.kubernetes.io/exclude-from-external-load-balancers from them",
}
FINAL_WARNINGS = frozenset({"AllocationFailed"})
#: Longest part of a controller's words that is quoted; clouds add whole requests to them.
QUOTED = 400
_NO_PROVIDER = "nothing in this cluster assigns addresses: no cloud nodes, no load balancer provider"
#: Time after which a Service that waits for an address is told of.
PATIENCE = timedelta(minutes=3)


@dataclass
class Evidence:
    """What speaks for an address and what against.

    :ivar list providers: what gives addresses here, in words
    :ivar list pending: Services without an address for longer than ``PATIENCE``, in words
    :ivar list poolless: providers that have no pool
    :ivar list clouds: known clouds of the nodes
    :ivar bool unknown: nodes belong to a provider of which nothing is known
    """

    providers: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    poolless: list[str] = field(default_factory=list)
    clouds: list[str] = field(default_factory=list)
    unknown: bool = False


def gateways_asking(releases: Iterable[Any]) -> list[str]:
    """Names of the gateways whose Service will be of type LoadBalancer and of no class of its own.

    :arg releases: ``mesh.Release`` of all components
    """
    found = []
    for release in releases:
        service = release.values.get("service") or {}
        if release.component != "gateway" or service.get("type") != "LoadBalancer":
            continue
        if not service.get("loadBalancerClass"):
            found.append(f"{release.namespace}/{release.name}")
    return found


def _schemes(nodes: Iterable[dict[str, Any]]) -> set[str]:
    identities = (((node.get("spec") or {}).get("providerID") or "") for node in nodes)
    return {identity.partition("://")[0] if "://" in identity else identity and "?" for identity in identities}


def _has_labels(pod: dict[str, Any], wanted: dict[str, str]) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in wanted.items())


def evidence(
    services: list[dict[str, Any]],
    nodes: list[dict[str, Any]],
    pods: list[dict[str, Any]],
    crds: Iterable[str],
    pools: dict[str, int],
    now: datetime,
) -> Evidence:
    """Look at a cluster.

    :arg crds: names of its definitions
    :arg pools: number of pools of each provider of ``POOLED`` whose pools were counted
    :arg datetime now: by the API server's clock
    """
    found, names = Evidence(), set(crds)
    balanced = [service for service in services if service["spec"].get("type") == "LoadBalancer"]
    for service in balanced:
        meta = service["metadata"]
        where = f"{meta['namespace']}/{meta['name']}"
        if ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
            found.providers.append(f"Service {where} has an address")
            continue
        age = now - instant(meta["creationTimestamp"])
        if age > PATIENCE:
            found.pending.append(f"{where} ({age.total_seconds() / 60:.0f} min)")
    schemes = _schemes(nodes)
    found.clouds = sorted(CLOUDS[scheme] for scheme in schemes if scheme in CLOUDS)
    found.unknown = bool(schemes - set(CLOUDS) - LOCAL_CLUSTERS - {""})
    for provider in POOLED:
        if provider.crd in names and provider.name in pools:
            (found.providers if pools[provider.name] else found.poolless).append(provider.name)
    found.providers += [name for crd, name in PROVIDER_CRDS.items() if crd in names]
    pooled = {provider.name for provider in POOLED if provider.crd in names}
    for name, labels in PROVIDER_PODS:
        if name not in pooled and name not in found.providers and any(_has_labels(pod, labels) for pod in pods):
            found.providers.append(name)
    return found


def _without_pool(seen: Evidence) -> str:
    return f"{' and '.join(seen.poolless)} {'has' if len(seen.poolless) == 1 else 'have'} no address pool"


def _pool_kinds(seen: Evidence) -> str:
    return " or ".join(provider.kind for provider in POOLED if provider.name in seen.poolless)


def findings(gateways: list[str], seen: Evidence) -> list[Finding]:
    """What the evidence means for the gateways that want an address.

    :arg gateways: as ``gateways_asking`` names them
    """
    if not gateways or seen.providers:
        return []
    about = f"gateway {', '.join(gateways)}"
    waiting = f" Waiting for one: {', '.join(seen.pending[:3])}." if seen.pending else ""
    needs = "type LoadBalancer needs an external address, but"
    use_node_ports = "set istio_helm_exposure: NodePort"
    if seen.clouds:
        if not waiting:
            return []
        message = f"{needs} no Service has one, although the nodes run on {', '.join(seen.clouds)}."
        fix = "Read the events: kubectl describe service NAME"
        return [Finding("load-balancer-pending", about, message + waiting, fix)]
    if seen.poolless:
        message = f"{needs} {_without_pool(seen)}."
        fix = f"Create an address pool ({_pool_kinds(seen)}), or {use_node_ports}."
        return [Finding("load-balancer-no-pool", about, message + waiting, fix)]
    if seen.unknown and not waiting:
        return []
    message = f"{needs} {_NO_PROVIDER}."
    fix = (
        f"{use_node_ports[0].upper()}{use_node_ports[1:]}, or install a provider such as MetalLB. If one works outside "
        "the cluster, add load-balancer-missing to preflight_ignore."
    )
    return [Finding("load-balancer-missing", about, message + waiting, fix)]


def seen_at(event: dict[str, Any]) -> str:
    """When an event was seen last, as text that can be compared; which field has it depends on who wrote it."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next(filter(None, times), event["metadata"].get("creationTimestamp") or "")[:19]


def _warning(service: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The newest warning about a Service, and not about an older one of its name."""
    uid = service["metadata"].get("uid")
    own = [
        event
        for event in events
        if event.get("type") == "Warning" and (event.get("involvedObject") or {}).get("uid") == uid
    ]
    return max(own, key=seen_at, default=None)


def told(service: dict[str, Any], events: list[dict[str, Any]]) -> Cause | None:
    """Why a Service of type LoadBalancer has no address, in the words of who should give it one; None where none spoke.

    :arg events: about it
    """
    warning = _warning(service, events)
    if warning:
        reason, by = warning.get("reason", ""), (warning.get("source") or {}).get("component")
        speaker = by or warning.get("reportingComponent") or "an event"
        said = " ".join((warning.get("message") or "").split())[:QUOTED].rstrip(".")
        fix = WARNINGS.get(reason, "fix what it reports, or set istio_helm_exposure: NodePort")
        return Cause(f"{speaker} reports {reason}: {said}", fix, reason in FINAL_WARNINGS, "load-balancer-pending")
    asked_class = service["spec"].get("loadBalancerClass")
    if asked_class:
        fix = "start the controller of that class, or remove load_balancer_class and recreate the Service"
        return Cause(f"no controller reports anything about its load balancer class {asked_class}", fix)
    return None


def guessed(service: dict[str, Any], seen: Evidence | None) -> Cause:
    """Why a Service of which nobody spoke may have no address, from what the cluster is.

    :arg seen: None where the cluster may not be looked at
    """
    if seen is None:
        fix = "grant the permissions in docs/rbac.yml"
        return Cause("the reason is unknown, because permission to read the cluster is missing", fix)
    own = "Service {namespace}/{name} ".format(**service["metadata"])
    others = [each for each in seen.providers if not each.startswith(own)]
    if others:
        fix = "read the log of the load balancer provider, or increase liveness_verify_wait_timeout"
        return Cause(
            f"this cluster assigns addresses ({'; '.join(others[:3])}), and no controller reports a problem", fix
        )
    if seen.poolless:
        return Cause(_without_pool(seen), f"create an address pool ({_pool_kinds(seen)})")
    if seen.clouds:
        fix = "read the log of the cloud's controller, or increase liveness_verify_wait_timeout"
        return Cause(f"the nodes run on {', '.join(seen.clouds)}, whose controller reports no problem", fix)
    fix = "install a provider such as MetalLB, or set istio_helm_exposure: NodePort"
    if seen.unknown:
        return Cause("the nodes belong to an unknown provider, and no controller reports a problem", fix)
    return Cause(_NO_PROVIDER, fix)
