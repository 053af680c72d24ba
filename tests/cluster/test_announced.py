# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml with all its roles: `--check --diff` writes nothing, and the run after it does exactly what was announced.

As tests/apiserver/test_announced.py, which has more cases, but with an istiod that is at work on the same objects.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from cluster.testcluster import TestCluster
from harness.announcements import honestly_done

MODULES = ("istio_pod_security", "istio_crds", "istio_releases", "istio_liveness")
#: Seconds in which istiod has closed its validators again.
SETTLES = 30.0


def honest(cluster: TestCluster, **over: Any) -> list[str]:
    """Announce and do what some variables ask for, prove it by a request, and have nothing left to do."""

    def announce() -> list[dict[str, Any]]:
        run = cluster.site("--check", "--diff", **over).succeeded()
        return [run.of(module).data for module in MODULES]

    def act() -> None:
        run = cluster.site(**over).succeeded()
        assert run.of("istio_liveness").data["evidence"]["status"] == 200

    names = honestly_done(cluster, announce, act, SETTLES)
    with cluster.asked() as asked:
        again = cluster.site(**over).succeeded()
    assert (again.changed, asked.writes) == ([], [])
    return names


@pytest.fixture(scope="module")
def from_nothing(cluster: TestCluster) -> list[str]:
    """Return what was announced on a cluster without anything of ours, and done."""
    cluster.wipe()
    names = honest(cluster)
    cluster.has_mesh = True
    return names


def test_from_nothing(from_nothing: list[str]) -> None:
    """Namespaces, definitions, releases and the application."""
    wanted = {
        "created Namespace istio-system",
        "created CustomResourceDefinition virtualservices.networking.istio.io",
        "created MutatingWebhookConfiguration istio-sidecar-injector",
        "created Deployment istio-system/istio-egressgateway",
        "created VirtualService liveness/liveness",
    }
    assert wanted <= set(from_nothing)


def test_no_gateway_was_ever_without_its_image_46307_54841(from_nothing: list[str], cluster: TestCluster) -> None:
    """istio#46307, istio#54841: its pod came before the injector, and then `auto` was to be pulled."""
    pods = cluster.get("pods", "--namespace=istio-system")["items"]
    assert "auto" not in {each["image"] for pod in pods for each in pod["spec"]["containers"]}
    events = cluster.get("events", "--namespace=istio-system")["items"]
    assert [each["message"] for each in events if "Image" in each["reason"] or "auto" in each.get("message", "")] == []


#: Edits of the variables, each on what the one before left, and some of what they change.
EDITS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "values, a node port and no autoscaler": (
        {
            "istio_helm_values": {"istiod": {"meshConfig": {"accessLogFile": "/dev/stdout"}}},
            "istio_helm_gateways": [
                {"name": "istio-ingressgateway", "node_ports": {"http2": 30013, "https": 30011, "status-port": 30012}},
                {"name": "istio-egressgateway", "replicas": 1},
            ],
            "liveness_verify_replicas": 2,
        },
        [
            "changed ConfigMap istio-system/istio",
            "changed Service istio-system/istio-ingressgateway",
            "deleted HorizontalPodAutoscaler istio-system/istio-egressgateway",
            "changed Deployment liveness/liveness",
        ],
    ),
    "a gateway and an application in namespaces of their own": (
        {
            "istio_helm_gateways": [{"name": "istio-ingressgateway"}, {"name": "edge", "namespace": "edge"}],
            "psp_rbac_application_namespaces": ["liveness", "shop"],
        },
        ["created Namespace edge", "created Namespace shop", "created Deployment edge/edge"],
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_after_an_edit(name: str, from_nothing: list[str], cluster: TestCluster) -> None:
    """Objects and fields, of all roles; istiod's own fields are no part of it."""
    edit, some = EDITS[name]
    over = copy.deepcopy(edit)
    for component, values in cluster.variables.get("istio_helm_values", {}).items():
        given = over.setdefault("istio_helm_values", {})
        given[component] = {**values, **given.get(component, {})}
    cluster.has_mesh = False
    try:
        names = honest(cluster, **over)
    finally:
        cluster.kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", "shop")
        if "edge" in str(edit):
            cluster.tool("helm", "uninstall", "edge", "--namespace=edge", check=False)
            cluster.kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", "edge")
    assert set(some) <= set(names), names
