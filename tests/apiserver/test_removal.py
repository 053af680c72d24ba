# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app that is taken away: what its runs have made goes, of every kind, and nothing of anybody else's.

Whether something of ours is left is asked of every kind that the API server serves, by our field manager.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.beds import BedCluster
from harness.in_process import options_of, run_job
from harness.playbooks import ROOT

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.jobs import liveness, pod_security
from ansible_collections.meshops.istio.plugins.module_utils.liveness.belongings import LABEL, LIST
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

CHART = ROOT / "roles/liveness_verify/files/liveness"
#: Every option of the app's chart that makes an object.
EVERYTHING = {
    "tls": {"credentialName": "certificate"},
    "podDisruptionBudget": {"enabled": True},
    "horizontalPodAutoscaler": {"enabled": True},
    "serviceMonitor": {"enabled": True},
}
OF_THE_APP = (
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("apps/v1", "Deployment"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("networking.istio.io/v1", "Gateway"),
    ("networking.istio.io/v1", "VirtualService"),
    ("policy/v1", "PodDisruptionBudget"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
)
RBAC = "rbac.authorization.k8s.io"
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(group: str, kind: str) -> dict[str, Any]:
    """A kind of which anything may be said."""
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": OPEN}}],
        },
    }


#: Those that Kubernetes itself does not bring.
DEFINITIONS = (
    definition("monitoring.coreos.com", "ServiceMonitor"),
    definition("networking.istio.io", "Gateway"),
    definition("networking.istio.io", "VirtualService"),
)


@pytest.fixture(scope="module")
def bed(today: BedCluster) -> Iterator[BedCluster]:
    """Yield a cluster that knows the kinds of the app, whatever is in them."""
    names = [f"crd/{each['metadata']['name']}" for each in DEFINITIONS]
    today.apply(*DEFINITIONS)
    today.kubectl("wait", "--for=condition=Established", *names, "--timeout=60s")
    with today.gateway_without_pods("nobodys"):
        yield today
    today.kubectl("delete", *names, "--timeout=60s")


def access(bed: BedCluster) -> dict[str, Any]:
    """How to get there."""
    return {name: options_of(bed.variables)[name] for name in ("kubeconfig", "context", "helm_binary")}


class App:
    """An app of a bed, by the job."""

    def __init__(self, bed: BedCluster, **options: Any) -> None:
        self.bed = bed
        gateway = {"gateway": "nobodys", "gateway_namespace": "default", "wait_timeout": 1}
        self.options = {**access(bed), "manifests": [], **gateway, **options}

    def run(self, check: bool = False, **over: Any) -> tuple[dict[str, Any], Task]:
        """Whether it fails or not."""
        return run_job(liveness, {**self.options, **over}, check)

    def put(self, **over: Any) -> None:
        """Apply it. Its gateway is a Service with no pods, by which nothing is proven."""
        result, _task = self.run(**over)
        assert result["failed"], result
        assert not result["msg"].startswith("Gateway "), result  # that would have been before anything was written

    def remove(self, **over: Any) -> tuple[list[str], list[str], list[str]]:
        """Take it away, as check mode said. :returns: objects that went, those that stayed, and warnings"""
        shown, told = self.run(check=True, state="absent", **over)
        assert not shown.get("failed"), shown
        result, task = self.run(state="absent", **over)
        assert not result.get("failed"), result
        assert (result["objects"], result["kept"]) == (shown["objects"], shown["kept"])
        assert len(shown["diff"]) == len(result["objects"])
        assert set(told.warnings) <= set(task.warnings)
        return result["objects"], result["kept"], task.warnings

    def is_gone(self, **over: Any) -> None:
        """Another run has nothing to do, says so, and does nothing."""
        with self.bed.asked() as asked:
            result, _task = self.run(state="absent", **over)
        assert (result["changed"], result["objects"]) == (False, []), result
        assert asked.writes == []


