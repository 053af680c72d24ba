# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML as programs written in Go read it: helm, kubectl and istioctl, by ``sigs.k8s.io/yaml`` 1.6.

It is neither YAML 1.1, as PyYAML and with it Ansible read it, nor 1.2: ``y`` and ``on`` are true, ``12:30`` and
``2026-11-30`` are text, ``0o17``, ``017`` and ``0xF`` are 15, ``1e3`` is 1000. libyaml, of which the parser in Go is a
translation, does the parsing; what a scalar means is the table below, after ``resolve.go`` of go.yaml.in/yaml/v2.

All comes out as the JSON that Go makes of it: keys are text, and a float without a fraction is an integer.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

try:
    import yaml

    #: The parser alone; libyaml's reads Istio's 900 KiB of definitions in a second, the one in Python in ten.
    _PARSER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    _DUMPER = yaml.SafeDumper
except ImportError:  # kube.Cluster says so: kubernetes needs yaml too
    yaml = None  # type: ignore[assignment]
    _DUMPER = object  # type: ignore[assignment, misc]


class Unreadable(JobError):
    """A text is not YAML, or such of which Go makes no JSON."""


#: So many values a document may have by its aliases; Go stops below.
_MOST_VALUES = 4_000_000
_TAG = "tag:yaml.org,2002:"
_INFINITE = (".inf", ".Inf", ".INF")

#: Plain scalars that are words.
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((*_INFINITE, *(f"+{word}" for word in _INFINITE)), math.inf),
    **dict.fromkeys((f"-{word}" for word in _INFINITE), -math.inf),
}

#: Integers by their form and base; then floats. Underscores have been taken out.
_INTEGERS = (
    (re.compile(r"[-+]?(0|[1-9][0-9]*)"), 10),
    (re.compile(r"[-+]?0[xX][0-9a-fA-F]+"), 16),
    (re.compile(r"[-+]?0[oO]?[0-7]+"), 8),
    (re.compile(r"[-+]?0[bB][01]+"), 2),
    # A sign behind the prefix: resolve.go cuts off "0b", and gives the rest to strconv.ParseInt.
    (re.compile(r"0b[-+][01]+"), 2),
)
_PREFIX = re.compile("^([-+]?)0[xXoObB]")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
#: Where a number begins with its point, underscores are not taken out but stand between digits.
_FRACTION = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")
#: Text to Go, unless a tag asks for it.
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
    r"(?:(?:[Tt](?P<zoned>)| )[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]+)?(?(zoned)(?:Z|[+-][0-9]{2}:[0-9]{2})))?"
)
#: What a scalar may be whose tag says so.
_TAGGED: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (float, int), "null": (type(None),)}
#: From here on an integer has no sign to Go: it is no float, and cannot be a key.
_UNSIGNED = 2**63
#: Bytes of binary data that are no text.
_NO_UTF_8 = re.compile("[\udc80-\udcff]")
#: Below, Go writes a float without an exponent.
_WRITTEN_OUT = 1e21
#: From this many digits before the point on, Go writes a float with an exponent where it wants text.
_TEXT_DIGITS = 6


