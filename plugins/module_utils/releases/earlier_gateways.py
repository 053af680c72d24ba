# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways of earlier runs that a run does not list any more. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.helm.owner import Release, helm_release
from ansible_collections.meshops.istio.plugins.module_utils.mesh.revisions import revision_of
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import is_gateway

#: Label that istiod and gateways have, and few others, to ask for.
GATEWAY_SELECTOR = "istio"


def findings(workloads: Iterable[dict[str, Any]], ours: set[Release], revision: str) -> list[Finding]:
    """Findings about Helm releases of gateways that this run does not list, and that would be taken for its own.

    :arg workloads: Deployments and DaemonSets of the run's namespaces, with what is in their pods' template
    :arg ours: the releases of this run
    :arg revision: of its gateways, ``default`` for none
    """
    found = {}
    for obj in workloads:
        template = ((obj.get("spec") or {}).get("template") or {}).get("metadata") or {}
        release = helm_release(obj)
        if is_gateway(obj) and release and release not in ours and revision_of({"metadata": template}) == revision:
            found[release] = f"{obj['kind']} {obj['metadata']['name']}"
    return [
        Finding(
            "gateway-not-listed",
            f"Release {namespace}/{name}",
            f"is a gateway ({workload}) that this run does not list. It keeps serving traffic.",
            f"Add it to istio_helm_gateways, or uninstall it: helm uninstall {name} --namespace {namespace}",
        )
        for (namespace, name), workload in sorted(found.items())
    ]
