# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields that a controller sets and goes on setting, whatever a chart says: no change, no drift, no conflict. Pure.

Who holds a field now decides, not its name: a ``failurePolicy`` that somebody has edited is told as any other field.
What the job calls: nothing; ``preview`` does. A test that compares snapshots of a cluster takes ``visible``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_managers import Entry, entries
from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_sets import (
    FieldPath,
    field,
    item,
    named,
    paths,
    value_at,
    without,
)

_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
#: Under this name istiod updates, at all versions: its program's.
_ISTIOD = ("pilot-discovery",)


def _always(live: Any, wanted: Any) -> bool:
    return True


def _closed_by_istiod(live: Any, wanted: Any) -> bool:
    """Charts let validators fail open until istiod is there; it closes them, and does so again."""
    return live == "Fail" and wanted in (None, "Ignore", "Fail")


def _only_adds(live: Any, wanted: Any) -> bool:
    """Whether a selector is the wanted one with more expressions; one that the chart changes is no controller's."""
    live, wanted = live or {}, wanted or {}
    rest = {key: value for key, value in wanted.items() if key != "matchExpressions"}
    expressions = live.get("matchExpressions") or []
    return all(expression in expressions for expression in wanted.get("matchExpressions") or []) and rest == {
        key: value for key, value in live.items() if key != "matchExpressions"
    }


class ControllerField(NamedTuple):
    """A field of some kinds that a controller holds.

    :ivar tuple path: names of fields, ``*`` for an item of a list
    :ivar tuple managers: as which the controller holds it
    :ivar str subresource: by which it was written
    :ivar settled: whether the live value, beside the one that is wanted, is the controller's doing
    :ivar str why: for the user whose field is taken over
    """

    kinds: tuple[str, ...]
    path: tuple[str, ...]
    managers: tuple[str, ...]
    why: str
    settled: Callable[[Any, Any], bool] = _always
    subresource: str = ""


#: (threads: istio#57643, argo-cd#25447 and istio#59367; istio#60497; k3s-io/helm-controller#343)
CONTROLLER_FIELDS: tuple[ControllerField, ...] = (
    ControllerField(
        _WEBHOOKS,
        ("webhooks", "*", "clientConfig", "caBundle"),
        (*_ISTIOD, "cert-manager-cainjector", "cainjector"),
        "istiod, or cert-manager, writes its CA again",
    ),
    ControllerField(
        ("ValidatingWebhookConfiguration",),
        ("webhooks", "*", "failurePolicy"),
        _ISTIOD,
        "istiod closes its validators again when it is ready",
        _closed_by_istiod,
    ),
    ControllerField(
        _WEBHOOKS,
        ("webhooks", "*", "namespaceSelector"),
        ("admissionsenforcer",),
        "AKS keeps webhooks out of its own namespaces again",
        _only_adds,
    ),
    ControllerField(
        ("Deployment", "StatefulSet"),
        ("spec", "replicas"),
        ("kube-controller-manager",),
        "the HorizontalPodAutoscaler scales again",
        subresource="scale",
    ),
    ControllerField(
        ("Deployment",),
        ("metadata", "annotations", "deployment.kubernetes.io/revision"),
        ("kube-controller-manager",),
        "the Deployment's controller counts its own revisions",
    ),
)

#: What the API server chooses for a Service that does not say: another dry run may choose otherwise.
_ALLOCATED = tuple((field("spec"), field(name)) for name in ("clusterIP", "clusterIPs", "healthCheckNodePort"))


def controlled(
    live: dict[str, Any] | None, wanted: dict[str, Any] | None = None, released: Iterable[tuple[str, str, str]] = ()
) -> dict[FieldPath, tuple[str, str]]:
    """The fields of a live object that a controller holds: the manager, and why that is no concern of a release.

    :arg wanted: the object as it is wanted, where it is
    :arg released: (namespace, kind, name) of what an autoscaler scaled that goes away: nobody sets its replicas again
    """
    if not live:
        return {}
    meta = live["metadata"]
    free = (meta.get("namespace") or "", live["kind"], meta["name"]) in released
    found: dict[FieldPath, tuple[str, str]] = {}
    for rule in CONTROLLER_FIELDS:
        if live["kind"] not in rule.kinds or (free and rule.subresource == "scale"):
            continue
        for entry in entries(live):
            if not _is_by(entry, rule):
                continue
            for path in paths(entry.get("fieldsV1") or {}):
                if _matches(path, rule.path) and rule.settled(value_at(live, path), value_at(wanted, path)):
                    found[path] = (entry["manager"], rule.why)
    return found


def _is_by(entry: Entry, rule: ControllerField) -> bool:
    subresource = entry.get("subresource") or ""
    return entry.get("manager") in rule.managers and (subresource == rule.subresource or not rule.subresource)


def _matches(path: FieldPath, names: tuple[str, ...]) -> bool:
    return len(path) == len(names) and all(
        name == "*" or step == field(name) for step, name in zip(path, names, strict=True)
    )


def controller_of(live: dict[str, Any], field: str, wanted: dict[str, Any]) -> str:
    """Why a field, as the API server names it, may be taken over from its controller; "" for all others."""
    return next((why for path, (_by, why) in controlled(live, wanted).items() if named(path) == field), "")


def allocated(before: dict[str, Any] | None, after: dict[str, Any], wanted: dict[str, Any]) -> list[FieldPath]:
    """What the API server alone has chosen in a Service: addresses and ports that are neither live nor wanted."""
    if after.get("kind") != "Service":
        return []
    ports = (after.get("spec") or {}).get("ports") or []
    places = [
        *_ALLOCATED,
        *((field("spec"), field("ports"), _port_key(port), field("nodePort")) for port in ports),
    ]
    return [
        path
        for path in places
        if value_at(wanted, path) is None and value_at(before, path) is None and value_at(after, path) is not None
    ]


def _port_key(port: dict[str, Any]) -> str:
    return item({"port": port["port"], "protocol": port.get("protocol", "TCP")})


def visible(
    obj: dict[str, Any] | None, wanted: dict[str, Any] | None = None, hidden: Iterable[FieldPath] = ()
) -> dict[str, Any] | None:
    """A copy of an object without the fields that its controllers hold.

    :arg hidden: further fields
    """
    return without(obj, [*controlled(obj, wanted), *hidden]) if obj else obj
