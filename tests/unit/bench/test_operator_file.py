# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""istioctl is asked for the mesh that the inventory asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from bench.operator_file import istio_operator

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def variables():
    """Those of inventories/kind, with what a test bed that builds its images adds."""
    return yaml.safe_load((ROOT / "inventories/kind/group_vars/all/main.yml").read_text()) | {
        "istio_helm_hub": "example.org/hub",
        "istio_helm_tag": "1.2.3",
        "istio_helm_image_pull_policy": "IfNotPresent",
        "istio_helm_values": {"istiod": {"telemetry": {"enabled": False}, "env": {"SOME": "false"}}},
    }


def test_gateways_have_the_inventorys_type_and_node_ports(variables):
    components = istio_operator(variables)["spec"]["components"]
    pinned = {}
    for gateway in components["ingressGateways"] + components["egressGateways"]:
        assert gateway["k8s"]["service"]["type"] == "NodePort"
        pinned[gateway["name"]] = {port["name"]: port["nodePort"] for port in gateway["k8s"]["service"]["ports"]}
    assert pinned == {gateway["name"]: gateway["node_ports"] for gateway in variables["istio_helm_gateways"]}


def test_images_and_values_are_the_inventorys(variables):
    spec = istio_operator(variables)["spec"]
    assert (spec["hub"], spec["tag"], spec["profile"]) == ("example.org/hub", "1.2.3", "default")
    assert spec["values"] == {
        "telemetry": {"enabled": False},
        "pilot": {"env": {"SOME": "false"}},
        "global": {"imagePullPolicy": "IfNotPresent"},
    }


def test_released_images_need_neither_hub_nor_tag(variables):
    for key in ("hub", "tag", "values", "image_pull_policy"):
        del variables[f"istio_helm_{key}"]
    spec = istio_operator(variables)["spec"]
    assert "hub" not in spec
    assert spec["values"] == {}


@pytest.mark.parametrize(
    "change",
    [
        {"istio_helm_values": {"gateway": {"labels": {}}}},
        {"istio_helm_values": {"istiod": {"meshConfig": {}}}},
        {"istio_helm_gateways": [{"name": "other", "ports": []}]},
    ],
)
def test_what_has_no_equivalent_is_refused_and_not_forgotten(variables, change):
    with pytest.raises(ValueError, match="no equivalent"):
        istio_operator(variables | change)
