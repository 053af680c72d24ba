# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release is written when it must be and never otherwise, in the right order, and never under somebody's hands."""

from __future__ import annotations

import base64
import contextlib
import copy
import gzip
import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.cluster import lease
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.kinds import known_resource
from ansible_collections.meshops.istio.plugins.module_utils.cluster.manifests import Change
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, digest, identity
from ansible_collections.meshops.istio.plugins.module_utils.connection.connection import Connection
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure import provider_detection
from ansible_collections.meshops.istio.plugins.module_utils.helm import charts, sources, storage
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import HelmError
from ansible_collections.meshops.istio.plugins.module_utils.helm.owner import owned_by_helm
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import Source
from ansible_collections.meshops.istio.plugins.module_utils.helm.storage import Stored
from ansible_collections.meshops.istio.plugins.module_utils.helm.values import merged
from ansible_collections.meshops.istio.plugins.module_utils.jobs import releases
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import MeshOptions
from ansible_collections.meshops.istio.plugins.module_utils.releases import earlier_gateways, installation
from ansible_collections.meshops.istio.plugins.module_utils.releases.steps import Step, drift_words, judge
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

VERSION = "1.31.0"
MESH = "istio-system"
#: Far from the clock of whatever machine this runs on.
SERVER_TIME = datetime(2031, 5, 1, 12, 0, 0, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The identities of a manifest's objects are kept in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HELM_DRIVER", raising=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A directory with three charts."""
    for name in ("base", "istiod", "gateway"):
        (tmp_path / "charts" / name / "templates").mkdir(parents=True)
        (tmp_path / "charts" / name / "Chart.yaml").write_text(f"name: {name}\nversion: {VERSION}\n")
        (tmp_path / "charts" / name / "templates/all.yaml").write_text("kind: List\n")
    return tmp_path / "charts"


def as_stored(name: str, version: str = VERSION) -> dict[str, Any]:
    """A chart as Helm stores it."""
    data = base64.b64encode(b"kind: List\n").decode()
    return {"metadata": {"name": name, "version": version}, "templates": [{"name": "templates/all.yaml", "data": data}]}


# -- judge -------------------------------------------------------------------------------------------------------------


def judged(repository: Path, stored: Stored | None, values: dict[str, Any] | None = None) -> Step:
    """The verdict on istiod."""
    chart = sources.ChartReference(Source(str(repository)), "istiod", VERSION)
    release = composition.Release("istiod", MESH, "istiod", chart, values={} if values is None else values)
    return judge(release, charts.Chart(repository / "istiod"), stored)


def stored(status: str = "deployed", values: dict[str, Any] | None = None, version: str = VERSION) -> Stored:
    """Istiod as it is stored."""
    return Stored("istiod", MESH, 2, status, as_stored("istiod", version), values or {})


@pytest.mark.parametrize(
    ("status", "action", "reasons"),
    [
        ("deployed", "none", []),
        ("uninstalled", "install", ["not installed"]),
        ("uninstalling", "recover", ["left in uninstalling by an interrupted run"]),
        ("pending-install", "recover", ["left in pending-install by an interrupted run"]),
        ("pending-upgrade", "recover", ["left in pending-upgrade by an interrupted run"]),
        ("pending-rollback", "recover", ["left in pending-rollback by an interrupted run"]),
        ("failed", "upgrade", ["status failed"]),
        ("superseded", "upgrade", ["status superseded"]),
        ("unknown", "upgrade", ["status unknown"]),
    ],
)
def test_every_status_of_helm(status: str, action: str, reasons: list[str], repository: Path) -> None:
    """Only `deployed` is left alone; helm refuses to upgrade what is pending or being uninstalled."""
    step = judged(repository, stored(status))
    assert (step.action, step.reasons) == (action, reasons)


def test_release_that_is_not_there(repository: Path) -> None:
    """Installed."""
    step = judged(repository, None)
    assert (step.action, step.reasons) == ("install", ["not installed"])
    assert step.result() == {
        "name": "istiod",
        "namespace": MESH,
        "chart": "istiod",
        "chart_version": VERSION,
        "action": "install",
        "reasons": ["not installed"],
        "drift": [],
        "objects": [],
    }


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        ({"a": 1, "b": {"c": [1, 2]}}, {"b": {"c": [1, 2]}, "a": 1}, []),
        ({"traceSampling": 100}, {"traceSampling": 100.0}, []),
        ({"traceSampling": 0.5}, {"traceSampling": 0.5}, []),
        ({"big": 1e22}, {"big": 10**22}, []),
        ({"a": 1}, {"a": 2}, ["values"]),
        ({"a": 1}, {"a": 1.5}, ["values"]),
        ({"a": 1}, {"a": True}, ["values"]),
        ({"a": 1}, {"a": "1"}, ["values"]),
        ({"a": None}, {}, ["values"]),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["values"]),
        ({}, {"a": 1}, ["values"]),
    ],
)
def test_values(before: dict[str, Any], after: dict[str, Any], reasons: list[str], repository: Path) -> None:
    """The order of keys is nothing, and helm writes 100.0 as 100; types count, and null removes a chart's default."""
    step = judged(repository, stored(values=before), after)
    assert step.reasons == reasons
    assert step.action == ("upgrade" if reasons else "none")


