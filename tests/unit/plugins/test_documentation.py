# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is documented is what is validated: option by option, down to the options of options."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml

from ansible_collections.meshops.istio.plugins.module_utils.mesh.options import MESH_ARGUMENT_SPEC

PLUGINS = "ansible_collections.meshops.istio.plugins"
#: Module -> its job.
JOBS = {
    "istio_crds": "module_utils.jobs.crds",
    "istio_diagnosis_info": "module_utils.jobs.diagnosis",
    "istio_liveness": "module_utils.jobs.liveness",
    "istio_pod_security": "module_utils.jobs.pod_security",
    "istio_preflight_info": "module_utils.jobs.preflight",
    "istio_releases": "module_utils.jobs.releases",
    "istio_report": "plugin_utils.report.job",
    "istio_values_info": "module_utils.jobs.values",
}


def fragment(name: str) -> dict[str, Any]:
    """The documentation that a fragment adds, by its full name, or by that of a part of it."""
    namespace, collection, plugin, *part = name.split(".")
    module = importlib.import_module(f"ansible_collections.{namespace}.{collection}.plugins.doc_fragments.{plugin}")
    return yaml.safe_load(getattr(module.ModuleDocFragment, part[0].upper() if part else "DOCUMENTATION"))


def documentation(module: str) -> dict[str, Any]:
    """A module's own documentation with that of its fragments."""
    found = yaml.safe_load(importlib.import_module(f"{PLUGINS}.modules.{module}").DOCUMENTATION)
    options: dict[str, Any] = {}
    for name in found["extends_documentation_fragment"]:
        options.update(fragment(name).get("options") or {})
    return {**found, "options": {**options, **found.get("options", {})}}


def normal(options: dict[str, Any], below: str) -> dict[str, Any]:
    """What a user notices of options; `below` is where an option keeps its own."""
    return {
        name: {
            "type": option.get("type", "str"),
            "elements": option.get("elements"),
            "required": bool(option.get("required")),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "aliases": sorted(option.get("aliases") or []),
            "options": normal(option.get(below) or {}, below),
        }
        for name, option in options.items()
    }


def undescribed(options: dict[str, Any], where: str = "") -> list[str]:
    """Options, and options of options, that nothing is said about."""
    found = []
    for name, option in options.items():
        if not option.get("description"):
            found.append(where + name)
        found += undescribed(option.get("suboptions") or {}, f"{where}{name}.")
    return found


def test_mesh_fragment_is_the_mesh_argument_spec() -> None:
    """Names, types, elements, defaults, choices, required, recursively."""
    parts = ("meshops.istio.mesh", "meshops.istio.mesh.gateways")
    documented = {name: option for part in parts for name, option in fragment(part)["options"].items()}
    assert normal(documented, "suboptions") == normal(MESH_ARGUMENT_SPEC, "options")
    ordered = [name for name in MESH_ARGUMENT_SPEC if name in fragment(parts[0])["options"]]
    assert list(fragment(parts[0])["options"]) == ordered


@pytest.mark.parametrize(("module", "job"), JOBS.items())
def test_documentation_is_the_argument_spec(module: str, job: str) -> None:
    """Own options and those of fragments, kubernetes.core's authentication included."""
    spec = importlib.import_module(f"{PLUGINS}.{job}").ARGUMENT_SPEC
    documented = documentation(module)["options"]
    assert normal(documented, "suboptions") == normal(spec, "options")
    assert undescribed(documented) == []


@pytest.mark.parametrize("module", JOBS)
def test_documentation_names_its_module(module: str) -> None:
    """And has an example of it, which may go on with what it returns; what is returned has a description each."""
    code = importlib.import_module(f"{PLUGINS}.modules.{module}")
    assert documentation(module)["module"] == module
    tasks = yaml.safe_load(code.EXAMPLES)
    assert f"meshops.istio.{module}" in tasks[0]
    assert all(value["description"] for value in yaml.safe_load(code.RETURN).values())


@pytest.mark.parametrize(("module", "job"), JOBS.items())
def test_examples_are_accepted(module: str, job: str) -> None:
    """Their options are options, at every depth; values that are templates are Ansible's to fill in."""
    spec = importlib.import_module(f"{PLUGINS}.{job}").ARGUMENT_SPEC

    def unknown(given: Any, options: dict[str, Any], where: str) -> list[str]:
        if isinstance(given, list):
            return [name for item in given for name in unknown(item, options, where)]
        if not isinstance(given, dict):
            return []
        found = []
        for name, value in given.items():
            if name not in options:
                found.append(where + name)
            elif options[name].get("options"):
                found += unknown(value, options[name]["options"], f"{where}{name}.")
        return found

    for task in yaml.safe_load(importlib.import_module(f"{PLUGINS}.modules.{module}").EXAMPLES):
        given = task.get(f"meshops.istio.{module}")
        if given is None:
            continue
        assert unknown(given, spec, "") == []
        required = {name for name, option in spec.items() if option.get("required")}
        assert required <= given.keys()


@pytest.mark.parametrize("job", JOBS.values())
def test_no_option_of_a_job_hides_an_authentication_option(job: str) -> None:
    """`host` is the API server's: an option of the same name would send the task to another cluster."""
    auth = importlib.import_module("ansible_collections.kubernetes.core.plugins.module_utils.args_common").AUTH_ARG_SPEC
    spec = importlib.import_module(f"{PLUGINS}.{job}").ARGUMENT_SPEC
    assert {name: spec[name] for name in auth} == auth
