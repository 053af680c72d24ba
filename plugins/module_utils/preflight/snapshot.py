# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight reads of a cluster: each kind once, page by page, of each object only what some rule looks at.

A kind that these credentials may not read is None: the rights say so, and the checks that need it are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.cluster.reading import (
    FEW,
    UNFINISHED,
    Objects,
    joined,
    listed,
)
from ansible_collections.meshops.istio.plugins.module_utils.exposure.pending_address import pools
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import REVISION, injects
from ansible_collections.meshops.istio.plugins.module_utils.preflight import existing_istio

_CONTAINER = dict.fromkeys(("name", "image", "ports", "resources", "restartPolicy", "command", "args"), True)
_POD_SPEC = {
    "nodeName": True,
    "hostNetwork": True,
    "overhead": True,
    "containers": _CONTAINER,
    "initContainers": _CONTAINER,
}
_WEBHOOK = {"name": True, "failurePolicy": True, "clientConfig": {"service": True}}
_OWNED = {"name": True, "namespace": True, "labels": True, "annotations": True, "ownerReferences": True}
#: Kind -> the fields that are kept of its objects, lists looked through; True keeps what is below.
KEPT: dict[str, dict[str, Any]] = {
    "ConfigMap": {"metadata": {"name": True, "namespace": True}, "data": {"values": True}},
    "CustomResourceDefinition": {
        "metadata": {
            "name": True,
            "annotations": {"meta.helm.sh/release-name": True, "meta.helm.sh/release-namespace": True},
        }
    },
    "Deployment": {
        "metadata": {"name": True, "namespace": True, "generation": True},
        "spec": {"template": {"metadata": {"labels": True}, "spec": _POD_SPEC}},
        "status": {"conditions": True, "observedGeneration": True},
    },
    "MutatingWebhookConfiguration": {"metadata": _OWNED, "webhooks": _WEBHOOK},
    "Namespace": {
        "metadata": {"name": True, "labels": True, "deletionTimestamp": True},
        "status": {"phase": True, "conditions": True},
    },
    "Node": {
        "metadata": {"name": True},
        "spec": {"providerID": True, "taints": True, "unschedulable": True},
        "status": {"allocatable": True, "conditions": {"type": True, "status": True}},
    },
    "Pod": {
        "metadata": {
            "name": True,
            "namespace": True,
            "labels": True,
            "annotations": {"sidecar.istio.io/inject": True},
            "ownerReferences": {"kind": True, "name": True, "controller": True},
        },
        "spec": _POD_SPEC,
        "status": {"phase": True},
    },
    "Service": {
        "metadata": {"name": True, "namespace": True, "creationTimestamp": True},
        "spec": {"type": True, "ports": True, "selector": True, "healthCheckNodePort": True},
        "status": {"loadBalancer": True},
    },
    "ValidatingWebhookConfiguration": {"metadata": _OWNED, "webhooks": _WEBHOOK},
}
_ADMISSION = "admissionregistration.k8s.io/v1"


@dataclass
class Snapshot:
    """A cluster at one moment, as far as it could be read.

    :ivar deployments: of the control plane's and the applications' namespaces
    :ivar istiods: metadata of the control planes' Deployments
    :ivar injectors: ConfigMaps with a revision, of the control planes' namespaces
    :ivar dict pools: number of address pools by name of the load balancer's provider
    """

    nodes: Objects | None = None
    pods: Objects | None = None
    services: Objects | None = None
    namespaces: Objects | None = None
    crds: Objects | None = None
    webhooks: Objects | None = None
    istiods: Objects | None = None
    quotas: Objects | None = None
    limit_ranges: Objects | None = None
    deployments: Objects | None = None
    injectors: Objects = field(default_factory=list)
    istio_operators: Objects = field(default_factory=list)
    sail: Objects = field(default_factory=list)
    pools: dict[str, int] = field(default_factory=dict)

    def meshed(self, named: Iterable[str]) -> list[str]:
        """The applications' namespaces: those that are named, and those whose labels ask for injection."""
        labelled = (ns["metadata"]["name"] for ns in self.namespaces or [] if injects(ns))
        return sorted({*named, *labelled})


