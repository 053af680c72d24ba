# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plugins tell people, read out of their source: each failure and each finding, in its parts.

A part is a list of texts, one for each way in which it can come about, with ``GAP`` for what only a run knows.
``python3 tests/harness/messages.py`` prints them all.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "plugins/module_utils"
#: Exceptions that make a text of their parts, with what stands between object and message.
RAISED = {
    "ChartError": " ",
    "ErrorAbout": ": ",
    "JobError": " ",
    "NotServed": " ",
    "Unreachable": " ",
    "_AnotherGateway": " ",
}
#: What takes code, object, message and fix in this order.
FOUND = ("Finding", "Symptom", "add")
GAP = "\N{HORIZONTAL ELLIPSIS}"
#: Ways that are followed of one part, and names that stand for names.
_MOST, _DEPTH = 24, 3


@dataclass(frozen=True)
class Told:
    """One place where a failure or a finding is made.

    :ivar frozenset codes: that it may have
    :ivar bool raised: it is a failure
    """

    where: str
    codes: frozenset[str]
    object: tuple[str, ...]
    message: tuple[str, ...]
    fix: tuple[str, ...]
    joint: str
    raised: bool

    @property
    def texts(self) -> list[str]:
        """What people read of it."""
        conditions = [
            f"{about}{self.joint}{message}" if about else message for about in self.object for message in self.message
        ]
        return [f"{condition} {fix}".strip() for condition in conditions for fix in self.fix]


class _Module:
    """One file, and what its names stand for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_text())
        self.functions = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)]

    def scope(self, node: ast.AST) -> ast.AST:
        """The innermost function around a node, else the module."""
        line = getattr(node, "lineno", 0)
        around = [each for each in self.functions if each.lineno <= line <= (each.end_lineno or 0)]
        return max(around, key=lambda each: each.lineno, default=self.tree)


@cache
def _modules() -> list[_Module]:
    return [_Module(path) for path in sorted(FOLDER.rglob("*.py"))]


def _pairs(target: ast.expr | None, value: ast.expr | None) -> Iterable[tuple[str, ast.expr]]:
    """Names and what is assigned to them."""
    if isinstance(target, ast.Name) and value is not None:
        yield target.id, value
    elif isinstance(target, ast.Tuple):
        values = value.elts if isinstance(value, ast.Tuple) else [value] * len(target.elts)
        for name, each in zip(target.elts, values, strict=False):
            yield from _pairs(name, each)


@cache
def _names(scope: ast.AST) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(scope) if not isinstance(scope, ast.Module) else scope.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in targets:
                for name, value in _pairs(target, node.value):
                    found.setdefault(name, []).append(value)
    return found


@cache
def _constants() -> dict[str, list[ast.expr]]:
    """Names of all modules that are written as constants: they are imported by each other."""
    found: dict[str, list[ast.expr]] = {}
    for module in _modules():
        for name, values in _names(module.tree).items():
            if name.isupper():
                found.setdefault(name, []).extend(values)
    return found


def texts(node: ast.AST | None, scope: ast.AST, depth: int = _DEPTH) -> list[str]:
    """The ways in which an expression can read."""

    def of(part: ast.AST | None) -> list[str]:
        return texts(part, scope, depth)

    found = [GAP]
    if isinstance(node, ast.Constant):
        found = [str(node.value)] if isinstance(node.value, str) else [GAP]
    elif isinstance(node, (ast.JoinedStr, ast.BinOp)):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node.left, node.right]
        found = ["".join(way) for way in itertools.islice(itertools.product(*map(of, parts)), _MOST)]
    elif isinstance(node, ast.FormattedValue):
        found = of(node.value)
    elif isinstance(node, ast.IfExp):
        found = [*of(node.body), *of(node.orelse)]
    elif isinstance(node, ast.BoolOp):
        found = [way for part in node.values for way in of(part)]
    elif isinstance(node, (ast.Dict, ast.Tuple)):  # a table, of which one row is taken
        rows = node.values if isinstance(node, ast.Dict) else node.elts
        found = [way for row in rows for way in of(row)]
    elif isinstance(node, ast.Subscript):
        found = _of_row(node, scope, depth) or of(node.value)
    elif isinstance(node, ast.Call):
        found = _of_call(node, scope, depth)
    elif isinstance(node, ast.Name) and depth:
        values = [value for value in _names(scope).get(node.id, []) if value.lineno <= node.lineno]
        values = values or _constants().get(node.id, [])
        found = [way for value in values for way in texts(value, scope, depth - 1)]
    return list(dict.fromkeys(found))[:_MOST] or [GAP]


def _of_row(node: ast.Subscript, scope: ast.AST, depth: int) -> list[str]:
    """The row of a table whose key is written beside it."""
    tables = _constants().get(getattr(node.value, "id", ""), [])
    return [
        way
        for table in tables
        if isinstance(table, ast.Dict)
        for key, row in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(node.slice, ast.Constant) and key.value == node.slice.value
        for way in texts(row, scope, depth)
    ]


def _of_call(node: ast.Call, scope: ast.AST, depth: int) -> list[str]:
    name = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
    if name == "sentence":
        ways = texts(node.args[0], scope, depth)
        return [GAP if way == GAP else f"{way[:1].upper()}{way[1:].rstrip('.')}." for way in ways]
    if name in ("format", "strip", "get", "rstrip") and isinstance(node.func, ast.Attribute):
        return texts(node.func.value, scope, depth)
    return [GAP]


@cache
def told() -> list[Told]:
    """All places."""
    return [one for module in _modules() for node in ast.walk(module.tree) for one in _told(module, node)]


def _told(module: _Module, node: ast.AST) -> Iterable[Told]:
    if not isinstance(node, ast.Call):
        return
    name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in RAISED and node.args:
        code, about, message, fix = given.get("code"), given.get("object"), node.args[0], given.get("fix")
    elif name in FOUND and len(node.args) >= 4:
        code, about, message, fix = node.args[:4]
    else:
        return
    scope = module.scope(node)
    joint = given.get("joint")
    yield Told(
        f"{module.path.relative_to(FOLDER)}:{node.lineno}",
        frozenset(texts(code, scope)) - {GAP, ""} if code is not None else frozenset(),
        *(tuple(texts(part, scope)) if part is not None else ("",) for part in (about, message, fix)),
        joint.value if isinstance(joint, ast.Constant) else RAISED.get(name, ": "),
        name in RAISED,
    )


if __name__ == "__main__":
    for one in told():
        print(f"{one.where} {' '.join(sorted(one.codes))}")
        print("".join(f"    {text}\n" for text in one.texts))
