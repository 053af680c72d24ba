# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests measure honesty by can tell a lie: whatever is done and not announced, or announced and not done."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from harness.announcements import announced, broken_promises
from harness.snapshots import Snapshot, key_of

from ansible_collections.meshops.istio.plugins.module_utils.secrets.text import mark


def held_by(manager: str, *names: str, operation: str = "Update") -> dict[str, Any]:
    """An entry of managedFields about one nested field."""
    fields: dict[str, Any] = {}
    for name in reversed(names):
        fields = {name: fields}
    return {"manager": manager, "operation": operation, "fieldsV1": fields}


def obj(kind: str = "ConfigMap", *managed: dict[str, Any], name: str = "a", **fields: Any) -> dict[str, Any]:
    """An object that somebody has made."""
    managed = managed or ({"manager": "helm", "fieldsV1": {}},)
    meta = {"name": name, "namespace": "mesh", "managedFields": list(managed), "resourceVersion": "7", "uid": "u"}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, **fields}


def snapshot(*objects: dict[str, Any]) -> Snapshot:
    """A moment."""
    return Snapshot({key_of(each): each for each in objects})


def diff(before: dict[str, Any] | None, after: dict[str, Any] | None, remark: str = "") -> dict[str, Any]:
    """As a task shows it."""
    shown = [copy.deepcopy(each) if each else "" for each in (before, after)]
    for each in shown:
        if each:
            each["metadata"] = {name: each["metadata"][name] for name in ("name", "namespace")}
    name = f"{(after or before)['kind']} mesh/{(after or before)['metadata']['name']}"
    return {"before": shown[0], "after": shown[1], "before_header": name, "after_header": name + remark}


def told(*diffs: dict[str, Any]) -> Any:
    """What a task announces."""
    return announced([{"objects": [each["before_header"] for each in diffs], "diff": list(diffs)}])


A, B = obj(data={"x": "1", "y": "1"}), obj(data={"x": "2", "y": "1"})


def test_an_honest_run() -> None:
    """A change, a creation, a deletion, each announced and done."""
    new, old = obj(name="new", data={"z": "3"}), obj(name="old")
    promised = told(diff(A, B), diff(None, new), diff(old, None))
    assert broken_promises(promised, snapshot(A, old), snapshot(B, new)) == []
    assert broken_promises({}, snapshot(A, old), snapshot(copy.deepcopy(A), old)) == []


@pytest.mark.parametrize(
    ("promised", "before", "after", "wrong"),
    [
        ([], [A], [B], "not announced: changed ConfigMap mesh/a"),
        ([], [], [A], "not announced: created ConfigMap mesh/a"),
        ([], [A], [], "not announced: deleted ConfigMap mesh/a"),
        ([diff(A, B)], [A], [A], "announced, and nothing came of it: changed ConfigMap mesh/a"),
        ([diff(A, None)], [A], [B], "ConfigMap mesh/a: announced as deleted, and changed"),
        (
            [diff(A, B)],
            [A],
            [obj(data={"x": "3", "y": "1"})],
            "ConfigMap mesh/a: data.x: announced ('1', '2'), and it was ('1', '3')",
        ),
        (
            [diff(A, B)],
            [A],
            [obj(data={"x": "2", "y": "2"})],
            "ConfigMap mesh/a: not announced: data.y: '1' -> '2'",
        ),
        (
            [diff(A, obj(data={"x": "2"}))],
            [A],
            [B],
            "ConfigMap mesh/a: announced, and not so: data.y: '1' -> None",
        ),
        (
            [diff(None, B, " (not dry-run: its namespace or kind does not exist yet)")],
            [],
            [A],
            "ConfigMap mesh/a: announced, and not so: data.x: '2', and it is '1'",
        ),
    ],
)
def test_a_lie(promised: list[Any], before: list[Any], after: list[Any], wrong: str) -> None:
    """Each is told."""
    assert broken_promises(told(*promised), snapshot(*before), snapshot(*after)) == [wrong]


def test_what_nobody_could_be_asked_about_may_get_defaults() -> None:
    """And is stored in the server's own way; what its manifest says is there all the same."""
    wanted = obj("Deployment", spec={"replicas": 0, "memory": "2048Mi", "ports": [{"port": 80}], "volumes": []})
    stored = obj("Deployment", spec={"memory": "2Gi", "ports": [{"port": 80, "protocol": "TCP"}]})
    assert broken_promises(told(diff(None, wanted, " (not dry-run: so)")), snapshot(), snapshot(stored)) == []
    assert broken_promises(told(diff(None, wanted)), snapshot(), snapshot(stored)) != []


def test_two_tasks_announce_one_object() -> None:
    """A namespace gets labels of both."""
    meta = {"name": "a", "namespace": "mesh"}
    labels = {"x": "1"}, {"y": "2"}
    tasks = [
        {**diff(None, A), "after": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**meta, "labels": each}}}
        for each in labels
    ]
    promised = announced([{"objects": ["ConfigMap mesh/a"], "diff": [task]} for task in tasks])
    after = obj()
    after["metadata"]["labels"] = {**labels[0], **labels[1]}
    assert broken_promises(promised, snapshot(), snapshot(after)) == []


def test_sizes_in_place_of_schemas() -> None:
    """They are measured."""
    schema = {"openAPIV3Schema": {"type": "object", "required": ["a"]}}
    there = obj(schema=schema)
    for size, wrong in ((len(json.dumps(schema)), 0), (1, 1)):
        promised = told(diff(None, obj(schema=f"<{size} characters>")))
        assert len(broken_promises(promised, snapshot(), snapshot(there))) == wrong


