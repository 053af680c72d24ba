# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node ports that releases pin, and that other Services hold."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout, JobErrors
from ansible_collections.meshops.istio.plugins.module_utils.exposure import node_ports
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition, gateways


def refuse_taken_ports(cluster: Cluster, releases: Iterable[composition.Release]) -> None:
    """Stop while nothing is written yet: helm would say only that a port is allocated already (istio#10795).

    Reads Services only where a port is pinned. Ports that nobody is seen to hold are asked for by a dry run.

    :arg releases: those that are about to be written
    :raises JobError: names each port that another Service holds, the Service, and the fix
    """
    wanted = composition.node_ports(releases)
    if not wanted:
        return
    try:
        held = node_ports.holders(cluster.list("v1", "Service"))
    except ApiError as error:
        if error.status != 403:
            raise
        held = {}
    # Which range the cluster has, only a real create tells for certain, and helm's error then names it.
    found, unsure = node_ports.findings(wanted, held, range(1, 65536))
    asked = in_parallel(lambda port: _asked(cluster, port), unsure)
    found += [finding for findings in asked for finding in findings]
    if found:
        taken = [
            ErrorAbout(finding.message, object=finding.object, fix=finding.fix, code=finding.code) for finding in found
        ]
        raise JobErrors(taken, lead="Node ports are already in use; nothing was changed: ", between=" ")


def _asked(cluster: Cluster, port: gateways.NodePort) -> list[Finding]:
    try:
        cluster.create(node_ports.probe(port), dry_run=True)
    except ApiError as error:
        return node_ports.refused(port, error.message)
    return []
