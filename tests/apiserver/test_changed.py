# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task has changed something if, and only if, it has written something: in the API server's own log.

Whether it goes well or fails, in check mode, for the first time and the second; of the jobs that need no helm to write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from harness.beds import BedCluster
from harness.in_process import options_of, run_job
from harness.playbooks import ROOT

from ansible_collections.meshops.istio.plugins.module_utils.jobs import crds, liveness, pod_security

NAMESPACE = "changed-app"
APP = {
    "manifests": [],
    "chart": str(ROOT / "roles/liveness_verify/files/liveness"),
    "namespace": NAMESPACE,
    "gateway": "nobodys",
    "gateway_namespace": "default",
    "wait_timeout": 2,
}
#: How the failure begins that comes after the app is applied.
UNPROVEN = "waiting for 3 consecutive 200 responses"
SECURITY = {"namespaces": [{"name": NAMESPACE}, {"name": "changed-shop"}]}


@pytest.fixture(scope="module")
def bed(today: BedCluster) -> Iterator[BedCluster]:
    """Yield an API server that serves Istio's kinds when the first test is through."""
    with today.gateway_without_pods("nobodys"):
        yield today
    today.kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", NAMESPACE, "changed-shop")
    named = today.kubectl("get", "customresourcedefinitions", "--output=name").split()
    today.kubectl("delete", "--wait=false", "--ignore-not-found", *(name for name in named if "istio.io" in name))


def run(bed: BedCluster, job: Any, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run a job, and hold what it says against what it did. :returns: its result"""
    known = {**options_of(bed.variables), **options}
    with bed.asked() as asked:
        result, _task = run_job(job, {name: known[name] for name in known if name in job.ARGUMENT_SPEC}, check)
    if check:
        assert asked.writes == []
    else:
        assert result["changed"] is bool(asked.writes), (result, asked.writes)
        assert len(result.get("objects", [])) == len(asked.writes)
    return result


#: What is done one after the other, whether it fails, and the beginnings of what it changes.
STEPS: dict[str, tuple[Any, dict[str, Any], str, list[str]]] = {
    "definitions": (crds, {}, "", ["CustomResourceDefinition"]),
    "an app whose gateway has no pods": (
        liveness,
        APP,
        UNPROVEN,
        [f"Namespace {NAMESPACE}", f"VirtualService {NAMESPACE}/liveness", f"Deployment {NAMESPACE}/liveness"],
    ),
    "an app with other arguments": (
        liveness,
        {**APP, "chart_values": {"args": ["netexec", "--http-port=8080", "--udp-port=-1"]}},
        UNPROVEN,
        [f"Deployment {NAMESPACE}/liveness"],
    ),
    "labels of pod security": (pod_security, SECURITY, "", [f"Namespace {NAMESPACE}", "Namespace changed-shop"]),
    "the app goes": (liveness, {**APP, "state": "absent"}, "", [f"VirtualService {NAMESPACE}/liveness"]),
    "the labels go": (pod_security, {**SECURITY, "state": "absent"}, "", [f"Namespace {NAMESPACE}"]),
}


@pytest.mark.parametrize("name", STEPS)
def test_changed_is_what_was_written(name: str, bed: BedCluster) -> None:
    """Announced without a write, done, and done with."""
    job, options, fault, some = STEPS[name]
    announced = run(bed, job, check=True, **options)
    assert announced["changed"] is True
    done = run(bed, job, **options)
    assert done.get("msg", "").startswith(fault)
    assert bool(done.get("failed")) is bool(fault)
    assert [what for what in some if not any(each.startswith(what) for each in done["objects"])] == []
    assert sorted(done["objects"]) == sorted(announced["objects"])
    again = run(bed, job, **options)
    assert again["changed"] is False
    assert again.get("msg", "").startswith(fault)


def test_a_write_that_is_refused_after_others(bed: BedCluster) -> None:
    """What was written before is told; what was refused is not."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    wrong = {**service, "metadata": {"name": "wrong"}, "spec": {"ports": [{"port": 0}]}}
    result, _task = run_job(
        liveness,
        {
            **{name: options_of(bed.variables)[name] for name in ("kubeconfig", "context")},
            "manifests": [service, wrong],
            **{name: APP[name] for name in ("namespace", "gateway", "gateway_namespace", "wait_timeout")},
        },
    )
    assert result["msg"].startswith(f"Service {NAMESPACE}/wrong was rejected by the API server")
    assert (result["failed"], result["changed"]) == (True, True)
    assert set(result["objects"]) - {f"Namespace {NAMESPACE}"} == {f"Service {NAMESPACE}/web"}
    bed.kubectl("delete", "service/web", f"--namespace={NAMESPACE}", "--ignore-not-found")
