# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces that cannot be installed into, because they are being deleted. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding

#: Conditions of a namespace that is being deleted, the most telling first -> what to do about it.
_HELD_BY = {
    "NamespaceDeletionDiscoveryFailure": "Delete the unavailable APIService: kubectl get apiservices | grep False",
    "NamespaceDeletionGroupVersionParsingFailure": "Delete the malformed APIService: kubectl get apiservices",
    "NamespaceFinalizersRemaining": (
        "Find out why the finalizer's controller does not act, or remove the finalizer from metadata.finalizers."
    ),
    "NamespaceDeletionContentFailure": "Fix what the message reports.",
    "NamespaceContentRemaining": "Wait, or delete the remaining objects: kubectl get all -n {name}",
}
#: Characters of those words that are quoted.
_OWN_WORDS = 300


def terminating(namespaces: Iterable[dict[str, Any]], needed: Iterable[str]) -> list[Finding]:
    """Findings about needed namespaces that are being deleted, in the namespace controller's own words."""
    wanted, findings = set(needed), []
    for namespace in namespaces:
        meta, status = namespace["metadata"], namespace.get("status") or {}
        if meta["name"] not in wanted:
            continue
        if status.get("phase") != "Terminating" and not meta.get("deletionTimestamp"):
            continue
        held = {
            condition["type"]: condition.get("message", "")
            for condition in status.get("conditions") or []
            if condition.get("status") == "True"
        }
        types = [name for name in _HELD_BY if name in held]
        words = " ".join(held[name].rstrip(".") + "." for name in types)[:_OWN_WORDS]
        since = meta.get("deletionTimestamp")
        message = f"{f'has been terminating since {since}' if since else 'is terminating'}. {words}".strip()
        fix = _HELD_BY[types[0]].format(name=meta["name"]) if types else "Wait until it is deleted, and run again."
        findings.append(Finding("namespace-terminating", f"Namespace {meta['name']}", message, fix))
    return findings
