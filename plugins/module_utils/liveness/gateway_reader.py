# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways as a cluster has them: by the objects that their releases have stored, else by live ones.

What the job calls::

    found = read(cluster, [("istio-system", "istio-ingressgateway")])
    found["istio-system", "istio-ingressgateway"].gateway.selector
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, identity
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.cluster.selectors import contains
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure import gateway_objects
from ansible_collections.meshops.istio.plugins.module_utils.exposure.gateway_objects import WORKLOADS, Gateway
from ansible_collections.meshops.istio.plugins.module_utils.helm import release_objects, storage

Object = dict[str, Any]
_APPS = "apps/v1"


@dataclass(frozen=True)
class Found:
    """A gateway that is there.

    :ivar Object workload: what runs its pods, live; None where it has none
    :ivar Object service: what leads to them, live; None where it has none
    """

    gateway: Gateway
    workload: Object | None = None
    service: Object | None = None

    @property
    def objects(self) -> dict[Identity, Object]:
        """Its live objects."""
        return {identity(obj): obj for obj in (self.workload, self.service) if obj}


def read(cluster: Cluster, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Found]:
    """Look at some gateways.

    :arg wanted: (namespace, name) of each; the name is its Helm release's, or that of a Service, or of a Deployment
    :returns: those that are there, by the same
    :raises JobError: an object of a release is not there
    """
    wanted = list(wanted)
    stored = _stored(cluster, wanted)
    found = in_parallel(lambda key: _found(cluster, key, stored.get(key)), wanted)
    return {key: each for key, each in zip(wanted, found, strict=True) if each}


def _stored(cluster: Cluster, wanted: list[tuple[str, str]]) -> dict[tuple[str, str], storage.Stored]:
    """Their releases, where Helm keeps them in Secrets that may be read."""
    if not storage.in_secrets():
        return {}
    try:
        found = storage.read(cluster, wanted)
    except storage.UnknownFormat:
        return {}
    except ApiError as error:
        if error.status != 403:
            raise
        return {}
    return {key: stored for key, stored in found.items() if stored.status != "uninstalled"}


def _found(cluster: Cluster, key: tuple[str, str], stored: storage.Stored | None) -> Found | None:
    gateway = stored and gateway_objects.of_objects(*key, release_objects.stored_objects(cluster, stored))
    return _of_release(cluster, gateway) if gateway else _live(cluster, *key)


def _of_release(cluster: Cluster, gateway: Gateway) -> Found:
    """Kind, names and labels are the release's; type and ports of the Service those that it has."""
    live = {}
    for api_version, kind, name in ((_APPS, gateway.kind, gateway.workload), ("v1", "Service", gateway.service)):
        if not name:
            continue
        live[kind] = cluster.get(api_version, kind, name, gateway.namespace)
        if live[kind] is None:
            raise JobError(
                f"of gateway {gateway} does not exist, although its Helm release contains it.",
                object=f"{kind} {gateway.namespace}/{name}",
                fix="Run role istio_helm to restore it.",
                code="gateway-missing" if kind == "Service" else "",
            )
    workload, service = live.get(gateway.kind), live.get("Service")
    if service:
        now = gateway_objects.of_objects(*gateway.key, [service])
        gateway = replace(gateway, type=now.type, ports=now.ports) if now else gateway
    return Found(gateway, workload, service)


def _live(cluster: Cluster, namespace: str, name: str) -> Found | None:
    """A gateway of which Helm has no release: of that name is its Service, or at least what runs its pods."""
    service = cluster.get("v1", "Service", name, namespace)
    selector = ((service or {}).get("spec") or {}).get("selector") or {}
    workload = _workload(cluster, namespace, name, selector)
    gateway = gateway_objects.of_objects(namespace, name, [obj for obj in (workload, service) if obj])
    return Found(gateway, workload, service) if gateway else None


def _workload(cluster: Cluster, namespace: str, name: str, selector: dict[str, str]) -> Object | None:
    """What makes pods that a selector selects, first that of the same name."""
    for kind in WORKLOADS:
        found = _allowed(lambda kind=kind: cluster.get(_APPS, kind, name, namespace))
        if found and contains(gateway_objects.pod_labels(found), selector):
            return found
    for kind in WORKLOADS if selector else ():
        for found in _allowed(lambda kind=kind: cluster.list(_APPS, kind, namespace)) or []:
            if contains(gateway_objects.pod_labels(found), selector):
                return found
    return None


def _allowed(read: Any) -> Any:
    """What a read returns; None without the right, as most accounts have no use for DaemonSets."""
    try:
        return read()
    except ApiError as error:
        if error.status != 403:
            raise
        return None
