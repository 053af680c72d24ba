# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diagnosis reads: each kind once, where it may, and what it is told beside the API."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from harness.mesh_objects import INGRESS, ISTIO, Object, healthy, namespace, obj, pod, service

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.connection.connection import Connection
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis import reader as mesh_reader
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.diagnose import diagnose
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.reader import MeshReader, out_of_sync
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.state import MeshState
from ansible_collections.meshops.istio.plugins.module_utils.task import Scope

SCOPE = {"gateways": [(ISTIO, INGRESS)], "connect": False}


#: Far from the clock of whatever machine this runs on.
SERVER_TIME = datetime(2031, 5, 1, 12, 0, 0, tzinfo=timezone.utc)


class FakeCluster:
    """Serves objects, refuses some lists, and remembers what was asked for."""

    def __init__(self, *objects: Object) -> None:
        self.objects = objects
        self.refused: set[tuple[str, str | None]] = set()
        self.old = False
        self.asked: list[tuple[str, str, str | None]] = []
        self.connection = Connection({"host": "https://192.0.2.1:6443", "api_key": "token-1"})

    def now(self) -> datetime:
        """The API server's clock, which is not ours."""
        return SERVER_TIME

    def list(self, api_version: str, kind: str, namespace: str | None = None, **query: Any) -> list[Object]:
        """Objects of a kind."""
        self.asked.append((kind, api_version, namespace if "label_selector" not in query else "istiods"))
        if (kind, namespace) in self.refused:
            raise ApiError(403, "Forbidden", "no")
        if self.old and "istio.io/v1" in api_version and not api_version.endswith("beta1"):
            return []
        keep = query.get("keep") or (lambda each: each)
        found = [each for each in self.objects if each["kind"] == kind]
        if query.get("label_selector"):
            found = [each for each in found if each["metadata"].get("labels", {}).get("istio") == "pilot"]
        found = [each for each in found if namespace in (None, each["metadata"].get("namespace"))]
        return [{**keep(each), "kind": kind} for each in found]

    def get(self, _api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object."""
        if (kind, namespace) in self.refused:
            raise ApiError(403, "Forbidden", "no")
        for each in self.objects:
            if (each["kind"], each["metadata"]["name"], each["metadata"].get("namespace")) == (kind, name, namespace):
                return each
        return None


def read(cluster: FakeCluster, **scope: Any) -> MeshState:
    """The state."""
    return MeshReader(cluster, Scope(**{**SCOPE, **scope})).read()  # type: ignore[arg-type]


def test_healthy() -> None:
    """What is kept of its objects is enough for all rules, and the mesh is found by its label."""
    state = read(FakeCluster(*healthy()))
    assert (state.applications, state.named) == ({"shop"}, set())
    found = diagnose(state)
    assert (found.findings, found.skipped) == ([], [])


def test_each_kind_is_read_once() -> None:
    """In every version that may serve it."""
    cluster = FakeCluster(*healthy())
    read(cluster)
    assert len(cluster.asked) == len(set(cluster.asked))


def test_named_applications() -> None:
    """Count alone; and no others do where none is meant."""
    cluster = FakeCluster(*healthy(), namespace("other", istio_injection="enabled"))
    assert read(cluster, applications=["other"]).applications == {"other"}
    assert read(cluster).applications == {"shop", "other"}
    assert read(cluster, named_only=True).applications == set()


def test_gateways_that_are_there() -> None:
    """Are found by their pods, in whatever namespace."""
    assert read(FakeCluster(*healthy()), gateways=[]).gateways == [(ISTIO, INGRESS)]
    edge = [service("edge", "edge"), pod("edge", "edge", "istio-proxy")]
    found = read(FakeCluster(*healthy(), *edge), gateways=[])
    assert found.gateways == [("edge", "edge"), (ISTIO, INGRESS)]
    assert found.knows("Event", "edge")


def test_older_istio() -> None:
    """Of which the API server serves no v1."""
    cluster = FakeCluster(*healthy())
    cluster.old = True
    state = read(cluster)
    assert [each["metadata"]["name"] for each in state.of("VirtualService")] == ["web"]
    assert ("VirtualService", "networking.istio.io/v1beta1", None) in cluster.asked


def test_rights_in_some_namespaces() -> None:
    """They are looked into one by one, and what is elsewhere is not known."""
    cluster = FakeCluster(*healthy())
    cluster.refused = {("Gateway", None), ("Gateway", "shop"), ("Event", "shop"), ("Secret", ISTIO)}
    reader = MeshReader(cluster, Scope(**SCOPE))  # type: ignore[arg-type]
    state = reader.read()
    assert sorted(reader.notes)[:-1] == [
        "Event objects in shop: no permission to read them",
        "Gateway objects in shop: no permission to read them",
    ]
    assert state.partly["Gateway"] == {ISTIO}
    assert not state.knows("Gateway", "shop")
    assert state.partly["Event"] == {ISTIO}
    assert "Secret" not in state.objects
    assert diagnose(state).skipped == ["certificates of Gateways: no permission to read Secret"]


def test_no_rights() -> None:
    """Every check is left out, and named."""
    cluster = FakeCluster(*healthy())
    kinds = [*mesh_reader.KINDS, "Secret", "ConfigMap"]
    cluster.refused = {(kind, where) for kind in kinds for where in (None, ISTIO, "shop")}
    found = diagnose(read(cluster, applications=["shop"]))
    assert found.findings == []
    assert len(found.skipped) > 15


def test_faults_are_no_lack_of_rights() -> None:
    """They are raised."""

    class Broken(FakeCluster):
        def list(self, *_given: Any, **_query: Any) -> list[Object]:
            """Fail."""
            raise ApiError(500, "", "etcdserver: no leader")

    with pytest.raises(ApiError):
        read(Broken())


def test_many_namespaces() -> None:
    """Are read by one list, of which only theirs are kept."""
    names = [f"app-{number}" for number in range(5)]
    cluster = FakeCluster(*healthy(), *(namespace(name) for name in names), obj("Event", "x", "elsewhere"))
    state = read(cluster, applications=names)
    assert ("Event", "v1", None) in cluster.asked
    assert state.of("Event") == []
    assert not state.knows("Event", "elsewhere")


def test_what_is_going_counts_no_more() -> None:
    """But for a namespace, of which it is the news."""
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    gone = namespace("shop", istio_injection="enabled")
    gone["metadata"].update(going)
    route = obj("VirtualService", "web", "shop", {"hosts": ["a.example"]}, **going)
    state = read(
        FakeCluster(*[each for each in healthy() if each["kind"] not in ("Namespace", route["kind"])], gone, route)
    )
    assert state.of("VirtualService") == []
    assert [each["metadata"]["name"] for each in state.of("Namespace")] == ["shop"]


# -- beside the API ----------------------------------------------------------------------------------------------------


@pytest.fixture
def listening() -> Iterator[int]:
    """Yield a port that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=server.accept, daemon=True).start()
        yield server.getsockname()[1]


