# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pod Security Admission (Kubernetes 1.23 and later): the labels of a namespace, and whose they are. Pure."""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

#: From the strictest to the most lenient, as Kubernetes names them.
LEVELS = ("restricted", "baseline", "privileged")
MODES = ("enforce", "audit", "warn")
PREFIX = "pod-security.kubernetes.io/"


def labels(level: str) -> dict[str, str]:
    """Namespace labels of a level, for all modes: what is refused is what is warned of."""
    return {PREFIX + mode: level for mode in MODES}


def admits(level: str, needed: str) -> bool:
    """Whether a namespace at a level admits pods that need another."""
    return LEVELS.index(level) >= LEVELS.index(needed)


def foreign_labels(namespace: dict[str, Any] | None, manager: str) -> dict[str, str]:
    """Pod security labels of a namespace that somebody else has set.

    :arg manager: our field manager; labels that it owns are not foreign
    """
    if not namespace:
        return {}
    meta = namespace["metadata"]
    ours: set[str] = set()
    for entry in meta.get("managedFields") or []:
        if entry.get("manager") == manager:
            owned = entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:labels", {})
            ours |= {path[2:] for path in owned}
    return {
        key: value for key, value in (meta.get("labels") or {}).items() if key.startswith(PREFIX) and key not in ours
    }


def namespace_object(
    name: str, level: str, foreign: dict[str, str], force: bool
) -> tuple[dict[str, Any], list[JobError]]:
    """A namespace with the labels that let pods of a level run, and what is wrong with those of others.

    Labels of others that are lenient enough stay theirs; those that are too strict stay too unless ``force`` is given,
    and are reported.

    :returns: the object to apply, and what is wrong with labels that will refuse pods
    """
    wanted = labels(level)
    problems: list[JobError] = []
    for key, value in foreign.items():
        if key not in wanted or force:
            continue
        enough = value in LEVELS and admits(value, level)
        if not enough and key == PREFIX + "enforce":
            message = f"enforces Pod Security level {value}, set by another field manager, but its pods need {level}."
            fix = "Ask the label's owner to change it, or set psp_rbac_force: true."
            problems.append(JobError(message, object=f"Namespace {name}", fix=fix))
        del wanted[key]
    metadata: dict[str, Any] = {"name": name, **({"labels": wanted} if wanted else {})}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, problems
