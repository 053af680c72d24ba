# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's errors become a failed result, its options stand beside kubernetes.core's, and its secrets are known."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from harness.playbooks import ROOT

from ansible_collections.meshops.istio.plugins.module_utils import task
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError, Unreachable
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.manifests import Change, removal_diff
from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout, JobError, JobErrors
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import ChartReference, Source
from ansible_collections.meshops.istio.plugins.module_utils.helm.storage import Stored
from ansible_collections.meshops.istio.plugins.module_utils.jobs.runner import perform, secrets_of
from ansible_collections.meshops.istio.plugins.module_utils.mesh.composition import Release
from ansible_collections.meshops.istio.plugins.module_utils.releases.steps import Step
from ansible_collections.meshops.istio.plugins.module_utils.task import Task, argument_spec

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443"}}],
    "users": [{"name": "u", "user": {"token": "token-of-the-user", "client-key-data": "a2V5LW9mLXRoZS11c2Vy"}}],
}


def parts(message: str, about: str = "", fix: str = "", code: str = "") -> dict[str, str]:
    """One failure as a result has it."""
    return {"code": code, "object": about, "message": message, "fix": fix}


def ending(result: Any) -> SimpleNamespace:
    """A job that ends with a result, or with an exception."""

    def run(task: Task) -> dict[str, Any]:
        if isinstance(result, Exception):
            raise result
        return result

    return SimpleNamespace(run=run)


def performed(outcome: Any) -> dict[str, Any]:
    """The result of such a job without its timing, which is never twice the same."""
    result = perform(ending(outcome), Task({}))
    assert set(result.pop("timing")) == {"started", "seconds"}
    return result


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"changed": True, "names": ["a"]}, {"changed": True, "names": ["a"]}),
        ({"names": []}, {"changed": False, "names": []}),
        ({"changed": False}, {"changed": False}),
    ],
)
def test_result(result: dict[str, Any], expected: dict[str, Any]) -> None:
    """Is passed on; without a word about it, nothing has changed."""
    assert performed(result) == expected


def test_job_gets_its_task() -> None:
    """With params and all."""
    task = Task({"size": 1}, check_mode=True)
    assert perform(SimpleNamespace(run=lambda given: {"same": given is task}), task)["same"] is True


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (JobError("what and why"), {"msg": "what and why", "errors": [parts("what and why")]}),
        (
            JobError("no room", findings=[{"code": "room-none"}]),
            {"msg": "no room", "errors": [parts("no room")], "findings": [{"code": "room-none"}]},
        ),
        (
            JobError("is full.", object="Node a", fix="Add one.", code="room-none"),
            {"msg": "Node a is full. Add one.", "errors": [parts("is full.", "Node a", "Add one.", "room-none")]},
        ),
        (
            ErrorAbout("x is no number.", object="ports", fix="Give one."),
            {"msg": "ports: x is no number. Give one.", "errors": [parts("x is no number.", "ports", "Give one.")]},
        ),
        (
            JobErrors([JobError("is full.", object="Node a"), ErrorAbout("b is none.", object="port", tried=3)]),
            {
                "msg": "Node a is full.\nport: b is none.",
                "errors": [parts("is full.", "Node a"), parts("b is none.", "port")],
                "tried": 3,
            },
        ),
        (
            Unreachable("cannot be reached"),
            {"msg": "cannot be reached", "errors": [parts("cannot be reached", code="api-unreachable")]},
        ),
        (
            ApiError(403, "Forbidden", "User x cannot y"),
            {
                "msg": "The API server answered 403: User x cannot y. Grant the account this permission.",
                "errors": [
                    parts("answered 403: User x cannot y.", "The API server", "Grant the account this permission.")
                ],
            },
        ),
        (
            ApiError(401, "Unauthorized", ""),
            {
                "msg": "The API server answered 401: Unauthorized. Renew the credentials.",
                "errors": [
                    parts("answered 401: Unauthorized.", "The API server", "Renew the credentials.", "api-unauthorized")
                ],
            },
        ),
    ],
    ids=["JobError", "with details", "all parts", "of an option", "several", "Unreachable", "ApiError", "unauthorized"],
)
def test_error_is_a_failed_result(error: Exception, expected: dict[str, Any]) -> None:
    """The user reads a message, never a traceback; who goes on with it reads its parts."""
    assert performed(error) == {"failed": True, "changed": False, **expected}


def test_secrets_are_hidden_in_the_parts_too() -> None:
    """They are the same words as the message."""
    token = "Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"  # noqa: S105 -- made up
    result = performed(JobError(f"sent Authorization: {token}.", object="A proxy", fix=f"Do not send {token}."))
    assert "c2lnbmF0dXJl" not in str(result)
    assert result["errors"][0]["object"] == "A proxy"


