# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No regular expression of the plugins takes more than linear time: text comes from charts, servers, logs and programs.

Every call of ``re`` in the plugins is found in their source, so that a new one is tested the day it is written.
"""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from harness.playbooks import ROOT

from ansible_collections.meshops.istio.plugins.module_utils.secrets import names
from ansible_collections.meshops.istio.plugins.module_utils.secrets.hiding import hidden
from ansible_collections.meshops.istio.plugins.module_utils.secrets.text import hidden_text

pytestmark = pytest.mark.once

PACKAGE = "ansible_collections.meshops.istio.plugins"
PLUGINS = ROOT / "plugins"
#: What repeats; each expression's own words do too.
PIECES = (
    *("-", "a", "A", "0", ".", "=", '"', "'", "\n", " ", "/", "\\", "{", ":", "é"),
    *("- ", "a ", "a-", "a.", "a:", "a=", 'a="', "a\n", "a: ", "aB3", "1.", '\\"', "\\n"),
    *(
        "Bearer ",
        "authorization:a ",
        "token=",
        "--token ",
        "password: |\n",
        "eyJ",
        "-eyJa",
        "://",
        "://a",
        "LS0tLS1CRUdJTi\n",
    ),
    *("-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
)
LARGE = 32 << 10
#: Seconds of processor time that the large one may take; 32 KiB of dashes took 18.
BOUND = 0.5
#: Below this, time is the clock's and the machine's.
NOISE = 0.1


def modules() -> Iterator[tuple[ModuleType, ast.Module]]:
    """Every file of the plugins that Python can import, with its source."""
    for path in sorted(PLUGINS.rglob("*.py")):
        relative = path.relative_to(PLUGINS).with_suffix("")
        if relative.parts[0] in ("modules", "action", "doc_fragments") or relative.name == "__init__":
            continue
        yield importlib.import_module(".".join((PACKAGE, *relative.parts))), ast.parse(path.read_text())


def _compiled(value: Any, seen: set[int]) -> Iterator[re.Pattern[Any]]:
    """Expressions in a module's tables, however deep."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, (list, tuple, dict, set, frozenset)) and id(value) not in seen:
        seen.add(id(value))
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _compiled(item, seen)


class _Escaped(ast.NodeTransformer):
    """Text that is escaped is as good as any other."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        escapes = isinstance(node.func, ast.Attribute) and node.func.attr == "escape"
        return ast.Constant("example") if escapes else node


def _called(module: ModuleType, tree: ast.Module) -> Iterator[tuple[int, str, re.Pattern[Any] | None]]:
    """Calls of ``re`` in a source: line, function and expression, which is None where it is not written there."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "re" and node.func.attr != "escape":
            written = ast.fix_missing_locations(_Escaped().visit(node.args[0]))
            try:
                pattern = eval(compile(ast.Expression(written), "", "eval"), vars(module))  # noqa: S307 -- ours
            except NameError:
                yield node.lineno, node.func.attr, None
            else:
                yield node.lineno, node.func.attr, re.compile(pattern, _flags(module, node))


def _flags(module: ModuleType, node: ast.Call) -> int:
    position = {"compile": 1, "sub": 4}.get(node.func.attr, 2)  # type: ignore[attr-defined]
    given = [keyword.value for keyword in node.keywords if keyword.arg == "flags"] or node.args[position : position + 1]
    return int(eval(compile(ast.Expression(given[0]), "", "eval"), vars(module))) if given else 0  # noqa: S307


