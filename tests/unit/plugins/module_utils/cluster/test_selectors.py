# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label selectors, as an API server evaluates them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.selectors import contains, selects


@pytest.mark.parametrize(
    ("expression", "there", "other", "absent"),
    [
        ({"operator": "In", "values": ["a"]}, True, False, False),
        ({"operator": "NotIn", "values": ["a"]}, False, True, True),
        ({"operator": "Exists"}, True, True, False),
        ({"operator": "DoesNotExist"}, False, False, True),
    ],
)
def test_expressions(expression: dict[str, Any], there: bool, other: bool, absent: bool) -> None:
    """A label that is not there is in no list, and not in any."""
    selector = {"matchExpressions": [{"key": "k", **expression}]}
    assert [selects(selector, labels) for labels in ({"k": "a"}, {"k": "b"}, {})] == [there, other, absent]


def test_all_must_hold() -> None:
    """Labels and expressions; an empty selector selects all."""
    selector = {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}
    assert selects(selector, {"a": "1", "b": ""})
    assert not selects(selector, {"a": "1"})
    assert selects({}, None)
    assert contains({"a": "1", "b": "2"}, {"a": "1"})
    assert not contains(None, {"a": "1"})
