# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All objects of a cluster at a moment, and what is between two moments, object by object and field by field.

What a run is measured by, so nothing of the collection is used here: objects come by plain requests, and what is not
the run's own doing is left out by tables of their own, each row with its reason. Whatever they do not name counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import config

Key = tuple  # (API group, kind, namespace or "", name)
Place = tuple  # of names of fields and positions in lists
Leaves = dict  # Place -> a value that is no map and no list, or an empty one

#: Programs that write by themselves, whatever a run does, by their name as a field manager. What one of them holds of
#: an object is its own doing, and an object of which nobody else holds anything is all of it.
CONTROLLERS: dict[str, str] = {
    "kube-apiserver": "its own roles, Services, addresses and APIServices of definitions",
    "kube-controller-manager": "accounts, kube-root-ca.crt, replicas under an autoscaler, revisions of Deployments",
    "kube-scheduler": "leader election and bindings",
    "kubelet": "its node and the status of pods",
    "kwok": "nodes and pods of a control plane alone",
    "kubeadm": "what it made when the cluster was made",
    "clusterrole-aggregation-controller": "rules of aggregated ClusterRoles",
    "service-cidr-controller": "the range of service addresses",
    "kubernetes-service-cidr-controller": "the range of service addresses",
    "api-priority-and-fairness-config-consumer-v1": "flow schemas, again and again",
    "api-priority-and-fairness-config-producer-v1": "flow schemas, when the server starts",
    "pilot-discovery": "istiod: its CA in webhooks, failurePolicy of its validators when it is ready, istio-ca-secret, "
    "istio-ca-root-cert in every namespace, leader election, status of Istio's kinds",
}

#: Kinds that are a record of what happened, or belong to whoever owns their owner.
KINDS: dict[str, str] = {
    "Event": "a diary",
    "Lease": "heartbeats, leader election, and the lock that a run gives back",
    "Pod": "made by ReplicaSets and DaemonSets",
    "ReplicaSet": "made by Deployments",
    "ControllerRevision": "made by DaemonSets",
    "EndpointSlice": "made by Services",
    "Endpoints": "made by Services",
    "IPAddress": "made by Services",
    "ComponentStatus": "a question to the API server, no object",
    "Node": "the nodes' own; nothing here writes any",
}

#: Helm's memory of a release: what helm does is seen in the release's objects.
RECORD = "helm.sh/release.v1"

#: What the API server keeps about an object.
SERVER_METADATA = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")

#: An annotation in which the API server counts by itself how often the pods of a DaemonSet have become others.
COUNTED = "deprecated.daemonset.template.generation"

#: Of a Service: what the API server chooses where nobody asks for a value, unlike any dry run before.
CHOSEN = ("clusterIP", "clusterIPs", "healthCheckNodePort", "nodePort")


_ANNOTATIONS = ("metadata", "annotations")


@dataclass(frozen=True)
class Delta:
    """What has become of one object.

    :ivar dict fields: place -> (before, after); None where there was or is nothing. Of an object that was made, all of
        its fields; of one that is gone, none
    """

    verb: str  # created, changed or deleted
    fields: dict[Place, tuple[Any, Any]]


@dataclass(frozen=True)
class Snapshot:
    """The objects of a cluster at one moment, as they were read."""

    objects: dict[Key, dict[str, Any]]

    def until(self, after: Snapshot) -> dict[Key, Delta]:
        """What has become of each object that is not as it was, but for what controllers did."""
        found = {}
        for key in {**self.objects, **after.objects}:
            one, other = self.objects.get(key), after.objects.get(key)
            if all(_is_a_controllers(key[1], obj) for obj in (one, other) if obj):
                continue
            if other is None:
                found[key] = Delta("deleted", {})
                continue
            held = places_held(other)
            fields = changed(leaves(one), leaves(other), lambda place, held=held: is_within(place, held))
            if fields or not one:
                found[key] = Delta("changed" if one else "created", fields)
        return found


