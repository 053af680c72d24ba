# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that somebody has let into a message do not reach the report; what only sounds like one does."""

from __future__ import annotations

import pytest

from ansible_collections.meshops.istio.plugins.plugin_utils.report.redaction import HIDDEN, redacted

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"
BLOB = "TUlJRXBBSUJBQUtDQVFFQTV" * 6


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"401 for {JWT}", JWT),
        (f"Authorization: Bearer {JWT[:20]}", JWT[:20]),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("helm --password=hunter22 upgrade", "hunter22"),
        ("helm --password hunter22 upgrade", "hunter22"),
        ("GET https://bob:hunter22@repo.example.com/index.yaml", "hunter22"),
        ("GET https://ghp_0123456789abcdefghijABCDEFGHIJ@github.com/x", "ghp_0123456789abcdefghijABCDEFGHIJ"),
        ("GET https://repo/x?access_token=abcdef123&page=2", "abcdef123"),
        ('{"client-key-data": "a2V5"}', "a2V5"),
        ("users: [{user: {token: abcdef}}]", "abcdef"),
        ("chart_repository_password: 'p4ss word'", "p4ss"),
        ("K8S_AUTH_API_KEY=abcdef", "abcdef"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- after", "MIIE"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE that was cut", "MIIE"),
        (f"certificate-authority-data is {BLOB}", BLOB),
        ("aws AKIAIOSFODNN7EXAMPLE said no", "AKIAIOSFODNN7EXAMPLE"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, secret: str) -> None:
    """Wherever it stands."""
    hidden = redacted({"a": [{"b": (text,)}], text: "key"})
    assert secret not in str(hidden)
    assert HIDDEN in hidden["a"][0]["b"][0]


@pytest.mark.parametrize(
    "text",
    [
        "missing: Secret istio-system/istio-ca-secret",
        "Set kubeconfig and context, or host and api_key, or the K8S_AUTH_* environment variables.",
        "psp_rbac_force: true",
        "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway",
        "oci://registry.example.com/istio/base@sha256:86584a54def73570558f66f5111cc53dfed56689637ae32c1201205d494f54fb",
        "sha256:86584a54def73570558f66f5111cc53dfed56689637ae32c1201205d494f54fb",
        "imagePullSecrets: [regcred]",
        "istio_kubeconfig: ~/.kube/kvm.yaml",
        "the token is expired; renew it",
        "basic authentication is needed",
        "http://[2001:db8::1]:30010/healthz",
        "Pod istio-system/istiod-66f6fbc874-652jb, chart /srv/charts/istio-1.31/base/templates/a/b/c/d/e/f/g",
        "",
    ],
)
def test_what_only_sounds_like_one_stays(text: str) -> None:
    """A fix that has been hidden helps nobody."""
    assert redacted([text]) == [text]


@pytest.mark.parametrize(
    "key",
    ["password", "chart_repository_password", "api_key", "token", "kubeconfig", "client-key-data", "Authorization"],
)
def test_value_of_a_key_that_names_a_secret_is_hidden(key: str) -> None:
    """Whatever it looks like; unless there is none."""
    assert redacted({key: "x"}) == {key: HIDDEN}
    assert redacted({key: ""}) == {key: ""}
    assert redacted({key: None, "n": 1, "b": True, "f": 1.5}) == {key: None, "n": 1, "b": True, "f": 1.5}


def test_known_secrets_are_hidden_wherever_they_stand() -> None:
    """The longer one first; what is too short to be one would be found inside of words."""
    assert redacted("say abcd-efgh, abcd and at", ["abcd", "abcd-efgh", "at", ""]) == (f"say {HIDDEN}, {HIDDEN} and at")


def test_nothing_is_changed_in_place() -> None:
    """Results are registered variables, which later tasks read."""
    given = {"a": ["token=abcdef"]}
    redacted(given)
    assert given == {"a": ["token=abcdef"]}
