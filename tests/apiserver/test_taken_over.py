# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What another manager takes over and adds to is drift, in whatever field that is held in one piece.

A Service's selector, a VirtualService's routes, rules of RBAC, selectors of webhooks: who adds a key to one holds all
of it, and what is wanted is then part of what is there. Each such field of each object that a run applies is walked.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.announcements import honestly_done
from harness.beds import BedCluster
from harness.in_process import Mesh, actions, options_of, run_job
from harness.playbooks import ROOT
from harness.takeover import WAYS, Object, Piece, dotted, pieces, take_over

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.manifests import Plan, apply, plan, read
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import identity, reference
from ansible_collections.meshops.istio.plugins.module_utils.helm import release_objects, storage
from ansible_collections.meshops.istio.plugins.module_utils.helm.owner import HELM_MANAGER
from ansible_collections.meshops.istio.plugins.module_utils.jobs import crds, liveness, pod_security, releases
from ansible_collections.meshops.istio.plugins.module_utils.releases.preview import drifted
from ansible_collections.meshops.istio.plugins.module_utils.releases.steps import drift_words

NAMESPACE = "istio-system"
RELEASES = ("istio-base", "istiod", "istio-cni", "istio-ingressgateway")
#: Fields that the API server lets nobody change, or to nothing that is made up here.
IMMUTABLE = {
    "ClusterRoleBinding roleRef",
    "DaemonSet spec.selector",
    "DaemonSet spec.template.spec.containers.env.valueFrom.fieldRef",
    "Deployment spec.template.spec.containers.env.valueFrom.fieldRef",
    "Deployment spec.selector",
    "RoleBinding roleRef",
}
_POSITION = re.compile(r"\[\d+\]")
#: Whose deletion takes others with it.
STAYS = ("Namespace", "CustomResourceDefinition")


class Walk:
    """Other managers at a set of objects, one field of each object at a time.

    :arg manager: under which the set is applied
    :arg looked: what the code under test says of the set: the drift of each object in words
    """

    def __init__(self, cluster: Cluster, wanted: list[Object], manager: str, looked: Callable[[], list[str]]) -> None:
        self.cluster = cluster
        self.wanted = {identity(obj): obj for obj in wanted}
        self.manager = manager
        self.looked = looked
        self.done: dict[str, set[str]] = {}

    def everything(self) -> list[str]:
        """Every deed at every field, in ways that take turns. :returns: what was not told, or told wrongly"""
        wrong = self.looked()
        ways = itertools.cycle(WAYS)
        todo = {key: pieces(obj, self.manager) for key, obj in self._live().items()}
        for number in range(max(map(len, todo.values()))):
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
            expected = [words for words, _how in done.values()]
            wrong += [f"told: {each}" for each in told if not any(_is_told(words, [each]) for words in expected)]
            for key in done:
                self.cluster.apply(self.wanted[key], manager=self.manager, strict=True)
            wrong += [f"still told: {each}" for each in self.looked()]
        return wrong

    @property
    def never(self) -> set[str]:
        """The fields that the API server lets nobody change."""
        return {field for field, deeds in self.done.items() if not deeds}

    def _deed(self, live: Object, wanted: Object, piece: Piece, way: str) -> tuple[str, str] | None:
        field = dotted(live, piece.path)
        if way == "deleted and made anew" and live["kind"] in STAYS:
            way = "kubectl edit"
        done = self.done.setdefault(f"{live['kind']} {_POSITION.sub('', field)}", set())
        if not take_over(self.cluster, live, wanted, piece, way, self.manager):
            return None
        done.add(piece.deed)
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


# -- what we apply ourselves -------------------------------------------------------------------------------------------


APP = {
    "chart": str(ROOT / "roles/liveness_verify/files/liveness"),
    "chart_values": {
        "podDisruptionBudget": {"enabled": True},
        "horizontalPodAutoscaler": {"enabled": True},
        "tls": {"credentialName": "cert"},
    },
    "namespace": "taken-app",
    "manifests": [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "web"},
            "spec": {
                "podSelector": {"matchLabels": {"app": "web"}},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]}],
            },
        }
    ],
}


