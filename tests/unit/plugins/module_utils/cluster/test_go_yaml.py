# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML is read as helm and kubectl read it; tests/apiserver/test_yaml_property.py asks the programs themselves."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import yaml

from ansible_collections.meshops.istio.plugins.module_utils.cluster import go_yaml
from ansible_collections.meshops.istio.plugins.module_utils.cluster.go_yaml import (
    Unreadable,
    canonical,
    dump,
    load,
    load_all,
)

#: Scalars without quotes, and the JSON that Go makes of them.
SCALARS: dict[str, str] = {
    # Words.
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), "true"),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), "false"),
    **dict.fromkeys(("~", "null", "Null", "NULL"), "null"),
    **{
        word: json.dumps(word) for word in ("tRUE", "yEs", "oN", "nULL", "none", "None", "=", "inf", "nan", ".Infinity")
    },
    # Integers.
    "0": "0",
    "-0": "0",
    "+1": "1",
    "-1": "-1",
    "0o17": "15",
    "0O17": "15",
    "017": "15",
    "0777": "511",
    "-017": "-15",
    "0xF": "15",
    "0XfF": "255",
    "-0x10": "-16",
    "0b101": "5",
    "0B11": "3",
    "-0b11": "-3",
    "0b-11": "-3",
    "0b+_11": "3",
    "0B-11": '"0B-11"',
    "-0b-11": '"-0b-11"',
    "0x-11": '"0x-11"',
    "0o8": '"0o8"',
    "1_000": "1000",
    "1__0": "10",
    "1_": "1",
    "0x_F": "15",
    "-_1": "-1",
    "_1": '"_1"',
    "0x": '"0x"',
    "0b2": '"0b2"',
    "9007199254740993": "9007199254740993",
    "9223372036854775808": "9223372036854775808",
    "18446744073709551615": "18446744073709551615",
    "18446744073709551616": "18446744073709552000",
    "+9223372036854775808": "9223372036854776000",
    "-9223372036854775809": "-9223372036854776000",
    "0xFFFFFFFFFFFFFFFFF": '"0xFFFFFFFFFFFFFFFFF"',
    # Floats; 08 and 09 are no octal numbers.
    "1.0": "1",
    "1e3": "1000",
    "1E3": "1000",
    "1e+3": "1000",
    "1e-3": "0.001",
    ".5": "0.5",
    "1.": "1",
    "-.5": "-0.5",
    "08": "8",
    "09.5": "9.5",
    "1_0.5": "10.5",
    "1e21": "1e+21",
    "1e-7": "1e-07",
    "1e400": '"1e400"',
    "1.5e": '"1.5e"',
    ".5_0": "0.5",
    "._5": '"._5"',
    ".5_": '".5_"',
    ".": '"."',
    ".e3": '".e3"',
    "+": '"+"',
    "1e": '"1e"',
    "0x1p-2": '"0x1p-2"',
    # What YAML 1.1 has beside: numbers to base 60 and dates.
    **{word: json.dumps(word) for word in ("12:30", "1:30.5", "190:20:30", "2026-11-30", "2026-11-30T18:00:00Z")},
    **{word: json.dumps(word) for word in ("2026-11-30 18:00:00", "1.2.3", "10.0.0.1", "1-2", "0.1.0", "a b", "é")},
}


@pytest.mark.parametrize("text", SCALARS, ids=lambda text: text or "nothing")
def test_scalar(text: str) -> None:
    """A plain scalar is what the table says; the same in quotes is text."""
    wanted = json.loads(SCALARS[text])
    found = load(f"value: {text}")["value"]
    assert (found, type(found)) == (wanted, type(wanted))
    assert load(f"value: '{text}'") == {"value": text}
    assert load(f'value: "{text}"') == {"value": text}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!!str 12", "12"),
        ("!!str", ""),
        ("!!int '0x10'", 16),
        ("!!float 3", 3),
        ("!!bool 'yes'", True),
        ("!!null ~", None),
        ("!!binary aGVsbG8=", "hello"),
        ("!!timestamp 2026-11-30", "2026-11-30"),
        ("! 12", "12"),
        ("!own 12", "12"),
        ("!own {a: 1}", {"a": 1}),
        ("!!set {a, b}", {"a": None, "b": None}),
        ("|\n  12\n", "12\n"),
        (">-\n  12\n  30\n", "12 30"),
        ("", None),
        ("{a: }", {"a": None}),
    ],
)
def test_tags_and_styles(text: str, expected: Any) -> None:
    """A tag says what a scalar is; one that Go does not know says nothing."""
    assert load(f"value: {text}") == {"value": expected}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{8080: a, true: b, y: c, 1.5: d, 1e6: e, 0x10: f, 2026-11-30: g, '1': h}",
         {"8080": "a", "true": "c", "1.5": "d", "1e+06": "e", "16": "f", "2026-11-30": "g", "1": "h"}),
        ("{123456789.0: a, 1e-5: b, 0.0001: c, 100000.0: d, -1.5e7: e}",
         {"1.2345679e+08": "a", "1e-05": "b", "0.0001": "c", "100000": "d", "-1.5e+07": "e"}),
        ("a: 1\na: 2", {"a": 2}),
        ("{'<<': 1}", {"<<": 1}),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}", {"x": {"a": 1, "b": 2}, "true": {"a": 1, "b": 3}}),
        ("x: &x {a: 1}\nz: {a: 2, <<: *x}", {"x": {"a": 1}, "z": {"a": 1}}),
        ("x: &x {a: 1}\nw: &w {a: 2, b: 2}\nz: {<<: [*x, *w]}",
         {"x": {"a": 1}, "w": {"a": 2, "b": 2}, "z": {"a": 1, "b": 2}}),
        ("a: &x 1\nb: *x\nc: &x 2\nd: *x", {"a": 1, "b": 1, "c": 2, "d": 2}),
    ],
)  # fmt: skip
def test_maps(text: str, expected: dict[str, Any]) -> None:
    """Keys are text in JSON, written as Go writes them; a merge overrides what stands before it."""
    assert load(text) == expected


