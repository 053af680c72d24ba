# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preview announces is what helm does: the cluster before and after, object by object and field by field.

The real helm writes Istio's own charts to a real API server. What is compared are snapshots of everything that the
server stores, not our own diff.
"""

from __future__ import annotations

import copy
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from apiserver.conftest import TODAY, bed
from harness.beds import BedCluster, bed_command

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.manifests import Change
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, comparable, reference
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm import charts, storage
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm, credentials
from ansible_collections.meshops.istio.plugins.module_utils.helm.release_objects import rendered_objects, stored_objects
from ansible_collections.meshops.istio.plugins.module_utils.helm.values import merged
from ansible_collections.meshops.istio.plugins.module_utils.releases.adoption import adopt
from ansible_collections.meshops.istio.plugins.module_utils.releases.controller_fields import visible
from ansible_collections.meshops.istio.plugins.module_utils.releases.ownership import foreign
from ansible_collections.meshops.istio.plugins.module_utils.releases.preview import Preview, Upgrade, drifted, preview

#: What comes and goes by itself, or is Helm's own record.
PASSING = {
    "events",
    "leases",
    "pods",
    "replicasets",
    "controllerrevisions",
    "endpoints",
    "endpointslices",
    "apiservices",
    "componentstatuses",
    "ipaddresses",
    "nodes",
    "csinodes",
}
#: What a Service is given by the server where nobody says: it is announced by nobody.
GIVEN = ("clusterIP", "clusterIPs", "healthCheckNodePort")

Snapshot = dict[Identity, dict[str, Any]]


class Releases:
    """Releases of a bed: rendered, previewed, written by helm, and the cluster looked at."""

    def __init__(self, found: BedCluster, folder: Path, program: str = "helm") -> None:
        self.bed = found
        self.folder = folder
        self.cluster = Cluster({name: found.variables[f"istio_{name}"] for name in ("kubeconfig", "context")})
        self.use(program)
        self.repository = Path(found.variables["istio_helm_chart_repository"])
        self.kube_version = self.cluster.version()["gitVersion"]
        self.namespace = f"mesh-{secrets.token_hex(3)}"
        self.values: dict[str, Any] = {"global": {"istioNamespace": self.namespace}}
        self.istiod: dict[str, Any] = merged(self.values, found.variables["istio_helm_values"]["istiod"])
        found.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})

    def use(self, program: str) -> None:
        """Have another helm of the bed do the next steps."""
        self.program = program
        self.helm = Helm(str(self.bed.tools / program))

    def chart(self, name: str) -> charts.Chart:
        """A chart as Istio has it."""
        return charts.Chart(self.repository / name)

    def edited(self, name: str, gone: str, **written: str) -> charts.Chart:
        """The next version of a chart, with one template gone, and others written or changed by what is said first."""
        target = self.folder / f"{name}-edited"
        shutil.copytree(self.repository / name, target)
        (target / "templates" / gone).unlink()
        for file, text in written.items():
            (target / "templates" / f"{file}.yaml").write_text(text)
        metadata = (target / "Chart.yaml").read_text()
        (target / "Chart.yaml").write_text(metadata.replace("version: 1.31.0", "version: 1.31.9"))
        return charts.Chart(target)

    def stored(self, name: str) -> storage.Stored | None:
        """A release's newest revision."""
        return storage.read(self.cluster, [(self.namespace, name)]).get((self.namespace, name))

    def objects(self, name: str, chart: charts.Chart, values: dict[str, Any]) -> list[dict[str, Any]]:
        """What helm would write."""
        release = SimpleNamespace(name=name, namespace=self.namespace, values=values)
        with credentials(self.cluster) as environment:
            upgrade = self.stored(name) is not None
            return rendered_objects(self.cluster, self.helm, chart, release, self.kube_version, upgrade, environment)

    def preview(self, name: str, chart: charts.Chart, values: dict[str, Any], adopt: bool = False) -> Preview:
        """What would change."""
        stored = self.stored(name)
        before, wanted = stored_objects(self.cluster, stored), self.objects(name, chart, values)
        return preview(self.cluster, before, wanted, Upgrade.of(self.helm.major, stored, adopt))

    def upgrade(self, name: str, chart: charts.Chart, values: dict[str, Any], *flags: str, check: bool = True) -> str:
        """Have helm do it. :returns: what it says"""
        file = self.folder / "values.json"
        file.write_text(json.dumps(values))
        command = ("upgrade", "--install", name, chart.path, "--namespace", self.namespace, "--reset-values")
        return self.bed.tool(self.program, *command, "--values", file, *flags, check=check)

    def drift(self, name: str) -> list[Change]:
        """What of a release is not as its manifest has it."""
        stored = self.stored(name)
        assert stored
        return drifted(self.cluster, stored_objects(self.cluster, stored), recorded=stored.modified)

    def settled(self) -> Snapshot:
        """Everything that the API server stores, as soon as no controller changes it any more."""
        last: Snapshot = {}
        for _look in range(20):
            found = self._everything()
            if found == last:
                return found
            last = found
            time.sleep(0.5)
        raise AssertionError("the cluster does not come to rest")

    def _everything(self) -> Snapshot:
        groups = self.cluster.request("GET", "/apis")["groups"]
        versions = ["v1", *(group["preferredVersion"]["groupVersion"] for group in groups)]
        paths = ["/api/v1" if version == "v1" else f"/apis/{version}" for version in versions]
        served = in_parallel(lambda path: self._got(path).get("resources") or [], paths)
        kinds = [
            (version, kind["kind"], f"{path}/{kind['name']}")
            for version, path, resources in zip(versions, paths, served, strict=True)
            for kind in resources
            if kind["name"] not in PASSING and "/" not in kind["name"] and "list" in kind["verbs"]
        ]
        lists = in_parallel(lambda kind: self._got(kind[2]).get("items") or [], kinds)
        found: Snapshot = {}
        for (version, kind, _path), objects in zip(kinds, lists, strict=True):
            for obj in objects:
                meta = obj["metadata"]
                key = (version, kind, meta.get("namespace") or "", meta["name"])
                found[key] = comparable(visible({**obj, "apiVersion": version, "kind": kind}))
        # Namespaces of other tests are on their way out.
        others = {key[3] for key in found if key[1] == "Namespace" and key[3].startswith("mesh-")} - {self.namespace}
        return {
            key: obj
            for key, obj in found.items()
            if not ({key[2], key[3]} & others or key[3].startswith("sh.helm.release.v1."))
        }

    def _got(self, path: str) -> dict[str, Any]:
        """What is at a path; nothing where its definition goes away just now."""
        try:
            return self.cluster.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return {}
            raise

    def uninstall(self) -> None:
        """Leave nothing behind."""
        names = self.bed.kubectl(
            "get",
            "crd,clusterrole,clusterrolebinding,mutatingwebhookconfiguration,validatingwebhookconfiguration",
            "--output=name",
        )
        ours = [
            name for name in names.split() if any(word in name for word in ("istio", "mesh-", "example.com", "ztunnel"))
        ]
        if ours:
            self.bed.kubectl("delete", "--ignore-not-found", *ours)
        self.bed.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield an API server that no other test's Istio is on."""
    with bed("preview", TODAY, tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture
def releases(alone: BedCluster, tmp_path: Path) -> Iterator[Releases]:
    """Yield releases of a cluster that holds none."""
    found = Releases(alone, tmp_path)
    yield found
    found.uninstall()


@pytest.fixture
def by_helm_3(alone: BedCluster, tmp_path: Path) -> Iterator[Releases]:
    """Yield the same, written by Helm 3."""
    made = bed_command("tools", "helm3")
    assert made.returncode == 0, made.stderr
    found = Releases(alone, tmp_path, "helm3")
    yield found
    found.uninstall()


def shown(obj: dict[str, Any] | None, announced: dict[str, Any] | None) -> dict[str, Any]:
    """An object of a snapshot, without what its Service was given and nobody announced."""
    result = copy.deepcopy(obj or {})
    if result.get("kind") == "Service":
        said = (announced or {}).get("spec") or {}
        for name in GIVEN:
            if name not in said:
                result["spec"].pop(name, None)
        for port, told in zip(result["spec"].get("ports") or [], said.get("ports") or [], strict=False):
            if "nodePort" not in told:
                port.pop("nodePort", None)
    return result


def assert_done(announced: Preview, before: Snapshot, after: Snapshot) -> None:
    """Exactly what was announced happened, no more and no less, down to the last field."""
    done = {
        (key[1:], "deleted" if key not in after else "created" if key not in before else "changed")
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    }
    said = {
        (
            (change.wanted["kind"], change.wanted["metadata"].get("namespace", ""), change.wanted["metadata"]["name"]),
            verb,
        )
        for change in announced.changes
        for verb in [change.verb]
    }
    assert done == said
    by_name = {key[1:]: key for key in {**before, **after}}
    for change in announced.changes:
        meta = change.wanted["metadata"]
        key = by_name[change.wanted["kind"], meta.get("namespace", ""), meta["name"]]
        assert change.dry_run, reference(change.wanted)
        assert comparable(change.before) == shown(before.get(key), change.before), reference(change.wanted)
        assert comparable(change.after) == shown(after.get(key), change.after), reference(change.wanted)


def verbs(found: Preview) -> dict[str, list[str]]:
    """The changed objects by what happens to them."""
    result: dict[str, list[str]] = {}
    for change in found.changes:
        result.setdefault(change.verb, []).append(reference(change.wanted))
    return {verb: sorted(names) for verb, names in result.items()}


# -- announced and done ------------------------------------------------------------------------------------------------

EXTRA = """
apiVersion: v1
kind: ConfigMap
metadata: {name: extra, annotations: {date: 2026-11-22}}
data: {a: "1"}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: before
  annotations: {helm.sh/hook: "pre-upgrade,pre-install", helm.sh/hook-delete-policy: hook-succeeded}
"""


def journey(
    releases: Releases, name: str, *steps: tuple[charts.Chart, dict[str, Any]], flags: tuple[str, ...] = ()
) -> list[Preview]:
    """Go from one state of a release to the next. :returns: what was announced of each step"""
    announced, before = [], releases.settled()
    for chart, values in steps:
        with releases.bed.asked() as asked:
            found = releases.preview(name, chart, values)
        assert asked.writes == []
        releases.upgrade(name, chart, values, *flags)
        after = releases.settled()
        assert_done(found, before, after)
        announced.append(found)
        before = after
    return announced


def istiod_journey(releases: Releases) -> None:
    """Install, change values, change the chart, and back."""
    chart = releases.chart("istiod")
    edited = releases.edited("istiod", "poddisruptionbudget.yaml", extra=EXTRA)
    base = merged(releases.istiod, {"resources": {"requests": {"cpu": "1000m", "memory": "2048Mi"}}})
    changed = merged(base, {"autoscaleEnabled": False, "replicaCount": 2, "env": {"A": "b"}, "podLabels": {"x": "y"}})
    first, second, third, fourth, last = journey(
        releases, "istiod", (chart, base), (chart, changed), (edited, changed), (chart, base), (chart, base)
    )
    assert set(verbs(first)) == {"created"}
    assert len(first.changes) == 16
    assert verbs(second)["deleted"] == [f"HorizontalPodAutoscaler {releases.namespace}/istiod"]
    assert f"Deployment {releases.namespace}/istiod" in verbs(second)["changed"]
    # The label helm.sh/chart is on nearly all of them; a hook is no object of a release.
    assert verbs(third)["created"] == [f"ConfigMap {releases.namespace}/extra"]
    assert verbs(third)["deleted"] == [f"PodDisruptionBudget {releases.namespace}/istiod"]
    assert f"ServiceAccount {releases.namespace}/istiod" in verbs(third)["changed"]
    assert verbs(fourth)["created"] == [f"HorizontalPodAutoscaler {releases.namespace}/istiod"]
    assert verbs(fourth)["deleted"] == [f"ConfigMap {releases.namespace}/extra"]
    assert verbs(last) == {}


def test_istiod(releases: Releases) -> None:
    """By Helm 4."""
    istiod_journey(releases)


def test_istiod_by_helm_3(by_helm_3: Releases) -> None:
    """By Helm 3, which merges three objects; then by Helm 4, which goes on as Helm 3 began."""
    istiod_journey(by_helm_3)
    assert by_helm_3.helm.major == 3
    by_helm_3.use("helm")
    assert by_helm_3.helm.major == 4
    chart = by_helm_3.chart("istiod")
    values = merged(by_helm_3.istiod, {"env": {"C": "d"}, "podLabels": {"e": "f"}})
    (announced,) = journey(by_helm_3, "istiod", (chart, values))
    assert f"Deployment {by_helm_3.namespace}/istiod" in verbs(announced)["changed"]
    assert by_helm_3.stored("istiod").apply_method == "csa"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"service": {"type": "NodePort"}}, {"service": {"type": "ClusterIP"}}),
        ({"service": {"type": "ClusterIP"}}, {"service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}}),
        (
            {"service": {"type": "NodePort"}},
            {"service": {"type": "NodePort", "ports": [{"name": "http2", "port": 80, "nodePort": 30010}]}},
        ),
        ({}, {"kind": "DaemonSet"}),
    ],
    ids=["loses node ports", "is given some", "pins one", "another kind"],
)
def test_gateway(first: dict[str, Any], second: dict[str, Any], releases: Releases) -> None:
    """Addresses and node ports that the server gives are not announced; those that go away are."""
    chart = releases.chart("gateway")
    journey(releases, "edge", (chart, first), (chart, second))