def test_all_reasons(repository: Path) -> None:
    """In a few words each."""
    step = judged(repository, stored("failed", {"a": 1}, "1.30.2"), {"a": 2})
    assert step.reasons == ["status failed", "chart version 1.30.2 -> 1.31.0", "values"]
    assert step.diff() == [
        {
            "before": {"chart_version": "1.30.2", "values": {"a": 1}},
            "after": {"chart_version": VERSION, "values": {"a": 2}},
            "before_header": "release istio-system/istiod",
            "after_header": "release istio-system/istiod (upgrade)",
        }
    ]
    assert judged(repository, None).diff()[0]["before"] == ""


def test_drift_in_words() -> None:
    """Each field; not the API server's own count, which goes up with every change of a DaemonSet's pods."""

    def daemon_set(seconds: int, generation: str) -> dict[str, Any]:
        annotations = {"deprecated.daemonset.template.generation": generation}
        meta = {"name": "istio-cni-node", "namespace": MESH, "annotations": annotations}
        spec = {"template": {"spec": {"terminationGracePeriodSeconds": seconds}}}
        return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec}

    change = Change(daemon_set(5, "1"), daemon_set(9, "2"), daemon_set(5, "3"))
    assert drift_words([change]) == [
        "DaemonSet istio-system/istio-cni-node: spec.template.spec.terminationGracePeriodSeconds"
    ]


# -- run ---------------------------------------------------------------------------------------------------------------

MANIFESTS = {
    "istio-base": """
apiVersion: v1
kind: ServiceAccount
metadata: {name: istio-reader, namespace: istio-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: istio-reader, namespace: istio-system}
""",
    "istiod": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: values, namespace: istio-system}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector}
