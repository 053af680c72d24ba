# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of action istio_report: reads the pods' way to ready, and writes what a run did as HTML, JSON and JUnit.

It runs in the controller only, and a run never fails because of it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import tempfile
import traceback
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible.release import __version__

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.jobs.runner import secrets_of
from ansible_collections.meshops.istio.plugins.module_utils.task import Task, argument_spec
from ansible_collections.meshops.istio.plugins.plugin_utils.report import junit, page
from ansible_collections.meshops.istio.plugins.plugin_utils.report.model import build, summary
from ansible_collections.meshops.istio.plugins.plugin_utils.report.redaction import redacted

ARGUMENT_SPEC = argument_spec(
    {
        "phases": {"type": "dict", "required": True},
        "directory": {"type": "path", "default": "istio-report"},
        "name": {"type": "str"},
        "failed": {"type": "bool", "default": False},
        "namespaces": {"type": "list", "elements": "str", "default": []},
    }
)

MODE = 0o644
#: Seconds for the pods of a cluster that may be what the run has failed at.
TIMEOUT = 10.0
#: Pods that are drawn; an application's namespace may have hundreds.
MOST_PODS = 60
#: Phases that start pods.
STARTING = ("istio_helm", "liveness_verify")


def run(task: Task) -> dict[str, Any]:
    """Write the report. What goes wrong with that is a warning."""
    params = task.params
    try:
        model = _model(task)
        written = _written(task, model) if params["directory"] else {}
    except Exception as error:  # the run is over, and its outcome is not a matter of its report
        task.say(traceback.format_exc())
        task.warnings.append(f"The report could not be made because of a bug in meshops.istio.istio_report: {error!r}")
        return {"files": {}, "summary": {}, "msg": f"No report was written: {error!r}"}
    found = summary(model, written.get("html"))
    said = f"Report: {written['html']}" if written else "No report was written."
    return {"files": written, "summary": found, "msg": said}


def _model(task: Task) -> dict[str, Any]:
    params = task.params
    pods, note, ahead = _pods(task)
    model = build(
        params["phases"],
        params["name"],
        datetime.now(timezone.utc),
        check=task.check_mode,
        failed=params["failed"],
        pods=pods,
        pods_note=note,
        ahead=ahead,
        programs={"ansible-core": __version__, "python": platform.python_version()},
    )
    if len(model["pods"]) > MOST_PODS:
        model["pods_note"] = f"{len(model['pods']) - MOST_PODS} more pods became ready in this run."
        model["pods"] = model["pods"][-MOST_PODS:]
    return redacted(model, _secrets(params))


def _secrets(params: dict[str, Any]) -> set[str]:
    """What is known to be secret: the credentials by which this task itself reaches the cluster."""
    named = [params.get(name) for name, option in ARGUMENT_SPEC.items() if option.get("no_log")]
    return {secret for secret in named if isinstance(secret, str)} | secrets_of(params)


# -- pods --------------------------------------------------------------------------------------------------------------


def _pods(task: Task) -> tuple[list[dict[str, Any]], str, timedelta]:
    """The pods of all namespaces, or why there are none, and how far our clock is ahead of the API server's.

    A run that started none costs no request.
    """
    phases, namespaces = task.params["phases"], set(task.params["namespaces"])
    started = [phases[name] for name in STARTING if phases.get(name)]
    if task.check_mode:
        return [], "Check mode starts no pods.", timedelta(0)
    if not any(result.get("changed") or result.get("failed") for result in started):
        why = "This run started no pods." if started else "This run did not reach a phase that starts pods."
        return [], why, timedelta(0)
    for result in started:
        namespaces |= {release["namespace"] for release in result.get("releases") or []}
    try:
        cluster = Cluster(task.params, TIMEOUT)
        found = in_parallel(lambda namespace: cluster.list("v1", "Pod", namespace), sorted(namespaces))
        ahead = datetime.now(timezone.utc) - cluster.now()
    except (JobError, ApiError) as error:
        return [], f"The pods could not be listed: {error}", timedelta(0)
    return [pod for pods in found for pod in pods], "No pod became ready in this run.", ahead


# -- files -------------------------------------------------------------------------------------------------------------


#: What the files end with, by the names that the result has for them.
ENDINGS = {"html": "html", "json": "json", "junit": "xml"}


def _written(task: Task, model: dict[str, Any]) -> dict[str, str]:
    """Write the three files, all or none. :returns: their paths by form, none where they cannot be written"""
    folder = Path(task.params["directory"]).absolute()
    stem = re.sub(r"[^\w.-]+", "_", task.params["name"]).lstrip(".") or "report"
    contents = {
        "html": page.render(model).encode("utf-8", "replace"),
        "json": (json.dumps(model, indent=2) + "\n").encode(),
        "junit": junit.render(model),
    }
    paths = {form: folder / f"{stem}.{ENDINGS[form]}" for form in contents}
    beside: dict[str, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for form, content in contents.items():
            handle, name = tempfile.mkstemp(prefix=f".{stem}.", dir=folder)
            beside[form] = Path(name)
            with os.fdopen(handle, "wb") as stream:
                os.fchmod(handle, MODE)
                stream.write(content)
        for form, written in beside.items():
            written.replace(paths[form])
    except OSError as error:
        for written in beside.values():
            written.unlink(missing_ok=True)
        task.warnings.append(
            f"The report could not be written: {error}. Set istio_report_directory to a writable directory, or to '' "
            "for no report."
        )
        return {}
    return {form: str(path) for form, path in paths.items()}
