# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How each gateway was proven, as the report shows it. Pure."""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.plugin_utils.report.words import plural

#: As liveness_verify names the ways in which a gateway is proven.
BY_REQUEST = "request"


def of_evidence(evidence: dict[str, Any]) -> list[dict[str, Any]]:
    """How each gateway was proven, or why it was not: first the one that leads to the application."""
    return [_gateway(given) for given in evidence.get("gateways") or [] if isinstance(given, dict)]


def _gateway(given: dict[str, Any]) -> dict[str, Any]:
    served, caller = given.get("served_by"), given.get("mtls")
    istiods = [each for found in (served if isinstance(served, dict) else {}).values() for each in found or []]
    names = [_istiod(each) for each in istiods if isinstance(each, dict)]
    return {
        "name": "/".join(str(given.get(key) or "?") for key in ("namespace", "name")),
        "proof": str(given.get("proof") or "?"),
        "answer": f"{given.get('status')} from {given['url']}" if given.get("url") else "",
        "why": str(given.get("why") or ""),
        "caller": str((caller if isinstance(caller, dict) else {}).get("uri") or ""),
        "istiods": list(dict.fromkeys(names)),
    }


def _istiod(given: dict[str, Any]) -> str:
    owner = given.get("release") or given.get("address") or "?"
    return f"{owner}, revision {given.get('revision') or '?'}"


def in_words(others: list[dict[str, Any]]) -> str:
    """What the verdict says of those beside the application's; empty where there are none."""
    answered = sum(each["proof"] == BY_REQUEST for each in others)
    rest = [each["name"] for each in others if each["proof"] != BY_REQUEST]
    text = f" {plural(answered, 'other gateway')} answered too." if answered else ""
    return text + (f" Not proven by a request: {', '.join(rest)}." if rest else "")
