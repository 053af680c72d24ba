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
import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

try:
    import yaml

    _LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    _YAML_ERROR: type[Exception] = yaml.YAMLError
except ImportError:  # kube.Cluster says so, and nothing is read that would have to be hidden
    _LOADER, _YAML_ERROR = None, ValueError

Mark = Callable[[Any], str]

# -- names of keys -----------------------------------------------------------------------------------------------------

#: What the name of a secret ends with, in lower case and without separators, as in ``adminPassword``, ``API_KEY`` and
#: ``client-key-data``. What is below such a name is hidden too.
_ENDINGS = (
    *("password", "passwords", "passwd", "passphrase", "token", "tokens", "clientsecret", "htpasswd"),
    *("apikey", "apikeys", "accesskey", "secretkey", "privatekey", "signingkey", "encryptionkey", "masterkey"),
    *("sharedkey", "accountkey", "sessionkey", "hmackey", "sshkey", "tlskey", "cakey", "clientkey", "keypem"),
    *("clientkeydata", "clientcertificatedata", "certificateauthoritydata", "dockerconfigjson", "dockercfg"),
    "connectionstring",
)
#: The same; but these may also hold the name of one, so that such a value is not looked for elsewhere.
_VAGUE_ENDINGS = ("secret", "secrets", "credential", "credentials", "authorization", "kubeconfig")
#: What it ends with as a word of its own: ``bypass`` is no ``pass``. Only strings right below are hidden: ``auth:`` is
#: a map of settings in many a chart.
_WORDS = frozenset(("pass", "pwd", "auth", "pin", "psk", "otp", "creds", "cookie", "dsn", "sas"))
#: Names that end so and say where a secret is, not what it is.
_REFERRING = ("pullsecret", "pullsecrets", "existingsecret", "existingsecrets")
#: Keys below a secret's name that say where it is, or what is wanted of it.
_SETTINGS = frozenset(
    (
        *("apiversion", "kind", "type", "group", "name", "namespace", "label", "labels", "annotations", "username"),
        *("key", "keys", "items", "secretname", "path", "mountpath", "prefix", "mode", "defaultmode", "optional"),
        *("aud", "audience", "audiences", "expirationseconds", "algorithm", "encoding", "rotationpolicy", "size"),
        *("create", "enabled"),
    )
)
#: Values that are no secret, whatever their key is called.
_HARMLESS = frozenset(("", "true", "false"))
#: Names that end so hold a number of secrets more often than a secret that is one, so only text is hidden.
_PLURAL = ("passwords", "secrets", "tokens", "keys", "credentials")
#: A Secret's value under any other key that is none for certain, but no word, name or address either.
_RANDOM = re.compile(r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9+/=_~!@#$%^&*-]{16,}")
#: Characters that such a value must have; a shorter one would be found inside of words.
LEAST = 8

_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")


def _joined(key: str) -> str:
    return _SEPARATORS.sub("", key).lower()


@lru_cache(maxsize=4096)
def names_secret(key: str) -> bool:
    """Whether the value of a key so called is a secret, by the name alone."""
    return _is_deep(key) or _is_word(key)


@lru_cache(maxsize=4096)
def _is_deep(key: str) -> bool:
    name = _joined(key[-200:])
    return name.endswith(_ENDINGS + _VAGUE_ENDINGS) and not name.endswith(_REFERRING)


def _is_word(key: str) -> bool:
    words = _WORD.findall(_SEPARATORS.sub(" ", key[-200:]))
    return bool(words) and words[-1].lower() in _WORDS


# -- marks -------------------------------------------------------------------------------------------------------------

#: Of this process and of those that it forks, as Ansible does its workers.
_RUN = os.urandom(32)
_MARK = re.compile(r"<hidden: [0-9a-f]{8}>$|<hidden:$|\(hidden\)$")


def mark(secret: Any) -> str:
    """What is shown in place of a secret: the same for the same one, within one run."""
    data = secret if isinstance(secret, bytes) else str(secret).encode("utf-8", "surrogatepass")
    return f"<hidden: {hmac.new(_RUN, data, hashlib.sha256).hexdigest()[:8]}>"


# -- text --------------------------------------------------------------------------------------------------------------

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
#: Of which a web token, JWT, is a part.
_RUN_OF_TOKEN = re.compile(r"[\w.-]{14,}")
_AUTHORIZATION = re.compile(
    r"(\bauthorization\\{0,3}[\"']?\s{0,8}[=:]\s{0,8}\\{0,3}[\"']?\w{1,40}\s{1,8})([^\s\"',;\\]+)", re.IGNORECASE
)
_SCHEME = re.compile(r"(\b(?:Bearer|Basic)\s{1,8})([\w.~+/=-]{8,})", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)([^/\s@\"']{1,2000})@")
_PROVIDERS = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{20,}|\bglpat-[\w-]{20,}|\bxox[abpr]-[\w-]{10,}")
#: A name and what comes between it and its value: ``name=``, ``"name": "``, and so in JSON within JSON.
_PAIR = re.compile(r"(?<![\w.-])([\w.-]+)(\\{0,3}[\"']?[ \t]{0,8}[=:][ \t]{0,8})")
_QUOTED = re.compile(r"(\\{0,3}\")([^\"\n]{1,4096}?)(?=\\{0,3}\")|(\\{0,3}')([^'\n]{1,4096})(?=')")
_BARE = re.compile(r"(\\{0,3}[\"']?)(?![\s\"'{\[])([^\s\"',;&}\]\\]{4,})")
_FLAG = re.compile(r"(?<![\w-])(--?[\w-]+)(\s{1,8})(?!-)(\S+)")
_BLOB = re.compile(r"(?<![\w+/])[A-Za-z0-9+/]{100,}={0,2}")
#: How a certificate begins in base64 of its PEM form and of its bytes; both are public.
_CERTIFICATE = ("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS", "MII")
#: How a PEM form begins in base64, which may be in lines.
_PEM_IN_BASE64 = re.compile(
    r"(?<![\w+/])LS0tLS1CRUdJTi[A-Za-z0-9+/]+={0,2}"
    r"(?:(?:[ \t\r]{0,8}\n[ \t]{0,40}|\\n)[A-Za-z0-9+/]{4,}={0,2}(?![\w:.+/-]))*"
)
#: A file's path is no secret; base64 may begin as one.
_PATH = re.compile(r"(?:~|\.{1,2})(?:/[\w.@-]{1,64}){1,32}/?|(?:/[\w.@-]{1,64}){2,32}/?")
_MIXED = re.compile(r"(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?=[^0-9]*[0-9])\w{8,}")
#: What begins a header, and is no secret itself.
_SCHEMES = frozenset(("bearer", "basic", "digest", "negotiate"))


def _is_path(value: str) -> bool:
    return bool(_PATH.fullmatch(value)) and not any(_MIXED.match(part) for part in value.split("/"))


def _is_harmless(value: str) -> bool:
    return value.lower() in _HARMLESS or _is_path(value) or _MARK.match(value) is not None


def _without_web_tokens(text: str, put: Mark) -> str:
    def replaced(match: re.Match[str]) -> str:
        run, start, last_dot = match[0], 0, match[0].rfind(".")
        while (start := run.find("eyJ", start)) >= 0:
            if last_dot < start + 11:
                break
            begins = not start or not (run[start - 1].isalnum() or run[start - 1] == "_")
            if begins and run.find(".", start, start + 11) < 0:
                return run[:start] + put(run[start:])
            start += 3
        return run

    return _RUN_OF_TOKEN.sub(replaced, text) if "eyJ" in text else text


def _without_values(text: str, put: Mark) -> str:
    """Without the values of names that name a secret: ``name=value``, ``"name": "value"``."""
    parts, done = [], 0
    for match in _PAIR.finditer(text):
        if match.start() < done or not names_secret(match[1]):
            continue
        value = _QUOTED.match(text, match.end()) or _BARE.match(text, match.end())
        if value is None:
            continue
        quote, secret = [group for group in value.groups() if group is not None]
        if not _is_harmless(secret) and secret.lower() not in _SCHEMES:
            parts += [text[done : match.end()], quote, put(secret)]
            done = value.end()
    return "".join([*parts, text[done:]])


def _is_public(blob: str) -> bool:
    """Whether base64 is a certificate; several keys and certificates may be in one PEM file."""
    if not blob.startswith(_CERTIFICATE):
        return False
    digits = "".join(blob.replace("\\n", "").split())
    try:
        data = base64.b64decode(digits[: len(digits) // 4 * 4])
    except (binascii.Error, ValueError):
        return False
    # An X.509 certificate's version is the first that is in it; a private key begins with a number.
    return b"PRIVATE KEY" not in data if blob.startswith(_CERTIFICATE[0]) else b"\xa0\x03\x02\x01" in data[:16]


def _two_parts(match: re.Match[str], put: Mark) -> str:
    return match[1] + put(match[2])


def _scheme(match: re.Match[str], put: Mark) -> str:
    """With a digit or an equals sign: "basic authentication" is none."""
    return _two_parts(match, put) if re.search(r"[\d=]", match[2]) else match[0]


def _flag(match: re.Match[str], put: Mark) -> str:
    return match[1] + match[2] + put(match[3]) if names_secret(match[1]) and not _is_harmless(match[3]) else match[0]


def _blob(match: re.Match[str], put: Mark) -> str:
    return match[0] if _is_public(match[0]) else put(match[0])


#: Expressions and what becomes of a match, in this order; ``_without_web_tokens`` and ``_without_values`` besides.
_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Mark], str]], ...] = (
    (_PEM, lambda match, put: put(match[0])),
    (_PEM_IN_BASE64, _blob),
    (_AUTHORIZATION, _two_parts),
    (_SCHEME, _scheme),
    (_LOGIN, lambda match, put: put(match[1]) + "@"),
    (_PROVIDERS, lambda match, put: put(match[0])),
    (_FLAG, _flag),
)


