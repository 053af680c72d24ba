# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Are the node ports that gateways pin free, and in the cluster's range? Pure; a dry run asks what this cannot tell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.mesh.gateways import NodePort

#: Kubernetes' default, and how the API server is told another.
DEFAULT_RANGE = range(30000, 32768)
_FLAG = re.compile(r"--service-node-port-range=(\d+)-(\d+)")
#: What a NodePort Service's refusal says.
_TAKEN = re.compile(r"provided port is already allocated")


class Holder(NamedTuple):
    """Which Service has a node port, and what for: the name of a port, or ``health check``."""

    namespace: str
    service: str
    port: str


def port_range(pods: Iterable[dict[str, Any]]) -> range:
    """The cluster's node ports: what the API server's own pod says where it can be seen, else Kubernetes' default."""
    for pod in pods:
        if (pod["metadata"].get("labels") or {}).get("component") != "kube-apiserver":
            continue
        for container in pod["spec"]["containers"]:
            words = (container.get("command") or []) + (container.get("args") or [])
            found = _FLAG.search(" ".join(words))
            if found:
                return range(int(found[1]), int(found[2]) + 1)
    return DEFAULT_RANGE


def holders(services: Iterable[dict[str, Any]]) -> dict[int, Holder]:
    """Who holds which node port: Services of type NodePort and LoadBalancer, and the health checks of the latter."""
    found = {}
    for service in services:
        where = service["metadata"]["namespace"], service["metadata"]["name"]
        for port in service["spec"].get("ports") or []:
            if port.get("nodePort"):
                found[port["nodePort"]] = Holder(*where, port.get("name", ""))
        number = service["spec"].get("healthCheckNodePort")
        if number:
            found[number] = Holder(*where, "health check")
    return found


def findings(
    wanted: Iterable[NodePort], held: dict[int, Holder], allowed: range
) -> tuple[list[Finding], list[NodePort]]:
    """What is wrong with the pinned ports, and those of which only the API server knows whether they are free."""
    found, unsure = [], []
    # A Service outside the range that we know of: the range is another, and only a real create would tell.
    range_is_known = all(number in allowed for number in held)
    for pinned in wanted:
        holder = held.get(pinned.port)
        if pinned.port not in allowed and range_is_known:
            message = f"node port {pinned.port} is outside the cluster's range {allowed.start}-{allowed.stop - 1}."
            fix = "Choose a node port in that range in istio_helm_gateways."
            found.append(Finding("node-port-out-of-range", pinned.where, message, fix))
        elif holder is None:
            unsure.append(pinned)
        elif (holder.namespace, holder.service) != (pinned.namespace, pinned.service):
            service = f"Service {holder.namespace}/{holder.service} (port {holder.port})"
            message = f"node port {pinned.port} is in use by {service}."
            fix = "Choose another node port in istio_helm_gateways, or change that Service."
            found.append(Finding("node-port-taken", pinned.where, message, fix))
    return found, unsure


def probe(pinned: NodePort) -> dict[str, Any]:
    """A Service whose dry-run creation asks the API server, which alone knows all allocations, for a port."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"meshops-preflight-{pinned.port}", "namespace": "default"},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP", "nodePort": pinned.port}]},
    }


def refused(pinned: NodePort, message: str) -> list[Finding]:
    """What the refusal of a probe means; nothing, when it is about something else, such as rights."""
    if not _TAKEN.search(message):
        return []
    text = f"node port {pinned.port} is in use by a Service that is being deleted or is not visible to this user."
    fix = "Choose another node port in istio_helm_gateways, or wait."
    return [Finding("node-port-taken", pinned.where, text, fix)]
