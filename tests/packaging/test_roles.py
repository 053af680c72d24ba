# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role has the same shape, and its argument specs say what its defaults do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROLES = sorted(path for path in (Path(__file__).resolve().parents[2] / "roles").iterdir() if path.is_dir())
PYTHON_TYPES = {
    "str": str,
    "path": str,
    "raw": object,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "list": list,
    "dict": dict,
}

#: Holds variables for other roles, and does nothing itself.
OPTIONS = "mesh_options"
#: Variables of the whole collection, which no role has a default for.
SHARED = {"istio_kubeconfig", "istio_context"}

pytestmark = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def load(path: Path) -> dict:
    """Return the YAML file's content."""
    return yaml.safe_load(path.read_text()) or {}


def test_role_has_a_readme_and_a_description(role: Path) -> None:
    """galaxy-importer refuses a role without the first and warns of one without the second."""
    assert (role / "README.md").read_text().strip()
    info = load(role / "meta/main.yml")["galaxy_info"]
    assert info["description"]
    assert info["license"] == "GPL-3.0-or-later"


def test_main_is_a_table_of_contents(role: Path) -> None:
    """More than 80 lines are work, which belongs into a file with a name."""
    tasks = yaml.safe_load((role / "tasks/main.yml").read_text())
    assert bool(tasks) is (role.name != OPTIONS)
    assert len((role / "tasks/main.yml").read_text().splitlines()) <= 80


def test_argument_specs_name_every_default_and_no_other(role: Path) -> None:
    """An option without a default, unless required, or a default without an option, is a leftover."""
    defaults = load(role / "defaults/main.yml")
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert set(options) >= SHARED or role.name == OPTIONS
    assert set(defaults) == {name for name, option in options.items() if not option.get("required")} - SHARED


def test_defaults_have_the_type_and_the_value_that_the_specs_say(role: Path) -> None:
    """A Jinja expression is only known at run time; of the others the type and a documented default must fit."""
    defaults = load(role / "defaults/main.yml")
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    for name, value in defaults.items():
        option = options[name]
        if isinstance(value, str) and "{{" in value:
            continue
        assert isinstance(value, PYTHON_TYPES[option.get("type", "str")]), name
        assert option.get("type") == "bool" or not isinstance(value, bool), name
        assert option.get("default", value) == value, name
        chosen = value if isinstance(value, list) else [value]
        assert set(chosen) <= set(option["choices"]) if "choices" in option else True, name


def tasks_of(content: list[dict]) -> Iterator[dict]:
    """Every task of a file, of its blocks too."""
    for task in content:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks_of(task.get(part) or [])


def test_every_task_goes_to_the_cluster_that_is_named(role: Path) -> None:
    """In a playbook of the user's own there is no module_defaults that would say so."""
    seen = 0
    for path in sorted((role / "tasks").glob("*.yml")):
        for task in tasks_of(load(path)):
            for arguments in (task[name] for name in task if name.startswith("meshops.istio.")):
                seen += 1
                named = {name: arguments.get(name) for name in ("kubeconfig", "context")}
                assert named == {name: "{{ istio_%s | default(omit) }}" % name for name in named}, task["name"]
    assert seen or role.name == OPTIONS


def test_public_names_start_with_the_role(role: Path) -> None:
    """Two roles' variables never collide; those of a mesh are named after the role that installs it."""
    prefix = "istio_helm" if role.name == OPTIONS else role.name
    assert all(name.startswith(f"{prefix}_") for name in load(role / "defaults/main.yml"))
    owners = [other for other in ROLES if load(other / "defaults/main.yml").keys() & load(role / "defaults/main.yml")]
    assert owners == [role]


def test_mesh_comes_from_one_role(role: Path) -> None:
    """What takes the options of a mesh depends on the role that has them, and gives them in one way."""
    takes = [
        task
        for path in sorted((role / "tasks").glob("*.yml"))
        for task in tasks_of(load(path))
        if "group/meshops.istio.mesh" in task.get("module_defaults", {})
    ]
    assert all(
        task["module_defaults"] == {"group/meshops.istio.mesh": "{{ mesh_options_arguments }}"} for task in takes
    )
    needed = [{"role": f"meshops.istio.{OPTIONS}"}] if takes else []
    assert load(role / "meta/main.yml")["dependencies"] == needed
