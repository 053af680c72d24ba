# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is there room for Istio? Sums over nodes and pods; pure.

The guide recommends 8 GB of memory and 4 CPUs free. Below that a run goes on with a warning: the figures are a
recommendation. It stops only when a pod that is about to be created fits on no node.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.quantities import MIB, quantity
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding

#: Arrangements of pods on nodes that are looked at before their shortage counts as not proven.
_MOST_TRIES = 2000


@dataclass(frozen=True)
class Room:
    """Processor time in cores and memory in bytes."""

    cpu: Decimal = Decimal(0)
    memory: Decimal = Decimal(0)

    def __add__(self, other: Room) -> Room:
        return Room(self.cpu + other.cpu, self.memory + other.memory)

    def __sub__(self, other: Room) -> Room:
        return Room(self.cpu - other.cpu, self.memory - other.memory)

    def holds(self, other: Room) -> bool:
        """Whether the other fits in this one."""
        return self.cpu >= other.cpu and self.memory >= other.memory

    def __str__(self) -> str:
        return f"{self.cpu.normalize():f} CPU, {self.memory / MIB:.0f} MiB"


def room(resources: dict[str, Any] | None) -> Room:
    """Of a map with the quantities ``cpu`` and ``memory``; what is missing is 0.

    :raises JobError: one is no quantity; users write some of them
    """
    resources = resources or {}
    return Room(quantity(resources.get("cpu")), quantity(resources.get("memory")))


def _container_requests(container: dict[str, Any]) -> Room:
    return room((container.get("resources") or {}).get("requests"))


def pod_requests(spec: dict[str, Any]) -> Room:
    """What the scheduler reserves for a pod: containers and sidecars together, or its largest init container.

    An init container runs beside the sidecars that were started before it.
    """
    sidecars, peak = Room(), Room()
    for container in spec.get("initContainers") or []:
        wanted = sidecars + _container_requests(container)
        if container.get("restartPolicy") == "Always":
            sidecars = wanted
        peak = Room(max(peak.cpu, wanted.cpu), max(peak.memory, wanted.memory))
    running = sum((_container_requests(container) for container in spec.get("containers") or []), sidecars)
    return Room(max(running.cpu, peak.cpu), max(running.memory, peak.memory)) + room(spec.get("overhead"))


def schedulable(node: dict[str, Any]) -> bool:
    """Whether ordinary pods may be put on a node: ready, not cordoned, no taint that keeps them off."""
    spec = node.get("spec") or {}
    ready = any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in node.get("status", {}).get("conditions") or []
    )
    kept_off = any(taint["effect"] in ("NoSchedule", "NoExecute") for taint in spec.get("taints") or [])
    return ready and not spec.get("unschedulable") and not kept_off


def free_by_node(nodes: Iterable[dict[str, Any]], pods: Iterable[dict[str, Any]]) -> dict[str, Room]:
    """Allocatable room of every schedulable node minus the requests of the pods on it that have not ended."""
    free = {node["metadata"]["name"]: room(node["status"].get("allocatable")) for node in nodes if schedulable(node)}
    for pod in pods:
        name = pod["spec"].get("nodeName")
        if name in free and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            free[name] -= pod_requests(pod["spec"])
    return free


def unplaceable(wanted: dict[str, Room], free: dict[str, Room]) -> list[str]:
    """Names of the pods that find no node, largest first into the fullest node that takes it.

    That is a good arrangement, not always the best: pods are missed only when no other would take them all.
    """
    left = dict(free)
    without = []
    order = sorted(wanted, key=lambda name: (wanted[name].memory, wanted[name].cpu), reverse=True)
    for name in order:
        fitting = [node for node, room_left in left.items() if room_left.holds(wanted[name])]
        if not fitting:
            without.append(name)
            continue
        node = min(fitting, key=lambda node: (left[node].memory, left[node].cpu))
        left[node] -= wanted[name]
    homeless = [name for name in without if not any(whole.holds(wanted[name]) for whole in free.values())]
    if without == homeless:
        return without
    others = [wanted[name] for name in order if name not in homeless]
    return homeless if _fit(others, list(free.values()), itertools.count()) else without


def _fit(requests: list[Room], rooms: list[Room], tries: Iterator[int]) -> bool:
    """Whether there is an arrangement; also when it is not found in as many tries as take a moment."""
    if not requests or next(tries) > _MOST_TRIES:
        return True
    for one in dict.fromkeys(rooms):
        if one.holds(requests[0]):
            others = list(rooms)
            others[others.index(one)] -= requests[0]
            if _fit(requests[1:], others, tries):
                return True
    return False


def findings(wanted: dict[str, Room], free: dict[str, Room], advice: Room) -> list[Finding]:
    """Pods that fit on no node, and whether there is less than the guide advises.

    :arg wanted: requests of the pods that do not run yet, by name; none on a second run, which is then silent
    :arg free: room of each node that takes ordinary pods
    """
    total = sum(free.values(), Room())
    listed = "; ".join(f"{node}: {left}" for node, left in free.items())
    nodes = f"free: {listed}" if listed else "no node accepts ordinary pods"
    found = [
        Finding(
            "room-none",
            name,
            f"requests {wanted[name]} and fits on no node ({nodes}).",
            "Free capacity, add a node, or lower its requests in istio_helm_values.",
        )
        for name in unplaceable(wanted, free)
    ]
    if wanted and not total.holds(advice):
        number = f"{len(free)} node{'' if len(free) == 1 else 's'}"
        message = f"has {total} free on {number}, but {advice} are recommended for a full installation."
        fix = "Add capacity before you deploy workloads, unless the mesh is small."
        found.append(Finding("room-short", "cluster", message, fix))
    return found
