# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is Istio there already, by whom, and what has a dead one left? Pure.

What Helm owns names its release in annotations; what istioctl or an operator owns carries their labels. Everything of
our own releases is silent: a second run, definitions without a control plane yet, and what a killed run left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.helm.owner import Release, helm_release
from ansible_collections.meshops.istio.plugins.module_utils.mesh.revisions import revision_of

#: Label of istiod's Deployments and, before 1.5, of istio-pilot's.
ISTIOD_SELECTOR = "istio=pilot"
BASE_RELEASE = "istio-base"
#: Operators' own resources: the definition that serves them, and how they are read.
ISTIO_OPERATOR = ("istiooperators.install.istio.io", "install.istio.io/v1alpha1", "IstioOperator")
SAIL = ("istios.sailoperator.io", "sailoperator.io/v1", "Istio")
#: Label of the pod of Istio's own operator, without which its resources are only records.
_OPERATOR_POD = {"name": "istio-operator"}
_KUBECTL = {
    "MutatingWebhookConfiguration": "mutatingwebhookconfiguration",
    "ValidatingWebhookConfiguration": "validatingwebhookconfiguration",
}


def _maker(obj: dict[str, Any]) -> tuple[str, str]:
    """Code and words for who made an istiod that is not ours."""
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    release = helm_release(obj)
    if any(owner.get("kind") == "IstioRevision" for owner in meta.get("ownerReferences") or []):
        return "istio-by-operator", "by the Sail operator"
    if release:
        return "istio-by-other-release", f"by Helm release {'/'.join(release)}"
    owner = labels.get("install.operator.istio.io/owning-resource", "")
    if labels.get("operator.istio.io/managed") or owner not in ("", "unknown"):
        return "istio-not-by-helm", f"by istioctl{f' (resource {owner})' if owner not in ('', 'unknown') else ''}"
    return "istio-not-by-helm", "without Helm"


_FIXES = {
    "istio-by-operator": "Delete the operator's Istio resource, or let the operator manage Istio.",
    "istio-by-other-release": (
        "Uninstall that release, set istio_helm_namespace to its namespace, adopt it (istio_helm_adopt: true), or "
        "install another revision beside it: istio_helm_revision: NAME"
    ),
    "istio-not-by-helm": (
        "Adopt it (istio_helm_adopt: true), remove it (istioctl uninstall --purge), or install another revision beside "
        "it: istio_helm_revision: NAME"
    ),
}
#: An Istio that is not this run's.
OTHERS = frozenset(("istio-by-other-release", "istio-not-by-helm", "istio-by-operator", "istio-other-revision"))
#: What is no error where it is going to be adopted; an operator would take it back.
ADOPTABLE = frozenset(("istio-by-other-release", "istio-not-by-helm"))


def istiods(found: Iterable[dict[str, Any]], ours: set[Release], revision: str) -> list[Finding]:
    """Findings about control planes that are not ours.

    :arg found: metadata of the Deployments with ``ISTIOD_SELECTOR``
    :arg ours: the releases of this run
    :arg revision: the revision that it installs, ``default`` for none
    """
    findings = []
    for obj in found:
        if helm_release(obj) in ours:
            continue
        meta = obj["metadata"]
        where = f"Deployment {meta['namespace']}/{meta['name']}"
        code, by = _maker(obj)
        if revision_of(obj) != revision:
            message = (
                f"is an istiod of revision {revision_of(obj)}, installed {by}. This run installs revision {revision}."
            )
            fix = "Uninstall that revision, unless you run two on purpose."
            findings.append(Finding("istio-other-revision", where, message, fix))
        else:
            message = f"is already an istiod of revision {revision}, installed {by}."
            findings.append(Finding(code, where, message, _FIXES[code]))
    return findings


