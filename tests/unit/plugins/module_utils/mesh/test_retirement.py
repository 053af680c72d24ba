# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Places that end are found in settings and in what runs; what only resembles them is not."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.mesh import retirement

GOOGLE = "https://istio-release.storage.googleapis.com/charts"
BEFORE, ON_THE_DAY = date(2026, 11, 30), date(2026, 12, 1)
OLD, NEW = "registry.istio.io/release/proxyv2:1.30.4", "docker.io/istio/proxyv2:1.30.4"


@pytest.mark.parametrize(
    ("repository", "version", "found", "today", "code"),
    [
        (GOOGLE, "1.31.1", False, BEFORE, "chart-source-retired"),
        (GOOGLE, "1.30.4", False, ON_THE_DAY, "chart-source-retired"),
        (GOOGLE, "1.30.4", True, BEFORE, "chart-source-retiring"),
        (GOOGLE, "1.30.4", False, BEFORE, "chart-source-retiring"),  # why it is not here, another finding says
        (GOOGLE, "1.30.4", True, ON_THE_DAY, "chart-source-retiring"),  # kept, or not switched off yet
        ("oci://gcr.io/istio-release/charts", "1.31.0", False, BEFORE, "chart-source-retired"),
        ("oci://registry.istio.io/release/charts", "1.30.0", True, BEFORE, "chart-source-retiring"),
        ("https://blob.istio.io/istio-release/charts", "1.31.1", False, ON_THE_DAY, None),
        ("https://charts.example.com/istio-release.storage.googleapis.com/charts", "1.31.1", False, ON_THE_DAY, None),
        ("/srv/charts", "1.31.1", False, ON_THE_DAY, None),
    ],
)
def test_chart_repositories(repository: str, version: str, found: bool, today: date, code: str | None) -> None:
    """An error where nothing can come from there, else a warning; the fix is the place that serves the same."""
    findings = retirement.chart_findings(repository, version, found, today)
    assert [finding.code for finding in findings] == ([code] if code else [])
    for finding in findings:
        assert finding.object == f"chart repository {repository}"
        assert "removal for December 2026" in finding.message
        assert version in finding.message
        instead = "oci://ghcr.io/istio/release/charts" if repository.startswith("oci") else "https://blob.istio.io"
        assert instead in finding.fix


@pytest.mark.parametrize(
    ("values", "paths"),
    [
        ({"global": {"hub": "registry.istio.io/release"}}, "global.hub"),
        ({"hub": "gcr.io/istio-release"}, "hub"),
        ({"global": {"proxy": {"image": OLD}, "hub": "docker.io/istio"}}, "global.proxy.image"),
        ({"pilot": {"image": OLD}, "global": {"hub": "registry.istio.io/release"}}, "pilot.image, global.hub"),
        ({"deployment": {"containers": [{"image": OLD}]}}, "deployment.containers.0.image"),
        ({"global": {"hub": "docker.io/istio"}}, None),
        ({"global": {"hub": "mirror.example.com/registry.istio.io/release"}}, None),
        ({"env": {"NOTE": "was at registry.istio.io/release"}, "replicaCount": 2, "empty": None}, None),
        ({"note": "gcr.io/istio-release/charts"}, None),  # charts' place, which no image is of
        ({}, None),
    ],
)
def test_images_in_values(values: dict[str, Any], paths: str | None) -> None:
    """Wherever they stand; one finding for each registry, with the paths to it."""
    found = retirement.wanted_images("istio-system/istiod", values)
    assert bool(found) == bool(paths)
    for finding in found:
        assert (finding.code, finding.object) == ("image-source-retired", "release istio-system/istiod")
        assert f"(Helm value {paths})" in finding.message
        assert "istio_helm_hub: docker.io/istio" in finding.fix


