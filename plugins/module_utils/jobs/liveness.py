# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_liveness: the guide's app runs, and requests through gateway and sidecar prove the mesh."""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import manifests
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import FIELD_MANAGER, Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, identity, reference
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import is_ready
from ansible_collections.meshops.istio.plugins.module_utils.cluster.waiting import Waiter
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure import gateway_objects, pending_address
from ansible_collections.meshops.istio.plugins.module_utils.exposure.gateway_objects import Gateway
from ansible_collections.meshops.istio.plugins.module_utils.liveness import (
    application,
    belongings,
    gateway_reader,
    gateway_targets,
    removal,
    vantage_points,
)
from ansible_collections.meshops.istio.plugins.module_utils.liveness.belongings import App
from ansible_collections.meshops.istio.plugins.module_utils.liveness.gateway_reader import Found
from ansible_collections.meshops.istio.plugins.module_utils.liveness.gateway_targets import (
    NONE,
    REQUEST,
    Target,
    Wanted,
)
from ansible_collections.meshops.istio.plugins.module_utils.liveness.proof import Proof
from ansible_collections.meshops.istio.plugins.module_utils.mesh import components, gateways
from ansible_collections.meshops.istio.plugins.module_utils.mesh.options import MESH_ARGUMENT_SPEC
from ansible_collections.meshops.istio.plugins.module_utils.task import Scope, Task, argument_spec, namespace_and_name

ARGUMENT_SPEC = argument_spec(
    {
        **application.ARGUMENT_SPEC,
        "gateway": {"type": "str"},
        "gateway_namespace": {"type": "str"},
        "gateways": MESH_ARGUMENT_SPEC["gateways"],
        "preset": {"type": "str", "choices": list(components.PRESETS)},
        "exposure": {"type": "str", "choices": ["LoadBalancer", "NodePort"]},
        "planned_gateways": {"type": "list", "elements": "dict", "default": []},
        "asked": {"type": "list", "elements": "str", "default": []},
        "deployments": {"type": "list", "elements": "str", "default": []},
        "port": {"type": "str"},
        "address": {"type": "str"},
        "scheme": {
            "type": "str",
            "choices": [vantage_points.HTTP, vantage_points.HTTPS],
            "default": vantage_points.HTTP,
        },
        "ca_file": {"type": "path"},
        "path": {"type": "str", "default": "/healthz"},
        "host_header": {"type": "str"},
        "echo_path": {"type": "str"},
        "verify_from": {"type": "str", "choices": ["controller", "cluster"], "default": "controller"},
        "successes": {"type": "int", "default": 3},
        "wait_timeout": {"type": "int", "default": 300},
    }
)

WAITED_FOR = ("Deployment", "DaemonSet")
#: A manager of its own: other jobs label the same namespace, and an apply drops what its manager applied before.
MANAGER = f"{FIELD_MANAGER}.liveness"


def run(task: Task) -> dict[str, Any]:
    """Apply the app, wait for it and the gateways, and ask each of them; or take the app away.

    :raises JobError: options contradict each other; the app cannot be rendered or injected; it or a gateway does not
        become ready, has no address, does not answer; or the answer did not come through a sidecar over mutual TLS
    """
    cluster = Cluster(task.params)
    vantage_points.check(task.params)
    owner = App(task.params["namespace"] or "", task.params["chart_release"], MANAGER)
    if task.params["state"] == "absent":
        return _absent(task, cluster, owner, application.prepare(task, cluster).objects)
    wanted = gateway_targets.wanted(task.params)
    task.warnings += list(filter(None, [gateway_targets.not_installed(wanted)]))
    found = _gateways(task, cluster, wanted)
    targets = gateway_targets.targets(task.params, [(each, found[each.key].gateway) for each in wanted])
    if task.params["gateways_value"]:
        task.params = _bound(task.params, targets)
    app = application.prepare(task, cluster)
    if not task.params["gateways_value"]:
        leads = gateway_targets.selected_by(app.objects)
        targets = gateway_targets.targets(task.params, [(each, found[each.key].gateway) for each in wanted], leads)
    vantage_points.check_way(task.params, targets[0])
    objects = manifests.placed(cluster, app.objects)
    live = manifests.read(cluster, objects)
    removed = application.left_over(owner, cluster, objects, live)
    app.objects = belongings.marked(owner, objects, live, removed)
    plan = manifests.plan(cluster, app.objects, MANAGER, preview=task.check_mode or task.diff, live=live)
    if not task.check_mode:
        # Before the rest, whose annotation is what remembers them.
        manifests.delete(cluster, removed)
        manifests.apply(cluster, plan.changes, MANAGER)
    result: dict[str, Any] = {
        "changed": bool(plan.changes or removed),
        "objects": [*plan.names, *map(reference, removed)],
        **app.facts,
    }
    if task.diff:
        result["diff"] = [*(change.diff() for change in plan.changes), *map(manifests.removal_diff, removed)]
    if task.check_mode:
        return result
    task.looks_at = _scope(task.params, targets)
    services = _wait(task, cluster, plan, app.objects, found, targets)
    pods = [_selection(obj) for obj in app.objects if obj["kind"] in WAITED_FOR]
    return {**result, "evidence": Proof(task, cluster, services, pods).evidence(targets)}


