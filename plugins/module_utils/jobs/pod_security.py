# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_pod_security: Istio's and the applications' pods may run, with as little privilege as works."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import manifests
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import FIELD_MANAGER, Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import identity, reference
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError, JobErrors
from ansible_collections.meshops.istio.plugins.module_utils.pod_security import admission, grants, service_accounts
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.detection import detect
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.privileges import (
    ADMISSION,
    CONSTRAINTS,
    POLICY,
    PRIVILEGES,
    RUNS,
    check_level,
    most,
    privilege,
)
from ansible_collections.meshops.istio.plugins.module_utils.task import Task, argument_spec

#: A manager of its own: other jobs label the same namespaces, and an apply drops what its manager applied before.
MANAGER = f"{FIELD_MANAGER}.pod-security"

ARGUMENT_SPEC = argument_spec(
    {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "mechanism": {"type": "str", "choices": ["auto", POLICY, CONSTRAINTS, ADMISSION], "default": "auto"},
        "namespaces": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "runs": {"type": "str", "choices": list(RUNS), "default": "application"},
                "level": {"type": "str", "choices": list(admission.LEVELS)},
                "service_accounts": {"type": "list", "elements": "str"},
            },
        },
        "istio_cni": {"type": "bool", "default": False},
        "seccomp_profile": {"type": "bool", "default": False},
        "guide_rules": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
    }
)
#: What runs in a namespace -> the service accounts of its pods; None: found from its workloads. Istio's own namespace
#: may be empty yet, and what it gets is no capability; on a node's privileges others of kube-system have no claim.
_ACCOUNTS: dict[str, tuple[str, ...] | None] = {
    "application": None,
    "control-plane": (grants.EVERYBODY,),
    "node": service_accounts.NODE_ACCOUNTS,
}


@dataclass
class Namespace:
    """What the entries of one namespace ask for together.

    :ivar dict accounts: by privilege the service accounts that need it; None where they have to be found
    """

    level: str
    accounts: dict[str, tuple[str, ...] | None] = field(default_factory=dict)


@dataclass
class Work:
    """What a run has to do.

    :ivar list removed: live objects to be deleted, in that order
    """

    plan: manifests.Plan
    removed: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def run(task: Task) -> dict[str, Any]:
    """Bring namespaces, policies and bindings into the wanted state.

    :raises JobError: a level contradicts what runs in the namespace, labels of somebody else would refuse the pods, or
        the mechanism cannot be told
    """
    params, cluster = task.params, Cluster(task.params)
    namespaces = _namespaces(params)
    if params["state"] == "absent":
        work = _absent(task, cluster, namespaces)
    else:
        mechanism = params["mechanism"] if params["mechanism"] != "auto" else detect(cluster)
        present = _labelled if mechanism == ADMISSION else _granted
        work = present(task, cluster, namespaces, mechanism)
        work.facts["mechanism"] = mechanism
    if not task.check_mode:
        manifests.apply(cluster, work.plan.changes, MANAGER)
        manifests.delete(cluster, work.removed)
    result: dict[str, Any] = {
        "changed": bool(work.plan.changes or work.removed),
        "objects": [*work.plan.names, *map(reference, work.removed)],
        "planned": work.plan.planned,
        **work.facts,
    }
    if task.diff:
        removals = [manifests.removal_diff(obj) for obj in work.removed]
        result["diff"] = [*(change.diff() for change in work.plan.changes), *removals]
    return result


def _namespaces(params: dict[str, Any]) -> dict[str, Namespace]:
    """The namespaces by name; one that is named twice needs all that its entries need.

    :raises JobError: a level that is asked for would refuse Istio's own containers
    """
    found: dict[str, Namespace] = {}
    for entry in params["namespaces"]:
        needed = privilege(entry["runs"], params["istio_cni"])
        if entry["level"]:
            check_level(entry["name"], entry["level"], needed, params["seccomp_profile"])
        level = entry["level"] or PRIVILEGES[needed].level
        one = found.setdefault(entry["name"], Namespace(level))
        one.level = max(one.level, level, key=admission.LEVELS.index)
        explicit = entry["service_accounts"]
        accounts = _ACCOUNTS[entry["runs"]] if explicit is None else tuple(explicit)
        one.accounts[needed] = _together(one.accounts.get(needed), accounts)
    return found


