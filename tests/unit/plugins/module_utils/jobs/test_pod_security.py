# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each namespace gets the level that its pods need, is made where it is missing, and labels of others are respected."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import identity, reference
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.jobs import pod_security
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.privileges import (
    ADMISSION,
    CONSTRAINTS,
    POLICY,
)
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

PREFIX = "pod-security.kubernetes.io/"
MANAGER = "meshops.istio.pod-security"


def by_us(obj: dict[str, Any]) -> dict[str, Any]:
    """An object as we have applied it."""
    labels = {f"f:{label}": {} for label in obj["metadata"].get("labels") or {}}
    entry = {"manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": labels}}}
    return {**obj, "metadata": {**obj["metadata"], "managedFields": [entry]}}


class World:
    """A cluster of namespaces and of whatever else was applied to it."""

    def __init__(self) -> None:
        self.namespaces: dict[str, dict[str, Any]] = {}
        self.others: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.applied: list[str] = []
        self.deleted: list[str] = []

    def namespaced(self, obj: dict[str, Any]) -> bool:
        """Whether a kind lives in namespaces."""
        return obj["kind"] in ("RoleBinding", "Deployment")

    def get(self, api_version: str, kind: str, name: str, namespace: str | None) -> dict[str, Any] | None:
        """One of them."""
        if kind == "Namespace":
            return self.namespaces.get(name)
        return self.others.get((api_version, kind, namespace or "", name))

    def list(
        self, api_version: str, kind: str, namespace: str | None = None, label_selector: str | None = None
    ) -> list[dict[str, Any]]:
        """All of a kind."""
        if kind == "Namespace":
            return list(self.namespaces.values())
        wanted = dict(pair.split("=") for pair in label_selector.split(",")) if label_selector else {}
        return [
            obj
            for key, obj in self.others.items()
            if key[:2] == (api_version, kind)
            and namespace in (None, key[2])
            and wanted.items() <= obj["metadata"].get("labels", {}).items()
        ]

    def put(self, obj: dict[str, Any]) -> None:
        """An object that somebody has made."""
        self.others[identity(obj)] = obj

    def delete(self, obj: dict[str, Any], same: bool) -> bool:
        """Forget the very one that was read."""
        assert same
        self.deleted.append(reference(obj))
        return bool(self.others.pop(identity(obj)))

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

    def apply(
        self, obj: dict[str, Any], dry_run: bool = False, manager: str = "", strict: bool = False
    ) -> dict[str, Any]:
        """Store with our manager."""
        assert manager == MANAGER
        if obj["kind"] != "Namespace":
            if not dry_run:
                self.applied.append(reference(obj))
                self.put(by_us(copy.deepcopy(obj)))
            return copy.deepcopy(obj)
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
    monkeypatch.setattr(pod_security, "detect", lambda _cluster: ADMISSION)
    return found


def task(*namespaces: dict[str, Any], check_mode: bool = False, diff: bool = False, **given: Any) -> Task:
    """The job's task as Ansible would make it."""
    options = {"namespaces": list(namespaces), **given}
    validated = ArgumentSpecValidator(copy.deepcopy(pod_security.ARGUMENT_SPEC)).validate(options)
    assert not validated.error_messages
    return Task(validated.validated_parameters, check_mode, diff)


def run(*namespaces: dict[str, Any], **given: Any) -> dict[str, Any]:
    """Run the job."""
    return pod_security.run(task(*namespaces, **given))


MESH = {"name": "istio-system", "runs": "control-plane"}
SHOP = {"name": "shop"}


def test_first_run(world: World) -> None:
    """istiod's pods run at `baseline`; those with a sidecar need `privileged` for istio-init (istio#6806)."""
    result = run(MESH, SHOP)
    assert sorted(result.pop("planned")) == result["objects"]
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
    """With Istio CNI and a seccomp profile, applications need no more than `restricted`."""
    run({**SHOP, "level": "restricted"}, istio_cni=True, seccomp_profile=True)
    assert world.levels("shop") == {"restricted"}


def test_level_that_would_refuse_istio_init(world: World) -> None:
    """Is refused before anything is written."""
    with pytest.raises(JobError) as caught:
        run(MESH, {**SHOP, "level": "baseline"})
    assert "Namespace shop: level baseline" in str(caught.value)
    assert world.applied == []


