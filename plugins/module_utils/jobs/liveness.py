# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_liveness: the guide's app runs, and requests through gateway and sidecar prove the mesh."""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils import application, endpoint, manifests, probe
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.job import Task, argument_spec
from ansible_collections.meshops.istio.plugins.module_utils.kube import FIELD_MANAGER, Cluster, in_parallel
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
    service = _wait(task, cluster, plan, app.objects)
    found, evidence = probe.in_a_row(
        _endpoints(task, cluster, service),
        params["path"],
        params["host_header"],
        params["successes"],
        params["wait_timeout"],
        task.say,
    )
    result["evidence"] = probe.as_dict(evidence)
    if params["echo_path"]:
        result["evidence"]["mtls"] = _mtls(params, found)
    return result


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
    ready = Waiter(cluster, params["wait_timeout"], task.say).wait(pending) if pending else {}
    return ready.get(service) or live[service]


def _namespace_and_name(text: str) -> tuple[str, str]:
    namespace, _slash, name = text.partition("/")
    if not namespace or not name:
        raise JobError(f"deployments: {text} is not NAMESPACE/NAME.")
    return namespace, name


def _endpoints(task: Task, cluster: Cluster, service: dict[str, Any]) -> list[endpoint.Endpoint]:
    params = task.params
    name = f"{params['gateway_namespace']}/{params['gateway']}"
    if params["address"]:
        host, _colon, port = params["address"].rpartition(":")
        if not host or not port.isdigit():
            raise JobError(f"address: {params['address']} is not HOST:PORT.")
        return [endpoint.Endpoint(host.strip("[]"), int(port))]
    nodes = cluster.list("v1", "Node") if service["spec"].get("type") == "NodePort" else []
    found = endpoint.endpoints(service, params["port"], nodes)
    if not found:
        ports = ", ".join(port.get("name", str(port["port"])) for port in service["spec"].get("ports") or [])
        raise JobError(
            f"Service {name} of type {service['spec'].get('type')} cannot be reached from outside by a port named "
            f"{params['port']} (its ports: {ports}). Expose it as NodePort or LoadBalancer (istio_helm_exposure), or "
            "give the address that leads to it: liveness_verify_address."
        )
    return found


def _mtls(params: dict[str, Any], found: endpoint.Endpoint) -> dict[str, str]:
    """The identities that the app's sidecar saw, taken from what the app was handed.

    :raises JobError: there are none: the request came to the app in plain text
    """
    try:
        answer = probe.get(found, params["echo_path"], params["host_header"])
    except OSError as error:
        raise JobError(f"http://{found.authority}{params['echo_path']} did not answer: {error}.") from error
    identities = probe.client_certificate(answer.body)
    if "uri" not in identities:
        raise JobError(
            f"The request reached the app, but not over mutual TLS: http://{found.authority}{params['echo_path']} "
            f"({answer.status}) echoes no X-Forwarded-Client-Cert. Its pod has no sidecar, or mutual TLS is off. Check "
            "the namespace's label istio-injection or istio.io/rev and restart the app; set liveness_verify_echo_path "
            "to '' for an app that echoes nothing."
        )
    expected = f"/ns/{params['gateway_namespace']}/sa/"
    if expected not in identities["uri"]:
        raise JobError(
            f"The app was called by {identities['uri']}, not by the gateway in {params['gateway_namespace']}."
        )
    return identities
