# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job inside the controller: what a module does, without paying for a process and its imports each time.

Measured: a module that imports the kubernetes client costs 1.1 to 1.4 s of processor time a task; an action plugin
that imports it at module level about 0.03 s, and 0.7 s once a run, because Ansible's parent process imports the plugin
and its workers inherit it. Every promise that a module makes is kept: validated options, ``no_log``, ``environment``,
check mode, diff, ``module_defaults``, ``timeout``.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
from datetime import date
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.text.converters import to_text
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.meshops.istio.plugins.module_utils.connection.connection import KUBERNETES_IMPORT_ERROR
from ansible_collections.meshops.istio.plugins.module_utils.jobs.runner import known_secrets, perform
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

COLLECTION = "meshops.istio"
#: Under which module_defaults names options of all of our modules.
GROUP = f"group/{COLLECTION}.istio"
display = Display()


class InProcessAction(ActionBase):
    """Base of this collection's action plugins.

    :cvar job: a module of ``module_utils/jobs``
    :cvar module: name of the module that does the same elsewhere
    """

    job: Any
    module: str
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the job here where that is the same, else the module where Ansible would run it."""
        task_vars = task_vars or {}
        result = super().run(tmp, task_vars)
        self._task.args.update(self._cluster_by_default(task_vars))
        if not self._runs_here():
            name = f"{COLLECTION}.{self.module}"
            result.update(self._execute_module(name, task_vars=task_vars, wrap_async=bool(self._task.async_val)))
            return result
        result.update(self._run_here(task_vars))
        return result

    def _cluster_by_default(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """The cluster that module_defaults name, where the task itself names none.

        A role's `kubeconfig: "{{ istio_kubeconfig | default(omit) }}"` takes them away before it is left out.
        """
        if self._task.args.get("kubeconfig") is not None:
            return {}
        defaults: dict[str, Any] = {}
        for layer in self._task.module_defaults or []:
            defaults.update(layer)
        found = {**(defaults.get(GROUP) or {}), **(defaults.get(f"{COLLECTION}.{self.module}") or {})}
        missing = {name for name in ("kubeconfig", "context") if self._task.args.get(name) is None}
        named = self._templar.template({name: found[name] for name in missing & found.keys()})
        return {name: value for name, value in named.items() if value is not None and value != task_vars.get("omit")}

    def _runs_here(self) -> bool:
        """Where the controller's own process is as good as a module's: same machine and user, in the foreground."""
        return (
            self._connection.transport == "local"
            and not self._play_context.become
            and not self._task.async_val
            and KUBERNETES_IMPORT_ERROR is None
        )

    def _run_here(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        environment: dict[str, Any] = {}
        self._compute_environment_string(environment)
        before = dict(os.environ)
        os.environ.update({key: str(value) for key, value in environment.items()})
        temporary, tempfile.tempdir = tempfile.tempdir, None  # found by TMPDIR, once in a process
        try:
            return self._perform(task_vars)
        finally:  # the next item of a loop runs in this process too
            tempfile.tempdir = temporary
            os.environ.clear()
            os.environ.update(before)

    def _perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        # A copy, because the validator fills in what a default leaves out, for the next item of a loop too.
        validation = ArgumentSpecValidator(copy.deepcopy(self.job.ARGUMENT_SPEC)).validate(_sent(self._task.args))
        params = validation.validated_parameters
        secrets = known_secrets(params, validation._no_log_values)
        warnings = [
            "Both option {option} and its alias {alias} are set.".format(**both) for both in validation._warnings
        ]
        if validation.error_messages:
            result: dict[str, Any] = {"failed": True, "msg": self._validation_message(validation.errors[0])}
        else:
            host = task_vars.get("inventory_hostname", "")

            def say(line: str) -> None:
                display.display(secrets.masked(f"[{host}] {line}"))

            task = Task(params, self._task.check_mode, self._task.diff, runs_on="the control node", say=say)
            result = perform(self.job, task)
            warnings += task.warnings
        if warnings:
            result["warnings"] = warnings
        if _shows_invocation(task_vars):
            result["invocation"] = {"module_args": secrets.arguments(params)}
        return secrets.masked(result)

    def _validation_message(self, error: Any) -> str:
        """In AnsibleModule's words."""
        if isinstance(error, UnsupportedError):
            return f"Unsupported parameters for ({COLLECTION}.{self.module}) module: {error.msg}"
        return error.msg


def _sent(args: dict[str, Any]) -> dict[str, Any]:
    """The options as a module gets them, in JSON: dates, and numbers that are keys, as text; vaulted text in clear."""

    def plain(value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else to_text(value)

    return json.loads(json.dumps(args, default=plain))


def _shows_invocation(task_vars: dict[str, Any]) -> bool:
    """Whether results name the module's arguments: a setting since ansible-core 2.21, always so before."""
    try:
        return bool(C.config.get_config_value("INJECT_INVOCATION", variables=task_vars))
    except AnsibleError:
        return True
