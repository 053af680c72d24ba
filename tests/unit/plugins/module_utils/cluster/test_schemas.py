# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server would refuse for certain is found in schemas; what it would take never is."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.schemas import Schemas

#: As an API server of 1.37 publishes them, cut down.
APPS = {
    "components": {
        "schemas": {
            "io.k8s.api.apps.v1.Deployment": {
                "type": "object",
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {
                        "allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}],
                        "default": {},
                    },
                    "spec": {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]},
                },
                "x-kubernetes-group-version-kind": [{"group": "apps", "kind": "Deployment", "version": "v1"}],
            },
            "io.k8s.api.apps.v1.DeploymentSpec": {
                "type": "object",
                "required": ["selector"],
                "properties": {
                    "replicas": {"type": "integer", "format": "int32"},
                    "paused": {"type": "boolean"},
                    "selector": {"type": "object", "properties": {"matchLabels": {"type": "object"}}},
                    "maxSurge": {"$ref": "#/components/schemas/IntOrString"},
                    "limits": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Quantity"}},
                    "ports": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["port", "protocol"],
                            "properties": {
                                "port": {"type": "integer"},
                                "protocol": {"type": "string", "default": "TCP", "enum": ["TCP", "UDP"]},
                            },
                        },
                    },
                    "raw": {"type": "object"},
                    "anything": {},
                },
            },
            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "namespace": {"type": "string"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string", "default": ""}},
                },
            },
            "IntOrString": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
            "Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
        }
    }
}
INDEX = {"paths": {"apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=ABC"}}}
DOCUMENTS = {"/openapi/v3": INDEX, "/openapi/v3/apis/apps/v1": APPS}
CRD_SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["host"],
            "properties": {
                "host": {"type": "string"},
                "mode": {"type": "string", "enum": ["ON", "OFF"]},
                "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
                "config": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "maybe": {"type": "object", "nullable": True, "properties": {"a": {"type": "string"}}},
                "empty": {"type": "object"},
                "template": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "properties": {"spec": {"type": "object", "additionalProperties": True}},
                },
            },
        }
    },
}
CRD = {
    "kind": "CustomResourceDefinition",
    "spec": {
        "group": "demo.example.com",
        "names": {"kind": "Demo"},
        "versions": [{"name": "v1", "schema": {"openAPIV3Schema": CRD_SCHEMA}}, {"name": "v0"}],
    },
}


def deployment(**spec: Any) -> dict[str, Any]:
    """A Deployment."""
    meta = {"name": "web", "namespace": "shop"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {"selector": {"matchLabels": {"a": "b"}}, **spec},
    }


def demo(**spec: Any) -> dict[str, Any]:
    """A custom resource."""
    meta = {"name": "a", "labels": {"any": "thing"}, "unknown": "the server says"}
    return {"apiVersion": "demo.example.com/v1", "kind": "Demo", "metadata": meta, "spec": {"host": "h", **spec}}


@pytest.fixture
def asked() -> list[str]:
    """What was fetched."""
    return []


@pytest.fixture
def schemas(asked: list[str]) -> Schemas:
    """Those of a server and of one definition."""

    def fetch(path: str) -> Any:
        asked.append(path)
        return DOCUMENTS.get(path)

    return Schemas(fetch, [CRD])


