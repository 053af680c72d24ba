#!/usr/bin/env python3
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of variables in roles/*/README.md, written from meta/argument_specs.yml.

role_readmes.py          write them
role_readmes.py --check  say which are not current, and end with 1 if any
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
BEGIN = "<!-- variables: written by tests/tools/role_readmes.py from meta/argument_specs.yml -->"
END = "<!-- end of variables -->"
_TABLE = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
#: Ansible's markup -> Markdown: names and literals as code, the rest as it stands.
EMPTY = '""'
_CODE = re.compile(r"\b[COVEM]\(([^)]*)\)")


def roles() -> list[Path]:
    """Every role's directory."""
    return sorted(path.parent.parent for path in ROOT.glob("roles/*/meta/argument_specs.yml"))


def cell(text: str) -> str:
    """Text inside a table: one line, markup as Markdown."""
    return _CODE.sub(r"`\1`", " ".join(text.split())).replace("|", "\\|")


def description(option: dict[str, Any]) -> str:
    """An option's description with its choices; the names of what its items may hold."""
    words = option["description"]
    text = " ".join(words) if isinstance(words, list) else words
    if "choices" in option:
        text += " One of " + ", ".join(f"C({choice or EMPTY})" for choice in option["choices"]) + "."
    if "options" in option:
        names = (
            f"C({name})" + (" (required)" if sub.get("required") else "") for name, sub in option["options"].items()
        )
        text += " Each with " + ", ".join(names) + "."
    return text


def default(option: dict[str, Any]) -> str:
    """An option's default as it is written in YAML."""
    if option.get("required"):
        return "required"
    if "default" not in option:
        return "none"
    value = option.get("default")
    text = value if isinstance(value, str) and value else json.dumps(value)
    return "`{}`".format(text.replace("|", "\\|"))


def table(options: dict[str, dict[str, Any]]) -> str:
    """The whole part between the marks."""
    lines = ["| variable | what | type | default |", "|---|---|---|---|"]
    for name, option in options.items():
        kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
        lines.append(f"| `{name}` | {cell(description(option))} | {kind} | {default(option)} |")
    return "\n".join([BEGIN, "", *lines, "", END])


def options_of(role: Path) -> dict[str, dict[str, Any]]:
    """A role's variables; those of its name that a role on which it depends holds for it stand among its own."""
    own = _specs(role)
    names = [each["role"].rpartition(".")[2] for each in _load(role / "meta/main.yml").get("dependencies") or []]
    held = {name: option for other in names for name, option in _specs(role.parent / other).items()}
    ours = {name: option for name, option in held.items() if name.startswith(f"{role.name}_")}
    common = {name: option for name, option in own.items() if not name.startswith(f"{role.name}_")}
    return {**common, **ours, **own} if ours else own


def _load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def _specs(role: Path) -> dict[str, dict[str, Any]]:
    return _load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]


def readme(role: Path) -> str:
    """A role's README with its table as it should be.

    :raises SystemExit: there is no place for the table
    """
    text = (role / "README.md").read_text()
    if len(_TABLE.findall(text)) != 1:
        raise SystemExit(f"{role.name}/README.md: there must be one pair of lines\n{BEGIN}\n{END}")
    return _TABLE.sub(lambda _match: table(options_of(role)), text)


def main() -> int:
    """Write the tables, or say which are not current."""
    stale = [role for role in roles() if readme(role) != (role / "README.md").read_text()]
    if "--check" in sys.argv[1:]:
        for role in stale:
            print(f"roles/{role.name}/README.md is not current: run tests/tools/role_readmes.py")
        return int(bool(stale))
    for role in stale:
        (role / "README.md").write_text(readme(role))
        print(f"wrote roles/{role.name}/README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
