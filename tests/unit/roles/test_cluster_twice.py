# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts that are one cluster stop; everything else goes on. The reports are given, so no cluster is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROLE = Path(__file__).resolve().parents[3] / "roles/preflight"

pytestmark = pytest.mark.slow

#: Each play's hosts, with the report that preflight left on each.
PLAYS: dict[str, dict[str, Any]] = {
    "two of three": {name: {"cluster": {"uid": uid}} for name, uid in (("b1", "1"), ("b2", "2"), ("b3", "1"))},
    "two clusters": {"c1": {"cluster": {"uid": "1"}}, "c2": {"cluster": {"uid": "2"}}},
    "one host": {"d1": {"cluster": {"uid": "1"}}},
    "UIDs that may not be read": {"e1": {"cluster": {"uid": ""}}, "e2": {"cluster": {"uid": ""}}},
    "no answer": {"f1": {"cluster": {}}, "f2": {"failed": True}, "f3": {"cluster": {"uid": "1"}}},
    # Last, since a play in which every host fails ends the run.
    "twins": {"a1": {"cluster": {"uid": "1"}}, "a2": {"cluster": {"uid": "1"}, "failed": True}},
}
STOPPED = {"a1": "a2", "a2": "a1", "b1": "b3", "b3": "b1"}


def test_hosts_that_are_one_cluster(tmp_path: Path) -> None:
    """Each names the others; hosts of other plays do not count."""
    hosts = {name: {"preflight_result": report} for reports in PLAYS.values() for name, report in reports.items()}
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    tasks = [
        {"name": "Compare", "include_role": {"name": str(ROLE), "tasks_from": "cluster_twice.yml"}},
        {"name": "Go on", "debug": {"msg": "{{ inventory_hostname }} goes on"}},
    ]
    plays = [{"hosts": ":".join(reports), "gather_facts": False, "tasks": tasks} for reports in PLAYS.values()]
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    (tmp_path / "play.yml").write_text(json.dumps(plays))
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "inventory.json", "play.yml"],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROLE.parents[1] / "collections"),
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "NO_COLOR": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    words = r"\[cluster-twice\] (\w+): is the same cluster as ([\w, ]+) \(UID 1\)"
    stopped = dict(re.findall(r"fatal: \[\w+\].*?" + words, done.stdout))
    assert stopped == STOPPED, done.stdout
    assert set(re.findall(r"(\w+) goes on", done.stdout)) == set(hosts) - set(STOPPED), done.stdout
