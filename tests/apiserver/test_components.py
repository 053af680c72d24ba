# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Components beside the lean default on real API servers: names of 2018, rights, own charts, printed values."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver.conftest import TODAY, bed
from cluster import rbac
from harness.beds import BedCluster
from harness.playbooks import ROOT, Run

PODS = ROOT / "molecule/pods.yml"
VALUES = ROOT / "playbooks/values.yml"
ADDONS = ("prometheus", "grafana", "jaeger", "kiali")
#: All that needs rights of its own, by the names that the guide has for it where it has one.
EVERYTHING = ["pilot", "cni", "ztunnel", "prometheus", "grafana", "tracing", "servicegraph", "certmanager"]
USER = "system:serviceaccount:{namespace}:{name}".format_map(rbac.ACCOUNT)
OWN_CHART = {
    "Chart.yaml": {"apiVersion": "v2", "name": "own-prometheus", "version": "4.5.6"},
    "values.yaml": {"retention": "1d", "scrape": {"interval": "15s", "timeout": "10s"}},
    "templates/config.yaml": {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "{{ .Release.Name }}"},
        "data": {"kept": "{{ .Values.retention }}", "every": "{{ .Values.scrape.interval }}"},
    },
}


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield an API server of its own: definitions and cluster roles have one owner."""
    with bed("components", TODAY, tmp_path_factory.mktemp("home")) as found:
        yield found


def settings(cluster: BedCluster, **over: Any) -> dict[str, Any]:
    """Variables of a run with cert-manager's chart from where Istio's are."""
    source = {"component": "cert-manager", "repository": cluster.variables["istio_helm_chart_repository"]}
    return {"istio_helm_exposure": "NodePort", "istio_helm_charts": [source], **over}


def warnings(run: Run) -> list[str]:
    """What the releases' task warned of."""
    return run.of("istio_releases").data.get("warnings", [])


def own_chart(folder: Path) -> str:
    """Write a chart. :returns: where it is"""
    for name, content in OWN_CHART.items():
        path = folder / "own-prometheus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))
    return str(folder)


def inject_ca(cluster: BedCluster) -> None:
    """What cert-manager's cainjector would do, if anything ran here."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    service = {"namespace": "cert-manager", "name": "cert-manager-webhook", "path": "/mutate"}
    bundle = config["clusters"][0]["cluster"]["certificate-authority-data"]
    webhook = {"name": "webhook.cert-manager.io", "admissionReviewVersions": ["v1"], "sideEffects": "None"}
    marks = {"meta.helm.sh/release-name": "cert-manager", "meta.helm.sh/release-namespace": "cert-manager"}
    cluster.kubectl(
        "apply", "--server-side", "--field-manager=cainjector", "-f-",
        stdin=json.dumps({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {
                "name": "cert-manager-webhook",
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": marks,
            },
            "webhooks": [{**webhook, "clientConfig": {"caBundle": bundle, "service": service}}],
        }),
    )  # fmt: skip


# -- rights ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", rbac.COMPONENTS)
def test_the_file_of_rights_is_what_the_table_and_the_charts_say(name: str, today: BedCluster) -> None:
    """Write it anew by running this test with MESHOPS_WRITE_DOCS=1."""
    wanted = rbac.component_text(name, today.variables)
    if os.environ.get("MESHOPS_WRITE_DOCS") == "1":
        rbac.component_path(ROOT, name).write_text(wanted)
    assert rbac.component_path(ROOT, name).read_text() == wanted


def test_documented_rights_are_enough_and_no_file_too_many(cluster: BedCluster) -> None:
    """Everything, by an account with the files' rights and nothing else; then nothing more to do.

    Before that preflight misses what is in each file, and names the file. Names of the guide are understood, and
    answered with what they became.
    """
    cluster.kubectl("apply", "-f", rbac.path(ROOT))
    environ = cluster.credential(cluster.token(rbac.ACCOUNT["namespace"], rbac.ACCOUNT["name"]))
    over = settings(
        cluster,
        istio_helm_components=EVERYTHING,
        istio_helm_profile="ambient",
        istio_kubeconfig=None,
        istio_context=None,
    )
    missing = cluster.playbook(PODS, "--tags=preflight", environ=environ, **over).run()
    lacking = [finding for finding in missing.failures[0].data["findings"] if finding["code"] == "right-missing"]
    named = {finding["object"].split()[-1] for finding in lacking}
    assert {"daemonsets.apps", "jobs.batch", "/metrics", "pods/portforward"} <= named
    for name in rbac.COMPONENTS:
        assert f"docs/rbac-{name}.yml" in lacking[0]["fix"]
        cluster.kubectl("apply", "-f", rbac.component_path(ROOT, name))
    inject_ca(cluster)
    time.sleep(1)  # the API server's authorizer hears of roles by a watch
    with cluster.asked(user=USER) as asked:
        run = cluster.playbook(PODS, environ=environ, **over).run().succeeded()
    assert asked.writes != []
    expected = ["istio-base", "istiod", "istio-cni", "cert-manager", "ztunnel", *ADDONS, "istio-ingressgateway"]
    assert sorted(step["name"] for step in run.of("istio_releases").data["releases"]) == sorted(expected)
    said = "\n".join(warnings(run))
    for name, became in (
        ("pilot", "istiod"),
        ("tracing", "jaeger"),
        ("servicegraph", "kiali"),
        ("certmanager", "cert-"),
    ):
        assert f"component {name}: " in said
        assert became in said
    with cluster.asked(user=USER) as asked:
        again = cluster.playbook(PODS, environ=environ, **over).run().succeeded()
    assert (again.changed, asked.writes) == ([], [])


# -- addons ------------------------------------------------------------------------------------------------------------


def test_addons_live_in_the_namespace_of_istio(cluster: BedCluster) -> None:
    """Istio's manifests name istio-system throughout, and look for each other and for istiod there."""
    over = settings(cluster, istio_helm_namespace="mesh", istio_helm_preset="guide")
    run = cluster.playbook(PODS, **over).run().succeeded()
    assert "may not be suitable for production" in "\n".join(warnings(run))
    kinds = "deployments,services,serviceaccounts,configmaps"
    found = cluster.get(kinds, "--namespace=mesh")["items"]
    found += cluster.get("clusterroles,clusterrolebindings", "--selector=app.kubernetes.io/managed-by=Helm")["items"]
    assert set(ADDONS) <= {obj["metadata"]["name"] for obj in found if obj["kind"] == "Deployment"}
    strays = [f"{obj['kind']} {obj['metadata']['name']}" for obj in found if "istio-system" in json.dumps(obj)]
    assert strays == []
    assert "istio-system" not in cluster.kubectl("get", "namespaces", "--output=name")
    (binding,) = [obj for obj in found if obj["kind"] == "ClusterRoleBinding" and obj["metadata"]["name"] == "kiali"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "kiali", "namespace": "mesh"}]


