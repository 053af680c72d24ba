# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job as an Ansible module: on a target that is not the controller, such as a bastion over SSH."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshops.istio.plugins.module_utils.job import Task, perform, secrets_of


def run_module(job: Any) -> None:
    """The whole of a module's ``main()``.

    :arg job: a module of ``module_utils/jobs``
    """
    module = AnsibleModule(argument_spec=job.ARGUMENT_SPEC, supports_check_mode=True)
    module.no_log_values.update(secrets_of(module.params))
    task = Task(module.params, module.check_mode, module._diff)
    result = perform(job, task)
    for warning in task.warnings:
        module.warn(warning)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
