# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Would a ResourceQuota or a LimitRange refuse what is about to be created? Pure.

The order is the API server's: LimitRanges fill in defaults and then check each container and pod, quotas count what
comes out of that.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.quantities import MIB, quantity
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.preflight.capacity import pod_requests
from ansible_collections.meshops.istio.plugins.module_utils.preflight.demand import Demand, Pods

#: Names in a quota -> figure and resource of a container that they sum.
_COMPUTE: dict[str, tuple[str, str]] = {
    "cpu": ("requests", "cpu"),
    "requests.cpu": ("requests", "cpu"),
    "limits.cpu": ("limits", "cpu"),
    "memory": ("requests", "memory"),
    "requests.memory": ("requests", "memory"),
    "limits.memory": ("limits", "memory"),
}
#: Names in a quota -> names in ``Demand.counts``.
_COUNTED: dict[str, str] = {
    "pods": "pods",
    "count/pods": "pods",
    "count/deployments.apps": "deployments",
    "services": "services",
    "count/services": "services",
    "services.nodeports": "node_ports",
    "services.loadbalancers": "load_balancers",
}
#: Scopes under which a quota still counts the pods of a Deployment that request something.
_SCOPES = frozenset({"NotTerminating", "NotBestEffort"})
_RESOURCES = ("cpu", "memory")


def _figures(container: dict[str, Any], figure: str) -> dict[str, Any]:
    return (container.get("resources") or {}).get(figure) or {}


def _containers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from spec.get("initContainers") or []
    yield from spec.get("containers") or []