@pytest.fixture(scope="module")
def defined(openshift: BedCluster) -> Iterator[BedCluster]:
    """Yield an API server that serves Istio's kinds, and asks no istiod about them."""
    result, _task = run_job(crds, _known(openshift, crds))
    assert not result.get("failed"), result
    yield openshift
    openshift.kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", "taken-app", "taken-mesh")
    named = openshift.kubectl("get", "customresourcedefinitions", "--output=name").split()
    openshift.kubectl("delete", "--wait=false", *(name for name in named if "istio.io" in name))


def _known(bed: BedCluster, job: Any, **options: Any) -> dict[str, Any]:
    known = {**options_of(bed.variables), **options}
    return {name: known[name] for name in known if name in job.ARGUMENT_SPEC}


def planned(bed: BedCluster, job: Any, **options: Any) -> list[Object]:
    """What a job applies, as it is handed to the API server."""
    found: list[Object] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(job.manifests, "plan", lambda _cluster, wanted, *_more, **_how: found.extend(wanted) or Plan())
        run_job(job, _known(bed, job, **options), check=True)
    assert found
    return found


FEW_DEFINITIONS = ("sidecars.networking.istio.io", "peerauthentications.security.istio.io")
SECURITY = {"namespaces": [{"name": "taken-mesh", "runs": "control-plane"}, {"name": "taken-app"}], "istio_cni": True}
#: Job, its options, its manager, and fields that have to be among those that are changed.
OURS: dict[str, tuple[Any, dict[str, Any], str, set[str]]] = {
    "the app": (liveness, APP, liveness.MANAGER, {"VirtualService spec.http", "Service spec.selector"}),
    "pod security": (pod_security, SECURITY, pod_security.MANAGER, {"ClusterRole rules"}),
    "definitions": (crds, {}, HELM_MANAGER, {"CustomResourceDefinition spec.names.shortNames"}),
}


@pytest.mark.parametrize("name", OURS)
def test_fields_of_what_we_apply(name: str, defined: BedCluster) -> None:
    """Job by job."""
    job, options, manager, some = OURS[name]
    cluster, objects = cluster_of(defined), planned(defined, job, **options)
    if job is crds:  # whose fields are the same ones in all, and whose schemas are long
        objects = [obj for obj in objects if obj["metadata"]["name"] in FEW_DEFINITIONS]
    apply(cluster, plan(cluster, objects, manager).changes, manager)
    walk = Walk(cluster, objects, manager, lambda: drift_words(plan(cluster, objects, manager).changes))
    assert walk.everything() == []
    assert some <= walk.done.keys() - walk.never
    assert walk.never <= IMMUTABLE


# -- the runs themselves -----------------------------------------------------------------------------------------------


def test_a_gateway_that_selects_nothing(mesh: Mesh) -> None:
    """A key that kubectl adds to the Service's selector: told, set back, and silence."""
    key = "example.com/by-another"
    patch = json.dumps({"spec": {"selector": {key: "x"}}})
    gateway = ("service/istio-ingressgateway", f"--namespace={NAMESPACE}")
    mesh.cluster.kubectl("patch", *gateway, f"--patch={patch}")
    with mesh.cluster.asked() as asked:
        told = mesh.run()
    assert (asked.writes, actions(told)) == ([], {})
    words = f'Service {NAMESPACE}/istio-ingressgateway: spec.selector["{key}"]'
    assert [drift for step in told[1]["releases"] for drift in step["drift"]] == [words]
    assert mesh.warnings == [warning for warning in mesh.warnings if words in warning] != []
    names = honestly_done(
        mesh.cluster, lambda: mesh.run(check=True, repair_drift=True), lambda: mesh.run(repair_drift=True)
    )
    assert names == [f"changed Service {NAMESPACE}/istio-ingressgateway"]
    assert key not in mesh.cluster.get(*gateway)["spec"]["selector"]
    with mesh.cluster.asked() as asked:
        assert [result["changed"] for result in mesh.run(repair_drift=True)] == [False, False]
    assert (asked.writes, asked.count.dry_runs) == ([], 0)