def take(kubeconfig: Path) -> Snapshot:
    """Read every object of every kind that can be listed, in the version that the API server prefers if it has it."""
    api = config.new_client_from_config(str(kubeconfig))
    # A token, where the kubeconfig has one; its certificates the connection has already.
    headers = {each["key"]: each["value"] for each in api.configuration.auth_settings().values() if each["value"]}

    def get(path: str) -> dict[str, Any]:
        answer = api.rest_client.pool_manager.request("GET", api.configuration.host + path, headers=headers)
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.data[:300]!r}"
        return json.loads(answer.data)

    kinds: dict[tuple[str, str], str] = {}  # (API group, kind) -> where its objects are listed
    for group in [{"name": "", "versions": [{"groupVersion": "v1"}]}, *get("/apis")["groups"]]:
        # The preferred one stands first. PodSecurityPolicy is in policy/v1beta1 alone, and policy/v1 is preferred.
        for version in group["versions"]:
            path = f"/apis/{version['groupVersion']}" if group["name"] else "/api/v1"
            for resource in get(path)["resources"]:
                if "list" in resource["verbs"] and "/" not in resource["name"]:
                    kinds.setdefault((group["name"], resource["kind"]), f"{path}/{resource['name']}")
    objects = {}
    for (name, kind), path in kinds.items():
        for obj in get(path)["items"]:
            meta = obj["metadata"]
            objects[name, kind, meta.get("namespace") or "", meta["name"]] = obj
    return Snapshot(objects)


def key_of(obj: dict[str, Any]) -> Key:
    """The key of an object that says its kind."""
    group = obj["apiVersion"].partition("/")[0] if "/" in obj["apiVersion"] else ""
    return group, obj["kind"], obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


# -- fields ------------------------------------------------------------------------------------------------------------


def leaves(obj: dict[str, Any] | None) -> Leaves:
    """The fields of an object, without status and what the API server keeps about it. What is empty is nothing."""
    if obj is None:
        return {}
    meta = {name: value for name, value in obj["metadata"].items() if name not in SERVER_METADATA}
    meta["annotations"] = {name: value for name, value in (meta.get("annotations") or {}).items() if name != COUNTED}
    shown = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "status", "metadata")}
    return {place: value for place, value in _leaves({**shown, "metadata": meta}, ()) if place != _ANNOTATIONS}


def _leaves(value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if items:
        for name, child in items:
            yield from _leaves(child, (*place, name))
    elif value not in (None, "", []):  # an empty map says something: a selector of all
        yield place, value


def changed(one: Leaves, other: Leaves, is_left_out: Any) -> dict[Place, tuple[Any, Any]]:
    """The places at which two sets of fields differ."""
    return {
        place: (one.get(place), other.get(place))
        for place in {**one, **other}
        if not is_left_out(place) and one.get(place) != other.get(place)
    }


def is_within(place: Place, places: set[Place]) -> bool:
    """Whether a field is one of some, or part of one."""
    return any(place[:length] in places for length in range(1, len(place) + 1))


# -- whose doing -------------------------------------------------------------------------------------------------------


def _is_a_controllers(kind: str, obj: dict[str, Any]) -> bool:
    meta = obj["metadata"]
    managers = {entry["manager"] for entry in meta.get("managedFields") or []}
    return (
        kind in KINDS
        or (kind == "Secret" and obj.get("type") == RECORD)
        or any(owner.get("controller") for owner in meta.get("ownerReferences") or [])
        or (bool(managers) and managers <= CONTROLLERS.keys())
        # Whoever makes an object and says nothing but its name holds no field of it, as the controller of these does.
        or (not managers and (kind, meta["name"]) == ("ServiceAccount", "default"))
    )


def places_held(obj: dict[str, Any]) -> set[Place]:
    """Where an object has what a controller put there, and what the API server chose by itself."""
    found: set[Place] = set()
    owned: set[Place] = set()
    for entry in obj["metadata"].get("managedFields") or []:
        places = set(_places(entry.get("fieldsV1") or {}, obj, ()))
        if entry["manager"] in CONTROLLERS:
            found |= places
        else:
            owned |= places
    if "ports" in (spec := obj.get("spec") or {}) and "clusterIP" in spec:  # a Service
        found |= {place for place in leaves(obj) if set(CHOSEN) & set(place) and not is_within(place, owned)}
    return found - owned


def _places(fields: dict[str, Any], value: Any, place: Place) -> Iterator[Place]:
    """The places that a set of ``managedFields`` names, those that are there."""
    below = {step: child for step, child in fields.items() if step != "."}
    if not below and place:
        yield place
    for step, child in below.items():
        mark, _colon, name = step.partition(":")
        if mark == "f" and isinstance(value, dict) and name in value:
            yield from _places(child, value[name], (*place, name))
        elif mark in "kv" and isinstance(value, list):
            wanted = json.loads(name)
            for position, item in enumerate(value):
                if item == wanted if mark == "v" else all(item.get(key) == each for key, each in wanted.items()):
                    yield from _places(child, item, (*place, position))
