# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users get from Galaxy: the archive's content, the importer's judgement, and that it runs where it lands."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from support import run

#: Everything that may be at the top of the archive; what else appears was forgotten in galaxy.yml's build_ignore.
TOP = {
    "ARCHITECTURE.md",
    "CHANGELOG.rst",
    "CONTRIBUTING.md",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "changelogs",
    "docs",
    "inventories",
    "meta",
    "playbooks",
    "plugins",
    "requirements.txt",
    "roles",
}


def test_archive_holds_what_users_need_and_no_more(archive: Path) -> None:
    """No test, no tool, no link back to the checkout, nothing a build or the test bed left."""
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert {member.name.split("/")[0] for member in members} <= TOP
    assert [member.name for member in members if member.issym()] == []
    assert [member.name for member in members if "testbed" in member.name or "__pycache__" in member.name] == []
    assert sum(member.size for member in members) < 2 * 1024 * 1024


@pytest.mark.slow
def test_galaxy_importer_accepts_it(archive: Path, tmp_path: Path) -> None:
    """The importer is what galaxy.ansible.com runs on an upload; its warnings are shown to users."""
    judged = run(
        ["python", "-m", "galaxy_importer.main", archive], cwd=tmp_path, GALAXY_IMPORTER_TMP_ROOT_DIR=str(tmp_path)
    )
    assert judged.returncode == 0, judged.stdout
    assert "Importer processing completed successfully" in judged.stdout, judged.stdout
    complaints = [line for line in judged.stdout.splitlines() if line.startswith(("ERROR", "WARNING"))]
    assert complaints == []


@pytest.fixture(scope="module")
def installed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a collections path that holds the archive's content and not its dependency."""
    path = tmp_path_factory.mktemp("installed")
    install = ["ansible-galaxy", "collection", "install", archive, "--offline", "--no-deps", "-p", path]
    done = run(install, cwd=path)
    assert done.returncode == 0, done.stdout
    return path


def test_every_playbook_runs_by_its_name_once_installed(installed: Path, tmp_path: Path) -> None:
    """Like `ansible-playbook meshops.istio.site`, from a directory that knows nothing of us."""
    names = sorted(path.stem for path in (installed / "ansible_collections/meshops/istio/playbooks").glob("*.yml"))
    assert "site" in names
    playbooks = [f"meshops.istio.{name}" for name in names]
    checked = run(
        ["ansible-playbook", "--syntax-check", "--inventory=cluster,", *playbooks],
        cwd=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=str(installed),
    )
    assert checked.returncode == 0, checked.stdout