def pod(namespace: str, app: str, *images: str, init: tuple[str, ...] = ()) -> dict[str, Any]:
    """A pod of a Deployment."""
    owner = {"kind": "ReplicaSet", "name": f"{app}-1", "controller": True}
    meta = {"name": f"{app}-1-x", "namespace": namespace, "labels": {"pod-template-hash": "1"}}
    spec = {"containers": [{"name": image, "image": image} for image in images]}
    spec["initContainers"] = [{"name": image, "image": image} for image in init]
    return {"metadata": {**meta, "ownerReferences": [owner]}, "spec": spec}


def deployment(namespace: str, name: str, image: str) -> dict[str, Any]:
    """A Deployment."""
    spec = {"containers": [{"name": "app", "image": image}]}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"template": {"spec": spec}}}


def running(pods: list[dict[str, Any]], *deployments: dict[str, Any]) -> list[tuple[str, str]]:
    """Object and message of what is found."""
    found = retirement.running_images(pods, deployments)
    assert {finding.code for finding in found} <= {"image-source-retired"}
    return [(finding.object, finding.message) for finding in found]


def test_images_that_run() -> None:
    """Sidecars, init containers, istiod; a finding for each namespace, few names, each workload once."""
    pods = [pod("shop", name, "app:1", OLD) for name in ("a", "b", "c", "d")]
    pods += [pod("shop", "a", "app:1", OLD), pod("bank", "teller", "app:1", init=(OLD,)), pod("bank", "fine", NEW)]
    pods.append(pod("istio-system", "istiod", "gcr.io/istio-release/pilot:1.28.0-distroless"))
    found = dict(running(pods))
    assert set(found) == {"Namespace shop", "Namespace bank", "Namespace istio-system"}
    assert "in Deployment a, Deployment b, Deployment c and 1 more. That registry holds no" in found["Namespace shop"]
    assert "in Deployment teller. That registry" in found["Namespace bank"]
    assert "gcr.io/istio-release" in found["Namespace istio-system"]


def test_a_template_counts_where_no_pod_tells_otherwise() -> None:
    """A webhook may have put another registry in place; a Deployment without pods will start some."""
    scaled_down, rewritten = deployment("shop", "idle", OLD), deployment("shop", "web", OLD)
    assert running([pod("shop", "web", NEW)], rewritten) == []
    ((about, message),) = running([pod("shop", "web", NEW)], rewritten, scaled_down)
    assert about == "Namespace shop"
    assert "in Deployment idle." in message


def injector(values: Any, name: str = "istio-sidecar-injector-canary") -> dict[str, Any]:
    """The ConfigMap of an injector."""
    text = values if isinstance(values, str) else json.dumps(values)
    return {"metadata": {"name": name, "namespace": "istio-system"}, "data": {"values": text}}


def test_injectors() -> None:
    """What new pods will get; other ConfigMaps with a revision, and what cannot be read, say nothing."""
    old = {"global": {"hub": "registry.istio.io/release", "proxy": {"image": "proxyv2"}}}
    assert [finding.object for finding in retirement.injected_images([injector(old)])] == [
        "ConfigMap istio-system/istio-sidecar-injector-canary"
    ]
    near = [
        injector({"global": {"hub": "docker.io/istio"}}),
        injector(old, "values"),
        injector("no JSON"),
        {"metadata": {"name": "istio-sidecar-injector", "namespace": "a"}},
    ]
    assert retirement.injected_images(near) == []


def test_a_finding_is_told_in_one_line() -> None:
    """The English of a whole one."""
    (found,) = retirement.chart_findings(GOOGLE, "1.31.1", False, BEFORE)
    assert isinstance(found, Finding)
    assert str(found) == (
        f"[chart-source-retired] chart repository {GOOGLE}: holds no Istio newer than 1.30, and Istio has announced "
        "its removal for December 2026. This run needs Istio 1.31.1. Fix: Use "
        "https://blob.istio.io/istio-release/charts as istio_helm_chart_repository, or as repository in "
        "istio_helm_charts."
    )