@pytest.mark.parametrize("name", ["base", "cni", "ztunnel"])
def test_other_charts(name: str, releases: Releases) -> None:
    """Definitions are kept when a chart has them no more."""
    chart = releases.chart(name)
    over = {"base": {"excludedCRDs": ["envoyfilters.networking.istio.io"]}, "podLabels": {"a": "b"}}
    steps = (chart, releases.values), (chart, merged(releases.values, over))
    announced = journey(releases, name, *steps)
    assert "deleted" not in verbs(announced[1])


# -- drift -------------------------------------------------------------------------------------------------------------


def test_steady_state_costs_no_dry_run(releases: Releases) -> None:
    """Whatever the server makes of a chart's values: `2048Mi`, `1000m`, maps that are empty, fields left out."""
    resources = {"resources": {"requests": {"cpu": "1000m", "memory": "2048Mi"}}, "nodeSelector": {}, "tolerations": []}
    less = {**resources, "resources": {"requests": {"cpu": "0.1", "memory": "512Mi"}, "limits": {"memory": "1024Mi"}}}
    installed = {
        "istio-base": ("base", releases.values),
        "istiod": ("istiod", merged(releases.istiod, resources)),
        "istio-cni": ("cni", releases.values),
        "ztunnel": ("ztunnel", merged(releases.values, resources)),
        "edge": ("gateway", {**less, "autoscaling": {"enabled": True}, "podDisruptionBudget": {"minAvailable": 1}}),
    }
    for name, (chart, values) in installed.items():
        releases.upgrade(name, releases.chart(chart), values)
    releases.settled()
    stored = {name: releases.stored(name) for name in installed}
    objects = {name: stored_objects(releases.cluster, stored[name]) for name in installed}
    kinds = {obj["kind"] for each in objects.values() for obj in each}
    with releases.bed.asked() as asked:
        found = {name: drifted(releases.cluster, objects[name], recorded=stored[name].modified) for name in installed}
    assert found == {name: [] for name in installed}
    assert (asked.count.dry_runs, asked.count.writes) == (0, 0)
    assert asked.count.reads < sum(map(len, objects.values()))
    assert {"CustomResourceDefinition", "ValidatingWebhookConfiguration", "HorizontalPodAutoscaler"} <= kinds