def of_ours(bed: BedCluster, manager: str = liveness.MANAGER) -> set[str]:
    """Every object of the cluster of which a manager of ours holds a field, but for namespaces that end anyway."""
    cluster, found = Cluster(access(bed)), set()
    served = cluster.request("GET", "/apis")["groups"]
    # Not all kinds are served in the version that a group prefers.
    versions = [version["groupVersion"] for group in served for version in group["versions"]]
    dying = {
        obj["metadata"]["name"] for obj in cluster.list("v1", "Namespace") if "deletionTimestamp" in obj["metadata"]
    }
    for path in ["/api/v1", *(f"/apis/{version}" for version in versions)]:
        for kind in cluster.request("GET", path)["resources"]:
            if "list" not in kind["verbs"]:
                continue
            for meta in (item["metadata"] for item in cluster.request("GET", f"{path}/{kind['name']}")["items"]):
                held = any(entry.get("manager") == manager for entry in meta.get("managedFields", []))
                if held and not dying & {meta.get("namespace"), meta["name"]}:
                    found.add(f"{kind['kind']} {'/'.join(filter(None, (meta.get('namespace'), meta['name'])))}")
    return found


def a_map(name: str, namespace: str | None = None, **meta: Any) -> dict[str, Any]:
    """A ConfigMap."""
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **where, **meta}}


# -- the guide's app ---------------------------------------------------------------------------------------------------


@pytest.fixture
def guide(bed: BedCluster) -> Iterator[App]:
    """Yield the guide's app with every option, in a namespace where others live."""
    files = {str(path.relative_to(CHART)): path.read_text() for path in CHART.rglob("*") if path.is_file()}
    with bed.namespace({"team": "shop"}) as namespace:
        yield App(bed, namespace=namespace, chart_files=files, chart_values=EVERYTHING)


def test_app_with_every_option(guide: App) -> None:
    """All kinds that it is made of go; the namespace stays, without what we have set on it."""
    namespace = guide.options["namespace"]
    theirs = a_map("liveness-theirs", namespace)
    guide.bed.apply(theirs)
    guide.put()
    assert of_ours(guide.bed) == {
        f"Namespace {namespace}",
        *(f"{kind} {namespace}/liveness" for _version, kind in OF_THE_APP),
    }
    with guide.bed.asked() as asked:
        guide.put()
    assert asked.writes == []
    gone, kept, warnings = guide.remove()
    assert set(gone) == {f"{kind} {namespace}/liveness" for _version, kind in OF_THE_APP} | {f"Namespace {namespace}"}
    assert (kept, warnings) == ([], [])
    assert of_ours(guide.bed) == set()
    meta = guide.bed.get("namespace", namespace)["metadata"]
    assert meta["labels"] == {"team": "shop", "kubernetes.io/metadata.name": namespace}
    assert not any(key.startswith(LIST) for key in meta.get("annotations", {}))
    assert guide.bed.get("configmap", "liveness-theirs", f"--namespace={namespace}")
    guide.is_gone()


def test_objects_that_were_there_before(guide: App) -> None:
    """Somebody else's of the same name, of each kind that the app is made of: applied over, and never deleted."""
    bed, namespace = guide.bed, guide.options["namespace"]
    rendered = bed.tool("helm", "template", "liveness", CHART, "--values=-", stdin=json.dumps(EVERYTHING))
    theirs = _stream(bed.kubectl("create", "--dry-run=client", "--output=json", "-f-", stdin=rendered))
    assert sorted((each["apiVersion"], each["kind"]) for each in theirs) == sorted(OF_THE_APP)
    for each in theirs:
        each["metadata"] = {"name": "liveness", "namespace": namespace, "labels": {"team": "shop"}}
    items = {"apiVersion": "v1", "kind": "List", "items": theirs}
    bed.kubectl("create", "-f-", stdin=json.dumps(items))

    def there() -> dict[str, str]:
        found = json.loads(bed.kubectl("get", "--output=json", "-f-", stdin=json.dumps(items)))["items"]
        assert not [each for each in found if "deletionTimestamp" in each["metadata"]]
        return {each["kind"]: each["metadata"]["uid"] for each in found}

    before = there()
    guide.put()
    gone, kept, warnings = guide.remove()
    assert gone == [f"Namespace {namespace}"]
    why = "this app did not create it (other field managers: kubectl-create)"
    assert set(kept) == {f"{kind} {namespace}/liveness: {why}" for _version, kind in OF_THE_APP}
    assert set(warnings) == {f"{kind} {namespace}/liveness is kept: {why}." for _version, kind in OF_THE_APP}
    assert there() == before
    guide.is_gone()


