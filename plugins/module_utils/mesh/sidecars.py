# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sidecars: the labels that ask for one, and whether a pod has one. Pure."""

from __future__ import annotations

from typing import Any

INJECT = "sidecar.istio.io/inject"
INJECTION = "istio-injection"
REVISION = "istio.io/rev"
#: Annotation of pods: which of the injector's templates they are filled in from.
TEMPLATES = "inject.istio.io/templates"
_SIDECAR = "istio-proxy"


def injects(namespace: dict[str, Any]) -> bool | None:
    """Whether a namespace's labels ask for injection: None when they say nothing. ``istio-injection`` counts first."""
    labels = namespace["metadata"].get("labels") or {}
    if INJECTION in labels:
        return labels[INJECTION] == "enabled"
    return True if labels.get(REVISION) else None


def has_sidecar(pod: dict[str, Any]) -> bool:
    """Whether Istio's proxy runs in a pod, as a container or as a native sidecar."""
    spec = pod["spec"]
    both = (spec.get("containers") or []) + (spec.get("initContainers") or [])
    return any(container["name"] == _SIDECAR for container in both)


def is_gateway(workload: dict[str, Any]) -> bool:
    """Whether the injector fills in a workload's pods as a gateway's: by an annotation that the gateway chart sets."""
    template = ((workload.get("spec") or {}).get("template") or {}).get("metadata") or {}
    return (template.get("annotations") or {}).get(TEMPLATES) == "gateway"
