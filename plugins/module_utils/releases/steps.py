# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done about each release, and why, from what is wanted and what Helm has stored. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import go_yaml
from ansible_collections.meshops.istio.plugins.module_utils.cluster.manifests import Change
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import changed_fields, reference
from ansible_collections.meshops.istio.plugins.module_utils.helm import charts, storage
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition


@dataclass
class Step:
    """What is to be done about one release, and why.

    :ivar str action: ``none``, ``install``, ``upgrade``, ``restore`` (objects are missing), ``repair`` (fields have
        drifted) or ``recover`` (left pending)
    :ivar list reasons: in a few words each
    :ivar list drift: fields that somebody has changed since helm wrote them, in words
    :ivar list changes: what helm will do to each object, where that was looked at
    :ivar list rendered: the objects that helm will write, where that was looked at
    :ivar list adopted: live objects of others that become the release's
    :ivar list set_back: objects that have drifted, of which helm's merge would leave something as it is
    :ivar bool forces: whether fields that others hold are taken over from them
    :ivar bool is_doubtful: whether it is upgraded only because its chart is another, of which helm may make the same
    """

    release: composition.Release
    chart: charts.Chart
    stored: storage.Stored | None
    action: str
    reasons: list[str] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    rendered: list[dict[str, Any]] = field(default_factory=list)
    adopted: list[dict[str, Any]] = field(default_factory=list)
    set_back: list[dict[str, Any]] = field(default_factory=list)
    forces: bool = False
    is_doubtful: bool = False

    @property
    def is_first(self) -> bool:
        """Whether helm will record a first revision."""
        return self.action == "install" or (self.action == "recover" and self.stored.revision == 1)

    @property
    def version(self) -> tuple[str, int]:
        """What an examination of this step holds for: another run may have come between."""
        return self.action, self.stored.revision if self.stored else 0

    def result(self) -> dict[str, Any]:
        """For the task's result."""
        return {
            "name": self.release.name,
            "namespace": self.release.namespace,
            "chart": self.release.chart.name,
            "chart_version": str(self.chart.metadata["version"]),
            "action": self.action,
            "reasons": self.reasons,
            "drift": self.drift,
            "objects": [f"{change.verb} {reference(change.wanted)}" for change in self.changes],
        }

    def diff(self) -> list[dict[str, Any]]:
        """Chart version and values before and after, then each object; ``job.perform`` hides the secrets in them."""
        before = self.stored and {"chart_version": self.stored.chart_version, "values": self.stored.values}
        release = {
            "before": before or "",
            "after": {"chart_version": str(self.chart.metadata["version"]), "values": self.release.values},
            "before_header": f"release {self.release.namespace}/{self.release.name}",
            "after_header": f"release {self.release.namespace}/{self.release.name} ({self.action})",
        }
        return [release, *(change.diff() for change in self.changes)]


def judge(release: composition.Release, chart: charts.Chart, stored: storage.Stored | None) -> Step:
    """What a release needs, from what is wanted and what Helm has stored."""
    if stored is None or stored.status == "uninstalled":
        return Step(release, chart, stored, "install", ["not installed"])
    if stored.status in storage.PENDING:
        return Step(release, chart, stored, "recover", [f"left in {stored.status} by an interrupted run"])
    reasons = []
    if stored.status != "deployed":
        reasons.append(f"status {stored.status}")
    differs = storage.chart_differs(stored, chart)
    if differs:
        reasons.append(differs.words)
    if go_yaml.canonical(stored.values) != go_yaml.canonical(release.values):
        reasons.append("values")
    is_doubtful = len(reasons) == 1 and differs is not None and not differs.is_certain
    return Step(release, chart, stored, "upgrade" if reasons else "none", reasons, is_doubtful=is_doubtful)


#: The API server counts here by itself how often a DaemonSet's pods have become others: nobody has changed it.
_COUNTED = 'metadata.annotations["deprecated.daemonset.template.generation"]'


def drift_words(changes: list[Change]) -> list[str]:
    """Which fields of which objects are not as helm wrote them."""
    fields = [[name for name in changed_fields(change.before, change.after) if name != _COUNTED] for change in changes]
    return [f"{reference(change.wanted)}: {', '.join(names)}" for change, names in zip(changes, fields, strict=True)]
