# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which PeerAuthentication counts, and for which port."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.peer_authentication import (
    PERMISSIVE,
    STRICT,
    Mode,
    asked,
)

ROOT, SHOP = "istio-system", "shop"


def policy(namespace: str, mode: str | None, name: str = "default", age: str = "1", **spec: Any) -> dict[str, Any]:
    """A PeerAuthentication."""
    whole = {**({"mtls": {"mode": mode}} if mode else {}), **spec}
    return {"metadata": {"namespace": namespace, "name": name, "creationTimestamp": age}, "spec": whole}


WEB = {"selector": {"matchLabels": {"app": "web"}}}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], Mode(PERMISSIVE, "")),
        ([policy(ROOT, STRICT)], Mode(STRICT, "istio-system/default")),
        ([policy("other", STRICT)], Mode(PERMISSIVE, "")),
        ([policy(ROOT, STRICT), policy(SHOP, PERMISSIVE)], Mode(PERMISSIVE, "shop/default")),
        ([policy(ROOT, STRICT), policy(SHOP, "UNSET")], Mode(STRICT, "istio-system/default")),
        ([policy(SHOP, PERMISSIVE), policy(SHOP, STRICT, "web", **WEB)], Mode(STRICT, "shop/web")),
        ([policy(SHOP, STRICT, "db", selector={"matchLabels": {"app": "db"}})], Mode(PERMISSIVE, "")),
        ([policy(SHOP, STRICT, "new", "2"), policy(SHOP, PERMISSIVE, "old", "1")], Mode(PERMISSIVE, "shop/old")),
        ([policy(ROOT, STRICT, "web", **WEB)], Mode(PERMISSIVE, "")),
    ],
    ids=["none", "mesh", "elsewhere", "namespace", "unset", "workload", "other-workload", "oldest", "root-selector"],
)
def test_which_counts(policies: list[dict[str, Any]], expected: Mode) -> None:
    """The narrowest that says anything."""
    assert asked(policies, ROOT, SHOP, {"app": "web"}) == expected


def test_port() -> None:
    """It may be another one's than the rest of the pod's."""
    own = policy(SHOP, STRICT, "web", portLevelMtls={"8080": {"mode": PERMISSIVE}}, **WEB)
    assert asked([own], ROOT, SHOP, {"app": "web"}, 8080).mode == PERMISSIVE
    assert asked([own], ROOT, SHOP, {"app": "web"}, 9090).mode == STRICT
