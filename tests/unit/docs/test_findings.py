# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/findings.md has a section for every code and every message, and none for what no code says any more."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import findings_page
import pytest

from ansible_collections.meshops.istio.plugins.module_utils.findings import CODES

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/findings.md").read_text()
SECTIONS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^#|\Z)", TEXT, re.DOTALL | re.MULTILINE))
HEADED_BY_CODE = re.compile(r"^`([a-z-]+)` \((\w+)\)$")
FRAGMENTS = [part for heading in SECTIONS for part in re.findall(r'"([^"]+)"', heading)]
RAISED = ("ChartError", "HelmError", "JobError", "NotServed", "Unreachable")
#: What preflight turns into a finding of its own, or what stands for a list of other messages.
ELSEWHERE = {"there is no helm to fetch it with.", "helm is not at "}


def messages() -> list[list[str]]:
    """The literal parts of every message that a job ends with."""
    found = []
    for path in sorted((ROOT / "plugins/module_utils").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
                parts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                found.append([part for part in parts if isinstance(part, str)])
    return found


def strings(*folders: str) -> set[str]:
    """Every string in the Python files below some folders, and every word of their YAML files."""
    found: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*")):
        if path.suffix == ".py" and path.name not in ("codes.py", Path(__file__).name):
            nodes = ast.walk(ast.parse(path.read_text()))
            found |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        elif path.suffix == ".yml":
            found |= set(re.findall(r"[a-z]+(?:-[a-z]+)+", path.read_text()))
    return found


JOBS = strings("plugins/module_utils")
MADE, TESTED = strings("plugins", "roles"), " ".join(strings("tests"))


def test_codes_are_as_the_table_has_them() -> None:
    """`python3 tests/tools/findings_page.py` writes them."""
    assert findings_page.page() == findings_page.PAGE.read_text()


def test_every_code_has_a_section_with_its_severity_and_no_section_is_orphaned() -> None:
    """The codes are a promise to whoever reads them at 3 a.m."""
    documented = dict(match.groups() for match in map(HEADED_BY_CODE.match, SECTIONS) if match)
    assert documented == {name: code.severity for name, code in CODES.items()}


@pytest.mark.parametrize("code", CODES)
def test_code_is_made_by_a_check_and_tested(code: str) -> None:
    """One that no check makes is a promise of nothing."""
    assert code in MADE
    assert code in TESTED


def test_commands_are_not_broken_in_two() -> None:
    """Whoever copies a command gets all of it; text goes on in the next line."""
    command = "`kubectl get everything --of=this --and=that`"
    lines = findings_page.wrapped(" ".join(["word"] * 25) + f" {command}. End").splitlines()
    assert lines[1] == f"{command}. End"
    assert max(map(len, lines)) <= findings_page.WIDTH


@pytest.mark.parametrize("heading", SECTIONS)
def test_section_says_cause_how_to_see_it_and_fix(heading: str) -> None:
    """Or sends the reader to one that does."""
    body = SECTIONS[heading]
    assert body.strip().startswith("As ") or all(f"**{word}**" in body for word in ("Cause", "See", "Fix"))


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_quoted_message_is_one_that_the_code_has(fragment: str) -> None:
    """A heading that no message holds cannot be found by searching."""
    assert any(fragment in text for text in JOBS)


def test_every_message_is_quoted() -> None:
    """A new message needs a section, or its words in the heading of one."""
    unknown = [
        parts
        for parts in messages()
        if len("".join(parts)) > 5  # what only joins other messages has no words of its own
        and not any(fragment in part for fragment in FRAGMENTS for part in parts)
        and not ELSEWHERE & set(parts)
    ]
    assert unknown == []
