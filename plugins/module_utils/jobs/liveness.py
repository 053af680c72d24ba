# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_liveness: the guide's app runs, and requests through gateway and sidecar prove the mesh."""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils import endpoint, manifests, probe
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.job import Task, argument_spec
from ansible_collections.meshops.istio.plugins.module_utils.kube import FIELD_MANAGER, Cluster, in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.objects import Identity, identity
from ansible_collections.meshops.istio.plugins.module_utils.readiness import is_ready
from ansible_collections.meshops.istio.plugins.module_utils.waiting import Waiter

ARGUMENT_SPEC = argument_spec(
    {
        "manifests": {"type": "list", "elements": "dict", "required": True},
        "gateway": {"type": "str", "default": "istio-ingressgateway"},
        "gateway_namespace": {"type": "str", "default": "istio-system"},
        "port": {"type": "str", "default": "http2"},
        "address": {"type": "str"},
        "path": {"type": "str", "default": "/healthz"},
        "host": {"type": "str"},
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

    :raises JobError: the app or the gateway does not become ready, has no address, does not answer, or the answer did
        not come through a sidecar over mutual TLS
    """
    params, cluster = task.params, Cluster(task.params)
    plan = manifests.plan(cluster, params["manifests"], MANAGER)
    if plan.changes and not task.check_mode:
        manifests.apply(cluster, plan.changes, MANAGER)
    result: dict[str, Any] = {"changed": bool(plan.changes), "objects": plan.names}
    if task.diff:
        result["diff"] = [change.diff() for change in plan.changes]
    if task.check_mode:
        return result
    service = _wait(task, cluster, plan)
    found, evidence = probe.in_a_row(
        _endpoints(task, cluster, service),
        params["path"],
        params["host"],
        params["successes"],
        params["wait_timeout"],
        task.say,
    )
    result["evidence"] = probe.as_dict(evidence)
    if params["echo_path"]:
        result["evidence"]["mtls"] = _mtls(params, found)
    return result


def _wait(task: Task, cluster: Cluster, plan: manifests.Plan) -> dict[str, Any]:
    """Wait for the app's and the gateway's pods and for the gateway's address. :returns: the gateway's Service"""
    params = task.params
    gateway, namespace = params["gateway"], params["gateway_namespace"]
    changed = {identity(change.wanted) for change in plan.changes}
    pending = [
        identity(obj)
        for obj in params["manifests"]
        if obj["kind"] in WAITED_FOR and (identity(obj) in changed or not is_ready(plan.live[identity(obj)]))
    ]
    deployment, service = in_parallel(
        lambda kind: cluster.get(kind[0], kind[1], gateway, namespace), [("apps/v1", "Deployment"), ("v1", "Service")]
    )
    for kind, obj in (("Deployment", deployment), ("Service", service)):
        if obj is None:
            raise JobError(
                f"{kind} {namespace}/{gateway} of the gateway is not there. Role istio_helm installs it; name another "
                "by liveness_verify_gateway and liveness_verify_gateway_namespace."
            )
    gateway_keys: list[Identity] = [identity(obj) for obj in (deployment, service) if not is_ready(obj)]
    if params["address"]:
        gateway_keys = [key for key in gateway_keys if key[1] != "Service"]
    if not pending and not gateway_keys:
        return service
    ready = Waiter(cluster, params["wait_timeout"], task.say).wait(pending + gateway_keys)
    return ready.get(identity(service), service)


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
            f"{params['port']} (its ports: {ports}). Expose it as NodePort or LoadBalancer (istio_helm_exposure), or give "
            "the address that leads to it: liveness_verify_address."
        )
    return found


def _mtls(params: dict[str, Any], found: endpoint.Endpoint) -> dict[str, str]:
    """The identities that the app's sidecar saw, taken from what the app was handed.

    :raises JobError: there are none: the request came to the app in plain text
    """
    try:
        answer = probe.get(found, params["echo_path"], params["host"])
    except OSError as error:
        raise JobError(f"http://{found.authority}{params['echo_path']} did not answer: {error}.") from error
    identities = probe.client_certificate(answer.body)
    if "uri" not in identities:
        raise JobError(
            f"The request reached the app, but not over mutual TLS: http://{found.authority}{params['echo_path']} "
            f"({answer.status}) echoes no X-Forwarded-Client-Cert. Its pod has no sidecar, or mutual TLS is off. Check the "
            "namespace's label istio-injection or istio.io/rev and restart the app; set liveness_verify_echo_path to '' "
            "for an app that echoes nothing."
        )
    expected = f"/ns/{params['gateway_namespace']}/sa/"
    if expected not in identities["uri"]:
        raise JobError(
            f"The app was called by {identities['uri']}, not by the gateway in {params['gateway_namespace']}."
        )
    return identities