def _uses(module: ModuleType, tree: ast.Module) -> dict[re.Pattern[Any], set[str]]:
    """How a source uses its expressions that have a name: ``_NAME.match`` begins at one place, ``search`` at all."""
    found: dict[re.Pattern[Any], set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            pattern = vars(module).get(node.id)
            if isinstance(pattern, re.Pattern):
                found.setdefault(pattern, set()).add("somehow")
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            pattern = vars(module).get(node.value.id)
            if isinstance(pattern, re.Pattern):
                found.setdefault(pattern, set()).add(node.attr)
    return found


def _search(pattern: re.Pattern[Any]) -> Callable[[Any], Any]:
    return lambda text: sum(1 for _match in pattern.finditer(text))


def _work(pattern: re.Pattern[Any], uses: set[str]) -> Callable[[Any], Any]:
    """As it is used: at one place only where it is used so everywhere."""
    anchored = uses - {"somehow", "pattern"}
    if anchored and anchored <= {"match", "fullmatch"}:
        return pattern.fullmatch if anchored == {"fullmatch"} else pattern.match
    return _search(pattern)


def expressions() -> dict[str, tuple[re.Pattern[Any], Callable[[Any], Any]]]:
    """All of them and how they are used, by where they stand."""
    found: dict[str, tuple[re.Pattern[Any], Callable[[Any], Any]]] = {}
    for module, tree in modules():
        name = module.__name__.removeprefix(f"{PACKAGE}.")
        tables, uses = list(dict.fromkeys(_compiled(vars(module), set()))), _uses(module, tree)
        for pattern in tables:
            found[f"{name} {pattern.pattern!r:.60}"] = pattern, _work(pattern, uses.get(pattern, set()))
        for line, function, pattern in _called(module, tree):
            # What a function compiles for a table is found in the table.
            seen = pattern is not None or (function == "compile" and tables)
            assert seen, f"{name}:{line}: an expression that this test cannot see"
            if pattern is not None and pattern not in tables:
                found[f"{name}:{line}"] = pattern, _work(pattern, {function})
    return found


EXPRESSIONS = expressions()


def words_of(pattern: re.Pattern[Any]) -> list[str]:
    """What an expression waits for, which it begins anew each time that it comes."""
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode()
    return [word for word in dict.fromkeys(re.findall(r"[A-Za-z0-9:/ =-]{2,}", text)) if len(word) < 60]


def seconds(work: Callable[[Any], Any], text: Any) -> float:
    """The shortest of a few attempts: a busy machine only adds."""
    best = float("inf")
    for _attempt in range(3):
        started = time.process_time()
        work(text)
        best = min(best, time.process_time() - started)
        if best < NOISE:
            break
    return best


def hostile(pieces: list[str], size: int) -> Iterator[str]:
    """Each piece again and again; with an end that spoils the match, and with a beginning that invites one."""
    for piece in pieces:
        text = piece * (size // len(piece))
        yield from (f"{text}\x00", f"token={text}!")


def assert_linear(
    work: Callable[[Any], Any], pieces: list[str], encode: Callable[[str], Any] = str, size: int = LARGE
) -> None:
    """Twice the text takes at most three times as long. :raises AssertionError: it does not; names the text"""
    for small, large in zip(hostile(pieces, size // 2), hostile(pieces, size), strict=True):
        took = seconds(work, encode(large))
        assert took < BOUND, f"{took:.2f} s for {len(large)} characters of {large[:40]!r}"
        if took > NOISE:
            assert took < 3 * seconds(work, encode(small)), f"grows faster than {large[:40]!r}"


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_expression_is_linear(where: str) -> None:
    """Searched for everywhere in the text, unless it only ever begins at one place of it."""
    pattern, work = EXPRESSIONS[where]
    assert_linear(work, [*PIECES, *words_of(pattern)], str.encode if isinstance(pattern.pattern, bytes) else str)


def test_all_of_them_are_found() -> None:
    """In tables, by names, and where they are written into a call."""
    found = [where.split()[0].partition(":")[0] for where in EXPRESSIONS]
    assert found.count("module_utils.secrets.text") >= 12
    assert set(found) >= {
        f"module_utils.{name}" for name in ("helm.sources", "cluster.readiness", "mesh.versions", "helm.cli")
    }
    assert len(found) > 50


def test_test_finds_an_expression_that_is_not() -> None:
    """One that was here, and took 18 s for 32 KiB of dashes."""
    slow = re.compile(r"(--[\w-]*(?:password|secret|token)\s+)(?!-)\S+", re.IGNORECASE)
    with pytest.raises(AssertionError):
        assert_linear(_search(slow), ["-"], size=4 << 10)


def test_hiding_is_linear() -> None:
    """All of it together, in data and as a document in a string; a megabyte at the most."""
    assert_linear(hidden_text, list(PIECES))
    for text in ("-" * (1 << 20), "a=" * (1 << 19), "-----BEGIN " * 95000, f'{{"password": "{"a" * (1 << 20)}"}}'):
        started = time.process_time()
        hidden({"password": "x", "text": [text]})
        assert time.process_time() - started < 20 * BOUND, text[:40]


def test_names_of_keys_are_read_in_linear_time() -> None:
    """A key may be as long as its text."""
    assert_linear(lambda text: names.is_word(text) or names.is_deep.__wrapped__(text), list(PIECES))
