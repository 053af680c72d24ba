# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which istiod serves a proxy, and which should: by the address that the injector has given it, and its owner.

Two istiods in a cluster are no fault, but a proof of one by proxies of the other is none. Who has injected a pod stands
in its environment, as the address from which the proxy takes its configuration.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.helm import charts
from ansible_collections.meshops.istio.plugins.module_utils.helm.owner import helm_release
from ansible_collections.meshops.istio.plugins.module_utils.liveness import injection
from ansible_collections.meshops.istio.plugins.module_utils.mesh import revisions
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import REVISION

#: Istio's own, which the injector leaves out (https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1).
DEFAULT_ADDRESS = "istiod.istio-system.svc:15012"
_PROXY, _CONFIG = "istio-proxy", "PROXY_CONFIG"


@dataclass(frozen=True)
class Istiod:
    """A control plane, as proxies know it.

    :ivar str address: from which they take their configuration
    :ivar str service: name of its Service; empty where the address is none of a Service
    :ivar str namespace: of that
    :ivar str revision: ``default`` for the one without a name
    :ivar str release: the Helm release that owns the Service, as NAMESPACE/NAME; empty where none does, or it is unseen
    """

    address: str
    service: str
    namespace: str
    revision: str
    release: str = ""

    def __str__(self) -> str:
        owner = f" (Helm release {self.release})" if self.release else ""
        return f"the istiod of revision {self.revision} at {self.address}{owner}"

    @property
    def key(self) -> tuple[str, str]:
        """What makes it that one: its Service, under whatever of its names, else its address."""
        return (self.namespace, self.service) if self.service else ("", self.address)

    def as_dict(self) -> dict[str, str]:
        """For a task's result."""
        return asdict(self)


def at(address: str, revision: str) -> Istiod:
    """The istiod of an address, such as ``istiod-canary.istio-system.svc:15012``."""
    service, _dot, rest = address.partition(":")[0].partition(".")
    namespace, _dot, zone = rest.partition(".")
    if namespace and (zone == "svc" or zone.startswith("svc.") or not zone):
        return Istiod(address, service, namespace, revision or revisions.DEFAULT)
    return Istiod(address, "", "", revision or revisions.DEFAULT)


def of_pod(pod: dict[str, Any]) -> Istiod | None:
    """The istiod that has injected a pod; None for one without a proxy."""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    proxy = next((each for each in containers if each["name"] == _PROXY), None)
    if proxy is None:
        return None
    environment = {each["name"]: each.get("value") or "" for each in proxy.get("env") or []}
    try:
        config = json.loads(environment.get(_CONFIG) or "{}")
    except ValueError:
        config = {}
    meta = pod["metadata"]
    revision = (meta.get("annotations") or {}).get(REVISION) or (meta.get("labels") or {}).get(REVISION) or ""
    return at(config.get("discoveryAddress") or DEFAULT_ADDRESS, revision)


def of_pods(pods: Iterable[dict[str, Any]]) -> list[Istiod]:
    """Those that serve some pods, each once."""
    found = [istiod for istiod in map(of_pod, pods) if istiod]
    return list({istiod.key: istiod for istiod in found}.values())


def expected(cluster: Cluster, namespace: str, revision: str) -> Istiod | None:
    """The istiod of a namespace and revision; None where it is not there, or may not be seen.

    Its own ConfigMap says the address that it injects.

    :arg revision: or a tag; empty for the default
    """
    try:
        known = injection.revision_of(cluster, namespace, "" if revision == revisions.DEFAULT else revision)
        if known is None:
            return None
        found = cluster.get("v1", "ConfigMap", f"istio{revisions.suffix(known)}", namespace) or {}
    except ApiError as error:
        if error.status != 403:
            raise
        return None
    address = _said(found) or f"istiod{revisions.suffix(known)}.{namespace}.svc:15012"
    return owned(cluster, at(address, known))


def _said(config_map: dict[str, Any]) -> str:
    """The address in a ConfigMap with the mesh's configuration; empty where it says none."""
    for document in charts.documents((config_map.get("data") or {}).get("mesh") or "{}"):
        return str((document.get("defaultConfig") or {}).get("discoveryAddress") or "")
    return ""


def owned(cluster: Cluster, istiod: Istiod) -> Istiod:
    """The same, with the Helm release that its Service is of, as far as that may be seen."""
    if not istiod.service:
        return istiod
    try:
        service = cluster.get("v1", "Service", istiod.service, istiod.namespace)
    except ApiError as error:
        if error.status != 403:
            raise
        return istiod
    release = helm_release(service) if service else None
    return Istiod(**{**istiod.as_dict(), "release": "/".join(release) if release else ""})
