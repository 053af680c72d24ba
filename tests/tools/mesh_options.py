#!/usr/bin/env python3
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written from the table of a mesh's options, plugins/module_utils/mesh/option_table.py.

mesh_options.py          write the documentation fragment, role mesh_options, and the READMEs' tables
mesh_options.py --check  say which files are not current, and end with 1 if any
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import role_readmes
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.meshops.istio.plugins.module_utils.mesh.option_table import OPTIONS  # noqa: E402

ROLE = ROOT / "roles/mesh_options"
#: Users' variables are named after the role that installs what they describe.
PREFIX = "istio_helm_"
#: Entries of an argument spec that documentation has too, in its order.
DOCUMENTED = ("description", "type", "elements", "choices", "required", "default")
WIDTH = 120
HEADER = """\
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
WRITTEN = "# Written by tests/tools/mesh_options.py from plugins/module_utils/mesh/option_table.py."
_LINK = re.compile(r"\bO\((\w+)((?:\[\]|\.)[^)]*)?\)")
_MARKUP = re.compile(r"\b[COVEM]\(([^)]*)\)")


def dumped(value: dict[str, Any], indent: int = 0) -> str:
    """A map as YAML in lines of at most ``WIDTH`` characters, which no library's dumper keeps to for plain texts."""
    space, lines = " " * indent, []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            lines.append(f"{space}{key}:\n{dumped(item, indent + 2)}")
        elif key == "description" and isinstance(item, list):
            lines.append(f"{space}{key}:\n" + "".join(_wrapped(f"{space}  - ", text, indent + 4) for text in item))
        elif isinstance(item, str):
            lines.append(_wrapped(f"{space}{key}: ", item, indent + 2))
        else:
            lines.append(
                f"{space}{key}: {yaml.safe_dump(item, default_flow_style=True, width=WIDTH).splitlines()[0]}\n"
            )
    return "".join(lines)


def _is_plain(text: str) -> bool:
    """Whether YAML reads a text without quotes as that text."""
    try:
        return yaml.safe_load(f"x: {text}") == {"x": text}
    except yaml.YAMLError:
        return False


def _wrapped(start: str, text: str, indent: int) -> str:
    """A text after what comes before it on its line."""
    space, width = " " * indent, {"width": WIDTH, "break_long_words": False, "break_on_hyphens": False}
    if _is_template(text) and len(start + text) + 2 > WIDTH:
        return f"{start}>-\n{space}{text}\n"
    quoted = text if _is_plain(text) else f'"{text}"'
    return "\n".join(textwrap.wrap(quoted, initial_indent=start, subsequent_indent=space, **width)) + "\n"


def texts(row: dict[str, Any], link: Callable[[str], str]) -> str | list[str]:
    """A row's description with its links as another reader knows those options; a text, where it is one alone."""
    found = [_LINK.sub(lambda match: f"O({link(match[1])}{match[2] or ''})", text) for text in row["description"]]
    return found[0] if len(found) == 1 else found


# -- documentation of modules ------------------------------------------------------------------------------------------


def documented(row: dict[str, Any], link: Callable[[str], str]) -> dict[str, Any]:
    """An option as modules document it."""
    option = {key: row[key] for key in DOCUMENTED if key in row} | {"description": texts(row, link)}
    if "options" in row:
        option["suboptions"] = {name: documented(below, link) for name, below in row["options"].items()}
    return option


def elsewhere(name: str) -> str:
    """An option as module istio_liveness refers to it, which takes few of them."""
    return name if name in ("gateways", "preset", "exposure") else f"meshops.istio.istio_releases#module:{name}"


def fragment() -> str:
    """The documentation fragment; the gateways are a part of their own, since istio_liveness takes them too."""
    mesh = {name: documented(row, str) for name, row in OPTIONS.items() if name != "gateways"}
    gateways = {"gateways": documented(OPTIONS["gateways"], elsewhere)}
    return (
        f'{HEADER}{WRITTEN}\n"""Options that describe a mesh."""\n\nfrom __future__ import annotations\n\n\n'
        'class ModuleDocFragment:\n    """What every module of action group meshops.istio.mesh takes."""\n\n'
        f'    DOCUMENTATION = r"""\n{dumped({"options": mesh})}"""\n\n'
        f'    GATEWAYS = r"""\n{dumped({"options": gateways})}"""\n'
    )