def test_applications_with_istio_cni(world: World) -> None:
    """Nothing but the namespace of Istio CNI itself is privileged."""
    result = run(MESH, SHOP, {"name": "kube-system", "runs": "node"}, istio_cni=True)
    assert result["levels"] == {"istio-system": "baseline", "shop": "baseline", "kube-system": "privileged"}


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
    assert "Namespace shop enforces Pod Security level restricted" in str(caught.value)
    assert "Namespace web enforces Pod Security level baseline" in str(caught.value)
    assert "psp_rbac_force: true" in str(caught.value)
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


def test_taking_labels_back(world: World) -> None:
    """Ours go, what others have set stays, and so do the namespaces."""
    run(MESH, SHOP)
    world.namespaces["shop"]["metadata"]["labels"]["team"] = "a"
    world.applied.clear()
    result = run(MESH, {"name": "nowhere"}, state="absent")
    assert (result["changed"], result["objects"]) == (True, ["Namespace istio-system"])
    assert world.namespaces["istio-system"]["metadata"]["labels"] == {}
    assert world.namespaces["shop"]["metadata"]["labels"]["team"] == "a"
    assert run(MESH, {"name": "nowhere"}, state="absent")["changed"] is False
    assert "nowhere" not in world.namespaces


def deployment(namespace: str, account: str) -> dict[str, Any]:
    """A workload with a custom service account."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "cart", "namespace": namespace},
        "spec": {"template": {"spec": {"serviceAccountName": account}}},
    }


ISTIO_POLICY = {"apiVersion": "policy/v1beta1", "kind": "PodSecurityPolicy", "metadata": {"name": "istio"}, "spec": {}}


@pytest.fixture
def policies(world: World) -> World:
    """A cluster of namespaces `istio-system` and `shop`, in which a Deployment has an account of its own."""
    world.add("istio-system")
    world.add("shop")
    world.put(deployment("shop", "cart"))
    return world


def subjects(world: World, namespace: str, name: str) -> list[str]:
    """Who is bound."""
    binding = world.get("rbac.authorization.k8s.io/v1", "RoleBinding", name, namespace)
    assert binding
    return [subject["name"] for subject in binding["subjects"]]


def test_policies(policies: World) -> None:
    """For every account that the workloads use; the mesh's own accounts are not there yet, so all of its namespace."""
    result = run(MESH, SHOP, mechanism=POLICY)
    assert sorted(result.pop("planned")) == sorted(result["objects"])
    assert result == {
        "changed": True,
        "mechanism": POLICY,
        "policies": {"istio-system": "istio-baseline", "shop": "istio"},
        "service_accounts": {"shop": ["cart", "default"]},
        "objects": [
            "PodSecurityPolicy istio-baseline",
            "PodSecurityPolicy istio",
            "ClusterRole istio-baseline",
            "ClusterRole istio",
            "RoleBinding istio-system/istio-baseline",
            "RoleBinding shop/istio",
        ],
    }
    assert subjects(policies, "shop", "istio") == ["cart", "default"]
    assert subjects(policies, "istio-system", "istio-baseline") == ["system:serviceaccounts:istio-system"]
    again = run(MESH, SHOP, mechanism=POLICY, diff=True)
    assert (again["changed"], again["diff"]) == (False, [])


def test_a_role_is_there_before_its_binding(policies: World) -> None:
    """The API server looks the role up to see whether we may bind it."""
    run(SHOP, mechanism=POLICY)
    assert policies.applied.index("ClusterRole istio") < policies.applied.index("RoleBinding shop/istio")


def test_explicit_accounts_win(policies: World) -> None:
    """Also in a second entry of the same namespace, as the role gives them; `*` is all of the namespace."""
    result = run(SHOP, {"name": "shop", "service_accounts": ["web"]}, mechanism=POLICY)
    assert subjects(policies, "shop", "istio") == ["web"]
    assert result["service_accounts"] == {}
    run({"name": "shop", "service_accounts": ["*"]}, mechanism=POLICY)
    assert subjects(policies, "shop", "istio") == ["system:serviceaccounts:shop"]


def test_nobody_is_bound_by_an_empty_list(policies: World) -> None:
    """It does not mean everybody."""
    run({"name": "shop", "service_accounts": []}, mechanism=POLICY)
    assert policies.others.keys() == {identity(deployment("shop", "cart"))}


