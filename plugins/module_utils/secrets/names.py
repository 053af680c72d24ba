# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of keys that hold secrets. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

#: What the name of a secret ends with, in lower case and without separators, as in ``adminPassword``, ``API_KEY`` and
#: ``client-key-data``. What is below such a name is hidden too.
ENDINGS = (
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
SETTINGS = frozenset(
    (
        *("apiversion", "kind", "type", "group", "name", "namespace", "label", "labels", "annotations", "username"),
        *("key", "keys", "items", "secretname", "path", "mountpath", "prefix", "mode", "defaultmode", "optional"),
        *("aud", "audience", "audiences", "expirationseconds", "algorithm", "encoding", "rotationpolicy", "size"),
        *("create", "enabled"),
    )
)
#: Names that end so hold a number of secrets more often than a secret that is one, so only text is hidden.
PLURAL = ("passwords", "secrets", "tokens", "keys", "credentials")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")


def joined(key: str) -> str:
    return _SEPARATORS.sub("", key).lower()


@lru_cache(maxsize=4096)
def names_secret(key: str) -> bool:
    """Whether the value of a key so called is a secret, by the name alone."""
    return is_deep(key) or is_word(key)


@lru_cache(maxsize=4096)
def is_deep(key: str) -> bool:
    name = joined(key[-200:])
    return name.endswith(ENDINGS + _VAGUE_ENDINGS) and not name.endswith(_REFERRING)


def is_word(key: str) -> bool:
    words = _WORD.findall(_SEPARATORS.sub(" ", key[-200:]))
    return bool(words) and words[-1].lower() in _WORDS
