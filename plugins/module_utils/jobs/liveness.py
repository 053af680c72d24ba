# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_liveness: the guide's app runs, and requests through gateway and sidecar prove the mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils import (
    application,
    endpoint,
    exposure,
    manifests,
    probe,
)
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.job import Task, argument_spec
from ansible_collections.meshops.istio.plugins.module_utils.kube import FIELD_MANAGER, Cluster, in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.mesh_reader import Scope
from ansible_collections.meshops.istio.plugins.module_utils.objects import Identity, identity
from ansible_collections.meshops.istio.plugins.module_utils.readiness import is_ready
from ansible_collections.meshops.istio.plugins.module_utils.waiting import Waiter

ARGUMENT_SPEC = argument_spec(
    {
        **application.ARGUMENT_SPEC,
        "gateway": {"type": "str", "default": "istio-ingressgateway"},
        "gateway_namespace": {"type": "str", "default": "istio-system"},
        "deployments": {"type": "list", "elements": "str", "default": []},
        "port": {"type": "str", "default": "http2"},
        "address": {"type": "str"},
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
    """Apply the app, wait for it and the gateway, and ask.

    :raises JobError: the app cannot be rendered or injected, it or the gateway does not become ready, has no address,
        does not answer, or the answer did not come through a sidecar over mutual TLS
    """
    params, cluster = task.params, Cluster(task.params)
    app = application.prepare(task, cluster)
    plan = manifests.plan(cluster, app.objects, MANAGER, preview=task.check_mode or task.diff)
    if plan.changes and not task.check_mode:
        manifests.apply(cluster, plan.changes, MANAGER)
    result: dict[str, Any] = {"changed": bool(plan.changes), "objects": plan.names, **app.facts}
    if task.diff:
        result["diff"] = [change.diff() for change in plan.changes]
    if task.check_mode:
        return result
    task.looks_at = _scope(params)
    service = _wait(task, cluster, plan, app.objects)
    places, send = _places(task, cluster, service)
    found, evidence = probe.in_a_row(
        places,
        params["path"],
        params["host_header"],
        params["successes"],
        params["wait_timeout"],
        task.say,
        send,
    )
    result["evidence"] = {**probe.as_dict(evidence), "asked_from": params["verify_from"]}
    if params["echo_path"]:
        result["evidence"]["mtls"] = _mtls(params, found, send)
    return result


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
    others = [_namespace_and_name(text) for text in params["deployments"]]
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


def _namespace_and_name(text: str) -> tuple[str, str]:
    namespace, _slash, name = text.partition("/")
    if not namespace or not name:
        raise JobError(f"deployments: {text} is not NAMESPACE/NAME.")
    return namespace, name


def _places(
    task: Task, cluster: Cluster, service: dict[str, Any]
) -> tuple[list[endpoint.Place], Callable[..., probe.Answer]]:
    """Where to ask for the app, and how."""
    params = task.params
    if params["verify_from"] == "controller":
        return list(_endpoints(task, cluster, service)), probe.get
    if params["address"]:
        raise JobError(
            f"address: {params['address']} would not be asked from inside of the cluster. Set one of "
            "liveness_verify_address and liveness_verify_from: cluster."
        )
    if not endpoint.has_port(service, params["port"]):
        raise JobError(
            f"Service {params['gateway_namespace']}/{params['gateway']} has no port named {params['port']} (its ports: "
            f"{_port_names(service)}). Name another by liveness_verify_gateway_port."
        )
    place = endpoint.Proxied(cluster.host, params["gateway_namespace"], params["gateway"], params["port"])
    return [place], probe.through(cluster)


def _port_names(service: dict[str, Any]) -> str:
    return ", ".join(port.get("name", str(port["port"])) for port in service["spec"].get("ports") or [])


def _serving(params: dict[str, Any], cluster: Cluster, service: dict[str, Any]) -> set[str] | None:
    """The nodes that answer for a Service that keeps requests on the node where they arrive; None for all.

    :raises JobError: none does
    """
    selector = service["spec"].get("selector")
    if not endpoint.keeps_local(service) or not selector:
        return None
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    serving = endpoint.serving_nodes(cluster.list("v1", "Pod", params["gateway_namespace"], label_selector=labels))
    if not serving:
        raise JobError(
            f"Service {params['gateway_namespace']}/{params['gateway']} has external_traffic_policy Local, and no node "
            "runs a pod of it that is ready, so that none answers."
        )
    return serving


def _endpoints(task: Task, cluster: Cluster, service: dict[str, Any]) -> list[endpoint.Endpoint]:
    params = task.params
    name = f"{params['gateway_namespace']}/{params['gateway']}"
    if params["address"]:
        host, _colon, port = params["address"].rpartition(":")
        if not host or not port.isdigit():
            raise JobError(f"address: {params['address']} is not HOST:PORT.")
        return [endpoint.Endpoint(host.strip("[]"), int(port))]
    nodes, serving = [], None
    if service["spec"].get("type") == "NodePort":
        nodes, serving = cluster.list("v1", "Node"), _serving(params, cluster, service)
    found = endpoint.endpoints(service, params["port"], nodes, serving)
    if not found:
        raise JobError(
            f"Service {name} of type {service['spec'].get('type')} cannot be reached from outside by a port named "
            f"{params['port']} (its ports: {_port_names(service)}). Expose it as NodePort or LoadBalancer "
            "(istio_helm_exposure), ask from inside (liveness_verify_from: cluster), or give the address that leads to "
            "it: liveness_verify_address."
        )
    return found


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