def node_and_service(port: int) -> list[Object]:
    """A node at the loopback address, and a gateway's Service with a node port."""
    node = obj("Node", "a", "")
    node["status"] = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
    }
    return [node, service(INGRESS, ISTIO, type="NodePort", ports=[{"name": "http2", "port": 80, "nodePort": port}])]


def test_connections(listening: int) -> None:
    """To the node ports of ready nodes; a refusal is told in the system's words."""
    others = [each for each in healthy() if each["metadata"]["name"] != INGRESS or each["kind"] != "Service"]
    state = read(FakeCluster(*others, *node_and_service(listening)), connect=True)
    assert state.answered == {(ISTIO, INGRESS): {f"127.0.0.1:{listening}": ""}}
    state = read(FakeCluster(*others, *node_and_service(1)), connect=True)
    assert state.answered == {(ISTIO, INGRESS): {"127.0.0.1:1": "Connection refused"}}
    state = read(FakeCluster(*others, *node_and_service(1)), connect=True, address=f"127.0.0.1:{listening}")
    assert state.answered == {(ISTIO, INGRESS): {f"127.0.0.1:{listening}": ""}}
    none = [each for each in others if each["kind"] != "Gateway"]
    state = read(FakeCluster(*none, *node_and_service(1)), connect=True)
    assert not state.answered[(ISTIO, INGRESS)], "nobody listens where there is no Gateway"
    for quiet in ({"connect": False}, {"connect": True, "exposed": False}, {"connect": True, "address": "nonsense"}):
        assert not read(FakeCluster(*others, *node_and_service(1)), **quiet).answered.get((ISTIO, INGRESS))


