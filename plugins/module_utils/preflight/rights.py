# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run must be allowed to do: data, the source of preflight's access reviews and of our documented rights."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.cluster.kinds import group_resource
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.grants import USED, use_rule
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.privileges import (
    CONSTRAINTS,
    POLICY,
    PRIVILEGES,
)
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.service_accounts import POD_SPECS

READ = ("get", "list")
WRITE = ("get", "list", "create", "patch")
#: Helm 3 replaces and both majors delete what a chart no longer holds.
OWN = (*WRITE, "update", "delete")


class Right(NamedTuple):
    """Verbs on a kind.

    :ivar str where: ``cluster``, ``control-plane`` (Istio's and the gateways' namespaces) or ``application``
    :ivar tuple mechanisms: needed only where one of these decides which pods may run; empty for everywhere
    :ivar str feature: needed only where this is asked for; empty for always
    :ivar str subresource: of the kind, where the right is on that alone
    """

    api_version: str
    kind: str
    verbs: tuple[str, ...]
    where: str
    mechanisms: tuple[str, ...] = ()
    feature: str = ""
    subresource: str = ""

    @property
    def rule(self) -> dict[str, Any]:
        """As a role says it."""
        group, plural = group_resource(self.api_version, self.kind)
        resource = "/".join(filter(None, (plural, self.subresource)))
        return {"apiGroups": [group], "resources": [resource], "verbs": self.verbs}


#: Features that need more than a run without them: the app is asked for through the API server's proxy.
FROM_CLUSTER = "verify-from-cluster"
#: What is left out where it may not be done, so that preflight does not ask for it: liveness_verify says beside its
#: proof what the proxies have counted, and a diagnosis looks at all that it knows rules for.
COUNTED, DIAGNOSIS = "counted", "diagnosis"
#: To take the app away; asked for by a variable of liveness_verify, which preflight does not look at.
REMOVAL = "removal"

RIGHTS: tuple[Right, ...] = (
    Right("v1", "Namespace", WRITE, "cluster"),
    Right("v1", "Node", READ, "cluster"),
    Right("v1", "Pod", (*READ, "watch"), "cluster"),
    Right("v1", "Service", READ, "cluster"),
    Right("apiextensions.k8s.io/v1", "CustomResourceDefinition", (*WRITE, "watch"), "cluster"),
    Right("rbac.authorization.k8s.io/v1", "ClusterRole", OWN, "cluster"),
    Right("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", OWN, "cluster"),
    Right("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", (*OWN, "watch"), "cluster"),
    Right("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", OWN, "cluster"),
    Right("v1", "Secret", OWN, "control-plane"),
    Right("v1", "ConfigMap", OWN, "control-plane"),
    Right("v1", "Service", OWN, "control-plane"),
    Right("v1", "ServiceAccount", OWN, "control-plane"),
    Right("apps/v1", "Deployment", (*OWN, "watch"), "control-plane"),
    Right("autoscaling/v2", "HorizontalPodAutoscaler", OWN, "control-plane"),
    Right("rbac.authorization.k8s.io/v1", "Role", OWN, "control-plane"),
    Right("rbac.authorization.k8s.io/v1", "RoleBinding", OWN, "control-plane"),
    Right("coordination.k8s.io/v1", "Lease", ("get", "create", "update", "delete"), "control-plane"),
    Right("v1", "Event", ("list",), "control-plane"),
    Right("v1", "Service", ("get",), "control-plane", feature=FROM_CLUSTER, subresource="proxy"),
    *(
        Right("v1", "Pod", ("get",), where, feature=COUNTED, subresource="proxy")
        for where in ("control-plane", "application")
    ),
    # Istio's own kinds may be read by who installs istiod, which reads them.
    *(
        Right("apps/v1", kind, ("list",), where, feature=DIAGNOSIS)
        for kind in ("DaemonSet", "StatefulSet")
        for where in ("control-plane", "application")
    ),
    Right("v1", "Event", ("list",), "application", feature=DIAGNOSIS),
    *(
        Right("v1", kind, ("list",), where)
        for kind in ("LimitRange", "ResourceQuota")
        for where in ("control-plane", "application")
    ),
    Right("v1", "Service", WRITE, "application"),
    Right("v1", "ServiceAccount", WRITE, "application"),
    Right("apps/v1", "Deployment", (*WRITE, "watch"), "application"),
    Right("networking.istio.io/v1", "Gateway", WRITE, "application"),
    Right("networking.istio.io/v1", "VirtualService", WRITE, "application"),
    *(
        Right(api_version, kind, ("delete",), "application", feature=REMOVAL)
        for api_version, kind in (
            ("v1", "Service"),
            ("v1", "ServiceAccount"),
            ("apps/v1", "Deployment"),
            ("networking.istio.io/v1", "VirtualService"),
        )
    ),
    # Deleted where a later run wants none.
    Right("networking.istio.io/v1", "Gateway", ("delete",), "application"),
    Right("policy/v1", "PodDisruptionBudget", (*WRITE, "delete"), "application"),
    Right("policy/v1beta1", POLICY, WRITE, "cluster", (POLICY,)),
    Right("security.openshift.io/v1", CONSTRAINTS, WRITE, "cluster", (CONSTRAINTS,)),
    Right("rbac.authorization.k8s.io/v1", "RoleBinding", WRITE, "application", (POLICY, CONSTRAINTS)),
    *(
        Right(api_version, kind, ("list",), "application", (POLICY, CONSTRAINTS))
        for api_version, kind in POD_SPECS
        if kind not in ("Pod", "Deployment")  # may be listed by other rights
    ),
)


