# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sidecars by every way there is: in the template by istioctl kube-inject, from either source, and by the injector."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.testcluster import TestCluster
from harness.playbooks import Run

NAMESPACE = "injected"
GATEWAY = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway"
STATUS = "sidecar.istio.io/status"
MANUAL = {"liveness_verify_injection": "manual"}
OWN = {"liveness_verify_namespace": NAMESPACE, "liveness_verify_host": "injected.example.com"}


class Place:
    """A namespace of an app that comes and goes."""

    def __init__(self, mesh: TestCluster) -> None:
        self.mesh = mesh

    def verify(self, *arguments: str, **over: Any) -> Run:
        """Run the role there."""
        return self.mesh.role("liveness_verify", *arguments, **{**OWN, **over})

    def proven(self, account: str = "liveness", **over: Any) -> dict[str, Any]:
        """What the role returned; 200, and the caller's and the app's own identities over mutual TLS."""
        data = self.verify(**over).succeeded().of("istio_liveness").data
        assert data["evidence"]["status"] == 200
        assert data["evidence"]["mtls"] == {"by": f"spiffe://cluster.local/ns/{NAMESPACE}/sa/{account}", "uri": GATEWAY}
        return data

    def still(self, **over: Any) -> None:
        """A run has nothing more to do, in check mode neither."""
        for arguments in ((), ("--check", "--diff")):
            with self.mesh.asked() as asked:
                run = self.verify(*arguments, **over).succeeded()
            assert (run.changed, asked.writes) == ([], [])

    def get(self, *arguments: str) -> dict[str, Any]:
        """What is there."""
        return self.mesh.get(*arguments, "--namespace", NAMESPACE)

    def template(self, name: str = "liveness") -> dict[str, Any]:
        """The pods' template of the app."""
        return self.get("deployment", name)["spec"]["template"]

    @property
    def label(self) -> dict[str, str]:
        """The namespace's labels about injection."""
        labels = self.mesh.get("namespace", NAMESPACE)["metadata"]["labels"]
        return {key: value for key, value in labels.items() if "istio" in key}

    def sidecars(self) -> list[int]:
        """How many proxies each running pod has, native or not."""
        pods = self.get("pods", "--field-selector=status.phase=Running")["items"]
        alive = [pod["spec"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return [names(spec).count("istio-proxy") for spec in alive]


def names(spec: dict[str, Any]) -> list[str]:
    """Names of all containers."""
    return [container["name"] for container in [*spec["containers"], *spec.get("initContainers", [])]]


@pytest.fixture(scope="module")
def place(cluster: TestCluster) -> Iterator[Place]:
    """Yield a namespace on a cluster with Istio."""
    cluster.ensure_mesh()
    yield Place(cluster)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found")


def test_manual(place: Place) -> None:
    """The sidecar is in the template itself, the injector adds no second one, and there is nothing more to do then."""
    data = place.proven(**MANUAL)
    assert data["injected"] == [f"Deployment {NAMESPACE}/liveness"]
    template = place.template()
    assert names(template["spec"]) == ["app", "istio-proxy", "istio-init"]
    assert STATUS in template["metadata"]["annotations"]
    assert place.label == {"istio-injection": "disabled"}
    assert place.sidecars() == [1]
    place.still(**MANUAL)


def test_it_is_what_istioctl_prints(place: Place, tmp_path: Path) -> None:
    """From the same ConfigMaps, called as Istio's documentation has it; the server has only added defaults."""
    flags = []
    for name, key, flag in (
        ("istio-sidecar-injector", "config", "--injectConfigFile"),
        ("istio-sidecar-injector", "values", "--valuesFile"),
        ("istio", "mesh", "--meshConfigFile"),
    ):
        file = tmp_path / key
        file.write_text(place.mesh.get("configmap", name, "--namespace=istio-system")["data"][key])
        flags += [flag, str(file)]
    app = tmp_path / "app.json"
    app.write_text(json.dumps(OTHER))
    printed = yaml.safe_load(place.mesh.tool("istioctl", "kube-inject", "-f", app, *flags).removesuffix("---\n"))
    run = place.verify("--check", "--diff", **MANUAL, liveness_verify_manifests=[OTHER]).succeeded()
    (diff,) = [item for item in run.of("istio_liveness").data["diff"] if item["after_header"].startswith("Deployment")]
    ours, theirs = diff["after"]["spec"]["template"], printed["spec"]["template"]
    assert ours["metadata"]["labels"] == theirs["metadata"]["labels"]
    assert ours["metadata"]["annotations"] == theirs["metadata"]["annotations"]
    assert names(ours["spec"]) == names(theirs["spec"])
    for kind in ("containers", "initContainers"):
        for mine, given in zip(ours["spec"][kind], theirs["spec"][kind], strict=True):
            assert facts(mine) == facts(given)


OTHER: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "other", "namespace": NAMESPACE},
    "spec": {
        "selector": {"matchLabels": {"app": "other"}},
        "template": {
            "metadata": {"labels": {"app": "other"}},
            "spec": {
                "containers": [
                    {"name": "app", "image": "app", "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}}}
                ]
            },
        },
    },
}


def facts(container: dict[str, Any]) -> dict[str, Any]:
    """What the server adds nothing to."""
    environment = {item["name"]: item.get("value") for item in container.get("env", []) if "valueFrom" not in item}
    kept = ("image", "args", "securityContext", "resources", "volumeMounts")
    return {"env": environment, **{key: container.get(key) or None for key in kept}}


def test_injected_manifests_stay_as_they_are(place: Place, tmp_path: Path) -> None:
    """What somebody else's kube-inject has written, such as a pipeline's, is no reason to write."""
    place.proven(**MANUAL, liveness_verify_chart_values={"podDisruptionBudget": {"enabled": False}})
    live = place.get("deployment", "liveness")
    keep = {key: live["metadata"][key] for key in ("name", "labels")}
    keep["annotations"] = {"meshops.istio/parts": ""}
    app = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": keep, "spec": live["spec"]}
    place.still(**MANUAL, liveness_verify_manifests=[app])


def test_asked_of_the_running_istiod(place: Place) -> None:
    """The guide's own way. It decides as the injector does, here on native sidecars; and is as stable."""
    live = {**MANUAL, "liveness_verify_injection_source": "live"}
    place.proven(**live)
    template = place.template()
    assert STATUS in template["metadata"]["annotations"]
    assert "istio-proxy" in [container["name"] for container in template["spec"]["initContainers"]]
    assert place.sidecars() == [1]
    place.still(**live)


def test_from_manual_to_automatic_and_back(place: Place) -> None:
    """Each takes out what the other put in: one sidecar, whoever adds it."""
    place.proven()
    assert names(place.template()["spec"]) == ["app"]
    assert STATUS not in place.template()["metadata"]["annotations"]
    assert place.label == {"istio-injection": "enabled"}
    place.mesh.kubectl("rollout", "status", "deployment/liveness", "--namespace", NAMESPACE, "--timeout=60s")
    assert set(place.sidecars()) == {1}
    place.still()
    place.proven(**MANUAL)
    assert "istio-proxy" in names(place.template()["spec"])
    assert place.label == {"istio-injection": "disabled"}


def test_automatic_by_revision(place: Place) -> None:
    """By the label that names it, in place of the one for the default."""
    place.proven(liveness_verify_revision="default")
    assert place.label == {"istio.io/rev": "default"}
    place.still(liveness_verify_revision="default")


def test_a_revision_that_is_not_there(place: Place) -> None:
    """Said before anything is written."""
    with place.mesh.asked() as asked:
        run = place.verify(**MANUAL, liveness_verify_revision="1-30")
    assert run.message.startswith(
        "Manual injection needs istiod of revision or tag 1-30, which does not exist in namespace"
    )
    assert asked.writes == []


CHART = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: "{{ .Release.Name }}"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}"}
spec:
  selector: {matchLabels: {app: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {app: "{{ .Release.Name }}", version: v1}}
    spec:
      serviceAccountName: "{{ .Release.Name }}"
      containers:
        - name: app
          image: "{{ .Values.image }}"
          imagePullPolicy: IfNotPresent
          args: [netexec, "--http-port={{ .Values.port }}"]
          readinessProbe: {httpGet: {path: /healthz, port: {{ .Values.port }}}, periodSeconds: 2}
---
apiVersion: v1
kind: Service
metadata: {name: "{{ .Release.Name }}"}
spec:
  selector: {app: "{{ .Release.Name }}"}
  ports: [{name: http, port: 80, targetPort: {{ .Values.port }}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: "{{ .Release.Name }}"}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [chart.example.com]}]
"""


def test_own_chart(place: Place, tmp_path: Path) -> None:
    """The guide's steps: an own chart, rendered and passed through kube-inject; what it lacks comes beside it."""
    folder = tmp_path / "own-chart"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: own-chart, version: 1.0.0}")
    (folder / "templates/all.yaml").write_text(CHART)
    route = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "own"},
        "spec": {
            "hosts": ["chart.example.com"],
            "gateways": ["own"],
            "http": [{"route": [{"destination": {"host": "own", "port": {"number": 80}}}]}],
        },
    }
    own = {
        **MANUAL,
        "liveness_verify_host": "chart.example.com",
        "liveness_verify_name": "own",
        "liveness_verify_chart": str(folder),
        "liveness_verify_chart_values": {"image": place.mesh.variables["liveness_verify_image"], "port": 8090},
        "liveness_verify_manifests": [route],
    }
    data = place.proven("own", **own)
    assert data["injected"] == [f"Deployment {NAMESPACE}/own"]
    assert "istio-proxy" in names(place.template("own")["spec"])
    place.still(**own)
