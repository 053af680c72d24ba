# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PodSecurityPolicy and SecurityContextConstraints: policies, and who may use them where. Pure.

Both mechanisms work alike: a policy is a cluster-wide object, a ClusterRole allows to ``use`` it, and a RoleBinding
gives that to the service accounts of a namespace. The guide binds a ClusterRole for all namespaces at once; a
RoleBinding allows the same pods and lets an account use the policy in its own namespace only.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import owned, reference
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.privileges import (
    CONSTRAINTS,
    POLICY,
    PRIVILEGES,
)

#: Instead of a service account's name: all of the namespace.
EVERYBODY = "*"
_RBAC = "rbac.authorization.k8s.io"
#: Labels by which what was made here is known.
OURS = {"app.kubernetes.io/managed-by": "meshops.istio", "app.kubernetes.io/component": "pod-security"}
#: Kinds that are made here; RoleBindings in namespaces, the others cluster-wide.
KINDS: tuple[tuple[str, str], ...] = (
    ("policy/v1beta1", POLICY),
    ("security.openshift.io/v1", CONSTRAINTS),
    (f"{_RBAC}/v1", "ClusterRole"),
    (f"{_RBAC}/v1", "RoleBinding"),
)

#: How roles of docs/rbac-*.yml are called: an account needs the right to use a policy to let others use it.
_DOCUMENTED = "meshops-istio-"
#: Kinds by which others may use what is made here.
USERS: tuple[tuple[str, str], ...] = tuple(
    (f"{_RBAC}/v1", kind) for kind in ("ClusterRoleBinding", "RoleBinding", "ClusterRole", "Role")
)

#: Volumes that are not the node's.
_VOLUMES = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
]
_ANY = {"rule": "RunAsAny"}
_ANY_IDS = {"fsGroup": _ANY, "runAsUser": _ANY, "seLinux": _ANY, "supplementalGroups": _ANY}
#: Without it a policy refuses pods that set a seccomp profile, as careful ones do.
_ANY_SECCOMP_PROFILE = {"seccomp.security.alpha.kubernetes.io/allowedProfileNames": "*"}

#: Specs of our policies by privilege. Less than the guide's where Istio allows: no privileged container, nothing of
#: the node. Escalation stays allowed, as Kubernetes has it: it is the applications' containers that it would break.
_POLICY_SPECS: dict[str, dict[str, Any]] = {
    "none": {"privileged": False, "volumes": _VOLUMES, **_ANY_IDS},
    "net-admin": {
        "privileged": False,
        "allowedCapabilities": ["NET_ADMIN", "NET_RAW"],
        "volumes": _VOLUMES,
        **_ANY_IDS,
    },
    "host": {
        "privileged": True,
        "allowedCapabilities": ["*"],
        "hostNetwork": True,
        "volumes": ["*"],
        **_ANY_IDS,
    },
}

#: The guide's own rules, to the letter (guide, "Preparation"). The istio-init of today needs NET_RAW too.
GUIDE_SPEC: dict[str, Any] = {
    "privileged": True,
    "allowedCapabilities": ["NET_ADMIN"],
    "volumes": ["*"],
    **_ANY_IDS,
}

#: The one SecurityContextConstraints that OpenShift does not bring: its own ``anyuid``, with what istio-init needs.
_CONSTRAINTS: dict[str, dict[str, Any]] = {
    "net-admin": {
        "allowHostDirVolumePlugin": False,
        "allowHostIPC": False,
        "allowHostNetwork": False,
        "allowHostPID": False,
        "allowHostPorts": False,
        "allowPrivilegedContainer": False,
        "allowedCapabilities": ["NET_ADMIN", "NET_RAW"],
        "defaultAddCapabilities": [],
        "fsGroup": {"type": "RunAsAny"},
        "priority": 0,
        "readOnlyRootFilesystem": False,
        "requiredDropCapabilities": ["MKNOD"],
        "runAsUser": {"type": "RunAsAny"},
        "seLinuxContext": {"type": "MustRunAs"},
        "seccompProfiles": ["*"],
        "supplementalGroups": {"type": "RunAsAny"},
        "volumes": _VOLUMES,
    }
}

#: Mechanism -> API group and plural that the ClusterRole's rule names.
USED: dict[str, tuple[str, str]] = {
    POLICY: ("policy", "podsecuritypolicies"),
    CONSTRAINTS: ("security.openshift.io", "securitycontextconstraints"),
}


@dataclass(frozen=True)
class Grant:
    """A namespace whose pods must be allowed something.

    :ivar str privilege: key of ``PRIVILEGES``
    :ivar tuple accounts: names of service accounts; with ``*``, all of the namespace
    """

    namespace: str
    privilege: str
    accounts: tuple[str, ...]


def policy_name(mechanism: str, privilege: str) -> str:
    """Name of the policy or constraints that allow something."""
    found = PRIVILEGES[privilege]
    return found.policy if mechanism == POLICY else found.constraints


def _role_name(mechanism: str, privilege: str) -> str:
    """``istio`` is the guide's; ours for policies of others must not take a name that somebody else may have."""
    name = policy_name(mechanism, privilege)
    return name if name.startswith("istio") else f"istio-scc-{name}"


def objects(mechanism: str, grants: Iterable[Grant], guide_rules: bool = False) -> list[dict[str, Any]]:
    """Policies, ClusterRoles and RoleBindings that the grants need.

    :arg mechanism: ``PodSecurityPolicy`` or ``SecurityContextConstraints``
    :arg guide_rules: the guide's PodSecurityPolicy ``istio`` instead of our stricter one
    """
    grants = list(grants)
    needed = sorted({grant.privilege for grant in grants}, key=list(PRIVILEGES).index)
    policies = [_policy(mechanism, privilege, guide_rules) for privilege in needed]
    roles = [_role(mechanism, privilege) for privilege in needed]
    return [*filter(None, policies), *roles, *(_binding(mechanism, grant) for grant in grants)]