#: Mechanism or feature -> the file that documents what it needs beside docs/rbac.yml.
FILE_OF = {
    POLICY: "docs/rbac-psp.yml",
    CONSTRAINTS: "docs/rbac-scc.yml",
    FROM_CLUSTER: "docs/rbac-proxy.yml",
    DIAGNOSIS: "docs/rbac-diagnose.yml",
}

_DAEMON_SET = Right("apps/v1", "DaemonSet", (*OWN, "watch"), "control-plane")
#: A gateway of which each node has a pod (``kind: DaemonSet`` among its values), as if it were a component.
GATEWAY_ON_NODES = "gateway-on-nodes"
#: Component -> what installing it needs beside RIGHTS, in its own namespace; what its own roles allow is beside that.
OF_COMPONENTS: dict[str, tuple[Right, ...]] = {
    "cni": (_DAEMON_SET,),
    "ztunnel": (_DAEMON_SET,),
    GATEWAY_ON_NODES: (_DAEMON_SET,),
    # Its chart asks by a Job, after the installation, whether the webhook answers. Helm watches what hooks make.
    "cert-manager": (
        Right("batch/v1", "Job", (*OWN, "watch"), "control-plane"),
        Right("v1", "ServiceAccount", ("watch",), "control-plane"),
        Right("rbac.authorization.k8s.io/v1", "Role", ("watch",), "control-plane"),
        Right("rbac.authorization.k8s.io/v1", "RoleBinding", ("watch",), "control-plane"),
    ),
}
#: Component -> the file that documents what it needs beside docs/rbac.yml. The others need nothing else.
FILE_OF_COMPONENT = {
    "cni": "docs/rbac-node.yml",
    "ztunnel": "docs/rbac-node.yml",
    GATEWAY_ON_NODES: "docs/rbac-node.yml",
    "cert-manager": "docs/rbac-cert-manager.yml",
    "prometheus": "docs/rbac-addons.yml",
    "kiali": "docs/rbac-addons.yml",
}
#: Components that work on the node, with what a node's policy allows.
ON_NODES = ("cni", "ztunnel")

