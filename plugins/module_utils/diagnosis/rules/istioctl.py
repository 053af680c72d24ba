# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What istioctl analyze says of Istio's configuration, told after our own findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.state import MeshState
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.symptom import Symptom, quoted


def _is_looked_at(state: MeshState, origin: str) -> bool:
    """Whether an origin, KIND NAMESPACE/NAME, is of a namespace that is looked at, or of none."""
    kind, _space, name = origin.partition(" ")
    namespace = name if kind == "Namespace" else name.partition("/")[0] if "/" in name else ""
    return not namespace or namespace in state.control_plane | state.applications


def errors(state: MeshState) -> Iterator[Symptom]:
    """What istioctl is sure of."""
    yield from _of_level(state, "Error")


def hints(state: MeshState) -> Iterator[Symptom]:
    """Its warnings. Many a healthy mesh has some (each EnvoyFilter is one): they are told beside other findings only.

    Its third level, Info, is advice.
    """
    yield from _of_level(state, "Warning")


def _of_level(state: MeshState, level: str) -> Iterator[Symptom]:
    for each in state.analysis:
        origin = each.get("origin") or "the mesh"
        if each.get("level") == level and _is_looked_at(state, origin):
            words, code = quoted(each.get("message", "")), each.get("code", "")
            fix = f"See {each.get('documentationUrl') or 'https://istio.io/latest/docs/reference/config/analysis/'}"
            yield Symptom("istioctl-analysis", origin, f"{words} ({code}).", fix, (f"{level} [{code}] {words}",))
