# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An Istio that others have installed, on a real API server: explained when it is not adopted, and whole when it is.

What a run that adopts istioctl's makes of it is molecule's scenario `adopt`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apiserver.conftest import TODAY, bed
from harness.beds import BedCluster, bed_command
from harness.playbooks import ROOT, Run

PODS = ROOT / "molecule/pods.yml"
NO_WEBHOOK = "values.global.operatorManageWebhooks=true"
CLUSTER_SCOPED = "customresourcedefinitions,clusterroles,clusterrolebindings,validatingwebhookconfigurations"


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield an API server of its own."""
    with bed("adopt", TODAY, tmp_path_factory.mktemp("home")) as found:
        yield found


def chart(cluster: BedCluster, name: str) -> Path:
    """Where a chart is."""
    return Path(cluster.variables["istio_helm_chart_repository"]) / name


def run(cluster: BedCluster, *arguments: str, **over: Any) -> Run:
    """As much of site.yml as runs here."""
    return cluster.playbook(PODS, *arguments, istio_helm_exposure="NodePort", **over).run()


def managers(cluster: BedCluster, *what: str) -> dict[str, set[str]]:
    """Who holds fields of some objects that helm owns, by the objects."""
    text = cluster.kubectl("get", *what, "--show-managed-fields", "--output=json")
    items = json.loads(text)["items"]
    marked = [obj for obj in items if "meta.helm.sh/release-name" in (obj["metadata"].get("annotations") or {})]
    return {
        f"{obj['kind']} {obj['metadata']['name']}": {
            entry["manager"] for entry in obj["metadata"]["managedFields"] if not entry.get("subresource")
        }
        for obj in marked
    }


def unchanged_when_run_again(cluster: BedCluster, **over: Any) -> None:
    """A second run changes nothing, and writes nothing."""
    with cluster.asked() as asked:
        again = run(cluster, **over).succeeded()
    assert (again.changed, asked.writes) == ([], [])


def test_what_istioctl_has_installed_stops_the_run(cluster: BedCluster) -> None:
    """By preflight, and by role istio_helm alone; in check mode too. Both say whose it is and what to do."""
    assert bed_command("tools").returncode == 0
    cluster.tool("istioctl", "install", "--skip-confirmation", "--set=profile=default", f"--set={NO_WEBHOOK}")
    with cluster.asked() as asked:
        preflight, role = run(cluster), run(cluster, "--tags=istio_helm")
        checked = run(cluster, "--tags=istio_helm", "--check")
    assert asked.writes == []
    assert "Deployment istio-system/istiod: is already an istiod of revision default, installed by istioctl." in (
        preflight.message
    )
    for message in (preflight.message, role.message, checked.message):
        assert "istio_helm_adopt: true" in message
    for release in ("istio-base", "istiod", "istio-ingressgateway"):
        assert f"Release istio-system/{release} cannot take over existing objects: " in role.message
    assert "ServiceAccount istio-system/istiod was created by istioctl" in role.message
    assert "and 11 more" in role.message
    assert checked.message == role.message


def test_definitions_that_kubectl_has_applied(cluster: BedCluster) -> None:
    """Client-side, as the guide does it: role crds makes them Helm's; with adoption kubectl holds nothing any more."""
    definitions = chart(cluster, "base") / "files/crd-all.gen.yaml"
    cluster.kubectl("apply", "-f", definitions)
    with cluster.asked() as asked:
        alone = run(cluster, "--tags=istio_helm")
    assert asked.writes == []
    assert "CustomResourceDefinition destinationrules.networking.istio.io was created by kubectl apply" in alone.message
    adopted = run(cluster, istio_helm_adopt=True).succeeded()
    assert "crds-foreign" not in adopted.output
    found = managers(cluster, "customresourcedefinitions")
    assert len(found) == 15
    assert {name: held for name, held in found.items() if any("kubectl" in manager for manager in held)} == {}
    assert "last-applied-configuration" not in cluster.kubectl("get", "customresourcedefinitions", "--output=json")
    unchanged_when_run_again(cluster, istio_helm_adopt=True)
    unchanged_when_run_again(cluster)  # once is enough


def test_another_release_loses_its_objects_but_keeps_its_record(cluster: BedCluster) -> None:
    """Without adoption it is named. With it its record stays, which is warned of: an uninstallation would use it."""
    values = cluster.home / "values.json"
    values.write_text(json.dumps(cluster.variables["istio_helm_values"]["istiod"] | {"pilot": {"traceSampling": 3}}))
    cluster.kubectl("apply", "--server-side", "-f", chart(cluster, "base") / "files/crd-all.gen.yaml")
    cluster.kubectl("create", "namespace", "istio-system")
    cluster.tool(
        "helm", "install", "istiod-old", chart(cluster, "istiod"), "--namespace=istio-system", f"--values={values}"
    )
    with cluster.asked() as asked:
        preflight, role = run(cluster), run(cluster, "--tags=istio_helm")
    assert asked.writes == []
    assert "installed by Helm release istio-system/istiod-old." in preflight.message
    assert "ServiceAccount istio-system/istiod was created by Helm release istio-system/istiod-old" in role.message
    before = set(cluster.kubectl("get", CLUSTER_SCOPED, "--output=name").split())
    adopted = run(cluster, istio_helm_adopt=True).succeeded()
    said = "\n".join(adopted.of("istio_releases").data["warnings"])
    assert "Helm release istio-system/istiod-old still lists objects that are now adopted. Do not uninstall it" in said
    listed = json.loads(cluster.tool("helm", "list", "--all-namespaces", "--output=json"))
    assert {(item["name"], item["status"]) for item in listed} == {
        (name, "deployed") for name in ("istiod-old", "istio-base", "istiod", "istio-ingressgateway")
    }
    env = cluster.get("deployment", "istiod", "--namespace=istio-system")["spec"]["template"]["spec"]["containers"][0]
    sampling = [entry for entry in env["env"] if entry["name"] == "PILOT_TRACE_SAMPLING"]
    assert [entry["value"] for entry in sampling] == ["1"]
    assert before <= set(cluster.kubectl("get", CLUSTER_SCOPED, "--output=name").split())
    unchanged_when_run_again(cluster, istio_helm_adopt=True)
    unchanged_when_run_again(cluster)
