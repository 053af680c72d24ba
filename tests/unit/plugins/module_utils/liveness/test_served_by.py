# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which istiod serves a proxy is read from the pod, which should from the istiod's own ConfigMap."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.helm.charts import documents
from ansible_collections.meshops.istio.plugins.module_utils.liveness import served_by
from ansible_collections.meshops.istio.plugins.module_utils.liveness.served_by import (
    Istiod,
    at,
    expected,
    of_pod,
    of_pods,
)


@pytest.mark.parametrize(
    ("address", "service", "namespace"),
    [
        ("istiod.istio-system.svc:15012", "istiod", "istio-system"),
        ("istiod-canary.mesh.svc:15012", "istiod-canary", "mesh"),
        ("istiod.istio-system.svc.cluster.local:15012", "istiod", "istio-system"),
        ("istiod.istio-system:15012", "istiod", "istio-system"),
        ("istiod.example.com:15012", "", ""),
        ("192.0.2.9:15012", "", ""),
    ],
)
def test_addresses(address: str, service: str, namespace: str) -> None:
    """A Service by any of its names; one of another cluster is only itself."""
    found = at(address, "")
    assert (found.service, found.namespace, found.revision) == (service, namespace, "default")


def test_names_of_the_same_one() -> None:
    """Are one key."""
    assert at("istiod.a.svc:15012", "x").key == at("istiod.a.svc.cluster.local:15012", "x").key
    assert at("istiod.a.svc:15012", "").key != at("istiod.b.svc:15012", "").key
    assert at("192.0.2.9:15012", "").key != at("192.0.2.8:15012", "").key


def pod(config: Any = None, where: str = "containers", **meta: Any) -> dict[str, Any]:
    """A pod with a proxy."""
    env = [] if config is None else [{"name": "PROXY_CONFIG", "value": config}]
    return {"metadata": {"name": "a", **meta}, "spec": {where: [{"name": "istio-proxy", "env": env}]}}


@pytest.mark.parametrize(
    ("found", "address", "revision"),
    [
        (pod(), served_by.DEFAULT_ADDRESS, "default"),
        (pod("{}\n"), served_by.DEFAULT_ADDRESS, "default"),
        (pod("no JSON"), served_by.DEFAULT_ADDRESS, "default"),
        (pod(json.dumps({"discoveryAddress": "istiod-a.mesh.svc:15012"})), "istiod-a.mesh.svc:15012", "default"),
        (pod("{}", "initContainers", annotations={"istio.io/rev": "a"}), served_by.DEFAULT_ADDRESS, "a"),
        (pod("{}", labels={"istio.io/rev": "b"}), served_by.DEFAULT_ADDRESS, "b"),
    ],
    ids=str,
)
def test_pods(found: dict[str, Any], address: str, revision: str) -> None:
    """A native sidecar is an init container; what is Istio's own default the injector leaves out."""
    istiod = of_pod(found)
    assert istiod is not None
    assert (istiod.address, istiod.revision) == (address, revision)


def test_pod_without_a_proxy() -> None:
    """Is served by none."""
    assert of_pod({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "app"}]}}) is None


def test_recorded_injection() -> None:
    """What istioctl has really written."""
    from pathlib import Path

    text = (Path(__file__).parent / "recorded/kube-inject.txt").read_text()
    (deployment,) = [obj for obj in documents(text) if obj["kind"] == "Deployment"]
    (found,) = of_pods([{"kind": "Pod", **deployment["spec"]["template"]}] * 2)
    assert found == at(served_by.DEFAULT_ADDRESS, "default")


class World:
    """ConfigMaps, a webhook of a tag, and Services."""

    def __init__(self) -> None:
        self.maps = {
            "istio-sidecar-injector": "",
            "istio": "",
            "istio-sidecar-injector-a": "",
            "istio-a": "defaultConfig: {discoveryAddress: istiod-a.mesh.svc:15012}",
        }
        self.forbidden: set[str] = set()

    def get(self, _version: str, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """One object."""
        if kind in self.forbidden:
            raise ApiError(403, "Forbidden", "no")
        if kind == "Service":
            owner = {"meta.helm.sh/release-name": f"my-{name}", "meta.helm.sh/release-namespace": namespace}
            return {"metadata": {"name": name, "annotations": owner}}
        return {"data": {"mesh": self.maps[name]}} if namespace == "mesh" and name in self.maps else None

    def list(self, _version: str, _kind: str, label_selector: str) -> list[dict[str, Any]]:
        """Webhooks of a tag."""
        return [{"metadata": {"labels": {"istio.io/rev": "a"}}}] if label_selector == "istio.io/tag=prod" else []


@pytest.mark.parametrize(
    ("revision", "address", "known"),
    [
        ("", "istiod.mesh.svc:15012", "default"),
        ("default", "istiod.mesh.svc:15012", "default"),
        ("a", "istiod-a.mesh.svc:15012", "a"),
        ("prod", "istiod-a.mesh.svc:15012", "a"),
    ],
)
def test_which_is_expected(revision: str, address: str, known: str) -> None:
    """By revision or tag; its ConfigMap says the address, with its release."""
    found = expected(World(), "mesh", revision)  # type: ignore[arg-type]
    service = address.partition(".")[0]
    assert found == Istiod(address, service, "mesh", known, f"mesh/my-{service}")


def test_what_cannot_be_seen() -> None:
    """Not there, or no right; of one that is seen, its owner may not be."""
    world = World()
    assert expected(world, "elsewhere", "") is None  # type: ignore[arg-type]
    world.forbidden = {"Service"}
    found = expected(world, "mesh", "")  # type: ignore[arg-type]
    assert found is not None
    assert (found.key, found.release) == (("mesh", "istiod"), "")
    world.forbidden = {"ConfigMap"}
    assert expected(world, "mesh", "") is None  # type: ignore[arg-type]
