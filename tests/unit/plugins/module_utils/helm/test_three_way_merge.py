# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client-side upgrade, as Helm 3 makes it, takes away what a manifest had and leaves what others have added."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.helm.three_way_merge import (
    merge_patch,
    merged,
    merges_with_live,
    patched,
)


def deployment(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A Deployment of some containers."""
    pod = {"containers": list(containers)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": pod}, **spec}}


def containers(obj: dict[str, Any]) -> list[dict[str, Any]]:
    """Its containers."""
    return obj["spec"]["template"]["spec"]["containers"]


def test_what_is_wanted_wins_over_what_is_live() -> None:
    """Helm 3 looks at the live object since 3.0: an edit is undone, a default stays."""
    manifest = deployment(replicas=1)
    live = deployment(replicas=5, revisionHistoryLimit=10)
    assert merged(manifest, manifest, live)["spec"] == {**manifest["spec"], "revisionHistoryLimit": 10}


def test_field_that_the_manifest_had() -> None:
    """It goes; what the manifest never had stays."""
    live = deployment(replicas=1, paused=True, minReadySeconds=5)
    result = merged(deployment(replicas=1, paused=True), deployment(replicas=1), live)
    assert result["spec"] == {**deployment(replicas=1)["spec"], "minReadySeconds": 5}
    assert live["spec"]["paused"] is True


def test_items_of_lists_with_a_key() -> None:
    """In the manifest's order, those of others last, and those that the manifest had gone."""
    before = deployment({"name": "a", "env": [{"name": "X", "value": "1"}]}, {"name": "b"})
    wanted = deployment({"name": "c"}, {"name": "a", "env": [{"name": "Y", "value": "2"}]})
    live = deployment(
        {"name": "injected"},
        {"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Z", "value": "3"}], "imagePullPolicy": "Always"},
        {"name": "b"},
    )
    assert containers(merged(before, wanted, live)) == [
        {"name": "c"},
        {"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "Z", "value": "3"}], "imagePullPolicy": "Always"},
        {"name": "injected"},
    ]


@pytest.mark.parametrize(("field", "key"), [("ports", "containerPort"), ("volumeMounts", "mountPath")])
def test_other_keys(field: str, key: str) -> None:
    """Not all lists are keyed by a name."""
    before, wanted, live = (
        deployment({"name": "a", field: [{key: value} for value in values]}) for values in ("xy", "xz", "xyw")
    )
    assert [item[key] for item in containers(merged(before, wanted, live))[0][field]] == ["x", "z", "w"]


def test_ports_of_a_service_keep_their_node_ports() -> None:
    """They are merged by their port."""
    wanted = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80, "name": "web"}, {"port": 443}]}}
    live = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80, "nodePort": 30080}]}}
    ports = merged(wanted, wanted, live)["spec"]["ports"]
    assert ports == [{"port": 80, "name": "web", "nodePort": 30080}, {"port": 443}]


def test_list_without_a_key() -> None:
    """It is replaced whole, as the rules of a ClusterRole are."""
    role: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "rules": [{"verbs": ["get"]}]}
    live = {**role, "rules": [{"verbs": ["get"]}, {"verbs": ["list"]}]}
    assert merged(role, role, live) == role


def test_strategy_of_another_type() -> None:
    """A rollingUpdate that the server has filled in would make type Recreate invalid."""
    before, wanted = deployment(), deployment(strategy={"type": "Recreate"})
    live = deployment(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}})
    assert merged(before, wanted, live)["spec"]["strategy"] == {"type": "Recreate"}


def test_null_takes_away() -> None:
    """As templates write a value that is not set."""
    wanted = deployment(replicas=None)
    assert "replicas" not in merged(wanted, wanted, deployment(replicas=3))["spec"]


def test_custom_resource() -> None:
    """Of those only what differs between two manifests is written: an edit stays."""
    gateway = {"apiVersion": "networking.istio.io/v1", "spec": {"selector": {"a": "b"}, "servers": [{"port": 1}]}}
    live = copy.deepcopy(gateway)
    live["spec"]["selector"] = {"edited": "yes"}
    assert merged(gateway, gateway, live) == live
    wanted = {**gateway, "spec": {"selector": {"a": "b"}, "servers": [{"port": 2}]}}
    assert merged(gateway, wanted, live)["spec"] == {"selector": {"edited": "yes"}, "servers": [{"port": 2}]}


@pytest.mark.parametrize(
    ("api_version", "own"),
    [
        ("v1", True),
        ("apps/v1", True),
        ("rbac.authorization.k8s.io/v1", True),
        ("apiextensions.k8s.io/v1", True),
        ("networking.istio.io/v1", False),
        ("gateway.networking.k8s.io/v1", False),
    ],
)
def test_kinds_that_helm_knows(api_version: str, own: bool) -> None:
    """The Gateway API's group looks like one of Kubernetes' own."""
    assert merges_with_live(api_version) is own


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": None}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": 1}, {"a": {"b": {}}}, {"a": {"b": {}}}),
        (None, {"a": 1}, {"a": 1}),
    ],
)
def test_merge_patch_and_its_effect(before: Any, after: dict[str, Any], patch: dict[str, Any]) -> None:
    """A patch leads from one to the other."""
    assert merge_patch(before, after) == patch
    assert patched(before, patch) == after
