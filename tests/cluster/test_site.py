# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main path: site.yml from nothing to an answer through the mesh, and then nothing more to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.testcluster import TestCluster

#: Reads that a run which changes nothing may cost the API server. It grows with kinds, namespaces and gateways, each of
#: which is proven, and not with objects.
READS = 75
GATEWAY = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway"
APP = "spiffe://cluster.local/ns/liveness/sa/liveness"
ROLES = ("preflight", "psp_rbac", "crds", "istio_helm", "liveness_verify")


def test_check_mode_on_an_empty_cluster(cluster: TestCluster) -> None:
    """It shows what would be done, does not stumble over what is not there yet, and writes nothing."""
    cluster.wipe()
    with cluster.asked() as asked:
        run = cluster.site("--check", "--diff").succeeded()
    assert asked.writes == []
    assert {step["action"] for step in run.of("istio_releases").data["releases"]} == {"install"}
    assert "+++ after: CustomResourceDefinition gateways.networking.istio.io" in run.output


def test_from_nothing_to_an_answer(cluster: TestCluster) -> None:
    """200 through the gateway, and the application's word that the gateway called it over mutual TLS."""
    run = cluster.site().succeeded()
    cluster.has_mesh = True
    evidence = run.of("istio_liveness").data["evidence"]
    assert evidence["status"] == 200
    assert evidence["server"] == "istio-envoy"
    assert evidence["mtls"] == {"by": APP, "uri": GATEWAY}


def test_a_second_run_changes_and_writes_nothing(
    mesh: TestCluster, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Not even a Lease; and it asks for little."""
    with mesh.asked() as asked:
        run = mesh.site().succeeded()
    record_testsuite_property("reads of a run that changes nothing", asked.count.reads)
    assert (run.changed, asked.writes) == ([], [])
    assert 0 < asked.count.reads <= READS


def test_check_mode_on_an_installed_mesh(mesh: TestCluster) -> None:
    """Nothing to show, nothing written."""
    with mesh.asked() as asked:
        run = mesh.site("--check", "--diff").succeeded()
    assert (run.changed, asked.writes) == ([], [])


def test_check_mode_shows_a_change(mesh: TestCluster) -> None:
    """Of chart values and of the application; and writes nothing."""
    values = {**mesh.variables.get("istio_helm_values", {}), "istio-egressgateway": {"replicaCount": 2}}
    with mesh.asked() as asked:
        run = mesh.site("--check", "--diff", istio_helm_values=values, liveness_verify_replicas=2).succeeded()
    assert asked.writes == []
    actions = {step["name"]: step["action"] for step in run.of("istio_releases").data["releases"]}
    assert actions == {
        "istio-base": "none",
        "istiod": "none",
        "istio-ingressgateway": "none",
        "istio-egressgateway": "upgrade",
    }
    assert run.of("istio_liveness").data["objects"] == ["Deployment liveness/liveness"]
    assert '+        "replicas": 2' in run.output


@pytest.mark.parametrize("role", ROLES)
def test_each_role_runs_alone(role: str, mesh: TestCluster) -> None:
    """Included by somebody's own playbook, with module_defaults for the cluster."""
    with mesh.asked() as asked:
        run = mesh.role(role).succeeded()
    assert (run.changed, asked.writes) == ([], [])
    assert [result for result in run.results if result.action.startswith("meshops.istio.")]


@pytest.mark.parametrize(
    ("tags", "modules"),
    [
        ("--tags=preflight", ["istio_preflight_info"]),
        ("--tags=psp_rbac,crds,istio_helm", ["istio_pod_security", "istio_crds", "istio_releases"]),
        ("--skip-tags=preflight,psp_rbac,crds,istio_helm", ["istio_liveness"]),
    ],
    ids=["preflight", "install", "verify"],
)
def test_each_role_is_a_tag(tags: str, modules: list[str], mesh: TestCluster) -> None:
    """Tags choose roles, one or several, and nothing else of ours runs but the report."""
    run = mesh.site(tags).succeeded()
    ran = [result.action for result in run.results if result.status != "skipped"]
    ours = [action for action in ran if action.startswith("meshops.istio.")]
    assert ours == [f"meshops.istio.{module}" for module in [*modules, "istio_report"]]


def test_run_ends_with_its_report(mesh: TestCluster, tmp_path: Path) -> None:
    """The last thing that is said is where it is; it has the proof, and says that nothing was changed."""
    run = mesh.site(istio_report_directory=str(tmp_path)).succeeded()
    assert run.results[-1].data["msg"] == f"Report: {tmp_path}/cluster.html"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cluster.html", "cluster.json", "cluster.xml"]
    report = json.loads((tmp_path / "cluster.json").read_text())
    assert report["verdict"]["status"] == "proven"
    assert report["evidence"]["mtls"] == {"by": APP, "uri": GATEWAY}
    assert (report["changes"], report["pods_note"]) == ([], "This run started no pods.")


def test_run_that_fails_ends_with_its_report(mesh: TestCluster, tmp_path: Path) -> None:
    """The error and the return code are the run's own; the report has the error as its cause."""
    run = mesh.site("--tags=preflight", istio_report_directory=str(tmp_path), istio_helm_chart_version="1.15.0")
    assert run.code == 2
    assert "chart-missing" in run.message
    assert run.results[-1].data["msg"] == f"Report: {tmp_path}/cluster.html"
    report = json.loads((tmp_path / "cluster.json").read_text())
    assert (report["verdict"]["status"], report["cause"]["code"]) == ("failed", "chart-missing")


def test_somebody_elses_pod_security_label_stays(cluster: TestCluster) -> None:
    """A label that would refuse the pods ends the run, names namespace, level and ways out, and is left as it is."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", "labels": labels}})
    with cluster.asked() as asked:
        run = cluster.role("psp_rbac", psp_rbac_application_namespaces=["strict"])
    kept = cluster.get("namespace", "strict")["metadata"]["labels"]
    cluster.kubectl("delete", "namespace", "strict", "--wait=false")
    assert run.code != 0
    wanted = ("Namespace strict", "restricted", "privileged", "psp_rbac_force: true")
    assert [words for words in wanted if words not in run.message] == []
    assert kept["pod-security.kubernetes.io/enforce"] == "restricted"
    assert asked.writes == []
