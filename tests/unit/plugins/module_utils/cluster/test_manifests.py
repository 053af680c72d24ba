# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in place is not written, what differs is what the server says, and order and reads are as few as can be."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster import manifests
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import FIELD_MANAGER
from ansible_collections.meshops.istio.plugins.module_utils.cluster.manifests import Change, Plan
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import identity
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError


def obj(kind: str, name: str, namespace: str | None = "web", api_version: str = "v1", **more: Any) -> dict[str, Any]:
    """An object as it is wanted."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


def config(name: str, namespace: str = "web", **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return obj("ConfigMap", name, namespace, data=data)


class FakeCluster:
    """Objects by identity. An apply merges ``data`` and adds what a server adds; every call is noted.

    :ivar dict faults: what an apply of an object raises, by its name
    :ivar dict defaults: data that a server would write over what is wanted, by the object's name
    """

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = {identity(one): self.stored(one) for one in objects}
        self.faults: dict[str, ApiError] = {}
        self.defaults: dict[str, dict[str, str]] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.documents: dict[str, Any] = {}

    def request(self, _method: str, path: str) -> dict[str, Any]:
        """What the server publishes."""
        if path not in self.documents:
            raise ApiError(404, "NotFound", "")
        return self.documents[path]

    @staticmethod
    def stored(wanted: dict[str, Any]) -> dict[str, Any]:
        """The object with what a server adds."""
        result = copy.deepcopy(wanted)
        result["metadata"] |= {"uid": "5f0c", "resourceVersion": "7", "creationTimestamp": "2026-11-22T18:50:00Z"}
        return result

    def namespaced(self, wanted: dict[str, Any]) -> bool:
        """As kube.Cluster."""
        return wanted["kind"] not in ("Namespace", "CustomResourceDefinition", "ClusterRole")

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """As kube.Cluster."""
        self.calls.append(("get", kind, namespace, name))
        return self.objects.get((api_version, kind, namespace or "", name))

    def list(self, api_version: str, kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """As kube.Cluster."""
        self.calls.append(("list", kind, namespace))
        return [
            found
            for key, found in self.objects.items()
            if key[:2] == (api_version, kind) and (namespace is None or key[2] == namespace)
        ]

    def apply(
        self, wanted: dict[str, Any], dry_run: bool = False, manager: str = FIELD_MANAGER, strict: bool = False
    ) -> dict[str, Any]:
        """As kube.Cluster."""
        name = wanted["metadata"]["name"]
        self.calls.append(("dry run" if dry_run else "apply", name, manager))
        if name in self.faults:
            raise self.faults[name]
        live = self.objects.get(identity(wanted), {})
        after = self.stored(wanted)
        if "data" in wanted:
            after["data"] = {**live.get("data", {}), **wanted["data"], **self.defaults.get(name, {})}
        if not dry_run:
            self.objects[identity(wanted)] = after
        return after

    def called(self, *verbs: str) -> list[tuple[Any, ...]]:
        """The calls of some verbs."""
        return [call for call in self.calls if call[0] in verbs]


def missing(what: str = "web") -> ApiError:
    """What a server says of an object in a namespace that is not there."""
    return ApiError(404, "NotFound", f'namespaces "{what}" not found')


def forbidden() -> ApiError:
    """What an admission webhook may say."""
    return ApiError(403, "Forbidden", "admission webhook denied the request: no")


def test_namespace_of_what_has_none() -> None:
    """A server takes a ClusterRole with a namespace and leaves that out: it would be created in every run."""
    role = obj("ClusterRole", "a", "web", "rbac.authorization.k8s.io/v1")
    cluster = FakeCluster(obj("ClusterRole", "a", None, "rbac.authorization.k8s.io/v1"))
    assert manifests.plan(cluster, [role]).changes == []
    assert role["metadata"]["namespace"] == "web"


def test_object_without_its_namespace() -> None:
    """No default is guessed at."""
    with pytest.raises(JobError, match=r"^ConfigMap a has no metadata\.namespace\. Set it"):
        manifests.plan(FakeCluster(), [obj("ConfigMap", "a", None)])


@pytest.mark.parametrize(
    "broken",
    [{}, {"kind": "Secret", "apiVersion": "v1", "stringData": {"a": "hunter22"}}, {"metadata": {"name": "a"}}],
)
def test_object_that_is_none(broken: dict[str, Any]) -> None:
    """A document that a template left half empty; what it holds of secrets is not shown."""
    with pytest.raises(JobError, match=r"^An object lacks apiVersion, kind or metadata\.name: \{") as caught:
        manifests.plan(FakeCluster(), [broken])
    assert "hunter22" not in str(caught.value)


def test_one_object_is_got() -> None:
    """A list of all Secrets for the sake of one would be dear."""
    cluster = FakeCluster(config("a", x="1"), config("b", x="1"))
    found = manifests.read(cluster, [config("a"), obj("Namespace", "web", None)])
    assert found == {("v1", "ConfigMap", "web", "a"): cluster.objects["v1", "ConfigMap", "web", "a"]}
    assert sorted(cluster.calls) == [("get", "ConfigMap", "web", "a"), ("get", "Namespace", None, "web")]


def test_several_objects_are_listed_once() -> None:
    """One list for each kind and namespace; what else is in there is left out."""
    cluster = FakeCluster(config("a"), config("b"), config("other"), config("a", "shop"), config("c", "shop"))
    wanted = [config("a"), config("b"), config("missing"), config("a", "shop"), config("b", "shop")]
    found = manifests.read(cluster, wanted)
    assert sorted(key[2:] for key in found) == [("shop", "a"), ("web", "a"), ("web", "b")]
    assert sorted(cluster.calls) == [("list", "ConfigMap", "shop"), ("list", "ConfigMap", "web")]


def test_several_objects_outside_namespaces_are_listed_once() -> None:
    """Without a namespace."""
    cluster = FakeCluster(obj("Namespace", "a", None))
    assert len(manifests.read(cluster, [obj("Namespace", "a", None), obj("Namespace", "b", None)])) == 1
    assert cluster.calls == [("list", "Namespace", None)]


def test_nothing_is_wanted() -> None:
    """Nothing is read."""
    cluster = FakeCluster()
    assert manifests.plan(cluster, []) == Plan([], {})
    assert cluster.calls == []


def test_what_is_in_place_is_not_asked_about() -> None:
    """A run that finds everything as it should be sends reads alone; the live objects come back with the plan."""
    live = config("a", x="1", foreign="2")
    entries = [{"manager": "other", "operation": "Update", "fieldsV1": {"f:data": {"f:foreign": {}}}}]
    live["metadata"]["managedFields"] = entries
    cluster = FakeCluster(live)
    plan = manifests.plan(cluster, [config("a", x="1")])
    assert plan.changes == []
    assert plan.live == cluster.objects
    assert cluster.called("dry run", "apply") == []


@pytest.mark.parametrize("preview", [True, False])
def test_change_is_the_servers_own_word(preview: bool) -> None:
    """An object that is there is dry-run whatever the mode, by the right manager, and nothing is written."""
    cluster = FakeCluster(config("a", x="1", foreign="2"))
    before = copy.deepcopy(cluster.objects)
    plan = manifests.plan(cluster, [config("a", x="3")], manager="m", preview=preview)
    (change,) = plan.changes
    assert change.after["data"] == {"x": "3", "foreign": "2"}
    assert change.before is not None
    assert (change.verb, change.dry_run) == ("changed", True)
    assert plan.names == ["ConfigMap web/a"]
    assert cluster.called("dry run", "apply") == [("dry run", "a", "m")]
    assert cluster.objects == before


def test_dry_run_that_changes_nothing_is_no_change() -> None:
    """A server may know that `500m` is `0.5`; a new resourceVersion is no difference."""
    cluster = FakeCluster(config("a", cpu="500m"))
    cluster.objects["v1", "ConfigMap", "web", "a"]["metadata"]["resourceVersion"] = "6"
    cluster.defaults["a"] = {"cpu": "500m"}
    assert manifests.plan(cluster, [config("a", cpu="0.5")]).changes == []
    assert cluster.called("dry run") == [("dry run", "a", FIELD_MANAGER)]


def test_missing_object_with_a_preview() -> None:
    """Check mode and diffs show what the server would make of it."""
    cluster = FakeCluster()
    cluster.defaults["a"] = {"added": "by the server"}
    (change,) = manifests.plan(cluster, [config("a", x="1")]).changes
    assert (change.verb, change.dry_run, change.before) == ("created", True, None)
    assert change.after["data"] == {"x": "1", "added": "by the server"}


def test_missing_object_without_a_preview() -> None:
    """A run that creates it next need not ask."""
    cluster = FakeCluster()
    wanted = config("a", x="1")
    (change,) = manifests.plan(cluster, [wanted], preview=False).changes
    assert (change.verb, change.dry_run, change.after) == ("created", False, wanted)
    assert cluster.called("dry run", "apply") == []


def test_object_whose_namespace_is_missing_cannot_be_dry_run() -> None:
    """In check mode on an empty cluster: it would be created, as far as anybody can tell."""
    cluster = FakeCluster()
    cluster.faults["a"] = missing()
    wanted = config("a", x="1")
    (change,) = manifests.plan(cluster, [wanted]).changes
    assert (change.verb, change.dry_run, change.after) == ("created", False, wanted)
    assert change.diff()["after_header"] == "ConfigMap web/a (not dry-run: its namespace or kind does not exist yet)"


COMMON: dict[str, Any] = {"apiVersion": {}, "kind": {}, "metadata": {}}
CONFIG_MAP = {
    "type": "object",
    "properties": {"data": {"type": "object", "additionalProperties": {"type": "string"}}, **COMMON},
    "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "ConfigMap"}],
}


def publishing(*faults: str) -> FakeCluster:
    """A server that knows ConfigMaps, and no namespace of some of them."""
    cluster = FakeCluster()
    cluster.documents = {
        "/openapi/v3": {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=1"}}},
        "/openapi/v3/api/v1": {"components": {"schemas": {"io.k8s.api.core.v1.ConfigMap": CONFIG_MAP}}},
    }
    cluster.faults = dict.fromkeys(faults, missing())
    return cluster


def test_what_cannot_be_dry_run_is_held_against_the_schema() -> None:
    """And says so."""
    wanted = {name: value for name, value in config("a", x="1").items() if name in ("kind", "metadata", "data")}
    (change,) = manifests.plan(publishing("a"), [{"apiVersion": "v1", **wanted}]).changes
    assert change.diff()["after_header"].startswith("ConfigMap web/a (validated locally, not dry-run: ")


def test_what_its_schema_refuses() -> None:
    """In check mode as in the run that follows, and all of it at once; a run that creates it next leaves it to the
    server.
    """
    wanted = [{**config(name), "data": {"x": 1}, "spec": 2} for name in "ab"]
    with pytest.raises(JobError) as caught:
        manifests.plan(publishing("a", "b"), wanted)
    for name in "ab":
        assert f"ConfigMap web/{name}: data.x is 1, not a string" in str(caught.value)
    assert "Correct the manifest or the chart value" in str(caught.value)
    assert len(manifests.plan(publishing("a", "b"), wanted, preview=False).changes) == 2


def definition(description: str = "") -> dict[str, Any]:
    """A definition with a schema."""
    schema = {"openAPIV3Schema": {"type": "object", "description": description}}
    versions = [{"name": "v1", "served": True, "schema": schema}, {"name": "v2", "served": False}]
    crd = obj("CustomResourceDefinition", "demos.example.com", None, "apiextensions.k8s.io/v1")
    return {**crd, "spec": {"group": "example.com", "versions": versions}}


def test_schemas_of_a_new_definition_are_not_shown() -> None:
    """They are nine tenths of 54,000 lines, in which nobody would find the rest; their size is told."""
    after = manifests.Change(definition(), None, definition("x" * 900)).diff()["after"]
    assert [each.get("schema") for each in after["spec"]["versions"]] == ["<958 characters>", None]
    assert after["spec"]["versions"][0]["served"] is True
    gone = manifests.Change(definition(), definition(), None).diff()["before"]
    assert gone["spec"]["versions"][0]["schema"] == "<58 characters>"


def test_schemas_of_a_definition_that_changes_are_shown() -> None:
    """What differs in them is the change."""
    diff = manifests.Change(definition("new"), definition("old"), definition("new")).diff()
    shown = [diff[side]["spec"]["versions"][0]["schema"] for side in ("before", "after")]
    assert [each["openAPIV3Schema"]["description"] for each in shown] == ["old", "new"]


@pytest.mark.parametrize("there", [True, False])
def test_refusal_in_a_dry_run_names_the_object(there: bool) -> None:
    """And says why."""
    cluster = FakeCluster(*([config("a", x="1")] if there else []))
    cluster.faults["a"] = forbidden()
    with pytest.raises(JobError) as caught:
        manifests.plan(cluster, [config("b"), config("a", x="2")])
    assert str(caught.value) == (
        "ConfigMap web/a was rejected by the API server: admission webhook denied the request: no. Correct what the "
        "API server reports, and run again."
    )


def test_object_that_vanished_before_its_dry_run_is_a_fault() -> None:
    """404 says that a namespace is missing only where the object is."""
    cluster = FakeCluster(config("a", x="1"))
    cluster.faults["a"] = missing()
    with pytest.raises(JobError, match=r'ConfigMap web/a was rejected.*namespaces "web" not found'):
        manifests.plan(cluster, [config("a", x="2")])


def test_refusal_without_a_message() -> None:
    """The reason is better than nothing."""
    error = manifests.refused(obj("Namespace", "web", None), ApiError(409, "Conflict", ""))
    assert error.condition == "Namespace web was rejected by the API server: Conflict."


def test_changes_keep_the_order_of_what_is_wanted() -> None:
    """However the dry runs end."""
    wanted = [config(name) for name in "cadbe"]
    assert manifests.plan(FakeCluster(), wanted).names == [f"ConfigMap web/{name}" for name in "cadbe"]


KINDS = ("Namespace", "CustomResourceDefinition", "ServiceAccount", "ConfigMap", "Secret", "Deployment", "Gateway")


@pytest.mark.parametrize("kinds", [KINDS, KINDS[::-1]])
def test_what_others_live_in_is_applied_first(kinds: tuple[str, ...]) -> None:
    """Namespaces and definitions, then what pods mount, then the rest, in whatever order they are wanted."""
    cluster = FakeCluster()
    changes = [Change(one, None, one) for one in (obj(kind, kind.lower()) for kind in kinds)]
    manifests.apply(cluster, changes, manager="m")
    applied = [name for _verb, name, _manager in cluster.called("apply")]
    assert applied[:5] == [kind.lower() for kind in KINDS[:5]]
    assert sorted(applied[5:]) == ["deployment", "gateway"]
    assert {manager for _verb, _name, manager in cluster.calls} == {"m"}


def test_apply_keeps_what_the_server_stored() -> None:
    """The result of a run is what is there now, not what was foreseen."""
    cluster = FakeCluster()
    change = Change(config("a", x="1"), None, config("a", x="1"), dry_run=False)
    manifests.apply(cluster, [change])
    assert change.after == cluster.objects["v1", "ConfigMap", "web", "a"]
    assert change.after["metadata"]["uid"]


def test_refused_namespace_ends_the_apply() -> None:
    """What would live in it is not tried; the message names the namespace."""
    cluster = FakeCluster()
    cluster.faults["web"] = forbidden()
    changes = [Change(one, None, one) for one in (config("a"), obj("Namespace", "web", None))]
    with pytest.raises(JobError, match=r"^Namespace web was rejected by the API server: admission webhook"):
        manifests.apply(cluster, changes)
    assert cluster.called("apply") == [("apply", "web", FIELD_MANAGER)]


def test_second_run_changes_nothing() -> None:
    """Apply, then plan: there is nothing left to do."""
    cluster = FakeCluster()
    wanted = [obj("Namespace", "web", None), *(config(name, x="1") for name in "abc")]
    manifests.apply(cluster, manifests.plan(cluster, wanted, preview=False).changes)
    before = len(cluster.called("dry run", "apply"))
    assert manifests.plan(cluster, wanted).changes == []
    assert len(cluster.called("dry run", "apply")) == before == 4


@pytest.mark.parametrize(("there", "dry_run"), list(itertools.product([True, False], repeat=2)))
def test_diff(there: bool, dry_run: bool) -> None:
    """Before and after without what the server keeps for itself; a guess says that it is one."""
    before, after = (FakeCluster.stored(config("a", x=value)) for value in ("1", "2"))
    diff = Change(config("a", x="2"), before if there else None, after, dry_run).diff()
    assert diff["before"] == (config("a", x="1") if there else "")
    assert diff["after"] == config("a", x="2")
    assert diff["before_header"] == "ConfigMap web/a"
    assert ("not dry-run" in diff["after_header"]) is not dry_run
