# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that hold for every file."""

from __future__ import annotations

import tomllib
import yaml
from support import ROOT, tracked

LICENSED = (".py", ".sh", ".yml", ".yaml", ".toml")
#: Made by tools, or too short to be anybody's.
UNLICENSED = ("changelogs/changelog.yaml", "changelogs/fragments/")


def test_every_source_names_its_licence() -> None:
    """One line, which licence scanners read."""
    missing = [
        name
        for name in tracked()
        if name.endswith(LICENSED)
        and not name.startswith(UNLICENSED)
        and not (ROOT / name).is_symlink()
        and (text := (ROOT / name).read_text())
        and "SPDX-License-Identifier: " not in "\n".join(text.splitlines()[:12])
    ]
    assert missing == []


def test_the_requirements_are_said_once() -> None:
    """pyproject.toml repeats requirements.txt, because uv reads the one and ansible-builder the other."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert sorted(groups["runtime"]) == sorted(line for line in lines if line and not line.startswith("#"))


def test_the_dependency_is_the_same_for_galaxy_and_awx() -> None:
    """galaxy.yml counts for an installed collection, collections/requirements.yml for a checkout."""
    wanted = yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]
    listed = yaml.safe_load((ROOT / "collections/requirements.yml").read_text())["collections"]
    assert {entry["name"]: entry["version"] for entry in listed} == wanted


def test_locks_name_no_index() -> None:
    """A lock says what, by hash; where from is the machine's own matter."""
    texts = [path.read_text() for path in (ROOT / "requirements").iterdir()]
    assert not any("://" in text for text in texts)
