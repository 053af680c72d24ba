# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of ansible-playbook reaches the cluster that its user named, in the controller as in a module."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.beds import LOCAL
from harness.playbooks import Playbook
from harness.recording import Authority, Recorder, RecordingServer, base64_of, kubeconfig, running

HERE, THERE = "in-process", "as-module"
HOSTS = {HERE: LOCAL, THERE: {**LOCAL, "ansible_connection": "as_process"}}


class Place:
    """Two API servers, of which one is the default, and a user's home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recorder = Recorder()
        self.authority = Authority(folder / "pki")
        self.named = RecordingServer("named", self.recorder, self.authority)
        self.default = RecordingServer("default", self.recorder, self.authority)
        self.home = folder / "home"
        (self.home / ".kube").mkdir(parents=True)
        self.write(self.default, {"token": "default"}, self.home / ".kube/config")

    def write(self, server: RecordingServer, user: dict[str, Any], path: Path) -> str:
        """Write a kubeconfig. :returns: its path"""
        ca = {"certificate-authority-data": base64_of(self.authority.path)}
        path.write_text(json.dumps(kubeconfig(server, user, ca)))
        return str(path)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Yield the servers."""
    found = Place(tmp_path)
    with running(found.named, found.default):
        yield found


@pytest.mark.parametrize("host", HOSTS)
def test_environment_of_a_task(place: Place, host: str) -> None:
    """`environment: {KUBECONFIG: file}` of a task, where the process' default is another cluster."""
    path = place.write(place.named, {"token": "named"}, place.folder / "kubeconfig")
    task = {"meshops.istio.istio_diagnosis_info": {}, "environment": {"KUBECONFIG": path}}
    play = {"hosts": "all", "gather_facts": False, "tasks": [task]}
    Playbook(place.home, [play], {host: HOSTS[host]}, {}).run().succeeded()
    assert {(seen.server, seen.user) for seen in place.recorder.seen} == {("named", "Bearer named")}
