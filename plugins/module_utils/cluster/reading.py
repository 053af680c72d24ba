# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a cluster is read: some fields of each object, some namespaces or all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster

Objects = list[dict[str, Any]]
#: Namespaces up to which a list for each is made; a list of all is made for more.
FEW = 3


def kept(obj: Any, fields: Any) -> Any:
    """An object reduced to some of its fields.

    :arg fields: names, each with True or the fields below it
    """
    if fields is True or obj is None:
        return obj
    if isinstance(obj, list):
        return [kept(item, fields) for item in obj]
    return {name: kept(obj[name], below) for name, below in fields.items() if name in obj}


def joined(lists: Iterable[Objects | None]) -> Objects | None:
    """All objects of some lists; None when one of them may not be read."""
    found = list(lists)
    return None if None in found else [obj for objects in found for obj in objects or []]


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


UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"


def listed(
    cluster: Cluster, api_version: str, kind: str, namespace: str | None = None, whole: bool = False, **query: Any
) -> Objects | None:
    """Objects of a kind, cut down to ``KEPT``; None without the right to list them.

    :arg whole: not cut down
    :arg query: further arguments of ``Cluster.list``
    """
    fields = True if whole else KEPT.get(kind, True)
    try:
        return cluster.list(api_version, kind, namespace, keep=lambda obj: kept(obj, fields), **query)
    except ApiError as error:
        if error.status == 403:
            return None
        raise
