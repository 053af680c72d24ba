# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests in a file are read as kubectl reads them, not as Ansible does."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.meshops.istio.plugins.filter.from_manifests import FilterModule

from_manifests = FilterModule().filters()["from_manifests"]


def test_objects() -> None:
    """Each document that holds something; times, dates and words as kubectl has them."""
    text = "# app\n---\nkind: A\ndata: {at: 12:30, day: 2026-11-30, mode: 0o17, word: y}\n---\n---\nkind: B\n"
    data = {"at": "12:30", "day": "2026-11-30", "mode": 15, "word": True}
    assert from_manifests(text) == [{"kind": "A", "data": data}, {"kind": "B"}]
    assert from_manifests("") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "The manifests are not valid YAML: .*line 2"),
        ("- kind: A", "which is not a Kubernetes object"),
        ("text", "text"),
    ],
)
def test_something_else(text: str, says: str) -> None:
    """One clear message."""
    with pytest.raises(AnsibleFilterError, match=says):
        from_manifests(text)
