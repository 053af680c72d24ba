# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room is counted as the scheduler counts it: per node, with sidecars, init containers and overhead."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.quantities import MIB
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.preflight import capacity
from ansible_collections.meshops.istio.plugins.module_utils.preflight.capacity import (
    Room,
    free_by_node,
    pod_requests,
    room,
    schedulable,
    unplaceable,
)


def asked(cpu: str | None = None, memory: str | None = None, **more: Any) -> dict[str, Any]:
    """A container with requests."""
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    return {"name": "c", "resources": {"requests": requests}, **more}


@pytest.mark.parametrize(
    ("resources", "cpu", "memory"),
    [
        ({"cpu": "500m", "memory": "2Gi"}, Decimal("0.5"), 2048 * MIB),
        ({"cpu": "4", "memory": "8G"}, Decimal(4), Decimal(8_000_000_000)),
        ({"cpu": 2, "memory": "128974848"}, Decimal(2), Decimal(128974848)),
        ({"cpu": "0.1", "memory": "1.5Gi"}, Decimal("0.1"), 1536 * MIB),
        ({"memory": "7970472Ki"}, Decimal(0), Decimal(7970472 * 1024)),
        ({"cpu": None, "memory": ""}, Decimal(0), Decimal(0)),
        ({}, Decimal(0), Decimal(0)),
        (None, Decimal(0), Decimal(0)),
    ],
)
def test_quantities(resources: dict[str, Any] | None, cpu: Decimal, memory: Decimal) -> None:
    """Quantities as nodes, pods and users write them; what is not there is nothing."""
    assert room(resources) == Room(cpu, memory)


@pytest.mark.parametrize("value", ["many", "2GiB"])
def test_quantity_that_is_none(value: str) -> None:
    """A user's mistake, named."""
    with pytest.raises(JobError, match=f"^'{value}' is not a valid quantity"):
        room({"memory": value})


def test_room_as_people_read_it() -> None:
    """Cores without an exponent, memory in MiB."""
    assert str(room({"cpu": "100", "memory": "512Mi"})) == "100 CPU, 512 MiB"
    assert str(room({"cpu": "1500m", "memory": "1G"})) == "1.5 CPU, 954 MiB"


@pytest.mark.parametrize(
    ("bigger", "smaller", "expected"),
    [
        (("1", "1Gi"), ("1", "1Gi"), True),
        (("1", "1Gi"), ("1001m", "1Gi"), False),
        (("1", "1Gi"), ("1", "1025Mi"), False),
    ],
)
def test_room_holds(bigger: tuple[str, str], smaller: tuple[str, str], expected: bool) -> None:
    """Both have to fit."""
    held, wanted = (room({"cpu": cpu, "memory": memory}) for cpu, memory in (bigger, smaller))
    assert held.holds(wanted) is expected


SIDECAR = asked("100m", "128Mi", restartPolicy="Always")


@pytest.mark.parametrize(
    ("spec", "cpu", "mebibytes"),
    [
        ({"containers": [asked("100m", "64Mi"), asked("200m", "64Mi")]}, "0.3", 128),
        ({"containers": [{"name": "no resources"}]}, "0", 0),
        ({"containers": [{"name": "only limits", "resources": {"limits": {"cpu": "1"}}}]}, "0", 0),
        ({"containers": [asked("100m", "64Mi")], "initContainers": [asked("1", "32Mi")]}, "1", 64),
        ({"containers": [asked("100m", "64Mi")], "initContainers": [asked("1"), asked("2"), asked("1")]}, "2", 64),
        ({"containers": [asked("100m", "64Mi")], "initContainers": [SIDECAR]}, "0.2", 192),
        ({"containers": [asked("100m", "64Mi")], "initContainers": [SIDECAR, asked("1", "64Mi")]}, "1.1", 192),
        ({"containers": [asked("100m", "64Mi")], "initContainers": [asked("1", "64Mi"), SIDECAR]}, "1", 192),
        ({"containers": [asked("100m", "64Mi")], "overhead": {"cpu": "250m", "memory": "120Mi"}}, "0.35", 184),
        ({}, "0", 0),
    ],
    ids=[
        "containers add up",
        "no resources",
        "limits are the API server's to copy",
        "init container is larger",
        "init containers run one by one",
        "native sidecar runs beside",
        "native sidecar runs beside a later init container",
        "and not beside an earlier one",
        "overhead of the runtime class",
        "nothing",
    ],
)
def test_pod_requests(spec: dict[str, Any], cpu: str, mebibytes: int) -> None:
    """What the scheduler reserves."""
    assert pod_requests(spec) == Room(Decimal(cpu), mebibytes * MIB)


def node(name: str = "a", cpu: str = "2", memory: str = "4Gi", ready: str = "True", **spec: Any) -> dict[str, Any]:
    """A node."""
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": "110"},
            "conditions": [{"type": "MemoryPressure", "status": "True"}, {"type": "Ready", "status": ready}],
        },
    }


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (node(), True),
        (node(ready="False"), False),
        (node(ready="Unknown"), False),
        (node(unschedulable=True), False),
        (node(taints=[{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]), False),
        (node(taints=[{"key": "a", "effect": "PreferNoSchedule"}, {"key": "b", "effect": "NoExecute"}]), False),
        (node(taints=[{"key": "a", "effect": "PreferNoSchedule"}]), True),
        ({"metadata": {"name": "new"}, "status": {}}, False),
    ],
    ids=["plain", "not ready", "unknown", "cordoned", "NoSchedule", "NoExecute", "PreferNoSchedule", "just joined"],
)
def test_schedulable(obj: dict[str, Any], expected: bool) -> None:
    """Ordinary pods, without tolerations, may be put there."""
    assert schedulable(obj) is expected


