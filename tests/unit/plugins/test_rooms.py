# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rooms of module_utils: which of them there are, and which a room may import, as ARCHITECTURE.md says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULE_UTILS = ROOT / "plugins/module_utils"
PACKAGE = "ansible_collections.meshops.istio.plugins.module_utils"
#: Files without a room.
OUTSIDE = "root"
#: Files that are tables, and as long as these.
TABLES = {"codes.py"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 50  # lines


def allowed() -> dict[str, set[str]]:
    """Room -> those that it may import, from the table of the page."""
    rows = re.findall(
        r"^\| (?:`(\w+)/`|\((root)\)) \| .+ \| (.*)\|$", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE
    )
    rooms = {room or outside: {name.strip() for name in names.split(",")} - {""} for room, outside, names in rows}
    return {room: set(rooms) - {room} if names == {"all"} else names for room, names in rooms.items()}


def room_of(module: str, modules: Path) -> str:
    """The room of a module, by its name below module_utils."""
    first = module.partition(".")[0]
    return first if (modules / first).is_dir() else OUTSIDE


def imports(modules: Path) -> Iterator[tuple[str, str, str]]:
    """Each import of one room by another: the file, its room, the other room. Those inside functions count too."""
    for path in sorted(modules.rglob("*.py")):
        own = room_of(path.relative_to(modules).as_posix().removesuffix(".py").replace("/", "."), modules)
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: a relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                if name.startswith(f"{PACKAGE}."):
                    other = room_of(name.removeprefix(f"{PACKAGE}."), modules)
                    if other != own:
                        yield path.relative_to(modules).as_posix(), own, other


def wrong(modules: Path) -> list[str]:
    """Imports that the page does not allow."""
    may = allowed()
    return [f"{path} imports {other}" for path, own, other in imports(modules) if other not in may[own]]


def test_rooms_import_what_the_page_says() -> None:
    """And nothing more."""
    assert wrong(MODULE_UTILS) == []


def test_rooms_need_what_they_may_import() -> None:
    """A right that no file uses is one to take away."""
    used = {(own, other) for _path, own, other in imports(MODULE_UTILS)}
    may = {(room, other) for room, names in allowed().items() if room != "jobs" for other in names}
    assert may - used == set()


def test_page_has_every_room_and_no_other() -> None:
    """In an order in which none imports a later one."""
    assert list(allowed()) == [OUTSIDE, *(room for room in allowed() if (MODULE_UTILS / room).is_dir())]
    assert set(allowed()) == {
        OUTSIDE,
        *(path.name for path in MODULE_UTILS.iterdir() if (path / "x").parent.is_dir() and any(path.glob("*.py"))),
    }
    seen: set[str] = set()
    for room, names in allowed().items():
        assert names <= seen, room
        seen.add(room)


@pytest.mark.parametrize(
    "line",
    [
        f"from {PACKAGE}.helm.cli import Helm",
        f"from {PACKAGE}.helm import cli",
        f"from {PACKAGE} import codes, helm",
        f"import {PACKAGE}.helm.cli",
        f"def late():\n    from {PACKAGE}.jobs import runner",
    ],
)
def test_import_that_points_up_is_found(line: str, tmp_path: Path) -> None:
    """However it is written."""
    for room in ("cluster", "helm", "jobs"):
        (tmp_path / room).mkdir()
    (tmp_path / "cluster/planted.py").write_text(line)
    assert len(wrong(tmp_path)) == 1


def test_few_files_have_no_room() -> None:
    """Who looks for something looks for its room."""
    assert len(list(MODULE_UTILS.glob("*.py"))) <= 6


def test_files_and_functions_are_short() -> None:
    """But for tables."""
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        text = path.read_text()
        assert path.name in TABLES or len(text.splitlines()) <= LONGEST_FILE, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, f"{path}: {node.name}"
