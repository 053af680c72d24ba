# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight finds what would go wrong, all of it at once, and nothing that would not."""

from __future__ import annotations

import copy
import json
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError, Unreachable
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm import chart_lookup, charts
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import Source, failure
from ansible_collections.meshops.istio.plugins.module_utils.jobs import preflight
from ansible_collections.meshops.istio.plugins.module_utils.jobs.runner import perform
from ansible_collections.meshops.istio.plugins.module_utils.preflight import checks
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

VERSION = "1.31.0"
#: What each chart requests by default.
REQUESTS = {"istiod": {"cpu": "500m", "memory": "2048Mi"}, "gateway": {"cpu": "100m", "memory": "128Mi"}}


def node(name: str = "a", cpu: str = "8", memory: str = "16Gi") -> dict[str, Any]:
    """A node that takes pods."""
    status = {"allocatable": {"cpu": cpu, "memory": memory}, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": name}, "spec": {}, "status": status}


def pod(namespace: str, app: str, **spec: Any) -> dict[str, Any]:
    """A pod that runs, and requests little."""
    owner = {"kind": "ReplicaSet", "name": f"{app}-1", "controller": True}
    meta = {"name": f"{app}-1-x", "namespace": namespace, "labels": {"app": app, "pod-template-hash": "1"}}
    meta["ownerReferences"] = [owner]
    return {"metadata": meta, "spec": {"nodeName": "a", "containers": [], **spec}, "status": {"phase": "Running"}}


def service(name: str, number: int, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """A Service that holds a node port."""
    ports = [{"name": "http", "port": 80, "nodePort": number}, {"port": 81}]
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": ports, **spec}}


#: Far from the clock of whatever machine this runs on.
SERVER_TIME = datetime(2031, 5, 1, 12, 0, 0, tzinfo=timezone.utc)


class FakeCluster:
    """A cluster on which everything is well; a test makes it otherwise."""

    host = "https://192.0.2.1:6443"

    def __init__(self) -> None:
        self.verifies_tls = True
        self.connection = SimpleNamespace(check=lambda: None)
        self.server = {"major": "1", "minor": "36", "gitVersion": "v1.36.1"}
        self.objects: dict[str, list[dict[str, Any]]] = {"Node": [node()], "Pod": [], "Service": []}
        self.errors: dict[str, Exception] = {}
        self.forbidden: set[tuple[str, str, str]] | None = None
        self.taken: dict[int, str] = {}
        self.created: list[dict[str, Any]] = []
        self.listed: list[str] = []
        self.groups = {"apps": "v1"}
        self.pod: dict[str, str] | str = {}

    def _fail(self, what: str) -> None:
        if what in self.errors:
            raise self.errors[what]

    def request(self, method: str, path: str, _query: dict[str, Any] | None = None) -> dict[str, Any]:
        """The groups that are served, and some nodes."""
        if path == "/api/v1/nodes":
            return {"items": self.objects["Node"]}
        assert (method, path) == ("GET", "/apis")
        groups = self.groups.items()
        return {"groups": [{"name": name, "versions": [{"version": version}]} for name, version in groups]}

    def now(self) -> datetime:
        """The API server's clock, which is not ours."""
        return SERVER_TIME

    def version(self) -> dict[str, str]:
        """The server's."""
        self._fail("version")
        return self.server

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        """Only kube-system is asked for, and a gateway's Service that is not there yet."""
        if kind == "Service":
            return None
        assert (api_version, kind, name) == ("v1", "Namespace", "kube-system")
        self._fail("get")
        return {"metadata": {"uid": "9b5f6a0e"}}

    def list(
        self, _api_version: str, kind: str, namespace: str | None = None, keep: Any = None, **query: Any
    ) -> list[dict[str, Any]]:
        """What a test put there, reduced as a page is when it arrives."""
        assert ("field_selector" in query) == (kind == "Pod")
        self.listed.append(kind)
        self._fail(kind)
        found = self.objects.get(kind, [])
        return [keep(obj) for obj in found if namespace in (None, obj["metadata"].get("namespace"))]

    def may(self, attributes: dict[str, str]) -> bool:
        """All, unless something is forbidden."""
        if self.forbidden is None:
            return True
        key = (attributes["verb"], attributes["resource"], attributes.get("namespace", ""))
        return attributes["verb"] not in ("*", "escalate", "bind") and key not in self.forbidden

    def create(self, obj: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        """Refuse a node port that is taken, and a pod with the words that a test has for it."""
        assert dry_run, "preflight writes nothing"
        if obj["kind"] == "Pod":
            if isinstance(self.pod, str):
                raise ApiError(403, "Forbidden", self.pod)
            return {**obj, "metadata": {**obj["metadata"], "annotations": self.pod}}
        self.created.append(obj)
        number = obj["spec"]["ports"][0]["nodePort"]
        if number in self.taken:
            raise ApiError(422, "Invalid", self.taken[number])
        return obj


class FakeHelm:
    """A helm that is there."""

    def __init__(self, binary: str | None) -> None:
        if binary == "/missing":
            raise JobError("helm was not found at /missing.")
        self.binary = "/usr/bin/helm"
        self.version = "4.3.1" if binary is None else binary

    def template(self, name: str, _namespace: str, chart: Path, values: dict[str, Any], *_more: Any) -> str:
        """A role, a Deployment with the chart's requests and the values' over them, and what nobody asks for."""
        if "nonsense" in values:
            raise JobError("helm template failed: additional properties 'nonsense' not allowed")
        resources = (values.get("pilot") or values).get("resources") or {}
        requests = {**REQUESTS.get(chart.name, {}), **resources.get("requests", {})}
        container = {"name": "main", "resources": {"requests": requests}}
        documents = [
            {"kind": "ClusterRole", "metadata": {"name": "x"}, "rules": [rule(f"{name}s")]},
            {
                "kind": "Deployment",
                "metadata": {"name": name},
                "spec": {"template": {"spec": {"containers": [container]}}},
            },
            {"kind": "ConfigMap", "metadata": {"name": "y"}},
        ]
        return "\n---\n".join(map(json.dumps, documents))


def rule(resource: str) -> dict[str, Any]:
    """A rule of a role."""
    return {"apiGroups": [""], "resources": [resource], "verbs": ["get"]}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCluster:
    """The cluster that preflight will look at."""
    found = FakeCluster()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checks, "Cluster", lambda _params: found)
    monkeypatch.setattr(checks, "Helm", FakeHelm)
    return found


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """Settings with which everything is well."""
    for name in ("base", "istiod", "gateway"):
        (tmp_path / "charts" / name).mkdir(parents=True)
        (tmp_path / "charts" / name / "Chart.yaml").write_text(f"version: {VERSION}\n")
        (tmp_path / "charts" / name / "values.yaml").write_text("")
    return {"chart_version": VERSION, "chart_repository": str(tmp_path / "charts"), "exposure": "NodePort"}


def run(options: dict[str, Any]) -> tuple[dict[str, Any], Task]:
    """Run the job as Ansible would. :returns: its result and task"""
    validated = ArgumentSpecValidator(copy.deepcopy(preflight.ARGUMENT_SPEC)).validate(options)
    assert not validated.error_messages
    task = Task(validated.validated_parameters)
    result = perform(preflight, task)
    del result["timing"]
    return result, task


def found(options: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Code, object and message of each finding."""
    return [(item["code"], item["object"], item["message"]) for item in run(options)[0]["findings"]]


def pinned(number: Any = 30010, **gateway: Any) -> dict[str, Any]:
    """A gateway with a pinned node port."""
    return {"exposure": "NodePort", "gateways": [{"name": "in", "node_ports": {"http2": number}, **gateway}]}


HTTPS_AT_30010 = {"service": {"ports": [{"name": "https", "port": 443, "nodePort": 30010}]}}


def test_all_is_well(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Facts and versions, no finding, no change."""
    result, task = run({**options, **pinned()})
    assert result == {
        "changed": False,
        "findings": [],
        "versions": {"istio": VERSION, "helm": "4.3.1", "kubernetes": "1.36.1"},
        "cluster": {
            "uid": "9b5f6a0e",
            "charts": {name: f"{options['chart_repository']}/{name}" for name in ("base", "istiod", "gateway")},
            "free": {"cpu": "8", "memory_mib": 16384, "nodes": 1},
            "pod_security": "PodSecurityAdmission",
        },
    }
    assert task.warnings == []


def test_pod_security_that_cannot_be_told(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Kubernetes 1.24 serves PodSecurityPolicy; the pod that would tell is refused by something else."""
    cluster.groups = {"apps": "v1", "policy": "v1beta1"}
    cluster.pod = "exceeded quota: pods"
    result, _task = run({**options, **pinned()})
    (found,) = result["findings"]
    assert (found["code"], found["severity"]) == ("pod-security-unknown", "error")
    assert "exceeded quota: pods" in found["message"]
    assert "psp_rbac_mechanism" in found["fix"]
    named = {**options, **pinned(), "pod_security_mechanism": "PodSecurityPolicy"}
    assert run(named)[0]["findings"] == []


@pytest.mark.parametrize(
    ("groups", "pod", "resource", "file"),
    [
        ({"policy": "v1beta1"}, {"kubernetes.io/psp": "x"}, "podsecuritypolicies.policy", "docs/rbac-psp.yml"),
        (
            {"security.openshift.io": "v1"},
            {},
            "securitycontextconstraints.security.openshift.io",
            "docs/rbac-scc.yml",
        ),
    ],
)
def test_rights_of_the_clusters_mechanism(
    cluster: FakeCluster, options: dict[str, Any], groups: dict[str, str], pod: dict[str, str], resource: str, file: str
) -> None:
    """What role psp_rbac will make there must be allowed, and the file that allows it is named."""
    cluster.groups, cluster.pod = groups, pod
    cluster.forbidden = {("create", resource.partition(".")[0], "")}
    result, _task = run({**options, **pinned()})
    (found,) = [finding for finding in result["findings"] if finding["code"] == "right-missing"]
    assert found["object"] == f"create {resource}"
    assert file in found["fix"]


def test_errors_stop_and_warnings_do_not(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """One message for all errors, a line each; warnings are the task's warnings."""
    cluster.verifies_tls = False
    cluster.server["minor"], cluster.server["gitVersion"] = "99", "v1.99.0"
    result, task = run({**options, "helm_binary": "2.17.0"})
    assert result["failed"] is True
    assert result["changed"] is False
    first, *lines = result["msg"].splitlines()
    assert first == "Preflight failed with 2 errors; nothing was changed:"
    assert [line.partition(" ")[0] for line in lines] == ["[tls-unverified]", "[helm-unsupported]"]
    assert [item["severity"] for item in result["findings"]] == ["error", "error", "warning"]
    assert len(task.warnings) == 1
    assert task.warnings[0].startswith("[kubernetes-untested] https://192.0.2.1:6443: runs Kubernetes v1.99.0; ")


def test_warnings_alone_do_not_stop(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """The guide's figures are recommendations."""
    cluster.objects["Node"] = [node(cpu="2", memory="4Gi")]
    result, task = run(options)
    assert "failed" not in result
    assert len(task.warnings) == 1


def test_ignored_findings(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Neither in the result nor in its way; the others stay."""
    cluster.verifies_tls = False
    cluster.objects["Node"] = [node(cpu="2", memory="4Gi")]
    result, task = run({**options, "ignore": ["tls-unverified"]})
    assert "failed" not in result
    assert [item["code"] for item in result["findings"]] == ["room-short"]
    assert len(task.warnings) == 1


# -- programs and charts -----------------------------------------------------------------------------------------------


def test_helm_that_is_missing(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """The rest is checked all the same."""
    result, _task = run({**options, "helm_binary": "/missing"})
    assert [item["code"] for item in result["findings"]] == ["helm-missing"]
    assert result["cluster"]["uid"] == "9b5f6a0e"
    assert "helm" not in result["versions"]


@pytest.mark.parametrize(
    ("version", "codes"),
    [("3.17.0", []), ("3.16.4", ["helm-unsupported"]), ("4.9.9", []), ("5.0.0", ["helm-unsupported"])],
)
def test_helm_version(version: str, codes: list[str], cluster: FakeCluster, options: dict[str, Any]) -> None:
    """From the oldest that is known to work to the newest major that is known."""
    assert [code for code, _object, _message in found({**options, "helm_binary": version})] == codes


def test_charts_that_are_missing(cluster: FakeCluster, options: dict[str, Any], tmp_path: Path) -> None:
    """Each is named; components that are not installed need no chart."""
    options["chart_repository"] = str(tmp_path)
    assert [(code, name) for code, name, _message in found(options)] == [
        ("chart-missing", "chart base 1.31.0"),
        ("chart-missing", "chart gateway 1.31.0"),
        ("chart-missing", "chart istiod 1.31.0"),
    ]
    assert [
        name
        for _code, name, _message in found({**options, "preset": "none", "components": [], "gateways": [{"name": "a"}]})
    ] == ["chart gateway 1.31.0"]


def test_charts_that_cannot_be_fetched(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Without helm, a repository elsewhere is out of reach; one on disk is not."""
    options.update(
        chart_repository="https://charts.example.com", helm_binary="/missing", preset="none", gateways=[{"name": "a"}]
    )
    assert found(options) == [
        ("helm-missing", "helm", "helm was not found at /missing."),
        ("chart-missing", "chart gateway 1.31.0", "cannot be fetched without helm."),
    ]


GOOGLE = "https://istio-release.storage.googleapis.com/charts"


def test_repository_that_istio_has_left(
    cluster: FakeCluster, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error for all of its charts, with helm's words and the repository to use; a chart of one's own likewise."""

    def pull(self: FakeHelm, source: Source, name: str, version: str, _folder: Path) -> None:
        raise failure(source, name, version, "chart not found", ["1.30.4"])

    monkeypatch.setattr(FakeHelm, "pull", pull, raising=False)
    result, _task = run({**options, "chart_repository": GOOGLE, "chart_version": "1.31.1"})
    (error,) = result["findings"]
    assert (error["code"], error["severity"]) == ("chart-source-retired", "error")
    assert error["object"] == f"chart repository {GOOGLE}"
    assert "Chart base 1.31.1 is not in" in error["message"]
    assert "Available versions: 1.30.4." in error["message"]
    assert "https://blob.istio.io/istio-release/charts" in error["fix"]
    own = {"component": "istiod", "repository": "oci://gcr.io/istio-release/charts", "version": VERSION}
    result, _task = run({**options, "charts": [own]})
    assert [(item["code"], item["object"]) for item in result["findings"]] == [
        ("chart-source-retired", "chart repository oci://gcr.io/istio-release/charts")
    ]
    assert "oci://ghcr.io/istio/release/charts" in result["findings"][0]["fix"]


def test_repository_that_istio_leaves(
    cluster: FakeCluster, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A chart that could be had: a warning, once."""
    monkeypatch.setattr(chart_lookup, "find", lambda _helm, wanted: charts.Chart(tmp_path / "charts" / wanted.name))
    result, _task = run({**options, "chart_repository": GOOGLE})
    assert [(item["code"], item["severity"]) for item in result["findings"]] == [("chart-source-retiring", "warning")]
    assert "failed" not in result


def test_repository_that_istio_has_left_without_helm(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """It is told of before there is a helm that could find out."""
    found = run({**options, "chart_repository": GOOGLE, "chart_version": "1.31.1", "helm_binary": "/missing"})[0]
    assert {item["code"] for item in found["findings"]} == {"helm-missing", "chart-missing", "chart-source-retired"}


def test_images_of_registries_that_istio_leaves(cluster: FakeCluster, options: dict[str, Any], tmp_path: Path) -> None:
    """By a chart's own values, unless an option says otherwise; by the user's, and of what runs."""
    own = {"_internal_defaults_do_not_set": {"global": {"hub": "registry.istio.io/release"}}}
    (tmp_path / "charts/istiod/values.yaml").write_text(json.dumps(own))
    gateways = [{"name": "in", "values": {"image": "gcr.io/istio-release/proxyv2:1.30.4"}}]

    def objects(**more: Any) -> list[str]:
        findings = run({**options, **more})[0]["findings"]
        assert {item["code"] for item in findings} <= {"image-source-retired"}
        return [item["object"] for item in findings]

    assert objects() == ["release istio-system/istiod"]
    assert objects(hub="docker.io/istio") == []
    assert objects(hub="docker.io/istio", gateways=gateways) == ["release istio-system/in"]
    assert objects(hub="docker.io/istio", values={"istiod": {"global": {"hub": "gcr.io/istio-release"}}}) == [
        "release istio-system/istiod"
    ]
    image = "registry.istio.io/release/proxyv2:1.30.4"
    cluster.objects["Pod"] = [pod("shop", "web", containers=[{"name": "istio-proxy", "image": image}])]
    assert objects(hub="docker.io/istio") == ["Namespace shop"]
    helm = {"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system"}
    meta = {"name": "istiod", "namespace": "istio-system", "annotations": helm}
    template = {
        "metadata": {},
        "spec": {"containers": [{"name": "discovery", "image": "docker.io/istio/pilot:1.30.4"}]},
    }
    cluster.objects["Deployment"] = [{"metadata": meta, "spec": {"template": template}}]
    values = json.dumps({"global": {"hub": "registry.istio.io/release"}})
    meta = {"name": "istio-sidecar-injector", "namespace": "istio-system"}
    cluster.objects["ConfigMap"] = [{"metadata": meta, "data": {"values": values}}]
    assert objects(hub="docker.io/istio") == ["ConfigMap istio-system/istio-sidecar-injector", "Namespace shop"]


def test_chart_that_is_not_verified(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """A code of its own, and the fix that belongs to it; a chart without a digest is one that nobody vouches for."""
    options.update(chart_digests={"gateway": "0" * 64}, components=["istiod"])
    result, _task = run(options)
    assert result["failed"] is True
    assert [(item["code"], item["object"]) for item in result["findings"]] == [
        ("chart-unverified", "chart gateway 1.31.0"),
        ("chart-unverified", "chart istiod 1.31.0"),
    ]
    directory, missing = result["findings"]
    assert "is a directory, so neither its digest nor its provenance can be verified." in directory["message"]
    assert directory["fix"].startswith("Replace it with the archive that helm package makes, gateway-1.31.0.tgz")
    assert missing["message"] == "chart_digests: chart istiod has no digest."


def test_login_that_is_half_given(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Options that contradict each other are no finding, but the end."""
    result, _task = run({**options, "chart_repository_password": "hunter22"})
    assert result["failed"] is True
    assert "must be set together" in result["msg"]
    assert cluster.listed == []


def test_values_that_a_chart_refuses(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """In helm's words; the other releases are looked at all the same."""
    given = {**options, "values": {"istiod": {"nonsense": 1}}}
    assert found(given) == [
        (
            "chart-refused",
            "release istio-system/istiod",
            "helm template failed: additional properties 'nonsense' not allowed",
        )
    ]


def test_istioctl_that_is_named(cluster: FakeCluster, options: dict[str, Any], tmp_path: Path) -> None:
    """Is looked at, and otherwise not."""
    program = tmp_path / "istioctl"
    program.write_text("#!/bin/sh\necho 1.20.0\n")
    program.chmod(0o755)
    result, _task = run({**options, "istioctl_binary": str(program)})
    assert [item["code"] for item in result["findings"]] == ["istioctl-skewed"]
    assert result["versions"]["istioctl"] == "1.20.0"
    assert [item[0] for item in found({**options, "istioctl_binary": "/missing"})] == ["istioctl-missing"]


# -- the cluster -------------------------------------------------------------------------------------------------------


def test_no_credentials(cluster: FakeCluster, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else can be said about the cluster."""

    def refuse(_params: Any) -> None:
        raise JobError("No usable credentials for a cluster.")

    monkeypatch.setattr(checks, "Cluster", refuse)
    assert found(options) == [("api-unauthorized", "kubeconfig", "No usable credentials for a cluster.")]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Unreachable("The API server cannot be reached."), ("api-unreachable", "The API server cannot be reached.")),
        (ApiError(401, "Unauthorized", "Unauthorized"), ("api-unauthorized", "answered 401: Unauthorized.")),
    ],
)
def test_api_server_that_does_not_serve_us(
    error: Exception, expected: tuple[str, str], cluster: FakeCluster, options: dict[str, Any]
) -> None:
    """Not there, or not for these credentials."""
    cluster.errors["version"] = error
    code, message = expected
    assert found(options) == [(code, cluster.host, message)]


def test_cluster_of_which_the_uid_may_not_be_read(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """The rights say so; the other checks go on."""
    cluster.errors["get"] = ApiError(403, "Forbidden", "no")
    result, _task = run(options)
    assert result["findings"] == []
    assert result["cluster"]["uid"] == ""


@pytest.mark.parametrize(
    ("istio", "minor", "codes"),
    [
        (VERSION, "32", []),
        (VERSION, "32+", []),
        (VERSION, "31", ["kubernetes-too-old"]),
        (VERSION, "99", ["kubernetes-untested"]),
        ("1.99.0", "36", ["istio-unknown"]),
    ],
)
def test_versions(istio: str, minor: str, codes: list[str], cluster: FakeCluster, options: dict[str, Any]) -> None:
    """By the support table."""
    cluster.server["minor"] = minor
    for name in ("base", "istiod", "gateway"):
        Path(options["chart_repository"], name, "Chart.yaml").write_text(f"version: {istio}\n")
    assert [code for code, _object, _message in found({**options, "chart_version": istio})] == codes


# -- rights ------------------------------------------------------------------------------------------------------------


def test_missing_rights(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """By resource and place, with all the verbs that are missing; the charts' own roles count too."""
    cluster.forbidden = {
        ("create", "leases", "istio-system"),
        ("update", "leases", "istio-system"),
        ("create", "deployments", "shop"),
        ("list", "nodes", ""),
        ("get", "istiods", ""),
    }
    assert found({**options, "application_namespaces": ["shop"]}) == [
        ("right-missing", "create deployments.apps", "is not allowed in namespace shop."),
        ("right-missing", "create, update leases.coordination.k8s.io", "is not allowed in namespace istio-system."),
        ("right-missing", "get istiods", "is not allowed at the cluster scope."),
        ("right-missing", "list nodes", "is not allowed at the cluster scope."),
    ]


def test_namespaces_of_gateways_need_rights(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """A release is written there."""
    cluster.forbidden = {("create", "secrets", "edge")}
    given = {**options, "gateways": [{"name": "a", "namespace": "edge"}]}
    assert found(given) == [("right-missing", "create secrets", "is not allowed in namespace edge.")]


def test_gateways_on_each_node_need_rights(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """On DaemonSets, which other gateways have no use for."""
    cluster.forbidden = {("create", "daemonsets", "edge")}
    given = {**options, "gateways": [{"name": "a", "namespace": "edge"}]}
    assert found(given) == []
    given["gateways"][0]["values"] = {"kind": "DaemonSet"}
    (finding,) = run(given)[0]["findings"]
    assert (finding["object"], "docs/rbac-node.yml" in finding["fix"]) == ("create daemonsets.apps", True)


def test_administrator_is_asked_one_question(
    cluster: FakeCluster, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may do everything need not be asked about each thing."""
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(cluster, "may", lambda attributes: asked.append(attributes) or True)
    assert found(options) == []
    assert asked == [{"verb": "*", "group": "*", "resource": "*"}]


@pytest.mark.parametrize(
    "kind",
    [
        *("Node", "Pod", "Service", "Namespace", "CustomResourceDefinition", "Deployment", "ResourceQuota"),
        *("LimitRange", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
    ],
)
def test_objects_that_may_not_be_read(kind: str, cluster: FakeCluster, options: dict[str, Any]) -> None:
    """That is a finding about rights, not a failure; another error is one."""
    cluster.errors[kind] = ApiError(403, "Forbidden", "no")
    assert found(options) == []
    cluster.errors[kind] = ApiError(500, "", "etcd")
    assert run(options)[0]["failed"] is True


# -- room --------------------------------------------------------------------------------------------------------------


def test_room_is_short(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """The sum of all nodes against the guide's 4 CPU and 8 GB."""
    cluster.objects["Node"] = [node("a", "2", "4Gi"), node("b", "1500m", "4Gi")]
    assert found(options) == [
        (
            "room-short",
            "cluster",
            "has 3.5 CPU, 8192 MiB free on 2 nodes, but 4 CPU, 7629 MiB are recommended for a full installation.",
        )
    ]
    assert found({**options, "recommended_cpu": "3500m", "recommended_memory": "8Gi"}) == []


def test_no_room(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Per node: istiod's 2 GiB fit on none, although there are 3 in sum."""
    cluster.objects["Node"] = [node("a", "4", "1536Mi"), node("b", "4", "1536Mi")]
    findings = found({**options, "recommended_memory": "1Gi"})
    assert [item[:2] for item in findings] == [("room-none", "istio-system/istiod")]
    assert findings[0][2] == (
        "requests 0.5 CPU, 2048 MiB and fits on no node (free: a: 4 CPU, 1536 MiB; b: 4 CPU, 1536 MiB)."
    )


def test_no_node(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Said in words."""
    cluster.objects["Node"] = []
    messages = [message for code, _object, message in found(options) if code == "room-none"]
    assert len(messages) == 2
    assert all("(no node accepts ordinary pods)" in message for message in messages)


def test_requests_by_values(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """The user's values over the chart's, at either of the places that istiod's chart knows."""
    cluster.objects["Node"] = [node(memory="1Gi")]
    small = {"requests": {"cpu": "10m", "memory": "128Mi"}}
    given = {**options, "recommended_memory": "1", "gateways": []}
    assert [code for code, *_rest in found(given)] == ["room-none"]
    assert found({**given, "values": {"istiod": {"pilot": {"resources": small}}}}) == []
    large = {"requests": {"memory": "64Gi"}}
    findings = found({**options, "values": {"istio-ingressgateway": {"resources": large}}})
    assert ("room-none", "istio-system/istio-ingressgateway") in [item[:2] for item in findings]


def test_second_run_needs_no_room(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Istio took the room itself: what runs already asks for none, and the recommendation is for installing."""
    cluster.objects["Node"] = [node(cpu="1", memory="64Mi")]
    cluster.objects["Pod"] = [pod("istio-system", "istiod"), pod("istio-system", "istio-ingressgateway")]
    assert found(options) == []
    cluster.objects["Pod"][1] = pod("elsewhere", "istio-ingressgateway")
    assert [code for code, *_rest in found(options)] == ["room-none", "room-short"]
    cluster.objects["Pod"][1] = pod("istio-system", "istio-ingressgateway", nodeName=None)
    assert [code for code, *_rest in found(options)] == ["room-none", "room-short"]


@pytest.mark.parametrize(
    "given",
    [{"recommended_cpu": "many"}, {"values": {"istiod": {"pilot": {"resources": {"requests": {"cpu": "many"}}}}}}],
)
def test_quantity_that_is_none(given: dict[str, Any], cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Named, instead of a traceback."""
    result, _task = run({**options, **given})
    assert result["failed"] is True
    assert result["msg"] == "'many' is not a valid quantity. Use Kubernetes' notation, such as 500m or 2Gi."


# -- node ports --------------------------------------------------------------------------------------------------------


def test_free_node_port(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Asked of the API server by a dry run."""
    assert found({**options, **pinned()}) == []
    assert [obj["spec"]["ports"][0]["nodePort"] for obj in cluster.created] == [30010]


def test_node_port_of_another_service_2582(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """uds-core#2582: named with its holder, before half of the mesh is installed."""
    cluster.objects["Service"] = [service("web", 30010)]
    expected = [
        ("node-port-taken", "gateway in, port http2", "node port 30010 is in use by Service default/web (port http).")
    ]
    assert found({**options, **pinned()}) == expected
    assert cluster.created == []


@pytest.mark.parametrize(
    "given",
    [
        {"gateways": [{"name": "in", "values": HTTPS_AT_30010}]},
        {"gateways": [{"name": "in"}], "values": {"in": HTTPS_AT_30010}},
        {"gateways": [{"name": "in"}], "values": {"gateway": HTTPS_AT_30010}},
    ],
)
def test_node_port_of_helm_values(cluster: FakeCluster, options: dict[str, Any], given: dict[str, Any]) -> None:
    """It reaches the Service wherever it stands, and so it is looked for."""
    cluster.objects["Service"] = [service("web", 30010)]
    expected = [
        ("node-port-taken", "gateway in, port https", "node port 30010 is in use by Service default/web (port http).")
    ]
    assert found({**options, "exposure": "NodePort", **given}) == expected


def test_node_port_of_our_own_service(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """A second run finds it where the first put it; the same name elsewhere is another's."""
    cluster.objects["Service"] = [service("in", 30010, "istio-system")]
    assert found({**options, **pinned()}) == []
    assert cluster.created == []
    assert [code for code, *_rest in found({**options, **pinned(namespace="edge")})] == ["node-port-taken"]


def test_node_port_of_a_health_check(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """LoadBalancers with a local policy hold one beside their ports."""
    cluster.objects["Service"] = [service("lb", 31000, healthCheckNodePort=30010)]
    [(code, _object, message)] = found({**options, **pinned()})
    assert (code, message) == (
        "node-port-taken",
        "node port 30010 is in use by Service default/lb (port health check).",
    )


def test_node_port_that_only_the_server_knows_of(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Such as one that is being released."""
    cluster.taken[30010] = (
        'Service "x" is invalid: spec.ports[0].nodePort: Invalid value: 30010: provided port is already allocated'
    )
    [(code, _object, message)] = found({**options, **pinned()})
    assert code == "node-port-taken"
    assert message.startswith("node port 30010 is in use by a Service that is being deleted")


def test_refusal_for_another_reason_is_no_finding(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """A user with few rights may not create a Service in `default`, not even by a dry run."""
    cluster.taken[30010] = 'services is forbidden: User "jane" cannot create resource "services"'
    assert found({**options, **pinned()}) == []


def api_server(*words: str) -> dict[str, Any]:
    """The API server's own pod, as kubeadm runs it."""
    found = pod("kube-system", "x", containers=[{"name": "kube-apiserver", "command": list(words)}])
    found["metadata"]["labels"] = {"component": "kube-apiserver"}
    return found


def test_node_port_outside_the_range(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """With the range; its last port is inside."""
    outside = ("node-port-out-of-range", "gateway in, port http2")
    findings = found({**options, **pinned(8080)})
    assert [item[:2] for item in findings] == [outside]
    assert findings[0][2] == "node port 8080 is outside the cluster's range 30000-32767."
    assert found({**options, **pinned(32767)}) == []
    assert [item[:2] for item in found({**options, **pinned(32768)})] == [outside]
    cluster.objects["Pod"] = [api_server("--service-node-port-range=8000-9000")]
    assert found({**options, **pinned(8080)}) == []


def test_range_that_is_not_known(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """A Service outside the default range tells that this cluster has another."""
    cluster.objects["Service"] = [service("web", 8081)]
    assert found({**options, **pinned(8080)}) == []
    assert len(cluster.created) == 1


def test_bad_options(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Options that contradict each other are no finding: there is nothing to check."""
    result, _task = run({**options, **pinned("web")})
    assert result == {
        "failed": True,
        "changed": False,
        "msg": "gateways: in: node_ports: http2: 'web' is not a port number. Set a port number, such as 30010.",
        "errors": [
            {
                "code": "",
                "object": "gateways: in: node_ports: http2",
                "message": "'web' is not a port number.",
                "fix": "Set a port number, such as 30010.",
            }
        ],
    }


# -- what is there already, and what the guide recommends: that the rules are called, and on what ----------------------


def named(name: str, namespace: str | None = None, **more: Any) -> dict[str, Any]:
    """An object."""
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **more}


def test_findings_are_in_the_order_of_the_table(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Whatever order the cluster answered in."""
    meshed = {"name": "shop", "labels": {"istio-injection": "enabled", "istio.io/rev": "a"}}
    cluster.objects["Namespace"] = [{"metadata": meshed}, named("liveness", None, status={"phase": "Terminating"})]
    cluster.objects["Service"] = [named("web", "shop", spec={"ports": [{"name": "web", "port": 80}]})]
    cluster.objects["Pod"] = [pod("shop", "old")]
    cluster.objects["CustomResourceDefinition"] = [named("sidecars.networking.istio.io")]
    cluster.verifies_tls = False
    assert [code for code, *_rest in found({**options, "application_namespaces": ["liveness"]})] == [
        "tls-unverified",
        "crds-foreign",
        "namespace-terminating",
        "workload-unlabeled",
        "port-unnamed",
        "injection-labels-mixed",
    ]


def test_istios_own_namespaces_are_no_applications(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """Even where their label asks for injection."""
    labelled = {"name": "istio-system", "labels": {"istio-injection": "enabled"}}
    cluster.objects["Namespace"] = [{"metadata": labelled}]
    cluster.objects["Service"] = [named("web", "istio-system", spec={"ports": [{"name": "web", "port": 80}]})]
    cluster.objects["Pod"] = [pod("istio-system", "something")]
    assert found(options) == []


def test_load_balancer_is_looked_for_where_one_is_wanted(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """By default for the cloud path, and not for node ports."""
    assert [code for code, *_rest in found({**options, "exposure": "LoadBalancer"})] == ["load-balancer-missing"]
    cluster.objects["Node"][0]["spec"]["providerID"] = "aws:///a/b"
    assert found({**options, "exposure": "LoadBalancer"}) == []


def test_warnings_that_are_shown_are_few(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """The result holds them all."""
    services = [named(f"s{n}", "shop", spec={"ports": [{"name": "web", "port": 80}]}) for n in range(25)]
    cluster.objects["Service"] = services
    result, task = run({**options, "application_namespaces": ["shop"]})
    assert len(result["findings"]) == 25
    assert len(task.warnings) == 11
    assert task.warnings[-1] == "[port-unnamed] and 15 more."


def test_platform_of_the_charts(cluster: FakeCluster, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The releases are rendered as they will be installed: OpenShift is seen by what it serves."""
    seen = []
    original = FakeHelm.template
    monkeypatch.setattr(FakeHelm, "template", lambda self, *given: seen.append(given[3]) or original(self, *given))
    cluster.groups["security.openshift.io"] = "v1"
    assert [code for code, *_rest in found(options)] == ["istio-cni-missing"]
    assert all(values["global"]["platform"] == "openshift" for values in seen)


# -- load balancers that are asked for something -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "gateway", "given", "codes"),
    [
        ("azure:///a", {"internal": True, "load_balancer_ip": "10.0.0.9"}, {}, []),
        ("strange://a", {"internal": True}, {}, ["load-balancer-unable"]),
        ("strange://a", {"internal": True}, {"provider": "azure"}, []),
        ("strange://a", {"load_balancer_ip": "10.0.0.9"}, {}, []),
        ("aws:///a", {"load_balancer_ip": "10.0.0.9"}, {}, ["load-balancer-unable"]),
        ("aws:///a", {"internal": True, "load_balancer_class": "example.com/ours"}, {}, ["load-balancer-unable"]),
        ("strange://a", {"internal": True, "load_balancer_class": "service.k8s.aws/nlb"}, {}, []),
    ],
)
def test_provider_that_is_unable(
    provider: str, gateway: dict[str, Any], given: dict[str, Any], codes: list[str], cluster: FakeCluster, options: Any
) -> None:
    """Told before the first role writes, by what has been read anyway."""
    cluster.objects["Node"][0]["spec"]["providerID"] = provider
    gateways = [{"name": "edge", "type": "LoadBalancer", **gateway}]
    assert [code for code, *_rest in found({**options, **given, "gateways": gateways})] == codes
    assert cluster.listed.count("Node") == 1


def test_asking_from_inside_needs_the_proxy(cluster: FakeCluster, options: dict[str, Any]) -> None:
    """And the finding names the file that has the right."""
    cluster.forbidden = {("get", "services", "istio-system")}
    assert found(options) == []
    given = {**options, "verify_from": "cluster"}
    assert found(given) == [("right-missing", "get services/proxy", "is not allowed in namespace istio-system.")]
    assert "docs/rbac-proxy.yml" in str(run(given))