def test_drift(releases: Releases) -> None:
    """One dry run for each object that was changed, and its own diff; what somebody has added is none."""
    releases.upgrade("istiod", releases.chart("istiod"), releases.istiod)
    bed = releases.bed
    where = ("--namespace", releases.namespace)
    bed.kubectl("set", "env", "deployment/istiod", "PILOT_TRACE_SAMPLING=50", *where)
    bed.kubectl("label", "service/istiod", "team=mesh", *where)
    bed.kubectl("patch", "configmap/istio", "--type=merge", '--patch={"data":{"mesh":"x"}}', *where)
    with bed.asked() as asked:
        found = releases.drift("istiod")
    assert sorted(reference(change.wanted) for change in found) == [
        f"ConfigMap {releases.namespace}/istio",
        f"Deployment {releases.namespace}/istiod",
    ]
    assert asked.count.dry_runs == 2
    config = next(change for change in found if change.wanted["kind"] == "ConfigMap")
    assert config.before["data"]["mesh"] == "x"  # type: ignore[index]
    assert config.after["data"]["mesh"] != "x"  # type: ignore[index]


# -- conflicts and adoption --------------------------------------------------------------------------------------------


def as_manager(releases: Releases, manager: str, *objects: dict[str, Any]) -> None:
    """Apply objects as another program does."""
    for obj in objects:
        releases.cluster.apply(obj, manager=manager)


