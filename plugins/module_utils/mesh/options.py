# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that describe a mesh, shared by modules; doc fragment meshops.istio.mesh describes them."""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils import upstream
from ansible_collections.meshops.istio.plugins.module_utils.mesh import components, providers

#: Options that say how charts are come by and verified, part of the next; doc fragment meshops.istio.mesh.charts.
CHART_ARGUMENT_SPEC: dict[str, Any] = {
    "chart_repository_username": {"type": "str"},
    "chart_repository_password": {"type": "str", "no_log": True},
    "chart_repository_ca_file": {"type": "path"},
    "chart_repository_plain_http": {"type": "bool", "default": False},
    "chart_keyring": {"type": "path"},
    "chart_digests": {"type": "dict", "default": {}},
}
#: Options that describe a mesh; the modules that need them share this; doc fragment meshops.istio.mesh describes it.
MESH_ARGUMENT_SPEC: dict[str, Any] = {
    "namespace": {"type": "str", "default": "istio-system"},
    "revision": {"type": "str", "default": ""},
    "chart_repository": {"type": "str", "default": upstream.CHART_REPOSITORY},
    "chart_version": {"type": "str", "required": True},
    "preset": {"type": "str", "choices": list(components.PRESETS), "default": "lean"},
    "profile": {"type": "str", "choices": list(components.PROFILES), "default": "sidecar"},
    "components": {"type": "list", "elements": "str", "default": []},
    "exposure": {"type": "str", "choices": ["LoadBalancer", "NodePort"], "default": "LoadBalancer"},
    "gateways": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str"},
            "type": {"type": "str", "choices": ["LoadBalancer", "NodePort", "ClusterIP"]},
            "ports": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "target_port": {"type": "int"},
                    "protocol": {"type": "str", "default": "TCP"},
                },
            },
            "node_ports": {"type": "dict", "default": {}},
            "replicas": {"type": "int"},
            "labels": {"type": "dict", "default": {}},
            "annotations": {"type": "dict", "default": {}},
            "external_traffic_policy": {"type": "str", "choices": ["Cluster", "Local"]},
            "load_balancer_class": {"type": "str"},
            "load_balancer_ip": {"type": "str"},
            "load_balancer_source_ranges": {"type": "list", "elements": "str", "default": []},
            "internal": {"type": "bool", "default": False},
            "values": {"type": "dict", "default": {}},
        },
    },
    "provider": {"type": "str", "choices": list(providers.CHOICES), "default": providers.AUTO},
    "hub": {"type": "str"},
    "tag": {"type": "str"},
    "image_pull_policy": {"type": "str", "choices": ["Always", "IfNotPresent", "Never"]},
    "image_pull_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},  # their names
    "platform": {"type": "str", "default": "auto"},
    "values": {"type": "dict", "default": {}},
    "helm_binary": {"type": "path"},
    "adopt": {"type": "bool", "default": False},
    "addons_repository": {"type": "str", "default": upstream.ADDONS_REPOSITORY},
    "charts": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "component": {"type": "str", "required": True},
            "repository": {"type": "str"},
            "name": {"type": "str"},
            "version": {"type": "str"},
            "digest": {"type": "str"},
            "repository_username": {"type": "str"},
            "repository_password": {"type": "str", "no_log": True},
            "repository_ca_file": {"type": "path"},
            "repository_plain_http": {"type": "bool", "default": False},
            "keyring": {"type": "path"},
        },
    },
    **CHART_ARGUMENT_SPEC,
}
