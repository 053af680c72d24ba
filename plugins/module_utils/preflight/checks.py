# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can be known to go wrong, before anything is written."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import quantities, reading, workloads
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster, served_groups
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.codes import CODES
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure import (
    load_balancers,
    node_ports,
)
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding, errors
from ansible_collections.meshops.istio.plugins.module_utils.helm import chart_lookup, charts, sources
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import MISSING, RETIRED, ChartError
from ansible_collections.meshops.istio.plugins.module_utils.helm.values import merged
from ansible_collections.meshops.istio.plugins.module_utils.mesh import (
    composition,
    gateways,
    istioctl,
    providers,
    retirement,
    versions,
)
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import MeshOptions
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.detection import detect
from ansible_collections.meshops.istio.plugins.module_utils.preflight import (
    capacity,
    demand,
    existing_istio,
    missing_rights,
    namespaces,
    quotas,
    rights,
    service_ports,
    snapshot,
    workload_labels,
)
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

#: Rendered once for everything: what rights ask for and what takes room or counts against a quota.
_RENDERED = (*demand.KINDS, "ClusterRole", "Role")
_INSTALL_HELM = "Install helm, or set preflight_fetch_tools: true."


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once, in the order of the table of codes, and then of objects."""
    places = {code: place for place, code in enumerate(CODES)}
    return sorted(set(findings), key=lambda finding: (places[finding.code], finding.object, finding.message))


class Checks:
    """The checks; one that needs what an earlier one missed is left out."""

    def __init__(self, task: Task) -> None:
        self.params = task.params
        self.options = MeshOptions.of(task.params)
        self.releases = composition.releases(self.options)
        self.findings: list[Finding] = []
        self.versions: dict[str, str] = {"istio": self.options.version}
        self.facts: dict[str, Any] = {}
        self.helm: Helm | None = None
        self.charts: dict[sources.ChartReference, charts.Chart] = {}
        self.control_plane = sorted({self.options.namespace, *(release.namespace for release in self.releases)})
        self.applications = sorted(set(self.params["application_namespaces"]))
        self._served: dict[str, set[str]] = {}
        #: releases that this helm cannot render, which is a finding
        self._refused: set[str] = set()

    def add(self, code: str, obj: str, message: str, fix: str) -> None:
        """Note one finding."""
        self.findings.append(Finding(code, obj, message, fix))

    def add_error(self, error: JobError, code: str, obj: str, fix: str) -> None:
        """Note a failure of another room as a finding.

        :arg fix: for one that has none of its own
        """
        for each in error.errors:
            self.add(code, obj, each.condition, each.fix or fix)

    def run(self) -> None:
        """All checks; those of the cluster only when it answers."""
        self.findings += composition.advice(self.options)
        self._programs()
        cluster = self._cluster()
        if cluster is None:
            return
        reader = snapshot.Reader(cluster, self.control_plane, self.applications)
        seen, rendered = in_parallel(lambda work: work(), [reader.read, lambda: self._charts_and_rights(cluster)])
        self._there_already(seen)
        self._to_be_created(seen, rendered)
        self._addresses(cluster, seen)
        self._recommendations(seen)

    # -- programs and charts ------------------------------------------------------------------------------------------

    def _programs(self) -> None:
        names = {release.chart.name for release in self.releases}
        try:
            helm = Helm(self.params["helm_binary"])
            self.versions["helm"] = helm.version
            unfit = versions.helm_findings(helm.binary, helm.version, self.options.version, names)
            self._refused = {release.name for release in self.releases if unfit}
            self.findings += unfit
            self.helm = helm
        except JobError as error:
            self.add_error(error, "helm-missing", "helm", _INSTALL_HELM)
        binary = self.params["istioctl_binary"]
        if binary:
            try:
                found = self.versions["istioctl"] = istioctl.version_of(binary)
                self.findings += versions.istioctl_findings(binary, found, self.options.version)
            except JobError as error:
                fix = (
                    "Install istioctl, and set istio_helm_istioctl_binary to its path. Only manual injection needs it."
                )
                self.add_error(error, "istioctl-missing", "istioctl", fix)

    def _charts_and_rights(self, cluster: Cluster) -> list[tuple[str, list[dict[str, Any]]]]:
        """Find the charts, render what runs pods, and ask for the rights that their roles need.

        :returns: the rendered objects of each release, with its namespace
        """
        self._locate()
        self.releases = self._as_installed()
        self._images()
        rendered = [(release.namespace, self._rendered(release)) for release in self.releases if release.runs_pods]
        self._pod_security(cluster)
        self.findings += missing_rights.findings(
            cluster,
            missing_rights.Wanted(
                self.control_plane,
                self.applications,
                self.releases,
                self._rendered,
                self.facts.get("pod_security", ""),
                [rights.FROM_CLUSTER] if self.params["verify_from"] == "cluster" else [],
            ),
        )
        return rendered

    def _locate(self) -> None:
        retired: dict[str, Finding] = {}  # one for all charts of a repository: it has one cause
        today = datetime.now(timezone.utc).date()
        for wanted in dict.fromkeys(release.chart for release in self.releases):
            about, repository = f"chart {wanted.name} {wanted.version}", wanted.source.repository
            try:
                self.charts[wanted] = chart_lookup.find(self._need_helm, wanted)
            except JobError as error:
                if error.code == RETIRED:
                    where = retirement.about(repository)
                    retired.setdefault(repository, Finding(RETIRED, where, error.condition, error.fix))
                else:
                    fix = "Check istio_helm_chart_repository, istio_helm_chart_version and istio_helm_charts."
                    code = error.code if isinstance(error, ChartError) else MISSING
                    self.add_error(error, code, about, fix)
            if repository not in retired:
                found = wanted in self.charts
                self.findings += retirement.chart_findings(repository, wanted.version, found, today)
        self.findings += retired.values()
        self.facts["charts"] = {wanted.name: str(chart.path) for wanted, chart in self.charts.items()}

    def _images(self) -> None:
        """Registries that this run's releases take images from, by their own values or by their charts'."""
        for release in self.releases:
            chart = self.charts.get(release.chart)
            values = merged(chart.defaults, release.values) if chart else release.values
            self.findings += retirement.wanted_images(f"{release.namespace}/{release.name}", values)

    def _as_installed(self) -> list[composition.Release]:
        """The releases with the values that role istio_helm will give helm: for this platform, and these charts."""
        self.options = self.options.on_platform(lambda: self._served)
        self.findings += composition.platform_advice(self.options)
        releases = composition.releases(self.options)
        return [
            release.fitted(self.charts[release.chart].accepted_values) if release.chart in self.charts else release
            for release in releases
        ]

    def _need_helm(self) -> Helm:
        if self.helm is None:
            raise JobError("cannot be fetched without helm.", fix=_INSTALL_HELM)
        return self.helm

    def _rendered(self, release: composition.Release) -> list[dict[str, Any]]:
        """A release's objects as helm makes them; none where helm or the chart is missing, which is a finding."""
        chart = self.charts.get(release.chart)
        if self.helm is None or chart is None or release.name in self._refused:
            return []
        kubernetes = self.versions["kubernetes"]
        try:
            return charts.rendered(
                self.helm, chart, release.name, release.namespace, release.values, kubernetes, _RENDERED
            )
        except JobError as error:
            self._refused.add(release.name)
            about = f"release {release.namespace}/{release.name}"
            self.add_error(error, "chart-refused", about, "Correct its values in istio_helm_values.")
            return []

    # -- the cluster --------------------------------------------------------------------------------------------------

    def _cluster(self) -> Cluster | None:
        try:
            cluster = Cluster(self.params)
            cluster.connection.check()
        except JobError as error:
            fix = "Fix what the message names, or set istio_kubeconfig and istio_context."
            self.add_error(error, "api-unauthorized", "kubeconfig", fix)
            return None
        try:
            server = cluster.version()
            uid = self._uid(cluster)
            self._served = served_groups(cluster)
        except JobError as error:
            self.add_error(error, "api-unreachable", cluster.host, "Fix the connection, and run again.")
            return None
        except ApiError as error:
            self.add(
                "api-unauthorized",
                cluster.host,
                f"answered {error.status}: {error.message or error.reason}.",
                "Renew the credentials, or set others: kubeconfig and context, or host and api_key.",
            )
            return None
        if not cluster.verifies_tls:
            self.add(
                "tls-unverified",
                cluster.host,
                "its certificate is not verified, so anyone on the network path can read the token.",
                "Set its CA in ca_cert or in the kubeconfig (in AWX, fill in the credential's CA field). To accept the "
                "risk, add tls-unverified to preflight_ignore.",
            )
        self.facts["uid"] = uid
        self.versions["kubernetes"] = server["gitVersion"].lstrip("v")
        self.findings += versions.kubernetes_findings(self.options.version, server, cluster.host)
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

    def _pod_security(self, cluster: Cluster) -> None:
        """Find how the cluster decides which pods may run."""
        mechanism = self.params["pod_security_mechanism"]
        try:
            self.facts["pod_security"] = detect(cluster, self._served) if mechanism == "auto" else mechanism
        except JobError as error:
            fix = "Allow it, or set psp_rbac_mechanism: PodSecurityPolicy, or PodSecurityAdmission if it is inactive."
            self.add_error(error, "pod-security-unknown", cluster.host, fix)

    # -- rules, each called where all that it needs could be read -----------------------------------------------------

    def _there_already(self, seen: snapshot.Snapshot) -> None:
        """Another Istio, what a dead one left, namespaces that are going, and pods that are refused."""
        ours = {(release.namespace, release.name) for release in self.releases}
        namespace, revision = self.options.namespace, self._revision()
        if seen.istiods is not None and revision is not None:
            found = existing_istio.istiods(seen.istiods, ours, revision)
            self.findings += [
                one for one in found if not (self.params["adopt"] and one.code in existing_istio.ADOPTABLE)
            ]
        self.findings += existing_istio.operators(
            seen.istio_operators, seen.sail, seen.pods or [], namespace, revision or ""
        )
        if seen.webhooks is not None and seen.services is not None:
            services = {(service["metadata"]["namespace"], service["metadata"]["name"]) for service in seen.services}
            self.findings += existing_istio.webhooks(seen.webhooks, services, ours)
        other_istio = any(finding.code in existing_istio.OTHERS for finding in errors(self.findings))
        looked_at = "base" in self.options.components and not self.params["adopt"]
        if seen.crds is not None and looked_at and not other_istio:
            self.findings += existing_istio.definitions(seen.crds, namespace, seen.istiods or [], ours)
        needed = [*self.control_plane, *self.applications]
        self.findings += namespaces.terminating(seen.namespaces or [], needed)
        self.findings += workload_labels.refusal_findings(seen.deployments or [])
        if seen.pods is not None:
            self.findings += retirement.running_images(seen.pods, seen.deployments or [])
        self.findings += retirement.injected_images(seen.injectors)

    def _revision(self) -> str | None:
        """The revision that this run installs; None when it installs no istiod."""
        for release in self.releases:
            if release.component == "istiod":
                return release.values.get("revision") or "default"
        return None

    def _to_be_created(self, seen: snapshot.Snapshot, rendered: list[tuple[str, list[dict[str, Any]]]]) -> None:
        """Room on the nodes, and what quotas and LimitRanges say."""
        if seen.pods is None or seen.services is None:
            return
        nodes = sum(map(capacity.schedulable, seen.nodes or []))
        wanted = demand.of(rendered, seen.pods, seen.services, seen.deployments or [], nodes)
        if seen.nodes is not None:
            self._room(wanted, seen.nodes, seen.pods)
        if seen.quotas is None or seen.limit_ranges is None or seen.deployments is None:
            return
        demand.add_sidecars(wanted, self.applications, self._sidecar(), seen.pods)
        for namespace in sorted({*self.control_plane, *self.applications}):
            mine = [obj for obj in seen.quotas if obj["metadata"]["namespace"] == namespace]
            limit_ranges = [obj for obj in seen.limit_ranges if obj["metadata"]["namespace"] == namespace]
            pods = [pods for pods in wanted.pods if pods.namespace == namespace]
            self.findings += quotas.quota_findings(namespace, wanted, mine, limit_ranges)
            self.findings += quotas.limit_range_findings(namespace, pods, limit_ranges)

    def _room(self, wanted: demand.Demand, nodes: reading.Objects, pods: reading.Objects) -> None:
        free = capacity.free_by_node(nodes, pods)
        total = sum(free.values(), capacity.Room())
        self.facts["free"] = {
            "cpu": str(total.cpu),
            "memory_mib": int(total.memory / quantities.MIB),
            "nodes": len(free),
        }
        advice = capacity.room({"cpu": self.params["recommended_cpu"], "memory": self.params["recommended_memory"]})
        self.findings += capacity.findings(wanted.rooms(), free, advice)

    def _sidecar(self) -> dict[str, Any] | None:
        """Requests and limits of the proxy that this run's istiod would inject; None when it installs none."""
        for release in self.releases:
            if release.component == "istiod" and release.chart in self.charts:
                values = merged(self.charts[release.chart].defaults, release.values)
                return ((values.get("global") or {}).get("proxy") or {}).get("resources") or {}
        return None

    def _addresses(self, cluster: Cluster, seen: snapshot.Snapshot) -> None:
        """Node ports that are pinned, and whether a load balancer would get an address."""
        if seen.pods is None or seen.services is None:
            return
        allowed = node_ports.port_range(seen.pods)
        pinned = composition.node_ports(self.releases)
        found, unsure = node_ports.findings(pinned, node_ports.holders(seen.services), allowed)
        self.findings += found
        if unsure:
            in_parallel(lambda pinned: self._ask_for_port(cluster, pinned), unsure)
        if seen.nodes is not None:
            self._providers(seen.nodes)
        asking = load_balancers.gateways_asking(self.releases)
        if asking and seen.nodes is not None and seen.crds is not None:
            names = [crd["metadata"]["name"] for crd in seen.crds]
            evidence = load_balancers.evidence(seen.services, seen.nodes, seen.pods, names, seen.pools, cluster.now())
            self.findings += load_balancers.findings(asking, evidence)

    def _providers(self, nodes: reading.Objects) -> None:
        """Whether who gives addresses here can do what gateways ask for."""
        try:
            composition.releases(self.options.with_providers(lambda: providers.of_cluster(self._served, nodes)))
        except JobError as error:
            fix = "Change that gateway, or set istio_helm_provider."
            self.add_error(error, "load-balancer-unable", "istio_helm_gateways", fix)

    def _ask_for_port(self, cluster: Cluster, pinned: gateways.NodePort) -> None:
        try:
            cluster.create(node_ports.probe(pinned), dry_run=True)
        except ApiError as error:
            self.findings += node_ports.refused(pinned, error.message)

    def _recommendations(self, seen: snapshot.Snapshot) -> None:
        """What the guide says about applications: their labels, their ports, their sidecars."""
        meshed = set(seen.meshed(self.applications)) - set(self.control_plane)

        def inside(objects: reading.Objects | None) -> reading.Objects:
            return [obj for obj in objects or [] if obj["metadata"]["namespace"] in meshed]

        found = workloads.workloads(inside(seen.pods), inside(seen.deployments)) if seen.pods is not None else []
        by_namespace: dict[str, list[workloads.Workload]] = {}
        for workload in found:
            by_namespace.setdefault(workload.namespace, []).append(workload)
        self.findings += workload_labels.label_findings(found)
        for namespace in seen.namespaces or []:
            self.findings += workload_labels.injection_findings(
                namespace, by_namespace.get(namespace["metadata"]["name"], [])
            )
        self.findings += service_ports.name_findings(inside(seen.services))
        self.findings += service_ports.conflict_findings(inside(seen.services), found)