def without_marks(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rendered objects as istioctl applies them: without Helm's marks, with its own."""
    result = copy.deepcopy(objects)
    for obj in result:
        obj["metadata"]["labels"] = {
            **obj["metadata"]["labels"],
            "app.kubernetes.io/managed-by": "Me",
            "operator.istio.io/managed": "Reconcile",
            "left-by": "istioctl",
        }
        obj["metadata"].pop("annotations")
    return result


def test_adoption_of_istioctls_objects_59630(releases: Releases) -> None:
    """istio#59630: helm 4 stops at istio-operator's fields; adopted, it does not, and nothing is left behind."""
    chart, values = releases.chart("istiod"), releases.istiod
    objects = releases.objects("istiod", chart, values)
    as_manager(releases, "istio-operator", *without_marks(objects))
    kinds = [
        (obj["apiVersion"], obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace")) for obj in objects
    ]
    live = [releases.cluster.get(*kind) for kind in kinds]
    assert {
        (found.owner, found.adoptable) for obj in live if (found := foreign(obj, "istiod", releases.namespace))
    } == {  # type: ignore[arg-type]
        ("istioctl", True)
    }
    assert "invalid ownership metadata" in releases.upgrade("istiod", chart, values, check=False)

    plain = releases.preview("istiod", chart, values)
    assert {conflict.manager for conflict in plain.conflicts} == {"istio-operator"}
    assert all(conflict.adoptable and not conflict.controller for conflict in plain.conflicts)
    assert ".metadata.labels.app.kubernetes.io/managed-by" in {conflict.field for conflict in plain.conflicts}

    before = releases.settled()
    adopting = releases.preview("istiod", chart, values, adopt=True)
    assert adopting.conflicts == []
    for obj in live:
        assert adopt(releases.cluster, obj)  # type: ignore[arg-type]
        assert not adopt(releases.cluster, releases.cluster.get(*_named(obj)))  # type: ignore[arg-type]
    assert releases.settled() == before, "adoption changes who holds fields, and no field"
    releases.upgrade("istiod", chart, values, "--take-ownership")
    after = releases.settled()
    assert_done(adopting, before, after)
    labels = [obj["metadata"].get("labels") or {} for key, obj in after.items() if "istiod" in key[3]]
    assert not [found for found in labels if "left-by" in found or "operator.istio.io/managed" in found]
    assert releases.drift("istiod") == []


def test_adoption_after_kubectl_apply_43204(releases: Releases) -> None:
    """istio#43204: definitions that kubectl has applied, by the client and by the server."""
    chart = releases.chart("base")
    crds = [
        obj
        for obj in releases.objects("istio-base", chart, releases.values)
        if obj["kind"] == "CustomResourceDefinition"
    ]
    names = [crd["metadata"]["name"] for crd in crds]
    ways: tuple[list[dict[str, Any]], ...] = ([], [])
    for number, crd in enumerate(without_marks(crds)):
        crd["metadata"]["labels"].pop("operator.istio.io/managed")
        # The largest is too large for the annotation of a client-side apply.
        ways[number % 2 and len(json.dumps(crd)) < 200_000].append(crd)
    for objects, flags in zip(ways, (["--server-side"], []), strict=True):
        assert objects
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        releases.bed.kubectl("apply", "-f-", *flags, stdin=listed)
    before = releases.settled()
    adopting = releases.preview("istio-base", chart, releases.values, adopt=True)
    assert adopting.conflicts == []
    for name in names:
        crd = releases.cluster.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
        assert foreign(crd, "istio-base", releases.namespace).owner == "kubectl"  # type: ignore[arg-type, union-attr]
        assert adopt(releases.cluster, crd)  # type: ignore[arg-type]
    releases.upgrade("istio-base", chart, releases.values, "--take-ownership")
    assert_done(adopting, before, releases.settled())


def _named(obj: dict[str, Any]) -> tuple[str, str, str, str | None]:
    meta = obj["metadata"]
    return obj["apiVersion"], obj["kind"], meta["name"], meta.get("namespace")


def test_conflicts_with_controllers_60497_59367(releases: Releases) -> None:
    """istio#60497, istio#59367: AKS and istiod hold fields of the webhooks; helm 4 stops, and we know it before."""
    chart = releases.chart("istiod")  # with the injector's webhooks, too
    before = merged(releases.values, {"base": {"validationFailurePolicy": "Ignore"}})
    releases.upgrade("istiod", chart, before)
    mutating = (
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        f"istio-sidecar-injector-{releases.namespace}",
    )
    injector = releases.cluster.get(*mutating) or releases.cluster.get(*mutating[:2], "istio-sidecar-injector")
    validator = releases.cluster.get(
        mutating[0], "ValidatingWebhookConfiguration", f"istio-validator-{releases.namespace}"
    )
    assert injector
    assert validator
    for webhook in injector["webhooks"]:
        selector = {"key": "kubernetes.azure.com/managedby", "operator": "NotIn", "values": ["aks"]}
        webhook["namespaceSelector"].setdefault("matchExpressions", []).append(selector)
    for webhook in validator["webhooks"]:
        webhook["failurePolicy"], webhook["clientConfig"]["caBundle"] = "Fail", "QUJD"
    update(releases, injector, "admissionsenforcer")
    update(releases, validator, "pilot-discovery")
    assert releases.drift("istiod") == []

    changed = merged(before, {"env": {"A": "b"}})
    with releases.bed.asked() as asked:
        found = releases.preview("istiod", chart, changed)
    assert {(conflict.manager, bool(conflict.controller)) for conflict in found.conflicts} == {
        ("admissionsenforcer", True),
        ("pilot-discovery", True),
    }
    assert len(found.conflicts) == len(injector["webhooks"]) + len(validator["webhooks"])
    assert asked.count.writes == 0
    said = releases.upgrade("istiod", chart, changed, check=False)
    for conflict in found.conflicts:
        assert conflict.field in said
        assert conflict.manager in said
    assert "Webhook" not in str([reference(change.wanted) for change in found.changes])


def test_conflict_with_somebody_343(releases: Releases) -> None:
    """k3s-io/helm-controller#343: `kubectl scale`, and a label by a program that nobody knows."""
    chart, values = (
        releases.chart("gateway"),
        {"autoscaling": {"enabled": False}, "replicaCount": 1, "labels": {"team": "a"}},
    )
    releases.upgrade("edge", chart, values)
    releases.bed.kubectl("scale", "deployment/edge", "--replicas=3", "--namespace", releases.namespace)
    service = releases.cluster.get("v1", "Service", "edge", releases.namespace)
    assert service
    service["metadata"]["labels"]["team"] = "b"
    update(releases, service, "terraform")
    assert sorted(reference(change.wanted) for change in releases.drift("edge")) == [
        f"Deployment {releases.namespace}/edge",
        f"Service {releases.namespace}/edge",
    ]
    found = releases.preview("edge", chart, values)
    assert {(each.object, each.field, each.manager, each.adoptable) for each in found.conflicts} == {
        (f"Deployment {releases.namespace}/edge", ".spec.replicas", "kubectl", True),
        (f"Service {releases.namespace}/edge", ".metadata.labels.team", "terraform", False),
    }
    assert "Apply failed with 1 conflict" in releases.upgrade("edge", chart, values, check=False)
    journey(releases, "edge", (chart, values), flags=("--force-conflicts",))


def update(releases: Releases, obj: dict[str, Any], manager: str) -> None:
    """Write an object back as another program does."""
    path = releases.cluster._path(obj)
    releases.cluster.request("PUT", path, {"fieldManager": manager}, obj, headers={"Content-Type": "application/json"})


# -- what cannot be dry-run --------------------------------------------------------------------------------------------

DEMO = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: demos.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: demos, singular: demo, kind: Demo}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [size]
              properties: {size: {type: integer}, mode: {type: string, enum: ["ON", "OFF"]}}
---
apiVersion: example.com/v1
kind: Demo
metadata: {name: demo}
spec: {{ toJson .Values.demo }}
---
apiVersion: v1
kind: Namespace
metadata: {name: not-there-yet}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: inside, namespace: not-there-yet}
spec:
  replicas: {{ toJson .Values.replicas }}
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a, ports: [{containerPort: 80}]}]}}
"""


def demo_chart(folder: Path, template: str = DEMO) -> charts.Chart:
    """A chart that brings a kind and a namespace, and an object of each."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: demo\nversion: 1.0.0\n")
    (folder / "templates/all.yaml").write_text(template)
    return charts.Chart(folder)


