# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of ansible-playbook reaches the cluster that its user named, and leaves no key behind.

The contract of all shapes of credentials is in tests/apiserver/test_connection.py, for helm and istioctl too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environments
import pytest
import yaml
from harness.beds import LOCAL
from harness.playbooks import ROOT, Playbook
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


TASKS = sorted((ROOT / "roles").glob("*/tasks/main.yml"))
#: Those that do something.
ROLES = [path.parents[1].name for path in TASKS if yaml.safe_load(path.read_text())]
#: Those that `make test` takes, and for `make matrix` each core on each Python.
CORES = [
    *environments.QUICK,
    *(
        pytest.param(f"{core}-py{version}", marks=pytest.mark.long)
        for core in environments.ENVIRONMENTS
        for version in environments.pythons(core)
    ),
]
HELM = "#!/bin/sh\necho v4.0.0\n"


def of_core(core: str) -> dict[str, str]:
    """The environment in which that core's ansible-playbook is the first to be found."""
    return {"PATH": f"{environments.ensure(core) / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def including(role: str, variables: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """A play of a user's own with one role, which may fail as there is no mesh."""
    include = {"ansible.builtin.include_role": {"name": f"meshops.istio.{role}"}}
    failed = {"ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"}}
    return {
        "hosts": "all",
        "gather_facts": False,
        "vars": variables,
        "module_defaults": {"group/meshops.istio.istio": defaults} if defaults else {},
        "tasks": [{"block": [include], "rescue": [failed]}],
    }


@pytest.mark.parametrize("core", CORES)
def test_roles_in_a_playbook_of_the_users_own(place: Place, core: str) -> None:
    """Variables decide, and where there are none, the user's own module_defaults do."""
    helm = place.folder / "helm"
    helm.write_text(HELM)
    helm.chmod(0o755)
    charts = place.folder / "charts"
    for name in ("base", "istiod", "gateway"):
        (charts / name).mkdir(parents=True)
        (charts / name / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 1.31.1\n")
    plays, expected = [], set()
    for role in ROLES:
        common = {"istio_helm_helm_binary": str(helm), "istio_helm_chart_repository": str(charts)}
        for way in ("variables", "module_defaults"):
            path = place.write(place.named, {"token": f"{role}-{way}"}, place.folder / f"{role}-{way}")
            if way == "variables":
                plays.append(including(role, {**common, "istio_kubeconfig": path, "istio_context": "main"}, {}))
            else:
                plays.append(including(role, {**common, "mine": path}, {"kubeconfig": "{{ mine }}"}))
            expected.add(("named", f"Bearer {role}-{way}"))
    run = Playbook(place.home, plays, {HERE: LOCAL}, {}, ("--check",), of_core(core)).run().succeeded()
    assert {(seen.server, seen.user) for seen in place.recorder.seen} == expected, run.output


def test_playbooks_go_to_the_cluster_that_is_named() -> None:
    """Each that has a task of a module itself says so for all of them."""
    named = {name: "{{ istio_%s | default(omit) }}" % name for name in ("kubeconfig", "context")}
    for path in (ROOT / "playbooks").glob("*.yml"):
        for play in yaml.safe_load(path.read_text()):
            assert play["module_defaults"]["group/meshops.istio.istio"] == named, path


@pytest.mark.parametrize("core", CORES)
def test_no_key_is_left_behind(place: Place, core: str) -> None:
    """Client key and certificates of the kubeconfig itself: a forked worker skips what is to run at its exit."""
    certificate, key = place.authority.issue("jane").data
    user = {"client-certificate-data": certificate, "client-key-data": key}
    path = place.write(place.named, user, place.folder / "kubeconfig")
    tasks = [
        {"meshops.istio.istio_diagnosis_info": {"kubeconfig": path}},
        {"meshops.istio.istio_diagnosis_info": {"kubeconfig": path, "istioctl_binary": str(slow(place))}},
        # killed while a program has its kubeconfig
        {
            "meshops.istio.istio_diagnosis_info": {"kubeconfig": path, "istioctl_binary": str(slow(place, 30))},
            "timeout": 3,
            "ignore_errors": True,
        },
    ]
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    run = Playbook(place.home, [play], {HERE: LOCAL}, {}, ("-v",), of_core(core)).run().succeeded()
    assert [result.status for result in run.results] == ["ok", "ok", "ignored"], run.output
    assert {(seen.server, seen.user) for seen in place.recorder.seen} == {("named", "jane")}
    assert (place.folder / "slow.kubeconfig").exists()
    left = [file for file in (place.home / "tmp").rglob("*") if file.is_file()]
    assert left == []


def slow(place: Place, seconds: int = 0) -> Path:
    """An istioctl that takes its time, and notes that it had a kubeconfig."""
    path = place.folder / f"istioctl-{seconds}"
    path.write_text(f'#!/bin/sh\ntest -s "$KUBECONFIG" && touch {place.folder}/slow.kubeconfig\nexec sleep {seconds}\n')
    path.chmod(0o755)
    return path
