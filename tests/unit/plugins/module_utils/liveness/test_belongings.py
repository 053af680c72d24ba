# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose an object is: a label and a manager together tell, and neither alone does."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import identity
from ansible_collections.meshops.istio.plugins.module_utils.liveness import belongings
from ansible_collections.meshops.istio.plugins.module_utils.liveness.belongings import (
    LABEL,
    App,
    left_home,
    listed,
    marked,
    why_kept,
)

US = "meshops.istio.liveness"
APP = App("shop", "liveness", US)
HOME = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}}}
KEY = ("v1", "ConfigMap", "shop", "a")


def a_map(name: str = "a", **meta: Any) -> dict[str, Any]:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop", **meta}}


def entry(manager: str, *labels: str, **more: str) -> dict[str, Any]:
    """What a manager holds."""
    fields = {"f:metadata": {"f:labels": {f"f:{label}": {} for label in labels}}}
    return {"manager": manager, "operation": "Apply", "fieldsV1": fields, **more}


def live(obj: dict[str, Any], *managed: dict[str, Any]) -> dict[str, Any]:
    """An object as it is."""
    return {**obj, "metadata": {**obj["metadata"], "managedFields": list(managed)}}


OURS = live(a_map(labels={LABEL: "shop.liveness"}), entry(US, LABEL), entry("kubectl-edit"))


def labels_of(obj: dict[str, Any]) -> dict[str, str]:
    """What it is labelled with."""
    return obj["metadata"].get("labels") or {}


@pytest.mark.parametrize(
    ("there", "made"),
    [
        (OURS, True),
        (live(a_map(), entry(US)), True),  # made before there were labels
        (live(a_map(), entry(US), entry("kube-controller-manager", subresource="status")), True),
        (live(a_map(), entry(US), entry("kubectl-create")), False),
        (live(a_map(), entry("kubectl-create")), False),
        (a_map(), False),
        (live(a_map(labels={LABEL: "shop.liveness"}), entry("kubectl")), False),  # a copy
        (live(a_map(labels={LABEL: "shop.other"}), entry(US, LABEL)), False),  # another app's
        (live(a_map(labels={LABEL: "shop.other"}), entry(US), entry("kubectl", LABEL)), False),
    ],
)
def test_made(there: dict[str, Any], made: bool) -> None:
    """By our label that our manager holds, or where nobody else has ever written."""
    assert APP.made(there) is made
    assert bool(why_kept(APP, there)) is not made


@pytest.mark.parametrize(
    ("there", "label"),
    [
        (None, "shop.liveness"),
        (OURS, "shop.liveness"),
        (live(a_map(), entry(US)), "shop.liveness"),
        (live(a_map(), entry("kubectl-create")), None),
        (live(a_map(), entry(US), entry("kubectl-create")), None),
        (live(a_map(labels={LABEL: "shop.other"}), entry(US, LABEL)), "shop.other"),
        (live(a_map(deletionTimestamp="2026-11-22T19:58:30Z"), entry("kubectl-create")), "shop.liveness"),
    ],
)
def test_marked(there: dict[str, Any] | None, label: str | None) -> None:
    """What is not there, or going, will be ours; what others have made is not, and what another app has stays its."""
    found = {} if there is None else {identity(there): there}
    home, obj = marked(APP, [HOME, a_map()], found)
    assert labels_of(obj).get(LABEL) == label
    assert labels_of(home) == {"istio-injection": "enabled"}
    assert listed(APP, home) == ({KEY} if label == "shop.liveness" else set())


def test_marked_again_is_the_same() -> None:
    """So that a second run writes nothing."""
    wanted = [HOME, a_map(), a_map("b")]
    first = marked(APP, wanted, {})
    there = {identity(obj): live(obj, entry(US, *labels_of(obj))) for obj in first}
    assert marked(APP, wanted, there) == first


def test_list_remembers_what_is_rendered_no_more() -> None:
    """Until it is removed."""
    home, _obj = marked(APP, [HOME, a_map()], {})
    there = {identity(home): home}
    (later,) = marked(APP, [HOME], there)
    assert listed(APP, later) == {KEY}
    (removed,) = marked(APP, [HOME], there, [a_map()])
    assert removed == HOME


def test_lists_of_other_apps_stay() -> None:
    """All are held by the same manager: what is left out of an apply goes."""
    other = App("shop", "other", US)
    first, *_objects = marked(other, [HOME, a_map("b")], {})
    both, *_objects = marked(APP, [HOME, a_map()], {identity(HOME): first})
    assert listed(other, both) == {("v1", "ConfigMap", "shop", "b")}
    assert listed(APP, both) == {KEY}
    there = live(both, entry(US, "istio-injection"))
    left = left_home(APP, there, {KEY})
    assert (labels_of(left), listed(APP, left)) == ({"istio-injection": "enabled"}, set())
    assert left_home(other, left, listed(other, left)) == {**HOME, "metadata": {"name": "shop"}}


def test_home_when_the_app_is_gone() -> None:
    """Nothing of ours, but for the list of what is to stay."""
    home, *_objects = marked(APP, [HOME, a_map(), a_map("b")], {})
    left = left_home(APP, home, {KEY})
    assert (labels_of(left), listed(APP, left)) == ({}, {("v1", "ConfigMap", "shop", "b")})


@pytest.mark.parametrize("text", ["", "nonsense", "a b", "v1 ConfigMap nowhere", "a b c d", "\n"])
def test_list_that_somebody_has_changed(text: str) -> None:
    """Nothing follows from what is no line of ours."""
    changed = {**HOME, "metadata": {"name": "shop", "annotations": {APP.annotation: text}}}
    assert listed(APP, changed) == set()


@pytest.mark.parametrize(
    ("namespace", "name", "label"),
    [
        ("shop", "liveness", "shop.liveness"),
        ("", "liveness", "default.liveness"),
        ("s" * 63, "liveness", None),
        ("s", "a b", None),
    ],
)
def test_names(namespace: str, name: str, label: str | None) -> None:
    """What is too long or no name is told by a digest: a label has 63 characters at most, and so has an annotation."""
    app = App(namespace, name, US)
    assert label is None or app.label == label
    assert belongings._VALUE.match(app.label)
    assert len(app.annotation.partition("/")[2]) <= 63
    assert len({App("s", name * 60, US).annotation for name in "ab"}) == 2


@pytest.mark.parametrize("value", ["keep", " Keep ", "KEEP"])
@pytest.mark.parametrize("on", ["live", "rendered"])
def test_what_is_to_be_kept(value: str, on: str) -> None:
    """As Helm reads it, on the live object and in the chart."""
    policy = {"helm.sh/resource-policy": value}
    there = {**OURS, "metadata": {**OURS["metadata"], "annotations": policy}} if on == "live" else OURS
    assert why_kept(APP, there, a_map(annotations=policy)) == "helm.sh/resource-policy: keep"
    assert why_kept(APP, OURS, a_map(annotations={"helm.sh/resource-policy": "delete"})) == ""


@pytest.mark.parametrize("kind", belongings.SHARED)
def test_what_others_live_in(kind: str) -> None:
    """Is neither marked nor deleted, whoever made it."""
    shared = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}}
    assert marked(APP, [shared], {}) == [shared]
    assert why_kept(APP, live({**shared, "metadata": {"name": "a", "labels": {LABEL: APP.label}}}, entry(US, LABEL)))
