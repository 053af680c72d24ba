# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An object counts as applied only when an apply would change nothing; diffs hide what a Secret holds."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml

from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_sets import unwanted
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import (
    comparable,
    contains,
    identity,
    is_applied,
    json_for_yaml,
    same,
)

MANAGER = "meshops.istio.liveness"

#: Wanted objects, and what an API server of Kubernetes 1.37 made of them: defaults, managedFields and all.
WANTED_SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "liveness", "namespace": "liveness", "labels": {"app": "liveness", "version": "v1"}},
    "spec": {
        "selector": {"app": "liveness"},
        "ports": [{"name": "http-liveness", "port": 80, "protocol": "TCP", "targetPort": "http"}],
    },
}
LIVE_SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {
        "name": "liveness",
        "namespace": "liveness",
        "labels": {"app": "liveness", "version": "v1", "somebody": "else"},
        "uid": "5f0c",
        "resourceVersion": "812",
        "creationTimestamp": "2026-11-22T18:50:00Z",
        "managedFields": [
            {"manager": "kubectl-label", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:x": {}}}}},
            {
                "manager": MANAGER,
                "operation": "Apply",
                "apiVersion": "v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:app": {}, "f:version": {}}},
                    "f:spec": {
                        "f:ports": {
                            'k:{"port":80,"protocol":"TCP"}': {
                                ".": {},
                                "f:name": {},
                                "f:port": {},
                                "f:protocol": {},
                                "f:targetPort": {},
                            }
                        },
                        "f:selector": {},
                    },
                },
            },
        ],
    },
    "spec": {
        "clusterIP": "10.96.12.9",
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "selector": {"app": "liveness"},
        "ports": [{"name": "http-liveness", "port": 80, "protocol": "TCP", "targetPort": "http"}],
    },
    "status": {"loadBalancer": {}},
}
WANTED_ROUTES: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "liveness", "namespace": "liveness"},
    "spec": {
        "hosts": ["*"],
        "http": [{"match": [{"uri": {"exact": "/healthz"}}], "route": [{"destination": {"host": "liveness"}}]}],
    },
}
LIVE_ROUTES: dict[str, Any] = {
    **WANTED_ROUTES,
    "metadata": {
        **WANTED_ROUTES["metadata"],
        "generation": 1,
        "managedFields": [
            {"manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:hosts": {}, "f:http": {}}}}
        ],
    },
}


def edited(obj: dict[str, Any], path: list[Any], value: Any = None) -> dict[str, Any]:
    """A copy with the value at a path replaced; removed when it is None."""
    result = copy.deepcopy(obj)
    place = result
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return result


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (WANTED_SERVICE, ("v1", "Service", "liveness", "liveness")),
        ({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", "namespace": None}}, ("v1", "Node", "", "a")),
    ],
)
def test_identity(obj: dict[str, Any], expected: tuple[str, ...]) -> None:
    """Four words name an object; without a namespace, the third is empty."""
    assert identity(obj) == expected


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": {"b": {"c": "x"}}}, {"a": {"b": {"c": "y"}}}, False),
        ([{"name": "x", "defaulted": True}], [{"name": "x"}], True),
        ([1, 2], [1], False),
        ([1], [1, 2], False),
        ([1, 2], [2, 1], False),
        ({"a": 1.0}, {"a": 1}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": False}, {"a": 0}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({}, {"a": None}, True),
        ({"a": 1}, {"a": None}, False),
        ("text", {"a": 1}, False),
        ({"a": 1}, ["a"], False),
    ],
)
def test_contains(live: Any, wanted: Any, expected: bool) -> None:
    """What the server added does no harm; everything that is wanted has to be there, of its own type."""
    assert contains(live, wanted) is expected


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        ({"requests": {"memory": "2Gi"}}, {"requests": {"memory": "2048Mi"}}, True),
        ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "1000m"}}, True),
        ({"limits": {"cpu": "2"}}, {"limits": {"cpu": 2}}, True),
        ({"emptyDir": {"sizeLimit": "1Gi"}}, {"emptyDir": {"sizeLimit": "1024Mi"}}, True),
        ({"requests": {"memory": "2Gi"}}, {"requests": {"memory": "2G"}}, False),
        ({"requests": {"memory": "2Gi"}}, {"requests": {"memory": "much"}}, False),
        ({"requests": {}}, {"requests": {"memory": "0"}}, False),
        ({"env": [{"name": "CPU", "value": "1"}]}, {"env": [{"name": "CPU", "value": "1000m"}]}, False),
    ],
)
def test_quantities(live: Any, wanted: Any, expected: bool) -> None:
    """The API server stores `2048Mi` as `2Gi`; only where a quantity stands, and never in text."""
    assert contains(live, wanted) is expected


