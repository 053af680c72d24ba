# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""What an Ansible inventory needs in order to run against a bed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from testbed import istioimages, versions

HEADER = """\
# Written by the test bed for cluster {cluster}; do not edit: every `up` writes it anew.
# Extra variables for a run against it: ansible-playbook -e @THIS_FILE ... (JSON, which is YAML too)
"""


def ansible_vars(source: str, kubeconfig: Path, context: str, bin_directory: Path, charts: Path) -> dict:
    """The variables of a kind cluster, as a mapping.

    With source "build" the images are ours, so hub, tag and the values that a stock Envoy needs are named too.
    ``testbed_values`` are those values once more, for who adds others to them, and empty where none are needed.
    """
    variables = {
        "testbed_source": source,
        **access(kubeconfig, context, bin_directory, charts, versions.ISTIO),
        "istio_helm_istioctl_binary": str(bin_directory / "istioctl"),
        "istio_helm_image_pull_policy": "IfNotPresent",  # the gateway's image "auto" would else be pulled, in vain
        "liveness_verify_image": istioimages.names()["agnhost"],
        "testbed_values": versions.STOCK_ENVOY_VALUES if source == "build" else {},
    }
    if source == "build":
        variables |= {
            "istio_helm_hub": versions.IMAGE_HUB,
            "istio_helm_tag": versions.ISTIO,
            "istio_helm_values": versions.STOCK_ENVOY_VALUES,
        }
    return variables


def control_plane_vars(kubeconfig: Path, context: str, bin_directory: Path, charts: Path, istio: str) -> dict:
    """The variables of a control plane alone, as a mapping; ``istio`` is the version of the charts."""
    return {
        "testbed_source": "control-plane",
        **access(kubeconfig, context, bin_directory, charts, istio),
        "istio_helm_values": versions.NO_ISTIOD_VALUES,
        "testbed_values": versions.NO_ISTIOD_VALUES,
    }


def access(kubeconfig: Path, context: str, bin_directory: Path, charts: Path, istio: str) -> dict:
    """Where cluster, helm and charts are."""
    return {
        "istio_kubeconfig": str(kubeconfig),
        "istio_context": context,
        "istio_helm_helm_binary": str(bin_directory / "helm"),
        "istio_helm_chart_repository": str(charts),
        "istio_helm_addons_repository": str(charts / "addons"),
        "istio_helm_chart_version": istio,
    }


def write(path: Path, variables: dict, cluster: str) -> None:
    """Writes the variables to ``path``, whole or not at all."""
    text = HEADER.format(cluster=cluster) + json.dumps(variables, indent=2) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as f:
        f.write(text)
    pending = Path(f.name)
    pending.chmod(0o644)
    pending.replace(path)
