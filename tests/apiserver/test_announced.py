# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`--check --diff` writes nothing, and the run after it does exactly what was announced (istio#31185, istio#58341).

Measured by snapshots of all objects before and after, not by our own diff; and then a further run writes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster.testcluster import TestCluster
from harness.announcements import honestly_done
from harness.beds import BedCluster
from harness.in_process import Mesh, actions, options_of, run_job
from harness.playbooks import ROOT

from ansible_collections.meshops.istio.plugins.module_utils.jobs import pod_security

ROLES = ROOT / "molecule/pods.yml"
MODULES = ("istio_pod_security", "istio_crds", "istio_releases")
#: So many lines of a diff can still be looked through; there were 54,000.
LINES = 4000
NODE_PORTS = {"http2": 30010, "https": 30011, "status-port": 30012}
GATEWAYS = [
    {"name": "istio-ingressgateway", "node_ports": NODE_PORTS},
    {"name": "istio-egressgateway", "replicas": 2},
]

Options = dict[str, Any]


def test_from_nothing(install: TestCluster) -> None:
    """All roles of site.yml that need no traffic, as a user runs them; namespaces and kinds are not there yet."""
    install.wipe()

    def announce() -> list[Options]:
        run = install.playbook(ROLES, "--check", "--diff").run().succeeded()
        # Each definition once, and readable.
        assert len(run.output.splitlines()) < LINES
        assert run.output.count("+++ after: CustomResourceDefinition gateways.networking.istio.io") == 1
        return [run.of(module).data for module in MODULES]

    names = honestly_done(install, announce, lambda: install.playbook(ROLES).run().succeeded())
    assert "created Namespace istio-system" in names
    assert "created Deployment istio-system/istiod" in names
    with install.asked() as asked:
        again = install.playbook(ROLES, "--diff").run().succeeded()
    assert (again.changed, asked.writes) == ([], [])


# -- edits of a mesh that is there, each on what the one before left ---------------------------------------------------


@pytest.fixture(scope="module")
def mesh(install: TestCluster) -> Iterator[Mesh]:
    """Yield a mesh with two gateways."""
    install.wipe()
    found = Mesh(install, gateways=copy.deepcopy(GATEWAYS))
    found.run()
    yield found
    install.kubectl("delete", "namespace", "edge", "--ignore-not-found", "--wait=false")
    install.wipe()


def istiod(**values: Any) -> Callable[[Mesh], None]:
    """An edit of istiod's values."""

    def edit(mesh: Mesh) -> None:
        mesh.options["values"] = copy.deepcopy(mesh.options["values"])
        mesh.options["values"].setdefault("istiod", {}).update(values)

    return edit


def gateway(number: int, **options: Any) -> Callable[[Mesh], None]:
    """An edit of a gateway; what is None goes."""

    def edit(mesh: Mesh) -> None:
        one = {**mesh.options["gateways"][number], **options}
        mesh.options["gateways"][number] = {name: value for name, value in one.items() if value is not None}

    return edit


def more(**options: Any) -> Callable[[Mesh], None]:
    """A further gateway, in a namespace of its own that nobody has made."""

    def edit(mesh: Mesh) -> None:
        mesh.options["gateways"].append(options)

    return edit


def every(**options: Any) -> Callable[[Mesh], None]:
    """An option of the whole mesh."""

    def edit(mesh: Mesh) -> None:
        mesh.options.update(options)

    return edit


def by_hand(*arguments: str) -> Callable[[Mesh], None]:
    """Somebody else's deed by kubectl."""

    def edit(mesh: Mesh) -> None:
        mesh.cluster.kubectl(*arguments, "--namespace=istio-system")

    return edit