def _of_type(limit_ranges: Iterable[dict[str, Any]], kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for limit_range in limit_ranges:
        for item in limit_range["spec"].get("limits") or []:
            if item.get("type") == kind:
                yield limit_range, item


def with_defaults(spec: dict[str, Any], limit_ranges: list[dict[str, Any]]) -> dict[str, Any]:
    """A pod's spec as the API server completes it: limits stand in for requests, LimitRanges for both."""
    spec = copy.deepcopy(spec)
    for container in _containers(spec):
        resources = container["resources"] = dict(container.get("resources") or {})
        limits, requests = dict(resources.get("limits") or {}), dict(resources.get("requests") or {})
        resources["requests"], resources["limits"] = requests, limits
        for name in _RESOURCES:
            if name in limits:
                requests.setdefault(name, limits[name])
        for _limit_range, item in _of_type(limit_ranges, "Container"):
            for name in _RESOURCES:
                if name in (item.get("defaultRequest") or {}):
                    requests.setdefault(name, item["defaultRequest"][name])
                if name in (item.get("default") or {}):
                    limits.setdefault(name, item["default"][name])
    return spec


def amount(name: str, value: Decimal) -> str:
    """A number of a quota as people write it: cores, MiB, or a count."""
    return f"{value / MIB:.0f} MiB" if name.endswith("memory") else f"{value.normalize():f}"


def _sum(spec: dict[str, Any], figure: str, name: str) -> Decimal:
    """What a pod takes of a resource, init containers and sidecars counted as the scheduler does."""
    swapped = {**spec, "overhead": spec.get("overhead") if figure == "requests" else None}
    for key in ("containers", "initContainers"):
        swapped[key] = [
            {**container, "resources": {"requests": _figures(container, figure)}} for container in spec.get(key) or []
        ]
    found = pod_requests(swapped)
    return found.cpu if name == "cpu" else found.memory


# -- LimitRange --------------------------------------------------------------------------------------------------------


def _faults(name: str, request: Any, limit: Any, item: dict[str, Any]) -> Iterator[str]:
    """What an item of a LimitRange has against a request and a limit of one resource, in words."""
    request = None if request is None else quantity(request)
    limit = None if limit is None else quantity(limit)
    most, least, ratio = ((item.get(key) or {}).get(name) for key in ("max", "min", "maxLimitRequestRatio"))
    if most is not None:
        over = max((value for value in (request, limit) if value is not None), default=None)
        if limit is None:
            yield f"no {name} limit, but at most {most} is allowed"
        elif over > quantity(most):
            yield f"{name} {amount(name, over)}, but at most {most} is allowed"
    if least is not None:
        if request is None:
            yield f"no {name} request, but at least {least} is required"
        elif min(value for value in (request, limit) if value is not None) < quantity(least):
            yield f"{name} {amount(name, request)}, but at least {least} is required"
    if ratio is not None and (not request or limit is None or limit / request > quantity(ratio)):
        yield f"a {name} limit above {ratio} times its request, or lacks one of the two"


def limit_range_findings(namespace: str, pods: Iterable[Pods], limit_ranges: list[dict[str, Any]]) -> list[Finding]:
    """Findings about pods that a namespace's LimitRanges refuse."""
    found = []
    for wanted in pods:
        if not wanted.missing:
            continue
        spec = with_defaults(wanted.spec, limit_ranges)
        for kind in ("Container", "Pod"):
            for limit_range, item in _of_type(limit_ranges, kind):
                faults = list(_item_faults(kind, spec, item))
                if faults:
                    about = f"LimitRange {namespace}/{limit_range['metadata']['name']}"
                    message = f"rejects the pods of {wanted.name}: {'; '.join(faults)}."
                    fix = "Change the LimitRange, or the requests and limits in istio_helm_values."
                    found.append(Finding("limit-range", about, message, fix))
    return found


def _item_faults(kind: str, spec: dict[str, Any], item: dict[str, Any]) -> Iterator[str]:
    for name in _RESOURCES:
        if kind == "Pod":
            request, limit = (_sum(spec, figure, name) or None for figure in ("requests", "limits"))
            yield from (f"the pod has {fault}" for fault in _faults(name, request, limit, item))
            continue
        for container in _containers(spec):
            request, limit = (_figures(container, figure).get(name) for figure in ("requests", "limits"))
            default = (item.get("default") or {}).get(name)
            if default is not None and request is not None and default == limit and quantity(request) > quantity(limit):
                yield (
                    f"container {container['name']} requests {name} {request}, more than its default limit of {default}"
                )
                continue
            yield from (f"container {container['name']} has {fault}" for fault in _faults(name, request, limit, item))


# -- ResourceQuota -----------------------------------------------------------------------------------------------------


def _applies(quota: dict[str, Any]) -> bool:
    spec = quota["spec"]
    return not spec.get("scopeSelector") and set(spec.get("scopes") or []) <= _SCOPES


def quota_findings(
    namespace: str, demand: Demand, quotas: Iterable[dict[str, Any]], limit_ranges: list[dict[str, Any]]
) -> list[Finding]:
    """Findings about quotas of a namespace that have too little left, or want figures that the pods do not have."""
    found = []
    wanted = [pods for pods in demand.pods if pods.namespace == namespace and pods.missing]
    specs = [(pods, with_defaults(pods.spec, limit_ranges)) for pods in wanted]
    for quota in filter(_applies, quotas):
        status = quota.get("status") or {}
        hard, used = status.get("hard") or quota["spec"].get("hard") or {}, status.get("used") or {}
        about = f"ResourceQuota {namespace}/{quota['metadata']['name']}"
        found += _unnamed(about, specs, hard)
        for name, most in hard.items():
            if name in _COMPUTE:
                need = sum((_sum(spec, *_COMPUTE[name]) * pods.missing for pods, spec in specs), Decimal(0))
            else:
                need = Decimal(demand.counts.get(namespace, {}).get(_COUNTED.get(name, ""), 0))
            left = quantity(most) - quantity(used.get(name))
            if need > max(left, Decimal(0)):
                message = (
                    f"has {amount(name, max(left, Decimal(0)))} of {most} left for {name}, but "
                    f"this run needs {amount(name, need)}."
                )
                fix = "Raise the quota, or lower the requests in istio_helm_values."
                found.append(Finding("quota-exceeded", about, message, fix))
    return found


def _unnamed(about: str, specs: list[tuple[Pods, dict[str, Any]]], hard: dict[str, Any]) -> Iterator[Finding]:
    """A quota on a figure refuses pods of which one container does not name it."""
    for pods, spec in specs:
        lacking: dict[str, list[str]] = {}
        for figure, name in dict.fromkeys(_COMPUTE[key] for key in hard if key in _COMPUTE):
            for container in _containers(spec):
                if name not in _figures(container, figure):
                    lacking.setdefault(container["name"], []).append(f"{figure}.{name}")
        if lacking:
            words = "; ".join(
                f"container {container} has no {', '.join(names)}" for container, names in lacking.items()
            )
            message = f"rejects the pods of {pods.name}: {words}."
            fix = "Set them in istio_helm_values, or add a LimitRange with defaults to the namespace."
            yield Finding("quota-needs-figures", about, message, fix)
