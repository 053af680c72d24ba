# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""The variables that a bed hands to Ansible."""

from __future__ import annotations

import json
from pathlib import Path

from testbed import inventory, versions

COMMON = {
    "testbed_source",
    "istio_kubeconfig",
    "istio_context",
    "istio_helm_helm_binary",
    "istio_helm_istioctl_binary",
    "istio_helm_chart_repository",
    "istio_helm_addons_repository",
    "istio_helm_chart_version",
    "istio_helm_image_pull_policy",
    "liveness_verify_image",
    "testbed_values",
}
BUILT = {"istio_helm_hub", "istio_helm_tag", "istio_helm_values"}


def variables(source):
    return inventory.ansible_vars(source, Path("/k"), "kind-x", Path("/bin-directory"), Path("/charts"))


def test_a_built_bed_names_its_images_and_what_a_stock_envoy_needs():
    found = variables("build")
    assert set(found) == COMMON | BUILT
    assert found["istio_helm_tag"] == versions.ISTIO
    assert found["istio_helm_values"]["istiod"]["telemetry"] == {"enabled": False}
    assert found["testbed_values"] == found["istio_helm_values"]
    assert found["istio_helm_helm_binary"] == "/bin-directory/helm"


def test_a_registry_bed_leaves_the_charts_defaults_alone():
    assert set(variables("registry")) == COMMON
    assert variables("registry")["testbed_values"] == {}


def control_plane(istio):
    return inventory.control_plane_vars(Path("/k"), "x", Path("/bin-directory"), Path("/charts"), istio)


def test_a_control_plane_alone_gets_charts_of_its_time_and_no_webhook_that_nobody_serves():
    today = control_plane(versions.ISTIO)
    assert today["istio_helm_values"] == {"istiod": {"global": {"operatorManageWebhooks": True}}}
    assert today["testbed_values"] == today["istio_helm_values"]
    assert "istio_helm_istioctl_binary" not in today
    old = control_plane(versions.istio_for(versions.PSP_KUBERNETES))
    assert old["istio_helm_chart_version"] == "1.16.5"
    assert old["istio_helm_values"] == today["istio_helm_values"]


def test_the_file_is_yaml_by_being_json_after_comments(tmp_path):
    path = tmp_path / "deep" / "vars.yml"
    inventory.write(path, variables("build"), "demo")
    lines = path.read_text().splitlines()
    assert lines[0].startswith("#")
    assert json.loads("\n".join(line for line in lines if not line.startswith("#"))) == variables("build")
    assert [p.name for p in path.parent.iterdir()] == ["vars.yml"]
