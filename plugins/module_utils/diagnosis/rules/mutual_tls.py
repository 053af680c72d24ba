# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the two ends of a connection disagree about mutual TLS. Pure.

Without a rule Istio chooses by what it knows of the other end, and is right. A DestinationRule overrules it, and who
has no sidecar can do no mutual TLS at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.workloads import in_the_mesh
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis import peer_authentication, routes
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.state import MeshState, labels_of
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.symptom import Symptom, described, sidecar, thing
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import has_sidecar

#: Modes of a DestinationRule's TLS that are not Istio's own.
_OTHER_TLS = ("DISABLE", "SIMPLE", "MUTUAL")
#: Callers named in a message.
_NAMED = 3


def _policies(state: MeshState) -> list[dict[str, Any]] | None:
    """All PeerAuthentications; None where one may be unseen."""
    if "PeerAuthentication" not in state.objects or "PeerAuthentication" in state.partly:
        return None
    return state.of("PeerAuthentication")


def _port_of(pod: dict[str, Any], port: dict[str, Any]) -> int | None:
    """The pod's port that a Service's port leads to."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    named = [
        each["containerPort"]
        for container in pod["spec"]["containers"]
        for each in container.get("ports") or []
        if each.get("name") == target
    ]
    return named[0] if named else None


def _asked(
    state: MeshState, policies: list[dict[str, Any]], service: dict[str, Any]
) -> peer_authentication.Mode | None:
    """What the pods behind a Service ask of their callers; None where there are none in the mesh."""
    if not state.in_the_mesh(service):
        return None
    pod, namespace = state.pods_behind(service)[0], service["metadata"]["namespace"]
    found = [
        peer_authentication.asked(policies, state.istio_namespace, namespace, labels_of(pod), _port_of(pod, port))
        for port in service["spec"].get("ports") or []
    ]
    strict = [mode for mode in found if mode.mode == peer_authentication.STRICT]
    return (strict or found or [None])[0]


def _tls_modes(rule: dict[str, Any]) -> list[tuple[str, str]]:
    """The modes that a DestinationRule sets for some or all connections, each with its place."""
    spec, found = rule["spec"], []
    policies = [("trafficPolicy", spec.get("trafficPolicy") or {})]
    policies += [
        (f"subset {subset['name']}", subset.get("trafficPolicy") or {}) for subset in spec.get("subsets") or []
    ]
    for where, policy in policies:
        for place, settings in [
            (where, policy),
            *((f"portLevelSettings of {where}", p) for p in policy.get("portLevelSettings") or []),
        ]:
            mode = (settings.get("tls") or {}).get("mode")
            if mode:
                found.append((mode, place))
    return found


def rules_against_policies(state: MeshState) -> Iterator[Symptom]:
    """DestinationRules that have proxies speak otherwise than the other end understands."""
    policies = _policies(state)
    looked_at = state.control_plane | state.applications
    for rule in state.of("DestinationRule"):
        host = routes.full(rule["spec"].get("host", ""), rule["metadata"]["namespace"])
        services = [
            service
            for service in state.of("Service")
            if looked_at & {service["metadata"]["namespace"], rule["metadata"]["namespace"]}
            and routes.matches(host, "{1}.{0}.svc.cluster.local".format(*thing(service)[1:]))
        ]
        for mode, place in _tls_modes(rule):
            found = next(filter(None, (_disagree(state, policies, rule, mode, place, each) for each in services)), None)
            if found:
                yield found
                break


def _disagree(
    state: MeshState,
    policies: list[dict[str, Any]] | None,
    rule: dict[str, Any],
    mode: str,
    place: str,
    service: dict[str, Any],
) -> Symptom | None:
    name = "/".join(thing(service)[1:])
    if mode == "ISTIO_MUTUAL" and state.in_the_mesh(service) is False:
        message = (
            f"sets tls.mode {mode} in {place}, but the pods of Service {name} have no sidecar, so requests to it fail "
            "with 503."
        )
        fix = "Remove tls from the rule to let Istio choose the mode, or inject sidecars into the Service's pods."
        evidence = (f"{place}: tls.mode is {mode}", f"no pod of Service {name} has a container istio-proxy")
        needs = frozenset(map(sidecar, state.workloads_behind(service)))
        return Symptom("mtls-without-sidecar", described(rule), message, fix, evidence, frozenset(), needs)
    asked = _asked(state, policies, service) if policies is not None and mode in _OTHER_TLS else None
    if asked is None or asked.mode != peer_authentication.STRICT:
        return None
    message = (
        f"sets tls.mode {mode} in {place}, but the pods of Service {name} accept only mutual TLS (PeerAuthentication "
        f"{asked.policy}), so requests to it fail with 503."
    )
    fix = "Remove tls from the rule to let Istio choose the mode, or set tls.mode ISTIO_MUTUAL."
    evidence = (f"{place}: tls.mode is {mode}", f"PeerAuthentication {asked.policy} is STRICT")
    return Symptom("mtls-disabled-by-rule", described(rule), message, fix, evidence)


def callers(state: MeshState) -> Iterator[Symptom]:
    """Who can do no mutual TLS where only that is taken: workloads without a sidecar beside strict ones, and requests
    from outside that come past the gateway."""
    policies = _policies(state)
    if not policies or "Pod" not in state.objects:
        return
    strict = {
        service_key: mode
        for service in state.inside("Service")
        if service["metadata"]["namespace"] not in state.control_plane
        for service_key, mode in [(thing(service), _asked(state, policies, service))]
        if mode and mode.mode == peer_authentication.STRICT
    }
    if not strict:
        return
    bare = [
        key
        for key, pods in state.pods_by_workload.items()
        if key[1] not in state.control_plane
        and pods
        and in_the_mesh(pods[0]["spec"], key[0])
        and not any(map(has_sidecar, pods))
    ]
    by_policy: dict[str, list[str]] = {}
    for key, mode in strict.items():
        by_policy.setdefault(mode.policy, []).append("/".join(key[1:]))
    for policy, services in sorted(by_policy.items()):
        if bare:
            yield _plain_callers(policy, services, bare)
    for key, mode in strict.items():
        service = state.get(*key)
        if service and service["spec"].get("type") in ("NodePort", "LoadBalancer"):
            message = (
                f"is of type {service['spec']['type']}, which bypasses the gateway, but its pods accept only mutual "
                f"TLS (PeerAuthentication {mode.policy}), so clients outside the cluster cannot connect."
            )
            fix = (
                "Send requests through the gateway, or set the ports to PERMISSIVE in portLevelMtls of a "
                "PeerAuthentication."
            )
            evidence = (f"PeerAuthentication {mode.policy} is STRICT", f"spec.type is {service['spec']['type']}")
            yield Symptom("mtls-strict-plain-caller", described(service), message, fix, evidence)


def _plain_callers(policy: str, services: list[str], bare: list[tuple]) -> Symptom:
    names = ", ".join(f"{key[0]} {key[1]}/{key[2]}" for key in bare[:_NAMED])
    more = f" and {len(bare) - _NAMED} more" if len(bare) > _NAMED else ""
    called = ", ".join(sorted(services)[:_NAMED])
    message = f"allows only mutual TLS to Service {called}, which {names}{more} cannot use without a sidecar."
    fix = "Inject sidecars into the callers, or set mode PERMISSIVE until they have them."
    evidence = (f"PeerAuthentication {policy} is STRICT", f"no container istio-proxy in pods of {names}{more}")
    needs = frozenset(map(sidecar, bare))
    about = f"PeerAuthentication {policy}"
    return Symptom("mtls-strict-plain-caller", about, message, fix, evidence, frozenset(), needs)