@pytest.mark.parametrize("nothing", [{}, []])
def test_an_empty_map_is_not_nothing(nothing: Any) -> None:
    """`namespaceSelector: {}` selects every namespace, its absence only one: an apply would change that."""
    peer = {"podSelector": {"matchLabels": {"app": "x"}}}
    assert not contains(peer, {**peer, "namespaceSelector": nothing})
    assert contains({**peer, "namespaceSelector": nothing}, {**peer, "namespaceSelector": nothing})


@pytest.mark.parametrize(
    ("fields", "wanted", "expected"),
    [
        ({"f:spec": {"f:a": {}}}, {"spec": {"a": 1}}, False),
        ({"f:spec": {"f:a": {}, "f:b": {}}}, {"spec": {"a": 1}}, True),
        ({"f:spec": {"f:a": {}}}, {}, True),
        ({"f:l": {'k:{"name":"app"}': {".": {}, "f:image": {}}}}, {"l": [{"name": "app", "image": "i"}]}, False),
        ({"f:l": {'k:{"name":"app"}': {".": {}, "f:image": {}}}}, {"l": [{"name": "app"}]}, True),
        ({"f:l": {'k:{"name":"app"}': {".": {}}}}, {"l": [{"name": "other"}]}, True),
        ({"f:l": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}}, {"l": [{"port": 80}]}, False),
        ({"f:l": {'k:{"port":80,"protocol":"UDP"}': {".": {}}}}, {"l": [{"port": 80, "protocol": "TCP"}]}, True),
        ({"f:l": {'k:{"port":80}': {".": {}}}}, {"l": "no list"}, True),
        ({"f:finalizers": {'v:"a"': {}, ".": {}}}, {"finalizers": ["b", "a"]}, False),
        ({"f:finalizers": {'v:"a"': {}}}, {"finalizers": ["b"]}, True),
        ({"f:finalizers": {'v:"a"': {}}}, {"finalizers": "a"}, True),
        ({".": {}}, {}, False),
    ],
)
def test_abandoned(fields: dict[str, Any], wanted: Any, expected: bool) -> None:
    """A field, an item by its key or a value of a set that was applied and is wanted no more would be removed."""
    assert any(unwanted(fields, wanted)) is expected


def test_service_is_applied() -> None:
    """Defaults and the labels of somebody else do not make it differ."""
    assert is_applied(LIVE_SERVICE, WANTED_SERVICE, MANAGER)


@pytest.mark.parametrize(
    "wanted",
    [
        edited(WANTED_SERVICE, ["spec", "ports", 0, "targetPort"], "https"),
        edited(WANTED_SERVICE, ["metadata", "labels", "version"]),
        edited(WANTED_SERVICE, ["spec", "ports", 0, "name"]),
        edited(WANTED_SERVICE, ["spec", "ports"], [{"name": "http-liveness", "port": 8080, "protocol": "TCP"}]),
        edited(WANTED_SERVICE, ["metadata", "annotations"], {"a": "b"}),
    ],
    ids=["changed", "label gone", "name gone", "other port", "annotation added"],
)
def test_service_is_not_applied(wanted: dict[str, Any]) -> None:
    """A value that changed, came or went needs an apply."""
    assert not is_applied(LIVE_SERVICE, wanted, MANAGER)


def test_selector_that_lost_a_key_is_not_applied() -> None:
    """A selector is owned as one piece (`f:selector: {}`): what managedFields do not list may still have to go."""
    live = edited(LIVE_SERVICE, ["spec", "selector", "version"], "v1")
    assert not is_applied(live, WANTED_SERVICE, MANAGER)
    assert is_applied(live, edited(WANTED_SERVICE, ["spec", "selector", "version"], "v1"), MANAGER)


def test_route_that_lost_a_key_is_not_applied() -> None:
    """So are lists of custom resources: a timeout taken out of a VirtualService has to go from the cluster too."""
    assert is_applied(LIVE_ROUTES, WANTED_ROUTES, MANAGER)
    slow = edited(LIVE_ROUTES, ["spec", "http", 0, "timeout"], "5s")
    assert not is_applied(slow, WANTED_ROUTES, MANAGER)
    strict = edited(LIVE_ROUTES, ["spec", "http", 0, "match", 0, "queryParams"], {"key": {"exact": "x"}})
    assert not is_applied(strict, WANTED_ROUTES, MANAGER)


CONTAINER = 'k:{"name":"app"}'


def workload(fields: dict[str, Any], *containers: dict[str, Any], operation: str = "Apply") -> dict[str, Any]:
    """An object with containers, of whose manager's fields there are some."""
    meta = {"managedFields": [{"manager": "helm", "operation": operation, "fieldsV1": {"f:containers": fields}}]}
    return {"metadata": meta, "containers": list(containers)}


