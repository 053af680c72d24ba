# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A preview tells what helm does: by which kind of write, with what it stops at, without what controllers own."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_managers import Conflict
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import identity
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm.storage import Stored
from ansible_collections.meshops.istio.plugins.module_utils.releases.preview import Upgrade, drifted, preview, set_back

WEBHOOK = 'k:{"name":"a.istio.io"}'


def obj(kind: str, name: str, namespace: str = "mesh", api_version: str = "v1", **more: Any) -> dict[str, Any]:
    """An object as helm writes it."""
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **more}


def config(name: str, **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return obj("ConfigMap", name, data=data)


def held(found: dict[str, Any], *entries: tuple[str, str, dict[str, Any]], **metadata: Any) -> dict[str, Any]:
    """An object as it is stored, with who holds what."""
    result = copy.deepcopy(found)
    result["metadata"] |= {
        "uid": "5f0c",
        "resourceVersion": "7",
        "managedFields": [
            {"manager": manager, "operation": operation, "apiVersion": found["apiVersion"], "fieldsV1": fields}
            for manager, operation, fields in entries
        ],
        **metadata,
    }
    return result


class FakeCluster:
    """Objects by identity. A dry run of an apply merges ``data`` and takes the rest as it is wanted.

    :ivar dict causes: conflicts of an object by its name: an apply without force is refused for them
    :ivar dict faults: what every dry run of an object raises
    :ivar dict documents: what the API server publishes
    """

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = {identity(one): one for one in objects}
        self.causes: dict[str, list[tuple[str, str]]] = {}
        self.faults: dict[str, ApiError] = {}
        self.documents: dict[str, Any] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.announced: list[str] = []

    def announce(self, definitions: Iterable[dict[str, Any]]) -> None:
        """As kube.Cluster."""
        self.announced += [definition["metadata"]["name"] for definition in definitions]

    def resource(self, api_version: str, kind: str) -> Any:
        """As kube.Cluster."""
        if kind == "Gone":
            raise JobError("The cluster does not serve kind Gone.")
        return kind, True

    def namespaced(self, wanted: dict[str, Any]) -> bool:
        """As kube.Cluster."""
        return "namespace" in wanted["metadata"]

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """As kube.Cluster."""
        self.calls.append(("get", kind, name))
        return self.objects.get((api_version, kind, namespace or "", name))

    def list(self, api_version: str, kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """As kube.Cluster."""
        self.calls.append(("list", kind))
        return [found for key, found in self.objects.items() if key[:3] == (api_version, kind, namespace or "")]

    def apply(
        self, wanted: dict[str, Any], dry_run: bool, manager: str, strict: bool, force: bool = True
    ) -> dict[str, Any]:
        """As kube.Cluster."""
        assert (dry_run, manager, strict) == (True, "helm", True)
        name = wanted["metadata"]["name"]
        self.calls.append(("apply", name, "force" if force else "ask"))
        if name in self.faults:
            raise self.faults[name]
        if name in self.causes and not force:
            causes = [
                {"reason": "FieldManagerConflict", "message": message, "field": field}
                for message, field in self.causes[name]
            ]
            raise ApiError(409, "Conflict", "Apply failed", {"causes": causes})
        live = self.objects.get(identity(wanted), {})
        result = {**copy.deepcopy(live), **copy.deepcopy(wanted)}
        if "data" in wanted:
            result["data"] = {**live.get("data", {}), **wanted["data"]}
        return result

    def create(self, wanted: dict[str, Any], dry_run: bool) -> dict[str, Any]:
        """As kube.Cluster."""
        assert dry_run
        self.calls.append(("create", wanted["metadata"]["name"]))
        return copy.deepcopy(wanted)

    def patch(
        self, found: dict[str, Any], patch: dict[str, Any], manager: str, dry_run: bool = False
    ) -> dict[str, Any]:
        """As kube.Cluster, one level deep."""
        assert manager == "helm"
        self.calls.append(("patch", found["metadata"]["name"], patch))
        result = copy.deepcopy(found)
        for field, value in patch.items():
            result[field] = {key: one for key, one in {**result.get(field, {}), **value}.items() if one is not None}
        return result

    def request(self, method: str, path: str) -> Any:
        """As kube.Cluster."""
        self.calls.append((method, path))
        if path not in self.documents:
            raise ApiError(404, "NotFound", "no")
        return self.documents[path]

    @property
    def asked(self) -> list[tuple[Any, ...]]:
        """Everything but reads of objects."""
        return [call for call in self.calls if call[0] not in ("get", "list")]


def verbs(found: Any) -> list[tuple[str, str]]:
    """What changes, in a word each."""
    return sorted((change.verb, change.wanted["metadata"]["name"]) for change in found.changes)


DATA = {"f:data": {"f:a": {}}}


def test_created_changed_deleted_and_kept() -> None:
    """Each as helm does it; what is in place costs no dry run, and each kind is read once."""
    keep = {"annotations": {"helm.sh/resource-policy": "keep"}}
    cluster = FakeCluster(
        held(config("same", a="1"), ("helm", "Apply", DATA)),
        held(config("other", a="1"), ("helm", "Apply", DATA)),
        held(config("gone", a="1"), ("helm", "Apply", DATA)),
        held(config("kept", a="1"), ("helm", "Apply", DATA), **keep),
        held(config("dying", a="1"), ("helm", "Apply", DATA), deletionTimestamp="2026-11-22T18:50:00Z"),
        held(config("bystander", a="1")),
    )
    names = ("same", "other", "gone", "kept", "dying", "gone-already")
    before = [config(name, a="1") for name in names] + [obj("Gone", "x")]
    found = preview(cluster, before, [config("same", a="1"), config("other", a="2"), config("new", a="1")])  # type: ignore[arg-type]
    assert verbs(found) == [("changed", "other"), ("created", "new"), ("deleted", "gone")]
    assert found.conflicts == []
    assert cluster.calls[0] == ("list", "ConfigMap")
    assert sorted(cluster.calls[1:]) == [("apply", "new", "force"), ("apply", "other", "ask")]
    deletion = next(change for change in found.changes if change.verb == "deleted")
    assert deletion.diff() == {
        "before": config("gone", a="1"),
        "after": "",
        "before_header": "ConfigMap mesh/gone",
        "after_header": "ConfigMap mesh/gone",
    }


def test_after_an_upgrade_that_went_wrong() -> None:
    """Nobody knows which objects it has written: none is in place because it is wanted as it was before."""
    live = held({**config("a"), "data": {"a": "of the other revision"}}, ("helm", "Apply", {"f:data": {}}))
    before = wanted = config("a", a="1")
    for status, expected in (("deployed", []), ("failed", ["a"]), ("pending-upgrade", ["a"])):
        how = Upgrade.of(4, Stored("a", "b", 2, status, apply_method="ssa"))
        found = preview(FakeCluster(live), [before], [wanted], how)  # type: ignore[arg-type]
        assert [change.wanted["metadata"]["name"] for change in found.changes] == expected


def test_objects_that_were_read_already() -> None:
    """A job reads those of all releases at once."""
    live = held(config("a", a="1"), ("helm", "Apply", DATA))
    cluster = FakeCluster()
    found = preview(cluster, [config("a", a="1")], [], live={identity(live): live})  # type: ignore[arg-type]
    assert verbs(found) == [("deleted", "a")]
    assert drifted(cluster, [config("a", a="1")], {identity(live): live}) == []  # type: ignore[arg-type]
    assert cluster.calls == []


def test_object_in_a_newer_version_of_its_api() -> None:
    """It is the same object: helm deletes nothing."""
    before = obj("PodDisruptionBudget", "istiod", api_version="policy/v1beta1")
    wanted = obj("PodDisruptionBudget", "istiod", api_version="policy/v1")
    assert verbs(preview(FakeCluster(held(wanted)), [before], [wanted])) == []  # type: ignore[arg-type]


def test_conflict_59630() -> None:
    """istio#59630: helm 4 stops at what istioctl applied; adoption ends that, and what the chart lacks goes."""
    fields = {"f:data": {"f:a": {}, "f:old": {}}}
    live = held(config("a", a="1", old="x"), ("istio-operator", "Apply", fields))
    cluster = FakeCluster(live)
    cluster.causes["a"] = [('conflict with "istio-operator"', ".data.a")]
    found = preview(cluster, [], [config("a", a="2")])  # type: ignore[arg-type]
    assert found.conflicts == [Conflict("ConfigMap mesh/a", ".data.a", "istio-operator", "Apply")]
    assert found.changes[0].after["data"] == {"a": "2", "old": "x"}  # type: ignore[index]
    adopting = preview(cluster, [], [config("a", a="2")], Upgrade(adopt=True))  # type: ignore[arg-type]
    assert adopting.conflicts == []
    assert adopting.changes[0].after["data"] == {"a": "2"}  # type: ignore[index]
    assert cluster.calls[-1] == ("patch", "a", {"data": {"a": "2", "old": None}})


def test_adoption_of_an_object_that_is_as_wanted() -> None:
    """But for what the chart does not have."""
    fields = {"f:data": {"f:a": {}, "f:old": {}}}
    live = held(config("a", a="1", old="x"), ("kubectl-client-side-apply", "Update", fields))
    assert verbs(preview(FakeCluster(live), [], [config("a", a="1")])) == []  # type: ignore[arg-type]
    adopting = preview(FakeCluster(live), [], [config("a", a="1")], Upgrade(adopt=True))  # type: ignore[arg-type]
    assert verbs(adopting) == [("changed", "a")]


def test_helm_4_hands_over_what_helm_3_updated() -> None:
    """When it installs over objects that are its own."""
    fields = {"f:data": {"f:a": {}, "f:old": {}}}
    live = held(config("a", a="1", old="x"), ("helm", "Update", fields))
    cluster = FakeCluster(live)
    cluster.causes["a"] = [('conflict with "helm" using v1', ".data.a")]
    found = preview(cluster, [], [config("a", a="2")], Upgrade.of(4, None))  # type: ignore[arg-type]
    assert found.conflicts == []
    assert found.changes[0].after["data"] == {"a": "2"}  # type: ignore[index]


def configuration(kind: str, policy: str | None = None, selector: Any = None, bundle: str = "") -> dict[str, Any]:
    """A webhook configuration."""
    webhook: dict[str, Any] = {"name": "a.istio.io", "clientConfig": {"caBundle": bundle} if bundle else {}}
    webhook |= {"failurePolicy": policy} if policy else {}
    webhook |= {"namespaceSelector": selector} if selector else {}
    return obj(kind, "istiod", "", "admissionregistration.k8s.io/v1", webhooks=[webhook])


def fields(**webhook: Any) -> dict[str, Any]:
    """A set of one webhook's fields."""
    return {"f:webhooks": {WEBHOOK: {f"f:{name}": below for name, below in webhook.items()}}}


ISTIOD = ("pilot-discovery", "Update", fields(clientConfig={"f:caBundle": {}}, failurePolicy={}))


@pytest.mark.parametrize("policy", ["Ignore", None])
def test_validator_that_istiod_has_closed_57643_25447(policy: str | None) -> None:
    """istio#57643, argo-cd#25447: no change, no drift, and no dry run."""
    wanted = configuration("ValidatingWebhookConfiguration", policy)
    live = held(configuration("ValidatingWebhookConfiguration", "Fail", bundle="QUJD"), ISTIOD)
    cluster = FakeCluster(live)
    assert verbs(preview(cluster, [wanted], [wanted])) == []  # type: ignore[arg-type]
    assert drifted(cluster, [wanted]) == []  # type: ignore[arg-type]
    assert cluster.asked == []


def test_validator_that_istiod_has_closed_59367() -> None:
    """istio#59367: nothing comes of it, yet helm 4 stops at it when it installs; the field may be taken over."""
    wanted = configuration("ValidatingWebhookConfiguration", "Ignore")
    live = held(configuration("ValidatingWebhookConfiguration", "Fail", bundle="QUJD"), ISTIOD)
    found = preview(FakeCluster(live), [], [wanted])  # type: ignore[arg-type]
    assert [(conflict.field, conflict.manager) for conflict in found.conflicts] == [
        ('.webhooks[name="a.istio.io"].failurePolicy', "pilot-discovery")
    ]
    assert found.conflicts[0].controller == "istiod closes its validators again when it is ready"
    assert found.changes == []


def test_selector_that_aks_has_widened_60497() -> None:
    """istio#60497: in a release that changes otherwise, helm 4 stops at every webhook of it."""
    expression = {"key": "istio-injection", "operator": "Exists"}
    selector = {"matchExpressions": [expression, {"key": "kubernetes.azure.com/managedby", "operator": "NotIn"}]}
    wanted = configuration("MutatingWebhookConfiguration", selector={"matchExpressions": [expression]})
    live = held(
        configuration("MutatingWebhookConfiguration", selector=selector),
        ("admissionsenforcer", "Update", fields(namespaceSelector={})),
    )
    cluster = FakeCluster(live)
    found = preview(cluster, [wanted], [wanted])  # type: ignore[arg-type]
    assert found.changes == []
    assert [(conflict.manager, bool(conflict.controller)) for conflict in found.conflicts] == [
        ("admissionsenforcer", True)
    ]
    assert cluster.asked == []
    assert drifted(cluster, [wanted]) == []  # type: ignore[arg-type]


def test_a_conflict_is_told_once() -> None:
    """The API server names it, too, where something else of the object differs."""
    wanted = configuration("ValidatingWebhookConfiguration", "Ignore")
    wanted["metadata"]["labels"] = {"a": "b"}
    cluster = FakeCluster(held(configuration("ValidatingWebhookConfiguration", "Fail", bundle="QUJD"), ISTIOD))
    field = '.webhooks[name="a.istio.io"].failurePolicy'
    cluster.causes["istiod"] = [
        ('conflict with "pilot-discovery" using admissionregistration.k8s.io/v1 at 2026-11-22T18:50:00Z', field),
        ('conflict with "me" using v1', ".metadata.labels.a"),
    ]
    found = preview(cluster, [], [wanted])  # type: ignore[arg-type]
    assert [(each.field, each.manager, bool(each.controller)) for each in found.conflicts] == [
        (field, "pilot-discovery", True),
        (".metadata.labels.a", "me", False),
    ]
    diff = found.changes[0].diff()
    assert "failurePolicy" not in str(diff)
    assert "QUJD" not in str(diff)


def autoscaler() -> dict[str, Any]:
    """One of istiod's Deployment."""
    target = {"kind": "Deployment", "name": "istiod"}
    return obj("HorizontalPodAutoscaler", "istiod", api_version="autoscaling/v2", spec={"scaleTargetRef": target})


def deployment(replicas: int) -> dict[str, Any]:
    """Istiod's."""
    return obj("Deployment", "istiod", api_version="apps/v1", spec={"replicas": replicas})


def test_replicas_of_an_autoscaler_count_when_it_goes() -> None:
    """As long as it is there, it scales again."""
    scaled = held(deployment(3), ("kube-controller-manager", "Update", {"f:spec": {"f:replicas": {}}}))
    scaled["metadata"]["managedFields"][0]["subresource"] = "scale"
    cluster = FakeCluster(scaled, held(autoscaler()))
    before = [deployment(1), autoscaler()]
    assert verbs(preview(cluster, before, before)) == []  # type: ignore[arg-type]
    found = preview(cluster, before, [deployment(1)])  # type: ignore[arg-type]
    assert [change.verb for change in found.changes] == ["changed", "deleted"]


def test_service_that_is_given_an_address() -> None:
    """The next dry run is given another."""
    wanted = obj("Service", "edge", spec={"ports": [{"port": 80}]})
    cluster = FakeCluster()
    cluster.apply = lambda *_a, **_k: {  # type: ignore[method-assign]
        **wanted,
        "spec": {"clusterIP": "10.0.0.7", "ports": [{"port": 80, "nodePort": 31234}], "type": "NodePort"},
    }
    found = preview(cluster, [], [wanted])  # type: ignore[arg-type]
    assert found.changes[0].after["spec"] == {"ports": [{"port": 80}], "type": "NodePort"}  # type: ignore[index]


# -- what cannot be dry-run --------------------------------------------------------------------------------------------

CRD = obj(
    "CustomResourceDefinition",
    "demos.example.com",
    "",
    "apiextensions.k8s.io/v1",
    spec={
        "group": "example.com",
        "names": {"kind": "Demo", "plural": "demos"},
        "versions": [
            {
                "name": "v1",
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}},
                    }
                },
            }
        ],
    },
)


