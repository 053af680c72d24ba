# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends that disagree about mutual TLS, and those that only seem to."""

from __future__ import annotations

import pytest
from harness.mesh_objects import ISTIO, SHOP, Object, codes, namespace, obj, pod, service, state, virtual_service

from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.diagnose import diagnose


def policy(mode: str, where: str = SHOP, **spec: Object) -> Object:
    """A PeerAuthentication."""
    return obj("PeerAuthentication", "default", where, {"mtls": {"mode": mode}, **spec})


def rule(mode: str | None, host: str = "web", where: str = SHOP) -> Object:
    """A DestinationRule."""
    traffic: Object = {"tls": {"mode": mode}} if mode else {"connectionPool": {}}
    return obj("DestinationRule", "web", where, {"host": host, "trafficPolicy": traffic})


OUT = {"sidecar.istio.io/inject": "false"}
PLAIN = pod("plain", SHOP, "app", labels=OUT)
BY_PORT = {"portLevelMtls": {"8080": {"mode": "PERMISSIVE"}}, "selector": {"matchLabels": {"app": "web"}}}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ([rule("DISABLE"), policy("STRICT")], "mtls-disabled-by-rule"),
        ([rule("SIMPLE"), policy("STRICT", ISTIO)], "mtls-disabled-by-rule"),
        ([rule("DISABLE", "*.local"), policy("STRICT")], "mtls-disabled-by-rule"),
        ([rule("ISTIO_MUTUAL", "plain"), PLAIN, service("plain")], "mtls-without-sidecar"),
        ([policy("STRICT"), PLAIN], "mtls-strict-plain-caller"),
        ([policy("STRICT"), service(type="NodePort")], "mtls-strict-plain-caller"),
    ],
)
def test_faults(changed: list[Object], code: str) -> None:
    """It is the main finding."""
    assert codes(state(*changed)) == [code]


@pytest.mark.parametrize(
    "changed",
    [
        [rule("DISABLE")],
        [rule("DISABLE"), policy("PERMISSIVE"), policy("STRICT", ISTIO)],
        [rule("DISABLE"), policy("STRICT", **BY_PORT)],
        [rule(None), policy("STRICT")],
        [rule("ISTIO_MUTUAL"), policy("STRICT")],
        [rule("SIMPLE", "api.example.com"), policy("STRICT")],
        [policy("STRICT")],
        [policy("PERMISSIVE"), PLAIN],
        [policy("PERMISSIVE"), service(type="NodePort")],
        [policy("STRICT", ISTIO, selector={"matchLabels": {"app": "other"}}), PLAIN],
    ],
    ids=[
        "permissive", "permissive-here", "permissive-port", "no-tls", "mutual", "elsewhere", "strict", "plain",
        "node-port", "other-workload",
    ],
)  # fmt: skip
def test_near_misses(changed: list[Object]) -> None:
    """Nothing is said of them."""
    assert codes(state(*changed)) == []


def test_caller_that_should_have_a_sidecar() -> None:
    """Then that it has none is the cause."""
    older = pod("plain", SHOP, "app")
    assert codes(state(older, policy("STRICT"))) == ["injection-partial", "mtls-strict-plain-caller"]


def test_rule_for_what_should_have_a_sidecar() -> None:
    """The same, of the other end."""
    bare = [namespace(), pod("web", SHOP, "app"), rule("ISTIO_MUTUAL")]
    found = diagnose(state(*bare, virtual_service()))
    assert [each.code for each in found.findings] == ["injection-label-missing", "mtls-without-sidecar"]


def test_policies_that_may_not_be_read() -> None:
    """The mesh's own may be strict: nothing is said, and the check is named."""
    assert codes(state(rule("DISABLE"), policy("STRICT"), partly={"PeerAuthentication": {SHOP}})) == []
    found = diagnose(state(rule("DISABLE"), unread=("PeerAuthentication",)))
    assert "plain-text callers: no permission to read PeerAuthentication" in found.skipped
