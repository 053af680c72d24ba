# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps, paths and sets of fields, as the API server writes them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster import field_sets
from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_sets import MISSING, below

SERVICE: dict[str, Any] = {
    "metadata": {"labels": {"app": "a", "team": "b"}, "finalizers": ["x", "y"]},
    "spec": {"ports": [{"port": 80, "protocol": "TCP", "name": "http"}, {"port": 53, "protocol": "UDP"}], "type": None},
}
PORTS = SERVICE["spec"]["ports"]


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [
        (SERVICE, "f:spec", SERVICE["spec"]),
        (SERVICE["spec"], "f:type", None),
        (SERVICE, "f:status", MISSING),
        (None, "f:spec", MISSING),
        (PORTS, 'k:{"port":80,"protocol":"TCP"}', PORTS[0]),
        (PORTS, 'k:{"port":80}', PORTS[0]),
        ([{"port": 80}], 'k:{"port":80,"protocol":"TCP"}', {"port": 80}),
        (PORTS, 'k:{"port":53,"protocol":"TCP"}', MISSING),
        (SERVICE, 'k:{"port":80}', MISSING),
        (SERVICE["metadata"]["finalizers"], 'v:"y"', "y"),
        (SERVICE["metadata"]["finalizers"], 'v:"z"', MISSING),
        (SERVICE["metadata"]["finalizers"], "i:0", MISSING),
        (SERVICE, ".", MISSING),
    ],
)
def test_below(value: Any, step: str, expected: Any) -> None:
    """A key that was left out was defaulted; None is something."""
    assert below(value, step) is expected or below(value, step) == expected


def test_steps_are_written_as_the_server_writes_them() -> None:
    """Keys in the order of the alphabet."""
    assert field_sets.field("spec") == "f:spec"
    assert field_sets.item({"protocol": "TCP", "port": 80}) == 'k:{"port":80,"protocol":"TCP"}'
    assert field_sets.keys_of('k:{"port":80}') == {"port": 80}
    assert field_sets.keys_of("f:spec") is None


FIELDS: dict[str, Any] = {
    "f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {".": {}, 'v:"x"': {}}},
    "f:spec": {"f:ports": {".": {}, 'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}}}},
}


def test_every_path_of_a_set_leads_to_what_it_holds() -> None:
    """And without what is there, the set is unwanted: each path of it."""
    found = list(field_sets.paths(FIELDS))
    assert [field_sets.named(path) for path in found] == [
        ".metadata.labels.app",
        '.metadata.finalizers[="x"]',
        '.spec.ports[port=80,protocol="TCP"].name',
        '.spec.ports[port=80,protocol="TCP"].port',
    ]
    assert [field_sets.value_at(SERVICE, path) for path in found] == ["a", "x", "http", 80]
    assert list(field_sets.unwanted(FIELDS, SERVICE)) == []
    for path in found:
        left = field_sets.without(SERVICE, [path])
        assert field_sets.value_at(left, path) is None
        assert path[: len(next(iter(field_sets.unwanted(FIELDS, left))))] in list(field_sets.unwanted(FIELDS, left))


def test_what_others_hold_is_not_unwanted() -> None:
    """It stays, whoever gives it up."""
    gone = field_sets.without(SERVICE, [("f:metadata", "f:labels", "f:app")])
    assert list(field_sets.unwanted(FIELDS, gone)) == [("f:metadata", "f:labels", "f:app")]
    assert list(field_sets.unwanted(FIELDS, gone, [{"f:metadata": {"f:labels": {"f:app": {}}}}])) == []


def test_what_is_left_empty_goes() -> None:
    """A map without its last key, and what it stood in."""
    only = {"metadata": {"labels": {"app": "a"}}, "spec": {}}
    assert field_sets.without(only, [("f:metadata", "f:labels", "f:app")]) == {"spec": {}}


def test_labels_and_union() -> None:
    """Of both."""
    other = {"f:metadata": {"f:labels": {"f:team": {}}}}
    assert field_sets.labels_in(field_sets.union(FIELDS, other)) == {"app", "team"}
    assert field_sets.labels_in({}) == set()