def missing(*names: str) -> dict[str, ApiError]:
    """What the server says of objects in a namespace, or of a kind, that is not there."""
    return {name: ApiError(404, "NotFound", "the server could not find the requested resource") for name in names}


def demo(**spec: Any) -> dict[str, Any]:
    """An object of that kind."""
    return obj("Demo", "d", api_version="example.com/v1", spec=spec)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_kind_of_the_same_set_is_validated_locally(elsewhere: bool) -> None:
    """Or of another release's; nothing is fetched for that."""
    cluster = FakeCluster()
    cluster.faults = missing("d")
    sets = ([demo(a="x")], [CRD]) if elsewhere else ([CRD, demo(a="x")], [])
    found = preview(cluster, [], sets[0], definitions=sets[1])  # type: ignore[arg-type]
    change = next(change for change in found.changes if change.wanted["kind"] == "Demo")
    assert (change.verb, change.dry_run, change.validated) == ("created", False, True)
    mark = "(validated locally, not dry-run: its namespace or kind does not exist yet)"
    assert change.diff()["after_header"] == f"Demo mesh/d {mark}"
    assert cluster.announced == ["demos.example.com"]
    assert not [call for call in cluster.calls if call[0] == "GET"]


def test_what_its_schema_refuses() -> None:
    """All faults at once, each with its object and field."""
    cluster = FakeCluster()
    cluster.faults = missing("d")
    with pytest.raises(JobError) as caught:
        preview(cluster, [], [CRD, demo(a=1, b=2)])  # type: ignore[arg-type]
    assert str(caught.value) == (
        'Schema validation failed: Demo mesh/d: spec.a is 1, not a string; Demo mesh/d: unknown field "spec.b". '
        "Correct the manifest or the chart value that it comes from."
    )


