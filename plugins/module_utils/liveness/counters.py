# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many answers of 200 proxies have counted themselves: a request that passed one made its counter grow.

What the job calls::

    before = counters.read(cluster, pods, counters.SIDECAR)
    ...
    counters.read(cluster, pods, counters.SIDECAR).since(before)

Istio's own metric is taken where telemetry is on, else Envoy's of its HTTP connections, which the proxies keep where
their annotation ``proxy.istio.io/config`` asks for it
(https://istio.io/latest/docs/ops/configuration/telemetry/envoy-stats). Both come from port 15090 of the pod, through
the API server's proxy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

PORT = 15090
#: All that proxies keep is megabytes in a large mesh.
_FILTER = "usedonly&filter=istio_requests_total%7Cdownstream_rq_2xx"
TIMEOUT = 5.0  # seconds


class Family(NamedTuple):
    """A metric, and labels that a sample of it must have; of a value, how it begins."""

    name: str
    labels: dict[str, str]


#: What counts answers that a proxy has sent, best first.
GATEWAY = (
    Family("istio_requests_total", {"reporter": "source", "response_code": "200"}),
    Family("envoy_http_downstream_rq", {"response_code_class": "2xx", "http_conn_manager_prefix": "outbound_"}),
)
SIDECAR = (
    Family("istio_requests_total", {"reporter": "destination", "response_code": "200"}),
    Family("envoy_http_downstream_rq", {"response_code_class": "2xx", "http_conn_manager_prefix": "inbound_"}),
)

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\{(?P<labels>.*)\} (?P<value>[0-9.eE+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(?<![a-zA-Z0-9_])([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Counted:
    """What proxies have counted, all their pods together.

    :ivar dict by: metric -> answers of 200 or, of Envoy's own, of 2xx
    :ivar str why_not: why nothing could be read; "" where it could
    """

    by: dict[str, float] = field(default_factory=dict)
    why_not: str = ""

    def since(self, before: Counted) -> dict[str, Any]:
        """How many there were meanwhile, by the first metric that has counted any; or why nobody can tell.

        :returns: ``metric`` and ``answers``; or ``unknown``, a sentence
        """
        if self.why_not or before.why_not:
            return {"unknown": self.why_not or before.why_not}
        if not self.by:
            return {"unknown": "its proxies export no request counter"}
        grown = {metric: int(value - before.by.get(metric, 0)) for metric, value in self.by.items()}
        metric = next((metric for metric, answers in grown.items() if answers > 0), next(iter(grown)))
        return {"metric": metric, "answers": grown[metric]}


def counted(text: str, families: tuple[Family, ...]) -> dict[str, float]:
    """What one proxy has counted, by metric; only metrics that are there.

    :arg text: in Prometheus' format (https://prometheus.io/docs/instrumenting/exposition_formats). Two metrics of it
        are wanted, for which a library would be one more to install on every control node
    """
    found: dict[str, float] = {}
    for family in families:
        for sample in _SAMPLE.finditer(text):
            if sample["name"] != family.name:
                continue
            labels = dict(_LABEL.findall(sample["labels"]))
            if all(labels.get(name, "").startswith(value) for name, value in family.labels.items()):
                found[family.name] = found.get(family.name, 0) + float(sample["value"])
    return found


def read(cluster: Cluster, pods: list[dict[str, Any]], families: tuple[Family, ...]) -> Counted:
    """What the proxies of some pods have counted so far. Not being able to is no error.

    :arg pods: those that run; of each, its metadata is looked at
    """
    if not pods:
        return Counted(why_not="it has no running pods")
    total: dict[str, float] = {}
    for status, text in in_parallel(lambda pod: _fetch(cluster, pod["metadata"]), pods):
        if status != 200:
            return Counted(why_not=text)
        for metric, value in counted(text, families).items():
            total[metric] = total.get(metric, 0) + value
    return Counted(total)


def _fetch(cluster: Cluster, meta: dict[str, Any]) -> tuple[int, str]:
    """Status and text; where the status is not 200, why."""
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}:{PORT}/proxy/stats/prometheus?{_FILTER}"
    try:
        status, _headers, body = cluster.fetch(path, {"Accept": "text/plain"}, TIMEOUT)
    except JobError as error:
        return 0, str(error)
    if status == 403:
        return status, "no permission to get pods/proxy (docs/rbac-counted.yml)"
    if status != 200:
        return status, f"pod {meta['namespace']}/{meta['name']} returned {status} on port {PORT}"
    return status, body.decode("utf-8", "replace")