@pytest.mark.parametrize("fault", [None, JobError("no room")], ids=["success", "failure"])
def test_result_says_when_and_how_long(fault: Exception | None) -> None:
    """In the form in which Kubernetes writes times, on Python 3.9 too; a job that fails has taken its time as well."""

    def run(_task: Task) -> dict[str, Any]:
        time.sleep(0.05)
        if fault:
            raise fault
        return {}

    before = datetime.now(timezone.utc)
    timing = perform(SimpleNamespace(run=run), Task({}))["timing"]
    started = datetime.strptime(timing["started"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert abs((started - before).total_seconds()) < 1
    assert 0.05 <= timing["seconds"] < 5


@pytest.mark.parametrize(
    "error", [JobError("the third of three failed", changed=False), ApiError(500, "InternalError", "etcd is gone")]
)
def test_job_that_wrote_something_before_it_failed(error: Exception) -> None:
    """Says so, and what: each object once, in order; whatever it says itself."""

    def run(task: Task) -> dict[str, Any]:
        task.written += ["Namespace shop", "Service shop/web", "Namespace shop"]
        raise error

    result = perform(SimpleNamespace(run=run), Task({}))
    assert (result["failed"], result["changed"]) == (True, True)
    assert result["objects"] == ["Namespace shop", "Service shop/web"]


def test_clusters_of_a_job_take_note_for_its_task() -> None:
    """Wherever it makes them; and not for the next job."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}}
    made: list[Cluster] = []

    def run(task: Task) -> dict[str, Any]:
        made.append(Cluster({"host": "http://127.0.0.1:9", "api_key": "token-1"}))
        made[0]._note({}, service)
        raise JobError("no room")

    tasks = [Task({}), Task({})]
    assert perform(SimpleNamespace(run=run), tasks[0])["objects"] == ["Service shop/web"]
    assert perform(ending(JobError("no room")), tasks[1])["changed"] is False
    Cluster({"host": "http://127.0.0.1:9", "api_key": "token-1"})._note({}, service)
    assert [task.written for task in tasks] == [["Service shop/web"], []]


def test_fault_of_ours_is_not_hidden() -> None:
    """Somebody has to see its traceback."""
    with pytest.raises(ZeroDivisionError):
        perform(ending(ZeroDivisionError()), Task({}))


def test_argument_spec() -> None:
    """kubernetes.core's options, by its names, with ours beside them; Ansible can read them."""
    spec = argument_spec({"size": {"type": "int", "required": True}})
    assert set(spec) == {"size", *task.AUTH_ARG_SPEC}
    assert {"kubeconfig", "context", "host", "api_key", "validate_certs"} <= set(spec)
    assert spec["api_key"]["no_log"] is True
    found = ArgumentSpecValidator(spec).validate({"size": "3", "verify_ssl": "no"})
    assert not found.error_messages
    assert (found.validated_parameters["size"], found.validated_parameters["validate_certs"]) == (3, False)


def test_argument_specs_are_copies() -> None:
    """Ansible writes into them."""
    own = {"size": {"type": "int", "options": {}}}
    spec = argument_spec(own)
    spec["size"]["options"]["x"] = {}
    spec["host"]["x"] = 1
    assert own == {"size": {"type": "int", "options": {}}}
    assert "x" not in argument_spec(own)["host"]


def test_secrets_of_a_kubeconfig() -> None:
    """Given as a mapping it holds secrets that no `no_log` knows of."""
    assert secrets_of({"kubeconfig": KUBECONFIG}) >= {"token-of-the-user", "a2V5LW9mLXRoZS11c2Vy"}


def test_secrets_of_a_kubeconfig_that_kubernetes_core_does_not_know() -> None:
    """Of an authentication provider, of an exec plugin's environment, and of a proxy's address."""
    user = {
        "auth-provider": {"name": "oidc", "config": {"id-token": "id-token-1", "client-secret": "client-secret-1"}},
        "exec": {"command": "aws", "env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "exec-secret-1"}]},
    }
    cluster = {"server": "https://192.0.2.1", "proxy-url": "http://bob:proxy-secret-1@192.0.2.2"}
    kubeconfig = {"users": [{"name": "u", "user": user}], "clusters": [{"name": "c", "cluster": cluster}]}
    found = secrets_of({"kubeconfig": kubeconfig})
    for secret in ("id-token-1", "client-secret-1", "exec-secret-1", "bob:proxy-secret-1"):
        assert secret in found
    assert not {"oidc", "aws", "u", "c", "https://192.0.2.1"} & found


@pytest.mark.parametrize(
    ("params", "environment"),
    [
        ({"proxy": "http://bob:hunter22@192.0.2.2"}, {}),
        ({"host": "https://bob:hunter22@192.0.2.1"}, {}),
        ({"chart_repository": "https://bob:hunter22@charts.example.com"}, {}),
        ({"charts": [{"component": "kiali", "repository": "https://bob:hunter22@charts.example.com"}]}, {}),
        ({}, {"K8S_AUTH_API_KEY": "hunter22"}),
        ({}, {"K8S_AUTH_PASSWORD": "hunter22"}),
        ({}, {"K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH": "hunter22"}),
        ({}, {"HTTPS_PROXY": "http://bob:hunter22@192.0.2.2"}),
    ],
    ids=str,
)
def test_other_secrets(params: dict[str, Any], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A login in an address, and what the environment holds."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert "hunter22" in secrets_of(params)


@pytest.mark.parametrize("params", [{"kubeconfig": "/home/a/.kube/config"}, {"kubeconfig": None}, {}])
def test_no_secrets(params: dict[str, Any]) -> None:
    """A path is none."""
    assert secrets_of(params) == set()


OLD, NEW = "hunter2-Xy7", "hunter3-Zw8"


def step(before: dict[str, Any], after: dict[str, Any], changes: list[Change]) -> Step:
    """An upgrade of a release from some values to others."""
    release = Release("istiod", "istio-system", "istiod", ChartReference(Source("x"), "istiod", "1"), values=after)
    chart = SimpleNamespace(metadata={"version": "1"})
    stored = Stored("istiod", "istio-system", 1, "deployed", values=before, chart={"metadata": {"version": "1"}})
    return Step(release, chart, stored, "upgrade", ["values"], changes=changes)  # type: ignore[arg-type]


def planted(secret: str) -> list[dict[str, Any]]:
    """Objects that hold a secret each, in all the ways in which charts and users put it there."""
    meta = {"name": "a", "namespace": "b"}
    encoded = base64.b64encode(secret.encode()).decode()
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"x": encoded}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"values": f'{{"password": "{secret}"}}'}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {"env": [{"name": "K", "value": secret}]},
        },
    ]