# -- charts and values -------------------------------------------------------------------------------------------------


def test_a_chart_of_ones_own(cluster: BedCluster, tmp_path: Path) -> None:
    """In place of Istio's manifest, with values merged over its own; nothing is said about production any more."""
    source = {
        "component": "prometheus",
        "repository": own_chart(tmp_path),
        "name": "own-prometheus",
        "version": "4.5.6",
    }
    over: dict[str, Any] = {
        "istio_helm_preset": "none",
        "istio_helm_components": ["prometheus"],
        "istio_helm_charts": [source],
        "istio_helm_values": {"prometheus": {"scrape": {"interval": "30s"}}},
    }
    printed = cluster.playbook(VALUES, **over).run().succeeded()
    (shown,) = printed.of("istio_values_info").data["releases"]
    assert shown["defaults"] == OWN_CHART["values.yaml"]
    assert shown["user_supplied"] == {"scrape": {"interval": "30s"}}
    assert shown["computed"] == {"retention": "1d", "scrape": {"interval": "30s", "timeout": "10s"}}
    assert "# istio-system/prometheus: chart own-prometheus 4.5.6" in printed.output
    run = cluster.role("istio_helm", **over).succeeded()
    assert warnings(run) == []
    config = cluster.get("configmap", "prometheus", "--namespace=istio-system")
    assert config["data"] == {"kept": "1d", "every": "30s"}
    releases = json.loads(cluster.tool("helm", "list", "--all-namespaces", "--output=json"))
    assert [(item["name"], item["chart"]) for item in releases] == [("prometheus", "own-prometheus-4.5.6")]
    with cluster.asked() as asked:
        again = cluster.role("istio_helm", **over).succeeded()
    assert (again.changed, asked.writes) == ([], [])


def test_printed_values_of_a_whole_mesh(today: BedCluster) -> None:
    """The guide's `helm inspect`: each release's chart, what helm is given, and what holds with it; nothing written."""
    over = settings(today, istio_helm_preset="guide", istio_helm_profile="ambient", istio_helm_components=EVERYTHING)
    with today.asked() as asked:
        run = today.playbook(VALUES, **over).run().succeeded()
    assert asked.writes == []
    shown = {entry["name"]: entry for entry in run.of("istio_values_info").data["releases"]}
    assert shown["istiod"]["user_supplied"]["profile"] == "ambient"
    assert shown["istiod"]["user_supplied"]["global"]["operatorManageWebhooks"] is True
    assert shown["istiod"]["computed"]["autoscaleMin"] == 1
    assert shown["kiali"]["user_supplied"] == shown["kiali"]["defaults"] == {}
    assert shown["cert-manager"]["chart_version"] == "v1.21.2"
    assert {"istio-ingressgateway", "istio-egressgateway"} <= set(shown)


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"istio_helm_components": ["promethius"]}, "unknown component promethius. Valid names: base, cert-manager,"),
        ({"istio_helm_components": ["ingressgateway"]}, "gateways are listed in istio_helm_gateways"),
        ({"istio_helm_values": {"mixer": {"a": 1}}}, "mixer is a name from the 2018 chart; it no longer exists"),
        (
            {"istio_helm_components": ["kiali"], "istio_helm_values": {"kiali": {"a": 1}}},
            "kiali is installed from Istio's manifest, which takes no values",
        ),
        (
            {"istio_helm_components": ["kiali"], "istio_helm_addons_repository": "/nonexistent"},
            "addons_repository: /nonexistent/kiali.yaml cannot be read",
        ),
        (
            {"istio_helm_components": ["kiali"], "istio_helm_charts": [{"component": "kiali", "repository": "/x"}]},
            "charts: kiali: a chart for this component needs both repository and version.",
        ),
        ({"istio_helm_charts": [{"component": "loki"}]}, "charts: unknown component loki."),
    ],
    ids=["unknown", "gateway", "former values", "values of a manifest", "no manifest", "no version", "no component"],
)
def test_what_cannot_be(over: dict[str, Any], says: str, today: BedCluster) -> None:
    """Refused in words, before anything is written."""
    with today.asked() as asked:
        run = today.role("istio_helm", **over)
    assert says in run.message
    assert asked.writes == []