class Reader:
    """Reads a snapshot.

    :arg list control_plane: namespaces of Istio and its gateways
    :arg list applications: namespaces of applications, by name
    """

    def __init__(self, cluster: Cluster, control_plane: list[str], applications: list[str]) -> None:
        self._cluster = cluster
        self._control_plane = control_plane
        self._applications = applications

    def read(self) -> Snapshot:
        """Everything, in two rounds: what is worth reading in the second depends on the first."""
        installed_into = sorted({*self._control_plane, *self._applications})
        first: dict[str, Callable[[], Any]] = {
            "pods": lambda: self._list("v1", "Pod", field_selector=UNFINISHED),
            "services": lambda: self._list("v1", "Service"),
            "namespaces": lambda: self._list("v1", "Namespace"),
            "nodes": lambda: self._list("v1", "Node"),
            "crds": lambda: self._list("apiextensions.k8s.io/v1", "CustomResourceDefinition", metadata_only=True),
            "webhooks": self._webhooks,
            "istiods": self._istiods,
            "quotas": lambda: self._in_namespaces("v1", "ResourceQuota", installed_into),
            "limit_ranges": lambda: self._in_namespaces("v1", "LimitRange", installed_into),
        }
        snapshot = Snapshot(**dict(zip(first, in_parallel(lambda read: read(), first.values()), strict=True)))
        looked_into = sorted({*self._control_plane, *snapshot.meshed(self._applications)})
        served = {crd["metadata"]["name"] for crd in snapshot.crds or []}
        second: list[Callable[[], Any]] = [
            lambda: setattr(snapshot, "deployments", self._in_namespaces("apps/v1", "Deployment", looked_into)),
            lambda: setattr(snapshot, "istio_operators", self._if_served(served, *existing_istio.ISTIO_OPERATOR)),
            lambda: setattr(snapshot, "sail", self._if_served(served, *existing_istio.SAIL)),
            lambda: setattr(snapshot, "injectors", self._injectors(snapshot.istiods or [])),
            lambda: snapshot.pools.update(pools(self._cluster, served)),
        ]
        in_parallel(lambda read: read(), second)
        return snapshot

    def _list(
        self, api_version: str, kind: str, namespace: str | None = None, whole: bool = False, **query: Any
    ) -> Objects | None:
        fields = True if whole else KEPT.get(kind, True)
        return listed(self._cluster, api_version, kind, namespace, fields, **query)

    def _in_namespaces(self, api_version: str, kind: str, namespaces: list[str]) -> Objects | None:
        """Objects of some namespaces: a list for each while they are few, one of all cut down when they are many.

        Of an account that may not list all, as with the documented rights, at least the named ones are expected.
        """
        named = {*self._control_plane, *self._applications}
        if len(namespaces) > FEW:
            everywhere = self._list(api_version, kind)
            if everywhere is not None:
                return [obj for obj in everywhere if obj["metadata"]["namespace"] in namespaces]
            namespaces = sorted(named)
        lists = dict(
            zip(namespaces, in_parallel(lambda name: self._list(api_version, kind, name), namespaces), strict=True)
        )
        if any(lists[name] is None for name in named & lists.keys()):
            return None
        return [obj for objects in lists.values() for obj in objects or []]

    def _webhooks(self) -> Objects | None:
        kinds = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        return joined(self._list(_ADMISSION, kind) for kind in kinds)

    def _istiods(self) -> Objects | None:
        """Of all namespaces, else of the control plane's own."""
        selection = {"label_selector": existing_istio.ISTIOD_SELECTOR, "metadata_only": True, "whole": True}
        found = self._list("apps/v1", "Deployment", **selection)
        if found is not None:
            return found
        return joined(self._list("apps/v1", "Deployment", name, **selection) for name in self._control_plane)

    def _injectors(self, istiods: Objects) -> Objects:
        """Beside each istiod; a namespace that may not be read is left out."""
        namespaces = sorted({obj["metadata"]["namespace"] for obj in istiods})
        lists = in_parallel(lambda name: self._list("v1", "ConfigMap", name, label_selector=REVISION), namespaces)
        return [obj for objects in lists for obj in objects or []]

    def _if_served(self, served: set[str], crd: str, api_version: str, kind: str) -> Objects:
        return (self._list(api_version, kind) or []) if crd in served else []