@pytest.mark.parametrize(
    ("spec", "faults"),
    [
        ({"replicas": "two"}, ["spec.replicas is 'two', not an integer"]),
        ({"replicas": True}, ["spec.replicas is True, not an integer"]),
        ({"replicas": 1.5}, ["spec.replicas is 1.5, not an integer"]),
        ({"paused": "yes"}, ["spec.paused is 'yes', not true or false"]),
        ({"replica": 2}, ['unknown field "spec.replica"']),
        ({"selector": None}, ["spec.selector is missing"]),
        ({"maxSurge": []}, ["spec.maxSurge is [], not an integer or a string"]),
        ({"limits": {"cpu": []}}, ["spec.limits.cpu is [], not a string or a number"]),
        ({"ports": {"port": 80}}, ["spec.ports is {'port': 80}, not a list"]),
        (
            {"ports": [{"port": 80}, {"protocol": "SCTP"}]},
            ["spec.ports[1].protocol is 'SCTP', not one of TCP, UDP", "spec.ports[1].port is missing"],
        ),
    ],
)
def test_faults(spec: dict[str, Any], faults: list[str], schemas: Schemas) -> None:
    """Each with the field's place."""
    assert schemas.faults(deployment(**spec)) == faults


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": 2},
        {"replicas": 2.0},  # as JSON has it
        {"replicas": None},
        {"maxSurge": "25%"},
        {"maxSurge": 1},
        {"limits": {"cpu": 1, "memory": "1Gi"}},
        {"ports": [{"port": 80}]},
        {"raw": {"any": {"thing": [1]}}, "anything": [{"at": "all"}]},
    ],
)
def test_no_faults(spec: dict[str, Any], schemas: Schemas) -> None:
    """What the server takes."""
    assert schemas.faults(deployment(**spec)) == []


def test_labels_are_strings(schemas: Schemas) -> None:
    """The commonest mistake of templates."""
    obj = deployment()
    obj["metadata"]["labels"] = {"version": 1.16, "ok": "yes"}
    assert schemas.faults(obj) == ["metadata.labels.version is 1.16, not a string"]


@pytest.mark.parametrize(
    ("spec", "faults"),
    [
        ({"host": None}, ["spec.host is missing"]),
        ({"mode": "on"}, ["spec.mode is 'on', not one of ON, OFF"]),
        ({"port": 1.5}, ["spec.port is 1.5, not an integer or a string"]),
        ({"hots": "x"}, ['unknown field "spec.hots"']),
        ({"maybe": {"b": 1}}, ['unknown field "spec.maybe.b"']),
        ({"empty": {"b": 1}}, ['unknown field "spec.empty.b"']),
        ({"template": {"metadata": {}, "kind": "X", "other": 1}}, ['unknown field "spec.template.other"']),
        ({"port": "http"}, []),
        ({"port": 80, "maybe": None, "config": {"any": [1]}, "template": {"spec": {"x": 1}}}, []),
    ],
)
def test_definition_of_the_same_set(spec: dict[str, Any], faults: list[str], schemas: Schemas, asked: Any) -> None:
    """Its schema is at hand: nothing is fetched."""
    assert schemas.faults(demo(**spec)) == faults
    assert asked == []


def test_kind_that_nobody_knows(schemas: Schemas, asked: list[str]) -> None:
    """Then nothing can be said, and the index is fetched once."""
    assert schemas.faults({**demo(), "apiVersion": "demo.example.com/v0"}) is None
    assert schemas.faults({**deployment(), "kind": "Unknown"}) is None
    assert schemas.faults({**deployment(), "apiVersion": "v1"}) is None
    assert schemas.faults(deployment()) == []
    assert asked == ["/openapi/v3", "/openapi/v3/apis/apps/v1"]


def test_server_that_publishes_none() -> None:
    """Before 1.24."""
    assert Schemas(lambda path: None).faults(deployment()) is None


def test_faults_tell_no_secret() -> None:
    """A password that YAML takes for a number is a common one."""
    names = {"type": "object", "additionalProperties": {"type": "string"}}
    fields = {"stringData": names, "spec": {"type": "object", "properties": {"password": {"type": "string"}}}}

    def definition(kind: str) -> dict[str, Any]:
        version = {"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties": fields}}}
        return {"spec": {"group": "x.io", "names": {"kind": kind}, "versions": [version]}}

    schemas = Schemas(lambda path: None, [definition("Secret"), definition("Login")])
    for kind, field in (("Secret", {"stringData": {"pin": 4711}}), ("Login", {"spec": {"password": 4711}})):
        (fault,) = schemas.faults({"apiVersion": "x.io/v1", "kind": kind, **field}) or []
        assert "4711" not in fault
        assert "not a string" in fault
