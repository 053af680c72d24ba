# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/findings.md has a section for every code and every message, and none for what no code says any more.

What a fix names at run time, the page names too: neither can go another way unseen.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from harness.messages import FOLDER, GAP, RAISED, Told, told

from ansible_collections.meshops.istio.plugins.module_utils.findings import CODES

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/findings.md").read_text()
SECTIONS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^#|\Z)", TEXT, re.DOTALL | re.MULTILINE))
HEADED_BY_CODE = re.compile(r"^`([a-z-]+)` \((\w+)\)$")
BY_CODE = {match[1]: heading for heading in SECTIONS for match in [HEADED_BY_CODE.match(heading)] if match}
QUOTED = {heading: re.findall(r'"([^"]+)"', heading) for heading in SECTIONS}
FRAGMENTS = [fragment for fragments in QUOTED.values() for fragment in fragments]
FAILURES = [one for one in told() if one.raised]
TOLD = [text for one in told() for text in one.texts]
#: What preflight turns into a finding of its own, or what stands for a list of other messages.
ELSEWHERE = {"cannot be fetched without helm.", f"{GAP} Gateway: {GAP}. {GAP}"}
#: What a fix may name that has a name of its own: variables of the roles, the environment's, and files of docs/.
NAMED = re.compile(
    r"\b(?:istio|preflight|psp_rbac|crds|liveness_verify|diagnose)_[a-z][a-z_]*[a-z]\b|\bK8S_AUTH_[A-Z_]+[A-Z]\b|"
    r"\b(?:HTTPS_PROXY|XDG_CACHE_HOME|KUBECONFIG)\b|\brbac[a-z-]*\.yml\b"
)
#: Names of roles, which are no variables.
ROLES = {path.name for path in (ROOT / "roles").iterdir()}
#: How a fix begins, which has no business in a message.
IMPERATIVE = re.compile(
    r"[.!?;] (?:Add|Allow|Ask|Bind|Change|Check|Choose|Correct|Create|Delete|Expose|Find out|Fix:|Follow|Free|Give|"
    r"Grant|Increase|Install|Leave|Let|List|Load|Look|Make|Match|Merge|Move|Name|Put|Raise|Remove|Rename|Renew|Replace|"
    r"Restart|Run|Scale|Set|Stop|Uninstall|Update|Upgrade|Use|Wait|Write) "
)

#: An option, or a path to a value in one, before a colon.
TITLE = re.compile(rf"[a-z{GAP}][a-z_{GAP}]*: ")
#: A fix may be a command alone.
COMMAND = re.compile(r"kubectl |helm ")


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


def test_every_code_has_a_section_in_the_order_of_the_table_with_its_severity() -> None:
    """The codes are a promise to whoever reads them at 3 a.m."""
    assert [match.groups() for match in map(HEADED_BY_CODE.match, SECTIONS) if match] == list(CODES.items())


@pytest.mark.parametrize("code", CODES)
def test_code_is_made_by_a_check_and_tested(code: str) -> None:
    """One that no check makes is a promise of nothing."""
    assert code in MADE
    assert code in TESTED


def test_no_code_is_made_that_the_table_has_not() -> None:
    """Codes of failures are looked up by nobody at run time."""
    assert {code for one in told() for code in one.codes} <= CODES.keys()


def test_sections_of_codes_differ() -> None:
    """Two codes of one cause would be one too many."""
    causes = [SECTIONS[heading].partition("**See**")[0].strip() for heading in BY_CODE.values()]
    assert len(set(causes)) == len(CODES)


def test_commands_are_not_broken_in_two() -> None:
    """Whoever copies a command gets all of it."""
    lines = re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE).splitlines()
    assert [line for line in lines if line.count("`") % 2] == []


@pytest.mark.parametrize("heading", SECTIONS)
def test_section_says_cause_how_to_see_it_and_fix(heading: str) -> None:
    """Or sends the reader to one that does."""
    body = SECTIONS[heading]
    assert body.strip().startswith("As ") or all(f"**{word}**" in body for word in ("Cause", "See", "Fix"))


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_quoted_message_is_one_that_the_code_has(fragment: str) -> None:
    """A heading that no message holds cannot be found by searching."""
    assert any(fragment in text for text in [*TOLD, *JOBS])


def sections_of(one: Told) -> list[str]:
    """Headings of the page's sections about a failure or a finding."""
    quoting = [
        heading
        for heading, fragments in QUOTED.items()
        if one.raised and any(fragment in text for fragment in fragments for text in one.texts)
    ]
    return [*(BY_CODE[code] for code in sorted(one.codes)), *quoting]


def sent_to(headings: list[str]) -> set[str]:
    """Codes to whose sections some sections send their reader."""
    return {code for heading in headings for code in re.findall(r"\bAs (?:for )?\[?`([a-z-]+)`", SECTIONS[heading])}


def test_every_message_is_quoted() -> None:
    """A new message needs a section, or its words in the heading of one; what has a code is found by that."""
    unknown = [
        one.where
        for one in FAILURES
        if len("".join(one.message).replace(GAP, "")) > 5  # what only joins other messages has no words of its own
        and not sections_of(one)
        and not ELSEWHERE & set(one.message)
    ]
    assert unknown == []


def test_the_page_names_what_a_fix_names() -> None:
    """Of one finding: whoever reads either is sent to the same variable, file or permission."""
    missing = {}
    for one in told():
        headings = sections_of(one)
        page = " ".join(heading + SECTIONS[heading] for heading in [*headings, *map(BY_CODE.get, sent_to(headings))])
        names = {name for text in one.fix for name in NAMED.findall(text)} - ROLES
        absent = sorted(name for name in names if name not in page)
        if headings and absent:
            missing[one.where] = (absent, headings)
    assert missing == {}


def test_the_walk_sees_what_is_told() -> None:
    """Else the others could not fail: each class of failure, most codes, and fixes with names."""
    nodes = [node for path in FOLDER.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    failures = {
        node.name
        for node in nodes
        if isinstance(node, ast.ClassDef) and {getattr(base, "id", "") for base in node.bases} & {"JobError"}
    }
    assert failures - {"HelmError", "JobErrors", "Unreadable"} == RAISED.keys() - {"JobError"}
    assert len(FAILURES) > 110
    assert len([one for one in told() if NAMED.search(" ".join(one.fix))]) > 60
    assert len({code for one in told() for code in one.codes}) > 75


def test_each_part_stands_by_itself() -> None:
    """No object or fix stands in a message: reports read them apart. A fix is a sentence."""
    named = [one.where for one in FAILURES if one.object == ("",) and any(TITLE.match(text) for text in one.message)]
    assert named == []
    glued = [one.where for one in FAILURES if any(IMPERATIVE.search(f". {text}") for text in one.message)]
    assert glued == []
    begun = [one.where for one in FAILURES for text in one.fix if text[:1].islower() and not COMMAND.match(text)]
    assert begun == []