@pytest.mark.parametrize(
    "text",
    ["a: .inf", "a: .nan", "~: 1", "{[a]: 1}", "{{a: 1}: 1}", "a: &x [*x]", "a: *x", "<<: 1", "<<: [1]", "a: !!int b",
     "a: !!float b", "a: !!null b", "a: !!bool 1", "a: !!binary '*'", "a: [", "a: b: c", "\ta: 1",
     "18446744073709551615: a", "a: \x01", 'a: "\\ud800"', "a: !!int 1.5", "a: [1, , ]"],
)  # fmt: skip
def test_what_go_refuses(text: str) -> None:
    """One error, whatever it is, in one line."""
    with pytest.raises(Unreadable) as caught:
        load(text)
    assert "\n" not in str(caught.value)


def test_aliases_without_end() -> None:
    """Nine lines that would be a billion values are refused before they are made."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(Unreadable, match="excessive aliasing"):
        load("\n".join(lines))


def test_documents() -> None:
    """As many as there are; helm reads but the first of a file."""
    text = "# nothing\n---\na: 12:30\n---\n---\n- y\n...\n---\nb"
    assert list(load_all(text)) == [{"a": "12:30"}, None, [True], "b"]
    assert load(text) == {"a": "12:30"}
    assert load("") is None
    assert load(b"\xef\xbb\xbfa: \xc3\xa9\r\nb: 2\r\n") == {"a": "é", "b": 2}


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", "a"), (None, ""), (True, "true"), (1, "1"), (1.5, "1.5"), (1e21, "1e+21"), (math.inf, ".inf"),
     (1e39, ".inf"), (-math.inf, "-.inf"), (math.nan, ".nan"), (1.10, "1.1"),
     (16777217.0, "1.6777216e+07"), (0.0, "0")],
)  # fmt: skip
def test_text(value: Any, expected: str) -> None:
    """As Go makes text of a chart's version that is a number."""
    assert go_yaml.text_of(value) == expected


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"a": 1, "b": [1]}, {"b": [1.0], "a": 1.0}, True),
        ({"a": 2**53 + 1}, {"a": 9007199254740992}, True),
        ({"a": 18446744073709551615}, {"a": 1.8446744073709552e19}, True),
        ({"a": 10**22}, {"a": 1e22}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": None}, {}, False),
        ({"a": 0.1}, {"a": 0.1 + 2**-54}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({1: "a"}, {"1": "a"}, True),
    ],
)
def test_canonical(one: Any, other: Any, alike: bool) -> None:
    """What helm keeps alike is alike: its numbers have 64 bits."""
    assert (canonical(one) == canonical(other)) is alike


def test_numbers_beyond_json() -> None:
    """Named by where they stand."""
    data = {"a": [1, math.nan], "b": {"c": math.inf, "d": 1e308, "e": 10**308}, "f": 10**400, "g": True, "h": None}
    assert list(go_yaml.beyond_json(data)) == ["a[1]", "b.c", "f"]


#: Texts that one reader or the other takes for something else unless they are in quotes.
TRAPS = [
    *SCALARS,
    "",
    "<<",
    "0o17",
    "1e3",
    "a: b",
    "- a",
    "# a",
    "a\nb",
    "a #b",
    "*a",
    "&a",
    "!a",
    "%a",
    "@a",
    "`a",
    " a ",
]


@pytest.mark.parametrize("text", TRAPS, ids=lambda text: text or "nothing")
def test_dump(text: str) -> None:
    """What people copy into a values file or an inventory is read there as it was, by Go and by Ansible."""
    data = {"text": text, text: [text], "numbers": [1, 1.5, 1e22, -3, True, None, {}, []]}
    written = dump(data)
    assert load(written) == data
    assert yaml.safe_load(written) == data


def test_dump_says_everything_twice() -> None:
    """No reference to something above, and the order is kept."""
    shared = {"z": 1, "a": 2}
    assert dump({"b": shared, "a": shared}) == "b:\n  z: 1\n  a: 2\na:\n  z: 1\n  a: 2\n"
