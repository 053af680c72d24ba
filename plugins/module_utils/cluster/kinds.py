# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the API server serves each kind: known here, so that no run pays for discovery.

Kubernetes' own kinds and Istio's are a table; a kind that is not in it is looked up by ``kube.Cluster.resource`` with
one read per group and version. Pure: knows nothing of HTTP.
"""

from __future__ import annotations

from typing import NamedTuple


class Resource(NamedTuple):
    """How a kind is served: the plural name in its URL, and whether its objects live in namespaces."""

    plural: str
    namespaced: bool


def _table(namespaced: dict[str, str], cluster: dict[str, str]) -> dict[str, Resource]:
    return {
        **{kind: Resource(plural, True) for kind, plural in namespaced.items()},
        **{kind: Resource(plural, False) for kind, plural in cluster.items()},
    }


# (API group, kind) is unique in Kubernetes: one plural serves all versions of a group.
_GROUPS: dict[str, dict[str, Resource]] = {
    "": _table(
        {
            "ConfigMap": "configmaps",
            "Endpoints": "endpoints",
            "Event": "events",
            "LimitRange": "limitranges",
            "Pod": "pods",
            "ResourceQuota": "resourcequotas",
            "Secret": "secrets",
            "Service": "services",
            "ServiceAccount": "serviceaccounts",
        },
        {"Namespace": "namespaces", "Node": "nodes"},
    ),
    "admissionregistration.k8s.io": _table(
        {},
        {
            "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
            "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
            "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
            "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
        },
    ),
    "apiextensions.k8s.io": _table({}, {"CustomResourceDefinition": "customresourcedefinitions"}),
    "apps": _table(
        {
            "DaemonSet": "daemonsets",
            "Deployment": "deployments",
            "ReplicaSet": "replicasets",
            "StatefulSet": "statefulsets",
        },
        {},
    ),
    "authorization.k8s.io": _table({}, {"SelfSubjectAccessReview": "selfsubjectaccessreviews"}),
    "autoscaling": _table({"HorizontalPodAutoscaler": "horizontalpodautoscalers"}, {}),
    "batch": _table({"CronJob": "cronjobs", "Job": "jobs"}, {}),
    "cilium.io": _table({}, {"CiliumLoadBalancerIPPool": "ciliumloadbalancerippools"}),
    "coordination.k8s.io": _table({"Lease": "leases"}, {}),
    "discovery.k8s.io": _table({"EndpointSlice": "endpointslices"}, {}),
    "install.istio.io": _table({"IstioOperator": "istiooperators"}, {}),
    "metallb.io": _table({"IPAddressPool": "ipaddresspools"}, {}),
    "networking.istio.io": _table(
        {
            "DestinationRule": "destinationrules",
            "EnvoyFilter": "envoyfilters",
            "Gateway": "gateways",
            "ServiceEntry": "serviceentries",
            "Sidecar": "sidecars",
            "VirtualService": "virtualservices",
        },
        {},
    ),
    "networking.k8s.io": _table({"NetworkPolicy": "networkpolicies"}, {}),
    "policy": _table({"PodDisruptionBudget": "poddisruptionbudgets"}, {"PodSecurityPolicy": "podsecuritypolicies"}),
    "rbac.authorization.k8s.io": _table(
        {"Role": "roles", "RoleBinding": "rolebindings"},
        {"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings"},
    ),
    "sailoperator.io": _table({}, {"Istio": "istios"}),
    "security.openshift.io": _table({}, {"SecurityContextConstraints": "securitycontextconstraints"}),
    "security.istio.io": _table(
        {
            "AuthorizationPolicy": "authorizationpolicies",
            "PeerAuthentication": "peerauthentications",
            "RequestAuthentication": "requestauthentications",
        },
        {},
    ),
}


def group_of(api_version: str) -> str:
    """The API group of an ``apiVersion``: ``""`` for ``v1``, ``apps`` for ``apps/v1``."""
    return api_version.rpartition("/")[0]


def known_resource(api_version: str, kind: str) -> Resource | None:
    """The table's entry for a kind, or None where discovery must tell."""
    return _GROUPS.get(group_of(api_version), {}).get(kind)


def path_of(api_version: str, resource: Resource, namespace: str | None = None, name: str | None = None) -> str:
    """The URL path of a collection, or of one object when ``name`` is given.

    :arg namespace: left out of the path for a cluster-scoped resource; None means all namespaces
    """
    parts = ["/api/v1" if api_version == "v1" else "/apis/" + api_version]
    if resource.namespaced and namespace:
        parts += ["namespaces", namespace]
    parts.append(resource.plural)
    if name:
        parts.append(name)
    return "/".join(parts)


def group_resource(api_version: str, kind: str) -> tuple[str, str]:
    """API group and plural of a kind in the table, as access reviews and ClusterRoles name them."""
    resource = known_resource(api_version, kind)
    if resource is None:
        raise KeyError(f"{api_version} {kind}")
    return group_of(api_version), resource.plural