def test_a_route_that_aborts_all_requests(defined: BedCluster) -> None:
    """`fault` in the app's VirtualService: the next run takes it away, whether it then gets its 200 or not."""
    route = ("virtualservice/liveness", "--namespace=taken-app")
    fault = {"abort": {"percentage": {"value": 100}, "httpStatus": 503}}
    patch = json.dumps([{"op": "add", "path": "/spec/http/0/fault", "value": fault}])
    with defined.gateway_without_pods("nobodys") as named:
        own = {**APP, **named, "wait_timeout": 2}

        def run(check: bool = False) -> dict[str, Any]:
            return run_job(liveness, _known(defined, liveness, **own), check)[0]

        run()
        assert run(check=True)["changed"] is False
        defined.kubectl("patch", *route, "--type=json", f"--patch={patch}")
        assert run(check=True)["objects"] == ["VirtualService taken-app/liveness"]
        done = run()
        assert (done["failed"], done["changed"], done["objects"]) == (True, True, ["VirtualService taken-app/liveness"])
        assert "fault" not in defined.get(*route)["spec"]["http"][0]
        with defined.asked() as asked:
            assert run()["changed"] is False
        assert (asked.writes, asked.count.dry_runs) == ([], 0)


def test_two_runs_at_once(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that waits finds its work done: it has written nothing, and says so."""
    values = {**mesh.options["values"], "istio-ingressgateway": {"podAnnotations": {"example.com/two": "runs"}}}
    taken, others = releases.lease.held, []

    @contextlib.contextmanager
    def held(*arguments: Any) -> Iterator[bool]:
        if not others:
            others.append(mesh.start(values=values).communicate(timeout=300)[0])
        with taken(*arguments) as dead:
            yield dead

    monkeypatch.setattr(releases.lease, "held", held)
    with mesh.cluster.asked() as asked:
        results = mesh.run(values=values)
    assert json.loads(others[0].splitlines()[-1])["changed"] is True
    assert results[1]["changed"] is False
    assert actions(results) == {}
    # Its own Lease apart, all writes are the other's: one by helm to the Deployment.
    assert len([request for request in asked.writes if "deployments/istio-ingressgateway" in request]) == 1
    mesh.run()


def test_a_release_that_helm_merges(mesh: Mesh) -> None:
    """As Helm 3 does: its merge would leave what others have added, so that each run would say changed, in vain."""
    name, where = "istio-ingressgateway", f"--namespace={NAMESPACE}"
    mesh.cluster.tool("helm", "uninstall", name, where, "--wait")
    chart = f"{mesh.options['chart_repository']}/gateway"
    mesh.cluster.tool("helm", "install", name, chart, where, "--server-side=false")
    mesh.run()
    stored = storage.read(cluster_of(mesh.cluster), [(NAMESPACE, name)])[NAMESPACE, name]
    assert stored.apply_method == "csa"
    assert mesh.written(repair_drift=True) == []
    patch = json.dumps({"spec": {"selector": {"example.com/by-another": "x"}}})
    mesh.cluster.kubectl("patch", f"service/{name}", where, f"--patch={patch}")
    names = honestly_done(
        mesh.cluster, lambda: mesh.run(check=True, repair_drift=True), lambda: mesh.run(repair_drift=True)
    )
    assert names == [f"changed Service {NAMESPACE}/{name}"]
    assert "example.com/by-another" not in mesh.cluster.get(f"service/{name}", where)["spec"]["selector"]
    assert mesh.written(repair_drift=True) == []
    mesh.cluster.tool("helm", "uninstall", name, where, "--wait")
    mesh.run()


def test_fields_of_releases(mesh: Mesh) -> None:
    """All of them. It comes last: what it restores under helm's name, helm has recorded nowhere."""
    cluster = cluster_of(mesh.cluster)
    stored = storage.read(cluster, [(NAMESPACE, name) for name in RELEASES])
    assert len(stored) == len(RELEASES)
    objects = [
        obj
        for each in stored.values()
        for obj in release_objects.stored_objects(cluster, each)
        if obj["kind"] != "CustomResourceDefinition"
    ]
    recorded = min(each.modified for each in stored.values())
    walk = Walk(cluster, objects, HELM_MANAGER, lambda: drift_words(drifted(cluster, objects, recorded=recorded)))
    assert walk.everything() == []
    changed = walk.done.keys() - walk.never
    webhooks = {f"ValidatingWebhookConfiguration webhooks.{field}" for field in ("rules", "objectSelector")}
    assert {
        "Service spec.selector",
        "ClusterRole rules",
        "Deployment spec.template.spec.tolerations",
        *webhooks,
    } <= changed
    assert walk.never <= IMMUTABLE
