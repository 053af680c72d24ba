# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a job meets Ansible: the same function runs in a module on a target and in an action plugin on the controller.

A job is a module of ``module_utils/jobs`` with an ``ARGUMENT_SPEC`` and a function ``run(task)`` that takes a ``Task``,
returns the result and raises ``JobError``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.writes import noted
from ansible_collections.meshops.istio.plugins.module_utils.connection import connection, user
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.secrets.hiding import (
    certain_secrets,
    hidden,
    hidden_throughout,
    secrets_in,
)
from ansible_collections.meshops.istio.plugins.module_utils.secrets.known import KnownSecrets
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

try:
    from ansible_collections.kubernetes.core.plugins.module_utils.args_common import (
        extract_sensitive_values_from_kubeconfig,
    )
except ImportError:  # kube.Cluster says so

    def extract_sensitive_values_from_kubeconfig(kubeconfig_data: Any) -> set[str]:
        """Stand-in while kubernetes.core is missing: nothing will be done, so there is nothing to hide."""
        return set()


#: Environment that kubernetes.core and HTTP clients read, as far as it may be secret.
_SECRET_ENVIRONMENT = ("API_KEY", "PASSWORD", "PROXY_HEADERS_PROXY_BASIC_AUTH", "PROXY_HEADERS_BASIC_AUTH")
_URL_ENVIRONMENT = ("K8S_AUTH_HOST", "K8S_AUTH_PROXY", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
#: Options that are addresses, with which a login may come.
_URLS = ("host", "proxy", "chart_repository", "addons_repository")


#: What to do about answers of the API server that no job has expected.
_SERVER_FIXES = {401: "Renew the credentials.", 403: "Grant the account this permission."}


def secrets_of(params: dict[str, Any]) -> set[str]:
    """Credentials beyond those of ``no_log`` options that must not be seen.

    A kubeconfig that is a mapping has some, an address may, and the environment of kubernetes.core.
    """
    found = {os.environ.get(f"K8S_AUTH_{name}", "") for name in _SECRET_ENVIRONMENT}
    kubeconfig = params.get("kubeconfig")
    if isinstance(kubeconfig, dict):
        found |= extract_sensitive_values_from_kubeconfig(kubeconfig) | secrets_in(kubeconfig)
    charts = [chart for chart in params.get("charts") or [] if isinstance(chart, dict)]
    urls = [
        *map(params.get, _URLS),
        *map(os.environ.get, _URL_ENVIRONMENT),
        *(chart.get("repository") for chart in charts),
    ]
    logins = secrets_in([url for url in urls if isinstance(url, str)])
    return (found | logins | {login.partition(":")[2] for login in logins}) - {""}


def known_secrets(params: dict[str, Any], no_log_values: Iterable[str]) -> KnownSecrets:
    """All that must not be seen of a task's options.

    :arg no_log_values: what ``no_log`` options hold
    """
    return KnownSecrets({*no_log_values, *secrets_of(params)}, certain_secrets(params))


def _told(error: JobError, task: Task) -> dict[str, Any]:
    """What a failure says, in one text and in parts, with its cause where the job had begun to look at the mesh."""
    parts = [each.parts() for each in error.errors]
    if task.looks_at is None:
        return {"msg": str(error), "errors": parts}
    # The rules of a diagnosis are loaded by who needs them: a run that goes well does not.
    from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.after_failure import explained

    return {**explained(error, task.params, task.looks_at), "errors": parts}


def _of_server(error: ApiError) -> JobError:
    """An answer of the API server that no job has expected."""
    return JobError(
        f"answered {error.status}: {(error.message or error.reason).rstrip('.')}.",
        object="The API server",
        fix=_SERVER_FIXES.get(error.status, "Check the API server, and run again."),
        code="api-unauthorized" if error.status == 401 else "",
    )


#: What a result tells in words, which are those of charts, servers and logs too.
_WORDS = ("msg", "errors", "findings", "diagnosis", "evidence")


def _hide_secrets(task: Task, result: dict[str, Any]) -> None:
    """Take what looks like a secret out of what is shown; all else of a result is for later tasks."""
    known = set(certain_secrets(task.params))
    if "diff" in result:
        result["diff"] = hidden_throughout(result["diff"], known)
    result.update({key: hidden(result[key]) for key in _WORDS if key in result})
    task.warnings[:] = hidden(task.warnings)


def perform(job: Any, task: Task) -> dict[str, Any]:
    """Run a job and turn its errors into a failed result, which says what had been written by then.

    :arg job: a module of ``module_utils/jobs``
    :returns: the task's result, with ``failed``, ``msg`` and its parts, ``errors``, where it failed, and ``timing``;
        its diff and its words, whichever part of a job they are of, are without what looks like a secret
    """
    started, clock = datetime.now(timezone.utc), time.monotonic()
    user.RUNS_ON.set(task.runs_on)
    connection.WARN.set(task.warnings.append)
    try:
        with noted(task.written):
            result = job.run(task)
    except JobError as error:
        result = {"failed": True, **_told(error, task), **error.details}
    except ApiError as error:
        failure = _of_server(error)
        result = {"failed": True, "msg": str(failure), "errors": [failure.parts()]}
    if result.get("failed") and task.written:
        result |= {"changed": True, "objects": list(dict.fromkeys(task.written))}
    result.setdefault("changed", False)
    _hide_secrets(task, result)
    result["timing"] = {
        "started": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "seconds": round(time.monotonic() - clock, 3),
    }
    return result
