# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quotas and LimitRanges: refused is what the API server would refuse, and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.preflight import quotas
from ansible_collections.meshops.istio.plugins.module_utils.preflight.demand import Demand, Pods


def pods(missing: int = 1, **resources: Any) -> Pods:
    """Pods of one container."""
    return Pods("mesh", "istiod", missing, missing, {"containers": [{"name": "c", "resources": resources}]})


REQUESTS = {"cpu": "500m", "memory": "2Gi"}


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A quota that its controller has counted."""
    return {"metadata": {"name": "team"}, "spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": used or {}}}


def limit_range(kind: str = "Container", **item: Any) -> dict[str, Any]:
    """A LimitRange of one item."""
    return {"metadata": {"name": "team"}, "spec": {"limits": [{"type": kind, **item}]}}


def asked(wanted: Pods, *found: dict[str, Any], ranges: tuple[dict[str, Any], ...] = (), **counts: int) -> list[str]:
    """Codes and messages about quotas."""
    demand = Demand([wanted], {"mesh": Counter(counts)})
    findings = quotas.quota_findings("mesh", demand, found, list(ranges))
    return [f"{finding.code}: {finding.message}" for finding in findings]


@pytest.mark.parametrize(
    ("hard", "used", "left"),
    [
        ({"requests.cpu": "500m"}, {}, None),
        ({"requests.cpu": "499m"}, {}, "0.499 of 499m"),
        ({"cpu": "1"}, {"cpu": "600m"}, "0.4 of 1"),
        ({"memory": "2Gi"}, {"memory": "1Mi"}, "2047 MiB of 2Gi"),
        ({"requests.memory": "4Gi"}, {"requests.memory": "2Gi"}, None),
        ({"requests.memory": "1Gi"}, {"requests.memory": "2Gi"}, "0 MiB of 1Gi"),
        ({"requests.storage": "0", "count/secrets": "0"}, {}, None),
    ],
)
def test_compute(hard: dict[str, str], used: dict[str, str], left: str | None) -> None:
    """What is left against what is needed, by either of a resource's names; what is not counted here is silent."""
    found = asked(pods(requests=REQUESTS), quota(hard, used))
    assert len(found) == bool(left)
    assert all(message.startswith(f"quota-exceeded: has {left} left for ") for message in found)


def test_all_missing_pods_count() -> None:
    """Two of them need twice as much, none needs nothing."""
    tight = quota({"requests.cpu": "500m"})
    assert len(asked(pods(2, requests=REQUESTS), tight)) == 1
    assert asked(pods(0, requests=REQUESTS), quota({"requests.cpu": "0"})) == []


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("pods", "pods"),
        ("count/pods", "pods"),
        ("count/deployments.apps", "deployments"),
        ("services", "services"),
        ("services.nodeports", "node_ports"),
        ("services.loadbalancers", "load_balancers"),
    ],
)
def test_counts(name: str, count: str) -> None:
    """Numbers of objects."""
    wanted = pods(0)
    assert asked(wanted, quota({name: "3"}, {name: "2"}), **{count: 1}) == []
    (message,) = asked(wanted, quota({name: "3"}, {name: "2"}), **{count: 2})
    assert message == f"quota-exceeded: has 1 of 3 left for {name}, but this run needs 2."


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        ({}, True),
        ({"scopes": ["NotTerminating"]}, True),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopes": ["Terminating"]}, False),
        ({"scopeSelector": {"matchExpressions": []}}, False),
    ],
)
def test_scopes(spec: dict[str, Any], counts: bool) -> None:
    """A quota for other pods is none for ours."""
    assert bool(asked(pods(requests=REQUESTS), quota({"requests.cpu": "0"}, **spec))) is counts


def test_quota_that_wants_figures() -> None:
    """Each container must name what the quota is about; a LimitRange's defaults count as named."""
    strict = quota({"limits.cpu": "8", "limits.memory": "8Gi", "requests.cpu": "8"})
    (message,) = asked(pods(requests=REQUESTS), strict)
    assert message.startswith("quota-needs-figures: rejects the pods of istiod: container c has no limits.cpu, limits.")
    defaults = limit_range(default={"cpu": "1", "memory": "2Gi"})
    assert asked(pods(requests=REQUESTS), strict, ranges=(defaults,)) == []
    assert asked(pods(limits={"cpu": "1", "memory": "1Gi"}), strict) == []
    assert asked(pods(0, requests=REQUESTS), strict) == []


def refused(wanted: Pods, *ranges: dict[str, Any]) -> list[str]:
    """Messages about LimitRanges."""
    return [finding.message for finding in quotas.limit_range_findings("mesh", [wanted], list(ranges))]


@pytest.mark.parametrize(
    ("item", "resources", "says"),
    [
        ({"max": {"memory": "2Gi"}}, {"limits": {"memory": "2Gi"}}, None),
        ({"max": {"memory": "1Gi"}}, {"limits": {"memory": "2Gi"}}, "memory 2048 MiB, but at most 1Gi is allowed"),
        ({"max": {"memory": "4Gi"}}, {"requests": {"memory": "2Gi"}}, "no memory limit"),
        ({"max": {"memory": "4Gi"}, "default": {"memory": "4Gi"}}, {"requests": {"memory": "2Gi"}}, None),
        ({"min": {"cpu": "100m"}}, {"requests": {"cpu": "100m"}}, None),
        ({"min": {"cpu": "101m"}}, {"requests": {"cpu": "100m"}}, "cpu 0.1, but at least 101m is required"),
        ({"min": {"cpu": "100m"}}, {}, "no cpu request"),
        ({"min": {"cpu": "100m"}, "defaultRequest": {"cpu": "100m"}}, {}, None),
        ({"min": {"cpu": "100m"}}, {"limits": {"cpu": "200m"}}, None),
        ({"maxLimitRequestRatio": {"cpu": "2"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}, None),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}},
            "above 2 times",
        ),
        ({"maxLimitRequestRatio": {"cpu": "2"}}, {"requests": {"cpu": "1"}}, "lacks one of the two"),
        (
            {"default": {"memory": "1Gi"}},
            {"requests": {"memory": "2Gi"}},
            "memory 2Gi, more than its default limit of",
        ),
        ({"default": {"memory": "2Gi"}}, {"requests": {"memory": "2Gi"}}, None),
    ],
)
def test_containers(item: dict[str, Any], resources: dict[str, Any], says: str | None) -> None:
    """Defaults are filled in before anything is compared."""
    found = refused(pods(**resources), limit_range(**item))
    assert len(found) == bool(says)
    assert all(message.startswith("rejects the pods of istiod: container c ") and says in message for message in found)


def test_whole_pods() -> None:
    """Their containers together."""
    two = Pods("mesh", "in", 1, 1, {"containers": [{"name": n, "resources": {"limits": {"cpu": "1"}}} for n in "ab"]})
    assert refused(two, limit_range("Pod", max={"cpu": "2"})) == []
    assert refused(two, limit_range("Pod", max={"cpu": "1"})) == [
        "rejects the pods of in: the pod has cpu 2, but at most 1 is allowed."
    ]


def test_pods_that_are_there_already() -> None:
    """Are not created again."""
    assert refused(pods(0, limits={"cpu": "9"}), limit_range(max={"cpu": "1"})) == []