#: Whatever makes a diff, as a function of the secret before and after.
PRODUCERS: dict[str, Callable[[str, str], list[dict[str, Any]]]] = {
    "release": lambda old, new: step({"password": old}, {"password": new}, []).diff(),
    "objects of a release": lambda old, new: step(
        {"password": old}, {"password": new}, [Change(b, a, b) for a, b in zip(planted(old), planted(new), strict=True)]
    ).diff(),
    "created": lambda _old, new: [Change(obj, None, obj).diff() for obj in planted(new)],
    "changed": lambda old, new: [Change(b, a, b).diff() for a, b in zip(planted(old), planted(new), strict=True)],
    "deleted": lambda old, _new: [Change(obj, obj, None).diff() for obj in planted(old)],
    "removed": lambda old, _new: [removal_diff(obj) for obj in planted(old)],
}


@pytest.mark.parametrize("producer", PRODUCERS)
def test_no_diff_shows_a_secret(producer: str) -> None:
    """Whoever makes it: a task's diff is hidden in the one place that all of them pass."""
    params = {"values": {"istiod": {"password": NEW}, "old": {"password": OLD}}}
    job_result = {"changed": True, "diff": PRODUCERS[producer](OLD, NEW)}
    shown = perform(ending(job_result), Task(params))["diff"]
    text = str(shown)
    for secret in (OLD, NEW):
        assert secret not in text
        assert base64.b64encode(secret.encode()).decode() not in text
    assert "<hidden: " in text
    for entry in shown:
        assert entry["before"] != entry["after"]


def test_every_diff_passes_there() -> None:
    """Nobody else calls a job, and nothing but a job makes a diff."""
    plugins = ROOT / "plugins"
    callers = {
        path.relative_to(plugins).as_posix()
        for path in plugins.rglob("*.py")
        if re.search(r"\bjob\.run\(|\bperform\((?:self\.)?job, ", path.read_text())
    }
    assert callers == {"module_utils/jobs/runner.py", "module_utils/jobs/as_module.py", "plugin_utils/in_process.py"}
    makers = {path.relative_to(plugins).as_posix() for path in plugins.rglob("*.py") if '["diff"]' in path.read_text()}
    assert {path for path in makers if not path.startswith("module_utils/jobs/")} == set()


@pytest.mark.parametrize("key", ["msg", "findings", "diagnosis", "evidence"])
def test_words_show_no_secret(key: str) -> None:
    """They are those of charts, servers and logs too."""
    result = performed({key: {"a": [f"Bearer {OLD}"]} if key != "msg" else f"Bearer {OLD}"})
    assert OLD not in str(result)


def test_warnings_show_no_secret() -> None:
    """Nor do they."""

    def run(task: Task) -> dict[str, Any]:
        task.warnings.append(f"drifted: password={OLD}")
        return {}

    task = Task({})
    perform(SimpleNamespace(run=run), task)
    assert OLD not in str(task.warnings)


def test_what_is_for_later_tasks_stays() -> None:
    """A digest under the name of a Secret is none."""
    planned = {"planned": {"Secret istio-system/token": "0123456789abcdef"}, "objects": ["created Secret a/token"]}
    assert performed(planned) == {"changed": False, **planned}


def test_tasks_share_no_warnings() -> None:
    """Each has its own; without anybody to show them, lines of progress go nowhere."""
    first, second = Task({}), Task({})
    first.warnings.append("x")
    first.say("12 s: waiting")
    assert second.warnings == []
    assert (first.check_mode, first.diff) == (False, False)
