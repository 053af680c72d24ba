# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of a Helm release as helm writes them: what a chart renders to, or what a revision has stored.

What the job calls::

    wanted = rendered_objects(cluster, helm, chart, release, kube_version, is_upgrade=stored is not None, environment)
    before = stored_objects(cluster, stored)  # [] where there is no revision

Each object stands in its namespace and carries Helm's marks of ownership. Hooks are part of neither: Helm creates them
at some moments of an upgrade and does not count them among a release's objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Protocol

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.helm import chart_cache, charts
from ansible_collections.meshops.istio.plugins.module_utils.helm.charts import Chart
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm
from ansible_collections.meshops.istio.plugins.module_utils.helm.owner import owned_by_helm
from ansible_collections.meshops.istio.plugins.module_utils.helm.storage import Stored

_DEFINITION = "CustomResourceDefinition"
#: In a template: a look at the cluster, which a rendering without one answers with nothing.
_LOOKUP = re.compile(rb"\blookup\s+[\"$.(]")
#: In a template: a question for what the API server serves, and what it names.
_ASKS_FOR_API = re.compile(rb"\.APIVersions\.Has\b(?:\s+\"([^\"]+)\")?")


class Named(Protocol):
    """A release as it is wanted: ``mesh.Release`` is one."""

    name: str
    namespace: str
    values: dict[str, Any]


def rendered_objects(
    cluster: Cluster,
    helm: Helm,
    chart: Chart,
    release: Named,
    kube_version: str,
    is_upgrade: bool,
    environment: dict[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The objects that helm would write for a release; from the cache when nothing changed that they come from.

    :arg kube_version: the server's ``gitVersion`` with its suffix, by which charts know platforms
    :arg is_upgrade: whether helm will find a revision of the release
    :arg environment: of ``helm.credentials``, for charts that look at the cluster
    :raises JobError: helm cannot render the chart
    """
    asks_cluster = _in_templates(chart, _LOOKUP) and environment is not None
    api_versions = served(cluster, asked_api_versions(chart))

    def render() -> list[dict[str, Any]]:
        text = helm.template(
            release.name,
            release.namespace,
            chart.path,
            release.values,
            kube_version,
            hooks=False,
            is_upgrade=is_upgrade,
            api_versions=api_versions,
            environment=environment if asks_cluster else None,
        )
        return charts.documents(text)

    values = json.dumps(release.values, sort_keys=True)
    inputs = [helm.version, chart.digest, release.name, release.namespace, values, kube_version, str(is_upgrade)]
    found = render() if asks_cluster else chart_cache.cached(["rendered objects", *inputs, *api_versions], render)
    return as_written(cluster, found, release.name, release.namespace)


def stored_objects(cluster: Cluster, stored: Stored | None) -> list[dict[str, Any]]:
    """The objects that a revision has stored, as helm wrote them."""
    if stored is None:
        return []
    found = chart_cache.cached(["stored objects", stored.manifest], lambda: charts.documents(stored.manifest))
    return as_written(cluster, found, stored.name, stored.namespace)


def as_written(
    cluster: Cluster, documents: Iterable[dict[str, Any]], name: str, namespace: str
) -> list[dict[str, Any]]:
    """Rendered documents as helm writes them: in the release's namespace where they name none, and owned by it.

    A kind that a definition among them brings is known from there.
    """
    objects = list(documents)
    cluster.announce(obj for obj in objects if obj["kind"] == _DEFINITION and "versions" in obj["spec"])
    return [owned_by_helm(_placed(cluster, obj, namespace), name, namespace) for obj in objects]


def _placed(cluster: Cluster, obj: dict[str, Any], namespace: str) -> dict[str, Any]:
    """A chart may leave the namespace out where it is the release's own, and give one where there can be none."""
    meta = {key: value for key, value in obj["metadata"].items() if key != "namespace"}
    if cluster.namespaced(obj):
        meta["namespace"] = obj["metadata"].get("namespace") or namespace
    return {**obj, "metadata": meta}


# -- what a chart asks of the cluster ----------------------------------------------------------------------------------


def _in_templates(chart: Chart, pattern: re.Pattern[bytes]) -> list[re.Match[bytes]]:
    return [
        match
        for name, text in chart.files.items()
        if name.startswith("templates/") or "/templates/" in name
        for match in pattern.finditer(text)
    ]


def asked_api_versions(chart: Chart) -> list[str]:
    """Group versions and kinds that a chart's templates ask for by name, as ``monitoring.coreos.com/v1``."""
    return sorted({match[1].decode() for match in _in_templates(chart, _ASKS_FOR_API) if match[1]})


def served(cluster: Cluster, names: Iterable[str]) -> list[str]:
    """Which of some group versions (``GROUP/VERSION``) and kinds (``GROUP/VERSION/KIND``) the API server serves."""
    found = []
    for name in names:
        parts = name.split("/")
        kind = parts.pop() if parts[-1][:1].isupper() else None
        try:
            answer = cluster.request("GET", ("/apis/" if len(parts) > 1 else "/api/") + "/".join(parts))
        except ApiError as error:
            if error.status != 404:
                raise
            continue
        if kind is None or any(entry["kind"] == kind for entry in answer.get("resources") or []):
            found.append(name)
    return found