def test_validated_locally(releases: Releases) -> None:
    """What has no namespace or kind yet is marked; the definition and the namespace themselves are dry-run."""
    found = releases.preview("demo", demo_chart(releases.folder / "demo"), {"demo": {"size": 1}, "replicas": 1})
    marks = {reference(change.wanted): (change.dry_run, change.validated) for change in found.changes}
    assert marks == {
        "CustomResourceDefinition demos.example.com": (True, False),
        f"Demo {releases.namespace}/demo": (False, True),
        "Namespace not-there-yet": (True, False),
        "Deployment not-there-yet/inside": (False, True),
    }


def test_refused_locally(releases: Releases) -> None:
    """By the definition's schema and by the server's own; every object and field is named."""
    chart = demo_chart(releases.folder / "demo", DEMO.replace("selector: {matchLabels: {a: b}}", "paused: false"))
    with pytest.raises(JobError) as caught:
        releases.preview("demo", chart, {"demo": {"mode": "on", "x": 1}, "replicas": 2})
    demo = f"Demo {releases.namespace}/demo"
    begin, found = "Schema validation failed: ", str(caught.value).partition(". Correct ")[0]
    assert found.startswith(begin)
    assert sorted(found.removeprefix(begin).split("; ")) == [
        f"{demo}: spec.mode is 'on', not one of ON, OFF",
        f"{demo}: spec.size is missing",
        f'{demo}: unknown field "spec.x"',
        "Deployment not-there-yet/inside: spec.selector is missing",
    ]


