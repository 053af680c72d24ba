# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/rbac.yml is enough for the whole of site.yml, and preflight misses each right that is taken from it."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
import yaml
from cluster import rbac
from cluster.testcluster import TestCluster
from harness.playbooks import ROOT

from ansible_collections.meshops.istio.plugins.module_utils.preflight import rights

USER = "system:serviceaccount:{namespace}:{name}".format_map(rbac.ACCOUNT)
#: Role of docs/rbac.yml, what is taken away there, and how preflight names it.
SAMPLES = {
    "definitions": ("meshops-istio", "customresourcedefinitions", "customresourcedefinitions.apiextensions.k8s.io"),
    "bindings": ("meshops-istio", "clusterrolebindings", "clusterrolebindings.rbac.authorization.k8s.io"),
    "the lease": ("meshops-istio-control-plane", "leases", "leases.coordination.k8s.io"),
    "gateways": ("meshops-istio-application", "gateways", "gateways.networking.istio.io"),
    "what istiod holds": ("meshops-istio-handed-on", "endpointslices", "endpointslices.discovery.k8s.io"),
}


def documents() -> list[dict[str, Any]]:
    """The objects of docs/rbac.yml."""
    return list(yaml.safe_load_all(rbac.path(ROOT).read_text()))


def without(role: dict[str, Any], resource: str) -> dict[str, Any]:
    """A role that says nothing about a resource any more."""
    rules = [{**rule, "resources": [kept for kept in rule["resources"] if kept != resource]} for rule in role["rules"]]
    return {**role, "rules": [rule for rule in rules if rule["resources"]]}


@pytest.fixture(scope="module")
def credential(cluster: TestCluster) -> dict[str, str]:
    """Return the environment that hands over an account with nothing but the documented rights, on an empty cluster."""
    cluster.wipe()
    cluster.kubectl("apply", "-f", rbac.path(ROOT))
    return cluster.credential(cluster.token(rbac.ACCOUNT["namespace"], rbac.ACCOUNT["name"]))


def test_the_file_is_what_the_table_and_the_charts_say(cluster: TestCluster) -> None:
    """Write it anew by running this test with MESHOPS_WRITE_DOCS=1."""
    wanted = rbac.text(cluster.variables)
    if os.environ.get("MESHOPS_WRITE_DOCS") == "1":
        rbac.path(ROOT).write_text(wanted)
    assert rbac.path(ROOT).read_text() == wanted


@pytest.mark.parametrize("name", SAMPLES)
def test_preflight_misses_what_is_taken_away(name: str, cluster: TestCluster, credential: dict[str, str]) -> None:
    """Not a later role, and by name."""
    role_name, resource, named = SAMPLES[name]
    (role,) = [item for item in documents() if item["kind"] == "ClusterRole" and item["metadata"]["name"] == role_name]
    assert without(role, resource) != role
    cluster.kubectl("apply", "-f-", stdin=yaml.safe_dump(without(role, resource)))
    time.sleep(1)  # the API server's authorizer hears of it by a watch
    try:
        run = cluster.site("--tags=preflight", environ=credential, istio_kubeconfig=None, istio_context=None)
    finally:
        cluster.kubectl("apply", "-f-", stdin=yaml.safe_dump(role))
    assert run.code != 0
    findings = [finding for finding in run.failures[0].data["findings"] if finding["severity"] == "error"]
    assert {finding["code"] for finding in findings} == {"right-missing"}
    assert {finding["object"].split()[-1].partition("/")[0] for finding in findings} == {named}


def test_they_are_enough_from_nothing_to_an_answer(cluster: TestCluster, credential: dict[str, str]) -> None:
    """With a token alone, which helm gets too; and then nothing more to do."""
    over = {"istio_kubeconfig": None, "istio_context": None}
    with cluster.asked(user=USER) as asked:
        run = cluster.site(environ=credential, **over).succeeded()
    assert run.of("istio_liveness").data["evidence"]["status"] == 200
    assert asked.writes != []
    with cluster.asked(user=USER) as asked:
        again = cluster.site(environ=credential, **over).succeeded()
    assert (again.changed, asked.writes) == ([], [])
    assert asked.count.reads > 0


def test_they_are_enough_for_manual_injection(cluster: TestCluster, credential: dict[str, str]) -> None:
    """From istiod's ConfigMaps. To ask istiod itself takes a right that is not documented there, and is named."""
    over = {"istio_kubeconfig": None, "istio_context": None, "liveness_verify_injection": "manual"}
    run = cluster.site("--tags=preflight,liveness_verify", environ=credential, **over).succeeded()
    assert run.of("istio_liveness").data["injected"] == ["Deployment liveness/liveness"]
    assert run.of("istio_liveness").data["evidence"]["status"] == 200
    live = {**over, "liveness_verify_injection_source": "live"}
    refused = cluster.site("--tags=liveness_verify", environ=credential, **live)
    assert "istioctl kube-inject failed:" in refused.message
    assert "portforward" in refused.message


def test_what_is_left_out_without_a_right(cluster: TestCluster, credential: dict[str, str]) -> None:
    """The proxies' counters, which the evidence says; with the documented right they are there."""
    over = {"istio_kubeconfig": None, "istio_context": None}

    def counted() -> dict[str, dict[str, Any]]:
        run = cluster.site("--tags=preflight,liveness_verify", environ=credential, **over).succeeded()
        return run.of("istio_liveness").data["evidence"]["counted"]

    missing = "no permission to get pods/proxy (docs/rbac-counted.yml)"
    assert counted() == {name: {"unknown": missing} for name in ("gateway", "sidecar")}
    cluster.kubectl("apply", "-f", rbac.path(ROOT, rights.COUNTED))
    time.sleep(1)
    assert all(count["answers"] >= 3 for count in counted().values())


def test_they_are_enough_to_take_the_app_away(cluster: TestCluster, credential: dict[str, str]) -> None:
    """With the file for that beside them; without it, the object is named that may not be deleted."""
    over = {"istio_kubeconfig": None, "istio_context": None, "liveness_verify_state": "absent"}
    refused = cluster.site("--tags=liveness_verify", environ=credential, **over)
    assert "cannot delete resource" in refused.message
    cluster.kubectl("apply", "-f", rbac.path(ROOT, rights.REMOVAL))
    time.sleep(1)
    assert cluster.site("--tags=liveness_verify", environ=credential, **over).succeeded().changed
    assert cluster.get("deployments", "--namespace=liveness")["items"] == []
