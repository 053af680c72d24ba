# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces get the lowest level that lets their pods run, and labels of others are theirs unless force is given."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.pod_security.admission import (
    admits,
    foreign_labels,
    labels,
    namespace_object,
)

MANAGER = "meshops.istio.psp_rbac"
ENFORCE = "pod-security.kubernetes.io/enforce"
AUDIT = "pod-security.kubernetes.io/audit"
WARN = "pod-security.kubernetes.io/warn"


def namespace(labels: dict[str, str], **owners: list[str]) -> dict[str, Any]:
    """A live namespace. :arg owners: the keys of the labels that a manager applied; ours is called ``ours``"""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": "web",
            "labels": {"kubernetes.io/metadata.name": "web", **labels},
            "managedFields": [
                {"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {"f:phase": {}}}},
                *(
                    {
                        "manager": MANAGER if manager == "ours" else manager,
                        "operation": "Apply",
                        "fieldsV1": {"f:metadata": {"f:labels": {f"f:{key}": {} for key in keys}}},
                    }
                    for manager, keys in owners.items()
                ),
            ],
        },
    }


def test_labels_of_a_level() -> None:
    """What is refused is what is audited and warned of."""
    assert labels("baseline") == {ENFORCE: "baseline", AUDIT: "baseline", WARN: "baseline"}


@pytest.mark.parametrize(
    ("level", "needed", "expected"),
    [
        ("privileged", "restricted", True),
        ("privileged", "privileged", True),
        ("baseline", "baseline", True),
        ("baseline", "privileged", False),
        ("restricted", "baseline", False),
    ],
)
def test_admits(level: str, needed: str, expected: bool) -> None:
    """A more lenient level admits what a stricter one does."""
    assert admits(level, needed) is expected


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (None, {}),
        ({"metadata": {"name": "web"}}, {}),
        ({"metadata": {"name": "web", "labels": None, "managedFields": None}}, {}),
        ({"metadata": {"name": "web", "labels": {ENFORCE: "baseline"}}}, {ENFORCE: "baseline"}),
        (namespace({"istio-injection": "enabled"}), {}),
        (namespace({ENFORCE: "restricted", "team": "a"}, kubectl=[ENFORCE]), {ENFORCE: "restricted"}),
        (namespace({ENFORCE: "baseline", WARN: "baseline"}, ours=[ENFORCE, WARN]), {}),
        (
            namespace({ENFORCE: "baseline", WARN: "restricted"}, ours=[ENFORCE], argocd=[WARN]),
            {WARN: "restricted"},
        ),
        (
            namespace({ENFORCE: "baseline", ENFORCE + "-version": "v1.30"}, ours=[ENFORCE]),
            {ENFORCE + "-version": "v1.30"},
        ),
    ],
    ids=[
        "no namespace",
        "no labels",
        "null",
        "nobody's",
        "of other kinds",
        "kubectl's",
        "ours",
        "one ours, one Argo CD's",
        "version",
    ],
)
def test_foreign_labels(live: dict[str, Any] | None, expected: dict[str, str]) -> None:
    """Labels of pod security that our manager does not own."""
    assert foreign_labels(live, MANAGER) == expected


def test_namespace_without_foreign_labels() -> None:
    """The object to apply has nothing but the labels: what else a namespace has stays."""
    assert namespace_object("web", "privileged", {}, force=False) == (
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "web", "labels": {ENFORCE: "privileged", AUDIT: "privileged", WARN: "privileged"}},
        },
        [],
    )


@pytest.mark.parametrize("level", ["baseline", "privileged"])
def test_lenient_label_of_another_is_kept(level: str) -> None:
    """Enough is enough: a level is never lowered, and a label as we want it stays its owner's too."""
    obj, problems = namespace_object("web", "baseline", {ENFORCE: level}, force=False)
    assert obj["metadata"]["labels"] == {AUDIT: "baseline", WARN: "baseline"}
    assert problems == []


@pytest.mark.parametrize("level", ["restricted", "no-such-level"])
def test_strict_label_of_another_is_kept_and_reported(level: str) -> None:
    """Pods will be refused, and the message says by whose label, where, and what to do."""
    obj, (problem,) = namespace_object("web", "baseline", {ENFORCE: level}, force=False)
    assert ENFORCE not in obj["metadata"]["labels"]
    assert f"Namespace web enforces Pod Security level {level}" in problem.condition
    assert problem.object == "Namespace web"
    assert "need baseline" in problem.message
    assert "psp_rbac_force: true" in problem.fix


def test_force_takes_labels_over() -> None:
    """The owner of the namespace has agreed to that."""
    foreign = {ENFORCE: "restricted", WARN: "restricted"}
    obj, problems = namespace_object("web", "privileged", foreign, force=True)
    assert obj["metadata"]["labels"] == labels("privileged")
    assert problems == []


def test_strict_warnings_of_another_are_no_problem() -> None:
    """Warnings and audit refuse nothing; without a label left to set there are no labels at all."""
    foreign = {ENFORCE: "privileged", AUDIT: "restricted", WARN: "restricted"}
    obj, problems = namespace_object("web", "privileged", foreign, force=False)
    assert obj["metadata"] == {"name": "web"}
    assert problems == []


def test_version_of_a_level_is_not_ours() -> None:
    """A pinned version stays; it neither keeps our labels out nor is it a problem."""
    obj, problems = namespace_object("web", "baseline", {ENFORCE + "-version": "v1.30"}, force=False)
    assert obj["metadata"]["labels"] == labels("baseline")
    assert problems == []
