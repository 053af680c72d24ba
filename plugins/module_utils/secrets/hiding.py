# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What looks like a secret, hidden: by the name of its key, by its kind, or by what it looks like. Pure.

``hidden_throughout`` is for what a task shows of changes and values, ``hidden`` for all else that is shown. Both hide
too much rather than too little, and show that a secret is another one: ``<hidden: 5f2c9a10>`` is a digest by a random
key of this process, so that equal secrets look equal, and nobody can find a weak one by trying.

Text comes from outside, so no expression may take more than linear time: what may repeat is bounded, or begins only
where a run of its characters does (a lookbehind), and is followed by nothing that one of them could be.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.secrets.names import (
    ENDINGS,
    PLURAL,
    SETTINGS,
    is_deep,
    is_word,
    joined,
    names_secret,
)
from ansible_collections.meshops.istio.plugins.module_utils.secrets.text import (
    MARK,
    Mark,
    hidden_text,
    is_harmless,
    mark,
)

try:
    import yaml

    _LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    _YAML_ERROR: type[Exception] = yaml.YAMLError
except ImportError:  # kube.Cluster says so, and nothing is read that would have to be hidden
    _LOADER, _YAML_ERROR = None, ValueError


#: A Secret's value under any other key that is none for certain, but no word, name or address either.
RANDOM = re.compile(r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9+/=_~!@#$%^&*-]{16,}")
#: Characters that such a value must have; a shorter one would be found inside of words.
LEAST = 8
#: Of a map with one of the first, the second is its value: a container's environment, headers, conditions.
_NAME_KEYS, _VALUE_KEYS = ("name", "key", "header"), ("value", "values", "default")
#: A definition's schema is full of names of secrets, and holds none.
_DEFINITION = "CustomResourceDefinition"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_NAME = re.compile(r"[\w.-]+")
#: Characters of YAML that are read to be hidden by their keys; longer text is hidden by what it looks like.
_MOST_YAML = 1 << 16


class _Hiding:
    """One walk through data.

    :arg put: what stands in a secret's place
    :arg known: strings that are known to be secrets, the longest first
    """

    def __init__(self, put: Mark, known: Iterable[str] = ()) -> None:
        self.put = put
        self.known = list(known)
        self.seen: dict[str, str] = {}

    def text(self, text: str) -> str:
        """A string that stands nowhere in particular."""
        if text not in self.seen:
            self.seen[text] = self._text(text)
        return self.seen[text]

    def _text(self, text: str) -> str:
        for secret in self.known:
            if secret in text:
                text = text.replace(secret, self.put(secret))
        document = _document(text)
        if document is not None:
            data, dump = document
            found = self.any(data)
            if found != data:
                return dump(found)
        return hidden_text(text, self.put)

    def any(self, value: Any) -> Any:
        """Data that stands nowhere in particular."""
        if isinstance(value, dict):
            return self._map(value)
        if isinstance(value, (list, tuple)):
            return self._list(value)
        return self.text(value) if isinstance(value, str) else value

    def _map(self, value: dict[Any, Any]) -> dict[Any, Any]:
        if value.get("kind") == _DEFINITION:
            return value
        secret = value.get("kind") == "Secret" and ("data" in value or "stringData" in value or "metadata" in value)
        paired = any(isinstance(value.get(key), str) and names_secret(value[key]) for key in _NAME_KEYS)
        found = {}
        for key, item in value.items():
            name = str(key)
            shown = self.text(key) if isinstance(key, str) else key
            if secret and name in ("data", "stringData"):
                found[shown] = self._data(item, name == "data")
            elif secret and name == "metadata":
                found[shown] = self._metadata(item)
            elif (paired and name in _VALUE_KEYS) or is_deep(name):
                found[shown] = self._deep(item, name)
            elif isinstance(item, str) and is_word(name):
                found[shown] = self._secret(item)
            else:
                found[shown] = self.any(item)
        return found

    def _list(self, value: Iterable[Any]) -> list[Any]:
        found, flag = [], False
        for item in value:
            text = isinstance(item, str)
            found.append(self._secret(item) if flag and text and not item.startswith("-") else self.any(item))
            flag = text and item.startswith("-") and "=" not in item and names_secret(item)
        return found

    def _secret(self, value: str) -> str:
        return value if is_harmless(value) else self.put(value)

    def _deep(self, value: Any, key: str) -> Any:
        """What is below the name of a secret; settings of it stay."""
        if isinstance(value, dict):
            return {
                name: self.any(item) if joined(str(name)) in SETTINGS else self._deep(item, str(name))
                for name, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._deep(item, key) for item in value]
        if isinstance(value, str):
            return self._secret(value)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return self.put(value) if number and is_deep(key) and not joined(key).endswith(PLURAL) else value

    def _data(self, value: Any, encoded: bool) -> Any:
        """A Secret's values; the same ones look the same in ``data`` and ``stringData``."""
        if not isinstance(value, dict):
            return value and self.put(value)
        return {
            key: item and (item if MARK.fullmatch(str(item)) else self.put(_decoded(item) if encoded else item))
            for key, item in value.items()
        }

    def _metadata(self, value: Any) -> Any:
        """``kubectl apply`` leaves the whole Secret in an annotation."""
        found = self.any(value)
        annotations = found.get("annotations") if isinstance(found, dict) else None
        if isinstance(annotations, dict) and _LAST_APPLIED in annotations:
            annotations[_LAST_APPLIED] = self._secret(value["annotations"][_LAST_APPLIED])
        return found


def _decoded(text: Any) -> bytes | str:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        return str(text)


def _document(text: str) -> tuple[Any, Callable[[Any], str]] | None:
    """What JSON or YAML in a string says, where that may be of a secret, and how it is written again."""
    if ":" not in text:
        return None
    try:
        if text.lstrip()[:1] in ("{", "["):
            return json.loads(text), lambda data: json.dumps(data, indent=2 if "\n" in text.strip() else None)
        # What an alias repeats would be walked through as often as it is.
        if "\n" in text and len(text) <= _MOST_YAML and "*" not in text and any(map(names_secret, _NAME.findall(text))):
            data = yaml.load(text, _LOADER)  # noqa: S506 -- a safe one
            if isinstance(data, (dict, list)):
                return data, lambda found: yaml.safe_dump(found, sort_keys=False)
    except (ValueError, _YAML_ERROR, RecursionError):
        pass
    return None


def hidden(value: Any, put: Mark = mark, known: Iterable[str] = ()) -> Any:
    """A copy of plain data without what is, or looks like, a secret.

    :arg put: what stands in a secret's place
    :arg known: strings that are known to be secrets
    """
    return _Hiding(put, sorted(set(known) - {""}, key=len, reverse=True)).any(value)


def secrets_in(value: Any) -> set[str]:
    """All strings in data that ``hidden`` would hide."""
    found: set[str] = set()

    def note(secret: Any) -> str:
        found.add(secret.decode("utf-8", "replace") if isinstance(secret, bytes) else str(secret))
        return mark(secret)

    hidden(value, note)
    return found


def certain_secrets(value: Any) -> Iterator[str]:
    """Strings in data that are secrets for certain, and long enough to be looked for elsewhere."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from certain_secrets(item)
    if not isinstance(value, dict) or value.get("kind") == _DEFINITION:
        return
    paired = any(_is_certain(value.get(key)) for key in _NAME_KEYS)
    for key, item in value.items():
        if isinstance(item, str):
            if (_is_certain(key) or (paired and key in _VALUE_KEYS)) and len(item) >= LEAST and not is_harmless(item):
                yield item
        elif value.get("kind") == "Secret" and key in ("data", "stringData") and isinstance(item, dict):
            yield from _certain_data(item, key == "data")
        else:
            yield from certain_secrets(item)


def _is_certain(key: Any) -> bool:
    return isinstance(key, str) and is_deep(key) and joined(key).endswith(ENDINGS)


def _certain_data(data: dict[str, Any], encoded: bool) -> Iterator[str]:
    """Of a Secret's values those with a secret's name, or that look random: it holds user names and addresses too."""
    for name, item in data.items():
        plain = _decoded(item) if encoded else item
        plain = plain.decode("utf-8", "replace") if isinstance(plain, bytes) else str(plain)
        if len(plain) >= LEAST and not is_harmless(plain) and (names_secret(str(name)) or RANDOM.fullmatch(plain)):
            yield plain


def forms(secret: str) -> set[str]:
    """How a secret may be written: as it is, in JSON, in base64."""
    encoded = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode()
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        encoded,
        encoded.rstrip("="),
    }


def hidden_throughout(data: Any, known: Iterable[str] = ()) -> Any:
    """As ``hidden``; a secret that has a name in these data is hidden where it stands again without it, too.

    :arg known: strings that are known to be secrets
    """
    found = {form for secret in {*certain_secrets(data), *known} for form in forms(secret)}
    return hidden(data, mark, (form for form in found if len(form) >= LEAST))
