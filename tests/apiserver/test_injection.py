# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manual injection where there is no istiod yet, and an own app of any form, on a real API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness.beds import BedCluster
from harness.playbooks import Run

NAMESPACE = "not-there-yet"
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "own"},
    "spec": {
        "selector": {"matchLabels": {"app": "own"}},
        "template": {
            "metadata": {"labels": {"app": "own"}},
            "spec": {"containers": [{"name": "own", "image": "{{ .Values.image }}"}]},
        },
    },
}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "own"}, "spec": {"ports": [{"port": 80}]}}
HOOK = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "hook", "annotations": {"helm.sh/hook": "pre-install"}},
}


def shown(cluster: BedCluster, **over: Any) -> Run:
    """What the role would apply, in check mode; nothing is written."""
    with cluster.asked() as asked:
        run = cluster.role("liveness_verify", "--check", "--diff", liveness_verify_namespace=NAMESPACE, **over)
    assert asked.writes == []
    return run


def test_check_mode_before_there_is_an_istiod(today: BedCluster) -> None:
    """The app is shown without its sidecar, which is said; no istioctl is needed for that."""
    run = shown(today, liveness_verify_injection="manual", istio_helm_istioctl_binary="/nonexistent").succeeded()
    data = run.of("istio_liveness").data
    assert (data["changed"], data["injected"]) == (True, [])
    assert f"Deployment {NAMESPACE}/liveness" in data["objects"]
    (warning,) = data["warnings"]
    assert warning.startswith(
        "Manual injection needs istiod, which does not exist in namespace istio-system. The application is shown"
    )
    assert '+            "istio-injection": "disabled"' in run.output
    assert "istio-proxy" not in run.output


def test_no_istiod(today: BedCluster) -> None:
    """Nothing is written before this is known."""
    with today.gateway_without_pods("ingress") as named, today.asked() as asked:
        options = {f"liveness_verify_{name}": value for name, value in named.items()}
        manual = {"liveness_verify_namespace": NAMESPACE, "liveness_verify_injection": "manual"}
        run = today.role("liveness_verify", **manual, **options)
    assert run.message.startswith(
        "Manual injection needs istiod, which does not exist in namespace istio-system. Run role istio_helm"
    )
    assert asked.writes == []


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """Return an own chart, with a hook that is not applied."""
    folder = tmp_path / "chart"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: own, version: 1.0.0}")
    for obj in (DEPLOYMENT, HOOK):
        (folder / f"templates/{obj['kind']}.yaml").write_text(json.dumps(obj))
    return folder


def test_own_chart_and_manifests(today: BedCluster, chart: Path) -> None:
    """In the namespace of the app, under the label of a revision; the values reach helm."""
    run = shown(
        today,
        liveness_verify_chart=str(chart),
        liveness_verify_chart_values={"image": "registry.example.com/own:1"},
        liveness_verify_manifests=[SERVICE],
        liveness_verify_revision="1-31",
    ).succeeded()
    data = run.of("istio_liveness").data
    assert data["objects"] == [f"Namespace {NAMESPACE}", f"Deployment {NAMESPACE}/own", f"Service {NAMESPACE}/own"]
    assert "ConfigMap hook (pre-install)" in data["warnings"][0]
    assert '"image": "registry.example.com/own:1"' in run.output
    assert '+            "istio.io/rev": "1-31"' in run.output


def test_manifests_in_a_file(today: BedCluster, tmp_path: Path) -> None:
    """As kubectl takes it, with a List; without a chart, helm is not needed."""
    file = tmp_path / "app.yaml"
    file.write_text(f"---\n{json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': [SERVICE]})}\n---\n")
    run = shown(today, liveness_verify_manifests=str(file), istio_helm_helm_binary="/nonexistent").succeeded()
    assert run.of("istio_liveness").data["objects"] == [f"Namespace {NAMESPACE}", f"Service {NAMESPACE}/own"]
