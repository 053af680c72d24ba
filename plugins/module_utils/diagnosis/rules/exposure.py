# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a gateway cannot be reached from outside: no address, or an address that does not answer. Pure.

Who gives addresses, and why one is missing, is load_balancer.py's; what came of a connection was tried by who read the
state.
"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import service_ready
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.state import MeshState
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.symptom import Symptom, described, quoted, thing
from ansible_collections.meshops.istio.plugins.module_utils.errors import sentence
from ansible_collections.meshops.istio.plugins.module_utils.exposure import endpoints, load_balancers

#: Seconds that a cloud is given for an address.
_SOON = 60


def there(state: MeshState) -> Iterator[Symptom]:
    """Gateways that somebody names, and of which there is no Service."""
    for namespace, name in state.gateways:
        if not state.exposed or not state.knows("Service", namespace) or state.get("Service", namespace, name):
            continue
        others = ", ".join("/".join(each) for each in state.found_gateways()[:3]) or "none"
        message = f"does not exist, so the gateway cannot be reached. Existing gateways: {others}."
        fix = "Run role istio_helm to restore it, or specify an existing gateway."
        evidence = (f"no Service {namespace}/{name}",)
        breaks = frozenset({("Service", namespace, name)})
        yield Symptom("gateway-missing", f"Service {namespace}/{name}", message, fix, evidence, breaks)


def addresses(state: MeshState) -> Iterator[Symptom]:
    """Services of type LoadBalancer without an address, with what is known of the reason."""
    for service in state.gateway_services:
        if service_ready(service) or not state.exposed:
            continue
        told = load_balancers.told(service, state.events_of(service))
        cause = told or load_balancers.guessed(service, state.addresses)
        code = "load-balancer-pending" if told else _guessed_code(state)
        lasts = state.lasts(service["metadata"].get("creationTimestamp"), _SOON)
        if code == "load-balancer-pending" and not told and not lasts:
            continue
        message = f"is of type LoadBalancer but has no external address: {quoted(cause.message)}."
        fix = sentence(cause.fix)
        evidence = ("status.loadBalancer.ingress is empty", quoted(cause.message))
        yield Symptom(code, described(service), message, fix, evidence, frozenset({("address", *thing(service)[1:])}))


def _guessed_code(state: MeshState) -> str:
    """The code of preflight for the same."""
    seen = state.addresses
    if seen is None or seen.clouds or seen.unknown or seen.providers:
        return "load-balancer-pending"
    return "load-balancer-no-pool" if seen.poolless else "load-balancer-missing"


def reach(state: MeshState) -> Iterator[Symptom]:
    """Addresses of a gateway of which none takes a connection, though its pods are ready."""
    for service in state.gateway_services:
        key = thing(service)
        tried = state.answered.get(key[1:]) or {}
        if not tried or not all(tried.values()):
            continue
        refused = any("refused" in words.lower() for words in tried.values())
        addresses = ", ".join(sorted(tried)[:3])
        kind = "node port" if service["spec"].get("type") == "NodePort" else "address"
        words = tried[min(tried)]
        message = (
            f"its {kind} {addresses} does not accept connections from this host ({words}), although its pods are ready."
        )
        if refused:
            fix = "Check that kube-proxy runs on the nodes, and that traffic is forwarded to this port."
        else:
            fix = "Allow traffic to this port in security groups, firewalls and the provider's port forwarding."
        if endpoints.keeps_local(service):
            fix += " With externalTrafficPolicy Local, only nodes that run a gateway pod accept requests."
        evidence = tuple(f"{address}: {each}" for address, each in sorted(tried.items())[:3])
        needs = frozenset({key, ("address", *key[1:]), *state.workloads_behind(service)})
        yield Symptom("gateway-unreachable", described(service), message, fix, evidence, frozenset(), needs)