def test_namespace_that_is_not_there_yet() -> None:
    """Then the API server's own schemas are asked for."""
    cluster = FakeCluster()
    cluster.faults = missing("a")
    schema = {"x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "ConfigMap"}]}
    cluster.documents = {
        "/openapi/v3": {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=1"}}},
        "/openapi/v3/api/v1": {"components": {"schemas": {"io.k8s.api.core.v1.ConfigMap": schema}}},
    }
    found = preview(cluster, [], [config("a")])  # type: ignore[arg-type]
    assert [change.validated for change in found.changes] == [True]


def test_server_that_publishes_nothing() -> None:
    """What was not validated does not say that it was."""
    cluster = FakeCluster()
    cluster.faults = missing("a")
    found = preview(cluster, [], [config("a")])  # type: ignore[arg-type]
    mark = "(not dry-run: its namespace or kind does not exist yet)"
    assert found.changes[0].diff()["after_header"] == f"ConfigMap mesh/a {mark}"


def test_webhook_that_takes_no_dry_run() -> None:
    """No reason to fail: the write may succeed."""
    cluster = FakeCluster()
    cluster.faults["a"] = ApiError(400, "BadRequest", 'admission webhook "x" does not support dry run')
    found = preview(cluster, [], [config("a")])  # type: ignore[arg-type]
    mark = "(not dry-run: an admission webhook does not support dry run)"
    assert found.changes[0].diff()["after_header"] == f"ConfigMap mesh/a {mark}"
    assert cluster.asked == [("apply", "a", "force")]


def test_refusal_names_the_object() -> None:
    """What helm would fail with in the middle of a release."""
    cluster = FakeCluster(held(config("a", a="1")))
    cluster.faults["a"] = ApiError(409, "Conflict", "Operation cannot be fulfilled on resourcequotas")
    with pytest.raises(JobError, match=r"^ConfigMap mesh/a was rejected by the API server: Operation cannot"):
        preview(cluster, [], [config("a", a="2")])  # type: ignore[arg-type]


# -- as Helm 3 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("major", "method", "server_side", "hands_over"),
    [
        (4, None, True, True),
        (4, "ssa", True, False),
        (4, "csa", False, False),
        (4, "", False, False),
        (3, None, False, False),
        (3, "ssa", False, False),
    ],
)
def test_how_helm_writes(major: int, method: str | None, server_side: bool, hands_over: bool) -> None:
    """Helm 4 goes on as Helm 3 began."""
    stored = None if method is None else Stored("a", "b", 1, "deployed", apply_method=method)
    assert Upgrade.of(major, stored, adopt=True) == Upgrade(server_side, hands_over, adopt=True)


def test_release_that_was_uninstalled_is_installed() -> None:
    """Where its history was kept."""
    assert Upgrade.of(4, Stored("a", "b", 1, "uninstalled")) == Upgrade(True, hands_over=True)


def test_helm_3_merges() -> None:
    """What the manifest had goes, what others have stays, and nobody is in conflict."""
    live = held(config("a", a="1", old="x", foreign="y"), ("kubectl-edit", "Update", DATA))
    cluster = FakeCluster(live, held(config("same", a="1")))
    before = [config("a", a="1", old="x"), config("same", a="1")]
    wanted = [config("a", a="2"), config("same", a="1"), config("new")]
    found = preview(cluster, before, wanted, Upgrade(server_side=False))  # type: ignore[arg-type]
    assert verbs(found) == [("changed", "a"), ("created", "new")]
    assert found.conflicts == []
    after = next(change.after for change in found.changes if change.verb == "changed")
    assert after is not None
    assert after["data"] == {"a": "2", "foreign": "y"}
    assert sorted(cluster.asked) == [("create", "new"), ("patch", "a", {"data": {"a": "2", "old": None}})]


def service(**selector: str) -> dict[str, Any]:
    """A Service, whose selector is held in one piece."""
    return obj("Service", "web", spec={"selector": selector})


def test_helm_3_leaves_what_is_then_set_back() -> None:
    """A merge keeps a key that somebody has added to a selector: told as changed, it would be so in each run."""
    live = held(service(app="web", more="x"), ("helm", "Update", {}), ("kubectl-patch", "Update", SELECTOR))
    wanted, stored = service(app="web"), Stored("a", "b", 1, "deployed", apply_method="csa")
    merges = preview(FakeCluster(live), [wanted], [wanted], Upgrade.of(4, stored))  # type: ignore[arg-type]
    assert merges.changes == []
    found = preview(FakeCluster(live), [wanted], [wanted], Upgrade.of(4, stored, repair=True))  # type: ignore[arg-type]
    assert verbs(found) == [("changed", "web")]
    assert found.conflicts == []
    assert not Upgrade.of(4, None, repair=True).sets_back
    cluster = FakeCluster(live)
    set_back(cluster, wanted)  # type: ignore[arg-type]
    patch = {"spec": {"selector": {"more": None}}, "metadata": {"resourceVersion": "7"}}
    assert cluster.calls[-1] == ("patch", "web", patch)
    set_back(FakeCluster(), wanted)  # type: ignore[arg-type] # it is gone: helm makes it anew


# -- drift -------------------------------------------------------------------------------------------------------------

SELECTOR = {"f:spec": {"f:selector": {}}}


@pytest.mark.parametrize(
    ("entries", "drift"),
    [
        ([("helm", "Apply", SELECTOR)], True),
        ([("helm", "Apply", {}), ("kubectl-patch", "Update", SELECTOR)], True),
        ([("helm", "Apply", SELECTOR), ("kubectl", "Apply", SELECTOR)], True),
        ([("helm", "Apply", {}), ("helm", "Update", SELECTOR)], True),
        ([("kubectl-create", "Update", SELECTOR)], True),
        ([], True),
        ([("helm", "Apply", {"f:spec": {"f:selector": {"f:app": {}}}})], False),
    ],
    ids=["nobody else", "taken over", "shared", "by the same name", "made anew", "nobody", "held key by key"],
)
def test_drift_of_what_is_held_in_one_piece(entries: list[Any], drift: bool) -> None:
    """A key more than wanted, whoever holds it; unless the server's schema has others' keys beside the manager's."""
    live = held(service(app="web", more="x"), *entries)
    for entry in live["metadata"]["managedFields"]:
        entry["time"] = "2026-11-30T12:00:01Z"
    wanted = service(app="web")
    for cluster, recorded in ((FakeCluster(live), ""), (FakeCluster(live), "2026-11-30T12:00:00Z")):
        found = drifted(cluster, [wanted], recorded=recorded)  # type: ignore[arg-type]
        assert [change.wanted["metadata"]["name"] for change in found] == (["web"] if drift else [])
        assert bool(cluster.asked) is drift


def test_what_is_held_since_helm_wrote_it_is_as_helm_wrote_it() -> None:
    """With defaults in a list that is held in one piece: nobody is asked, until somebody writes under helm's name."""
    rules = {"f:rules": {}}
    live = held(obj("Thing", "a", rules=[{"scope": "*", "verbs": ["get"]}]), ("helm", "Apply", rules))
    live["metadata"]["managedFields"][0]["time"] = "2026-11-30T12:00:00Z"
    wanted = obj("Thing", "a", rules=[{"verbs": ["get"]}])
    for recorded, asked in (("2026-11-30T12:00:00Z", 0), ("2026-11-30T11:59:59Z", 1)):
        cluster = FakeCluster(live)
        drifted(cluster, [wanted], recorded=recorded)  # type: ignore[arg-type]
        assert len(cluster.asked) == asked


def test_drift() -> None:
    """What somebody has changed; objects that are gone are told elsewhere, and conflicts are no subject."""
    cluster = FakeCluster(
        held(config("edited", a="x"), ("helm", "Apply", {}), ("kubectl-edit", "Update", DATA)),
        held(config("same", a="1"), ("helm", "Apply", DATA)),
        held(config("added", a="1", b="2"), ("helm", "Apply", DATA), ("me", "Update", {"f:data": {"f:b": {}}})),
    )
    stored = [config(name, a="1") for name in ("edited", "same", "added", "gone")]
    found = drifted(cluster, stored)  # type: ignore[arg-type]
    assert [change.wanted["metadata"]["name"] for change in found] == ["edited"]
    assert found[0].before["data"] == {"a": "x"}  # type: ignore[index]
    assert cluster.asked == [("apply", "edited", "force")]
