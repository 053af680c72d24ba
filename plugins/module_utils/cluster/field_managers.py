# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds which field of an object, as ``metadata.managedFields`` and the API server's conflicts tell. Pure.

What the job calls: ``conflicts`` come with a plan (``preview``), and each says by ``controller`` and ``adoptable``
whether it may be taken over.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_sets import (
    FieldPath,
    union,
    unwanted,
)
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import reference

Entry = dict  # of managedFields

APPLY, UPDATE = "Apply", "Update"

#: Installers by the manager and operation under which they write whole objects: when a release adopts such an object,
#: these fields become Helm's, so that what its chart does not have goes away. Of kubectl, those that write whole
#: objects; what somebody has set by `kubectl label`, `edit`, `patch` or `scale` stays.
INSTALLERS: frozenset[tuple[str, str]] = frozenset(
    {
        ("istio-operator", APPLY),  # istioctl install, and Istio's operator of old
        ("istio-operator", UPDATE),
        ("istioctl", UPDATE),  # its tag "default" takes the place of the injector's own selectors
        ("kubectl", APPLY),  # kubectl apply --server-side
        ("kubectl-client-side-apply", UPDATE),
        ("kubectl-client-side-apply", APPLY),
        ("kubectl-create", UPDATE),
        ("kubectl-replace", UPDATE),
        ("before-first-apply", UPDATE),  # what was there before the first server-side apply
    }
)

#: `conflict with "kubectl" with subresource "scale" using apps/v1 at 2026-11-22T18:50:00Z`; an apply has no version.
_CONFLICT = re.compile(
    r'^conflict with (?P<manager>"(?:[^"\\]|\\.)*")(?: with subresource (?P<subresource>"[^"]*"))?(?P<update> using )?'
)


@dataclass(frozen=True)
class Conflict:
    """A field that helm would set, and that another manager holds with another value: helm 4 stops there.

    :ivar str object: as people name it
    :ivar str field: as the API server names it: ``.webhooks[name="a"].failurePolicy``
    :ivar str operation: by which the manager holds it
    :ivar str controller: why it may be taken over without a question: the manager is a controller that sets it again,
        or tolerates; "" for all others
    """

    object: str
    field: str
    manager: str
    operation: str = UPDATE
    subresource: str = ""
    controller: str = ""

    @property
    def adoptable(self) -> bool:
        """Whether who adopts the object takes this field over: it is an installer's, or was set by hand by kubectl."""
        return (self.manager, self.operation) in INSTALLERS or self.manager.partition("-")[0] == "kubectl"

    def __str__(self) -> str:
        return f"{self.object}: {self.field} is owned by {self.manager}"


def conflicts(obj: dict[str, Any], error: ApiError) -> list[Conflict]:
    """What a server-side apply without force ran into.

    :arg obj: the object applied
    :arg error: the answer, with status 409
    """
    found = []
    for cause in error.details.get("causes") or []:
        match = _CONFLICT.match(cause.get("message", ""))
        if cause.get("reason") == "FieldManagerConflict" and match:
            operation, subresource = UPDATE if match["update"] else APPLY, json.loads(match["subresource"] or '""')
            field = cause.get("field", "")
            found.append(Conflict(reference(obj), field, json.loads(match["manager"]), operation, subresource))
    return found


def entries(obj: dict[str, Any] | None) -> list[Entry]:
    """The entries of an object's ``managedFields``."""
    return ((obj or {}).get("metadata") or {}).get("managedFields") or []


# -- handing fields over -----------------------------------------------------------------------------------------------

HandedOver = Callable[[Entry], bool]


def by_installers(entry: Entry) -> bool:
    """Whether an entry of ``managedFields`` is an installer's."""
    return (entry.get("manager"), entry.get("operation")) in INSTALLERS and not entry.get("subresource")


def by_updates_of(manager: str) -> HandedOver:
    """Entries of a manager that updated where it applies now, as helm before 4 did."""
    return lambda entry: (
        (entry.get("manager"), entry.get("operation")) == (manager, UPDATE) and not entry.get("subresource")
    )


def handed_over(managed: list[Entry], which: HandedOver, manager: str) -> list[Entry]:
    """``managedFields`` in which what some entries held is what a manager applied, as ``csaupgrade`` of client-go does.

    Fields held for another version of the API cannot be told in this one: there only the manager is forgotten.

    :arg which: entries that are handed over
    :returns: the same list where there are none
    """
    given = [entry for entry in managed if which(entry)]
    if not given:
        return managed
    own = next((entry for entry in managed if _applied_by(entry, manager)), None)
    target = copy.deepcopy(own or {**given[0], "manager": manager, "operation": APPLY})
    for entry in given:
        if entry.get("apiVersion") == target.get("apiVersion"):
            target["fieldsV1"] = union(target.get("fieldsV1") or {}, entry.get("fieldsV1") or {})
    rest = [entry for entry in managed if not which(entry) and not _applied_by(entry, manager)]
    return [target, *rest]


def _applied_by(entry: Entry, manager: str) -> bool:
    return (entry.get("manager"), entry.get("operation")) == (manager, APPLY) and not entry.get("subresource")


def orphaned(live: dict[str, Any], which: HandedOver, wanted: dict[str, Any]) -> list[FieldPath]:
    """What an object loses when its adopter applies: held by those that hand over, wanted no more, held by no other."""
    others = [entry.get("fieldsV1") or {} for entry in entries(live) if not which(entry)]
    found: list[FieldPath] = []
    for entry in filter(which, entries(live)):
        found += unwanted(entry.get("fieldsV1") or {}, wanted, others)
    return list(dict.fromkeys(found))
