# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report is written whole or not at all, asks the cluster no more than it must, and never fails a run."""

from __future__ import annotations

import json
import os
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from harness import report_samples as samples

from ansible_collections.meshops.istio.plugins.action.istio_report import ActionModule
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.task import Task
from ansible_collections.meshops.istio.plugins.plugin_utils.report import job, page, timeline

FILES = ["kvm.html", "kvm.json", "kvm.xml"]


class FakeCluster:
    """Serves the samples' pods, and notes what it is asked for."""

    asked: list[str]
    fault: Exception | None = None
    ahead = timedelta(0)

    def __init__(self, params: dict[str, Any], timeout: float) -> None:
        assert timeout <= 10

    def now(self) -> datetime:
        """The API server's clock."""
        return datetime.now(timezone.utc) - self.ahead

    def list(self, _version: str, kind: str, namespace: str) -> list[dict[str, Any]]:
        """Pods of a namespace."""
        assert kind == "Pod"
        self.asked.append(namespace)
        if self.fault:
            raise self.fault
        return [pod for pod in samples.PODS if pod["metadata"]["namespace"] == namespace]


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> type[FakeCluster]:
    """Return the class, which is fresh."""
    fresh = type("Fresh", (FakeCluster,), {"asked": []})
    monkeypatch.setattr(job, "Cluster", fresh)
    return fresh


def run(phases: dict[str, Any], directory: Path | str, check: bool = False, **more: Any) -> tuple[dict[str, Any], Task]:
    """Run the job. :returns: its result, and the task with its warnings"""
    given = {"phases": phases, "directory": str(directory), "name": "kvm", "namespaces": ["liveness"], **more}
    validated = ArgumentSpecValidator(job.ARGUMENT_SPEC).validate(given)
    assert not validated.error_messages
    task = Task(validated.validated_parameters, check_mode=check)
    return job.run(task), task


def listed(directory: Path) -> list[str]:
    """Names of all files."""
    return sorted(path.name for path in directory.iterdir())


def test_three_files(tmp_path: Path) -> None:
    """For everybody to read; the directory is made, and nothing else is left in it."""
    result, task = run(samples.GREEN, tmp_path / "a/b")
    assert listed(tmp_path / "a/b") == FILES
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a/b").iterdir()} == {0o644}
    assert result["files"] == {
        form: str(tmp_path / "a/b" / name) for form, name in zip(("html", "json", "junit"), FILES, strict=True)
    }
    assert result["msg"] == f"Report: {tmp_path}/a/b/kvm.html"
    assert json.loads((tmp_path / "a/b/kvm.json").read_text())["verdict"]["status"] == "proven"
    assert {"ansible-core", "python", "helm", "istio", "kubernetes"} == set(
        json.loads((tmp_path / "a/b/kvm.json").read_text())["versions"]
    )
    assert "changed" not in result
    assert task.warnings == []


def test_relative_directory_begins_where_ansible_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the path that is shown does not depend on where it is read."""
    monkeypatch.chdir(tmp_path)
    result, _task = run(samples.SECOND, "out")
    assert result["files"]["html"] == str(tmp_path / "out/kvm.html")


@pytest.mark.parametrize(
    ("name", "stem"), [("kvm.example.com", "kvm.example.com"), ("../../etc/x", "_.._etc_x"), ("..", "report")]
)
def test_name_is_no_path(name: str, stem: str, tmp_path: Path) -> None:
    """An inventory's host may be called anything."""
    run(samples.SECOND, tmp_path, name=name)
    assert f"{stem}.html" in listed(tmp_path)


def test_check_mode_writes_its_plan(tmp_path: Path, cluster: type[FakeCluster]) -> None:
    """It is what a check is made for; the cluster is not asked."""
    run(samples.CHECK, tmp_path, check=True)
    assert listed(tmp_path) == FILES
    assert cluster.asked == []


def test_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the summary then."""
    monkeypatch.chdir(tmp_path)
    result, task = run(samples.GREEN, "")
    assert (result["files"], listed(tmp_path)) == ({}, [])
    assert (result["summary"]["verdict"], result["summary"]["report"]) == ("proven", None)
    assert task.warnings == []


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A warning, which says how to have another; the summary is there."""
    (tmp_path / "file").write_text("")
    result, task = run(samples.GREEN, tmp_path / "file/below")
    assert result["files"] == {}
    assert result["summary"]["verdict"] == "proven"
    assert "istio_report_directory" in task.warnings[0]


def test_all_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full at the third leaves the report of the run before, whole."""
    run(samples.GREEN, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    opened = os.fdopen
    calls: list[int] = []

    def full(handle: int, mode: str) -> Any:
        calls.append(handle)
        if len(calls) == 3:
            os.close(handle)
            raise OSError(28, "No space left on device")
        return opened(handle, mode)

    monkeypatch.setattr(os, "fdopen", full)
    result, task = run(samples.FAILED, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert result["files"] == {}
    assert "No space left" in task.warnings[0]


def test_fault_of_ours_does_not_fail_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outcome is no matter of its report."""

    def broken(_model: dict[str, Any]) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(page, "render", broken)
    result, task = run(samples.GREEN, tmp_path)
    assert (result["files"], result["summary"]) == ({}, {})
    assert "ZeroDivisionError" in task.warnings[0]
    assert "failed" not in result