def _policy(mechanism: str, privilege: str, guide_rules: bool) -> dict[str, Any] | None:
    metadata: dict[str, Any] = {"name": policy_name(mechanism, privilege), "labels": dict(OURS)}
    if mechanism == POLICY:
        guide = guide_rules and privilege == "net-admin"
        if not guide:
            metadata["annotations"] = dict(_ANY_SECCOMP_PROFILE)
        spec = copy.deepcopy(GUIDE_SPEC if guide else _POLICY_SPECS[privilege])
        return {"apiVersion": "policy/v1beta1", "kind": POLICY, "metadata": metadata, "spec": spec}
    fields = _CONSTRAINTS.get(privilege)
    if fields is None:
        return None
    return {
        "apiVersion": "security.openshift.io/v1",
        "kind": CONSTRAINTS,
        "metadata": metadata,
        **copy.deepcopy(fields),
    }


def use_rule(mechanism: str, privilege: str) -> dict[str, Any]:
    """The one rule of a ClusterRole: a policy may be used."""
    group, plural = USED[mechanism]
    return {
        "apiGroups": [group],
        "resources": [plural],
        "resourceNames": [policy_name(mechanism, privilege)],
        "verbs": ["use"],
    }


def _role(mechanism: str, privilege: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": _role_name(mechanism, privilege), "labels": dict(OURS)},
        "rules": [use_rule(mechanism, privilege)],
    }


def _binding(mechanism: str, grant: Grant) -> dict[str, Any]:
    name = _role_name(mechanism, grant.privilege)
    subjects = [{"kind": "ServiceAccount", "name": account, "namespace": grant.namespace} for account in grant.accounts]
    if EVERYBODY in grant.accounts:
        subjects = [{"kind": "Group", "name": f"system:serviceaccounts:{grant.namespace}", "apiGroup": _RBAC}]
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": grant.namespace, "labels": dict(OURS)},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
        "subjects": subjects,
    }


def is_ours(obj: dict[str, Any], manager: str) -> bool:
    """Whether an object was made here: others may have a policy or a role of the same name, or a copy with its labels.

    :arg manager: our field manager, which holds the labels of what it has made
    """
    held = owned(obj, manager).get("f:metadata", {}).get("f:labels", {})
    labels = obj["metadata"].get("labels") or {}
    return OURS.items() <= labels.items() and all(f"f:{label}" in held for label in OURS)


@dataclass
class Removal:
    """What goes when some namespaces need nothing any more.

    :ivar list gone: live objects, in the order in which they may go
    :ivar dict kept: what others use, as people name it, with who does
    """

    gone: list[dict[str, Any]]
    kept: dict[str, str]


def removable(ours: Iterable[dict[str, Any]], namespaces: Iterable[str], others: Iterable[dict[str, Any]]) -> Removal:
    """What goes when some namespaces need nothing any more.

    Policies and roles stay as long as a binding uses a role of ours: one of ours in another namespace, or anybody's.

    :arg ours: all that was made here
    :arg others: bindings and roles that were not
    """
    ours, namespaces, users = list(ours), set(namespaces), _Users(others)
    bindings = [obj for obj in ours if obj["kind"] == "RoleBinding"]
    gone = [obj for obj in bindings if obj["metadata"]["namespace"] in namespaces]
    needed = {obj["roleRef"]["name"] for obj in bindings if obj not in gone}
    roles = [obj for obj in ours if obj["kind"] == "ClusterRole"]
    kept = {reference(role): users.of_role(role) for role in roles if users.of_role(role)}
    removed = [obj for obj in roles if obj["metadata"]["name"] not in needed and reference(obj) not in kept]
    used = {name for obj in roles if obj not in removed for rule in obj["rules"] for name in rule["resourceNames"]}
    policies = [obj for obj in ours if obj["kind"] in USED and obj["metadata"]["name"] not in used]
    kept.update({reference(policy): users.of_policy(policy) for policy in policies if users.of_policy(policy)})
    return Removal([*gone, *removed, *(obj for obj in policies if reference(obj) not in kept)], kept)


class _Users:
    """Who else uses what was made here."""

    def __init__(self, others: Iterable[dict[str, Any]]) -> None:
        self._others = list(others)

    def of_role(self, role: dict[str, Any]) -> str:
        """The bindings of others that give it to somebody, in words; "" for none."""
        wanted = ("ClusterRole", role["metadata"]["name"])
        refs = [(obj, obj.get("roleRef") or {}) for obj in self._others]
        return ", ".join(reference(obj) for obj, ref in refs if (ref.get("kind"), ref.get("name")) == wanted)

    def of_policy(self, policy: dict[str, Any]) -> str:
        """The roles of others that allow to use it, and who is named in it, in words; "" for none."""
        group, plural = USED[policy["kind"]]
        named = [*(policy.get("users") or []), *(policy.get("groups") or [])]
        roles = [
            reference(obj)
            for obj in self._others
            if not obj["metadata"]["name"].startswith(_DOCUMENTED)
            and any(_allows(rule, group, plural, policy["metadata"]["name"]) for rule in obj.get("rules") or [])
        ]
        return ", ".join([*named, *roles])


def _allows(rule: dict[str, Any], group: str, plural: str, name: str) -> bool:
    """Whether a rule names a policy; one that allows all of them is not for this one."""
    return (
        group in (rule.get("apiGroups") or [])
        and plural in (rule.get("resources") or [])
        and name in (rule.get("resourceNames") or [])
    )