def plain(text: str) -> Any:
    """What a scalar without quotes is: None, True, False, an int, a float, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    number = _integer(digits)
    if number is None and (_FRACTION.fullmatch(text) if text[0] == "." else _FLOAT.fullmatch(digits)):
        number = float(digits)
    return text if number in (None, math.inf, -math.inf) else number


def _integer(digits: str) -> int | None:
    """An integer of 64 bits. To Go a larger one is a float where it is in decimal, else text."""
    for form, base in _INTEGERS:
        if form.fullmatch(digits):
            number = int(_PREFIX.sub(r"\1", digits), base)
            limit = 2**63 if "+" in digits or "-" in digits else 2**64
            return number if -(2**63) <= number < limit else None
    return None


def _scalar(value: str, tag: str | None, is_plain: bool) -> Any:
    """What a scalar is, by its tag where it has one."""
    kind = (tag or "").removeprefix(_TAG)
    if tag is None:
        return plain(value) if is_plain else value
    found = plain(value) if kind in _TAGGED else value
    if kind == "binary":
        try:
            data = base64.b64decode(value.replace("\n", ""), validate=True).decode("utf-8", "surrogateescape")
            return _NO_UTF_8.sub("\ufffd", data)
        except ValueError:
            found = None
    is_other = (kind == "timestamp" and not _TIMESTAMP.fullmatch(value)) or (kind == "float" and _is_unsigned(found))
    if is_other or type(found) not in _TAGGED.get(kind, (str,)):
        raise Unreadable(f"{value!r} is not a valid {kind}")
    return float(found) if kind == "float" else found


def _is_unsigned(value: Any) -> bool:
    return isinstance(value, int) and value >= _UNSIGNED


def _whole(number: float) -> int | float:
    """A float as Go writes it as JSON: without a point where it has no fraction."""
    if number.is_integer() and abs(number) < _WRITTEN_OUT:
        return int(Decimal(repr(number)))  # the fewest digits that make this float, then zeros
    return number


def text_of(value: Any) -> str:
    """A scalar where Go wants text: a key, or a chart's version."""
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    return _float_text(value) if isinstance(value, float) else str(value)


def _float_text(number: float) -> str:
    """As ``strconv.FormatFloat(number, 'g', -1, 32)``: the fewest digits that make the same float of 32 bits."""
    single = _single(number)
    if not math.isfinite(single):
        return {math.inf: ".inf", -math.inf: "-.inf"}.get(single, ".nan")
    precision = next((digits for digits in range(9) if _single(float(f"{single:.{digits}e}")) == single), 9)
    exponent = int(f"{single:.{precision}e}".partition("e")[2])
    if -4 <= exponent < _TEXT_DIGITS:
        return f"{single:.{max(0, precision - exponent)}f}"
    return f"{single:.{precision}e}"


def _single(number: float) -> float:
    """The nearest float of 32 bits."""
    try:
        return struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)


def canonical(data: Any) -> str:
    """Data as text, alike for what helm keeps alike: every number is a float of 64 bits to it, in values and charts."""

    def number(text: str) -> float:
        return float(text) + 0.0  # Go writes -0, which in JSON is 0

    return json.dumps(json.loads(json.dumps(data), parse_int=number, parse_float=number), sort_keys=True)


