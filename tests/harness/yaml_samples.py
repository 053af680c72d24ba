# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML made by chance: scalars of every spelling, and documents of every construct, some of which are no YAML."""

from __future__ import annotations

import re
import string
from random import Random

#: Words that some reader of YAML takes for more than text.
WORDS = (
    *("y", "Y", "yes", "Yes", "n", "N", "no", "NO", "on", "On", "off", "OFF", "true", "True", "TRUE", "tRue", "false"),
    *("null", "Null", "~", "none", ".inf", "-.INF", "+.Inf", ".nan", ".NaN", "Infinity", "NaN", "=", "<<", ".", "..."),
    *("2026-11-30", "2026-1-2T3:4:5Z", "2026-11-30 18:00:00", "12:30", "1:2:3", "190:20:30.15", "-1:30", "07:08"),
    *(
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "1e400",
        "-0",
        "-0.0",
    ),
    *(
        "0o17",
        "0O7",
        "017",
        "08",
        "0b101",
        "-0b1",
        "0b-1",
        "0b+1",
        "-0b-1",
        "0o-7",
        "0xF",
        "0x",
        "0x_F",
        "1_000",
        "1__0",
        "_1",
        "1_",
        "1e3",
        "1E-7",
        "1.",
    ),
    *(".5", ".5_0", "+.5", "-.5e+3", "1.5e", "1e21", "123456789.0", "0.1", "1.10", "0.30000000000000004", "1.0"),
    *("plain", "two words", "é", "a-b", "10.0.0.1", "v1.31.0", "a:b", "a#b", "50%", "/path", "x@y", "1,5"),
)
_NUMERIC = "0123456789" * 2 + "____..--++eExXoObBaF:"
_ANY = string.ascii_letters + string.digits + "_.-+:/~ <>=&*'\"|%@`,[]{}#?\\é"
#: Where libyaml and its translation into Go part, in a list or map in one line: a word that ends with a colon is
#: refused by the one, a question mark within it by the other.
_DISPUTED = re.compile(r"\?|:(?=[,\[\]{}]|$)")
_TAGS = (
    "",
    "",
    "",
    "",
    "!!str ",
    "!!int ",
    "!!float ",
    "!!bool ",
    "!!null ",
    "!!binary ",
    "!!timestamp ",
    "!own ",
    "! ",
)


def seeded(seed: int) -> Random:
    """Chance that can be repeated."""
    return Random(seed)  # noqa: S311 - nothing is kept secret by it


def scalar(random: Random) -> str:
    """A scalar without quotes: a word, something like a number, or noise in which anything may be."""
    kind = random.random()
    if kind < 0.5:
        return random.choice(WORDS)
    alphabet, longest = (_NUMERIC, 8) if kind < 0.85 else (_ANY, 6)
    return "".join(random.choices(alphabet, k=random.randint(1, longest)))


def styled(random: Random) -> str:
    """A scalar, now and then with a tag or in quotes."""
    text, style = scalar(random), random.random()
    if style < 0.1:
        text = "'" + text.replace("'", "''") + "'"
    elif style < 0.2:
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return (random.choice(_TAGS) if random.random() < 0.15 else "") + text


def flow(random: Random, depth: int = 2) -> str:
    """A value in one line: a scalar, a list or a map; anchors, references and merges among them."""
    kind = random.random()
    if not depth or kind < 0.5:
        return _DISPUTED.sub(".", styled(random))
    if kind < 0.6:
        return f"*{random.choice('ab')}"
    mark = f"&{random.choice('ab')} " if random.random() < 0.3 else ""
    if kind < 0.75:
        return f"{mark}[{', '.join(flow(random, depth - 1) for _ in range(random.randint(0, 3)))}]"
    return f"{mark}{{{', '.join(_pair(random, depth - 1) for _ in range(random.randint(0, 3)))}}}"


def _pair(random: Random, depth: int) -> str:
    if random.random() < 0.2:
        source = random.choice(["*a", "*b", "[*a, *b]", "{q: 1}", flow(random, depth)])
        return f"<<: {source}"
    return f"{_DISPUTED.sub('.', styled(random))}: {flow(random, depth)}"


def document(random: Random) -> str:
    """A map of a few lines, as a chart's values are; often the same key again."""
    lines = ["a: &a {p: 1, q: 2}", "b: &b {q: 3, r: *a}"] if random.random() < 0.5 else []
    for _line in range(random.randint(1, 4)):
        key = random.choice(["k", "l", "m", styled(random)])
        kind = random.random()
        if kind < 0.6:
            lines.append(f"{key}: {flow(random)}")
        elif kind < 0.7:
            lines += [f"{key}:", *(f"- {flow(random)}" for _item in range(2))]
        elif kind < 0.8:
            lines += [f"{key}:", *(f"  {_pair(random, 1)}" for _item in range(2))]
        elif kind < 0.9:
            style = random.choice(["|", ">", "|-", ">+", "|2"])
            lines += [f"{key}: {style}", f"  {scalar(random)}", "", f"   {scalar(random)}"]
        else:
            lines += [f"{key}: {scalar(random)}", f"  {scalar(random)} # {scalar(random)}"]
    ends = random.choice(["", "\n", "\r\n", "\n---\nk: 1", "\n...\n", "\n# end"])
    return ("\r\n" if ends == "\r\n" else "\n").join(lines) + ends
