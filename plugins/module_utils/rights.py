# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run must be allowed to do: data, the source of preflight's access reviews and of our documented rights."""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.kube import group_resource

READ = ("get", "list")
WRITE = ("get", "list", "create", "patch")
#: Helm 3 replaces and both majors delete what a chart no longer holds.
OWN = (*WRITE, "update", "delete")


class Right(NamedTuple):
    """Verbs on a kind.

    :ivar str where: ``cluster``, ``control-plane`` (Istio's and the gateways' namespaces) or ``application``
    """

    api_version: str
    kind: str
    verbs: tuple[str, ...]
    where: str


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
    Right("v1", "Service", WRITE, "application"),
    Right("v1", "ServiceAccount", WRITE, "application"),
    Right("apps/v1", "Deployment", (*WRITE, "watch"), "application"),
    Right("networking.istio.io/v1", "Gateway", WRITE, "application"),
    Right("networking.istio.io/v1", "VirtualService", WRITE, "application"),
)


def reviews(control_plane: list[str], applications: list[str]) -> list[dict[str, str]]:
    """``resourceAttributes`` of the access reviews, one a verb, without those that a wider one covers."""
    places = {"cluster": [""], "control-plane": control_plane, "application": applications}
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for right in RIGHTS:
        group, resource = group_resource(right.api_version, right.kind)
        for verb in right.verbs:
            for namespace in places[right.where]:
                attributes = {"verb": verb, "group": group, "resource": resource}
                if namespace:
                    attributes["namespace"] = namespace
                found.setdefault((verb, group, resource, namespace), attributes)
    return [
        attributes
        for (verb, group, resource, namespace), attributes in found.items()
        if not namespace or (verb, group, resource, "") not in found
    ]
