# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs in this very process, as the action plugins run them, with options checked as Ansible checks them."""

from __future__ import annotations

import copy
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.job import Task, perform
from ansible_collections.meshops.istio.plugins.module_utils.jobs import preflight


def options_of(variables: dict[str, Any]) -> dict[str, Any]:
    """The module's options for a bed, from the variables that the test bed wrote for it."""
    return {
        "kubeconfig": variables["istio_kubeconfig"],
        "context": variables["istio_context"],
        "helm_binary": variables["istio_helm_helm_binary"],
        "chart_repository": variables["istio_helm_chart_repository"],
        "chart_version": variables["istio_helm_chart_version"],
    }


def run_job(job: Any, options: dict[str, Any]) -> tuple[dict[str, Any], Task]:
    """Run a job. :returns: its result, and the task with its warnings"""
    validated = ArgumentSpecValidator(copy.deepcopy(job.ARGUMENT_SPEC)).validate(options)
    assert not validated.error_messages, validated.error_messages
    task = Task(validated.validated_parameters)
    return perform(job, task), task


def run_preflight(options: dict[str, Any]) -> tuple[dict[str, Any], Task]:
    """Run preflight's job. :returns: as ``run_job``"""
    return run_job(preflight, options)
