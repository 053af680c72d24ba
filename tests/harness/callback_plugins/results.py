# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands every task's result to the tests, as Ansible hands it to callbacks: secrets censored, nothing dropped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.parsing.ajson import AnsibleJSONEncoder
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: results
type: notification
short_description: Write results to a file for the tests
description: One JSON object a line, into the file that MESHOPS_TEST_RESULTS names.
"""


class CallbackModule(CallbackBase):
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "results"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, entry: dict[str, Any]) -> None:
        with Path(os.environ["MESHOPS_TEST_RESULTS"]).open("a") as stream:
            stream.write(json.dumps(entry, cls=AnsibleJSONEncoder) + "\n")

    def _result(self, status: str, result: Any) -> None:
        task = result._task
        data = {key: value for key, value in result._result.items() if not key.startswith("_ansible_")}
        self._write(
            {
                "status": status,
                "host": result._host.get_name(),
                "task": task.get_name(),
                "action": task.resolved_action or task.action,
                "data": data,
            }
        )

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note a success."""
        self._result("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Note a failure."""
        self._result("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Note a task that was left out."""
        self._result("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Note a host that could not be reached."""
        self._result("unreachable", result)
