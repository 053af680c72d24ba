# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diagnosis knows of a cluster at one moment, and what follows from it by looking. Pure.

The rules of symptoms_*.py ask this; only mesh_reader.py fills it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import instant
from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import current_pods, is_true
from ansible_collections.meshops.istio.plugins.module_utils.cluster.selectors import contains
from ansible_collections.meshops.istio.plugins.module_utils.cluster.workloads import workload_of
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.symptom import Thing, thing
from ansible_collections.meshops.istio.plugins.module_utils.exposure.load_balancers import Evidence, seen_at
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import has_sidecar, injects

Objects = list[dict[str, Any]]

#: Kinds that make pods of a template.
RUNS_PODS = ("Deployment", "StatefulSet", "DaemonSet")
_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


def moment(text: str | None) -> datetime:
    """A timestamp of the API's; long ago without one."""
    return instant(text) if text else _LONG_AGO


def labels_of(obj: dict[str, Any]) -> dict[str, str]:
    """An object's labels."""
    return obj["metadata"].get("labels") or {}


def template_labels(workload: dict[str, Any]) -> dict[str, str]:
    """The labels of the pods that a workload makes."""
    return (workload["spec"]["template"].get("metadata") or {}).get("labels") or {}


def pod_is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod takes requests."""
    return is_true(pod, "Ready")


@dataclass
class MeshState:
    """A cluster at one moment, as far as it could be read.

    :ivar str istio_namespace: Istio's
    :ivar list gateways: (namespace, name) of the gateways that are asked about
    :ivar set applications: namespaces of applications, named or found by their labels
    :ivar set named: those of them that somebody has named
    :ivar dict objects: by kind; a kind that may not be read is no key
    :ivar dict partly: kinds that could be read in some namespaces only, and these
    :ivar str host: the host that is asked for through the gateways; empty for none
    :ivar bool exposed: whether it matters that the gateways are reached from outside
    :ivar dict answered: what came of a connection to each address of a gateway's, by (namespace, name); empty for one
        that was taken
    :ivar Evidence addresses: who gives addresses to Services, where that could be looked at
    :ivar list out_of_sync: of each proxy that has not what istiod wants it to have, its name and what it lacks
    :ivar list analysis: what istioctl analyze found
    :ivar datetime now: the moment, by the API server's clock
    """

    istio_namespace: str = "istio-system"
    gateways: list[tuple[str, str]] = field(default_factory=lambda: [("istio-system", "istio-ingressgateway")])
    applications: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    objects: dict[str, Objects] = field(default_factory=dict)
    partly: dict[str, set[str]] = field(default_factory=dict)
    host: str = ""
    exposed: bool = True
    answered: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    addresses: Evidence | None = None
    out_of_sync: list[tuple[str, str]] = field(default_factory=list)
    analysis: Objects = field(default_factory=list)
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    # -- objects ------------------------------------------------------------------------------------------------------

    def of(self, kind: str) -> Objects:
        """All objects of a kind; none where it may not be read."""
        return self.objects.get(kind, [])

    def knows(self, kind: str, namespace: str) -> bool:
        """Whether an object that is not seen in a namespace is not there."""
        return kind in self.objects and (kind not in self.partly or namespace in self.partly[kind])

    @property
    def control_plane(self) -> set[str]:
        """Namespaces of Istio and of the gateways that are asked about."""
        return {self.istio_namespace, *(namespace for namespace, _name in self.gateways)}

    def inside(self, kind: str) -> Objects:
        """Objects of the namespaces that are looked at."""
        looked_at = self.control_plane | self.applications
        return [obj for obj in self.of(kind) if obj["metadata"]["namespace"] in looked_at]

    @cached_property
    def _by_name(self) -> dict[Thing, dict[str, Any]]:
        return {thing(obj): obj for objects in self.objects.values() for obj in objects}

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object, if it is seen."""
        return self._by_name.get((kind, namespace, name))

    def namespace(self, name: str) -> dict[str, Any]:
        """A namespace; one without labels where it is not seen."""
        return self.get("Namespace", "", name) or {"kind": "Namespace", "metadata": {"name": name}}

    def asks(self, namespace: str) -> bool | None:
        """As workloads.injects, of a namespace's name."""
        return injects(self.namespace(namespace))

    def events_of(self, obj: dict[str, Any], *reasons: str) -> Objects:
        """Warnings about an object, the oldest first.

        :arg reasons: only those; all if none is named
        """
        uid = obj["metadata"].get("uid")
        found = [
            event
            for event in self.of("Event")
            if event.get("type") == "Warning"
            and (event.get("involvedObject") or {}).get("uid") == uid
            and (not reasons or event.get("reason") in reasons)
        ]
        return sorted(found, key=seen_at)

    def lasts(self, since: str | None, seconds: float) -> bool:
        """Whether something is older than some seconds."""
        return self.now - moment(since) > timedelta(seconds=seconds)

    # -- pods ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _pods(self) -> dict[str, Objects]:
        found: dict[str, Objects] = defaultdict(list)
        for pod in self.of("Pod"):
            if not pod["metadata"].get("deletionTimestamp"):
                found[pod["metadata"]["namespace"]].append(pod)
        return found

    def pods(self, namespace: str | None, selector: dict[str, str]) -> Objects:
        """Pods that live on and hold a plain selector.

        :arg namespace: None for all
        """
        everywhere = [pod for pods in self._pods.values() for pod in pods]
        there = everywhere if namespace is None else self._pods.get(namespace, [])
        return [pod for pod in there if contains(labels_of(pod), selector)]

    def pods_behind(self, service: dict[str, Any]) -> Objects:
        """Pods that a Service selects; none for one without a selector."""
        selector = service["spec"].get("selector")
        return self.pods(service["metadata"]["namespace"], selector) if selector else []

    @cached_property
    def pods_by_workload(self) -> dict[Thing, Objects]:
        """Pods of the namespaces that are looked at, by what owns them; of a rollout those of the newest template."""
        found: dict[Thing, Objects] = defaultdict(list)
        for namespace in sorted(self.control_plane | self.applications):
            for pod in self._pods.get(namespace, []):
                where, kind, name = workload_of(pod)
                found[kind, where, name].append(pod)
        for key, pods in found.items():
            workload = self._by_name.get(key)
            if workload and key[0] in RUNS_PODS:
                found[key] = current_pods(workload, pods)
        return found

    def workloads(self, namespace: str | None, selector: dict[str, str]) -> set[Thing]:
        """What owns pods with such labels, or makes such: a workload whose pods are refused has none.

        :arg namespace: None for all
        """
        owners = {workload_of(pod) for pod in self.pods(namespace, selector)}
        found = {(kind, where, name) for where, kind, name in owners}
        for kind in RUNS_PODS:
            for workload in self.of(kind):
                if namespace in (None, workload["metadata"]["namespace"]) and contains(
                    template_labels(workload), selector
                ):
                    found.add(thing(workload))
        return found

    def workloads_behind(self, service: dict[str, Any]) -> set[Thing]:
        """As ``workloads``, of a Service."""
        selector = service["spec"].get("selector")
        return self.workloads(service["metadata"]["namespace"], selector) if selector else set()

    def in_the_mesh(self, service: dict[str, Any]) -> bool | None:
        """Whether the pods behind a Service have sidecars; None where there are none, or some have."""
        found = {has_sidecar(pod) for pod in self.pods_behind(service)}
        return found.pop() if len(found) == 1 else None

    # -- Istio --------------------------------------------------------------------------------------------------------

    @cached_property
    def istiods(self) -> Objects:
        """Deployments of control planes: Istio's namespace's, else those of others."""
        found = [obj for obj in self.of("Deployment") if labels_of(obj).get("istio") == "pilot"]
        own = [obj for obj in found if obj["metadata"]["namespace"] == self.istio_namespace]
        return own or found

    @cached_property
    def injectors(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Webhooks that inject sidecars, each with its configuration."""
        return [
            (configuration, webhook)
            for configuration in self.of("MutatingWebhookConfiguration")
            for webhook in configuration.get("webhooks") or []
            if webhook["name"].endswith("sidecar-injector.istio.io")
        ]

    def found_gateways(self) -> list[tuple[str, str]]:
        """Namespace and name of Services of gateways: of pods that are a proxy and nothing else."""
        found = []
        for service in self.of("Service"):
            pods = self.pods_behind(service)
            if any([each["name"] for each in pod["spec"]["containers"]] == ["istio-proxy"] for pod in pods):
                found.append((service["metadata"]["namespace"], service["metadata"]["name"]))
        return sorted(found)

    @cached_property
    def gateway_services(self) -> Objects:
        """Services of the gateways that are asked about, as far as they are there."""
        found = (self.get("Service", namespace, name) for namespace, name in self.gateways)
        return [service for service in found if service]
