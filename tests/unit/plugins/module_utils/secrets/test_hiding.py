# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What looks like a secret is hidden, wherever it stands, and still seen to change; what only sounds like one stays."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import subprocess
import sys
import zlib
from typing import Any

import pytest
import yaml
from harness.playbooks import ROOT

from ansible_collections.meshops.istio.plugins.module_utils import codes
from ansible_collections.meshops.istio.plugins.module_utils.secrets.hiding import (
    certain_secrets,
    hidden,
    hidden_throughout,
    secrets_in,
)
from ansible_collections.meshops.istio.plugins.module_utils.secrets.names import names_secret
from ansible_collections.meshops.istio.plugins.module_utils.secrets.text import hidden_text, mark

MARK = re.compile(r"<hidden: [0-9a-f]{8}>")
SECRET = "hunter2-Xy7"  # noqa: S105 -- a made-up one
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBGf0bS1m2Xw\n-----END EC PRIVATE KEY-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBhTCCASugAwIBAgIQIRi6zePL6mKjOipn+dNuaTAKBggqhkjOPQQDAjASMRAw\n" * 3


def encoded(text: str) -> str:
    """In base64."""
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "password",
            "PASSWORD",
            "adminPassword",
            "admin_password",
            "db-password",
            "DB_PASSWORD",
            "dbpassword",
            "dbPass",
        ),
        *(
            "grafana.ini.admin_password",
            "passphrase",
            "passwd",
            "pwd",
            "PGPASS",
            "token",
            "accessToken",
            "ACCESS_TOKEN",
        ),
        *(
            "refresh-token",
            "secret",
            "clientSecret",
            "client_secret",
            "CLIENT-SECRET",
            "webhookSecret",
            "apiKey",
            "api_key",
        ),
        *(
            "apikey",
            "x-api-key",
            "API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "secretKey",
            "privateKey",
            "private-key",
            "tls.key",
        ),
        *(
            "ca-key.pem",
            "key.pem",
            "client-key-data",
            "encryptionKey",
            "signing_key",
            "credentials",
            "credential",
            "creds",
        ),
        *("Authorization", "kubeconfig", ".dockerconfigjson", "connectionString", "htpasswd", "cookie", "auth", "psk"),
        *("request.headers[x-api-key]", "spec.jwt.token", "chart_repository_password", "tokens", "passwords"),
    ],
)
def test_names(name: str) -> None:
    """However it is written."""
    assert names_secret(name) is (name != "PGPASS")  # one word, as COMPASS is


@pytest.mark.parametrize(
    "name",
    [
        *(
            "secretName",
            "secret_name",
            "secretRef",
            "secretKeyRef",
            "passwordSecretRef",
            "credentialName",
            "existingSecret",
        ),
        *(
            "imagePullSecrets",
            "imagePullSecret",
            "pullSecrets",
            "tokenAudience",
            "TOKEN_AUDIENCES",
            "token_url",
            "tokenTTL",
        ),
        *("tokenEndpoint", "passwordPolicy", "passwordFile", "password_file", "credentials_file", "bearerTokenFile"),
        *(
            "jwtPolicy",
            "publicKey",
            "key",
            "keys",
            "primaryKey",
            "bypass",
            "compass",
            "author",
            "authority",
            "authPolicy",
        ),
        *(
            "certificate",
            "caBundle",
            "ca.crt",
            "tls.crt",
            "spin",
            "monkey",
            "tokenize",
            "secretsManager",
            "passthrough",
        ),
        *("meshConfig.accessLogFile", "automountServiceAccountTokens2", "", "-", "..."),
    ],
)
def test_names_that_only_sound_so(name: str) -> None:
    """They say where a secret is, or what is wanted of it, or nothing at all."""
    assert names_secret(name) is False