def hidden_text(text: str, put: Mark = mark) -> str:
    """Text without what looks like a secret in it."""
    for pattern, replaced in _RULES:
        text = pattern.sub(lambda match, replaced=replaced: replaced(match, put), text)
    text = _without_values(_without_web_tokens(text, put), put)
    return _BLOB.sub(lambda match: _blob(match, put), text)


# -- data --------------------------------------------------------------------------------------------------------------

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
            elif (paired and name in _VALUE_KEYS) or _is_deep(name):
                found[shown] = self._deep(item, name)
            elif isinstance(item, str) and _is_word(name):
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
        return value if _is_harmless(value) else self.put(value)

    def _deep(self, value: Any, key: str) -> Any:
        """What is below the name of a secret; settings of it stay."""
        if isinstance(value, dict):
            return {
                name: self.any(item) if _joined(str(name)) in _SETTINGS else self._deep(item, str(name))
                for name, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._deep(item, key) for item in value]
        if isinstance(value, str):
            return self._secret(value)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return self.put(value) if number and _is_deep(key) and not _joined(key).endswith(_PLURAL) else value

    def _data(self, value: Any, encoded: bool) -> Any:
        """A Secret's values; the same ones look the same in ``data`` and ``stringData``."""
        if not isinstance(value, dict):
            return value and self.put(value)
        return {
            key: item and (item if _MARK.fullmatch(str(item)) else self.put(_decoded(item) if encoded else item))
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
            if (_is_certain(key) or (paired and key in _VALUE_KEYS)) and len(item) >= LEAST and not _is_harmless(item):
                yield item
        elif value.get("kind") == "Secret" and key in ("data", "stringData") and isinstance(item, dict):
            yield from _certain_data(item, key == "data")
        else:
            yield from certain_secrets(item)


def _is_certain(key: Any) -> bool:
    return isinstance(key, str) and _is_deep(key) and _joined(key).endswith(_ENDINGS)


def _certain_data(data: dict[str, Any], encoded: bool) -> Iterator[str]:
    """Of a Secret's values those with a secret's name, or that look random: it holds user names and addresses too."""
    for name, item in data.items():
        plain = _decoded(item) if encoded else item
        plain = plain.decode("utf-8", "replace") if isinstance(plain, bytes) else str(plain)
        if len(plain) >= LEAST and not _is_harmless(plain) and (names_secret(str(name)) or _RANDOM.fullmatch(plain)):
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