def _together(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The accounts of two entries of a namespace; explicit ones win over those that would have to be found."""
    if one is None or other is None:
        return one if other is None else other
    return tuple(sorted({*one, *other}))


def _skeletons(names: Any) -> list[dict[str, Any]]:
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]


def _labelled(task: Task, cluster: Cluster, namespaces: dict[str, Namespace], _mechanism: str) -> Work:
    """Pod Security Admission: labels."""
    live = {obj["metadata"]["name"]: obj for obj in manifests.read(cluster, _skeletons(namespaces)).values()}
    wanted, problems = [], []
    for name, namespace in namespaces.items():
        foreign = admission.foreign_labels(live.get(name), MANAGER)
        obj, found = admission.namespace_object(name, namespace.level, foreign, task.params["force"])
        problems += found
        if name not in live or "labels" in obj["metadata"]:
            wanted.append(obj)
    if problems:
        raise JobErrors(problems, between=" ")
    plan = manifests.plan(cluster, wanted, MANAGER, preview=task.check_mode or task.diff)
    return Work(plan, facts={"levels": {name: namespace.level for name, namespace in namespaces.items()}})


def _granted(task: Task, cluster: Cluster, namespaces: dict[str, Namespace], mechanism: str) -> Work:
    """PodSecurityPolicy and SecurityContextConstraints: policies, and bindings of the service accounts that need them.

    What others have made under a name of ours is left alone, with a warning.
    """
    unknown = [name for name, namespace in namespaces.items() if None in namespace.accounts.values()]
    used = dict(
        zip(unknown, in_parallel(lambda name: service_accounts.in_namespace(cluster, name), unknown), strict=True)
    )
    wanted_grants = [
        grants.Grant(name, needed, used[name] if accounts is None else accounts)
        for name, namespace in namespaces.items()
        for needed, accounts in namespace.accounts.items()
        if accounts != ()
    ]
    wanted = grants.objects(mechanism, wanted_grants, task.params["guide_rules"])
    live = manifests.read(cluster, [*_skeletons(namespaces), *wanted])
    foreign = [obj for obj in wanted if identity(obj) in live and not grants.is_ours(live[identity(obj)], MANAGER)]
    if not task.params["force"]:
        wanted = [obj for obj in wanted if obj not in foreign]
        task.warnings += [
            f"{reference(obj)} exists but was not created by this role, so it is left as it is. If it does not allow "
            "what Istio needs, rename it or set psp_rbac_force: true."
            for obj in foreign
        ]
    missing = [obj for obj in _skeletons(namespaces) if identity(obj) not in live]
    plan = manifests.plan(cluster, [*missing, *wanted], MANAGER, preview=task.check_mode or task.diff)
    policies: dict[str, str] = {}
    for name, namespace in namespaces.items():
        policies[name] = grants.policy_name(mechanism, most(set(namespace.accounts)))
    accounts = {name: list(found) for name, found in used.items()}
    return Work(plan, facts={"policies": policies, "service_accounts": accounts})


def _absent(task: Task, cluster: Cluster, namespaces: dict[str, Namespace]) -> Work:
    """Take back labels, bindings and policies that were made here, whatever the mechanism was then.

    Namespaces stay: what lives in them is not ours. So does what others use.
    """
    selector = ",".join(f"{key}={value}" for key, value in grants.OURS.items())
    listed = in_parallel(lambda kind: cluster.list(*kind, label_selector=selector), grants.KINDS)
    ours = [obj for objs in listed for obj in objs if grants.is_ours(obj, MANAGER)]
    removal = grants.removable(ours, namespaces, _others(cluster, ours))
    task.warnings += [
        f"{name} is left as it is, because it is in use by {users}. Run again when they no longer need it."
        for name, users in removal.kept.items()
    ]
    live = manifests.read(cluster, _skeletons(namespaces))
    bare = [obj for obj in _skeletons(namespaces) if identity(obj) in live]
    return Work(manifests.plan(cluster, bare, MANAGER), removal.gone)


def _others(cluster: Cluster, ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bindings and roles of others, where there is anything of ours that they may use.

    :raises JobError: they may not be listed, so that nobody can say who loses what
    """
    if not any(obj["kind"] == "ClusterRole" or obj["kind"] in grants.USED for obj in ours):
        return []
    known = set(map(identity, ours))
    try:
        listed = in_parallel(lambda kind: cluster.list(*kind), grants.USERS)
    except ApiError as error:
        if error.status != 403:
            raise
        raise JobError(
            f"Cannot check whether others use the policies and roles of this role: {error.message.rstrip('.')}. "
            "Nothing was removed.",
            fix="Grant the account permission to list bindings and roles in the whole cluster.",
            code="right-missing",
            quotes=[error.message],
        ) from error
    return [obj for objs in listed for obj in objs if identity(obj) not in known]