""",
    "istio-ingressgateway": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-ingressgateway}
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway}
""",
}
#: What is ready of each kind.
READY: dict[str, Any] = {
    "Deployment": {"status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}},
    "MutatingWebhookConfiguration": {"webhooks": [{"clientConfig": {"caBundle": "Q0E="}}]},
}


class World:
    """Cluster, helm, lease and waiter in one, and in which order they are used."""

    def __init__(self) -> None:
        self.objects: dict[Identity, dict[str, Any]] = {}
        self.log: list[str] = []
        self.lock = threading.Lock()
        self.forced: list[str] = []
        self.adopted: list[str] = []
        self.dry_runs: list[str] = []
        self.groups: list[str] = []
        self.nodes: list[dict[str, Any]] = []
        self.from_the_dead = False
        self.lost = ""
        self.patience = 0.0
        self.created: list[str] = []
        self.fails: str | None = None
        self.fails_late = False
        self.descriptions: list[str] = []
        self.subchart = "kind: List"

    def note(self, line: str) -> None:
        """One event; several threads come here."""
        with self.lock:
            self.log.append(line)

    # The cluster.

    connection = Connection({"host": "https://192.0.2.1:6443", "api_key": "token-1"})

    def resource(self, api_version: str, kind: str) -> Any:
        """From the table."""
        return known_resource(api_version, kind)

    def namespaced(self, obj: dict[str, Any]) -> bool:
        """From the table."""
        return self.resource(obj["apiVersion"], obj["kind"]).namespaced

    def announce(self, definitions: Any) -> None:
        """There are none in these charts."""
        assert list(definitions) == []

    def version(self) -> dict[str, str]:
        """Of the API server."""
        return {"gitVersion": "v1.37.2"}

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """One object; as an API server does, without minding the namespace of what has none."""
        place = namespace or "" if self.resource(api_version, kind).namespaced else ""
        return self.objects.get((api_version, kind, place, name))

    def list(self, api_version: str, kind: str, namespace: str | None = None, **options: Any) -> list[dict[str, Any]]:
        """All of a kind."""
        found = [obj for key, obj in self.objects.items() if key[:3] == (api_version, kind, namespace or "")]
        if options.get("label_selector") == earlier_gateways.GATEWAY_SELECTOR:
            return [obj for obj in found if earlier_gateways.GATEWAY_SELECTOR in obj["metadata"].get("labels", {})]
        selector = dict(each.split("=") for each in filter(None, (options.get("label_selector") or "").split(",")))
        found = [obj for obj in found if selector.items() <= obj["metadata"].get("labels", {}).items()]
        if options.get("metadata_only"):
            found = [{key: obj[key] for key in ("apiVersion", "kind", "metadata")} for obj in found]
        return found

    def request(self, _method: str, path: str, _query: dict[str, Any] | None = None) -> dict[str, Any]:
        """The first nodes."""
        assert path == "/api/v1/nodes"
        return {"items": self.nodes}

    def create(self, obj: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        """Create, as two runs may want to at once, or ask for a node port."""
        if not dry_run:
            if identity(obj) in self.objects:
                raise ApiError(409, "AlreadyExists", "it already exists")
            self.note(f"create {obj['kind']} {obj['metadata']['name']}")
            self.objects[identity(obj)] = obj
        return obj

    def apply(self, obj: dict[str, Any], dry_run: bool = False, force: bool = True, **_how: Any) -> dict[str, Any]:
        """Create, or say what would be there."""
        if dry_run:
            self.dry_runs.append(f"{obj['kind']} {obj['metadata']['name']}")
            return merged(self.objects.get(identity(obj), {}), obj)
        self.note(f"apply {obj['kind']} {obj['metadata']['name']}")
        self.objects[identity(obj)] = obj
        return obj

    def delete(self, obj: dict[str, Any], as_read: bool) -> bool:
        """Delete what is as it was read."""
        assert as_read
        assert obj["metadata"]["resourceVersion"] == self.objects[identity(obj)]["metadata"]["resourceVersion"]
        self.note(f"delete {obj['kind']} {obj['metadata']['name']}")
        return self.objects.pop(identity(obj), None) is not None

    def now(self, strict: bool) -> datetime:
        """The API server's clock, which is not ours."""
        assert strict
        return SERVER_TIME

    def still(self) -> None:
        """As the Lease: whether it is ours."""
        if self.lost:
            raise JobError(self.lost)

    # Helm.

    def template(self, name: str, *_arguments: Any, **_how: Any) -> str:
        """What a chart renders to."""
        return MANIFESTS[name]

    def upgrade(
        self,
        name: str,
        namespace: str,
        chart: Path,
        values: dict[str, Any],
        environment: dict[str, str],
        timeout: float,
        force_conflicts: bool,
        take_ownership: bool,
        description: str,
    ) -> None:
        """Write a revision and its objects."""
        assert json.loads(Path(environment["KUBECONFIG"]).read_text())["clusters"][0]["cluster"]["server"].endswith(
            ":6443"
        )
        self.descriptions.append(description)
        self.note(f"helm {namespace}/{name}")
        if self.fails == name:
            if self.fails_late:
                self.deploy(name, chart.name, values, namespace, "failed")
            raise JobError(f"helm upgrade {name} failed")
        if force_conflicts:
            self.forced.append(name)
        if take_ownership:
            self.adopted.append(name)
        self.deploy(name, chart.name, values, namespace, description=description)

    def dry_run(
        self, name: str, namespace: str, chart: Path, values: dict[str, Any], _environment: dict[str, str]
    ) -> dict[str, Any]:
        """What an upgrade would store: a subchart shows in the manifest alone."""
        self.note(f"ask helm {namespace}/{name}")
        if self.fails == name:
            raise HelmError(f"helm upgrade {name} failed", "failed")
        sub = chart / "charts/sub.yaml"
        more = f"# {sub.read_text()}" if sub.exists() and sub.read_text() != self.subchart else ""
        return {"manifest": MANIFESTS[name] + more, "hooks": None, "config": values, "chart": as_stored(chart.name)}

    # What a test sets up.

    def deploy(
        self,
        name: str,
        chart: str,
        values: dict[str, Any],
        namespace: str = MESH,
        status: str = "deployed",
        age: int = 0,
        description: str = "Install complete",
    ) -> None:
        """A further revision of a release, with its objects."""
        revision = 1 + sum(key[3].startswith(f"sh.helm.release.v1.{name}.") for key in self.objects)
        when = (SERVER_TIME - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
        document = {
            "version": revision,
            "info": {"status": status, "last_deployed": "2026-11-22T20:00:00.123456789Z", "description": description},
            "chart": as_stored(chart),
            "config": values,
            "manifest": MANIFESTS[name],
        }
        data = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(document).encode()))).decode()
        labels = {"owner": "helm", "name": name, "status": status}
        meta = {
            "name": f"sh.helm.release.v1.{name}.v{revision}",
            "namespace": namespace,
            "labels": labels,
            "creationTimestamp": when,
            "resourceVersion": "7",
        }
        found = [{"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"release": data}}]
        for obj in charts.documents(MANIFESTS[name]):
            if self.resource(obj["apiVersion"], obj["kind"]).namespaced:
                obj["metadata"].setdefault("namespace", namespace)
            else:
                obj["metadata"].pop("namespace", None)
            obj["metadata"]["generation"] = 1
            obj = owned_by_helm(obj, name, namespace)
            found.append({**obj, **copy.deepcopy(READY.get(obj["kind"], {}))})
        self.objects.update((identity(obj), obj) for obj in found)

    def lose(self, kind: str, name: str) -> None:
        """Somebody deletes an object."""
        self.objects = {key: obj for key, obj in self.objects.items() if (key[1], key[3]) != (kind, name)}

    def revisions(self, name: str) -> list[str]:
        """Helm's secrets of a release."""
        return sorted(key[3].rpartition(".")[2] for key in self.objects if f".{name}.v" in key[3])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Everything outside the job."""
    found = World()

    @contextlib.contextmanager
    def held(_cluster: Any, namespace: str, timeout: float, _say: Any) -> Iterator[World]:
        found.patience = timeout
        found.note(f"take lease in {namespace}")
        try:
            yield found
        finally:
            found.note("give back lease")

    class Waiter:
        """Takes note."""

        def __init__(self, *_arguments: Any) -> None:
            pass

        def wait(self, keys: list[Identity], created: list[Identity]) -> None:
            found.created += [key[3] for key in created]
            found.note("wait for " + " ".join(sorted(key[3] for key in keys)))

    monkeypatch.setattr(releases, "Cluster", lambda _params: found)
    calls = {"template": found.template, "upgrade": found.upgrade, "dry_run": found.dry_run}
    helm = SimpleNamespace(version="4.3.1", major=4, **calls)
    monkeypatch.setattr(installation, "Helm", lambda _binary: helm)
    monkeypatch.setattr(provider_detection, "served_groups", lambda _cluster: {group: {"v1"} for group in found.groups})
    monkeypatch.setattr(lease, "held", held)
    monkeypatch.setattr(lease, "left_behind", lambda _cluster, _namespace, _timeout, _say: found.from_the_dead)
    monkeypatch.setattr(installation, "Waiter", Waiter)
    return found


@pytest.fixture
def options(repository: Path) -> dict[str, Any]:
    """What the user gives."""
    return {"chart_version": VERSION, "chart_repository": str(repository)}


def run(options: dict[str, Any], check_mode: bool = False, diff: bool = False) -> dict[str, Any]:
    """Run the job as Ansible would."""
    return releases.run(task_of(options, check_mode, diff))


def task_of(options: dict[str, Any], check_mode: bool = False, diff: bool = False) -> Task:
    """A task with validated options."""
    validated = ArgumentSpecValidator(copy.deepcopy(releases.ARGUMENT_SPEC)).validate(options)
    assert not validated.error_messages
    return Task(validated.validated_parameters, check_mode, diff)


def actions(result: dict[str, Any]) -> dict[str, str]:
    """What was done about each release."""
    return {release["name"]: release["action"] for release in result["releases"]}


@pytest.fixture
def installed(world: World, options: dict[str, Any]) -> World:
    """A mesh that is as it is wanted."""
    world.objects[("v1", "Namespace", "", MESH)] = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": MESH},
    }
    for release in composition.releases(MeshOptions.of(task_of(options).params)):
        world.deploy(release.name, release.chart.name, json.loads(json.dumps(release.values)), release.namespace)
    world.log.clear()
    return world


def test_first_installation(world: World, options: dict[str, Any]) -> None:
    """Control plane, its pods, gateways, theirs; base beside them, for nobody waits for it."""
    result = run(options)
    assert result["changed"] is True
    assert actions(result) == {"istio-base": "install", "istiod": "install", "istio-ingressgateway": "install"}
    assert world.log[:3] == ["create Namespace istio-system", "take lease in istio-system", "helm istio-system/istiod"]
    order = [line for line in world.log[3:] if line != "helm istio-system/istio-base"]
    assert order == [
        "wait for istio-sidecar-injector istiod",
        "helm istio-system/istio-ingressgateway",
        "wait for istio-ingressgateway",
        "give back lease",
    ]
    assert world.log.index("helm istio-system/istio-base") < world.log.index("give back lease")
    assert sorted(world.forced) == ["istio-base", "istio-ingressgateway", "istiod"]
    assert {"istiod", "istio-ingressgateway"} <= set(world.created)


def test_second_run_writes_nothing(installed: World, options: dict[str, Any]) -> None:
    """No helm, no lease, no namespace; nothing to wait for either. kubernetes.core#565: not always changed."""
    result = run(options, diff=True)
    assert result["changed"] is False
    assert set(actions(result).values()) == {"none"}
    assert result["diff"] == []
    assert installed.log == []


@pytest.mark.parametrize("name", ["README.md", "charts/sub.yaml", ".helmignore"])
def test_chart_that_changes_nothing(name: str, installed: World, options: dict[str, Any], repository: Path) -> None:
    """A file more, of which only helm knows what it is for: helm is asked once, and nothing is written."""
    path = repository / "istiod" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("kind: List")
    for expected in (["ask helm istio-system/istiod"], []):
        installed.log.clear()
        assert run(options)["changed"] is False
        assert installed.log == expected


def test_subchart_that_changes_something(installed: World, options: dict[str, Any], repository: Path) -> None:
    """Helm does not store it, so that its manifest tells; the revision then says what it was made from."""
    path = repository / "istiod/charts/sub.yaml"
    path.parent.mkdir()
    path.write_text("kind: Role")
    result = run(options)
    assert actions(result) == {"istio-base": "none", "istiod": "upgrade", "istio-ingressgateway": "none"}
    reasons = [release["reasons"] for release in result["releases"] if release["name"] == "istiod"]
    assert reasons == [["chart content: charts/sub.yaml"]]
    digest_now = charts.Chart(repository / "istiod").digest
    assert installed.descriptions == [f"Upgrade complete by meshops.istio, of chart sha256:{digest_now}"]
    installed.log.clear()
    assert run(options)["changed"] is False
    assert installed.log == []


def test_chart_that_helm_refuses(installed: World, options: dict[str, Any], repository: Path) -> None:
    """No reason to call it unchanged: what helm has against it the upgrade says."""
    (repository / "istiod/README.md").write_text("new")
    installed.fails = "istiod"
    with pytest.raises(JobError, match="helm upgrade istiod failed"):
        run(options)


def test_second_run_waits_for_what_is_not_ready(installed: World, options: dict[str, Any]) -> None:
    """Somebody restarted istiod a moment ago."""
    installed.objects["apps/v1", "Deployment", MESH, "istiod"]["status"]["availableReplicas"] = 0
    assert run(options)["changed"] is False
    assert installed.log == ["wait for istiod"]


def test_check_mode_writes_nothing(world: World, options: dict[str, Any]) -> None:
    """It says what would be done."""
    result = run(options, check_mode=True, diff=True)
    assert result["changed"] is True
    assert set(actions(result).values()) == {"install"}
    assert {change["before"] for change in result["diff"]} == {""}
    headings = [change["before_header"] for change in result["diff"]]
    assert [line for line in headings if line.startswith("release")] == [
        "release istio-system/istio-base",
        "release istio-system/istiod",
        "release istio-system/istio-ingressgateway",
    ]
    assert headings[0] == "Namespace istio-system"
    assert len(headings) == 1 + 3 + 2 + 4 + 2
    assert result["namespaces"] == [MESH]
    assert world.log == []


def test_what_an_earlier_task_of_the_run_makes_is_not_shown_again(world: World, options: dict[str, Any]) -> None:
    """Check mode finds the cluster without it. What this release would make of it otherwise is told all the same."""
    shown = run(options, check_mode=True, diff=True)["diff"]
    objects = {change["before_header"]: change["after"] for change in shown if "kind" in change["after"]}
    planned = {name: digest(objects[name]) for name in ("ServiceAccount istio-system/istio-reader",)}
    planned |= {"Namespace istio-system": "labels, too", "ClusterRole istio-reader": "of another version"}
    result = run({**options, "planned": planned}, check_mode=True, diff=True)
    assert result["namespaces"] == []
    left = [change["before_header"] for change in result["diff"] if "kind" in change["after"]]
    assert objects.keys() - set(left) == {"Namespace istio-system", "ServiceAccount istio-system/istio-reader"}
    base = next(release for release in result["releases"] if release["name"] == "istio-base")
    assert base["objects"] == ["created ClusterRole istio-reader"]
    assert run({**options, "planned": planned})["namespaces"] == [MESH]


def test_only_what_differs_is_written(installed: World, options: dict[str, Any]) -> None:
    """One value of one gateway; the control plane is left alone. The diff shows what was before (istio#31185)."""
    installed.created.clear()
    options["values"] = {"istio-ingressgateway": {"labels": {"team": "edge"}}}
    result = run(options, diff=True)
    assert installed.created == [], "an upgraded release's pods may have been refused before"
    assert actions(result) == {"istio-base": "none", "istiod": "none", "istio-ingressgateway": "upgrade"}
    assert [line for line in installed.log if line.startswith("helm")] == ["helm istio-system/istio-ingressgateway"]
    assert installed.forced == []
    [change] = result["diff"]
    assert "labels" not in change["before"]["values"]
    assert change["after"]["values"]["labels"] == {"team": "edge"}


@pytest.mark.parametrize(
    ("kind", "name", "release"),
    [
        ("Deployment", "istiod", "istiod"),
        ("ConfigMap", "values", "istiod"),
        ("MutatingWebhookConfiguration", "istio-sidecar-injector", "istiod"),
        ("Service", "istio-ingressgateway", "istio-ingressgateway"),
        ("ClusterRole", "istio-reader", "istio-base"),
    ],
)
def test_objects_that_are_missing_are_restored(
    kind: str, name: str, release: str, installed: World, options: dict[str, Any]
) -> None:
    """A release whose secret is intact, but not its objects, is not unchanged: helm writes it again."""
    installed.lose(kind, name)
    result = run(options)
    assert {key: action for key, action in actions(result).items() if action != "none"} == {release: "restore"}
    [step] = [step for step in result["releases"] if step["action"] == "restore"]
    place = "" if kind in ("MutatingWebhookConfiguration", "ClusterRole") else "istio-system/"
    assert step["reasons"] == [f"missing: {kind} {place}{name}"]
    assert f"helm istio-system/{release}" in installed.log
    assert run(options)["changed"] is False


def test_release_that_a_killed_run_left_pending(installed: World, options: dict[str, Any]) -> None:
    """The lease was a dead run's: the record of its revision goes, and helm goes on from the one before."""
    installed.deploy("istiod", "istiod", {}, status="pending-upgrade")
    installed.from_the_dead = True
    installed.log.clear()
    assert actions(run(options))["istiod"] == "recover"
    lines = [line for line in installed.log if "istiod" in line]
    assert lines[:2] == ["delete Secret sh.helm.release.v1.istiod.v2", "helm istio-system/istiod"]
    assert installed.revisions("istiod") == ["v1", "v2"]
    assert installed.forced == []


def test_first_revision_that_a_killed_run_left_pending_59367(world: World, options: dict[str, Any]) -> None:
    """istio#59367: istiod may own fields of its objects already."""
    world.deploy("istiod", "istiod", {}, status="pending-install")
    world.from_the_dead = True
    run(options)
    assert "istiod" in world.forced
    assert world.revisions("istiod") == ["v1"]


@pytest.mark.parametrize("status", ["pending-upgrade", "uninstalling"])
def test_release_that_may_be_in_somebodys_hands(status: str, installed: World, options: dict[str, Any]) -> None:
    """Without a dead run of ours, a young pending release is another pipeline's: the run stops and names it."""
    installed.deploy("istiod", "istiod", {}, status=status, age=20)
    installed.log.clear()
    with pytest.raises(
        JobError, match=rf"Release istio-system/istiod has been {status} for 20 s: another pipeline"
    ) as caught:
        run(options)
    assert "300 s" in str(caught.value)
    assert installed.log == ["take lease in istio-system", "give back lease"]


@pytest.mark.parametrize(("dead", "age"), [(True, 20), (False, 400)])
def test_check_mode_recovers_what_the_run_would(
    dead: bool, age: int, installed: World, options: dict[str, Any]
) -> None:
    """And stops where the run would stop: a change that will not happen is not announced."""
    installed.deploy("istiod", "istiod", {}, status="pending-upgrade", age=age)
    installed.from_the_dead = dead
    installed.log.clear()
    assert actions(run(options, check_mode=True))["istiod"] == "recover"
    installed.deploy("istiod", "istiod", {}, status="pending-upgrade", age=20)
    installed.from_the_dead = False
    with pytest.raises(JobError, match="another pipeline may be running"):
        run(options, check_mode=True)
    assert installed.log == []


def test_release_that_has_been_pending_for_too_long(installed: World, options: dict[str, Any]) -> None:
    """Nothing works that long."""
    installed.deploy("istiod", "istiod", {}, status="pending-upgrade", age=400)
    assert actions(run(options))["istiod"] == "recover"


def test_pending_release_in_other_storage(
    installed: World, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record cannot be deleted here: the message says what can be done."""
    monkeypatch.setenv("HELM_DRIVER", "sql")
    pending = Stored("istiod", MESH, 2, "pending-upgrade")
    monkeypatch.setattr(storage, "ask", lambda *_arguments: {(MESH, "istiod"): pending})
    for check_mode in (True, False):
        with pytest.raises(JobError, match=r"but is not stored in Secrets \(HELM_DRIVER\), so .*\. Make sure"):
            run(options, check_mode)
    assert installed.log[-1] == "give back lease"


@pytest.mark.parametrize(("wait_timeout", "expected"), [(300, 300), (10, 40)])
def test_patience(wait_timeout: int, expected: int, world: World, options: dict[str, Any]) -> None:
    """Another run may wait for its pods as long as we would; and whether it is dead takes 30 s to see."""
    run({**options, "wait_timeout": wait_timeout})
    assert world.patience == expected


def test_lease_that_was_lost(installed: World, options: dict[str, Any]) -> None:
    """What holds it no more writes no more: neither helm nor the deletion of a pending revision."""
    installed.deploy("istiod", "istiod", {}, status="pending-upgrade")
    installed.from_the_dead, installed.lost = True, "Lease was taken over by other/1"
    installed.log.clear()
    with pytest.raises(JobError, match="taken over by other/1"):
        run(options)
    assert installed.log == ["take lease in istio-system", "give back lease"]
    assert installed.revisions("istiod") == ["v1", "v2"]


def test_unknown_format_of_storage(installed: World, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Helm itself is asked, and the user is told."""
    installed.objects["v1", "Secret", MESH, "sh.helm.release.v1.istiod.v1"]["data"]["release"] = "new form"
    asked: list[Any] = []
    monkeypatch.setattr(storage, "ask", lambda _helm, _environment, keys: asked.append(keys) or {})
    said: list[str] = []
    task = task_of(options, check_mode=True)
    task.say = said.append
    result = releases.run(task)
    assert asked == [[(MESH, "istio-base"), (MESH, "istiod"), (MESH, "istio-ingressgateway")]]
    assert set(actions(result).values()) == {"install"}
    assert said[0].startswith("running helm to read the releases, because their storage format is unknown")


def test_another_run_did_the_work_meanwhile(
    world: World, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at again once the lease is ours: nothing is written twice."""
    taken = lease.held

    @contextlib.contextmanager
    def held(*arguments: Any) -> Iterator[bool]:
        for release in composition.releases(MeshOptions.of(task_of(options).params)):
            world.deploy(release.name, release.chart.name, json.loads(json.dumps(release.values)))
        with taken(*arguments) as dead:
            yield dead

    monkeypatch.setattr(lease, "held", held)
    world.objects["v1", "Namespace", "", MESH] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MESH}}
    result = run(options)
    assert set(actions(result).values()) == {"none"}
    assert result["changed"] is False
    assert not [line for line in world.log if line.startswith("helm")]


def test_another_run_has_made_the_namespace_meanwhile(
    world: World, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what this one makes is named."""
    monkeypatch.setattr(installation.Installation, "missing_namespaces", _missing_until_somebody_makes_them(world))
    result = run(options)
    assert (result["namespaces"], result["changed"]) == ([], True)


def _missing_until_somebody_makes_them(world: World) -> Any:
    looked = installation.Installation.missing_namespaces

    def missing(job: installation.Installation) -> list[Change]:
        found = looked(job)
        assert found
        for change in found:
            world.objects[identity(change.wanted)] = change.wanted
        return found

    return missing


@pytest.mark.parametrize(
    ("wait_for", "waited"),
    [
        ("gateways", ["wait for istio-sidecar-injector istiod", "wait for istio-ingressgateway"]),
        ("control-plane", ["wait for istio-sidecar-injector istiod"]),
        ("nothing", ["wait for istio-sidecar-injector istiod"]),
    ],
)
def test_wait_for(wait_for: str, waited: list[str], world: World, options: dict[str, Any]) -> None:
    """istio#46307: gateways never start before the injector answers, whatever is waited for after."""
    run({**options, "wait_for": wait_for})
    assert [line for line in world.log if line.startswith("wait")] == waited


def test_wait_for_nothing_at_all(world: World, options: dict[str, Any]) -> None:
    """Without gateways there is no next stage."""
    run({**options, "preset": "none", "components": ["base", "istiod"], "gateways": [], "wait_for": "nothing"})
    assert not [line for line in world.log if line.startswith("wait")]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "half-way"])
@pytest.mark.parametrize("release", ["istio-base", "istiod", "istio-ingressgateway"])
def test_helm_that_fails(release: str, late: bool, world: World, options: dict[str, Any]) -> None:
    """The lease is given back, and no later stage begins; base fails too although nobody waits for it."""
    world.fails, world.fails_late = release, late
    task = task_of(options)
    with pytest.raises(JobError, match=f"helm upgrade {release} failed") as failure:
        releases.run(task)
    assert world.log[-1] == "give back lease"
    written = [line.split("/")[-1] for line in world.log if line.startswith("helm ") and not line.endswith(release)]
    assert [step["name"] for step in failure.value.details.get("releases", [])] == written
    # What helm has recorded it has begun to write.
    begun = [*written, release] if late else written
    assert sorted(task.written) == sorted(f"release {MESH}/{name}" for name in begun)
    if release == "istiod":
        assert "helm istio-system/istio-ingressgateway" not in world.log


def test_namespaces_that_are_there_stay(world: World, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are missing are made, each gateway's too."""
    world.objects[("v1", "Namespace", "", MESH)] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MESH}}
    monkeypatch.setitem(MANIFESTS, "edge", MANIFESTS["istio-ingressgateway"].replace("istio-ingressgateway", "edge"))
    run({**options, "gateways": [{"name": "edge", "namespace": "edge"}]})
    assert [line for line in world.log if line.startswith("create")] == ["create Namespace edge"]
    assert "helm edge/edge" in world.log


def test_bad_options_are_named_before_anything_is_read(world: World, options: dict[str, Any]) -> None:
    """A mesh that contradicts itself."""
    with pytest.raises(JobError, match="unknown component"):
        run({**options, "values": {"mixxer": {}}})
    assert world.log == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"chart_digests": {"istoid": "0" * 64}}, "chart_digests: chart base has no digest"),
        (
            {"chart_digests": dict.fromkeys(("base", "istiod", "gateway"), "0" * 64)},
            "neither its digest nor its provenance",
        ),
        ({"chart_keyring": "/keys.gpg"}, "neither its digest nor its provenance"),
        ({"chart_repository_username": "jane"}, "must be set together"),
    ],
    ids=str,
)
def test_charts_that_are_not_verified_stop_everything(
    given: dict[str, Any], words: str, world: World, options: dict[str, Any]
) -> None:
    """Before the cluster is so much as read."""
    with pytest.raises(JobError, match=words):
        run({**options, **given})
    assert world.log == []