ISTIOCTL = """#!/bin/sh
case "$*" in
  "analyze --all-namespaces --output=json") echo '[{"code": "IST0101", "level": "Error"}]'; exit 79;;
  "proxy-status --output=json --istioNamespace=istio-system") echo '%s';;
  *) echo "Error: $*" >&2; exit 1;;
esac
"""
CONFIGS = [
    {"typeUrl": "type.googleapis.com/envoy.config.listener.v3.Listener", "configStatus": "ERROR"},
    {"typeUrl": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "configStatus": "SYNCED"},
]
STATUS = '{"resources": [{"node": {"id": "web-1.shop"}, "genericXdsConfigs": %s}]}'


def program(folder: Path, status: str) -> str:
    """An istioctl."""
    path = folder / "istioctl"
    path.write_text(ISTIOCTL % status)
    path.chmod(0o755)
    return str(path)


def test_istioctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its analysis, though it ends with a code of its own; and proxies that refuse what they are sent."""
    monkeypatch.setattr(mesh_reader, "_UPDATE", 0)
    configs = str(CONFIGS).replace("'", '"')
    state = read(FakeCluster(*healthy()), istioctl=program(tmp_path, STATUS % configs))
    assert state.analysis == [{"code": "IST0101", "level": "Error"}]
    assert state.out_of_sync == [("web-1.shop", "Listener ERROR")]


@pytest.mark.parametrize("status", ["NAME CLUSTER CDS", ""])
def test_istioctl_of_before(status: str, tmp_path: Path) -> None:
    """Prints text, or nothing: a note, and no finding."""
    reader = MeshReader(FakeCluster(*healthy()), Scope(**SCOPE, istioctl=program(tmp_path, status)))  # type: ignore[arg-type]
    assert reader.read().out_of_sync == []
    assert len(reader.notes) == 1
    assert reader.notes[0].startswith("istioctl: ")


def test_no_istioctl() -> None:
    """Is noted, whether none is named or the named one is not there."""
    reader = MeshReader(FakeCluster(), Scope(**SCOPE))  # type: ignore[arg-type]
    reader.read()
    assert reader.notes == ["istioctl analysis and proxies out of sync: no istioctl is specified"]
    reader = MeshReader(FakeCluster(), Scope(**SCOPE, istioctl="/nonexistent/istioctl"))  # type: ignore[arg-type]
    reader.read()
    (note,) = reader.notes
    assert note.startswith("istioctl: istioctl was not found at /nonexistent/istioctl. Install ")


def test_update_that_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts no more when it has arrived."""
    monkeypatch.setattr(mesh_reader, "_UPDATE", 0)
    stale = {
        "resources": [{"node": {"id": "a"}, "genericXdsConfigs": [{"typeUrl": "x.Listener", "configStatus": "STALE"}]}]
    }
    answers = [[stale], [{}]]
    assert MeshReader._lasting(lambda: answers.pop(0)) == []
    assert MeshReader._lasting(lambda: [stale]) == [("a", "Listener STALE")]


def test_states_of_proxies() -> None:
    """What was never sent because nobody asked is in order."""
    assert (
        out_of_sync([{"resources": [{"node": {"id": "a"}, "genericXdsConfigs": [{"configStatus": "NOT_SENT"}, {}]}]}])
        == []
    )
    assert out_of_sync([{}]) == []