def operators(
    istio_operators: Iterable[dict[str, Any]],
    sail: Iterable[dict[str, Any]],
    pods: Iterable[dict[str, Any]],
    namespace: str,
    revision: str,
) -> list[Finding]:
    """Findings about operators that would manage the same Istio.

    :arg istio_operators: IstioOperator resources; istioctl leaves some as a record that nobody acts on
    :arg sail: Istio resources of the Sail operator, in full
    :arg namespace: Istio's namespace in this run
    """
    findings = []
    running = any((pod["metadata"].get("labels") or {}).get("name") == _OPERATOR_POD["name"] for pod in pods)
    for obj in istio_operators if running else []:
        meta = obj["metadata"]
        message = "is managed by Istio's own operator, which runs in this cluster."
        fix = (
            f"Let the operator manage Istio, or run: kubectl delete istiooperator {meta['name']} -n {meta['namespace']}"
        )
        findings.append(Finding("istio-by-operator", f"IstioOperator {meta['namespace']}/{meta['name']}", message, fix))
    for obj in sail:
        name, spec = obj["metadata"]["name"], obj.get("spec") or {}
        if name == revision or spec.get("namespace") == namespace:
            message = f"makes the Sail operator install Istio {spec.get('version', '')} in {spec.get('namespace', '')}."
            fix = f"Let the operator manage Istio, or run: kubectl delete istio {name}"
            findings.append(Finding("istio-by-operator", f"Istio {name}", message, fix))
    return findings


def _is_istios(configuration: dict[str, Any]) -> bool:
    return any(webhook["name"].endswith(".istio.io") for webhook in configuration.get("webhooks") or [])


def webhooks(
    configurations: Iterable[dict[str, Any]], services: set[tuple[str, str]], ours: set[Release]
) -> list[Finding]:
    """Findings about webhooks of an Istio that is gone (istio#36905, istio#38880, istio#41607).

    :arg configurations: mutating and validating ones
    :arg services: (namespace, name) of all Services
    """
    findings = []
    for configuration in configurations:
        if not _is_istios(configuration) or helm_release(configuration) in ours:
            continue
        dead, blocking = set(), False
        for webhook in configuration["webhooks"]:
            service = (webhook.get("clientConfig") or {}).get("service")
            if service and (service["namespace"], service["name"]) not in services:
                dead.add(f"{service['namespace']}/{service['name']}")
                blocking |= webhook.get("failurePolicy", "Fail") == "Fail"
        if not dead:
            continue
        kind, name = configuration["kind"], configuration["metadata"]["name"]
        does = "so the API server rejects matching requests" if blocking else "so each call fails and is ignored"
        called = "Service {}, which does not exist" if len(dead) == 1 else "Services {}, which do not exist"
        message = f"calls {called.format(', '.join(sorted(dead)))}, {does}."
        fix = f"Delete it: kubectl delete {_KUBECTL[kind]} {name}"
        findings.append(Finding("webhook-blocks" if blocking else "webhook-left", f"{kind} {name}", message, fix))
    return findings


def definitions(
    crds: Iterable[dict[str, Any]], namespace: str, found_istiods: list[dict[str, Any]], ours: set[Release]
) -> list[Finding]:
    """One finding for each owner of Istio's definitions that is not the base release of this run.

    Beside an istiod of ours those without an owner are ours too: older charts have them where Helm owns none.

    :arg crds: metadata of the cluster's definitions
    :arg namespace: Istio's namespace in this run
    :arg found_istiods: metadata of the Deployments with ``ISTIOD_SELECTOR``
    :arg ours: the releases of this run
    """
    installed = any(helm_release(obj) in ours for obj in found_istiods)
    owners: dict[str, list[str]] = {}
    for crd in crds:
        name = crd["metadata"]["name"]
        if not name.endswith(".istio.io") or name == ISTIO_OPERATOR[0]:
            continue
        release = helm_release(crd)
        if release != (namespace, BASE_RELEASE) and (release or not installed):
            owners.setdefault(f"Helm release {'/'.join(release)}" if release else "no Helm release", []).append(name)
    findings = []
    for owner, names in sorted(owners.items()):
        rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
        alone = "" if found_istiods else f", and no istiod uses {'them' if rest else 'it'}"
        message = f"{'belong' if rest else 'belongs'} to {owner}{alone}."
        fix = "Run role crds to take ownership, or delete each CRD with all its objects: kubectl delete crd NAME"
        about = f"CustomResourceDefinition {min(names)}{rest}"
        findings.append(Finding("crds-foreign", about, message, fix))
    return findings
