# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job in the controller keeps a module's promises, word by word, and leaves to the module what is not its own."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from collections.abc import Callable
from datetime import date, datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from ansible import constants as C
from ansible.module_utils import basic

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.jobs.as_module import run_module
from ansible_collections.meshops.istio.plugins.module_utils.task import Task, argument_spec
from ansible_collections.meshops.istio.plugins.plugin_utils import in_process
from ansible_collections.meshops.istio.plugins.plugin_utils.in_process import GROUP

#: Before ansible-core 2.21 it is always there.
CAN_LEAVE_INVOCATION_OUT = "INJECT_INVOCATION" in C.config.get_configuration_definitions()
NAMES = ("istio_crds", "istio_liveness", "istio_pod_security", "istio_preflight_info", "istio_releases")
KUBECONFIG = {"apiVersion": "v1", "kind": "Config", "users": [{"name": "u", "user": {"token": "kubeconfig-token-1"}}]}
OMIT = "__omit_place_holder__1"
Run = Callable[..., dict[str, Any]]


def fake_job(run: Callable[[Task], dict[str, Any]]) -> SimpleNamespace:
    """A job whose work is a function of the test."""
    spec = {
        "size": {"type": "int", "default": 1},
        "any": {"type": "dict"},
        "mode": {"type": "str", "choices": ["a", "b"], "aliases": ["way"]},
        "parts": {"type": "list", "elements": "dict", "default": [{"name": "x"}], "options": {}},
    }
    spec["parts"]["options"] = {"name": {"type": "str", "required": True}, "kind": {"type": "str", "choices": ["k"]}}
    return SimpleNamespace(ARGUMENT_SPEC=argument_spec(spec), run=run)


def echo(task: Task) -> dict[str, Any]:
    """Return what the job was given."""
    return {"changed": True, "params": task.params, "check": task.check_mode, "diff_asked": task.diff}


def as_action(
    job: Any,
    args: dict[str, Any],
    *,
    environment: Any = None,
    module_defaults: Any = None,
    transport: str = "local",
    become: bool = False,
    seconds: int = 0,
    check_mode: bool = False,
    diff: bool = False,
) -> tuple[dict[str, Any], mock.Mock]:
    """Run a job by its action.

    :returns: its result without its timing, which no other run has, and the mock that stands for running the module
    """
    task = SimpleNamespace(
        args=args,
        async_val=seconds,
        check_mode=check_mode,
        diff=diff,
        environment=environment,
        module_defaults=module_defaults,
        action="meshops.istio.x",
    )
    action = in_process.InProcessAction(
        task=task,
        connection=mock.MagicMock(transport=transport),
        play_context=SimpleNamespace(become=become),
        loader=mock.Mock(),
        templar=SimpleNamespace(template=lambda value, **_options: value),  # nothing in these tests is a template
        shared_loader_obj=mock.Mock(),
    )
    action.job, action.module = job, "x"
    action._execute_module = mock.Mock(return_value={"changed": False, "by": "module"})
    result = action.run(None, {"inventory_hostname": "kvm", "omit": OMIT})
    result.pop("timing", None)
    return result, action._execute_module


