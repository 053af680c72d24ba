# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain clone finds itself as the collection it is, on every ansible-core, ahead of any installed copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import environments
import pytest
from support import GIT, ROOT, run

CORES = [
    core if core in environments.QUICK else pytest.param(core, marks=pytest.mark.long)
    for core in environments.ENVIRONMENTS
]
PLAYBOOKS = ["site.yml", *sorted(f"playbooks/{path.name}" for path in (ROOT / "playbooks").glob("*.yml"))]


@pytest.fixture(scope="module")
def clone(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh clone in which no tool has run."""
    path = tmp_path_factory.mktemp("clone") / "project"
    cloned = run([*GIT, "clone", "--quiet", repository, path], cwd=path.parent)
    assert cloned.returncode == 0, cloned.stdout
    return path


@pytest.mark.parametrize("core", CORES)
def test_every_playbook_parses_in_a_clone(core: str, clone: Path, tmp_path: Path) -> None:
    """From a directory and with a home that know nothing of us, as a user or AWX would call it."""
    ansible_playbook = environments.ensure(core) / "bin/ansible-playbook"
    arguments = ["--syntax-check", "--inventory=cluster,", *(clone / name for name in PLAYBOOKS)]
    checked = run([ansible_playbook, *arguments], cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/site.yml"])
def test_the_checkout_wins_over_an_installed_copy(core: str, playbook: str, clone: Path, tmp_path: Path) -> None:
    """An edit in the checkout is what runs: here the installed copy is stale, and broken."""
    stale = tmp_path / "installed/ansible_collections/meshops/istio"
    for name in ("galaxy.yml", "meta", "roles"):
        source = clone / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (stale / name).parent.mkdir(parents=True, exist_ok=True)
        copy(source, stale / name)
    for tasks in stale.glob("roles/*/tasks/main.yml"):
        tasks.write_text("- name: Stale\n  meshops.istio.gone_long_since:\n")
    ansible_playbook = environments.ensure(core) / "bin/ansible-playbook"
    listed = run(
        [ansible_playbook, "--list-tasks", "--inventory=cluster,", clone / playbook],
        cwd=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=str(tmp_path / "installed"),
    )
    assert listed.returncode == 0, listed.stdout
    assert "Stale" not in listed.stdout
    assert "preflight :" in listed.stdout
