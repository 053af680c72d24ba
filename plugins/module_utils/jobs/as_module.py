# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job as an Ansible module: on a target that is not the controller, such as a bastion over SSH."""

from __future__ import annotations

from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshops.istio.plugins.module_utils.jobs.runner import known_secrets, perform
from ansible_collections.meshops.istio.plugins.module_utils.secrets.known import KnownSecrets
from ansible_collections.meshops.istio.plugins.module_utils.task import Task


class Module(AnsibleModule):
    """An AnsibleModule whose options' secrets are in nothing that it returns or logs, on any ansible-core."""

    @property
    def secrets(self) -> KnownSecrets:
        """Made anew each time: options are refused, and the invocation logged, before the constructor has ended."""
        return known_secrets(self.params, self.no_log_values)

    def log(self, msg: Any, log_args: dict[str, Any] | None = None) -> None:
        """To the target's syslog, which gets all options as they are, but for those with no_log."""
        secrets = self.secrets
        text = msg.decode("utf-8", "replace") if isinstance(msg, bytes) else msg
        super().log(secrets.line(text), {key: secrets.line(str(value)) for key, value in (log_args or {}).items()})

    def exit_json(self, **kwargs: Any) -> NoReturn:
        """As AnsibleModule's."""
        super().exit_json(**self._presented(kwargs))

    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn:
        """As AnsibleModule's; it is also called by the constructor."""
        super().fail_json(**self._presented({"msg": msg, **kwargs}))

    def _presented(self, result: dict[str, Any]) -> dict[str, Any]:
        secrets = self.secrets
        # Core would mask what is masked already: a one-letter password is in the placeholder too.
        self.no_log_values = set()
        return {**secrets.masked(result), "invocation": {"module_args": secrets.arguments(self.params)}}


def run_module(job: Any) -> None:
    """The whole of a module's ``main()``.

    :arg job: a module of ``module_utils/jobs``
    """
    module = Module(argument_spec=job.ARGUMENT_SPEC, supports_check_mode=True)
    task = Task(module.params, module.check_mode, module._diff)
    result = perform(job, task)
    for warning in task.warnings:
        module.warn(module.secrets.masked(warning))
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