INGRESS, EGRESS = "istio-system/istio-ingressgateway", "istio-system/istio-egressgateway"
PORTS = [{"name": "http2", "port": 80}, {"name": "tcp", "port": 9000, "target_port": 9000}]
#: An edit, and some of what it changes; the snapshots say that it is neither more nor less.
EDITS: dict[str, tuple[Callable[[Mesh], None], list[str]]] = {
    "a variable of istiod": (istiod(env={"A": "b", "C": "d"}), ["changed Deployment istio-system/istiod"]),
    "it goes again": (istiod(env={"C": "d"}), ["changed Deployment istio-system/istiod"]),
    "room for istiod": (
        istiod(resources={"requests": {"cpu": "100m", "memory": "512Mi"}}),
        ["changed Deployment istio-system/istiod"],
    ),
    "settings of the mesh": (
        istiod(meshConfig={"accessLogFile": "/dev/stdout"}),
        ["changed ConfigMap istio-system/istio"],
    ),
    "no autoscaler of istiod": (
        istiod(autoscaleEnabled=False, replicaCount=2),
        ["deleted HorizontalPodAutoscaler istio-system/istiod", "changed Deployment istio-system/istiod"],
    ),
    "and one again": (istiod(autoscaleEnabled=True), ["created HorizontalPodAutoscaler istio-system/istiod"]),
    "another node port": (
        gateway(0, node_ports={**NODE_PORTS, "status-port": 30013}),
        [f"changed Service {INGRESS}"],
    ),
    "a port that is not pinned any more": (gateway(0, node_ports={"http2": 30010}), []),
    "other ports": (gateway(0, ports=PORTS, node_ports={"http2": 30010, "tcp": 30014}), [f"changed Service {INGRESS}"]),
    "the ports of before": (gateway(0, ports=None, node_ports=NODE_PORTS), [f"changed Service {INGRESS}"]),
    "a budget for a gateway": (
        gateway(1, values={"podDisruptionBudget": {"minAvailable": 1}}),
        [f"created PodDisruptionBudget {EGRESS}"],
    ),
    "it goes too": (gateway(1, values=None), [f"deleted PodDisruptionBudget {EGRESS}"]),
    "so many pods": (
        gateway(0, replicas=2),
        [f"deleted HorizontalPodAutoscaler {INGRESS}", f"changed Deployment {INGRESS}"],
    ),
    "as many as it takes": (gateway(0, replicas=None), [f"created HorizontalPodAutoscaler {INGRESS}"]),
    "annotations and a policy of a Service": (
        gateway(0, annotations={"example.com/a": "b"}, external_traffic_policy="Local"),
        [f"changed Service {INGRESS}"],
    ),
    "a load balancer": (gateway(1, type="LoadBalancer"), [f"changed Service {EGRESS}"]),
    "for the cluster alone": (gateway(1, type="ClusterIP"), [f"changed Service {EGRESS}"]),
    "a gateway in a namespace of its own": (
        more(name="edge", namespace="edge", type="NodePort", labels={"team": "edge"}),
        ["created Namespace edge", "created Deployment edge/edge"],
    ),
    "other images": (
        every(hub="registry.example.com/istio", tag="1.31.0", image_pull_secrets=["pull"]),
        ["changed Deployment istio-system/istiod", f"changed Deployment {INGRESS}"],
    ),
    "Istio CNI": (
        every(components=["base", "istiod", "cni"]),
        ["created DaemonSet istio-system/istio-cni-node", "changed ConfigMap istio-system/istio-sidecar-injector"],
    ),
    "addons": (
        every(components=["base", "istiod", "cni", "prometheus", "grafana", "jaeger", "kiali"]),
        ["created Deployment istio-system/prometheus", "created Deployment istio-system/kiali"],
    ),
    "ambient mode": (
        every(
            profile="ambient",
            components=["base", "istiod", "cni", "ztunnel", "prometheus", "grafana", "jaeger", "kiali"],
        ),
        ["created DaemonSet istio-system/ztunnel", "changed DaemonSet istio-system/istio-cni-node"],
    ),
    "objects that are gone": (
        by_hand("delete", "deployment/istiod", "serviceaccount/istio-egressgateway", "role/istiod"),
        ["created Deployment istio-system/istiod", "created Role istio-system/istiod"],
    ),
    "a definition that is gone": (
        by_hand("delete", "customresourcedefinition/wasmplugins.extensions.istio.io"),
        ["created CustomResourceDefinition wasmplugins.extensions.istio.io"],
    ),
    "a definition without a label": (
        by_hand("label", "customresourcedefinition/sidecars.networking.istio.io", "app.kubernetes.io/part-of-"),
        ["changed CustomResourceDefinition sidecars.networking.istio.io"],
    ),
    "a namespace that is gone": (
        lambda mesh: mesh.cluster.kubectl("delete", "namespace", "edge"),
        ["created Namespace edge", "created Service edge/edge"],
    ),
    "what has drifted is set back": (
        lambda mesh: (
            mesh.cluster.kubectl("scale", "deployment/prometheus", "--replicas=3", "--namespace=istio-system"),
            mesh.options.update(repair_drift=True),
        ),
        ["changed Deployment istio-system/prometheus"],
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_after_an_edit(name: str, mesh: Mesh) -> None:
    """What is announced is done and nothing else, field by field; then there is nothing left to do."""
    edit, some = EDITS[name]
    mesh.options.setdefault("addons_repository", f"{mesh.options['chart_repository']}/addons")
    edit(mesh)
    names = honestly_done(mesh.cluster, lambda: mesh.run(check=True), mesh.run)
    assert set(some) <= set(names), names
    assert mesh.written() == []
    assert actions(mesh.run(check=True)) == {}


# -- pod security ------------------------------------------------------------------------------------------------------

APPLICATION = {"name": "honest-shop"}
SECURITY: dict[str, dict[str, Any]] = {
    "namespaces that are not there": {},
    "with Istio CNI": {"istio_cni": True},
    "another level": {
        "istio_cni": True,
        "seccomp_profile": True,
        "namespaces": [{**APPLICATION, "level": "restricted"}],
    },
    "everything is taken back": {"state": "absent"},
}


@pytest.mark.parametrize("bed", ["today", "psp", "openshift"])
def test_pod_security(bed: str, request: pytest.FixtureRequest) -> None:
    """Labels, policies, constraints: each step as announced."""
    cluster: BedCluster = request.getfixturevalue(bed)
    access = {name: options_of(cluster.variables)[name] for name in ("kubeconfig", "context")}
    mesh = {"name": "honest-mesh", "runs": "control-plane"}
    try:
        for name, options in SECURITY.items():
            wanted = {**access, "namespaces": [mesh, APPLICATION], **options}

            def done(wanted: dict[str, Any] = wanted, check: bool = False) -> list[dict[str, Any]]:
                result, _task = run_job(pod_security, wanted, check)
                assert not result.get("failed"), result
                return [result]

            assert honestly_done(cluster, lambda done=done: done(check=True), done) or "level" in name, name
            with cluster.asked() as asked:
                assert not done()[0]["changed"]
            assert asked.writes == []
    finally:
        cluster.kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", mesh["name"], APPLICATION["name"])
