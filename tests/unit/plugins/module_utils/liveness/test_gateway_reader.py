# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway is found by its release's own objects, else by what is there, with the rights that there are."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, identity
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm import release_objects, storage
from ansible_collections.meshops.istio.plugins.module_utils.helm.storage import Stored
from ansible_collections.meshops.istio.plugins.module_utils.liveness import gateway_reader

KEY = ("edge", "public")


def workload(name: str, kind: str = "Deployment", **labels: str) -> dict[str, Any]:
    """What runs pods."""
    template = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": name}}
    meta = {"name": name, "namespace": "edge"}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": {"template": template}}


def service(name: str, kind: str = "NodePort", port: int = 80, **selector: str) -> dict[str, Any]:
    """What leads to them."""
    spec = {"type": kind, "selector": selector, "ports": [{"name": "http2", "port": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "edge"}, "spec": spec}


class World:
    """A cluster, and what Helm has stored."""

    def __init__(self) -> None:
        self.objects: dict[Identity, dict[str, Any]] = {}
        self.stored: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.status = "deployed"
        self.forbidden: set[str] = set()
        self.fails: Exception | None = None

    def add(self, *objects: dict[str, Any]) -> None:
        """Have live objects."""
        self.objects.update((identity(obj), obj) for obj in objects)

    def get(self, api_version: str, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """One object."""
        self._asked(kind)
        return self.objects.get((api_version, kind, namespace, name))

    def list(self, api_version: str, kind: str, namespace: str) -> list[dict[str, Any]]:
        """Those of a kind."""
        self._asked(kind)
        return [obj for key, obj in self.objects.items() if key[:3] == (api_version, kind, namespace)]

    def _asked(self, kind: str) -> None:
        if kind in self.forbidden:
            raise ApiError(403, "Forbidden", "no")

    def read(self, _cluster: Any, wanted: list[tuple[str, str]]) -> dict[tuple[str, str], Stored]:
        """As release_state.read."""
        if self.fails:
            raise self.fails
        return {key: Stored(key[1], key[0], 1, self.status) for key in wanted if key in self.stored}

    def found(self) -> gateway_reader.Found | None:
        """What is found of the gateway."""
        return gateway_reader.read(self, [KEY]).get(KEY)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A cluster without anything."""
    world = World()
    monkeypatch.setattr(storage, "read", world.read)
    monkeypatch.setattr(storage, "in_secrets", lambda: True)
    monkeypatch.setattr(
        release_objects, "stored_objects", lambda _cluster, stored: world.stored[stored.namespace, stored.name]
    )
    return world


def test_release_whose_objects_have_other_names(world: World) -> None:
    """Kind, names and labels are those that Helm has written; type and ports those that are there now."""
    objects = [workload("proxy", "DaemonSet", app="a", istio="i"), service("proxy", app="a", istio="i")]
    world.stored[KEY] = copy.deepcopy(objects)
    world.add(objects[0], service("proxy", "LoadBalancer", 8080, app="a", istio="i", taken="over"))
    found = world.found()
    assert found is not None
    gateway = found.gateway
    assert (gateway.kind, gateway.workload, gateway.service) == ("DaemonSet", "proxy", "proxy")
    assert (gateway.type, gateway.ports[0]["port"]) == ("LoadBalancer", 8080)
    assert gateway.selector == {"app": "a", "istio": "i"}
    assert set(found.objects) == set(world.objects)


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
def test_release_of_which_something_is_gone(kind: str, world: World) -> None:
    """It is named, with who restores it."""
    objects = [workload("public", app="a"), service("public", app="a")]
    world.stored[KEY] = objects
    world.add(*(obj for obj in objects if obj["kind"] != kind))
    with pytest.raises(JobError, match=rf"^{kind} edge/public of gateway edge/public does not exist, although"):
        world.found()


@pytest.mark.parametrize("fault", [None, ApiError(403, "Forbidden", "no"), storage.UnknownFormat("odd")], ids=str)
def test_without_a_release_that_can_be_read(fault: Exception | None, world: World) -> None:
    """As of istioctl: the Service of its name, and what makes the pods that it selects, whatever that is called."""
    world.fails = fault
    world.add(
        workload("public", app="other"),
        workload("stranger", app="b"),
        workload("proxy", "DaemonSet", app="a", version="v1"),
        service("public", app="a"),
    )
    found = world.found()
    assert found is not None
    assert (found.gateway.kind, found.gateway.workload) == ("DaemonSet", "proxy")
    assert found.gateway.account == "proxy"
    world.forbidden = {"DaemonSet"}
    less = world.found()
    assert less is not None
    assert (less.gateway.kind, less.gateway.service) == ("", "public")


def test_uninstalled_release(world: World) -> None:
    """Kept as history only."""
    world.stored[KEY], world.status = [workload("public", app="a")], "uninstalled"
    assert world.found() is None


def test_workload_alone(world: World) -> None:
    """Without a Service, by its name."""
    world.add(workload("public", "DaemonSet", app="a"))
    found = world.found()
    assert found is not None
    assert (found.gateway.kind, found.gateway.service, found.service) == ("DaemonSet", "", None)


def test_other_faults_are_told(world: World) -> None:
    """Only a missing right is no reason to stop."""
    world.fails = ApiError(500, "Internal", "etcd is gone")
    with pytest.raises(ApiError):
        world.found()