def _stream(text: str) -> list[dict[str, Any]]:
    """Documents of JSON one after another."""
    decoder, found, text = json.JSONDecoder(), [], text.strip()
    while text:
        one, end = decoder.raw_decode(text)
        found.append(one)
        text = text[end:].strip()
    return found


@pytest.mark.long
def test_options_that_are_turned_off_meanwhile(guide: App) -> None:
    """What the app has no more goes too, and the label of a copy is nobody's claim."""
    namespace = guide.options["namespace"]
    guide.put()
    copied = guide.bed.get("service", "liveness", f"--namespace={namespace}")["metadata"]["labels"]
    assert copied[LABEL] == f"{namespace}.liveness"
    guide.bed.apply(a_map("copy", namespace, labels=copied))
    gone, _kept, _warnings = guide.remove(chart_values={"podDisruptionBudget": {"enabled": False}})
    assert {f"PodDisruptionBudget {namespace}/liveness", f"ServiceMonitor {namespace}/liveness"} <= set(gone)
    assert of_ours(guide.bed) == set()
    assert guide.bed.get("configmap", "copy", f"--namespace={namespace}")
    guide.is_gone()


@pytest.mark.long
def test_another_app_in_the_same_namespace(guide: App) -> None:
    """It keeps its objects, the namespace's label and its list; then it goes by itself, as another name did."""
    namespace = guide.options["namespace"]
    guide.put()
    guide.put(chart_release="second")
    with guide.bed.asked() as asked:
        guide.put()
        guide.put(chart_release="second")
    assert asked.writes == []
    gone, kept, _warnings = guide.remove()
    assert len(gone) == len(OF_THE_APP) + 1
    assert kept == []
    assert of_ours(guide.bed) == {
        f"Namespace {namespace}",
        *(f"{kind} {namespace}/second" for _version, kind in OF_THE_APP),
    }
    assert guide.bed.get("namespace", namespace)["metadata"]["labels"]["istio-injection"] == "enabled"
    guide.is_gone()
    guide.remove(chart_release="second")
    assert of_ours(guide.bed) == set()


# -- an own app --------------------------------------------------------------------------------------------------------

CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
}
KEPT = {**CLAIM, "metadata": {"name": "kept", "annotations": {"helm.sh/resource-policy": "keep"}}}


@pytest.fixture
def own(bed: BedCluster, tmp_path: Path) -> Iterator[App]:
    """Yield an app of a chart that has objects of the cluster, a definition, and data that is to be kept."""
    with bed.namespace() as namespace, bed.namespace() as elsewhere:
        role = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": namespace},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
        }
        binding = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": namespace},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": namespace},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
        }
        files = {
            "Chart.yaml": {"apiVersion": "v2", "name": "own", "version": "1.0.0"},
            "crds/widget.yaml": definition(f"{namespace}.example.com", "Widget"),
            "templates/role.yaml": role,
            "templates/binding.yaml": binding,
            "templates/claim.yaml": CLAIM,
            "templates/kept.yaml": KEPT,
            "templates/elsewhere.yaml": a_map("elsewhere", elsewhere),
            "templates/held.yaml": a_map("held", finalizers=["example.com/held"]),
        }
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(json.dumps(content))
        optional = json.dumps(a_map("optional"))
        (tmp_path / "templates/optional.yaml").write_text("{{- if .Values.optional }}\n" + optional + "\n{{- end }}\n")
        app = App(bed, namespace=namespace, chart=str(tmp_path), chart_release="own", chart_values={"optional": True})
        app.elsewhere = elsewhere  # type: ignore[attr-defined]
        yield app
        patch = '--patch={"metadata":{"finalizers":null}}'
        bed.tool("kubectl", "patch", "configmap", "held", f"-n{namespace}", "--type=merge", patch, check=False)
        bed.tool("kubectl", "delete", "clusterrole,clusterrolebinding", namespace, "--ignore-not-found", check=False)
        bed.kubectl("delete", "--ignore-not-found", "crd", f"widgets.{namespace}.example.com")


