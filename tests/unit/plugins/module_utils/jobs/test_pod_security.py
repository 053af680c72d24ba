# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each namespace gets the level that its pods need, is made where it is missing, and labels of others are respected."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.job import Task
from ansible_collections.meshops.istio.plugins.module_utils.jobs import pod_security

PREFIX = "pod-security.kubernetes.io/"
MANAGER = "meshops.istio.pod-security"


class World:
    """A cluster of namespaces."""

    def __init__(self) -> None:
        self.namespaces: dict[str, dict[str, Any]] = {}
        self.applied: list[str] = []

    def namespaced(self, _obj: dict[str, Any]) -> bool:
        """Namespaces live in none."""
        return False

    def get(self, _api_version: str, _kind: str, name: str, _namespace: None) -> dict[str, Any] | None:
        """One of them."""
        return self.namespaces.get(name)

    def list(self, _api_version: str, _kind: str, _namespace: None) -> list[dict[str, Any]]:
        """All of them."""
        return list(self.namespaces.values())

    def add(self, name: str, manager: str = "kubectl", **labels: str) -> None:
        """A namespace with levels that somebody has set."""
        found = {PREFIX + mode: level for mode, level in labels.items()}
        entry = {
            "manager": manager,
            "operation": "Apply",
            "fieldsV1": {"f:metadata": {"f:labels": {f"f:{key}": {} for key in found}}},
        }
        metadata = {"name": name, "labels": found, "managedFields": [entry] if found else []}
        self.namespaces[name] = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}

    def apply(self, obj: dict[str, Any], dry_run: bool = False, manager: str = "") -> dict[str, Any]:
        """Store with our manager."""
        assert manager == MANAGER
        name, labels = obj["metadata"]["name"], obj["metadata"].get("labels") or {}
        if not dry_run:
            self.applied.append(name)
            self.add(name, manager, **{key[len(PREFIX) :]: level for key, level in labels.items()})
        return copy.deepcopy(obj)

    def levels(self, name: str) -> set[str]:
        """The levels of all modes."""
        labels = self.namespaces[name]["metadata"]["labels"]
        assert set(labels) == {PREFIX + mode for mode in ("enforce", "audit", "warn")}
        return set(labels.values())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """An empty cluster."""
    found = World()
    monkeypatch.setattr(pod_security, "Cluster", lambda _params: found)
    return found


def run(*namespaces: dict[str, Any], check_mode: bool = False, diff: bool = False, **given: Any) -> dict[str, Any]:
    """Run the job as Ansible would."""
    options = {"namespaces": list(namespaces), **given}
    validated = ArgumentSpecValidator(copy.deepcopy(pod_security.ARGUMENT_SPEC)).validate(options)
    assert not validated.error_messages
    return pod_security.run(Task(validated.validated_parameters, check_mode, diff))


MESH = {"name": "istio-system", "runs": "control-plane"}
SHOP = {"name": "shop"}


def test_first_run(world: World) -> None:
    """istiod's pods run at `baseline`; those with a sidecar need `privileged` for istio-init (istio#6806)."""
    result = run(MESH, SHOP)
    assert result == {
        "changed": True,
        "mechanism": "PodSecurityAdmission",
        "levels": {"istio-system": "baseline", "shop": "privileged"},
        "objects": ["Namespace istio-system", "Namespace shop"],
    }
    assert world.levels("istio-system") == {"baseline"}
    assert world.levels("shop") == {"privileged"}


def test_second_run_writes_nothing(world: World) -> None:
    """Our own labels are no foreign ones."""
    run(MESH, SHOP)
    world.applied.clear()
    result = run(MESH, SHOP, diff=True)
    assert (result["changed"], result["diff"]) == (False, [])
    assert world.applied == []


def test_level_that_is_given(world: World) -> None:
    """With Istio CNI, applications need no more than `restricted`."""
    run({**SHOP, "level": "restricted"})
    assert world.levels("shop") == {"restricted"}


def test_namespace_that_is_named_twice(world: World) -> None:
    """Control plane and applications in one: the most lenient level that one of them needs."""
    for order in ((MESH, {"name": "istio-system"}), ({"name": "istio-system"}, MESH)):
        world.namespaces.clear()
        assert run(*order)["levels"] == {"istio-system": "privileged"}
        assert world.levels("istio-system") == {"privileged"}


def test_check_mode(world: World) -> None:
    """Writes nothing and shows what it would."""
    result = run(MESH, check_mode=True, diff=True)
    assert result["changed"] is True
    assert result["diff"][0]["before"] == ""
    assert result["diff"][0]["after"]["metadata"]["labels"][PREFIX + "enforce"] == "baseline"
    assert world.applied == []


def test_labels_that_are_lenient_enough_stay(world: World) -> None:
    """They are their owner's; a namespace of which nothing is left to us is left alone."""
    world.add("shop", enforce="privileged", audit="privileged", warn="privileged")
    assert run(SHOP)["changed"] is False
    world.add("istio-system", enforce="privileged")
    run(MESH)
    assert world.applied == ["istio-system"]


def test_labels_that_are_too_strict_54968(world: World) -> None:
    """istio#54968, #35894: pods would be refused. All namespaces are named at once, and nothing is written."""
    world.add("shop", enforce="restricted")
    world.add("web", enforce="baseline")
    with pytest.raises(JobError) as caught:
        run(MESH, SHOP, {"name": "web"})
    assert "Namespace shop enforces Pod Security level restricted" in caught.value.message
    assert "Namespace web enforces Pod Security level baseline" in caught.value.message
    assert "psp_rbac_force: true" in caught.value.message
    assert world.applied == []


def test_labels_that_only_warn_are_no_hindrance(world: World) -> None:
    """Nothing is refused by them."""
    world.add("shop", warn="restricted", audit="restricted")
    run(SHOP)
    assert world.applied == ["shop"]


def test_force(world: World) -> None:
    """Takes over what others have set."""
    world.add("shop", enforce="restricted", warn="restricted")
    assert run(SHOP, force=True)["changed"] is True
    assert world.levels("shop") == {"privileged"}
