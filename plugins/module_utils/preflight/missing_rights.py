# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What these credentials are not allowed to do, though this run needs it, asked by access reviews."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.mesh.components import GATEWAY
from ansible_collections.meshops.istio.plugins.module_utils.mesh.composition import Release
from ansible_collections.meshops.istio.plugins.module_utils.preflight import rights


@dataclass(frozen=True)
class Wanted:
    """What a run is about to do, as far as rights depend on it.

    :ivar list control_plane: namespaces of Istio and its gateways
    :ivar list applications: namespaces of applications
    :ivar rendered: the objects that helm makes of a release
    :ivar str mechanism: of pod security; empty where it is not known
    :ivar list features: keys of ``rights.FILE_OF``
    """

    control_plane: list[str]
    applications: list[str]
    releases: list[Release]
    rendered: Callable[[Release], list[dict[str, Any]]]
    mechanism: str
    features: list[str]


def findings(cluster: Cluster, wanted: Wanted) -> list[Finding]:
    """One finding for each resource and namespace of which a verb is not allowed."""
    if cluster.may({"verb": "*", "group": "*", "resource": "*"}):
        return []
    components = {release.component: release.namespace for release in wanted.releases}
    further = [*_handed_on(cluster, wanted), *rights.of_components(components, wanted.mechanism)]
    for release in filter(_is_on_nodes, wanted.releases):
        components[rights.GATEWAY_ON_NODES] = release.namespace
        further += rights.of_components({rights.GATEWAY_ON_NODES: release.namespace})
    asked = rights.reviews(wanted.control_plane, wanted.applications, further, wanted.mechanism, wanted.features)
    allowed = in_parallel(cluster.may, asked)
    refused = [attributes for attributes, may in zip(asked, allowed, strict=True) if not may]
    files = _files(components, wanted)
    return [
        Finding(
            "right-missing",
            f"{', '.join(verbs)} {resource}",
            f"is not allowed {f'in namespace {namespace}' if namespace else 'at the cluster scope'}.",
            f"Bind the roles in {files} to this user, or use other credentials.",
        )
        for (resource, namespace), verbs in rights.grouped(refused).items()
    ]


def _is_on_nodes(release: Release) -> bool:
    """Whether a gateway's chart is told to have a pod on each node."""
    return release.part == GATEWAY and release.values.get("kind") == "DaemonSet"


def _files(components: dict[str, str], wanted: Wanted) -> str:
    """The pages that hold the roles."""
    own_files = (rights.FILE_OF_COMPONENT.get(component) for component in components)
    names = ("docs/rbac.yml", *map(rights.FILE_OF.get, (wanted.mechanism, *wanted.features)), *own_files)
    return " and ".join(dict.fromkeys(filter(None, names)))


def _handed_on(cluster: Cluster, wanted: Wanted) -> Iterator[dict[str, str]]:
    """What the charts' own roles allow: Kubernetes lets only those create a role who hold what is in it.

    Nothing for a user who may create any role.
    """
    if all(in_parallel(cluster.may, rights.ANY_ROLE)):
        return
    for release in wanted.releases:
        for role in wanted.rendered(release):
            if role["kind"] in ("ClusterRole", "Role"):
                namespace = role["metadata"].get("namespace") or release.namespace
                yield from rights.of_rules(role.get("rules") or [], namespace if role["kind"] == "Role" else "")
