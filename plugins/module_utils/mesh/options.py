# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that describe a mesh as modules take them; ``option_table`` has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.mesh.option_table import OPTIONS

#: What a row of the table has beside what Ansible's argument specs know.
_OURS = frozenset(("description", "variable_default", "reaches"))


def _argument(row: Mapping[str, Any]) -> dict[str, Any]:
    argument = {key: value for key, value in row.items() if key not in _OURS}
    if "options" in argument:
        argument["options"] = {name: _argument(below) for name, below in argument["options"].items()}
    return argument


#: Of every module of action group ``meshops.istio.mesh``; documentation fragment meshops.istio.mesh describes it.
MESH_ARGUMENT_SPEC: dict[str, Any] = {name: _argument(row) for name, row in OPTIONS.items()}

#: Component -> option -> where its chart takes that, as a path in Helm values.
PLACES: dict[str, dict[str, str]] = {}
for _option, _row in OPTIONS.items():
    for _component, _path in _row.get("reaches", {}).items():
        PLACES.setdefault(_component, {})[_option] = _path
