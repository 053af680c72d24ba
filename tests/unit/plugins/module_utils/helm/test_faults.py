# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What helm says where a second try helps, and where it does not. The texts are Go's, client-go's and helm's own."""

from __future__ import annotations

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.helm.faults import may_pass

ASKED = 'Patch "https://192.0.2.1:6443/api/v1/namespaces/istio-system/serviceaccounts/istiod": '
PASSING = (
    f"{ASKED}EOF",
    "failed to create resource: unexpected EOF",
    f"{ASKED}read tcp 127.0.0.1:52618->127.0.0.1:6443: read: connection reset by peer",
    f"{ASKED}write: broken pipe",
    f"{ASKED}http2: client connection lost",
    f"{ASKED}net/http: TLS handshake timeout",
    "the server is currently unable to handle the request (patch services istiod)",
    "the server has received too many requests and has asked us to try again later (get secrets)",
    "the server was unable to return a response in the time allotted, but may still be processing the request",
    'an error on the server ("unknown") has prevented the request from succeeding (patch configmaps istio)',
    "etcdserver: leader changed",
    'Operation cannot be fulfilled on services "istiod": the object has been modified; please apply your changes',
    'Internal error occurred: failed calling webhook "rev.validation.istio.io": failed to call webhook: '
    'Post "https://istiod.istio-system.svc:443/validate?timeout=10s": dial tcp 10.96.0.9:443: connect: '
    "connection refused",
    "failed to fetch https://charts.example.com/base-1.31.1.tgz : 503 Service Unavailable",
)
FINAL = (
    'admission webhook "policy.example.com" denied the request: EOF is no name',
    "parse error at (istiod/templates/deployment.yaml:3): unexpected EOF",
    "failed to parse values.json: error converting YAML to JSON: unexpected EOF",
    'Deployment.apps "istiod" is invalid: spec.template.spec.containers[0].image: Required value',
    "conflict occurred while applying object istio-system/istiod apps/v1, Kind=Deployment",
    'chart "base" version "1.99.0" not found in https://charts.example.com repository',
    "dial tcp: lookup charts.example.com: no such host",
    "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    "another operation (install/upgrade/rollback) is in progress",
    "unauthorized",
)


@pytest.mark.parametrize("has_answered", [True, False])
@pytest.mark.parametrize("words", PASSING)
def test_what_passes(words: str, has_answered: bool) -> None:
    """Whoever is asked."""
    is_dialled = "dial tcp" in words
    assert may_pass(words, has_answered) is (has_answered or not is_dialled)


@pytest.mark.parametrize("words", FINAL)
def test_what_is_final(words: str) -> None:
    """A second try would be told the same."""
    assert not may_pass(words, has_answered=True)


def test_server_that_is_not_there() -> None:
    """One that was there a moment ago may restart; an address of which nobody has heard is wrong."""
    words = "Kubernetes cluster unreachable: dial tcp 127.0.0.1:6443: connect: connection refused"
    assert may_pass(words, has_answered=True)
    assert not may_pass(words, has_answered=False)