def _gateways(task: Task, cluster: Cluster, wanted: list[Wanted]) -> dict[tuple[str, str], Found]:
    """The gateways that are to be proven; in check mode as they will be.

    :raises JobError: one is not there
    """
    listed = map(Gateway.of_dict, task.params["planned_gateways"] if task.check_mode else [])
    planned = {gateway.key: Found(gateway) for gateway in listed}
    found = {**planned, **gateway_reader.read(cluster, [each.key for each in wanted if each.key not in planned])}
    for each in wanted:
        if each.key not in found and task.check_mode:
            ports = gateways.ports_of(each.options)
            found[each.key] = Found(gateway_objects.as_the_chart_has_it(*each.key, each.options.type, ports))
        elif each.key not in found:
            raise JobError(
                "does not exist: no Helm release, Service, Deployment or DaemonSet has its name.",
                object=f"Gateway {each}",
                fix="Run role istio_helm to install it."
                if each.installed
                else "Set liveness_verify_gateway and liveness_verify_gateway_namespace to an existing gateway.",
                code="gateway-missing",
            )
    return found


def _bound(params: dict[str, Any], targets: list[Target]) -> dict[str, Any]:
    """The options, with the chart's value that says which gateways lead to the app, unless it is given."""
    bindings = gateway_targets.bindings(targets, params["scheme"])
    return {**params, "chart_values": {params["gateways_value"]: bindings, **params["chart_values"]}}


def _absent(task: Task, cluster: Cluster, app: App, objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Take away what the app's runs have made, but for its namespace: who else lives there cannot be known."""
    found = removal.plan(cluster, app, objects)
    if not task.check_mode:
        removal.carry_out(cluster, app, found)
    task.warnings += removal.warnings(found)
    result: dict[str, Any] = {
        "changed": bool(found.gone or found.changes),
        "objects": [*map(reference, found.gone), *(reference(change.wanted) for change in found.changes)],
        "kept": removal.kept(found),
    }
    if task.diff:
        removals = [manifests.removal_diff(obj) for obj in found.gone]
        result["diff"] = [*removals, *(change.diff() for change in found.changes)]
    return result


def _selection(workload: dict[str, Any]) -> tuple[str, dict[str, str] | None]:
    """Namespace and labels of a workload's pods."""
    return workload["metadata"]["namespace"], (workload["spec"].get("selector") or {}).get("matchLabels")


def _scope(params: dict[str, Any], targets: list[Target]) -> Scope:
    """What a failure may be explained by: the app, and the gateways that lead to it."""
    first = targets[0].gateway
    asked = [target.gateway for target in targets if target.proof == REQUEST]
    return Scope(
        params["istio_namespace"],
        [(gateway.namespace, gateway.service or gateway.name) for gateway in asked],
        [params["namespace"] or "default"],
        host=params["host_header"] or "",
        port=gateway_objects.called(targets[0].port) if targets[0].port else params["port"] or first.name,
        address=params["address"] or "",
        exposed=params["verify_from"] == "controller",
    )


def _wait(
    task: Task,
    cluster: Cluster,
    plan: manifests.Plan,
    objects: list[dict[str, Any]],
    found: dict[tuple[str, str], Found],
    targets: list[Target],
) -> dict[tuple[str, str], dict[str, Any]]:
    """Wait for the pods of the app and of the gateways, and for the addresses of those that are asked.

    :returns: the gateways' Services
    """
    params = task.params
    changed = {identity(change.wanted) for change in plan.changes}
    app = [identity(obj) for obj in objects if obj["kind"] in WAITED_FOR]
    others = _deployments(cluster, params["deployments"])
    live = {**plan.live, **others, **{key: obj for each in found.values() for key, obj in each.objects.items()}}
    gateways_pods = dict.fromkeys([*(identity(each.workload) for each in found.values() if each.workload), *others])
    pending = [key for key in [*app, *gateways_pods] if key in changed or not is_ready(live[key])]
    services = {target.gateway.key: found[target.gateway.key].service for target in targets if target.proof != NONE}
    for target in targets:
        service = services.get(target.gateway.key)
        if (
            target.proof == REQUEST
            and service
            and not vantage_points.given_address(params, target)
            and not is_ready(service)
        ):
            pending.append(identity(service))
    waiter = Waiter(cluster, params["wait_timeout"], task.say, pending_address.why_pending(cluster))
    created = [identity(change.wanted) for change in plan.changes if change.verb == "created"]
    ready = waiter.wait(pending, created) if pending else {}
    return {key: ready.get(identity(service), service) for key, service in services.items() if service}


def _deployments(cluster: Cluster, names: list[str]) -> dict[Identity, dict[str, Any]]:
    """Further Deployments that are waited for, live. :raises JobError: one is not there"""
    keys = [("apps/v1", "Deployment", *namespace_and_name("deployments", text)) for text in names]
    live = in_parallel(lambda key: cluster.get(key[0], key[1], key[3], key[2]), keys)
    for (_version, kind, namespace, name), obj in zip(keys, live, strict=True):
        if obj is None:
            about, fix = f"{kind} {namespace}/{name}", "Correct liveness_verify_wait_for."
            raise JobError("does not exist.", object=about, fix=fix)
    return dict(zip(keys, live, strict=True))
