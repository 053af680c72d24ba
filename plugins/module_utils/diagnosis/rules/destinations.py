# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why requests that have a route do not reach the pods behind it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.diagnosis import routes
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.routes import looked_at
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.state import MeshState, pod_is_ready
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.symptom import (
    INJECTOR,
    ISTIOD,
    Symptom,
    Thing,
    described,
    thing,
)


def _listeners(state: MeshState, virtual_service: dict[str, Any]) -> set[int]:
    return {server.number for server in routes.bound(state, virtual_service)}


def destinations(state: MeshState) -> Iterator[Symptom]:
    """Destinations that are not there, or not as they are named: requests end in 503, or 500 in older Istios."""
    if "Service" not in state.objects:
        return
    for virtual_service in looked_at(state):
        for destination in dict.fromkeys(routes.destinations(virtual_service)):
            found = _destination(state, virtual_service, destination)
            if found:
                yield found
                break


def _destination(state: MeshState, virtual_service: dict[str, Any], wanted: routes.Destination) -> Symptom | None:
    about, breaks = described(virtual_service), frozenset({thing(virtual_service)})
    key = routes.service_of(wanted.host)
    service = state.get("Service", *key) if key else None
    if service is None:
        return _unknown(state, virtual_service, wanted) if state.knows("Service", key[0] if key else "") else None
    if service["spec"].get("type") == "ExternalName":
        return None
    name = "/".join(thing(service)[1:])
    listed = service["spec"].get("ports") or []
    numbers = sorted(port["port"] for port in listed)
    shown = ", ".join(map(str, numbers))
    if wanted.port and wanted.port not in numbers:
        message = f"{wanted.where} sends requests to port {wanted.port}, which Service {name} does not have."
        fix = f"Set destination.port.number to a port of the Service, not of its pods: {shown}."
        evidence = (f"ports of Service {name}: {shown}",)
        return Symptom("destination-port-unknown", about, message, fix, evidence, breaks)
    listeners = _listeners(state, virtual_service)
    if not wanted.port and len(numbers) > 1 and listeners and not listeners & set(numbers):
        message = f"{wanted.where} specifies no port of Service {name}, which has several ({shown})."
        fix = f"Set destination.port.number to one of them: {shown}."
        evidence = (
            f"ports of Service {name}: {shown}",
            f"ports of the gateway: {', '.join(map(str, sorted(listeners)))}",
        )
        return Symptom("destination-port-unknown", about, message, fix, evidence, breaks)
    return None


def _unknown(state: MeshState, virtual_service: dict[str, Any], wanted: routes.Destination) -> Symptom | None:
    """A host that is no Service; one of a ServiceEntry may be anywhere."""
    for entry in state.of("ServiceEntry"):
        if any(routes.matches(host, wanted.host) for host in entry["spec"].get("hosts") or []):
            return None
    own, key = virtual_service["metadata"]["namespace"], routes.service_of(wanted.host)
    parts = wanted.host.split(".")
    short = state.get("Service", parts[1], parts[0]) if not key and len(parts) > 1 else None
    if not key and not short:
        if "ServiceEntry" not in state.objects or "ServiceEntry" in state.partly:
            return None
        message = f"{wanted.where} sends requests to host {wanted.host}, which matches no Service or ServiceEntry."
        fix = "Correct the host, or create a ServiceEntry for it."
    elif short:
        whole = f"{parts[0]}.{parts[1]}.svc.cluster.local"
        message = f"{wanted.where} sends requests to host {wanted.host}, which Istio does not resolve to a Service."
        fix = f"Set the host to {whole}, the fully qualified name."
    else:
        there = sorted(
            each["metadata"]["name"] for each in state.of("Service") if each["metadata"]["namespace"] == key[0]
        )
        message = f"{wanted.where} sends requests to Service {'/'.join(key)}, which does not exist."
        listed = ", ".join(there[:5]) or "none"
        fix = f"Use an existing Service (in namespace {key[0]}: {listed}). Short names resolve in namespace {own}."
    breaks = frozenset({thing(virtual_service)})
    evidence = (f"no Service for host {wanted.host}",)
    return Symptom("destination-unknown", described(virtual_service), message, fix, evidence, breaks)


def rules_for(state: MeshState, host: str) -> list[dict[str, Any]]:
    """DestinationRules for a host in full."""
    return [
        rule
        for rule in state.of("DestinationRule")
        if routes.matches(routes.full(rule["spec"].get("host", ""), rule["metadata"]["namespace"]), host)
    ]


def subsets(state: MeshState) -> Iterator[Symptom]:
    """Subsets that no DestinationRule has, or that no pod is of."""
    if "DestinationRule" in state.partly:
        return
    for virtual_service in looked_at(state):
        for wanted in dict.fromkeys(routes.destinations(virtual_service)):
            key = routes.service_of(wanted.host)
            service = state.get("Service", *key) if key and wanted.subset else None
            found = _subset(state, virtual_service, wanted, service) if service else None
            if found:
                yield found
                break


