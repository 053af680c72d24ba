# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The 2018 guide's recommendations on workloads' labels, and labels that contradict each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import conditions, observed, refusal
from ansible_collections.meshops.istio.plugins.module_utils.cluster.workloads import Workload
from ansible_collections.meshops.istio.plugins.module_utils.errors import sentence
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import (
    INJECT,
    INJECTION,
    REVISION,
    has_sidecar,
    injects,
)

#: What the guide wants on pods -> the labels of today that Istio reads in their place.
RECOMMENDED: dict[str, tuple[str, ...]] = {
    "app": ("app", "app.kubernetes.io/name", "service.istio.io/canonical-name"),
    "version": ("version", "app.kubernetes.io/version", "service.istio.io/canonical-revision"),
}
#: Workloads named in a message.
_NAMED = 3


def _wish(workload: Workload) -> str | None:
    """``true`` or ``false`` as a workload's pods say, by label or, in older manifests, by annotation."""
    annotations = workload.pods[0]["metadata"].get("annotations") or {} if workload.pods else {}
    return workload.labels.get(INJECT) or annotations.get(INJECT)


def label_findings(found: Iterable[Workload]) -> list[Finding]:
    """One finding for each workload whose pods lack a label that telemetry wants."""
    findings = []
    for workload in found:
        missing = [name for name, any_of in RECOMMENDED.items() if not set(any_of) & set(workload.labels)]
        if missing and _wish(workload) != "false":
            labels = f"label{'' if len(missing) == 1 else 's'} {' and '.join(missing)}"
            message = f"its pods lack the {labels}, so telemetry cannot tell them apart."
            example = ", ".join(f"{name}: {workload.name if name == 'app' else 'v1'}" for name in missing)
            fix = f"Add to spec.template.metadata.labels: {{{example}}}."
            findings.append(Finding("workload-unlabeled", str(workload), message, fix))
    return findings


def injection_findings(namespace: dict[str, Any], found: Iterable[Workload]) -> list[Finding]:
    """Findings about a namespace whose labels, pods' labels and sidecars contradict each other.

    :arg found: the workloads of this namespace
    """
    name, labels = namespace["metadata"]["name"], namespace["metadata"].get("labels") or {}
    findings, asked = [], injects(namespace)
    if INJECTION in labels and REVISION in labels:
        message = (
            f"has labels {INJECTION}={labels[INJECTION]} and {REVISION}={labels[REVISION]}. The first takes precedence."
        )
        fix = f"Remove one: kubectl label namespace {name} {INJECTION}-"
        findings.append(Finding("injection-labels-mixed", f"Namespace {name}", message, fix))
    found = list(found)
    for workload in found:
        wish = workload.labels.get(INJECT)
        if asked is False and wish == "true":
            message = f"its pods request a sidecar ({INJECT}=true), but injection is disabled in namespace {name}."
            fix = f"Remove the namespace's label: kubectl label namespace {name} {INJECTION}-"
            findings.append(Finding("injection-contradicted", str(workload), message, fix))
        elif asked and wish == "false":
            message = f"its pods opt out of the sidecar ({INJECT}=false), but injection is enabled in namespace {name}."
            opt_in = (
                "Remove the pod template's label. If it is intended, add injection-contradicted to preflight_ignore."
            )
            findings.append(Finding("injection-contradicted", str(workload), message, opt_in))
    if asked:
        running = [workload for workload in found if workload.pods and _wish(workload) != "false"]
        without = [workload for workload in running if not any(map(has_sidecar, workload.pods))]
        if without and len(without) < len(running):
            names = ", ".join(workload.name for workload in without[:_NAMED])
            more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
            message = f"{len(without)} of {len(running)} workloads run without a sidecar: {names}{more}."
            fix = f"Restart them: kubectl rollout restart deployment -n {name}"
            findings.append(Finding("injection-partial", f"Namespace {name}", message, fix))
    return findings


def refusal_findings(deployments: Iterable[dict[str, Any]]) -> list[Finding]:
    """Deployments whose pods are refused when they are created, in the API server's own words."""
    findings = []
    for deployment in deployments:
        failure = conditions(deployment).get("ReplicaFailure", {})
        if failure.get("status") != "True" or not observed(deployment):
            continue
        meta, message = deployment["metadata"], failure.get("message", "")
        fix = refusal(message) or "fix what the message reports"
        where = f"Deployment {meta['namespace']}/{meta['name']}"
        text = f"its pods are rejected: {message.rstrip('.')}."
        findings.append(Finding("pods-refused", where, text, sentence(fix)))
    return findings