def test_a_namespace_that_is_missing_is_made(policies: World) -> None:
    """Without labels, as those belong to another mechanism."""
    run({"name": "new"}, mechanism=POLICY)
    assert policies.namespaces["new"]["metadata"]["labels"] == {}


def test_node_privileges_are_for_known_accounts(policies: World) -> None:
    """Not for all that live in kube-system."""
    run({"name": "kube-system", "runs": "node"}, mechanism=POLICY)
    assert subjects(policies, "kube-system", "istio-node") == ["istio-cni", "ztunnel"]


def test_a_policy_of_somebody_else_is_left_alone(policies: World) -> None:
    """Who followed the guide by hand has one of that name; it is named in a warning."""
    policies.put(copy.deepcopy(ISTIO_POLICY))
    job = task(SHOP, mechanism=POLICY)
    result = pod_security.run(job)
    assert policies.get("policy/v1beta1", "PodSecurityPolicy", "istio", None) == ISTIO_POLICY
    assert result["objects"] == ["ClusterRole istio", "RoleBinding shop/istio"]
    (warning,) = job.warnings
    assert "PodSecurityPolicy istio exists but was not created by this role" in warning
    assert "psp_rbac_force" in warning
    run(SHOP, mechanism=POLICY, force=True)
    assert policies.get("policy/v1beta1", "PodSecurityPolicy", "istio", None) != ISTIO_POLICY


def test_constraints(policies: World) -> None:
    """OpenShift: the same shape, and its own constraints where it brings them."""
    result = run(MESH, SHOP, mechanism=CONSTRAINTS)
    assert result["policies"] == {"istio-system": "nonroot-v2", "shop": "istio"}
    assert [name for name in result["objects"] if name.startswith("SecurityContextConstraints")] == [
        "SecurityContextConstraints istio"
    ]
    assert subjects(policies, "shop", "istio") == ["cart", "default"]


def test_taking_policies_back(policies: World) -> None:
    """Only what was made here, and with the last namespace that needs it the policy itself."""
    policies.put({**copy.deepcopy(ISTIO_POLICY), "metadata": {"name": "theirs", "labels": {"team": "a"}}})
    run(MESH, SHOP, mechanism=POLICY)
    before = run(SHOP, state="absent", check_mode=True, diff=True)
    assert policies.deleted == []
    result = run(SHOP, state="absent")
    assert result["objects"] == before["objects"] == policies.deleted
    assert policies.deleted == ["RoleBinding shop/istio", "ClusterRole istio", "PodSecurityPolicy istio"]
    assert [entry["after"] for entry in before["diff"]] == ["", "", ""]
    run(MESH, state="absent")
    kinds = sorted(key[1] for key in policies.others)
    assert kinds == ["Deployment", "PodSecurityPolicy"]
    assert run(MESH, SHOP, state="absent")["changed"] is False


def test_taking_policies_back_that_others_use(policies: World) -> None:
    """What others have bound stays, and is told by a warning; a copy of our binding is theirs."""
    run(SHOP, mechanism=POLICY)
    key = next(key for key in policies.others if key[1] == "RoleBinding")
    copied = copy.deepcopy(policies.others[key])
    copied["metadata"] = {**copied["metadata"], "name": "copied", "managedFields": [{"manager": "kubectl"}]}
    policies.put(copied)
    for deleted in (["RoleBinding shop/istio"], []):
        policies.deleted.clear()
        made = task(SHOP, state="absent")
        pod_security.run(made)
        assert policies.deleted == deleted
        assert made.warnings == [
            "ClusterRole istio is left as it is, because it is in use by RoleBinding shop/copied. Run again when they "
            "no longer need it."
        ]


def test_taking_policies_back_where_others_cannot_be_seen(policies: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes, as nobody could say who loses what."""
    run(SHOP, mechanism=POLICY)
    real = policies.list

    def refuse(api_version: str, kind: str, *where: Any, label_selector: str | None = None) -> Any:
        if kind == "ClusterRoleBinding":
            raise ApiError(403, "Forbidden", "clusterrolebindings is forbidden")
        return real(api_version, kind, *where, label_selector=label_selector)

    monkeypatch.setattr(policies, "list", refuse)
    with pytest.raises(JobError, match=r"of this role: clusterrolebindings is forbidden\. Nothing was removed\."):
        run(SHOP, state="absent")
    assert policies.deleted == []
