# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The app's chart, and the role's variables that become its values, say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.meshops.istio.plugins.module_utils.exposure.gateway_objects import as_the_chart_has_it
from ansible_collections.meshops.istio.plugins.module_utils.liveness.gateway_targets import (
    DEFAULT,
    REQUEST,
    Target,
    bindings,
)
from ansible_collections.meshops.istio.plugins.module_utils.mesh.gateways import PORTS

ROLE = Path(__file__).resolve().parents[3] / "roles/liveness_verify"
CHART = ROLE / "files/liveness"
#: Value of the chart -> variable of the role.
VARIABLES = {
    "image": "image",
    "args": "args",
    "port": "port",
    "version": "version",
    "replicas": "replicas",
    "path": "path",
    "echoPath": "echo_path",
    "host": "host",
}


def read(path: Path) -> Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text())


def test_values_and_variables_have_the_same_defaults() -> None:
    """Who installs the chart by hand gets the role's app."""
    values, defaults = read(CHART / "values.yaml"), read(ROLE / "defaults/main.yml")
    assert {name: values[name] for name in VARIABLES} == {
        name: defaults[f"liveness_verify_{variable}"] for name, variable in VARIABLES.items()
    }
    made = as_the_chart_has_it("istio-system", DEFAULT, "NodePort", list(PORTS))
    (gateway,) = bindings([Target(made, REQUEST, port=made.ports[1])], "http")
    assert values["gateways"] == [{**gateway, "selector": {"istio": gateway["selector"]["istio"]}}]


def test_role_sets_only_values_that_the_chart_has() -> None:
    """Its schema would refuse others; gateways are read by the module."""
    given = read(ROLE / "vars/main.yml")["_liveness_verify_chart_values"]
    assert set(given) == {*VARIABLES, "revision", "tls"}
    assert set(given) <= set(read(CHART / "values.yaml"))


def test_schema_knows_every_value() -> None:
    """And no other, so that a misspelt one is refused."""
    schema = json.loads((CHART / "values.schema.json").read_text())

    def known(schema: dict[str, Any], values: dict[str, Any], path: str = "") -> None:
        assert schema["additionalProperties"] is False, path
        assert set(values) == set(schema["properties"]) - {"global"}, path
        for name, value in values.items():
            if "properties" in schema["properties"][name]:
                known(schema["properties"][name], value, f"{path}.{name}")

    known(schema, read(CHART / "values.yaml"))
