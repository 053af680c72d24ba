# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions are applied as Helm's own, only where they differ, and waited for until they are served."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, identity
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.jobs import crds
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

VERSION = "1.31.0"
NAMES = ["gateways.networking.istio.io", "virtualservices.networking.istio.io"]
RENDERED = "".join(
    f"---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
    f"metadata: {{name: {name}, labels: {{app: istio-pilot}}}}\nspec: {{group: networking.istio.io}}\n"
    for name in reversed(NAMES)
)
SERVED = {"conditions": [{"type": "Established", "status": "True"}]}


class World:
    """Cluster, helm and waiter in one."""

    def __init__(self) -> None:
        self.objects: dict[Identity, dict[str, Any]] = {}
        self.log: list[str] = []
        self.values: dict[str, Any] = {}
        self.beside = ""
        self.text = RENDERED + "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: x}\n"

    version_of_server = "v1.37.2"

    def template(
        self, name: str, namespace: str, chart: Path, values: dict[str, Any], kube_version: str, include_crds: bool
    ) -> str:
        """Helm; `beside` is the chart's crds directory."""
        assert (name, chart.name, kube_version) == ("istio-base", "base", "v1.37.2")
        self.log.append(f"render for {namespace}")
        self.values = values
        return self.text + (self.beside if include_crds else "")

    def list(self, _api_version: str, kind: str, _namespace: None) -> list[dict[str, Any]]:
        """All definitions."""
        self.log.append(f"list {kind}")
        return list(self.objects.values())

    def namespaced(self, _obj: dict[str, Any]) -> bool:
        """They have none."""
        return False

    def apply(
        self, obj: dict[str, Any], dry_run: bool = False, manager: str = "", strict: bool = False
    ) -> dict[str, Any]:
        """Store, as Helm's own manager."""
        assert manager == "helm"
        self.log.append(f"{'dry run' if dry_run else 'apply'} {obj['metadata']['name']}")
        if not dry_run:
            self.objects[identity(obj)] = {**obj, "status": SERVED}
        return obj


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """An empty cluster."""
    found = World()
    helm = type("Helm", (), {"version": "4.3.1", "template": staticmethod(found.template)})
    found.version = lambda: {"gitVersion": found.version_of_server}  # type: ignore[attr-defined]

    class Waiter:
        """Takes note."""

        def __init__(self, _cluster: World, timeout: float, _say: Any) -> None:
            self.timeout = timeout

        def wait(self, keys: list[Identity]) -> None:
            found.log.append(f"wait {self.timeout} s for " + ", ".join(sorted(key[3] for key in keys)))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(crds, "Helm", lambda _binary: helm())
    monkeypatch.setattr(crds, "Cluster", lambda _params: found)
    monkeypatch.setattr(crds, "Waiter", Waiter)
    (tmp_path / "charts/base").mkdir(parents=True)
    (tmp_path / "charts/base/Chart.yaml").write_text(f"version: {VERSION}\n")
    return found


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """What the user gives."""
    return {"chart_version": VERSION, "chart_repository": str(tmp_path / "charts")}


def run(options: dict[str, Any], check_mode: bool = False, diff: bool = False) -> dict[str, Any]:
    """Run the job as Ansible would."""
    validated = ArgumentSpecValidator(copy.deepcopy(crds.ARGUMENT_SPEC)).validate(options)
    assert not validated.error_messages
    return crds.run(Task(validated.validated_parameters, check_mode, diff))


def test_chart_that_is_not_verified(world: World, options: dict[str, Any]) -> None:
    """Nothing is read, and nothing rendered."""
    with pytest.raises(JobError, match="neither its digest nor its provenance can be verified"):
        run({**options, "chart_digests": {"base": "0" * 64}})
    assert world.log == []


def test_options_that_contradict_each_other(world: World, options: dict[str, Any]) -> None:
    """What istio_helm would stop at stops here, before anything is read: it is the same mesh."""
    with pytest.raises(JobError, match="values: unknown component bse"):
        run({**options, "values": {"bse": {"global": {"a": 1}}}})
    assert world.log == []


