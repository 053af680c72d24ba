# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tree as a repository and as an archive."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support import GIT, ROOT, run, tracked


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a git repository whose one commit is the tree as it stands, uncommitted edits included."""
    path = tmp_path_factory.mktemp("repository")
    for name in tracked():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=tree"]):
        subprocess.run([*GIT, *arguments], cwd=path, check=True)
    return path


@pytest.fixture(scope="session")
def archive(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what `ansible-galaxy collection build` makes of the tree."""
    path = tmp_path_factory.mktemp("archive")
    built = run(["ansible-galaxy", "collection", "build", repository, "--output-path", path], cwd=path)
    assert built.returncode == 0, built.stdout
    return next(path.glob("*.tar.gz"))