def test_refused_by_the_server_before_it_looks_for_the_namespace(releases: Releases) -> None:
    """A type of Kubernetes' own kinds is its own to judge."""
    chart = demo_chart(releases.folder / "demo")
    with pytest.raises(
        JobError, match=r"^Deployment not-there-yet/inside was rejected .*\.spec\.replicas: expected num"
    ):
        releases.preview("demo", chart, {"demo": {"size": 1}, "replicas": "2"})


def test_empty_cluster_takes_what_passes(releases: Releases, alone: BedCluster) -> None:
    """Istio's charts in a namespace that is not there: all of it is validated, nothing is refused."""
    alone.kubectl("delete", "namespace", releases.namespace, "--timeout=60s")
    for chart in ("istiod", "cni", "ztunnel", "gateway"):
        values = {"istiod": releases.istiod}.get(chart, releases.values)
        found = releases.preview(chart, releases.chart(chart), values)
        inside = [change for change in found.changes if change.wanted["metadata"].get("namespace")]
        assert inside
        assert all(change.validated and not change.dry_run for change in inside)
        assert all(change.dry_run for change in found.changes if change not in inside)


def test_field_that_a_kind_does_not_have(releases: Releases) -> None:
    """Helm is strict, and so is the preview: the run ends before anything is written."""
    edited = releases.edited("gateway", "poddisruptionbudget.yaml", extra=EXTRA.replace("\ndata:", "\ndaten:"))
    with pytest.raises(JobError, match=r"^ConfigMap \S+/extra was rejected by the API server: .*daten"):
        releases.preview("edge", edited, {})
    assert "daten" in releases.upgrade("edge", edited, {}, check=False)
