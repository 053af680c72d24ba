# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label selectors of Kubernetes: which labels one selects, and how it is asked for. Pure."""

from __future__ import annotations

from typing import Any


def text_of(labels: dict[str, str]) -> str:
    """A plain selector as the API takes it in a query."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _holds(expression: dict[str, Any], labels: dict[str, str]) -> bool:
    """One entry of ``matchExpressions``; a label that is not there is in no list."""
    key, values = expression["key"], expression.get("values") or []
    rules = {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return rules[expression["operator"]]


def selects(selector: dict[str, Any] | None, labels: dict[str, str] | None) -> bool:
    """Whether a selector with ``matchLabels`` and ``matchExpressions`` selects; an empty one selects all."""
    selector, labels = selector or {}, labels or {}
    return contains(labels, selector.get("matchLabels")) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions") or []
    )


def contains(labels: dict[str, str] | None, wanted: dict[str, str] | None) -> bool:
    """Whether labels hold all of a plain selector, as a Service has it."""
    return (wanted or {}).items() <= (labels or {}).items()
