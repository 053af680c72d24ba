# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release's objects are what helm would write: placed, owned, and rendered as an upgrade of that cluster renders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.helm import charts
from ansible_collections.meshops.istio.plugins.module_utils.helm.release_objects import (
    as_written,
    asked_api_versions,
    rendered_objects,
    served,
    stored_objects,
)
from ansible_collections.meshops.istio.plugins.module_utils.helm.storage import Stored

MARKS = {
    "labels": {"app.kubernetes.io/managed-by": "Helm"},
    "annotations": {"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system"},
}
RELEASE = SimpleNamespace(name="istiod", namespace="istio-system", values={"a": 1})
TEXT = """
kind: ConfigMap
apiVersion: v1
metadata: {name: istio}
---
kind: ClusterRole
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: istiod, namespace: istio-system}
---
kind: Role
apiVersion: rbac.authorization.k8s.io/v1
metadata:
  name: elsewhere
  namespace: other
  labels: {app: istiod, app.kubernetes.io/managed-by: Me}
  annotations: null
"""
PRIVATE = "{kind: Secret, apiVersion: v1, metadata: {name: a}, data: {password: aHVudGVyMjI=}}"


class FakeCluster:
    """Knows which kinds have namespaces, and serves some API groups."""

    def __init__(self, **served: list[str]) -> None:
        self.announced: list[str] = []
        self.served = {path.replace("__", "/"): kinds for path, kinds in served.items()}

    def announce(self, definitions: Iterable[dict[str, Any]]) -> None:
        """As kube.Cluster."""
        self.announced += [definition["metadata"]["name"] for definition in definitions]

    def namespaced(self, obj: dict[str, Any]) -> bool:
        """As kube.Cluster."""
        return obj["kind"] not in ("ClusterRole", "CustomResourceDefinition", "ClusterIssuer")

    def request(self, method: str, path: str) -> dict[str, Any]:
        """As kube.Cluster."""
        assert method == "GET"
        name = path.removeprefix("/apis/").removeprefix("/api/")
        if name not in self.served:
            raise ApiError(404 if name != "down/v1" else 503, "", "the server could not find the requested resource")
        return {"resources": [{"kind": kind} for kind in self.served[name]]}