#: Who may do all of this may create any role, and what it allows does not matter.
ANY_ROLE: tuple[dict[str, str], ...] = tuple(
    {"verb": verb, "group": "rbac.authorization.k8s.io", "resource": resource}
    for verb in ("escalate", "bind")
    for resource in ("clusterroles", "roles")
)


def of_rules(rules: list[dict[str, Any]], namespace: str = "") -> list[dict[str, str]]:
    """``resourceAttributes`` of all that the rules of a role allow, and ``nonResourceAttributes``, which have a path.

    :arg namespace: of a Role; empty for a ClusterRole
    """
    found = []
    for rule in rules:
        paths = rule.get("nonResourceURLs") or []
        found += [{"verb": verb, "path": path} for path, verb in product(paths, rule["verbs"])]
        names = rule.get("resourceNames") or [""]
        groups, resources = rule.get("apiGroups") or [], rule.get("resources") or []
        for group, path, verb, name in product(groups, resources, rule["verbs"], names):
            resource, _slash, subresource = path.partition("/")
            attributes = {"verb": verb, "group": group, "resource": resource}
            more = {"subresource": subresource, "name": name, "namespace": namespace}
            found.append({**attributes, **{key: value for key, value in more.items() if value}})
    return found


def uses(mechanism: str) -> list[dict[str, Any]]:
    """Rules that allow to use the policies that role psp_rbac hands on: only who may use one may let others."""
    return [use_rule(mechanism, privilege) for privilege in PRIVILEGES if privilege != "host"]


def of_components(namespaces: dict[str, str], mechanism: str = "") -> list[dict[str, str]]:
    """``resourceAttributes`` of what some components need beside ``RIGHTS``.

    :arg namespaces: of each component
    :arg mechanism: how the cluster decides which pods may run
    """
    found = []
    for component, namespace in namespaces.items():
        for right in OF_COMPONENTS.get(component, ()):
            group, resource = group_resource(right.api_version, right.kind)
            found += of_rules([{"apiGroups": [group], "resources": [resource], "verbs": right.verbs}], namespace)
        if component in ON_NODES and mechanism in USED:
            found += of_rules([use_rule(mechanism, "host")])
    return found


def reviews(
    control_plane: list[str],
    applications: list[str],
    further: Iterable[dict[str, str]] = (),
    mechanism: str = "",
    features: Iterable[str] = (),
) -> list[dict[str, str]]:
    """``resourceAttributes`` of the access reviews, one a verb, without those that a wider one covers.

    :arg further: attributes beside those of ``RIGHTS``
    :arg mechanism: how the cluster decides which pods may run
    :arg features: those that the run asks for
    """
    wanted = {"", *features}
    places = {"cluster": [""], "control-plane": control_plane, "application": applications}
    asked = [*further, *(of_rules(uses(mechanism)) if mechanism in USED else ())]
    for right in RIGHTS:
        if right.feature not in wanted or (right.mechanisms and mechanism not in right.mechanisms):
            continue
        for namespace in places[right.where]:
            asked += of_rules([right.rule], namespace)
    found = {tuple(sorted(attributes.items())): attributes for attributes in asked}
    return [attributes for attributes in found.values() if not _covered(attributes, found)]


def _covered(attributes: dict[str, str], found: dict[tuple, dict[str, str]]) -> bool:
    """Whether the same is asked for the whole cluster too."""
    wider = {key: value for key, value in attributes.items() if key != "namespace"}
    return "namespace" in attributes and tuple(sorted(wider.items())) in found


def grouped(attributes: Iterable[dict[str, str]]) -> dict[tuple[str, str], list[str]]:
    """Verbs by resource, as people write it (``deployments.apps``, ``/metrics``), and namespace."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in attributes:
        plural = ".".join(filter(None, (entry.get("resource"), entry.get("group"))))
        path = entry.get("path") or "/".join(filter(None, (plural, entry.get("subresource"), entry.get("name"))))
        found.setdefault((path, entry.get("namespace", "")), []).append(entry["verb"])
    return found
