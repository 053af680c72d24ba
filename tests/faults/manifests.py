# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the faults are made of: an application as people write it, in pieces."""

from __future__ import annotations

from typing import Any

from faults.fault import Manifest

NET_ADMIN = {"securityContext": {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}}}


def deployment(name: str = "web", *containers: str, spec: dict[str, Any] | None = None, **template: Any) -> Manifest:
    """A Deployment of one pod. :arg template: labels and annotations of its pods"""
    meta = {"labels": {"app": name, **template.get("labels", {})}, "annotations": template.get("annotations", {})}
    pod = {"containers": [{"name": each, "image": each} for each in containers or ("app",)], **(spec or {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {"metadata": meta, "spec": pod}},
    }


def service(name: str = "web", app: str = "web", *ports: dict[str, Any], **spec: Any) -> Manifest:
    """A Service; without ports it has 80."""
    listed = list(ports) or [{"name": "http", "port": 80, "targetPort": 8080}]
    spec = {"selector": {"app": app}, "ports": listed, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def gateway(host: str, number: int = 80, protocol: str = "HTTP", name: str = "web", **given: Any) -> Manifest:
    """A Gateway with one server. :arg given: its selector, or TLS settings"""
    server: dict[str, Any] = {"port": {"number": number, "name": "in", "protocol": protocol}, "hosts": [host]}
    if "tls" in given:
        server["tls"] = given["tls"]
    spec = {"selector": given.get("selector", {"istio": "ingressgateway"}), "servers": [server]}
    return {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": name}, "spec": spec}


def virtual_service(host: str, destination: dict[str, Any] | None = None, name: str = "web", **spec: Any) -> Manifest:
    """A VirtualService with one route, for Gateway web unless it says otherwise."""
    route = {"route": [{"destination": destination or {"host": "web", "port": {"number": 80}}}]}
    if "match" in spec:
        route["match"] = spec.pop("match")
    whole = {"hosts": [host], "gateways": ["web"], "http": [route], **spec}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": whole,
    }


def destination_rule(host: str, name: str = "web", **spec: Any) -> Manifest:
    """A DestinationRule."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": name},
        "spec": {"host": host, **spec},
    }


def peer_authentication(mode: str, name: str = "web", **spec: Any) -> Manifest:
    """A PeerAuthentication."""
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": name},
        "spec": {"mtls": {"mode": mode}, **spec},
    }


def cluster_scoped(obj: Manifest) -> Manifest:
    """An object that lives in no namespace."""
    return {**obj, "clusterScoped": True}
