# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook, and what their tasks returned."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SITE = ROOT / "site.yml"
#: Settings of whoever runs the tests that would reach Ansible, kubernetes.core or helm.
FOREIGN = ("ANSIBLE_", "K8S_", "KUBE", "HELM_", "XDG_")
TIMEOUT = 180.0  # seconds; a run that hangs is a failed one


@dataclass(frozen=True)
class Result:
    """What one task returned on one host.

    :ivar str status: ok, failed, ignored, skipped or unreachable
    """

    status: str
    host: str
    task: str
    action: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A finished run.

    :ivar str output: what the user sees
    """

    code: int
    output: str
    results: tuple[Result, ...]

    @property
    def failures(self) -> list[Result]:
        """Tasks that ended the run of their host."""
        return [result for result in self.results if result.status in ("failed", "unreachable")]

    @property
    def changed(self) -> list[str]:
        """Names of the tasks that say they changed something."""
        return [result.task for result in self.results if result.data.get("changed")]

    @property
    def message(self) -> str:
        """The words of the only failure. :raises AssertionError: none or several failed"""
        assert len(self.failures) == 1, self.output
        return self.failures[0].data["msg"]

    def of(self, module: str) -> Result:
        """What the only task of one of our modules returned."""
        (found,) = [result for result in self.results if result.action == f"meshops.istio.{module}"]
        return found

    def succeeded(self) -> Run:
        """Itself. :raises AssertionError: it did not succeed; shows what the user saw"""
        assert self.code == 0, self.output
        return self


def environment(home: Path, extra: dict[str, str]) -> dict[str, str]:
    """A user's environment with a home of its own and no setting but those given."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    return {
        **kept,
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "ANSIBLE_CALLBACKS_ENABLED": "results",
        "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
        "ANSIBLE_CONNECTION_PLUGINS": str(HERE / "connection_plugins"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        **extra,
    }


@dataclass(frozen=True)
class Playbook:
    """An ansible-playbook command that is ready to run.

    :ivar Path playbook: a file, or a list of plays to be written into one
    :ivar dict hosts: variables of each inventory host
    """

    home: Path
    playbook: Path | list[dict[str, Any]]
    hosts: dict[str, dict[str, Any]]
    variables: dict[str, Any]
    arguments: tuple[str, ...] = ()
    environ: dict[str, str] | None = None

    def start(self, folder: Path) -> subprocess.Popen[str]:
        """Start it in a process group of its own; its files are in `folder`."""
        inventory = folder / "inventory.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": self.hosts}}))
        (folder / "variables.json").write_text(json.dumps(self.variables))
        playbook = self.playbook
        if isinstance(playbook, list):
            playbook = folder / "playbook.yml"
            playbook.write_text(yaml.safe_dump(self.playbook, sort_keys=False))
        command = ["ansible-playbook", playbook, "-i", inventory, "-e", f"@{folder}/variables.json", *self.arguments]
        (self.home / "tmp").mkdir(parents=True, exist_ok=True)
        variables = {"MESHOPS_TEST_RESULTS": str(folder / "results"), **(self.environ or {})}
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=environment(self.home, variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self) -> Run:
        """Run it to its end."""
        with tempfile.TemporaryDirectory(dir=self.home) as name:
            process = self.start(Path(name))
            try:
                output, _none = process.communicate(timeout=TIMEOUT)
            finally:
                kill(process)
            return Run(process.returncode, output, results(Path(name)))


def kill(process: subprocess.Popen[str]) -> None:
    """End a run that is still there, with all that it started, as a machine that loses its power would."""
    if process.poll() is not None:
        return
    signal_all(process, signal.SIGKILL)
    process.wait()


def signal_all(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to a run and all that it started."""
    # Ansible's workers have sessions of their own, so that the process group is not all of them.
    pids = [process.pid]
    for pid in pids:
        pids += children(pid)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def children(pid: int) -> list[int]:
    """Processes that a process started itself."""
    try:
        return [
            int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()
        ]
    except OSError:
        return []


def results(folder: Path) -> tuple[Result, ...]:
    """What the callback plugin wrote."""
    path = folder / "results"
    lines: Sequence[str] = path.read_text().splitlines() if path.exists() else []
    return tuple(Result(**json.loads(line)) for line in lines)
