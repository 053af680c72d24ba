# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide's recommendations on workloads: labels, and one answer to whether a pod has a sidecar. Pure.

Pods are looked at by the workload that owns them: a Deployment of a hundred pods is one finding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.readiness import conditions, observed, refusal

#: What the guide wants on pods -> the labels of today that Istio reads in their place.
RECOMMENDED: dict[str, tuple[str, ...]] = {
    "app": ("app", "app.kubernetes.io/name", "service.istio.io/canonical-name"),
    "version": ("version", "app.kubernetes.io/version", "service.istio.io/canonical-revision"),
}
INJECT = "sidecar.istio.io/inject"
INJECTION = "istio-injection"
REVISION = "istio.io/rev"
_SIDECAR = "istio-proxy"
_TEMPLATE_HASH = "pod-template-hash"
#: Workloads named in a message.
_NAMED = 3

Owner = tuple  # (namespace, kind, name)


@dataclass
class Workload:
    """What owns pods of one template.

    :ivar dict labels: of its pods
    :ivar list pods: those of it that have not ended; none when it was found by its Deployment alone
    :ivar list ports: of its containers
    """

    namespace: str
    kind: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    pods: list[dict[str, Any]] = field(default_factory=list)
    ports: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def workload_of(pod: dict[str, Any]) -> Owner:
    """Namespace, kind and name of what owns a pod: the Deployment behind a ReplicaSet, or the pod itself."""
    meta = pod["metadata"]
    for owner in meta.get("ownerReferences") or []:
        if not owner.get("controller"):
            continue
        suffix = "-" + (meta.get("labels") or {}).get(_TEMPLATE_HASH, "?")
        if owner["kind"] == "ReplicaSet" and owner["name"].endswith(suffix):
            return meta["namespace"], "Deployment", owner["name"].removesuffix(suffix)
        return meta["namespace"], owner["kind"], owner["name"]
    return meta["namespace"], "Pod", meta["name"]


def _ports(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [port for container in spec.get("containers") or [] for port in container.get("ports") or []]


def in_the_mesh(spec: dict[str, Any], kind: str) -> bool:
    """Whether the recommendations are about such pods: Istio leaves those of the host's network alone, Jobs end."""
    return not spec.get("hostNetwork") and kind != "Job"


def workloads(pods: Iterable[dict[str, Any]], deployments: Iterable[dict[str, Any]] = ()) -> list[Workload]:
    """Pods by workload, and Deployments that have no pod, such as those whose pods are refused.

    :arg pods: those that have not ended
    """
    found: dict[Owner, Workload] = {}
    for pod in pods:
        owner = workload_of(pod)
        if not in_the_mesh(pod["spec"], owner[1]):
            continue
        if owner not in found:
            found[owner] = Workload(*owner, pod["metadata"].get("labels") or {}, [], _ports(pod["spec"]))
        found[owner].pods.append(pod)
    for deployment in deployments:
        meta, template = deployment["metadata"], deployment["spec"]["template"]
        owner = (meta["namespace"], "Deployment", meta["name"])
        if owner not in found and in_the_mesh(template["spec"], "Deployment"):
            labels = (template.get("metadata") or {}).get("labels") or {}
            found[owner] = Workload(*owner, labels, [], _ports(template["spec"]))
    return list(found.values())


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
            message = f"its pods have no label {' and none '.join(missing)}; telemetry will not tell them apart."
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
        message = f"has labels {INJECTION}={labels[INJECTION]} and {REVISION}={labels[REVISION]}; the first counts."
        fix = f"Remove one: kubectl label namespace {name} {INJECTION}-"
        findings.append(Finding("injection-labels-mixed", f"Namespace {name}", message, fix))
    found = list(found)
    for workload in found:
        wish = workload.labels.get(INJECT)
        if asked is False and wish == "true":
            message = f"its pods ask for a sidecar ({INJECT}=true); namespace {name} has injection off, which counts."
            fix = f"kubectl label namespace {name} {INJECTION}-"
            findings.append(Finding("injection-contradicted", str(workload), message, fix))
        elif asked and wish == "false":
            message = f"its pods want no sidecar ({INJECT}=false); namespace {name} has injection on."
            fix = "Remove the label from the pod template, or ignore this code if it is meant."
            findings.append(Finding("injection-contradicted", str(workload), message, fix))
    if asked:
        running = [workload for workload in found if workload.pods and _wish(workload) != "false"]
        without = [workload for workload in running if not any(map(has_sidecar, workload.pods))]
        if without and len(without) < len(running):
            names = ", ".join(workload.name for workload in without[:_NAMED])
            more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
            message = f"{len(without)} of {len(running)} workloads run without a sidecar: {names}{more}."
            fix = f"kubectl rollout restart deployment -n {name}"
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
        fix = refusal(message) or "mend what the message says"
        where = f"Deployment {meta['namespace']}/{meta['name']}"
        text = f"its pods are refused: {message.rstrip('.')}."
        findings.append(Finding("pods-refused", where, text, f"{fix[0].upper()}{fix[1:]}."))
    return findings