@pytest.mark.parametrize("operation", ["Apply", "Update"])
def test_field_that_is_still_the_managers_is_as_it_was_applied(operation: str) -> None:
    """Whatever the server made of it: an empty map left out, a quantity written otherwise, text as the kind has it."""
    applied = {"containers": [{"name": "app", "nodeSelector": {}, "size": "2048Mi", "port": "http"}]}
    held = {".": {}, "f:name": {}, "f:nodeSelector": {}, "f:size": {}, "f:port": {}}
    live = workload({CONTAINER: held}, {"name": "app", "size": "2Gi", "port": 80}, operation=operation)
    assert is_applied(live, applied, "helm", applied)
    assert not is_applied(live, applied, "helm")
    changed = {"containers": [{**applied["containers"][0], "size": "4096Mi"}]}
    assert not is_applied(live, changed, "helm", applied)


def test_field_that_somebody_has_taken_is_compared() -> None:
    """Whoever changes a value holds the field."""
    applied = {"containers": [{"name": "app", "image": "a"}]}
    live = workload({CONTAINER: {".": {}, "f:name": {}}}, {"name": "app", "image": "b"})
    assert not is_applied(live, applied, "helm", applied)
    assert is_applied(live, {"containers": [{"name": "app", "image": "b"}]}, "helm", applied)


def test_items_of_others_do_no_harm() -> None:
    """A container that somebody has put in is not of the manager's list; the order of its own is."""
    held = {CONTAINER: {".": {}, "f:name": {}}, 'k:{"name":"b"}': {".": {}, "f:name": {}}}
    live = workload(held, {"name": "app"}, {"name": "injected"}, {"name": "b"})
    assert is_applied(live, {"containers": [{"name": "app"}, {"name": "b"}]}, "helm")
    assert not is_applied(live, {"containers": [{"name": "b"}, {"name": "app"}]}, "helm")
    assert not is_applied(live, {"containers": [{"name": "app"}, {"name": "b"}, {"name": "c"}]}, "helm")
    gone = workload(held, {"name": "app"})
    assert not is_applied(gone, {"containers": [{"name": "app"}, {"name": "b"}]}, "helm")


def test_fields_of_other_managers_stay() -> None:
    """What another manager applied, or ours updated or put into the status, is not ours to remove."""
    for entry in (
        {"manager": "argocd", "operation": "Apply"},
        {"manager": MANAGER, "operation": "Update"},
        {"manager": MANAGER, "operation": "Apply", "subresource": "status"},
    ):
        live = copy.deepcopy(LIVE_ROUTES)
        live["metadata"]["managedFields"] = [{**entry, "fieldsV1": {"f:spec": {"f:foreign": {}}}}]
        assert is_applied(live, WANTED_ROUTES, MANAGER)


def test_object_without_managed_fields() -> None:
    """An object that was created by other means is compared by what it holds."""
    assert is_applied({**WANTED_ROUTES, "status": {}}, WANTED_ROUTES, MANAGER)


def test_api_version_and_kind_are_no_fields() -> None:
    """Some servers list them as owned."""
    live = copy.deepcopy(LIVE_ROUTES)
    live["metadata"]["managedFields"][0]["fieldsV1"].update({"f:apiVersion": {}, "f:kind": {}})
    assert is_applied(live, WANTED_ROUTES, MANAGER)


def test_same_is_for_a_user() -> None:
    """What the server counts, and the status, are nobody's change; labels are."""
    later = edited(LIVE_SERVICE, ["metadata", "resourceVersion"], "813")
    later["metadata"]["generation"] = 2
    later["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    later["metadata"]["managedFields"] = []
    assert same(LIVE_SERVICE, later)
    assert not same(LIVE_SERVICE, edited(LIVE_SERVICE, ["metadata", "labels", "app"], "x"))
    assert not same(None, LIVE_SERVICE)
    assert same(None, {})
    assert comparable(None) == {}


def test_comparable_is_a_copy() -> None:
    """What is done to it does not reach the object."""
    obj = copy.deepcopy(LIVE_SERVICE)
    comparable(obj)["spec"]["selector"]["app"] = "x"
    assert obj == LIVE_SERVICE


def test_json_that_yaml_reads_too() -> None:
    """An emoji, as Istio's dashboards have them; and what YAML would take for a line's end, or not take at all."""
    text = "\U0001f600 \u00e9 a\u0085b\u2028c\x7f\ufeff"
    written = json_for_yaml({"text": text})
    assert json.loads(written) == {"text": text}
    assert yaml.safe_load(written) == {"text": text}
    assert written == '{"text": "\U0001f600 \u00e9 a\\u0085b\\u2028c\\u007f\\ufeff"}'


def test_half_a_character_is_still_sent() -> None:
    """The API server is to say what it thinks of it; to us it must not be an exception."""
    assert json_for_yaml("\ud83d").encode() == rb'"\ud83d"'
