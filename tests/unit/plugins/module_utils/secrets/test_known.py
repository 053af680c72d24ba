# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known to be a secret is in no result, however it is written, and core is told of it where it can be."""

from __future__ import annotations

import base64
import json
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.secrets import known as module
from ansible_collections.meshops.istio.plugins.module_utils.secrets.known import PART, WHOLE, KnownSecrets

SECRET = 'p4ss "w/ö/d" 1'  # noqa: S105 -- a made-up one
PEM = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n"


def encoded(text: str) -> str:
    """In base64."""
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SECRET, WHOLE),
        (f"say {SECRET}, and {SECRET}", f"say {PART}, and {PART}"),
        ([{"a": (SECRET, 1)}], [{"a": [WHOLE, 1]}]),
        ({f"key {SECRET}": 1}, {f"key {PART}": 1}),
        (json.dumps({"a": SECRET}), '{"a": "' + PART + '"}'),
        (json.dumps({"a": SECRET}, ensure_ascii=False), '{"a": "' + PART + '"}'),
        (f"b64 {encoded(SECRET)}", f"b64 {PART}"),
        (f"https://bob:{quote(SECRET, safe='')}@x", f"https://bob:{PART}@x"),
        ({"a": None, "b": True, "c": 1.5, "d": "x"}, {"a": None, "b": True, "c": 1.5, "d": "x"}),
    ],
)
def test_masked(value: Any, expected: Any) -> None:
    """With core's own placeholders: for all of a value, and for a part."""
    assert KnownSecrets([SECRET]).masked(value) == expected


def test_numbers_and_short_ones() -> None:
    """As core does; but the names of keys stay, of which some are the outcome."""
    secrets = KnownSecrets(["12", "e"])
    assert secrets.masked({"changed": True, "n": 3125, "m": 7, "t": "see"}) == {
        "changed": True,
        "n": WHOLE,
        "m": 7,
        "t": f"s{PART}{PART}",
    }


def test_longer_one_first() -> None:
    """Else its rest would stay."""
    assert KnownSecrets(["abcdefgh", "abcdefgh-ijkl"]).masked("say abcdefgh-ijkl") == f"say {PART}"


def test_key_that_came_in_base64() -> None:
    """``client-key-data`` is a key in PEM form, of which a message may hold the text."""
    secrets = KnownSecrets([encoded(PEM)])
    assert "MIGHAg" not in str(secrets.masked([f"bad key {PEM}", json.dumps(PEM), encoded(PEM)]))


def test_nothing_known() -> None:
    """Nothing is copied, and nothing hidden."""
    value = {"a": ["token=abc"]}
    assert KnownSecrets(["", " "]).masked(value) is value


def test_arguments() -> None:
    """What `invocation` shows: Helm values have secrets that no option knows of."""
    params = {
        "api_key": "abcd-efgh",
        "host": "https://192.0.2.1",
        "validate_certs": None,
        "values": {"grafana": {"adminPassword": "x", "imagePullSecrets": ["regcred"]}},
    }
    assert KnownSecrets(["abcd-efgh"]).arguments(params) == {
        **params,
        "api_key": WHOLE,
        "values": {"grafana": {"adminPassword": WHOLE, "imagePullSecrets": ["regcred"]}},
    }


def test_line() -> None:
    """For the target's syslog."""
    line = KnownSecrets(["abcd-efgh"]).line("Invoked with api=abcd-efgh values={'password': 'x y'} size=3")
    assert line == f"Invoked with api={PART} values={{'password': '{PART}'}} size=3"


def test_core_is_told_of_credentials_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hides them in all that it displays; a value that only has a secret's name is ours to hide."""
    register = mock.Mock()
    monkeypatch.setattr(module, "register_secrets", register)
    assert KnownSecrets(["abcd-efgh", " "], ["ijkl-mnop"]).masked("abcd-efgh ijkl-mnop") == f"{PART} {PART}"
    register.assert_called_once_with(["abcd-efgh"])
