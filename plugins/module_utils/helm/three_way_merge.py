# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client-side upgrade makes of an object: by Helm 3, and by Helm 4 where Helm 3 wrote the release. Pure.

Helm compares the manifest before with the new one and, for Kubernetes' own kinds, with the live object (a strategic
merge patch); for all others it sends the difference of the two manifests alone (a JSON merge patch).
"""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.kinds import group_of

#: Lists whose items are merged, by field, and the key by which; all other lists are replaced whole.
_MERGE_KEYS = {
    "containers": "name",
    "conditions": "type",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "matchConditions": "name",
    "secrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
    "webhooks": "name",
}
#: Maps whose keys go when the manifest has them no more, whoever set them; and lists of such maps.
_RETAINED = ("strategy", "volumes")
#: Groups whose objects Helm knows by their types.
_OWN_GROUPS = (
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apps",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
)


def merges_with_live(api_version: str) -> bool:
    """Whether Helm looks at the live object of a kind, too."""
    return group_of(api_version) in _OWN_GROUPS


def merged(before: dict[str, Any], wanted: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """The live object after an upgrade from one manifest to another.

    :arg before: as the manifest before had it; the wanted one where that did not have it
    """
    if merges_with_live(wanted["apiVersion"]):
        return _three_way(before, wanted, live)
    return patched(live, merge_patch(before, wanted))


def _three_way(before: Any, wanted: dict[str, Any], live: Any) -> dict[str, Any]:
    before, result = before if isinstance(before, dict) else {}, copy.deepcopy(live) if isinstance(live, dict) else {}
    for key in before:
        if wanted.get(key) is None:
            result.pop(key, None)
    for key, value in wanted.items():
        there = result.get(key)
        merge_key = _merge_key(key, value, there)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = _retained(key, _three_way(before.get(key), value, there), value)
        elif merge_key:
            result[key] = _merged_list(key, merge_key, before.get(key), value, there)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _merge_key(field: str, *lists: Any) -> str | None:
    items = [item for each in lists if isinstance(each, list) for item in each]
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    if field == "ports":
        # A container's and a Service's; those of other kinds are replaced whole, which for none of them is a difference
        # that helm's manifests could make: each of their items is complete.
        return next((key for key in ("containerPort", "port") if all(key in item for item in items)), None)
    key = _MERGE_KEYS.get(field)
    return key if key and all(key in item for item in items) else None


def _merged_list(field: str, key: str, before: Any, wanted: list[Any], live: Any) -> list[Any]:
    def by_key(items: Any) -> dict[Any, dict[str, Any]]:
        return {item[key]: item for item in items or [] if isinstance(item, dict) and key in item}

    old, new, there = by_key(before), by_key(wanted), by_key(live)
    merged_items = {
        name: _retained(field, _three_way(old.get(name), item, there.get(name)), item) for name, item in new.items()
    }
    kept = {name: item for name, item in there.items() if name not in new and name not in old}
    return [*merged_items.values(), *copy.deepcopy(list(kept.values()))]


def _retained(field: str, result: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key in wanted} if field in _RETAINED else result


def merge_patch(before: Any, after: dict[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that turns one object into another; ``{}`` when they are alike."""
    before = before if isinstance(before, dict) else {}
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        if isinstance(value, dict) and isinstance(before.get(key), dict):
            below = merge_patch(before[key], value)
            if below:
                patch[key] = below
        elif key not in before or before[key] != value:
            patch[key] = copy.deepcopy(value)
    return patch


def patched(obj: Any, patch: dict[str, Any]) -> dict[str, Any]:
    """An object with a JSON merge patch applied."""
    result = copy.deepcopy(obj) if isinstance(obj, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = patched(result.get(key), value)
        else:
            result[key] = copy.deepcopy(value)
    return result