def _subset(
    state: MeshState, virtual_service: dict[str, Any], wanted: routes.Destination, service: dict[str, Any]
) -> Symptom | None:
    about, breaks, name = described(virtual_service), frozenset({thing(virtual_service)}), "/".join(thing(service)[1:])
    known = {
        subset["name"]: (rule, subset)
        for rule in rules_for(state, wanted.host)
        for subset in rule["spec"].get("subsets") or []
    }
    if wanted.subset not in known:
        shown = ", ".join(sorted(known)) or "none"
        message = (
            f"{wanted.where} sends requests to subset {wanted.subset} of Service {name}, which no DestinationRule "
            "defines."
        )
        fix = f"Add the subset to a DestinationRule for host {wanted.host}, or use a defined one ({shown})."
        evidence = (f"subsets of {wanted.host}: {shown}",)
        return Symptom("destination-subset-unknown", about, message, fix, evidence, breaks)
    rule, subset = known[wanted.subset]
    labels, own = subset.get("labels") or {}, service["spec"].get("selector")
    if not own or state.workloads(service["metadata"]["namespace"], {**own, **labels}):
        return None
    shown = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    message = f"its subset {wanted.subset} ({shown}) matches no pod of Service {name}, so requests to it fail with 503."
    fix = f"Match the subset's labels to those of the pods: kubectl get pods -n {thing(service)[1]} --show-labels"
    evidence = (f"no pod of Service {name} has {shown}", f"{about} {wanted.where} sends requests to it")
    needs = frozenset({thing(service)})
    return Symptom("subset-selects-nothing", described(rule), message, fix, evidence, breaks, needs)


def endpoints(state: MeshState) -> Iterator[Symptom]:
    """Services that requests are sent to, or that the API server calls, without a pod that can answer."""
    if "Pod" not in state.objects:
        return
    istiods = _called_services(state)
    looked_at = state.control_plane | state.applications
    routed = [each for each in routes.routed_services(state) if each["metadata"]["namespace"] in looked_at]
    for service in [*istiods, *state.gateway_services, *routed]:
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            continue
        found = _no_endpoint(state, service)
        if not found:
            continue
        message, fix, evidence = found
        needs = frozenset(state.workloads_behind(service))
        lost: frozenset[Thing] = frozenset({ISTIOD, INJECTOR} if service in istiods else ())
        if needs:  # then it is istiod itself that is broken, and its Service that has no endpoint for it
            needs, lost = needs | lost, frozenset()
        breaks = frozenset({thing(service), *lost})
        yield Symptom("service-without-endpoints", described(service), message, fix, evidence, breaks, needs)


def _called_services(state: MeshState) -> list[dict[str, Any]]:
    """Services that the API server calls to have sidecars injected: istiods'."""
    called = [(webhook.get("clientConfig") or {}).get("service") for _configuration, webhook in state.injectors]
    keys = sorted({(where["namespace"], where["name"]) for where in called if where})
    return [service for key in keys for service in [state.get("Service", *key)] if service]


def _no_endpoint(state: MeshState, service: dict[str, Any]) -> tuple[str, str, tuple[str, ...]] | None:
    """Why no pod behind a Service can answer: message, fix and evidence; None where one can, or will in a moment."""
    pods, namespace = state.pods_behind(service), service["metadata"]["namespace"]
    shown = ",".join(f"{name}={value}" for name, value in sorted(service["spec"]["selector"].items()))
    workloads, nowhere = frozenset(state.workloads_behind(service)), _nameless_ports(service, pods)
    if not workloads:
        return (
            f"its selector ({shown}) matches no pod, so requests to it fail with 503.",
            f"Correct spec.selector or the labels of the pods: kubectl get pods -n {namespace} --show-labels",
            (f"no pod in namespace {namespace} has {shown}",),
        )
    if not any(map(pod_is_ready, pods)):
        if not all(_lasting(state, pod) for pod in pods) or _starts(state, workloads):
            return None
        return (
            f"has no ready pod (0 of {len(pods)} with {shown}), so requests to it fail with 503.",
            f"Find the reason: kubectl describe pods -n {namespace} -l {shown}",
            (f"pods with {shown}: {len(pods)}, ready: 0",),
        )
    if nowhere:
        return (
            f"its targetPort ({', '.join(nowhere)}) matches no container port, so requests to it fail with 503.",
            "Set targetPort to the name or number of a container port.",
            tuple(f"no container port named {name}" for name in nowhere),
        )
    return None


def _lasting(state: MeshState, pod: dict[str, Any]) -> bool:
    return state.lasts(pod["metadata"].get("creationTimestamp"), 20)


def _starts(state: MeshState, workloads: frozenset[Thing]) -> bool:
    """Whether some workload's pods are just about to come."""
    found = [state.get(*key) for key in workloads]
    return any(
        each["spec"].get("replicas", 1)
        and not (each.get("status") or {}).get("replicas")
        and not state.lasts(each["metadata"].get("creationTimestamp"), 20)
        for each in found
        if each and each["kind"] == "Deployment"
    )


def _nameless_ports(service: dict[str, Any], pods: list[dict[str, Any]]) -> list[str]:
    """Target ports that are named, and that no container of the pods has."""
    named = {
        port.get("name")
        for pod in pods
        for container in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]
        for port in container.get("ports") or []
    }
    targets = [port.get("targetPort") for port in service["spec"].get("ports") or []]
    lost = [each for each in targets if isinstance(each, str) and each not in named]
    return lost if lost and len(lost) == len(targets) else []