def beyond_json(data: Any, path: str = "") -> Iterator[str]:
    """Paths of the numbers among data that helm would not read as numbers: infinite ones, and such as are too large."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from beyond_json(value, f"{path}.{key}" if path else str(key))
    elif isinstance(data, list):
        for position, value in enumerate(data):
            yield from beyond_json(value, f"{path}[{position}]")
    elif isinstance(data, (int, float)) and not abs(data) <= sys.float_info.max:
        yield path


# -- documents ---------------------------------------------------------------------------------------------------------


def load(text: str | bytes) -> Any:
    """The first document of a text, which is all that helm reads of a file; None where there is none.

    :raises Unreadable: it is not YAML, or not such as Go takes
    """
    return next(load_all(text), None)


def load_all(text: str | bytes) -> Iterator[Any]:
    """Each document of a text. :raises Unreadable: as ``load``"""
    loader = None
    try:
        loader = _PARSER(text)
        while not isinstance(event := loader.get_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                yield _Document(loader.get_event).value()
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise Unreadable(" ".join(str(error).split())) from error
    finally:
        if loader is not None:
            loader.dispose()


class _Document:
    """One document, made of libyaml's events.

    Not by PyYAML's composer: an anchor may be given twice, and a merge overrides what stands before it.

    :arg next_event: gives the next one
    """

    def __init__(self, next_event: Callable[[], Any]) -> None:
        self.next_event = next_event
        #: Values by their anchors, each with how many it holds.
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.values = 0
        #: What no JSON is made of; it does no harm where a later value of the same key takes its place.
        self.odd: list[Any] = []

    def value(self) -> Any:
        """The whole of it."""
        found = self._value(self.next_event())
        if self.odd:
            _refuse(found)
        return found

    def _value(self, event: Any) -> Any:
        kind, before = type(event), self.values
        self.values += 1
        if kind is yaml.AliasEvent:
            return self._alias(event.anchor)
        unfinished = (_UNFINISHED, self.values)
        if event.anchor:
            self.anchors[event.anchor] = unfinished
        if kind is yaml.ScalarEvent:
            value = self._json(_scalar(event.value, event.tag, event.implicit[0]))
        else:
            value = self._mapping() if kind is yaml.MappingStartEvent else self._sequence()
        if event.anchor and self.anchors[event.anchor] is unfinished:
            self.anchors[event.anchor] = value, self.values - before
        return value

    def _alias(self, anchor: str) -> Any:
        value, count = self.anchors.get(anchor, (_UNFINISHED, 0))
        if value is _UNFINISHED:
            raise Unreadable(f"anchor {anchor} is undefined or contains itself")
        self.values += count
        if self.values > _MOST_VALUES:
            raise Unreadable("it contains excessive aliasing")
        return value

    def _json(self, value: Any) -> Any:
        if isinstance(value, float):
            if math.isfinite(value):
                return _whole(value)
            self.odd.append(value)
        return value

    def _sequence(self) -> list[Any]:
        found = []
        while not isinstance(event := self.next_event(), yaml.SequenceEndEvent):
            found.append(self._value(event))
        return found

    def _mapping(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self.next_event(), yaml.MappingEndEvent):
            if _is_merge(event):
                for source in reversed(self._sources(self.next_event())):
                    found.update(source)
            else:
                key = self._key(event)
                found[key] = self._value(self.next_event())
        return found

    def _sources(self, event: Any) -> list[dict[str, Any]]:
        """What a merge takes, the first of which counts most."""
        value = self._value(event)
        sources = value if isinstance(event, yaml.SequenceStartEvent) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise Unreadable("a merge key requires a map or a list of maps")
        return sources

    def _key(self, event: Any) -> Any:
        is_scalar = isinstance(event, yaml.ScalarEvent) and not event.anchor
        key = _scalar(event.value, event.tag, event.implicit[0]) if is_scalar else self._value(event)
        if isinstance(key, str):
            return key
        if isinstance(key, (dict, list)):
            raise Unreadable("a map or a list cannot be a key")
        if key is None or _is_unsigned(key):
            self.odd.append(key)
            return key
        return text_of(key)


_UNFINISHED = object()


def _is_merge(event: Any) -> bool:
    is_scalar = isinstance(event, yaml.ScalarEvent) and event.value == "<<"
    return is_scalar and (event.implicit[0] or event.tag == f"{_TAG}merge")


def _refuse(value: Any) -> None:
    """:raises Unreadable: no JSON can be made of a value"""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise Unreadable(f"{'null' if key is None else key} cannot be a key")
            _refuse(item)
    elif isinstance(value, list):
        for item in value:
            _refuse(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise Unreadable(f"{text_of(value)} is not a JSON number")


# -- writing -----------------------------------------------------------------------------------------------------------


class _Dumper(_DUMPER):  # type: ignore[misc, valid-type]
    """Quotes a text that either Go or Ansible would take for something else."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        """As PyYAML resolves a plain scalar, but that what is no text to Go is none here either."""
        found = super().resolve(kind, value, implicit)
        is_text = found == f"{_TAG}str" and kind is yaml.ScalarNode and implicit[0]
        return f"{_TAG}bool" if is_text and not isinstance(plain(value), str) else found

    def ignore_aliases(self, data: Any) -> bool:
        """People read it: nothing is a reference to something above."""
        return True


def dump(data: Any) -> str:
    """Data as YAML for people, in the order it has."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
