# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""istioctl's side of the benchmark: an IstioOperator that asks for the mesh which our inventory asks for. Pure."""

from __future__ import annotations

from typing import Any

#: Where the legacy gateway charts, which istioctl installs, have their proxies listen. A list in an overlay replaces
#: the charts', so ports are given whole.
GATEWAY_PORTS = (
    {"name": "status-port", "port": 15021, "protocol": "TCP", "targetPort": 15021},
    {"name": "http2", "port": 80, "protocol": "TCP", "targetPort": 8080},
    {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 8443},
)


def istio_operator(variables: dict[str, Any]) -> dict[str, Any]:
    """The IstioOperator equivalent to an inventory's ``istio_helm_*`` variables.

    :raises ValueError: the variables hold something that has no equivalent here
    """
    spec: dict[str, Any] = {"profile": "default", "components": {"ingressGateways": [], "egressGateways": []}}
    for key in ("hub", "tag"):
        if variables.get(f"istio_helm_{key}"):
            spec[key] = variables[f"istio_helm_{key}"]
    for gateway in variables["istio_helm_gateways"]:
        component = "egressGateways" if "egress" in gateway["name"] else "ingressGateways"
        spec["components"][component].append(_gateway(gateway, variables["istio_helm_exposure"]))
    spec["values"] = _values(variables)
    return {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec}


def _gateway(gateway: dict[str, Any], exposure: str) -> dict[str, Any]:
    values = gateway.get("values") or {}
    if unknown := {*set(gateway) - {"name", "node_ports", "values"}, *set(values) - {"podAnnotations"}}:
        raise ValueError(f"gateway {gateway['name']}: no equivalent of {', '.join(sorted(unknown))}")
    pinned = gateway.get("node_ports") or {}
    ports = [
        dict(port) | ({"nodePort": pinned[port["name"]]} if port["name"] in pinned else {}) for port in GATEWAY_PORTS
    ]
    settings = {"service": {"type": exposure, "ports": ports}, **values}
    return {"name": gateway["name"], "enabled": True, "k8s": settings}


def _values(variables: dict[str, Any]) -> dict[str, Any]:
    """Helm values; what the istiod chart takes at its top stands under ``pilot`` in istioctl's."""
    given = variables.get("istio_helm_values") or {}
    if unknown := set(given) - {"istiod"}:
        raise ValueError(f"istio_helm_values: no equivalent of {', '.join(sorted(unknown))}")
    values = dict(given.get("istiod") or {})
    if unknown := set(values) - {"telemetry", "env"}:
        raise ValueError(f"istio_helm_values: istiod: no equivalent of {', '.join(sorted(unknown))}")
    if "env" in values:
        values["pilot"] = {"env": values.pop("env")}
    if variables.get("istio_helm_image_pull_policy"):
        values["global"] = {"imagePullPolicy": variables["istio_helm_image_pull_policy"]}
    return values
