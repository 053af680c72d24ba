# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ports on which pods of an adopted gateway listen stay what they are. Pure.

istioctl's gateways listen on 8080 and 8443, the gateway chart's on 80 and 443. Istiod tells every pod of a gateway to
listen where the Service leads to, but istioctl's pods may not open the low ports: were the Service changed, nobody
would answer until the first of the new pods is ready.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.mesh.composition import Release

#: Port of the Service -> where istioctl's gateways listen for it.
ISTIOCTL_LISTENS = {80: 8080, 443: 8443}


def ports_kept(release: Release, service: dict[str, Any] | None) -> Release:
    """A gateway's release whose Service leads to istioctl's ports where the live one does.

    :arg service: the live Service; None where there is none
    """
    live = {port.get("port"): port.get("targetPort") for port in ((service or {}).get("spec") or {}).get("ports") or []}
    values = copy.deepcopy(release.values)
    for port in (values.get("service") or {}).get("ports") or []:
        listens = ISTIOCTL_LISTENS.get(port["port"])
        if listens and live.get(port["port"]) == listens and port.get("targetPort") == port["port"]:
            port["targetPort"] = listens
    return replace(release, values=values)