def test_pods_are_listed_once_a_namespace(tmp_path: Path, cluster: type[FakeCluster]) -> None:
    """Of the namespaces that were named, and of the releases."""
    run(samples.GREEN, tmp_path, namespaces=["liveness", "liveness"])
    assert sorted(cluster.asked) == ["istio-system", "liveness"]


@pytest.mark.parametrize(
    ("phases", "note"),
    [
        (samples.SECOND, "This run started no pods."),
        (samples.REFUSED, "This run did not reach a phase that starts pods."),
    ],
)
def test_run_that_started_no_pod_asks_for_none(
    phases: dict[str, Any], note: str, tmp_path: Path, cluster: type[FakeCluster]
) -> None:
    """A second run costs no request more, and a cluster that cannot be reached no minute."""
    run(phases, tmp_path)
    assert cluster.asked == []
    assert json.loads((tmp_path / "kvm.json").read_text())["pods_note"] == note


@pytest.mark.parametrize("fault", [JobError("no route"), ApiError(403, "Forbidden", "may not list pods")])
def test_pods_that_cannot_be_read(fault: Exception, tmp_path: Path, cluster: type[FakeCluster]) -> None:
    """Are missing, and the report says why."""
    cluster.fault = fault
    _result, task = run(samples.FAILED, tmp_path)
    assert json.loads((tmp_path / "kvm.json").read_text())["pods_note"] == f"The pods could not be listed: {fault}"
    assert task.warnings == []


def test_many_pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last ones are drawn, and how many more there are is said."""
    times = {"PodScheduled": "58", "Initialized": "58", "ContainersReady": "59", "Ready": "59"}
    many = [samples.pod(f"p{number}", "liveness", "57", **times) for number in range(70)]
    monkeypatch.setattr(samples, "PODS", many)
    run(samples.GREEN, tmp_path)
    report = json.loads((tmp_path / "kvm.json").read_text())
    assert len(report["pods"]) == job.MOST_PODS
    assert report["pods_note"] == "10 more pods became ready in this run."


@pytest.mark.parametrize("minutes", [-10, 10])
def test_clock_of_the_cluster(minutes: int, tmp_path: Path, cluster: type[FakeCluster]) -> None:
    """The pods' moments are set to the clock of this machine, on which the run's phases are."""
    run(samples.GREEN, tmp_path)
    before = json.loads((tmp_path / "kvm.json").read_text())["pods"]
    cluster.ahead = timedelta(minutes=minutes)
    moved = json.loads(json.dumps(samples.GREEN))
    for result in moved.values():
        if result.get("timing"):
            started = timeline.instant(result["timing"]["started"]) + cluster.ahead
            result["timing"]["started"] = started.isoformat()
    run(moved, tmp_path)
    after = json.loads((tmp_path / "kvm.json").read_text())["pods"]
    assert [pod["name"] for pod in after] == [pod["name"] for pod in before] != []
    moved_by = [
        timeline.instant(a["created"]) - timeline.instant(b["created"]) for a, b in zip(after, before, strict=True)
    ]
    assert all(abs(each - cluster.ahead) <= timedelta(seconds=1) for each in moved_by)


def test_planted_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In none of the files, nor in the summary: known ones, and those that only look like some."""
    secrets = {
        "key": "key-of-this-task",
        "environment": "password-of-the-environment",
        "kubeconfig": "token-of-the-kubeconfig",
        "url": "s3cr3t-in-a-url",
        "jwt": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl",
    }
    monkeypatch.setenv("K8S_AUTH_PASSWORD", secrets["environment"])
    text = " ".join(
        [secrets["key"], secrets["environment"], secrets["kubeconfig"], f"https://u:{secrets['url']}@x", secrets["jwt"]]
    )
    proof = {**samples.DIAGNOSED["liveness_verify"], "msg": text, "warnings": [text], "evidence": {text: {"a": [text]}}}
    proof["diagnosis"] = {"main": {"message": text, "evidence": [text]}, "findings": [{"object": text}]}
    kubeconfig = {"kind": "Config", "users": [{"name": "u", "user": {"token": secrets["kubeconfig"]}}]}
    result, _task = run(
        {**samples.GREEN, "liveness_verify": proof}, tmp_path, api_key=secrets["key"], kubeconfig=kubeconfig
    )
    seen = "".join(path.read_text() for path in tmp_path.iterdir()) + json.dumps(result)
    assert [name for name, secret in secrets.items() if secret in seen] == []
    assert "(hidden)" in seen


def test_hostile_texts_can_be_written(tmp_path: Path) -> None:
    """Lone surrogates too."""
    result, task = run(samples.hostile(), tmp_path)
    assert task.warnings == []
    assert list(result["files"]) == ["html", "json", "junit"]
    assert json.loads((tmp_path / "kvm.json").read_text())["cause"]


def test_action_never_leaves_the_controller() -> None:
    """The report is for whoever runs the playbook, whatever the hosts are."""
    assert ActionModule._runs_here(None) is True
