# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of another installer made a release's own, field by field, before helm applies.

What the job calls: ``adopt(cluster, live)`` for each object that the release takes over, right before
``helm upgrade --take-ownership``. Without it Helm 4 stops at the fields that ``istio-operator`` holds (istio#59630), or
leaves behind what its chart does not have. It changes no field of the object but ``managedFields``.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import JSON_PATCH, Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.field_managers import (
    HandedOver,
    by_installers,
    entries,
    handed_over,
)
from ansible_collections.meshops.istio.plugins.module_utils.cluster.manifests import refused
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import reference
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm.owner import HELM_MANAGER

#: Attempts until an object that changes all the time is given up.
TRIES = 5


def adopt(
    cluster: Cluster, live: dict[str, Any], manager: str = HELM_MANAGER, which: HandedOver = by_installers
) -> bool:
    """Let a manager hold as applied what installers hold of an object.

    :arg live: the object with its ``managedFields``, as read
    :arg which: the entries of ``managedFields`` that are handed over
    :returns: whether there was anything to hand over
    :raises JobError: the server refuses it, or the object never stays the same for a moment
    """
    for _attempt in range(TRIES):
        managed = entries(live)
        after = handed_over(managed, which, manager)
        if after == managed:
            return False
        meta = live["metadata"]
        # The version is replaced, not tested: that is refused as a conflict (409), a failed test as an invalid request.
        patch = [
            {"op": "replace", "path": "/metadata/managedFields", "value": after},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
        ]
        try:
            cluster.patch(live, patch, JSON_PATCH, manager=manager)
        except ApiError as error:
            if error.status != 409:
                raise refused(live, error) from error
            found = cluster.get(live["apiVersion"], live["kind"], meta["name"], meta.get("namespace"))
            if found is None:
                return False
            live = {**found, "apiVersion": live["apiVersion"], "kind": live["kind"]}
        else:
            return True
    raise JobError(
        f"was changed by another client during each of {TRIES} attempts to adopt it.",
        object=reference(live),
        fix="Stop the client that keeps changing it (a GitOps controller, an operator), and run again.",
    )
