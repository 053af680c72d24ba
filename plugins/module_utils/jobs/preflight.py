# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_preflight_info: everything that can be known to go wrong, before anything is written.

Reads only, access reviews and a dry run of a Service apart. All findings are collected; the caller decides what they
mean.
"""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils import capacity, charts, mesh, rights, support
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding, errors
from ansible_collections.meshops.istio.plugins.module_utils.helm import Helm
from ansible_collections.meshops.istio.plugins.module_utils.job import Task, argument_spec
from ansible_collections.meshops.istio.plugins.module_utils.kube import ApiError, Cluster, in_parallel

ARGUMENT_SPEC = argument_spec(
    {
        **mesh.MESH_ARGUMENT_SPEC,
        "application_namespaces": {"type": "list", "elements": "str", "default": []},
        "recommended_cpu": {"type": "str", "default": "4"},
        "recommended_memory": {"type": "str", "default": "8G"},
        "ignore": {"type": "list", "elements": "str", "default": []},
    }
)

#: Kubernetes' default, and how the API server is told another.
_NODE_PORTS = range(30000, 32768)
_NODE_PORT_FLAG = re.compile(r"--service-node-port-range=(\d+)-(\d+)")
#: What a NodePort Service's refusal says.
_PORT_TAKEN = re.compile(r"provided port is already allocated")


def run(task: Task) -> dict[str, Any]:
    """Check everything.

    :returns: ``findings``, ``cluster`` (facts) and ``versions``; ``failed`` with one message when an error was found
    :raises JobError: options that contradict each other
    """
    check = Preflight(task)
    check.run()
    ignored = set(task.params["ignore"])
    findings = [finding for finding in check.findings if finding.code not in ignored]
    result: dict[str, Any] = {
        "changed": False,
        "findings": [finding.as_dict() for finding in findings],
        "versions": check.versions,
        "cluster": check.facts,
    }
    task.warnings += [str(finding) for finding in findings if finding.severity == "warning"]
    stopping = errors(findings)
    if stopping:
        # Each on a line of its own: a person reads this at 3 a.m.
        lines = "\n".join(str(finding) for finding in stopping)
        result.update(failed=True, msg=f"Nothing was written. {len(stopping)} to be mended first:\n{lines}")
    return result


class Preflight:
    """The checks, each a method that adds findings; a check that needs what an earlier one missed is left out."""

    def __init__(self, task: Task) -> None:
        self.params = task.params
        self.releases = mesh.releases(task.params)
        self.node_ports = mesh.node_ports(task.params)
        self.findings: list[Finding] = []
        self.versions: dict[str, str] = {"istio": task.params["chart_version"]}
        self.facts: dict[str, Any] = {}
        self.helm: Helm | None = None

    def add(self, code: str, obj: str, message: str, fix: str) -> None:
        """Note one finding."""
        self.findings.append(Finding(code, obj, message, fix))

    def run(self) -> None:
        """All checks; those of the cluster only when it answers."""
        self._helm()
        cluster = self._cluster()
        if cluster is None:
            return
        in_parallel(
            lambda check: check(), [lambda: self._rights(cluster), lambda: self._objects(cluster), self._charts]
        )

    # -- programs and charts ------------------------------------------------------------------------------------------

    def _helm(self) -> None:
        try:
            self.helm = Helm(self.params["helm_binary"])
            version = self.helm.version
        except JobError as error:
            self.add("helm-missing", "helm", error.message, "Install helm, or set preflight_fetch_tools: true.")
            return
        self.versions["helm"] = version
        if not support.helm_supported(version):
            oldest = ".".join(map(str, support.HELM_OLDEST))
            self.add(
                "helm-unsupported",
                self.helm.binary,
                f"is helm {version}; {oldest} to {support.HELM_NEWEST_MAJOR}.x are supported.",
                "Install another, name it by istio_helm_helm_binary, or set preflight_fetch_tools: true.",
            )

    def _charts(self) -> None:
        repository, version = self.params["chart_repository"], self.params["chart_version"]
        for name in sorted({release.chart for release in self.releases}):
            try:
                self.facts.setdefault("charts", {})[name] = str(
                    charts.locate(self._need_helm, repository, name, version).path
                )
            except JobError as error:  # noqa: PERF203 -- each chart may be missing
                fix = "Check istio_helm_chart_repository and istio_helm_chart_version."
                self.add("chart-missing", f"chart {name} {version}", error.message, fix)

    def _need_helm(self) -> Helm:
        if self.helm is None:
            raise JobError("there is no helm to fetch it with.")
        return self.helm

    # -- the cluster --------------------------------------------------------------------------------------------------

    def _cluster(self) -> Cluster | None:
        try:
            cluster = Cluster(self.params)
        except JobError as error:
            self.add("api-unauthorized", "kubeconfig", error.message, "Name a kubeconfig that this user can read.")
            return None
        try:
            server = cluster.version()
            uid = self._uid(cluster)
        except JobError as error:
            self.add("api-unreachable", cluster.host, error.message, "Mend the connection and run again.")
            return None
        except ApiError as error:
            self.add(
                "api-unauthorized",
                cluster.host,
                f"answered {error.status}: {error.message or error.reason}.",
                "Renew the credentials, or name others: kubeconfig and context, or host and api_key.",
            )
            return None
        if not cluster.verifies_tls:
            self.add(
                "tls-unverified",
                cluster.host,
                "its certificate is not checked, so anybody on the way can read the token.",
                "Give its CA by ca_cert or in the kubeconfig (an AWX credential needs its CA field filled). To accept "
                "the risk, add tls-unverified to preflight_ignore.",
            )
        self.facts["uid"] = uid
        self._kubernetes(cluster, server)
        return cluster

    @staticmethod
    def _uid(cluster: Cluster) -> str:
        """What tells a cluster from all others; "" for those who may not read it, which is a finding about rights."""
        try:
            namespace = cluster.get("v1", "Namespace", "kube-system")
        except ApiError as error:
            if error.status == 403:
                return ""
            raise
        return namespace["metadata"]["uid"] if namespace else ""

    def _kubernetes(self, cluster: Cluster, server: dict[str, str]) -> None:
        self.versions["kubernetes"] = server["gitVersion"].lstrip("v")
        istio = support.minor_of(self.params["chart_version"])
        supported = support.KUBERNETES_FOR_ISTIO.get(istio)
        if supported is None:
            known = ", ".join(support.KUBERNETES_FOR_ISTIO)
            fix = "Choose a known version by istio_helm_chart_version, or check Istio's support table yourself."
            self.add("istio-unknown", f"Istio {istio}", f"is not in the support table, which knows {known}.", fix)
            return
        minor = support.kubernetes_minor(server)
        message = (
            f"runs Kubernetes {server['gitVersion']}; "
            f"Istio {istio} is known to run on 1.{supported.lowest} to 1.{supported.highest}."
        )
        if minor < supported.lowest:
            self.add("kubernetes-too-old", cluster.host, message, "Upgrade the cluster, or choose an older Istio.")
        elif minor > supported.highest:
            self.add(
                "kubernetes-untested", cluster.host, message, "Expect it to work; a newer Istio may be tested on it."
            )

    def _rights(self, cluster: Cluster) -> None:
        control_plane = sorted({self.params["namespace"], *(release.namespace for release in self.releases)})
        if cluster.may({"verb": "*", "group": "*", "resource": "*"}):
            return
        wanted = rights.reviews(
            control_plane, sorted(set(self.params["application_namespaces"])), self._handed_on(cluster)
        )
        refused = [
            attributes
            for attributes, allowed in zip(wanted, in_parallel(cluster.may, wanted), strict=True)
            if not allowed
        ]
        for (resource, namespace), verbs in rights.grouped(refused).items():
            self.add(
                "right-missing",
                f"{', '.join(verbs)} {resource}",
                f"is not allowed in {f'namespace {namespace}' if namespace else 'the cluster'}.",
                "Bind the roles of docs/rbac.yml to this user, or use other credentials.",
            )

    def _handed_on(self, cluster: Cluster) -> list[dict[str, str]]:
        """What the charts' own roles allow: Kubernetes lets only those create a role who hold what is in it.

        Nothing for a user who may create any role.
        """
        if all(in_parallel(cluster.may, rights.ANY_ROLE)) or self.helm is None:
            return []
        repository, version = self.params["chart_repository"], self.params["chart_version"]
        found: list[dict[str, str]] = []
        for release in self.releases:
            try:
                roles = charts.rendered(
                    self.helm,
                    charts.locate(self._need_helm, repository, release.chart, version),
                    release.name,
                    release.namespace,
                    release.values,
                    self.versions["kubernetes"],
                    ("ClusterRole", "Role"),
                )
            except JobError:  # a chart that cannot be had is a finding of its own
                continue
            for role in roles:
                namespace = release.namespace if role["kind"] == "Role" else ""
                found += rights.of_rules(role.get("rules") or [], namespace)
        return found

    def _objects(self, cluster: Cluster) -> None:
        """Room and node ports: three lists. Whoever may not read them has a finding about that already."""
        try:
            nodes, pods, services = in_parallel(
                lambda kind: cluster.list("v1", kind, field_selector=_UNFINISHED if kind == "Pod" else None),
                ("Node", "Pod", "Service"),
            )
        except ApiError as error:
            if error.status == 403:
                return
            raise
        self._room(nodes, pods)
        self._node_ports(cluster, services, node_port_range(pods))

    # -- room ---------------------------------------------------------------------------------------------------------

    def _room(self, nodes: list[dict[str, Any]], pods: list[dict[str, Any]]) -> None:
        free = capacity.free_by_node(nodes, pods)
        running = {
            (pod["metadata"]["namespace"], (pod["metadata"].get("labels") or {}).get("app"))
            for pod in pods
            if pod["spec"].get("nodeName")
        }
        wanted = {
            f"{release.namespace}/{release.name}": capacity.room(self._requests(release))
            for release in self.releases
            if release.component != "base" and (release.namespace, release.name) not in running
        }
        total = sum(free.values(), capacity.Room())
        self.facts["free"] = {"cpu": str(total.cpu), "memory_mib": int(total.memory / capacity.MIB), "nodes": len(free)}
        for name in capacity.unplaceable(wanted, free):
            nodes_left = "; ".join(f"{node}: {room}" for node, room in free.items()) or "no node takes ordinary pods"
            self.add(
                "room-none",
                name,
                f"requests {wanted[name]} and fits on no node (free: {nodes_left}).",
                "Make room, add a node, or lower its requests by istio_helm_values.",
            )
        advice = capacity.room({"cpu": self.params["recommended_cpu"], "memory": self.params["recommended_memory"]})
        if wanted and not total.holds(advice):
            self.add(
                "room-short",
                "cluster",
                f"has {total} free on {len(free)} nodes; {advice} are recommended for a whole installation.",
                "Nothing, if the mesh is small; else add room before workloads come.",
            )

    def _requests(self, release: mesh.Release) -> dict[str, Any]:
        """What one pod of a release requests: the chart's default, with the user's values over it."""
        try:
            chart = charts.locate(
                self._need_helm, self.params["chart_repository"], release.chart, self.params["chart_version"]
            )
        except JobError:
            return {}
        defaults = chart.default_values
        values = mesh.merged(defaults.get("_internal_defaults_do_not_set") or defaults, release.values)
        pilot = values.get("pilot") or {}
        return (pilot.get("resources") or values.get("resources") or {}).get("requests") or {}

    # -- node ports ---------------------------------------------------------------------------------------------------

    def _node_ports(self, cluster: Cluster, services: list[dict[str, Any]], allowed: range) -> None:
        holders = {
            port["nodePort"]: (service["metadata"]["namespace"], service["metadata"]["name"], port.get("name", ""))
            for service in services
            for port in service["spec"].get("ports") or []
            if port.get("nodePort")
        }
        for service in services:
            number = service["spec"].get("healthCheckNodePort")
            if number:
                holders[number] = (service["metadata"]["namespace"], service["metadata"]["name"], "health check")
        # A Service outside the range that we know of: the range is another, and only a real create would tell.
        unsure = any(number not in allowed for number in holders)
        asked = []
        for pinned in self.node_ports:
            holder = holders.get(pinned.port)
            if pinned.port not in allowed and not unsure:
                self.add(
                    "node-port-out-of-range",
                    pinned.where,
                    f"node port {pinned.port} is outside the cluster's range {allowed.start}-{allowed.stop - 1}.",
                    "Choose one inside it in istio_helm_gateways.",
                )
            elif holder is None:
                asked.append(pinned)
            elif holder[:2] != (pinned.namespace, pinned.service):
                self.add(
                    "node-port-taken",
                    pinned.where,
                    f"node port {pinned.port} is held by Service {holder[0]}/{holder[1]} (port {holder[2]}).",
                    "Choose another in istio_helm_gateways, or change that Service.",
                )
        if asked:
            in_parallel(lambda pinned: self._ask_for_port(cluster, pinned), asked)

    def _ask_for_port(self, cluster: Cluster, pinned: mesh.NodePort) -> None:
        """Only the API server knows all allocations: ask it by a dry run, which writes nothing."""
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"meshops-preflight-{pinned.port}", "namespace": "default"},
            "spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP", "nodePort": pinned.port}]},
        }
        try:
            cluster.create(service, dry_run=True)
        except ApiError as error:
            if _PORT_TAKEN.search(error.message):
                self.add(
                    "node-port-taken",
                    pinned.where,
                    f"node port {pinned.port} is allocated already, by a Service that is being deleted or cannot be "
                    "seen.",
                    "Choose another in istio_helm_gateways, or wait.",
                )


def node_port_range(pods: list[dict[str, Any]]) -> range:
    """The cluster's node ports: what the API server's own pod says where it can be seen, else Kubernetes' default."""
    for pod in pods:
        if (pod["metadata"].get("labels") or {}).get("component") != "kube-apiserver":
            continue
        for container in pod["spec"]["containers"]:
            words = (container.get("command") or []) + (container.get("args") or [])
            found = _NODE_PORT_FLAG.search(" ".join(words))
            if found:
                return range(int(found[1]), int(found[2]) + 1)
    return _NODE_PORTS


_UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"