@pytest.mark.parametrize(
    "data",
    [
        {"secretName": "my-secret", "imagePullSecrets": ["regcred"], "tokenAudience": "istio-ca"},
        {"imagePullSecrets": [{"name": "regcred"}], "existingSecret": "grafana-admin"},
        {"automountServiceAccountToken": False, "usePassword": True, "tokens": 5, "maxTokens": 5, "password": ""},
        {"env": [{"name": "ENABLE_TOKEN", "value": "true"}, {"name": "CA_ADDR", "value": "istiod:15012"}]},
        {"env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db-secret", "key": "password"}}}]},
        {"volumes": [{"name": "t", "secret": {"secretName": "cacerts", "defaultMode": 420, "optional": True}}]},
        {
            "projected": {
                "sources": [{"serviceAccountToken": {"audience": "istio-ca", "expirationSeconds": 43200, "path": "t"}}]
            }
        },
        {"global": {"sds": {"token": {"aud": "istio-ca"}}, "jwtPolicy": "third-party-jwt"}},
        {"tls": {"mode": "SIMPLE", "credentialName": "httpbin-credential", "privateKey": "/etc/certs/key.pem"}},
        {"certificateRefs": [{"kind": "Secret", "group": "", "name": "edge-cert"}]},
        {"privateKey": {"algorithm": "RSA", "encoding": "PKCS8", "rotationPolicy": "Always", "size": 2048}},
        {
            "kind": "CustomResourceDefinition",
            "spec": {"properties": {"password": {"type": "string", "description": "it"}}},
        },
        {"kubeconfig": "~/.kube/kvm.yaml", "client_key": "/home/me/.certs/kvm.key"},
        {"auth": {"strategy": "anonymous"}, "cookie": {"regex": "user=jason"}},
        {"clientConfig": {"caBundle": encoded(CERTIFICATE)}, "chain": CERTIFICATE},
        {"rules": [{"resources": ["secrets", "tokenreviews"], "verbs": ["get"]}]},
        {
            "image": "docker.io/istio/pilot@sha256:" + "0123456789abcdef" * 4,
            "url": "oci://ghcr.io/istio/release/charts",
        },
        {"text": "the token is expired; renew it, or set K8S_AUTH_API_KEY"},
        {"none": None, "float": 1.5, "list": [1, True, None]},
    ],
    ids=lambda data: next(iter(data)),
)
def test_what_is_no_secret_stays(data: dict[str, Any]) -> None:
    """References, settings, switches, numbers, paths and public parts of certificates."""
    assert hidden_throughout(data) == data


def test_our_own_words_stay() -> None:
    """A fix that has been hidden helps nobody."""
    words = [text for table in vars(codes).values() if isinstance(table, dict) for text in map(str, table.values())]
    assert words
    assert hidden(words) == words


#: Places in which a secret may stand, as functions of it.
PLACES: dict[str, Any] = {
    "value of a name": lambda secret: {"adminPassword": secret},
    "below a name": lambda secret: {"credentials": {"minio": {"admin": secret}, "list": [secret]}},
    "number": lambda secret: {"password": zlib.crc32(secret.encode()) + 10**9},
    "environment": lambda secret: {"env": [{"name": "DB_PASSWORD", "value": secret}]},
    "header's condition": lambda secret: {"when": [{"key": "request.headers[x-api-key]", "values": [secret]}]},
    "header's match": lambda secret: {"headers": {"x-api-key": {"exact": secret}}},
    "argument": lambda secret: {"args": ["--password", secret]},
    "argument's value": lambda secret: {"args": [f"--db-password={secret}"]},
    "command line": lambda secret: {"command": f"psql --password {secret} -c 'select 1'"},
    "URL": lambda secret: {"url": f"https://bob:{secret}@example.com/x"},
    "query": lambda secret: {"url": f"https://example.com/x?a=b&access_token={secret}&c=d"},
    "bearer": lambda secret: {"x": f"Bearer {secret}"},
    "Secret's data": lambda secret: {"kind": "Secret", "metadata": {"name": "s"}, "data": {"x": encoded(secret)}},
    "Secret's text": lambda secret: {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"x": secret}},
    "Secret in a List": lambda secret: {"kind": "List", "items": [{"kind": "Secret", "data": {"x": encoded(secret)}}]},
    "applied before": lambda secret: {
        "kind": "Secret",
        "metadata": {
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": {"x": encoded(secret)}})
            }
        },
    },
    "applied before, elsewhere": lambda secret: {
        "kind": "Deployment",
        "metadata": {
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": json.dumps(
                    {"kind": "Deployment", "spec": {"env": [{"name": "TOKEN", "value": secret}]}}
                )
            }
        },
    },
    "JSON in a string": lambda secret: {"data": {"values": json.dumps({"global": {"token": secret}})}},
    "JSON in JSON": lambda secret: {"data": {"values": json.dumps({"x": json.dumps({"token": f"a b {secret}"})})}},
    "YAML in a string": lambda secret: {
        "data": {"config": yaml.safe_dump({"a": 1, "smtp": {"password": f"a {secret}"}})}
    },
    "YAML with an environment": lambda secret: {"data": {"x": f"a: 1\nenv:\n- name: A_TOKEN\n  value: {secret}\n"}},
    "YAML with a block": lambda secret: {"data": {"config": f"a: 1\nkeys:\n  private_key: |\n    {secret}\n"}},
    "INI in a string": lambda secret: {
        "data": {"grafana.ini": f"[security]\nadmin_user = a\nadmin_password = {secret}\n"}
    },
    "template in a string": lambda secret: {"data": {"x": f"{{{{ if .X }}}}\npassword: {secret}\n{{{{ end }}}}"}},
    "PEM": lambda secret: {"x": KEY.replace("MHcC", secret)},
    "PEM in JSON": lambda secret: {"x": json.dumps({"chain": CERTIFICATE + KEY.replace("MHcC", secret)})},
    "PEM in base64": lambda secret: {"x": encoded(KEY.replace("MHcC", secret))},
    "PEM in base64, in lines": lambda secret: {
        "x": "key: |\n  "
        + "\n  ".join(re.findall(".{1,64}", encoded((KEY * 3).replace("MHcC", secret))))
        + "\ntype: Opaque"
    },
    "certificate and key in base64": lambda secret: {"x": encoded(CERTIFICATE + KEY.replace("MHcC", secret))},
    "web token": lambda secret: {"x": f"said eyJhbGciOiJSUzI1NiJ9.eyJ{secret}.c2lnbmF0dXJl"},
    "elsewhere": lambda secret: {
        "values": {"adminPassword": secret},
        "objects": [{"data": {"x": f"login {secret} is"}}],
    },
    "elsewhere in base64": lambda secret: {"values": {"apiToken": secret}, "x": f"a {encoded(secret)} b"},
    "Secret's, elsewhere": lambda secret: [
        {"kind": "Secret", "data": {"password": encoded(secret)}},
        {"kind": "ConfigMap", "data": {"x": f"a {secret} b"}},
    ],
}
#: What must not be seen, of what has been planted.
FORMS = (
    lambda secret: secret,
    encoded,
    lambda secret: str(zlib.crc32(secret.encode()) + 10**9),
    lambda secret: encoded(KEY.replace("MHcC", secret))[36:60],
    lambda secret: encoded((KEY * 3).replace("MHcC", secret))[-24:-4],
)


