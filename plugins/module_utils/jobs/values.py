# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_values_info: which values there are, and which of them a run gives helm (the guide's inspect)."""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import go_yaml
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster, served_groups
from ansible_collections.meshops.istio.plugins.module_utils.helm import chart_lookup, charts
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm
from ansible_collections.meshops.istio.plugins.module_utils.helm.values import merged
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition, options
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import MeshOptions
from ansible_collections.meshops.istio.plugins.module_utils.secrets.hiding import hidden_throughout
from ansible_collections.meshops.istio.plugins.module_utils.task import Task, argument_spec

ARGUMENT_SPEC = argument_spec(options.MESH_ARGUMENT_SPEC)

#: Where Istio's charts keep their defaults, so that profiles can come between them and the user's values; users write
#: the same keys without it.
_WRAPPED = "_internal_defaults_do_not_set"


def defaults_of(chart: charts.Chart) -> dict[str, Any]:
    """A chart's default values, as a user would write them."""
    values = chart.default_values
    wrapped = values.get(_WRAPPED)
    return merged({key: value for key, value in values.items() if key != _WRAPPED}, wrapped or {})


def run(task: Task) -> dict[str, Any]:
    """Read the charts; the cluster only to find its platform.

    :raises JobError: options that contradict each other, or a chart that is missing
    """
    mesh = MeshOptions.of(task.params)
    composition.releases(mesh)  # names options that contradict each other before anything is read
    found = []
    for release in composition.releases(mesh.on_platform(lambda: served_groups(Cluster(task.params)))):
        chart = chart_lookup.find(lambda: Helm(task.params["helm_binary"]), release.chart)
        values = release.fitted(chart.accepted_values).values
        defaults = defaults_of(chart)
        entry = {
            "name": release.name,
            "namespace": release.namespace,
            "component": release.component,
            "chart": release.chart.name,
            "chart_version": str(chart.metadata["version"]),
            **hidden_throughout({"defaults": defaults, "user_supplied": values, "computed": merged(defaults, values)}),
        }
        found.append(entry)
        for line in _lines(entry):
            task.say(line)
    return {"changed": False, "releases": found}


def _lines(entry: dict[str, Any]) -> list[str]:
    """What a person reads: the values that a run gives helm, and all that apply with them."""
    title = f"# {entry['namespace']}/{entry['name']}: chart {entry['chart']} {entry['chart_version']}"
    document = {"user_supplied": entry["user_supplied"], "computed": entry["computed"]}
    return [title, *go_yaml.dump(document).splitlines()]