def pod(node_name: str | None, phase: str = "Running", cpu: str = "500m") -> dict[str, Any]:
    """A pod on a node."""
    spec: dict[str, Any] = {"containers": [asked(cpu, "1Gi")]}
    return {"spec": {**spec, **({"nodeName": node_name} if node_name else {})}, "status": {"phase": phase}}


def test_free_by_node() -> None:
    """Pods that have ended, wait for a node or run on a node that takes none count for nothing."""
    nodes = [node("a"), node("b", "1", "2Gi"), node("tainted", taints=[{"key": "k", "effect": "NoSchedule"}])]
    pods = [pod("a"), pod("a", "Pending"), pod("a", "Succeeded"), pod("b", "Failed"), pod(None), pod("tainted")]
    assert free_by_node(nodes, pods) == {"a": Room(Decimal(1), 2048 * MIB), "b": Room(Decimal(1), 2048 * MIB)}


def rooms(**given: tuple[str, str]) -> dict[str, Room]:
    """Rooms by name."""
    return {name: room({"cpu": cpu, "memory": memory}) for name, (cpu, memory) in given.items()}


@pytest.mark.parametrize(
    ("wanted", "free", "expected"),
    [
        (rooms(istiod=("500m", "2Gi")), rooms(a=("500m", "2Gi")), []),
        (rooms(istiod=("500m", "2Gi")), rooms(a=("400m", "9Gi"), b=("9", "1Gi")), ["istiod"]),
        (rooms(istiod=("500m", "2Gi")), {}, ["istiod"]),
        (rooms(istiod=("1", "2Gi"), gateway=("1", "1Gi")), rooms(a=("1", "4Gi"), b=("1", "1Gi")), []),
        (rooms(istiod=("1", "2Gi"), gateway=("1", "1Gi")), rooms(a=("1", "4Gi"), b=("500m", "1Gi")), ["gateway"]),
        (rooms(istiod=("100m", "4Gi"), gateway=("100m", "128Mi")), rooms(a=("1", "2Gi")), ["istiod"]),
        ({}, {}, []),
    ],
    ids=[
        "just fits",
        "in sum, but on no node",
        "no node",
        "one each",
        "second finds its node taken",
        "smaller one still fits",
        "nothing wanted",
    ],
)
def test_unplaceable(wanted: dict[str, Room], free: dict[str, Room], expected: list[str]) -> None:
    """Per node, not in sum; what one pod takes the next cannot have."""
    assert unplaceable(wanted, free) == expected


def test_unplaceable_only_if_no_arrangement_is_possible() -> None:
    """The largest pod fits on both nodes, the other on one: an error has to be certain."""
    wanted = rooms(istiod=("500m", "2Gi"), gateway=("1", "1Gi"))
    assert unplaceable(wanted, rooms(small=("1", "2.1Gi"), large=("500m", "4Gi"))) == []


def test_unplaceable_counts_pods_apart_that_fit_nowhere() -> None:
    """The one that fits nowhere is named; the others are arranged without it."""
    wanted = rooms(huge=("1", "9Gi"), istiod=("500m", "2Gi"), gateway=("1", "1Gi"))
    assert unplaceable(wanted, rooms(small=("1", "2.1Gi"), large=("500m", "4Gi"))) == ["huge"]


def test_unplaceable_ends_in_time() -> None:
    """Where there are more arrangements than can be tried, a shortage is not certain and is no error."""
    wanted = rooms(**{f"gateway-{index}": ("1", "1Gi") for index in range(40)})
    nodes = rooms(**{f"node-{index}": ("39", f"{1000 + index}Mi") for index in range(60)})
    assert unplaceable(wanted, rooms(a=("39", "99Gi"))) == ["gateway-39"]
    assert unplaceable(wanted, nodes) == []


def test_unplaceable_leaves_the_rooms_alone() -> None:
    """The caller goes on to show them."""
    free = rooms(a=("1", "4Gi"))
    unplaceable(rooms(istiod=("1", "2Gi")), free)
    assert free == rooms(a=("1", "4Gi"))


@pytest.mark.parametrize(
    ("wanted", "advice", "codes"),
    [
        ({"istiod": ("500m", "2Gi")}, ("2", "4Gi"), []),
        ({"istiod": ("500m", "2Gi")}, ("2001m", "4Gi"), ["room-short"]),
        ({"istiod": ("500m", "5Gi")}, ("1", "1Gi"), ["room-none"]),
        ({}, ("9", "99Gi"), []),
    ],
)
def test_findings(wanted: dict[str, tuple[str, str]], advice: tuple[str, str], codes: list[str]) -> None:
    """What fits on no node stops a run, less than is advised does not; a second run wants nothing and says nothing."""
    free = {"a": room({"cpu": "2", "memory": "4Gi"})}
    rooms = {name: room({"cpu": cpu, "memory": memory}) for name, (cpu, memory) in wanted.items()}
    found = capacity.findings(rooms, free, room({"cpu": advice[0], "memory": advice[1]}))
    assert [finding.code for finding in found] == codes
