# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What istioctl analyze says of Istio's configuration, told after our own findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.mesh_state import MeshState
from ansible_collections.meshops.istio.plugins.module_utils.symptom import Symptom, quoted

#: Levels that are told; Info is advice.
_LEVELS = ("Error", "Warning")


def _is_looked_at(state: MeshState, origin: str) -> bool:
    """Whether an origin, KIND NAMESPACE/NAME, is of a namespace that is looked at, or of none."""
    kind, _space, name = origin.partition(" ")
    namespace = name if kind == "Namespace" else name.partition("/")[0] if "/" in name else ""
    return not namespace or namespace in state.control_plane | state.applications


def messages(state: MeshState) -> Iterator[Symptom]:
    """Errors, then warnings."""
    found: list[dict[str, Any]] = [each for each in state.analysis if each.get("level") in _LEVELS]
    for each in sorted(found, key=lambda message: _LEVELS.index(message["level"])):
        origin = each.get("origin") or "the mesh"
        if _is_looked_at(state, origin):
            words, code = quoted(each.get("message", "")), each.get("code", "")
            evidence = (f"{each['level']} [{code}] {words}",)
            fix = f"See {each.get('documentationUrl') or 'https://istio.io/latest/docs/reference/config/analysis/'}"
            yield Symptom("istioctl-analysis", origin, f"{words} ({code}).", fix, evidence)
