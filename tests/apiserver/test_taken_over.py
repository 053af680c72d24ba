# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What another manager takes over and adds to is drift, in whatever field that is held in one piece.

A Service's selector, a VirtualService's routes, rules of RBAC, selectors of webhooks: who adds a key to one holds all of
it, and what is wanted is then part of what is there. Each such field of each object that a run applies is walked.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster.testcluster import TestCluster
from harness.beds import BedCluster
from harness.in_process import Mesh, actions, options_of, run_job
from harness.playbooks import ROOT
from harness.takeover import WAYS, Object, Piece, dotted, pieces, take_over

from ansible_collections.meshops.istio.plugins.module_utils import release_objects, release_state
from ansible_collections.meshops.istio.plugins.module_utils.jobs import crds, liveness, pod_security
from ansible_collections.meshops.istio.plugins.module_utils.kube import Cluster, reference
from ansible_collections.meshops.istio.plugins.module_utils.manifests import plan, read
from ansible_collections.meshops.istio.plugins.module_utils.objects import identity
from ansible_collections.meshops.istio.plugins.module_utils.preview import drifted
from ansible_collections.meshops.istio.plugins.module_utils.release_state import HELM_MANAGER
from ansible_collections.meshops.istio.plugins.module_utils.release_steps import drift_words

NAMESPACE = "istio-system"
#: What nobody may change once it is there.
IMMUTABLE = {"spec.selector", "roleRef"}
#: Whose deletion takes others with it.
STAYS = ("Namespace", "CustomResourceDefinition")


class Walk:
    """Other managers at a set of objects, one field of each object at a time.

    :arg manager: under which the set is applied
    :arg looked: what the code under test says of the set: the drift of each object in words
    """

    def __init__(
        self, cluster: Cluster, wanted: list[Object], manager: str, looked: Callable[[], list[str]]
    ) -> None:
        self.cluster = cluster
        self.wanted = {identity(obj): obj for obj in wanted}
        self.manager = manager
        self.looked = looked
        self.refused: set[str] = set()
        self.taken = 0

    def everything(self) -> list[str]:
        """Every deed at every field, in ways that take turns. :returns: what was not told, or told wrongly"""
        wrong = self.looked()
        ways = itertools.cycle(WAYS)
        todo = {key: pieces(obj, self.manager) for key, obj in self._live().items()}
        import time
        print(sum(map(len, todo.values())), max(map(len, todo.values())))
        for number in range(max(map(len, todo.values()))):
            print(number, time.monotonic(), self.taken, len(wrong), flush=True)
            live = self._live()
            done = {}
            for key, its in todo.items():
                if number < len(its):
                    way = next(ways)
                    words = self._deed(live[key], self.wanted[key], its[number], way)
                    if words:
                        done[key] = words
            told = self.looked()
            wrong += [f"{words} ({how}): not told" for words, how in done.values() if not _is_told(words, told)]
            wrong += [f"told: {each}" for each in told if not any(_is_told(words, [each]) for words, _ in done.values())]
            for key in done:
                self.cluster.apply(self.wanted[key], manager=self.manager, strict=True)
            wrong += [f"still told: {each}" for each in self.looked()]
        return wrong

    def _deed(self, live: Object, wanted: Object, piece: Piece, way: str) -> tuple[str, str] | None:
        field = dotted(live, piece.path)
        if way == "deleted and made anew" and live["kind"] in STAYS:
            way = "kubectl edit"
        if not take_over(self.cluster, live, wanted, piece, way, self.manager):
            self.refused.add(f"{live['kind']} {field}: {piece.deed}, {way}")
            return None
        self.taken += 1
        return f"{reference(live)}: {field}", f"{piece.deed}, {way}"

    def _live(self) -> dict[Any, Object]:
        found = read(self.cluster, list(self.wanted.values()))
        return {key: {**obj, "apiVersion": key[0], "kind": key[1]} for key, obj in found.items()}


def _is_told(words: str, told: list[str]) -> bool:
    name, _colon, field = words.partition(": ")
    for each in told:
        there, _colon, fields = each.partition(": ")
        if there == name and any(one.startswith(field) for one in fields.split(", ")):
            return True
    return False


def cluster_of(bed: BedCluster) -> Cluster:
    """Our own client."""
    return Cluster({name: bed.variables[f"istio_{name}"] for name in ("kubeconfig", "context")})


# -- releases ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mesh(install: TestCluster) -> Iterator[Mesh]:
    """Yield a mesh as site.yml installs it, with Istio CNI beside."""
    install.wipe()
    found = Mesh(
        install,
        components=["base", "istiod", "cni"],
        gateways=[{"name": "istio-ingressgateway", "node_ports": {"http2": 30010}}],
    )
    found.run()
    yield found
    install.wipe()


def test_fields_of_releases(mesh: Mesh) -> None:
    """All of them."""
    cluster = cluster_of(mesh.cluster)
    names = ("istio-base", "istiod", "istio-cni", "istio-ingressgateway")
    stored = release_state.read(cluster, [(NAMESPACE, name) for name in names])
    assert len(stored) == len(names)
    objects = [
        obj
        for each in stored.values()
        for obj in release_objects.stored_objects(cluster, each)
        if obj["kind"] != "CustomResourceDefinition"
    ]
    recorded = min(each.recorded for each in stored.values())
    walk = Walk(
        cluster, objects, HELM_MANAGER, lambda: drift_words(drifted(cluster, objects, recorded=recorded))
    )
    wrong = walk.everything()
    print(walk.taken, sorted(walk.refused))
    assert wrong == []