@pytest.mark.parametrize("by", ["namespace", "objects that name theirs"])
def test_own_app(by: str, own: App) -> None:
    """Objects of the cluster and of other namespaces go; definitions, data that is to be kept and others' stay."""
    bed, namespace = own.bed, own.options["namespace"]
    if by != "namespace":
        chart = own.options.pop("chart")
        rendered = bed.tool(
            "helm", "template", chart, "--include-crds", "--set=optional=true", f"--namespace={namespace}"
        )
        objects = _stream(bed.kubectl("create", "--dry-run=client", "--output=json", "-f-", stdin=rendered))
        cluster_wide = ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")
        for obj in objects:
            if obj["kind"] not in cluster_wide:
                where = own.elsewhere if obj["metadata"]["name"] == "elsewhere" else namespace  # type: ignore[attr-defined]
                obj["metadata"]["namespace"] = where
        own.options.update(manifests=objects, namespace=None, chart_values={})
    own.put()
    widget = {
        "apiVersion": f"{namespace}.example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": namespace},
    }
    bed.kubectl("wait", "--for=condition=Established", f"crd/widgets.{namespace}.example.com", "--timeout=60s")
    bed.apply(widget)
    gone, kept, warnings = own.remove(**({"chart_values": {}} if by == "namespace" else {}))
    home = {f"Namespace {namespace}"} if by == "namespace" else set()
    assert set(gone) == home | {
        f"ClusterRole {namespace}",
        f"ClusterRoleBinding {namespace}",
        f"PersistentVolumeClaim {namespace}/data",
        f"ConfigMap {own.elsewhere}/elsewhere",  # type: ignore[attr-defined]
        f"ConfigMap {namespace}/held",
        f"ConfigMap {namespace}/optional",
    }
    crd = f"CustomResourceDefinition widgets.{namespace}.example.com"
    stays = {
        f"PersistentVolumeClaim {namespace}/kept": "helm.sh/resource-policy: keep",
        crd: "other objects of this kind may exist",
    }
    assert set(kept) == {f"{name}: {why}" for name, why in stays.items()}
    assert {f"{name} is kept: {why}." for name, why in stays.items()} <= set(warnings)
    assert f"ConfigMap {namespace}/held is still being deleted (finalizers: example.com/held)." in warnings
    assert bed.get(f"widgets.{namespace}.example.com", "w", f"--namespace={namespace}")
    bed.kubectl("wait", "--for=delete", "pvc/data", f"--namespace={namespace}", "--timeout=60s")
    left = {*stays, f"ConfigMap {namespace}/held"} | home  # the list on it names what was to be kept
    assert of_ours(bed) == left
    own.is_gone()


@pytest.mark.long
def test_kind_that_is_served_no_more(own: App) -> None:
    """Its objects went with it, whatever the chart renders."""
    own.put()
    own.options["manifests"] = [
        {"apiVersion": "gone.example.com/v1", "kind": "Gone", "metadata": {"name": "a"}},
        {"apiVersion": "apps/v1", "kind": "Gone", "metadata": {"name": "a"}},
    ]
    gone, _kept, _warnings = own.remove()
    assert f"ConfigMap {own.options['namespace']}/optional" in gone
    own.is_gone()


