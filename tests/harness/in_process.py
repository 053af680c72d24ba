# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs in this very process, as the action plugins run them, with options checked as Ansible checks them."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from harness.beds import BedCluster
from harness.playbooks import ROOT
from testbed.process import GUARD

from ansible_collections.meshops.istio.plugins.module_utils.cluster import lease
from ansible_collections.meshops.istio.plugins.module_utils.jobs import crds, preflight, releases
from ansible_collections.meshops.istio.plugins.module_utils.jobs.runner import perform
from ansible_collections.meshops.istio.plugins.module_utils.task import Task


def options_of(variables: dict[str, Any]) -> dict[str, Any]:
    """The module's options for a bed, from the variables that the test bed wrote for it."""
    return {
        "kubeconfig": variables["istio_kubeconfig"],
        "context": variables["istio_context"],
        "helm_binary": variables["istio_helm_helm_binary"],
        "chart_repository": variables["istio_helm_chart_repository"],
        "chart_version": variables["istio_helm_chart_version"],
    }


def run_job(
    job: Any, options: dict[str, Any], check: bool = False, say: Callable[[str], None] = lambda line: None
) -> tuple[dict[str, Any], Task]:
    """Run a job; in check mode with diffs. :returns: its result, and the task with its warnings"""
    validated = ArgumentSpecValidator(copy.deepcopy(job.ARGUMENT_SPEC)).validate(options)
    assert not validated.error_messages, validated.error_messages
    task = Task(validated.validated_parameters, check_mode=check, diff=check, say=say)
    return perform(job, task), task


def run_preflight(options: dict[str, Any]) -> tuple[dict[str, Any], Task]:
    """Run preflight's job. :returns: as ``run_job``"""
    return run_job(preflight, options)


class Mesh:
    """What roles crds and istio_helm do to a bed, without Ansible around it: a tenth of the time.

    :ivar dict options: of istio_releases; istio_crds gets those that it knows
    :ivar list warnings: of the last run
    """

    def __init__(self, cluster: BedCluster, **options: Any) -> None:
        self.cluster = cluster
        self.options = {
            **options_of(cluster.variables),
            "exposure": "NodePort",
            "values": cluster.variables["istio_helm_values"],
            "wait_timeout": 120,
            **options,
        }
        self.warnings: list[str] = []

    def run(self, check: bool = False, **over: Any) -> list[dict[str, Any]]:
        """What both tasks return. :raises AssertionError: one fails"""
        results = self.tried(check, **over)
        assert not any(result.get("failed") for result in results), [result.get("msg") for result in results]
        return results

    def tried(self, check: bool = False, **over: Any) -> list[dict[str, Any]]:
        """As ``run``, whether they fail or not."""
        options = {**self.options, **over}
        known = {name: options[name] for name in crds.ARGUMENT_SPEC if name in options}
        defined, _task = run_job(crds, known, check)
        released, task = run_job(releases, {**options, "planned": defined.get("planned", {})}, check)
        self.warnings = task.warnings
        return [defined, released]

    def start(self, place: Place | None = None, **over: Any) -> subprocess.Popen[str]:
        """Start istio_releases in a process of its own, which somebody may kill.

        It prints its progress, and in the end its result as a line of JSON.
        """
        process = subprocess.Popen(
            [sys.executable, "-c", "import harness.in_process as here; here.main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (GUARD, ROOT / "collections", ROOT / "tests")))},
            start_new_session=True,
        )
        assert process.stdin
        place = place or Place()
        process.stdin.write(json.dumps({"place": vars(place), "options": {**self.options, **over}}))
        process.stdin.close()
        process.stdin = None  # so that communicate() does not want to write
        return process

    def written(self, **over: Any) -> list[str]:
        """Writes of a run that must not change anything, whatever it says. :raises AssertionError: it fails"""
        with self.cluster.asked() as asked:
            results = self.run(**over)
        return asked.writes + [f"changed: {result['objects']}" for result in results if result["changed"]]


@dataclass
class Place:
    """Where a run takes place.

    :ivar float skew: seconds by which its clock is ahead of this machine's
    :ivar bool elsewhere: whether it cannot be seen from here, as a container of the same host name
    :ivar float duration: seconds for which it keeps its Lease without a sign of life; nothing for as ever
    """

    skew: float = 0.0
    elsewhere: bool = False
    duration: float = 0.0

    def enter(self) -> None:
        """Make this process one that runs there."""
        if self.elsewhere:
            lease.process.mark = lambda: "0011aabbccdd-77"
        if self.duration:
            lease.DURATION, lease.RENEW_EVERY = int(self.duration), self.duration / 4
        if self.skew:
            _set_clock(timedelta(seconds=self.skew))


def _set_clock(ahead: timedelta) -> None:
    """Let whatever is loaded see another time of day. What counts seconds, and helm, are as ever."""
    real, seconds = datetime, time.time

    class Ahead(real):
        """A clock that is wrong."""

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            """This moment, as it is there."""
            return real.now(tz) + ahead

    for module in list(sys.modules.values()):
        if getattr(module, "datetime", None) is real:
            module.datetime = Ahead  # type: ignore[attr-defined]
    time.time = lambda: seconds() + ahead.total_seconds()


def main() -> None:
    """Run istio_releases with the place and the options on standard input."""
    given = json.load(sys.stdin)
    Place(**given["place"]).enter()
    result, _task = run_job(releases, given["options"], say=lambda line: print(line, flush=True))
    print(json.dumps(result))


def actions(results: list[dict[str, Any]]) -> dict[str, str]:
    """What is done about each release, where anything is."""
    steps = [release for result in results for release in result.get("releases", [])]
    return {step["name"]: step["action"] for step in steps if step["action"] != "none"}
