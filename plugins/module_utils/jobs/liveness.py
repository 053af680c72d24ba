# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_liveness: the guide's app runs, and requests through gateway and sidecar prove the mesh."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils import (
    application,
    belongings,
    counters,
    endpoint,
    exposure,
    manifests,
    places,
    probe,
    removal,
)
from ansible_collections.meshops.istio.plugins.module_utils.belongings import App
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.job import Task, argument_spec, namespace_and_name
from ansible_collections.meshops.istio.plugins.module_utils.kube import FIELD_MANAGER, Cluster, in_parallel, reference
from ansible_collections.meshops.istio.plugins.module_utils.label_selectors import text_of
from ansible_collections.meshops.istio.plugins.module_utils.objects import Identity, identity
from ansible_collections.meshops.istio.plugins.module_utils.readiness import is_ready
from ansible_collections.meshops.istio.plugins.module_utils.scope import Scope
from ansible_collections.meshops.istio.plugins.module_utils.waiting import Waiter

ARGUMENT_SPEC = argument_spec(
    {
        **application.ARGUMENT_SPEC,
        "gateway": {"type": "str", "default": "istio-ingressgateway"},
        "gateway_namespace": {"type": "str", "default": "istio-system"},
        "deployments": {"type": "list", "elements": "str", "default": []},
        "port": {"type": "str", "default": "http2"},
        "address": {"type": "str"},
        "scheme": {"type": "str", "choices": [places.HTTP, places.HTTPS], "default": places.HTTP},
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
#: Just after a rollout an answer may still come from a pod that ends, whose count nobody can read any more: so many
#: times it is asked, with so many seconds between.
_ATTEMPTS, _PAUSE = 4, 2.0


def run(task: Task) -> dict[str, Any]:
    """Apply the app, wait for it and the gateway, and ask; or take the app away.

    :raises JobError: options contradict each other; the app cannot be rendered or injected; it or the gateway does not
        become ready, has no address, does not answer; or the answer did not come through a sidecar over mutual TLS
    """
    params, cluster = task.params, Cluster(task.params)
    places.check(params)
    app = application.prepare(task, cluster)
    owner = App(params["namespace"] or "", params["chart_release"], MANAGER)
    if params["state"] == "absent":
        return _absent(task, cluster, owner, app.objects)
    wanted = manifests.placed(cluster, app.objects)
    live = manifests.read(cluster, wanted)
    removed = application.left_over(owner, cluster, wanted, live)
    app.objects = belongings.marked(owner, wanted, live, removed)
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
    task.looks_at = _scope(params)
    service = _wait(task, cluster, plan, app.objects)
    return {**result, "evidence": _evidence(task, cluster, service, app.objects)}


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


def _evidence(task: Task, cluster: Cluster, service: dict[str, Any], objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Ask, and gather what the answers and the proxies on the way say.

    :raises JobError: there is no answer, or it did not come the way that is to be proven
    """
    wanted, passed_by = task.params["successes"], {}
    for attempt in range(_ATTEMPTS):
        time.sleep(_PAUSE if attempt else 0)
        result = _asked(task, cluster, service, objects)
        passed_by = {name: count for name, count in result["counted"].items() if count.get("answers", wanted) < wanted}
        if not passed_by:
            return result
    name, count = next(iter(passed_by.items()))
    raise JobError(
        f"{result['url']} has answered {wanted} times, and the {name} has counted {count['answers']} "
        f"({count['metric']}): the requests went another way. Look at what stands before "
        f"{task.params['gateway_namespace']}/{task.params['gateway']}, and at the namespace's label for injection."
    )


def _asked(task: Task, cluster: Cluster, service: dict[str, Any], objects: list[dict[str, Any]]) -> dict[str, Any]:
    """As ``_evidence``, once."""
    params = task.params
    asked, send = places.asked_at(params, cluster, service)
    behind = (params["gateway_namespace"], service["spec"].get("selector"))
    workloads = [_selection(obj) for obj in objects if obj["kind"] in WAITED_FOR]
    pods = in_parallel(lambda where: _running(cluster, *where), [behind, *workloads])
    apps = {identity(pod): pod for pod in chain(*pods[1:])}
    watched = {"gateway": (counters.GATEWAY, pods[0]), "sidecar": (counters.SIDECAR, list(apps.values()))}

    def count() -> dict[str, counters.Counted]:
        found = in_parallel(lambda each: counters.read(cluster, each[1], each[0]), watched.values())
        return dict(zip(watched, found, strict=True))

    before = count()
    try:
        found, evidence = probe.in_a_row(
            asked,
            params["path"],
            params["host_header"],
            params["successes"],
            params["wait_timeout"],
            task.say,
            send,
        )
    except JobError as error:
        raise JobError(f"{error.message} {_from_inside(params, cluster)}".rstrip(), **error.details) from error
    result = {**probe.as_dict(evidence), "asked_from": params["verify_from"]}
    if params["echo_path"]:
        result["mtls"] = _mtls(params, found, send)
    result["counted"] = {name: after.since(before[name]) for name, after in count().items()}
    return result


def _from_inside(params: dict[str, Any], cluster: Cluster) -> str:
    """What the gateway answers through the API server, where somebody outside got no answer: whose fault it is."""
    if params["verify_from"] == "cluster" or params["scheme"] != places.HTTP:
        return ""
    try:
        answer = probe.through(cluster)(places.proxied(params, cluster), params["path"], params["host_header"])
    except (JobError, OSError):
        return ""  # no right to ask so, or no pod of the gateway
    if answer.status == 200:
        return (
            "From inside of the cluster the gateway answers 200: the mesh works, and what is in front of it does not. "
            "Look at firewall, security group, load balancer and node ports, or name the address that leads to it: "
            "liveness_verify_address."
        )
    return f"From inside of the cluster the gateway answers {answer.status} too: look at the mesh, not at the network."


def _selection(workload: dict[str, Any]) -> tuple[str, dict[str, str] | None]:
    """Namespace and labels of a workload's pods."""
    return workload["metadata"]["namespace"], (workload["spec"].get("selector") or {}).get("matchLabels")


def _running(cluster: Cluster, namespace: str, labels: dict[str, str] | None) -> list[dict[str, Any]]:
    """Pods with some labels that run, and are not about to end."""
    if not labels:
        return []
    running = {"label_selector": text_of(labels), "field_selector": "status.phase=Running", "metadata_only": True}
    pods = cluster.list("v1", "Pod", namespace, **running)
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def _scope(params: dict[str, Any]) -> Scope:
    """What a failure may be explained by: the app, and the gateway that leads to it."""
    gateway = (params["gateway_namespace"], params["gateway"])
    return Scope(
        params["istio_namespace"],
        [gateway],
        [params["namespace"] or "default"],
        host=params["host_header"] or "",
        port=params["port"],
        address=params["address"] or "",
        exposed=params["verify_from"] == "controller",
    )


def _wait(task: Task, cluster: Cluster, plan: manifests.Plan, objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Wait for the app's and the gateway's pods and for the gateway's address. :returns: the gateway's Service"""
    params = task.params
    changed = {identity(change.wanted) for change in plan.changes}
    app = [identity(obj) for obj in objects if obj["kind"] in WAITED_FOR]
    own = (params["gateway_namespace"], params["gateway"])
    others = [namespace_and_name("deployments", text) for text in params["deployments"]]
    gateways: list[Identity] = [("apps/v1", "Deployment", *name) for name in dict.fromkeys([own, *others])]
    service: Identity = ("v1", "Service", *own)
    targets = [*gateways, service]
    found = in_parallel(lambda key: cluster.get(key[0], key[1], key[3], key[2]), targets)
    live = {**plan.live, **dict(zip(targets, found, strict=True))}
    for key in targets:
        if live[key] is None:
            raise JobError(
                f"{key[1]} {key[2]}/{key[3]} of a gateway is not there. Role istio_helm installs it; name another by "
                "liveness_verify_gateway and liveness_verify_gateway_namespace."
            )
    pending = [key for key in app + gateways if key in changed or not is_ready(live[key])]
    if not params["address"] and not is_ready(live[service]):
        pending.append(service)
    waiter = Waiter(cluster, params["wait_timeout"], task.say, exposure.why_pending(cluster))
    created = [identity(change.wanted) for change in plan.changes if change.verb == "created"]
    ready = waiter.wait(pending, created) if pending else {}
    return ready.get(service) or live[service]


def _mtls(params: dict[str, Any], found: endpoint.Place, send: Callable[..., probe.Answer]) -> dict[str, str]:
    """The identities that the app's sidecar saw, taken from what the app was handed.

    :raises JobError: there are none: the request came to the app in plain text
    """
    asked = found.url(params["echo_path"])
    try:
        answer = send(found, params["echo_path"], params["host_header"])
    except OSError as error:
        raise JobError(f"{asked} did not answer: {error}.") from error
    identities = probe.client_certificate(answer.body)
    if "uri" not in identities:
        raise JobError(
            f"The request reached the app, but not over mutual TLS: {asked} ({answer.status}) echoes no "
            "X-Forwarded-Client-Cert. Its pod has no sidecar, or mutual TLS is off. Check the namespace's label "
            "istio-injection or istio.io/rev and restart the app; set liveness_verify_echo_path to '' for an app that "
            "echoes nothing."
        )
    expected = f"/ns/{params['gateway_namespace']}/sa/"
    if expected not in identities["uri"]:
        raise JobError(
            f"The app was called by {identities['uri']}, not by the gateway in {params['gateway_namespace']}."
        )
    return identities