def test_secret_that_is_hidden_in_the_announcement() -> None:
    """That it changes is announced, and must be so; to what, nobody may read."""
    one, two = (obj("Secret", data={"a": value}) for value in ("b25l", "dHdv"))
    promised = told(diff(obj("Secret", data={"a": mark("one")}), obj("Secret", data={"a": mark("two")})))
    assert broken_promises(promised, snapshot(one), snapshot(two)) == []
    assert broken_promises({}, snapshot(one), snapshot(two)) != []
    assert broken_promises(promised, snapshot(one), snapshot({**one, "type": "Opaque"})) != []


def test_names_that_are_not_those_of_the_diff() -> None:
    """Both are what a user sees."""
    with pytest.raises(AssertionError):
        announced([{"objects": [], "diff": [diff(None, A)]}])
    release = {"objects": ["created ConfigMap mesh/a"]}
    assert announced([{"namespaces": [], "releases": [release], "diff": [diff(None, A)]}])
    with pytest.raises(AssertionError):
        announced([{"namespaces": ["edge"], "releases": [release], "diff": [diff(None, A)]}])
    with pytest.raises(AssertionError):
        announced(
            [{"namespaces": [], "releases": [{"objects": ["changed ConfigMap mesh/a"]}], "diff": [diff(None, A)]}]
        )


WEBHOOK = {"name": "v", "failurePolicy": "Ignore", "clientConfig": {"service": "s"}}


def webhooks(manager: str, **over: Any) -> dict[str, Any]:
    """A configuration in which somebody holds failurePolicy."""
    entry = held_by(manager, "f:webhooks", 'k:{"name":"v"}', "f:failurePolicy")
    helm = held_by("helm", "f:webhooks", 'k:{"name":"v"}', "f:name", operation="Apply")
    return obj("ValidatingWebhookConfiguration", helm, entry, webhooks=[{**WEBHOOK, **over}])


def test_what_controllers_do_is_no_doing_of_the_run() -> None:
    """Who holds a field decides, not its name."""
    before = webhooks("helm")
    assert broken_promises({}, snapshot(before), snapshot(webhooks("pilot-discovery", failurePolicy="Fail"))) == []
    assert broken_promises({}, snapshot(before), snapshot(webhooks("kubectl-edit", failurePolicy="Fail"))) != []
    made = obj("ConfigMap", held_by("pilot-discovery", "f:data", "f:root-cert.pem"), data={"root-cert.pem": "x"})
    assert broken_promises({}, snapshot(), snapshot(made)) == []
    replicas = held_by("kube-controller-manager", "f:spec", "f:replicas")
    scaled = obj("Deployment", {"manager": "helm", "fieldsV1": {}}, replicas, spec={"replicas": 3})
    assert broken_promises({}, snapshot(obj("Deployment", spec={"replicas": 1})), snapshot(scaled)) == []


def test_what_istiod_takes_over_of_a_new_object() -> None:
    """Helm makes it open, as announced, and istiod closes it. Nobody else may."""
    promised = told(diff(None, webhooks("helm")))
    assert broken_promises(promised, snapshot(), snapshot(webhooks("pilot-discovery", failurePolicy="Fail"))) == []
    assert broken_promises(promised, snapshot(), snapshot(webhooks("kubectl-edit", failurePolicy="Fail"))) != []


def test_an_object_of_which_nobody_holds_a_field() -> None:
    """Nothing but its name was said: it was made all the same, unless a controller makes it in every namespace."""
    bare = {
        key: {**obj(key), "metadata": {"name": "a", "namespace": "mesh"}} for key in ("Namespace", "ServiceAccount")
    }
    assert len(broken_promises({}, snapshot(), snapshot(*bare.values()))) == 2
    assert (
        broken_promises(told(*(diff(None, each) for each in bare.values())), snapshot(), snapshot(*bare.values())) == []
    )
    default = {**obj("ServiceAccount"), "metadata": {"name": "default", "namespace": "mesh"}}
    assert broken_promises({}, snapshot(), snapshot(default)) == []


def test_what_is_a_record_of_others() -> None:
    """Helm's memory, what has a controller for its owner, status, a diary."""
    owned = obj("PodMonitor")
    owned["metadata"]["ownerReferences"] = [{"controller": True}]
    mine = obj("PodMonitor", name="mine")
    mine["metadata"]["ownerReferences"] = [{"controller": False}]
    release = obj("Secret", type="helm.sh/release.v1")
    others = [owned, release, obj("Event"), obj("Lease"), obj("ReplicaSet")]
    assert broken_promises({}, snapshot(), snapshot(*others)) == []
    assert broken_promises({}, snapshot(obj(status={"a": 1})), snapshot(obj(status={"a": 2}))) == []
    assert broken_promises({}, snapshot(), snapshot(mine)) == ["not announced: created PodMonitor mesh/mine"]
    assert len(broken_promises({}, snapshot(), snapshot(obj("Secret", type="Opaque")))) == 1


def test_what_the_server_chooses_for_a_service() -> None:
    """Unless somebody has asked for it."""

    def service(port: int, *managed: dict[str, Any]) -> dict[str, Any]:
        spec = {"clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": port}]}
        return obj("Service", *managed, spec=spec)

    asked = held_by("helm", "f:spec", "f:ports", 'k:{"port":80}', "f:nodePort", operation="Apply")
    dry_run = service(30999)
    assert broken_promises(told(diff(None, dry_run)), snapshot(), snapshot(service(30001))) == []
    assert broken_promises(told(diff(None, dry_run)), snapshot(), snapshot(service(30001, asked))) != []