@pytest.mark.long
def test_another_chart_under_the_same_name(own: App) -> None:
    """What the one before has made goes as well."""
    own.put()
    chart = Path(own.options["chart"])
    for path in (chart / "templates").iterdir():
        path.unlink()
    (chart / "templates/other.yaml").write_text(json.dumps(a_map("other")))
    own.put()
    gone, _kept, _warnings = own.remove()
    assert {f"ClusterRole {own.options['namespace']}", f"ConfigMap {own.options['namespace']}/other"} <= set(gone)
    own.is_gone()


# -- pod security ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["today", "psp", "openshift"])
def test_pod_security_is_taken_back(name: str, request: pytest.FixtureRequest) -> None:
    """Labels, policies, constraints, roles and bindings: nothing of ours is left on any kind."""
    cluster: BedCluster = request.getfixturevalue(name)
    manager = pod_security.MANAGER
    assert of_ours(cluster, manager) == set()
    with cluster.namespace({"team": "shop"}) as mesh, cluster.namespace({"team": "shop"}) as shop:
        wanted = [{"name": mesh, "runs": "control-plane"}, {"name": shop}, {"name": shop, "runs": "node"}]
        options = {key: access(cluster)[key] for key in ("kubeconfig", "context")} | {"namespaces": wanted}
        for state, changed in (("present", True), ("present", False), ("absent", True), ("absent", False)):
            with cluster.asked() as asked:
                result, task = run_job(pod_security, {**options, "state": state})
            assert not result.get("failed"), result
            assert (result["changed"], bool(asked.writes), task.warnings) == (changed, changed, [])
            assert bool(of_ours(cluster, manager)) is (state == "present")
        for namespace in (mesh, shop):
            labels = cluster.get("namespace", namespace)["metadata"]["labels"]
            assert labels == {"team": "shop", "kubernetes.io/metadata.name": namespace}


@pytest.mark.parametrize(
    ("name", "policy"), [("psp", "podsecuritypolicy"), ("openshift", "securitycontextconstraints")]
)
def test_policies_that_others_use_stay(name: str, policy: str, request: pytest.FixtureRequest) -> None:
    """What others have bound stays and is told, and so does a copy of our binding. Then all of ours goes."""
    cluster: BedCluster = request.getfixturevalue(name)
    manager = pod_security.MANAGER
    with cluster.namespace() as namespace, cluster.namespace() as other:
        options = {key: access(cluster)[key] for key in ("kubeconfig", "context")}
        options["namespaces"] = [{"name": namespace, "service_accounts": ["default"]}]

        def run(state: str = "absent") -> tuple[list[str], list[str]]:
            result, task = run_job(pod_security, {**options, "state": state})
            assert not result.get("failed"), result
            return result["objects"], task.warnings

        run("present")
        theirs = cluster.get("rolebinding", "istio", f"--namespace={namespace}")
        labels = theirs["metadata"]["labels"]
        for where, called in ((namespace, "copied"), (other, "theirs")):
            theirs["metadata"] = {"name": called, "namespace": where, "labels": labels}
            cluster.apply(theirs)
        policies = of_ours(cluster, manager) - {f"RoleBinding {namespace}/istio"}
        assert len(policies) == 2
        for gone in ([f"RoleBinding {namespace}/istio"], []):
            objects, (warning,) = run()
            assert objects == gone
            assert warning.startswith("ClusterRole istio is left as it is, because it is in use by RoleBinding ")
            assert f"{namespace}/copied" in warning
            assert f"{other}/theirs" in warning
            assert of_ours(cluster, manager) == policies
        cluster.kubectl("delete", "rolebinding", "copied", f"--namespace={namespace}")
        cluster.kubectl("delete", "rolebinding", "theirs", f"--namespace={other}")
        role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": other}}
        (rule,) = cluster.get("clusterrole", "istio")["rules"]
        cluster.apply({**role, "rules": [rule]})
        try:
            objects, (warning,) = run()
            assert objects == ["ClusterRole istio"]
            assert f"istio is left as it is, because it is in use by ClusterRole {other}" in warning
            assert cluster.get(policy, "istio")
        finally:
            cluster.kubectl("delete", "clusterrole", other)
        assert len(run()[0]) == 1
        assert of_ours(cluster, manager) == set()