# -- role mesh_options -------------------------------------------------------------------------------------------------


def default(row: dict[str, Any]) -> Any:
    """A variable's default: an empty one stands for an option that is not given."""
    return row.get("variable_default", row.get("default", ""))


def variable(row: dict[str, Any]) -> dict[str, Any]:
    """A variable's entry in the role's argument specs."""
    value, link = default(row), PREFIX.__add__
    option = {"description": texts(row, link), "type": row["type"]}
    option |= {key: row[key] for key in ("elements", "choices") if key in row}
    if "choices" in row and value not in row["choices"]:
        option["choices"] = [value, *row["choices"]]
    option["default"] = "" if _is_template(value) else value
    return option | _below(row, link)


def _below(row: dict[str, Any], link: Callable[[str], str]) -> dict[str, Any]:
    """The rest of an entry: options of options, and what is a secret."""
    found: dict[str, Any] = {"no_log": True} if row.get("no_log") else {}
    if "options" in row:
        found["options"] = {
            name: {key: below[key] for key in DOCUMENTED if key in below}
            | {"description": texts(below, link)}
            | _below(below, link)
            for name, below in row["options"].items()
        }
    return found


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value


def argument_specs() -> str:
    """The role's meta/argument_specs.yml."""
    main = {
        "short_description": "Options that describe a mesh",
        "description": [
            "Defines the variables that describe the mesh. Roles preflight, crds and istio_helm depend on this role, "
            "so the mesh that is checked is the mesh that is installed. It has no tasks."
        ],
        "options": {PREFIX + name: variable(row) for name, row in OPTIONS.items()},
    }
    return f"{HEADER}{WRITTEN}\n---\n{dumped({'argument_specs': {'main': main}})}"


def defaults() -> str:
    """The role's defaults/main.yml, each with the first text of its description."""
    parts = [f"{HEADER}{WRITTEN}\n---\n"]
    for name, row in OPTIONS.items():
        words = _LINK.sub(rf"{PREFIX}\1\2", row["description"][0])
        parts += [f"# {line}\n" for line in textwrap.wrap(_MARKUP.sub(r"\1", words), WIDTH - 2)]
        parts.append(dumped({PREFIX + name: default(row)}))
    return "".join(parts)


def given(name: str, row: dict[str, Any]) -> str:
    """What modules are given of a variable: nothing where it is empty and the option has no default."""
    is_left_out = "default" not in row and not row.get("required")
    return f"{{{{ {PREFIX}{name}{' or omit' if is_left_out else ''} }}}}"


def mapping() -> str:
    """The role's vars/main.yml."""
    options = "".join(f'  {name}: "{given(name, row)}"\n' for name, row in OPTIONS.items())
    return (
        f"{HEADER}{WRITTEN}\n---\n# Arguments that the roles pass to the modules of action group meshops.istio.mesh.\n"
        f"mesh_options_arguments:\n{options}"
    )


FILES: dict[Path, Callable[[], str]] = {
    ROOT / "plugins/doc_fragments/mesh.py": fragment,
    ROLE / "meta/argument_specs.yml": argument_specs,
    ROLE / "defaults/main.yml": defaults,
    ROLE / "vars/main.yml": mapping,
}


def main() -> int:
    """Write the files, or say which are not current."""
    stale = [path for path, text in FILES.items() if not path.exists() or path.read_text() != text()]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not current: run tests/tools/mesh_options.py")
        return int(bool(stale)) | role_readmes.main()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FILES[path]())
        print(f"wrote {path.relative_to(ROOT)}")
    return role_readmes.main()


if __name__ == "__main__":
    sys.exit(main())
