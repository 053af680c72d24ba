# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a playbook of ours sets never wins over what a user has set in an inventory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT, run

PLAYBOOKS = sorted([*(ROOT / "playbooks").glob("*.yml"), ROOT / "site.yml"])
#: Public variables of roles that a playbook sets on purpose, with the reason.
MEANT = {
    # It is what the playbook is for, and an inventory's false would have it install a mesh.
    ("values.yml", "istio_helm_show_values"),
}


def public() -> set[str]:
    """Every variable of every role."""
    specs = [yaml.safe_load(path.read_text()) for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")]
    return {name for spec in specs for name in spec["argument_specs"]["main"]["options"]}


def set_by(node: Any) -> Iterator[str]:
    """Names of variables that plays, roles and tasks of a playbook set; those of roles, imported or listed, too."""
    if isinstance(node, list):
        for item in node:
            yield from set_by(item)
    if isinstance(node, dict):
        yield from node.get("vars") or {}
        yield from node.get("ansible.builtin.set_fact") or {}
        if "role" in node:
            yield from set(node) - {"role", "vars", "tags", "when"}
        for value in node.values():
            yield from set_by(value)


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.name)
def test_inventory_wins_over_playbook(playbook: Path) -> None:
    """Variables of a play, a role or a task count before those of an inventory, so ours have names of their own."""
    found = set(set_by(yaml.safe_load(playbook.read_text()))) & public()
    assert {(playbook.name, name) for name in found} - MEANT == set()


def test_what_is_looked_for() -> None:
    """Each way in which a playbook can set one."""
    play = {"vars": {"a": 1}, "roles": [{"role": "x", "b": 1, "vars": {"c": 1}}]}
    tasks = [{"block": [{"ansible.builtin.import_role": {"name": "x"}, "vars": {"d": 1}}]}]
    facts = [{"ansible.builtin.set_fact": {"e": 1}}]
    assert set(set_by([{**play, "tasks": tasks, "post_tasks": facts}])) == set("abcde")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [([], "control-plane"), (["--tags=istio_helm"], "gateways"), (["--skip-tags=liveness_verify"], "gateways")],
)
def test_what_site_waits_for(tags: list[str], expected: str, tmp_path: Path) -> None:
    """The proof waits for the gateways, unless it is left out; and a user who says something is heard."""
    (play,) = yaml.safe_load((ROOT / "playbooks/site.yml").read_text())
    shown = {"content": "{{ istio_helm_wait_for }}", "dest": f"{tmp_path}/{{{{ inventory_hostname }}}}", "mode": "0600"}
    play["tasks"] = [
        # Static, so that its defaults are known, and never run.
        {"ansible.builtin.import_role": {"name": "meshops.istio.istio_helm"}, "when": False, "tags": ["istio_helm"]},
        {"ansible.builtin.copy": shown, "tags": ["always"]},
    ]
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    hosts = {"silent": local, "says": {**local, "istio_helm_wait_for": "nothing"}}
    (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    command = ["ansible-playbook", tmp_path / "play.yml", "-i", tmp_path / "inventory.yml", *tags]
    done = run(command, cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(ROOT / "collections"))
    assert done.returncode == 0, done.stdout
    assert [(tmp_path / name).read_text() for name in hosts] == [expected, "nothing"]
