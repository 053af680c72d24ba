# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that the API server cannot dry-run yet, checked against the schemas that it publishes. Pure.

Only what the server would refuse for certain is a fault: a field that the kind does not have, a wrong type, a required
field that is missing, a value that is none of an enumeration. Rules in CEL, patterns and bounds are left to the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.kinds import group_of
from ansible_collections.meshops.istio.plugins.module_utils.secrets.hiding import hidden
from ansible_collections.meshops.istio.plugins.module_utils.secrets.text import mark

Schema = dict

_PRESERVES = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_KIND_OF = "x-kubernetes-group-version-kind"
#: What every object has; a definition's schema need not name them.
_COMMON = ("apiVersion", "kind", "metadata")
_TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}
#: How a type is called in a message.
_WORDS = {"array": "a list", "boolean": "true or false", "integer": "an integer", "object": "a map"}


class Schemas:
    """The schemas of kinds: those that definitions bring, else those that the API server has published.

    :arg fetch: reads a path of the API server; None when there is none. Called only for kinds that are asked for
    :arg definitions: objects of kind CustomResourceDefinition that are not served yet
    """

    def __init__(
        self, fetch: Callable[[str], dict[str, Any] | None], definitions: Iterable[dict[str, Any]] = ()
    ) -> None:
        self._fetch = fetch
        self._index: dict[str, Any] | None = None
        self._published: dict[str, dict[str, Schema]] = {}
        self._defined: dict[tuple[str, str], Schema] = {}
        for definition in definitions:
            spec = definition["spec"]
            for version in spec.get("versions") or []:
                schema = (version.get("schema") or {}).get("openAPIV3Schema")
                if schema:
                    self._defined[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema

    def faults(self, obj: dict[str, Any]) -> list[str] | None:
        """What is wrong with an object, a line for each field; None where nobody publishes a schema of its kind."""
        found = self._faults(obj)
        if found is None or obj["kind"] != "Secret":
            return found
        private = [value for name in ("data", "stringData") for value in dict(obj.get(name) or {}).values()]
        return [_without(fault, private) for fault in found]

    def _faults(self, obj: dict[str, Any]) -> list[str] | None:
        api_version, kind = obj["apiVersion"], obj["kind"]
        defined = self._defined.get((api_version, kind))
        if defined:
            return list(_faults(obj, {**defined, _EMBEDDED: True}, {}, "", structural=True))
        components = self._components(api_version)
        group, version = group_of(api_version), api_version.rpartition("/")[2]
        wanted = {"group": group, "version": version, "kind": kind}
        for name, schema in components.items():
            if wanted in (schema.get(_KIND_OF) or []):
                return list(_faults(obj, schema, components, "", structural=not name.startswith("io.k8s.")))
        return None

    def _components(self, api_version: str) -> dict[str, Schema]:
        if self._index is None:
            self._index = (self._fetch("/openapi/v3") or {}).get("paths") or {}
        if api_version not in self._published:
            place = self._index.get("api/v1" if api_version == "v1" else f"apis/{api_version}") or {}
            path = (place.get("serverRelativeURL") or "").partition("?")[0]
            document = (self._fetch(path) or {}) if path else {}
            self._published[api_version] = (document.get("components") or {}).get("schemas") or {}
        return self._published[api_version]


def _resolved(schema: Schema, components: dict[str, Schema]) -> Schema:
    """A schema with what it refers to, as ``$ref`` or as the one item of ``allOf``."""
    reference = schema.get("$ref") or next((each["$ref"] for each in schema.get("allOf") or [] if "$ref" in each), None)
    return {**components.get(reference.rpartition("/")[2], {}), **schema} if reference else schema


def _faults(value: Any, schema: Schema, components: dict[str, Schema], where: str, structural: bool) -> Iterator[str]:
    """:arg structural: the schema is a definition's, which leaves out a field that it does not name"""
    schema = _resolved(schema, components)
    if value is None:  # null is no value: where one is required, its map says so
        return
    kinds = _types(schema)
    if kinds and not any(_is_a(value, kind) for kind in kinds):
        yield f"{where} is {_quoted(value, where)}, not {' or '.join(_WORDS.get(kind, f'a {kind}') for kind in kinds)}"
    elif value not in (schema.get("enum") or [value]):
        yield f"{where} is {_quoted(value, where)}, not one of {', '.join(map(str, schema['enum']))}"
    elif isinstance(value, dict) and (not kinds or "object" in kinds):
        yield from _faults_of_map(value, schema, components, where, structural)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _faults(item, schema.get("items") or {}, components, f"{where}[{position}]", structural)


def _without(fault: str, private: Iterable[Any]) -> str:
    for value in private:
        fault = fault.replace(f" is {value!r}, not", f" is {mark(value)}, not")
    return fault


def _quoted(value: Any, where: str) -> str:
    """A value as a message may have it: not one of a secret."""
    return repr(hidden({where.partition("[")[0]: value}).popitem()[1])


def _types(schema: Schema) -> list[str]:
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return ["integer", "string"]
    if schema.get("type"):
        return [schema["type"]]
    either = [each.get("type") for each in schema.get("oneOf") or []]
    return [kind for kind in either if kind] if all(either) else []


def _is_a(value: Any, kind: str) -> bool:
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, (object,))) and (kind == "boolean" or not isinstance(value, bool))


def _faults_of_map(
    value: dict[str, Any], schema: Schema, components: dict[str, Schema], where: str, structural: bool
) -> Iterator[str]:
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    closed = bool(properties) or (structural and not others)
    common = _COMMON if schema.get(_EMBEDDED) else ()
    for name, child in value.items():
        place = f"{where}.{name}" if where else str(name)
        if name in common and structural:
            continue
        if name in properties:
            yield from _faults(child, properties[name], components, place, structural)
        elif isinstance(others, dict) and others:
            yield from _faults(child, others, components, place, structural)
        elif closed and not others and not schema.get(_PRESERVES):
            yield f'unknown field "{place}"'
    for name in schema.get("required") or []:
        if value.get(name) is None and "default" not in (properties.get(name) or {}) and name not in common:
            yield f"{where}.{name} is missing" if where else f"{name} is missing"
