# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces that are being deleted, and what holds them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.preflight.namespaces import terminating


def namespace(phase: str = "Terminating", **conditions: str) -> dict[str, Any]:
    """A namespace `shop` with conditions that are true."""
    found = [{"type": name, "status": "True", "message": message} for name, message in conditions.items()]
    meta = {"name": "shop", **({"deletionTimestamp": "2026-11-22T12:00:00Z"} if phase == "Terminating" else {})}
    return {"metadata": meta, "status": {"phase": phase, "conditions": found}}


@pytest.mark.parametrize(
    ("found", "needed", "count"),
    [(namespace(), ["shop"], 1), (namespace("Active"), ["shop"], 0), (namespace(), ["other"], 0)],
)
def test_only_needed_ones(found: dict[str, Any], needed: list[str], count: int) -> None:
    """Others may come and go."""
    assert len(terminating([found], needed)) == count


def test_what_holds_it_is_quoted() -> None:
    """The most telling condition first, with its fix; conditions that are false say nothing."""
    words = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    held = namespace(NamespaceContentRemaining="Some resources are remaining.", NamespaceFinalizersRemaining=words)
    held["status"]["conditions"].append({"type": "NamespaceDeletionDiscoveryFailure", "status": "False"})
    (finding,) = terminating([held], ["shop"])
    assert finding.message.startswith(f"has been terminating since 2026-11-22T12:00:00Z. {words}. Some resources")
    assert "finalizer" in finding.fix


def test_nothing_holds_it_yet() -> None:
    """Then there is only to wait."""
    (finding,) = terminating([namespace()], ["shop"])
    assert (finding.object, finding.fix) == ("Namespace shop", "Wait until it is deleted, and run again.")