@pytest.fixture
def as_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a job by AnsibleModule, as on a target; return what the module prints, without its timing."""

    def run(
        job: Any, args: dict[str, Any], check_mode: bool = False, diff: bool = False, invocation: bool | None = None
    ) -> dict[str, Any]:
        internal = {"module_name": "meshops.istio.x", "check_mode": check_mode, "diff": diff}
        if invocation is not None and CAN_LEAVE_INVOCATION_OUT:
            internal["inject_invocation"] = invocation
        given = {**args, **{f"_ansible_{name}": value for name, value in internal.items()}}
        text = json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode()
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", text)
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            run_module(job)
        result = json.loads(capsys.readouterr().out)
        result.pop("timing", None)
        return result

    return run


def test_result_is_the_modules(as_module: Run) -> None:
    """Options with their defaults, check and diff mode, changed and invocation: key by key the same."""
    args = {"size": "3", "way": "b", "kubeconfig": "~/k", "validate_certs": "no", "parts": [{"name": "y"}]}
    for modes in ({}, {"check_mode": True}, {"diff": True}):
        result, module = as_action(fake_job(echo), args, **modes)
        assert result == as_module(fake_job(echo), args, **modes)
        module.assert_not_called()
    assert result["params"]["size"] == 3
    assert result["params"]["validate_certs"] is False
    assert result["params"]["parts"] == [{"name": "y", "kind": None}]
    assert (result["check"], result["diff_asked"]) == (False, True)


class Vaulted:
    """What `!vault` is before ansible-core 2.19: text only when asked for it."""

    def __str__(self) -> str:
        return "hunter22"


def test_options_are_what_a_module_gets() -> None:
    """Modules get JSON: a date of group_vars is text, a key is text, and vaulted text is in clear."""
    values = {"restarted": date(2026, 11, 22), "at": datetime(2026, 11, 22, 20, 0), 8080: "port", "secret": Vaulted()}
    values["list"] = (1, 2.5, None, True, {"deep": Vaulted()})
    result, _module = as_action(fake_job(echo), {"any": values})
    assert result["params"]["any"] == {
        "restarted": "2026-11-22",
        "at": "2026-11-22T20:00:00",
        "8080": "port",
        "secret": "hunter22",
        "list": [1, 2.5, None, True, {"deep": "hunter22"}],
    }
    json.dumps(result)


def test_short_secret_does_not_hide_the_outcome(as_module: Run) -> None:
    """A password of one letter is in "True" too."""
    args = {"password": "e"}
    result = as_action(fake_job(echo), args)[0]
    assert result == as_module(fake_job(echo), args)
    assert result["changed"] is True


def test_changed_is_always_there(as_module: Run) -> None:
    """A job that says nothing about it has changed nothing."""
    job = fake_job(lambda _task: {"facts": 1})
    assert as_action(job, {})[0]["changed"] is False
    assert as_module(job, {})["changed"] is False


@pytest.mark.parametrize(
    "args",
    [
        {"size": "many"},
        {"mode": "c"},
        {"parts": [{}]},
        {"parts": [{"name": "x", "kind": "z"}]},
        {"parts": "text"},
        {"sise": 3},
        {"parts": [{"name": "x", "kinds": "k"}]},
        {"sise": 3, "mode": "c"},
        {"kubeconfig": "k", "validate_certs": "perhaps"},
    ],
    ids=lambda args: ", ".join(args),
)
def test_refused_options_are_named_in_the_modules_words(args: dict[str, Any], as_module: Run) -> None:
    """Type, choice, required, unknown, and the same below an option; the job does not run."""
    job = fake_job(mock.Mock())
    here, there = as_action(job, args)[0], as_module(job, args)
    assert here["failed"] is there["failed"] is True
    assert here["msg"] == there["msg"]
    job.run.assert_not_called()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (JobError("no helm", findings=[{"code": "helm-missing"}]), {"findings": [{"code": "helm-missing"}]}),
        (JobError("plain"), {}),
    ],
)
def test_failed_job(error: JobError, expected: dict[str, Any], as_module: Run) -> None:
    """A job's error is the task's message, with what else it tells."""
    job = fake_job(mock.Mock(side_effect=error))
    result = as_action(job, {})[0]
    assert result == as_module(job, {})
    assert {"failed": True, "changed": False, "msg": str(error), **expected}.items() <= result.items()


def test_secrets_do_not_come_back(as_module: Run) -> None:
    """`no_log` options, and the tokens of a kubeconfig given as a dictionary, wherever in the result they turn up."""

    def run(task: Task) -> dict[str, Any]:
        return {"msg": f"sent {task.params['api_key']}", "nested": [{"a": task.params["kubeconfig"]["users"][0]}]}

    args = {"api_key": "api-key-secret-1", "password": "password-secret-1", "kubeconfig": KUBECONFIG}
    result = as_action(fake_job(run), args)[0]
    assert result == as_module(fake_job(run), args)
    assert result["msg"] == "sent ********"
    for secret in ("api-key-secret-1", "password-secret-1", "kubeconfig-token-1"):
        assert secret not in json.dumps(result)


def test_secrets_are_not_logged(as_module: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module's options go to the target's syslog, all but those with `no_log`."""
    log = mock.Mock()
    monkeypatch.setattr(basic.AnsibleModule, "log", log)
    args = {"api_key": "api-key-secret-1", "kubeconfig": KUBECONFIG, "any": {"adminPassword": "value-secret-1"}}
    as_module(fake_job(lambda _task: {}), args)
    assert "Invoked with" in str(log.call_args_list)
    for secret in ("api-key-secret-1", "kubeconfig-token-1", "value-secret-1"):
        assert secret not in str(log.call_args_list)


