# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules, their actions, their action group and their documentation agree."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT, run

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.mesh.option_table import OPTIONS

MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
COMPARED = ("aliases", "choices", "default", "elements", "required", "type")


@pytest.fixture(scope="module")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return every module's documentation with its fragments resolved."""
    names = [f"meshops.istio.{name}" for name in MODULES]
    shown = run(
        ["ansible-doc", "--type", "module", "--json", "--playbook-dir", ROOT, *names],
        cwd=tmp_path_factory.mktemp("home"),
    )
    assert shown.returncode == 0, shown.stdout
    found = json.loads(shown.stdout[shown.stdout.index("{") :])
    return {name: found[f"meshops.istio.{name}"]["doc"] for name in MODULES}


def comparable(option: dict[str, Any], inner: str) -> dict[str, Any]:
    """Return what a caller notices of an option; `inner` is the key under which its own options are."""
    seen = {key: option.get(key) for key in COMPARED}
    seen["required"] = bool(seen["required"])
    seen["type"] = seen["type"] or "str"
    seen["aliases"] = sorted(seen["aliases"] or [])
    seen["options"] = {name: comparable(value, inner) for name, value in (option.get(inner) or {}).items()}
    return seen


def job_of(module: str) -> Any:
    """What does a module's work."""
    return importlib.import_module(f"ansible_collections.meshops.istio.plugins.action.{module}").ActionModule.job


def test_modules_and_actions_are_pairs() -> None:
    """Each module's work is done in the controller when it can be, by an action of its name."""
    assert sorted(path.stem for path in (ROOT / "plugins/action").glob("*.py")) == MODULES


def test_action_group_holds_every_module_that_takes_a_cluster(documentation: dict[str, Any]) -> None:
    """module_defaults of the group set the cluster: a module left out would talk to another one."""
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]
    assert sorted(groups["istio"]) == sorted(name for name in MODULES if "kubeconfig" in documentation[name]["options"])


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"istio_report"}))
def test_failures_are_documented_with_their_parts(module: str) -> None:
    """All that may fail do so in one form; a report never does."""
    found = importlib.import_module(f"ansible_collections.meshops.istio.plugins.modules.{module}")
    documented = yaml.safe_load(found.RETURN)["errors"]
    assert list(documented["contains"]) == list(JobError("x").parts())
    assert (documented["type"], documented["elements"]) == ("list", "dict")


def test_action_group_of_a_mesh_holds_every_module_that_takes_one() -> None:
    """The roles hand the options over by this group: a module left out would work on another mesh."""
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]
    assert sorted(groups["mesh"]) == [
        module for module in MODULES if job_of(module).ARGUMENT_SPEC.keys() >= OPTIONS.keys()
    ]


@pytest.mark.parametrize("module", MODULES)
def test_documentation_is_the_argument_spec(module: str, documentation: dict[str, Any]) -> None:
    """The options that ansible-doc shows are those that are validated, down to their defaults."""
    spec = job_of(module).ARGUMENT_SPEC
    documented = {name: comparable(option, "suboptions") for name, option in documentation[module]["options"].items()}
    assert documented == {name: comparable(option, "options") for name, option in spec.items()}


def test_shipped_code_runs_from_where_it_is_installed() -> None:
    """A relative import, or one of the checkout's own paths, works only until the collection is installed."""
    offenders = [
        str(path.relative_to(ROOT))
        for path in Path(ROOT / "plugins").rglob("*.py")
        if any(line.startswith(("from plugins", "import plugins", "from .")) for line in path.read_text().splitlines())
    ]
    assert offenders == []
