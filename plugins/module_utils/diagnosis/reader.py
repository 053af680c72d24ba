# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diagnosis reads: each kind once, of each object only what some rule looks at.

The cluster as a whole is asked first, as routes lead from namespace to namespace; who may not see that is shown the
namespaces that matter. What may not be read at all is left out, and the checks that need it are named.
"""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import service_ready
from ansible_collections.meshops.istio.plugins.module_utils.cluster.reading import FEW, UNFINISHED, allowed, kept
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis import routes
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.rules.control_plane import ROOT_CERTIFICATE
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.state import MeshState, Objects
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure import endpoints, pending_address
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import credentials
from ansible_collections.meshops.istio.plugins.module_utils.mesh.istioctl import Istioctl
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import INJECT, injects
from ansible_collections.meshops.istio.plugins.module_utils.task import Scope

_META = {
    "name": True,
    "namespace": True,
    "uid": True,
    "labels": True,
    "creationTimestamp": True,
    "deletionTimestamp": True,
    "generation": True,
}
_CONTAINER = {"name": True, "ports": True}
_TEMPLATE = {"metadata": {"labels": True, "annotations": {"inject.istio.io/templates": True, INJECT: True}}}
_WORKLOAD = {"metadata": _META, "spec": {"replicas": True, "selector": True, "template": _TEMPLATE}, "status": True}
_WEBHOOKS = {"metadata": {**_META, "annotations": True}, "webhooks": True}
_ANY = {"metadata": _META, "spec": True}
#: Kind -> its API version, and the fields that are kept.
_CORE, _APPS, _NETWORKING, _SECURITY = "v1", "apps/v1", "networking.istio.io/v1", "security.istio.io/v1"
_ADMISSION = "admissionregistration.k8s.io/v1"
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "DaemonSet": (_APPS, _WORKLOAD),
    "Deployment": (_APPS, _WORKLOAD),
    "DestinationRule": (_NETWORKING, _ANY),
    "Event": (
        _CORE,
        {
            "metadata": _META,
            "involvedObject": True,
            "type": True,
            "reason": True,
            "message": True,
            "source": True,
            "reportingComponent": True,
            "series": True,
            "lastTimestamp": True,
            "eventTime": True,
        },
    ),
    "Gateway": (_NETWORKING, _ANY),
    "MutatingWebhookConfiguration": (_ADMISSION, _WEBHOOKS),
    "Namespace": (_CORE, {"metadata": _META, "status": True}),
    "Node": (_CORE, {"metadata": {"name": True}, "status": {"addresses": True, "conditions": True}}),
    "PeerAuthentication": (_SECURITY, _ANY),
    "Pod": (
        _CORE,
        {
            "metadata": {**_META, "annotations": {INJECT: True}, "ownerReferences": True},
            "spec": {"nodeName": True, "hostNetwork": True, "containers": _CONTAINER, "initContainers": _CONTAINER},
            "status": True,
        },
    ),
    "Service": (_CORE, {"metadata": {**_META, "annotations": True}, "spec": True, "status": True}),
    "ServiceEntry": (_NETWORKING, _ANY),
    "StatefulSet": (_APPS, _WORKLOAD),
    "ValidatingWebhookConfiguration": (_ADMISSION, _WEBHOOKS),
    "VirtualService": (_NETWORKING, _ANY),
}
#: Kinds of the cluster, of whatever namespace, and of the namespaces that are looked at.
_OF_THE_CLUSTER = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "Node")
_EVERYWHERE = ("Pod", "Service", "Gateway", "VirtualService", "DestinationRule", "PeerAuthentication", "ServiceEntry")
_LOOKED_INTO = ("Deployment", "StatefulSet", "DaemonSet", "Event")
#: Older versions of Istio's API, which old Istios alone serve.
_OLDER = {_NETWORKING: ("networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"),
          _SECURITY: ("security.istio.io/v1beta1",)}  # fmt: skip
_SELECTION = {"Pod": UNFINISHED, "Event": "type=Warning"}
#: Addresses that are tried, and seconds for a connection.
_TRIED, _CONNECT = 4, 1.5
#: Seconds that a proxy may take for an update.
_UPDATE = 2.0


class MeshReader:
    """Reads a state.

    :arg cluster: its API server
    :arg scope: what it is about
    """

    def __init__(self, cluster: Cluster, scope: Scope) -> None:
        self._cluster = cluster
        self._scope = scope
        #: what could not be done beside kinds that may not be read, for people
        self.notes: list[str] = []

    def read(self) -> MeshState:
        """Everything that may be read."""
        scope = self._scope
        state = MeshState(scope.istio_namespace, scope.gateways, set(scope.applications), set(scope.applications))
        state.host, state.exposed, state.now = scope.host, scope.exposed, self._cluster.now()
        self._take(state, "Namespace", self._list("Namespace"), None)
        if not state.applications and not scope.named_only:
            asking = {each["metadata"]["name"] for each in state.of("Namespace") if injects(each)}
            state.applications = asking - state.control_plane
        namespaces = sorted(state.control_plane | state.applications)
        first: list[Callable[[], None]] = [
            *(lambda kind=kind: self._take(state, kind, self._list(kind), None) for kind in _OF_THE_CLUSTER),
            *(lambda kind=kind: self._everywhere(state, kind, namespaces) for kind in _EVERYWHERE),
        ]
        in_parallel(lambda read: read(), first)
        state.gateways = state.gateways or state.found_gateways()
        state.applications -= state.control_plane - state.named
        namespaces = sorted(state.control_plane | state.applications)
        work: list[Callable[[], None]] = [
            *(lambda kind=kind: self._looked_into(state, kind, namespaces) for kind in _LOOKED_INTO),
            lambda: self._root_certificate(state),
            lambda: self._secrets(state),
            lambda: self._ask_istioctl(state),
        ]
        in_parallel(lambda read: read(), work)
        self._istiods(state)
        in_parallel(lambda read: read(), [lambda: self._who_gives_addresses(state), lambda: self._connect(state)])
        return state

    # -- lists --------------------------------------------------------------------------------------------------------

    def _list(self, kind: str, namespace: str | None = None, **query: Any) -> Objects | None:
        """Objects of a kind, in the newest version that is served; None without the right."""
        newest, fields = KINDS[kind]
        query = {"field_selector": _SELECTION.get(kind), "keep": lambda obj: kept(obj, fields), **query}

        def first_served() -> Objects:
            for api_version in (newest, *_OLDER.get(newest, ())):
                found = self._cluster.list(api_version, kind, namespace, **query)
                if found:
                    break
            # What is going counts no more, but for a namespace, of which it is the news.
            return [each for each in found if kind == "Namespace" or "deletionTimestamp" not in each["metadata"]]

        return allowed(first_served)

    @staticmethod
    def _take(state: MeshState, kind: str, objects: Objects | None, namespaces: Iterable[str] | None) -> None:
        """Keep what was read; of some namespaces only, if they are named."""
        if objects is None:
            return
        state.objects[kind] = objects
        if namespaces is not None:
            state.partly[kind] = set(namespaces)

    def _everywhere(self, state: MeshState, kind: str, namespaces: list[str]) -> None:
        found = self._list(kind)
        if found is not None:
            self._take(state, kind, found, None)
        else:
            self._in_each(state, kind, namespaces)

    def _looked_into(self, state: MeshState, kind: str, namespaces: list[str]) -> None:
        found = self._list(kind) if len(namespaces) > FEW else None
        if found is not None:
            self._take(state, kind, [each for each in found if each["metadata"]["namespace"] in namespaces], namespaces)
        else:
            self._in_each(state, kind, namespaces)

    def _in_each(self, state: MeshState, kind: str, namespaces: list[str]) -> None:
        """A list for each namespace; those that may be read count."""
        lists = {name: self._list(kind, name) for name in namespaces}
        seen = {name: found for name, found in lists.items() if found is not None}
        if seen:
            self._take(state, kind, [each for found in seen.values() for each in found], seen)
        unseen = [name for name in namespaces if name not in seen]
        if seen and unseen:
            self.notes.append(f"{kind} objects in {', '.join(unseen)}: no permission to read them")
        elif unseen and kind in _LOOKED_INTO:
            self.notes.append(f"{kind} objects: no permission to read them")

    # -- single objects -----------------------------------------------------------------------------------------------

    def _istiods(self, state: MeshState) -> None:
        """Control planes of other namespaces, where they may be seen."""
        if "Deployment" not in state.objects:
            return
        found = self._list("Deployment", label_selector="istio=pilot") or []
        known = {each["metadata"]["uid"] for each in state.objects["Deployment"]}
        state.objects["Deployment"] += [each for each in found if each["metadata"]["uid"] not in known]

    def _root_certificate(self, state: MeshState) -> None:
        def get() -> Objects:
            found = self._cluster.get("v1", "ConfigMap", ROOT_CERTIFICATE[0], state.istio_namespace)
            return [{**found, "kind": "ConfigMap"}] if found else []

        self._take(state, "ConfigMap", allowed(get), [state.istio_namespace])

    def _secrets(self, state: MeshState) -> None:
        """Names of Secrets beside the gateways, and nothing that is in them."""
        names = sorted(state.control_plane)
        lists = {name: allowed(lambda name=name: self._names_of_secrets(name)) for name in names}
        seen = {name: found for name, found in lists.items() if found is not None}
        if seen:
            self._take(state, "Secret", [each for found in seen.values() for each in found], seen)

    def _names_of_secrets(self, namespace: str) -> Objects:
        return self._cluster.list("v1", "Secret", namespace, metadata_only=True)

    # -- beside the API -----------------------------------------------------------------------------------------------

    def _who_gives_addresses(self, state: MeshState) -> None:
        """Looked at only where a gateway has no address."""
        if self._scope.exposed and not all(map(service_ready, state.gateway_services)):
            state.addresses = pending_address.evidence(self._cluster)

    def _connect(self, state: MeshState) -> None:
        """Try the gateways' addresses, of ports on which they listen."""
        if self._scope.exposed and self._scope.connect:
            for service in state.gateway_services:
                key = service["metadata"]["namespace"], service["metadata"]["name"]
                places = self._places(state, service)[:_TRIED]
                state.answered[key] = dict(in_parallel(lambda place: (place.authority, _tried(place)), places))

    def _places(self, state: MeshState, service: dict[str, Any]) -> list[endpoints.Endpoint]:
        if self._scope.address:  # who gives one asks for it
            found = endpoints.at_address(self._scope.address)
            return [found] if found else []
        ports = [port for port in service["spec"].get("ports") or [] if routes.is_listened_on(state, service, port)]
        names = [port.get("name", "") for port in ports]
        if not names or service["spec"].get("type") not in ("NodePort", "LoadBalancer"):
            return []
        name = self._scope.port if self._scope.port in names else names[0]
        serving = endpoints.serving_nodes(state.pods_behind(service)) if endpoints.keeps_local(service) else None
        return endpoints.endpoints(service, name, state.of("Node"), serving)

    def _ask_istioctl(self, state: MeshState) -> None:
        """Its analysis, and which proxies are not in sync: it asks istiod, for which it forwards a port."""
        if not self._scope.istioctl:
            self.notes.append("istioctl analysis and proxies out of sync: no istioctl is specified")
            return
        try:
            istioctl = Istioctl(self._scope.istioctl)
            with credentials(self._cluster) as environment:
                flags = self._cluster.connection.acting_flags()
                state.analysis = istioctl.analyze(environment, flags)
                ask = functools.partial(istioctl.proxy_status, environment, flags, state.istio_namespace)
                state.out_of_sync = self._lasting(ask)
        except (JobError, ValueError) as error:
            self.notes.append(f"istioctl: {error}")

    @staticmethod
    def _lasting(ask: Callable[[], list[dict[str, Any]]]) -> list[tuple[str, str]]:
        """Proxies that are out of sync, and still are a moment later: an update takes one."""
        found = out_of_sync(ask())
        if not found:
            return []
        time.sleep(_UPDATE)
        still = out_of_sync(ask())
        return [each for each in found if each in still]


def _tried(place: endpoints.Endpoint) -> str:
    """What came of a connection; "" where it was taken."""
    try:
        with socket.create_connection((place.host, place.port), timeout=_CONNECT):
            return ""
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__


#: States of a proxy's configuration that are no finding: it has it, or wants none.
_IN_SYNC = ("SYNCED", "NOT_SENT", "UNKNOWN", "IGNORED")


def out_of_sync(answers: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Proxies that have not what istiod wants them to have.

    :arg answers: as ``Istioctl.proxy_status`` returns them
    """
    found = []
    for proxy in (proxy for answer in answers for proxy in answer.get("resources") or []):
        lacking = {
            f"{each.get('typeUrl', '').rpartition('.')[2]} {each['configStatus']}"
            for each in proxy.get("genericXdsConfigs") or []
            if each.get("configStatus", "UNKNOWN") not in _IN_SYNC
        }
        if lacking:
            found.append(((proxy.get("node") or {}).get("id", "?"), ", ".join(sorted(lacking))))
    return found