def test_definitions_are_helms_own_43204() -> None:
    """istio#43204: without label and annotations, helm refuses to adopt them; what the chart has of each stays."""
    crd = {
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "x", "labels": {"app": "istio-pilot"}, "annotations": {"helm.sh/resource-policy": "keep"}},
        "spec": {"a": 1},
    }
    before = copy.deepcopy(crd)
    assert crds.owned_by_helm(crd, "istio-base", "mesh") == {
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "x",
            "labels": {"app": "istio-pilot", "app.kubernetes.io/managed-by": "Helm"},
            "annotations": {
                "helm.sh/resource-policy": "keep",
                "meta.helm.sh/release-name": "istio-base",
                "meta.helm.sh/release-namespace": "mesh",
            },
        },
        "spec": {"a": 1},
    }
    assert crd == before
    assert crds.owned_by_helm({"metadata": {"name": "x", "labels": None}}, "a", "b")["metadata"]["labels"]


def test_first_run_59630(world: World, options: dict[str, Any]) -> None:
    """istio#59630: applied under Helm's own manager, so that no conflict meets helm; then waited for."""
    result = run({**options, "namespace": "mesh", "values": {"base": {"global": {"a": 1}}}, "wait_timeout": 60})
    assert sorted(result.pop("planned")) == sorted(result["objects"])
    assert result == {
        "changed": True,
        "crds": NAMES,
        "objects": [f"CustomResourceDefinition {name}" for name in reversed(NAMES)],
        "chart_version": VERSION,
    }
    assert world.log[:2] == ["render for mesh", "list CustomResourceDefinition"]
    assert sorted(world.log[2:4]) == [f"apply {name}" for name in NAMES]
    assert world.log[4:] == [f"wait 60 s for {', '.join(NAMES)}"]
    assert world.values == {"global": {"istioNamespace": "mesh", "a": 1}}
    stored = world.objects["apiextensions.k8s.io/v1", "CustomResourceDefinition", "", NAMES[0]]
    assert stored["metadata"]["annotations"]["meta.helm.sh/release-namespace"] == "mesh"


def test_second_run_only_reads(world: World, options: dict[str, Any]) -> None:
    """One list; no rendering either."""
    run(options)
    world.log.clear()
    result = run(options, diff=True)
    assert (result["changed"], result["objects"], result["diff"]) == (False, [], [])
    assert world.log == ["list CustomResourceDefinition"]


def test_definition_that_is_not_served(world: World, options: dict[str, Any]) -> None:
    """Nothing to write, and something to wait for."""
    run(options)
    world.objects["apiextensions.k8s.io/v1", "CustomResourceDefinition", "", NAMES[1]]["status"] = {}
    world.log.clear()
    assert run(options)["changed"] is False
    assert world.log == ["list CustomResourceDefinition", f"wait 120 s for {NAMES[1]}"]
    world.log.clear()
    run(options, check_mode=True)
    assert world.log == ["list CustomResourceDefinition"]


def test_check_mode(world: World, options: dict[str, Any]) -> None:
    """The server is asked for a dry run, and nothing is waited for."""
    result = run(options, check_mode=True, diff=True)
    assert result["changed"] is True
    assert [change["before"] for change in result["diff"]] == ["", ""]
    assert sorted(world.log[2:]) == [f"dry run {name}" for name in NAMES]
    assert world.objects == {}


def test_chart_without_definitions(world: World, options: dict[str, Any]) -> None:
    """The message says which values do that."""
    world.text = "kind: ServiceAccount\n"
    with pytest.raises(JobError, match=r"renders no CustomResourceDefinition with these values.*resourceScope"):
        run(options)


def test_definitions_beside_the_release(world: World, options: dict[str, Any]) -> None:
    """Older charts have them in their crds directory: Helm owns none of those, and takes marks of ownership off."""
    world.text, world.beside = "kind: ServiceAccount\n", RENDERED
    assert run(options)["crds"] == NAMES
    applied = [obj["metadata"] for obj in world.objects.values()]
    assert sorted(meta["name"] for meta in applied) == NAMES
    assert all(meta["labels"] == {"app": "istio-pilot"} and "annotations" not in meta for meta in applied)
    assert run(options)["changed"] is False
