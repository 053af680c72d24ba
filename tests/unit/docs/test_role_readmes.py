# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles' READMEs say what their argument specs do."""

from __future__ import annotations

from pathlib import Path

import pytest
import role_readmes


@pytest.mark.parametrize("role", role_readmes.roles(), ids=lambda role: role.name)
def test_table_of_variables_is_current(role: Path) -> None:
    """`python3 tests/tools/role_readmes.py` writes it."""
    assert (role / "README.md").read_text() == role_readmes.readme(role)


def test_markup_becomes_markdown() -> None:
    """Names as code, choices and sub-options spelled out, and nothing that ends a table's cell."""
    options = {
        "role_x": {
            "description": ["As in O(role_y),", "or V(a|b)."],
            "type": "list",
            "elements": "dict",
            "choices": ["", "one"],
            "options": {"name": {"required": True}, "port": {}},
        }
    }
    row = role_readmes.table(options).splitlines()[4]
    assert row == (
        '| `role_x` | As in `role_y`, or `a\\|b`. One of `""`, `one`. Each with `name` (required), `port`.'
        " | list of dict | none |"
    )
