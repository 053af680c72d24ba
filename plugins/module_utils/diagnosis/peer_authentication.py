# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which mutual TLS a pod's port asks of its callers, by PeerAuthentication. Pure.

As Istio decides: a port's mode in a policy with a selector, that policy's mode, the namespace's, the mesh's; the oldest
where there are two of a kind; permissive where none says anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.cluster.selectors import contains

PERMISSIVE, STRICT, UNSET = "PERMISSIVE", "STRICT", "UNSET"


class Mode(NamedTuple):
    """A mode, and the name of the policy that says so; empty where none does."""

    mode: str
    policy: str


def _age(policy: dict[str, Any]) -> tuple[str, str]:
    return policy["metadata"].get("creationTimestamp", ""), policy["metadata"]["name"]


def _labels(policy: dict[str, Any]) -> dict[str, str]:
    return ((policy.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}


def _mode(policy: dict[str, Any], port: int | None) -> str:
    spec = policy.get("spec") or {}
    by_port = (spec.get("portLevelMtls") or {}).get(str(port)) or {}
    return by_port.get("mode") or (spec.get("mtls") or {}).get("mode") or UNSET


def asked(
    policies: Iterable[dict[str, Any]], root: str, namespace: str, labels: dict[str, str], port: int | None = None
) -> Mode:
    """The mode of a pod.

    :arg policies: all PeerAuthentications
    :arg root: namespace whose policies are the mesh's
    :arg port: of the pod; None for those that no policy names
    """
    policies = sorted(policies, key=_age)
    own = [each for each in policies if each["metadata"]["namespace"] == namespace]
    ranks = (
        [each for each in own if _labels(each) and contains(labels, _labels(each))],
        [each for each in own if not _labels(each)],
        [each for each in policies if each["metadata"]["namespace"] == root and not _labels(each)],
    )
    for rank in ranks:
        if rank and _mode(rank[0], port) != UNSET:
            meta = rank[0]["metadata"]
            return Mode(_mode(rank[0], port), f"{meta['namespace']}/{meta['name']}")
    return Mode(PERMISSIVE, "")