@pytest.mark.parametrize("place", PLACES)
def test_secret_is_hidden_and_seen_to_change(place: str) -> None:
    """The same one looks the same, and another one does not, so that a diff says what happened."""
    one, same, other = (hidden_throughout(PLACES[place](secret)) for secret in (SECRET, SECRET, SECRET[::-1]))
    for shown, secret in ((one, SECRET), (other, SECRET[::-1])):
        assert MARK.search(str(shown)), shown
        for form in FORMS:
            assert form(secret) not in str(shown), shown
    assert one == same
    assert one != other


@pytest.mark.parametrize("place", PLACES)
def test_hiding_again_changes_nothing(place: str) -> None:
    """Results are hidden in a task, and once more in the report."""
    once = hidden_throughout(PLACES[place](SECRET))
    assert hidden_throughout(once) == once


@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_secret_beside_it_stays(place: str) -> None:
    """Keys, kinds and names."""
    given = PLACES[place](SECRET)
    shown = hidden_throughout(given)
    assert type(shown) is type(given)
    if isinstance(given, dict):
        assert list(shown) == list(given)
        assert shown.get("kind") == given.get("kind")


def test_nothing_is_changed_in_place() -> None:
    """The data are written to the cluster next."""
    for make in PLACES.values():
        given = make(SECRET)
        hidden_throughout(given)
        assert given == make(SECRET)


def test_weak_secret_cannot_be_found_by_trying() -> None:
    """The digest is by a key of this run: nothing that is known gives it, and the next run has another."""
    shown = mark("1234")
    assert shown[9:17] not in {
        hashlib.new(name, b"1234").hexdigest()[:8] for name in hashlib.algorithms_guaranteed if "shake" not in name
    }
    program = (
        "from ansible_collections.meshops.istio.plugins.module_utils.secrets.text import mark; print(mark('1234'))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(ROOT / "collections")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _run in range(2)
    }
    assert len({*runs, f"{shown}\n"}) == 3


def test_lengths_are_not_told() -> None:
    """Of a short password the length is half of it."""
    assert len(mark("a")) == len(mark("a" * 1000))


def test_secrets_in_data() -> None:
    """What would be hidden, for those who look for it elsewhere."""
    assert secrets_in({"password": "x", "a": "Bearer abcdef123", "b": 1}) == {"x", "abcdef123"}


def test_certain_secrets_are_long_and_no_names() -> None:
    """They are looked for everywhere: "admin" is in each second name."""
    data = {
        "password": "admin",
        "secret": "istio-ingressgateway",
        "credentials": {"name": "istio-ingressgateway"},
        "apiToken": "abcdefgh",
        "env": [{"name": "DB_PASSWORD", "value": "ijklmnop"}, {"name": "HOST", "value": "istio-system"}],
        "list": [
            {
                "kind": "Secret",
                "stringData": {"user": "istio-system", "x": "Zm9vYmFyYmF6cXV4MTIz", "password": "qrstuvwx"},
            }
        ],
    }
    assert set(certain_secrets(data)) == {"abcdefgh", "ijklmnop", "Zm9vYmFyYmF6cXV4MTIz", "qrstuvwx"}


@pytest.mark.parametrize("shuffled", list(itertools.permutations(["abcd-efgh", "abcd-efgh-ijkl"])), ids=str)
def test_longer_one_first(shuffled: tuple[str, ...]) -> None:
    """Else the rest of it would stay."""
    assert "ijkl" not in hidden("say abcd-efgh-ijkl", known=shuffled)


def test_text_without_a_document() -> None:
    """What begins as JSON or YAML and is none is read as text."""
    for text in (
        '{"password": "hunter22',
        "a: [\npassword: hunter22",
        "x: *y\npassword: hunter22",
        "[" * 5000 + '"password": "hunter22"',
    ):
        assert "hunter22" not in hidden(text)
        assert "hunter22" not in hidden_text(text)