class FakeHelm:
    """Renders one text, and takes note of how it was asked."""

    version = "4.3.1"

    def __init__(self, text: str = TEXT) -> None:
        self.text = text
        self.asked: list[dict[str, Any]] = []

    def template(self, *_positional: Any, **options: Any) -> str:
        """As Helm."""
        self.asked.append(options)
        return self.text


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is derived from charts where it is looked at."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def chart(folder: Path, template: str = "") -> charts.Chart:
    """A chart with one template."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("name: istiod\nversion: 1.31.0\n")
    (folder / "templates/all.yaml").write_text(template)
    (folder / "README.md").write_text('.Capabilities.APIVersions.Has "readme/v1"')
    return charts.Chart(folder)


def render(found: charts.Chart, helm: FakeHelm, cluster: FakeCluster | None = None, **more: Any) -> list[Any]:
    """The objects that are wanted."""
    options = {"kube_version": "v1.37.2", "is_upgrade": True, **more}
    return rendered_objects(cluster or FakeCluster(), helm, found, RELEASE, **options)  # type: ignore[arg-type]


def test_placed_and_owned(tmp_path: Path) -> None:
    """In the release's namespace where none is named; a chart's own mark of ownership gives way."""
    config, cluster_role, role = render(chart(tmp_path), FakeHelm())
    assert config["metadata"] == {"name": "istio", "namespace": "istio-system", **MARKS}
    assert cluster_role["metadata"] == {"name": "istiod", **MARKS}
    assert role["metadata"] == {
        "name": "elsewhere",
        "namespace": "other",
        "labels": {"app": "istiod", **MARKS["labels"]},
        "annotations": MARKS["annotations"],
    }


def test_stored_and_rendered_are_alike(tmp_path: Path) -> None:
    """So that one can be compared with the other."""
    stored = Stored("istiod", "istio-system", 3, "deployed", manifest=TEXT)
    assert stored_objects(FakeCluster(), stored) == render(chart(tmp_path), FakeHelm())  # type: ignore[arg-type]
    assert stored_objects(FakeCluster(), None) == []  # type: ignore[arg-type]


def test_rendered_without_hooks_and_once(tmp_path: Path) -> None:
    """Whether it is an upgrade, and for which cluster, are part of what the cache knows it by."""
    helm, found = FakeHelm(), chart(tmp_path)
    first = render(found, helm)
    assert render(found, helm) == first
    render(found, helm, is_upgrade=False)
    render(found, helm, kube_version="v1.34.1-gke.200")
    assert [(asked["hooks"], asked["is_upgrade"], asked["environment"]) for asked in helm.asked] == [
        (False, True, None),
        (False, False, None),
        (False, True, None),
    ]


def test_no_secret_is_left_on_the_disk(tmp_path: Path, cache: Path) -> None:
    """Neither of a chart nor of a revision; they are rendered again."""
    helm, found = FakeHelm(PRIVATE), chart(tmp_path / "chart")
    stored = Stored("istiod", "istio-system", 3, "deployed", manifest=PRIVATE)
    for _run in range(2):
        assert [obj["kind"] for obj in render(found, helm)] == ["Secret"]
        assert [obj["kind"] for obj in stored_objects(FakeCluster(), stored)] == ["Secret"]  # type: ignore[arg-type]
    assert "aHVudGVyMjI" not in "".join(path.read_text() for path in cache.rglob("*.json"))
    assert len(helm.asked) == 2


@pytest.mark.parametrize(
    ("template", "looks"),
    [
        ('{{ (lookup "v1" "Secret" .Release.Namespace "grafana") }}', True),
        ('{{- $old := lookup "v1" "Secret" "a" "b" -}}', True),
        ('{{- with lookup "v1" "Secret" "a" "b" -}}', True),
        ("# how to look up things, or a lookup table", False),
    ],
)
def test_chart_that_looks_objects_up(template: str, looks: bool, tmp_path: Path) -> None:
    """It is rendered with the cluster, each time."""
    helm, found = FakeHelm(), chart(tmp_path, template)
    for _run in range(2):
        render(found, helm, environment={"KUBECONFIG": "x"})
    environment = {"KUBECONFIG": "x"} if looks else None
    assert [asked["environment"] for asked in helm.asked] == [environment] * (2 if looks else 1)


def test_chart_that_asks_what_is_served(tmp_path: Path) -> None:
    """Only what it asks for by name, and only in its templates."""
    template = """
    {{ if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" }}
    {{ if $.Capabilities.APIVersions.Has "networking.k8s.io/v1/Ingress" }}
    {{ if .Capabilities.APIVersions.Has "gone.example.com/v1" }}
    {{ if .Capabilities.APIVersions.Has $name }}
    """
    helm, found = FakeHelm(), chart(tmp_path, template)
    cluster = FakeCluster(**{"monitoring.coreos.com__v1": ["PodMonitor"], "networking.k8s.io__v1": ["NetworkPolicy"]})
    assert asked_api_versions(found) == [
        "gone.example.com/v1",
        "monitoring.coreos.com/v1",
        "networking.k8s.io/v1/Ingress",
    ]
    render(found, helm, cluster)
    assert helm.asked[0]["api_versions"] == ["monitoring.coreos.com/v1"]
    render(found, helm)
    assert helm.asked[1]["api_versions"] == []


def test_served() -> None:
    """Group versions and kinds; a server that is down is no answer."""
    cluster = FakeCluster(v1=["Pod"], apps__v1=["Deployment"])
    names = ["v1", "v1/Pod", "v1/Sock", "apps/v1", "apps/v1/Deployment", "apps/v2"]
    assert served(cluster, names) == ["v1", "v1/Pod", "apps/v1", "apps/v1/Deployment"]  # type: ignore[arg-type]
    with pytest.raises(ApiError):
        served(cluster, ["down/v1"])  # type: ignore[arg-type]


def test_kinds_that_the_release_defines_itself() -> None:
    """They are known from there before they are served."""
    cluster = FakeCluster()
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusterissuers.cert-manager.io"},
        "spec": {"versions": []},
    }
    issuer = {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": "a"}}
    written = as_written(cluster, [issuer, crd], "cert-manager", "cert-manager")  # type: ignore[arg-type]
    assert cluster.announced == ["clusterissuers.cert-manager.io"]
    assert ["namespace" in obj["metadata"] for obj in written] == [False, False]
