# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy's counter tells whether requests passed it; that nobody can tell is no failure."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.liveness.counters import (
    GATEWAY,
    SIDECAR,
    Counted,
    counted,
    read,
)

#: As proxies of Istio 1.31 print them, telemetry on and off.
ISTIOS = """\
# TYPE istio_requests_total counter
istio_requests_total{reporter="destination",source_workload="in",request_protocol="http",response_code="200",a="x\\"},{"} 3
istio_requests_total{reporter="destination",source_workload="other",request_protocol="http",response_code="200"} 1e+01
istio_requests_total{reporter="destination",source_workload="in",request_protocol="http",response_code="503"} 5
istio_requests_total{reporter="source",source_workload="in",request_protocol="http",response_code="200"} 7
"""  # noqa: E501
ENVOYS = """\
# TYPE envoy_http_downstream_rq counter
envoy_http_downstream_rq{response_code_class="2xx",http_conn_manager_prefix="inbound_0.0.0.0_8080"} 4
envoy_http_downstream_rq{response_code_class="5xx",http_conn_manager_prefix="inbound_0.0.0.0_8080"} 9
envoy_http_downstream_rq{response_code_class="2xx",http_conn_manager_prefix="outbound_0.0.0.0_80"} 6
envoy_http_downstream_rq_completed{http_conn_manager_prefix="inbound_0.0.0.0_8080"} 99
"""
PODS = [{"metadata": {"name": name, "namespace": "shop"}} for name in ("a", "b")]


@pytest.mark.parametrize(
    ("text", "gateway", "sidecar"),
    [
        (ISTIOS, {"istio_requests_total": 7}, {"istio_requests_total": 13}),
        (ENVOYS, {"envoy_http_downstream_rq": 6}, {"envoy_http_downstream_rq": 4}),
        ("", {}, {}),
        ("nonsense{ 3\n", {}, {}),
    ],
)
def test_samples(text: str, gateway: dict[str, float], sidecar: dict[str, float]) -> None:
    """Only those of the right direction and answer, whatever other labels hold."""
    assert counted(text, GATEWAY) == gateway
    assert counted(text, SIDECAR) == sidecar


class Cluster:
    """Its proxies answer in turn."""

    def __init__(self, *answers: tuple[int, str] | JobError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def fetch(self, path: str, _headers: dict[str, str], _timeout: float) -> tuple[int, dict[str, str], bytes]:
        """One answer."""
        self.asked.append(path)
        answer = self.answers.pop(0)
        if isinstance(answer, JobError):
            raise answer
        return answer[0], {}, answer[1].encode()


def test_pods_are_taken_together() -> None:
    """Whichever of them got the request."""
    cluster: Any = Cluster((200, ENVOYS), (200, ENVOYS))
    assert read(cluster, PODS, SIDECAR) == Counted({"envoy_http_downstream_rq": 8})
    assert sorted(path.partition("?")[0] for path in cluster.asked) == [
        f"/api/v1/namespaces/shop/pods/{name}:15090/proxy/stats/prometheus" for name in ("a", "b")
    ]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((403, "{}"), "no permission to get pods/proxy (docs/rbac-counted.yml)"),
        ((503, "no"), "pod shop/a returned 503 on port 15090"),
        (JobError("The API server does not answer."), "The API server does not answer."),
    ],
)
def test_not_to_be_read(answer: Any, why: str) -> None:
    """Says why, and fails nothing."""
    cluster: Any = Cluster(answer)
    found = read(cluster, PODS[:1], SIDECAR)
    assert found == Counted(why_not=why)
    assert Counted({"a": 1}).since(found) == found.since(Counted()) == {"unknown": why}


def test_no_pods() -> None:
    """Nobody was asked."""
    cluster: Any = Cluster()
    assert read(cluster, [], SIDECAR).why_not == "it has no running pods"


@pytest.mark.parametrize(
    ("before", "after", "since"),
    [
        ({"one": 4}, {"one": 7}, {"metric": "one", "answers": 3}),
        ({}, {"one": 7}, {"metric": "one", "answers": 7}),
        ({"one": 4, "two": 1}, {"one": 4, "two": 3}, {"metric": "two", "answers": 2}),
        ({"one": 4}, {"one": 4}, {"metric": "one", "answers": 0}),
        ({}, {}, {"unknown": "its proxies export no request counter"}),
    ],
)
def test_since(before: dict[str, float], after: dict[str, float], since: dict[str, Any]) -> None:
    """By the first metric that has grown: one may be there, and be fed no more."""
    assert Counted(after).since(Counted(before)) == since
