# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether helm would make something else of a release than it has stored, where only helm can tell.

A chart may differ from the stored one by a file that .helmignore keeps out, a subchart that is not enabled or a line in
its README; and what Helm stores of a chart with subcharts cannot be compared with it. Then helm is asked, by a dry run
on the server, and what it answered is remembered for this revision: a second run asks no more.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from ansible_collections.meshops.istio.plugins.module_utils.cluster import go_yaml
from ansible_collections.meshops.istio.plugins.module_utils.helm import chart_cache, charts
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm, HelmError
from ansible_collections.meshops.istio.plugins.module_utils.helm.storage import Stored


class Named(Protocol):
    """A release as it is wanted: ``mesh.Release`` is one."""

    name: str
    namespace: str
    values: dict[str, Any]


def is_unchanged(
    helm: Helm, release: Named, chart: charts.Chart, stored: Stored, environment: dict[str, str], kube_version: str
) -> bool:
    """Whether an upgrade would leave manifest, hooks and values of a revision as they are.

    :arg environment: of ``helm.credentials``
    :arg kube_version: the server's ``gitVersion``
    """
    revision = [stored.namespace, stored.name, str(stored.revision), stored.modified, *_content(stored)]
    inputs = [helm.version, chart.digest, go_yaml.canonical(release.values), kube_version]

    def ask() -> bool:
        try:
            answer = helm.dry_run(release.name, release.namespace, chart.path, release.values, environment)
        except HelmError:  # the upgrade says why, or what comes before it in this run makes it possible
            return False
        return not differences(stored, answer)

    return chart_cache.cached(["dry run", *revision, *inputs], ask)


def differences(stored: Stored, answer: dict[str, Any]) -> list[str]:
    """What is not as a revision has it, in a word each.

    :arg answer: the release document that helm would store
    """
    after = [answer.get("manifest") or "", _hooks(answer.get("hooks")), go_yaml.canonical(answer.get("config") or {})]
    after.append(go_yaml.canonical((answer.get("chart") or {}).get("values") or {}))
    words = ("manifest", "hooks", "values", "default values")
    return [word for word, one, other in zip(words, _content(stored), after, strict=False) if one != other]


def _content(stored: Stored) -> list[str]:
    """Manifest, hooks and values of a revision as text; the chart's own values last, where helm tells them."""
    content = [stored.manifest, _hooks(stored.hooks), go_yaml.canonical(stored.values)]
    if "values" in stored.chart:  # not where it keeps releases elsewhere than in secrets
        content.append(go_yaml.canonical(stored.chart["values"] or {}))
    return content


def _hooks(found: list[dict[str, Any]] | None) -> str:
    return json.dumps(sorted((hook["path"], hook["manifest"]) for hook in found or []))
