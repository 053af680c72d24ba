# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies, roles and bindings: what is allowed to whom, and what may go when it is taken back."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.pod_security.grants import (
    OURS,
    Grant,
    is_ours,
    objects,
    policy_name,
    removable,
    use_rule,
)
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.privileges import (
    CONSTRAINTS,
    POLICY,
    PRIVILEGES,
)

SHOP = Grant("shop", "net-admin", ("cart", "default"))
MESH = Grant("istio-system", "none", ("*",))
NODE = Grant("kube-system", "host", ("istio-cni",))


MANAGER = "meshops.istio.pod-security"


def by(obj: dict[str, Any], manager: str = MANAGER) -> dict[str, Any]:
    """An object as somebody has applied it."""
    labels = {f"f:{label}": {} for label in obj["metadata"].get("labels") or {}}
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": labels}}}
    return {**obj, "metadata": {**obj["metadata"], "managedFields": [entry]}}


def named(found: list[dict[str, Any]]) -> list[str]:
    """Kind and name of each, with its namespace."""
    return [f"{obj['kind']} {obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}" for obj in found]


def one(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The only object of a kind."""
    (obj,) = [obj for obj in found if obj["kind"] == kind]
    return obj


def test_policies_roles_and_bindings() -> None:
    """A policy and a role for each privilege that is needed, and a binding for each grant; what is used comes first."""
    assert named(objects(POLICY, [SHOP, MESH])) == [
        "PodSecurityPolicy /istio-baseline",
        "PodSecurityPolicy /istio",
        "ClusterRole /istio-baseline",
        "ClusterRole /istio",
        "RoleBinding shop/istio",
        "RoleBinding istio-system/istio-baseline",
    ]


@pytest.mark.parametrize("mechanism", [POLICY, CONSTRAINTS])
def test_every_object_is_marked_as_ours(mechanism: str) -> None:
    """By labels that an object of somebody else does not have."""
    found = objects(mechanism, [SHOP, MESH, NODE])
    assert all(is_ours(by(obj), MANAGER) for obj in found)
    assert not is_ours({"metadata": {"name": "istio"}}, MANAGER)
    assert not is_ours(by({"metadata": {"labels": {"app.kubernetes.io/managed-by": "meshops.istio"}}}), MANAGER)


def test_copy_with_our_labels_is_not_ours() -> None:
    """As `kubectl get -o yaml | kubectl apply -f-` makes one in another namespace: another holds its labels."""
    (*_more, binding) = objects(POLICY, [SHOP])
    assert not is_ours(binding, MANAGER)
    assert not is_ours(by(binding, "kubectl"), MANAGER)


def test_the_applications_policy_is_stricter_than_the_guides() -> None:
    """No privileged container, no volume of the node, and the two capabilities of istio-init."""
    spec = one(objects(POLICY, [SHOP]), POLICY)["spec"]
    assert spec["privileged"] is False
    assert spec["allowedCapabilities"] == ["NET_ADMIN", "NET_RAW"]
    assert not {"*", "hostPath"} & set(spec["volumes"])
    assert not [field for field in spec if field.startswith("host")]


def test_the_guides_rules_to_the_letter() -> None:
    """Guide, "Preparation"; in the API version that Kubernetes 1.24 still serves."""
    policy = one(objects(POLICY, [SHOP], guide_rules=True), POLICY)
    assert policy["apiVersion"] == "policy/v1beta1"
    assert policy["metadata"] == {"name": "istio", "labels": OURS}
    assert policy["spec"] == {
        "privileged": True,
        "allowedCapabilities": ["NET_ADMIN"],
        "fsGroup": {"rule": "RunAsAny"},
        "runAsUser": {"rule": "RunAsAny"},
        "seLinux": {"rule": "RunAsAny"},
        "supplementalGroups": {"rule": "RunAsAny"},
        "volumes": ["*"],
    }


def test_the_guides_rules_are_for_applications_only() -> None:
    """istiod and the gateways need no more than before."""
    with_guide = one(objects(POLICY, [MESH], guide_rules=True), POLICY)
    assert with_guide == one(objects(POLICY, [MESH]), POLICY)
    assert "allowedCapabilities" not in with_guide["spec"]


@pytest.mark.parametrize(
    ("mechanism", "grant", "rule"),
    [
        (POLICY, SHOP, {"apiGroups": ["policy"], "resources": ["podsecuritypolicies"], "resourceNames": ["istio"]}),
        (
            CONSTRAINTS,
            MESH,
            {
                "apiGroups": ["security.openshift.io"],
                "resources": ["securitycontextconstraints"],
                "resourceNames": ["nonroot-v2"],
            },
        ),
    ],
)
def test_a_role_allows_to_use_one_policy(mechanism: str, grant: Grant, rule: dict[str, Any]) -> None:
    """And nothing else."""
    role = one(objects(mechanism, [grant]), "ClusterRole")
    assert role["rules"] == [{**rule, "verbs": ["use"]}]
    assert role["rules"] == [use_rule(mechanism, grant.privilege)]


def test_a_binding_names_each_service_account() -> None:
    """Guide: a custom service account needs one too."""
    binding = one(objects(POLICY, [SHOP]), "RoleBinding")
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "cart", "namespace": "shop"},
        {"kind": "ServiceAccount", "name": "default", "namespace": "shop"},
    ]
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "istio"}


def test_a_binding_of_all_service_accounts() -> None:
    """Of this namespace, not of others."""
    (subject,) = one(objects(POLICY, [MESH]), "RoleBinding")["subjects"]
    assert (subject["kind"], subject["name"]) == ("Group", "system:serviceaccounts:istio-system")


def test_openshift_brings_all_constraints_but_one() -> None:
    """Ours allows what istio-init needs; the roles for OpenShift's own take no name that it may have."""
    assert named(objects(CONSTRAINTS, [SHOP, MESH, NODE])) == [
        "SecurityContextConstraints /istio",
        "ClusterRole /istio-scc-nonroot-v2",
        "ClusterRole /istio",
        "ClusterRole /istio-scc-privileged",
        "RoleBinding shop/istio",
        "RoleBinding istio-system/istio-scc-nonroot-v2",
        "RoleBinding kube-system/istio-scc-privileged",
    ]
    constraints = one(objects(CONSTRAINTS, [SHOP]), CONSTRAINTS)
    assert constraints["allowPrivilegedContainer"] is False
    assert constraints["allowedCapabilities"] == ["NET_ADMIN", "NET_RAW"]
    assert "spec" not in constraints


def test_objects_are_nobody_elses_to_change() -> None:
    """The tables stay as they are, whatever a caller does with what it got."""
    one(objects(POLICY, [SHOP]), POLICY)["spec"]["allowedCapabilities"].append("SYS_ADMIN")
    one(objects(CONSTRAINTS, [SHOP]), CONSTRAINTS)["labels"] = {}
    assert one(objects(POLICY, [SHOP]), POLICY)["spec"]["allowedCapabilities"] == ["NET_ADMIN", "NET_RAW"]


@pytest.mark.parametrize("privilege", PRIVILEGES)
@pytest.mark.parametrize("mechanism", [POLICY, CONSTRAINTS])
def test_every_privilege_has_a_policy(mechanism: str, privilege: str) -> None:
    """In each mechanism, and a role that names it."""
    role = one(objects(mechanism, [Grant("x", privilege, ("a",))]), "ClusterRole")
    assert role["rules"][0]["resourceNames"] == [policy_name(mechanism, privilege)]


def test_all_of_it_goes_with_the_last_namespace() -> None:
    """Bindings first, so that nothing refers to what is gone."""
    assert named(removable(objects(POLICY, [SHOP, MESH]), ["shop", "istio-system"], []).gone) == [
        "RoleBinding shop/istio",
        "RoleBinding istio-system/istio-baseline",
        "ClusterRole /istio-baseline",
        "ClusterRole /istio",
        "PodSecurityPolicy /istio-baseline",
        "PodSecurityPolicy /istio",
    ]


def test_what_another_namespace_uses_stays() -> None:
    """Its role, and the policy that the role names."""
    other = Grant("other", "net-admin", ("default",))
    assert named(removable(objects(POLICY, [SHOP, MESH, other]), ["shop", "istio-system"], []).gone) == [
        "RoleBinding shop/istio",
        "RoleBinding istio-system/istio-baseline",
        "ClusterRole /istio-baseline",
        "PodSecurityPolicy /istio-baseline",
    ]


def test_what_a_killed_run_left_goes_too() -> None:
    """A policy without a role, a role without a binding."""
    policy, role, _binding = objects(POLICY, [SHOP])
    assert removable([policy], [], []).gone == [policy]
    assert removable([policy, role], [], []).gone == [role, policy]


RBAC = "rbac.authorization.k8s.io"


def theirs(kind: str, **more: Any) -> dict[str, Any]:
    """A binding or role of somebody else."""
    where = {"namespace": "b"} if kind in ("Role", "RoleBinding") else {}
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": {"name": "theirs", **where}, **more}


TO_OURS = {"roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "istio"}}
RULE = use_rule(POLICY, "net-admin")


@pytest.mark.parametrize(
    ("user", "kept"),
    [
        (theirs("RoleBinding", **TO_OURS), {"ClusterRole istio": "RoleBinding b/theirs"}),
        (theirs("ClusterRoleBinding", **TO_OURS), {"ClusterRole istio": "ClusterRoleBinding theirs"}),
        (theirs("ClusterRole", rules=[RULE]), {"PodSecurityPolicy istio": "ClusterRole theirs"}),
        (theirs("Role", rules=[{"verbs": ["get"]}, RULE]), {"PodSecurityPolicy istio": "Role b/theirs"}),
        (theirs("RoleBinding", roleRef={"kind": "Role", "name": "istio"}), {}),
        (theirs("RoleBinding", roleRef={"kind": "ClusterRole", "name": "view"}), {}),
        (theirs("ClusterRole", rules=[{**RULE, "resourceNames": ["other"]}]), {}),
        (theirs("ClusterRole", rules=[{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]), {}),
        (theirs("ClusterRole", rules=None), {}),
        # docs/rbac-psp.yml: the account that lets others use a policy must be allowed to use it
        (theirs("ClusterRole", rules=[RULE], metadata={"name": "meshops-istio-psp-node"}), {}),
    ],
)
def test_what_others_use_stays(user: dict[str, Any], kept: dict[str, str]) -> None:
    """A role that others have bound, with its policy; a policy that others have named. Who does is told."""
    found = removable(objects(POLICY, [SHOP]), ["shop"], [user])
    assert found.kept == kept
    gone = {f"{obj['kind']} {obj['metadata']['name']}" for obj in found.gone}
    if "ClusterRole istio" in kept:
        assert gone == {"RoleBinding istio"}
    else:
        assert gone == {"RoleBinding istio", "ClusterRole istio", "PodSecurityPolicy istio"} - set(kept)


def test_constraints_that_name_others_stay() -> None:
    """As `oc adm policy add-scc-to-user` of old writes them into it."""
    made = objects(CONSTRAINTS, [SHOP])
    one(made, CONSTRAINTS)["users"] = ["system:serviceaccount:b:default"]
    found = removable(made, ["shop"], [])
    assert found.kept == {"SecurityContextConstraints istio": "system:serviceaccount:b:default"}
    assert [obj["kind"] for obj in found.gone] == ["RoleBinding", "ClusterRole"]