@pytest.mark.parametrize(
    ("groups", "given", "expected"),
    [
        ([], {}, None),
        (["security.openshift.io"], {}, "openshift"),
        (["security.openshift.io"], {"platform": ""}, None),
        ([], {"platform": "gke"}, "gke"),
    ],
)
def test_platform(
    world: World, options: dict[str, Any], groups: list[str], given: dict[str, Any], expected: str | None
) -> None:
    """OpenShift is found by what it serves, unless another platform or none is named."""
    world.groups = groups
    task = task_of({**options, **given})
    found = installation.Installation(task, MeshOptions.of(task.params), world, {}).wanted
    assert {release.values.get("global", {}).get("platform") for release in found} == {expected}


# -- exposure ----------------------------------------------------------------------------------------------------------


def node_port_service(namespace: str, name: str, port: int) -> dict[str, Any]:
    """A Service that holds a node port."""
    meta = {"name": name, "namespace": namespace}
    spec = {"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


@pytest.mark.parametrize("check_mode", [False, True])
def test_taken_node_port_stops_the_run_before_the_first_write_10795(
    check_mode: bool, world: World, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """istio#10795, istio#45113: also where role istio_helm runs alone, and while other releases could be written."""
    monkeypatch.setattr(world, "list", lambda *_arguments, **_options: [node_port_service("shop", "web", 30010)])
    monkeypatch.setattr(storage, "read", lambda *_arguments: {})
    gateway = {"name": "istio-ingressgateway", "type": "NodePort", "node_ports": {"http2": 30010}}
    with pytest.raises(JobError, match="node port 30010 is in use by Service shop/web"):
        run({**options, "gateways": [gateway]}, check_mode)
    assert world.log == []


def test_provider_is_found_and_used(world: World, options: dict[str, Any]) -> None:
    """The values that helm gets are those of the cluster's provider."""
    world.nodes = [{"spec": {"providerID": "azure:///x"}}]
    gateways = [{"name": "istio-ingressgateway", "internal": True}]
    result = run({**options, "gateways": gateways}, check_mode=True, diff=True)
    after = {entry["before_header"]: entry["after"] for entry in result["diff"]}
    annotations = after["release istio-system/istio-ingressgateway"]["values"]["service"]["annotations"]
    assert annotations == {"service.beta.kubernetes.io/azure-load-balancer-internal": "true"}


# -- what gateways there are -------------------------------------------------------------------------------------------


def a_gateway(name: str, release: str = "", kind: str = "Deployment", revision: str = "") -> dict[str, Any]:
    """What runs a gateway's pods, of a Helm release, as its chart makes it."""
    owner = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": MESH} if release else {}
    labels = {"istio": name.removeprefix("istio-"), **({"istio.io/rev": revision} if revision else {})}
    template = {"metadata": {"labels": labels, "annotations": {"inject.istio.io/templates": "gateway"}}, "spec": {}}
    meta = {"name": name, "namespace": MESH, "labels": labels, "annotations": owner}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": meta,
        "spec": {"template": template},
        **READY["Deployment"],
    }


@pytest.mark.parametrize("check_mode", [False, True])
def test_gateways_of_the_result(world: World, options: dict[str, Any], check_mode: bool) -> None:
    """What they are made of, also before they are there: whoever proves them looks here in check mode."""
    name = "istio-ingressgateway"
    expected = {"namespace": MESH, "name": name, "workload": name, "service": name}
    for _run in range(2):
        (gateway,) = run(options, check_mode)["gateways"]
        assert {key: gateway[key] for key in expected} == expected


def test_gateway_that_is_not_listed_any_more(world: World, options: dict[str, Any]) -> None:
    """It goes on answering, and is named with the way out; those of others are not ours to name."""
    for obj in (
        a_gateway("old", "old"),
        a_gateway("nodes", "nodes", "DaemonSet"),
        a_gateway("istioctls"),
        a_gateway("canary", "canary", revision="canary"),
    ):
        world.objects[identity(obj)] = obj
    result = run(options, check_mode=True)
    assert [(each["code"], each["object"]) for each in result["findings"]] == [
        ("gateway-not-listed", f"Release {MESH}/nodes"),
        ("gateway-not-listed", f"Release {MESH}/old"),
    ]
    assert result["findings"][1]["fix"].endswith(f"helm uninstall old --namespace {MESH}")


def test_run_that_lists_no_gateway_names_none(world: World, options: dict[str, Any]) -> None:
    """Another playbook installs them."""
    obj = a_gateway("old", "old")
    world.objects[identity(obj)] = obj
    given = {**options, "preset": "none", "components": ["istiod"], "gateways": []}
    assert run(given, check_mode=True)["findings"] == []