@pytest.mark.parametrize("refused", [{}, {"mode": "c"}], ids=["done", "refused"])
def test_secrets_are_not_in_the_invocation(
    refused: dict[str, Any], as_module: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is shown where a user asks for it, of options that are refused too."""
    monkeypatch.setattr(in_process, "_shows_invocation", lambda _task_vars: True)
    args = {
        "api_key": "api-key-secret-1",
        "kubeconfig": KUBECONFIG,
        "any": {"adminPassword": "value-secret-1"},
        **refused,
    }
    here = as_action(fake_job(echo), args)[0]
    there = as_module(fake_job(echo), args, invocation=True)
    assert there["invocation"]["module_args"]["any"] == {"adminPassword": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}
    assert here["invocation"] == there["invocation"]
    for secret in ("api-key-secret-1", "kubeconfig-token-1", "value-secret-1"):
        assert secret not in json.dumps([here, there])


def test_secrets_are_not_in_lines_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are shown as they come."""
    shown = mock.Mock()
    monkeypatch.setattr(in_process.display, "display", shown)

    def run(task: Task) -> dict[str, Any]:
        task.say(f"login by {task.params['api_key']}")
        return {}

    as_action(fake_job(run), {"api_key": "api-key-secret-1"})
    shown.assert_called_once_with("[kvm] login by ********")


def test_secrets_do_not_come_back_in_refusals() -> None:
    """Nor in the message about another option, nor in what was given."""
    result = as_action(fake_job(echo), {"api_key": "api-key-secret-1", "mode": "api-key-secret-1"})[0]
    assert result["failed"] is True
    assert "api-key-secret-1" not in json.dumps(result)


def test_warnings() -> None:
    """Of the job, and of Ansible about an option that is given twice."""

    def run(task: Task) -> dict[str, Any]:
        task.warnings.append("little room")
        return {}

    assert as_action(fake_job(run), {"mode": "a", "way": "a"})[0]["warnings"] == [
        "Both option mode and its alias way are set.",
        "little room",
    ]
    assert "warnings" not in as_action(fake_job(echo), {"mode": "a"})[0]


def test_warnings_of_the_module(as_module: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """They reach Ansible from a target too."""

    def run(task: Task) -> dict[str, Any]:
        task.warnings.append("little room")
        return {}

    warn = mock.Mock()
    monkeypatch.setattr(basic.AnsibleModule, "warn", warn)
    as_module(fake_job(run), {})
    warn.assert_called_once_with("little room")


def test_environment_is_the_tasks_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """`environment:` of play, block and task is there while the job runs, and gone for the next item of a loop."""
    monkeypatch.setenv("MESHOPS_KEPT", "before")
    monkeypatch.delenv("MESHOPS_NEW", raising=False)
    seen: dict[str, Any] = {}

    def run(_task: Task) -> dict[str, Any]:
        seen.update({name: os.environ.get(name) for name in ("MESHOPS_KEPT", "MESHOPS_NEW", "MESHOPS_NUMBER")})
        raise RuntimeError("the job breaks")

    layers = [{"MESHOPS_KEPT": "play", "MESHOPS_NUMBER": 1}, {}, {"MESHOPS_KEPT": "task", "MESHOPS_NEW": "x"}]
    with pytest.raises(RuntimeError):
        as_action(fake_job(run), {}, environment=layers)
    assert seen == {"MESHOPS_KEPT": "task", "MESHOPS_NEW": "x", "MESHOPS_NUMBER": "1"}
    assert os.environ["MESHOPS_KEPT"] == "before"
    assert "MESHOPS_NEW" not in os.environ


def test_temporary_directory_is_the_tasks_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """`environment: {TMPDIR: ...}`, which Python looks up once in a process."""
    before = tempfile.gettempdir()
    seen: list[str] = []
    job = fake_job(lambda _task: seen.append(tempfile.gettempdir()) or {})
    as_action(job, {}, environment=[{"TMPDIR": str(tmp_path)}])
    assert seen == [str(tmp_path)]
    assert tempfile.gettempdir() == before


@pytest.mark.parametrize(
    ("args", "defaults", "expected"),
    [
        ({}, [{GROUP: {"kubeconfig": "/a", "context": "a"}}], ("/a", "a")),
        ({}, [{GROUP: {"kubeconfig": "/a"}}, {"meshops.istio.x": {"kubeconfig": "/b"}}], ("/b", None)),
        ({}, [{GROUP: {"kubeconfig": "/a"}}, {GROUP: {"context": "b"}}], (None, "b")),
        ({}, [{GROUP: {"kubeconfig": OMIT}}, {"meshops.istio.y": {"context": "b"}}], (None, None)),
        ({"context": "b"}, [{GROUP: {"kubeconfig": "/a", "context": "a"}}], ("/a", "b")),
        ({"kubeconfig": "/b"}, [{GROUP: {"kubeconfig": "/a", "context": "a"}}], ("/b", None)),
        ({}, None, (None, None)),
    ],
    ids=str,
)
def test_cluster_of_module_defaults(args: dict[str, Any], defaults: Any, expected: tuple[Any, Any]) -> None:
    """It counts where a role's `default(omit)` has taken it away; a context never goes to another kubeconfig."""
    result = as_action(fake_job(echo), args, module_defaults=defaults)[0]
    assert (result["params"]["kubeconfig"], result["params"]["context"]) == expected


def test_loop_items_start_from_the_same_options() -> None:
    """Validation fills in defaults of defaults in place: the second item would find `kind: null` and be refused."""
    job = fake_job(echo)
    first, second = (as_action(job, {})[0] for _item in range(2))
    assert first == second
    assert "failed" not in second
    assert job.ARGUMENT_SPEC["parts"]["default"] == [{"name": "x"}]


@pytest.mark.parametrize(
    "task",
    [{"transport": "ssh"}, {"become": True}, {"seconds": 60}],
    ids=["bastion over SSH", "become", "async"],
)
def test_module_runs_where_the_controller_is_not_the_same(task: dict[str, Any]) -> None:
    """Another machine, another user, the background: what the module is for."""
    job = fake_job(mock.Mock())
    result, module = as_action(job, {}, **task)
    assert result["by"] == "module"
    job.run.assert_not_called()
    module.assert_called_once_with(
        "meshops.istio.x", task_vars={"inventory_hostname": "kvm", "omit": OMIT}, wrap_async=bool(task.get("seconds"))
    )


def test_module_runs_where_the_controller_lacks_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another Python may have the kubernetes client; the module says so if not."""
    monkeypatch.setattr(in_process, "KUBERNETES_IMPORT_ERROR", ImportError("kubernetes"))
    assert as_action(fake_job(echo), {})[0]["by"] == "module"


def test_progress_lines_name_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several clusters are set up at once."""
    shown = mock.Mock()
    monkeypatch.setattr(in_process.display, "display", shown)

    def run(task: Task) -> dict[str, Any]:
        task.say("15 s: waiting")
        return {}

    as_action(fake_job(run), {})
    shown.assert_called_once_with("[kvm] 15 s: waiting")


@pytest.mark.parametrize("name", NAMES)
def test_action_and_module_run_the_same_job(name: str) -> None:
    """A module's main() hands run_module the job that its action names; the action names its module."""
    package = "ansible_collections.meshops.istio.plugins"
    action = importlib.import_module(f"{package}.action.{name}").ActionModule
    module = importlib.import_module(f"{package}.modules.{name}")
    with mock.patch.object(module, "run_module") as run:
        module.main()
    run.assert_called_once_with(action.job)
    assert action.module == name
