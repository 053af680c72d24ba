# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written from the table of a mesh's options is current, and says what the table does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mesh_options
import pytest
import yaml

pytestmark = pytest.mark.once

#: An option that there is not.
ROW: dict[str, Any] = {
    "description": [
        "Goes with O(hub) and O(gateways[].values): a text that holds a colon and a #, and is to be wrapped, as no "
        "line may be longer than all others are.",
        "Another.",
    ],
    "type": "str",
    "choices": ["a", "b"],
    "reaches": {"istiod": "global.new"},
}


@pytest.mark.parametrize("path", mesh_options.FILES, ids=lambda path: str(path.relative_to(mesh_options.ROOT)))
def test_file_is_current(path: Path) -> None:
    """`python3 tests/tools/mesh_options.py` writes it."""
    assert path.read_text() == mesh_options.FILES[path]()


def test_row_becomes_an_option_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of modules by its name, of roles as a variable that is empty where nothing is to be given."""
    monkeypatch.setitem(mesh_options.OPTIONS, "new", ROW)
    namespace: dict[str, Any] = {}
    exec(mesh_options.fragment(), namespace)  # noqa: S102 -- ours
    option = yaml.safe_load(namespace["ModuleDocFragment"].DOCUMENTATION)["options"]["new"]
    assert option == {"description": ROW["description"], "type": "str", "choices": ["a", "b"]}
    main = yaml.safe_load(mesh_options.argument_specs())["argument_specs"]["main"]
    variable = main["options"]["istio_helm_new"]
    assert variable["description"] == [text.replace("O(", "O(istio_helm_") for text in ROW["description"]]
    assert (variable["default"], variable["choices"]) == ("", ["", "a", "b"])
    assert yaml.safe_load(mesh_options.defaults())["istio_helm_new"] == ""
    given = yaml.safe_load(mesh_options.mapping())["mesh_options_arguments"]
    assert given["new"] == "{{ istio_helm_new or omit }}"


def test_text_reads_as_it_was_written() -> None:
    """Whatever YAML would make of it without quotes."""
    for text in ("plain", "a: b", "a #b", "1.31", "{{ a }}", "yes", "", "x " * 99 + "x", "{{ " + "a ~ " * 40 + "b }}"):
        lines = mesh_options.dumped({"a": {"b": text}})
        assert yaml.safe_load(lines) == {"a": {"b": text}}, text
        assert all(len(line) <= 120 for line in lines.splitlines()) or "{{" in text


def test_check_names_what_is_not_current(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """And writes nothing."""
    monkeypatch.setattr(mesh_options, "ROOT", tmp_path)
    monkeypatch.setattr(mesh_options, "FILES", {tmp_path / "defaults/main.yml": lambda: "new\n"})
    monkeypatch.setattr("sys.argv", ["mesh_options.py", "--check"])
    assert mesh_options.main() == 1
    assert "defaults/main.yml is not current: run tests/tools/mesh_options.py" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("sys.argv", ["mesh_options.py"])
    assert mesh_options.main() == 0
    assert (tmp_path / "defaults/main.yml").read_text() == "new\n"
