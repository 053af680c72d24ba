# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in a namespace needs the least privilege that works, and a level that would not work is refused."""

from __future__ import annotations

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.admission import LEVELS
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.privileges import (
    PRIVILEGES,
    RUNS,
    check_level,
    most,
    privilege,
)


@pytest.mark.parametrize(
    ("runs", "istio_cni", "expected"),
    [
        ("control-plane", False, "none"),
        ("control-plane", True, "none"),
        ("application", False, "net-admin"),
        ("application", True, "none"),
        ("node", False, "host"),
        ("node", True, "host"),
    ],
)
def test_privilege(runs: str, istio_cni: bool, expected: str) -> None:
    """Only istio-init needs a capability, and Istio CNI does its work on the node (istio#6806)."""
    assert runs in RUNS
    assert privilege(runs, istio_cni) == expected


def test_only_what_must_be_privileged_is() -> None:
    """Baseline admits neither NET_ADMIN nor host namespaces, and everything else of Istio's."""
    assert {name: entry.level for name, entry in PRIVILEGES.items()} == {
        "none": "baseline",
        "net-admin": "privileged",
        "host": "privileged",
    }
    assert {entry.level for entry in PRIVILEGES.values()} <= set(LEVELS)


@pytest.mark.parametrize(
    ("keys", "expected"), [({"none"}, "none"), ({"none", "net-admin"}, "net-admin"), ({"host", "none"}, "host")]
)
def test_most(keys: set[str], expected: str) -> None:
    """The greatest of what a namespace's entries need."""
    assert most(keys) == expected


@pytest.mark.parametrize(
    ("level", "needed", "seccomp_profile", "named"),
    [
        ("privileged", "host", False, ""),
        ("privileged", "net-admin", False, ""),
        ("privileged", "none", False, ""),
        ("baseline", "none", False, ""),
        ("restricted", "none", True, ""),
        ("baseline", "net-admin", True, "psp_rbac_istio_cni: true"),
        ("restricted", "net-admin", True, "psp_rbac_istio_cni: true"),
        ("baseline", "host", True, "rejects pods that need privileged"),
        ("restricted", "none", False, "global.proxy.seccompProfile"),
    ],
)
def test_level_that_would_refuse_istio_54968(level: str, needed: str, seccomp_profile: bool, named: str) -> None:
    """istio#54968, #35894: the message says what to do instead; a level that works is taken as it is asked for."""
    message = ""
    try:
        check_level("shop", level, needed, seccomp_profile)
    except JobError as error:
        message = str(error)
    assert bool(message) is bool(named)
    assert not named or f"Namespace shop: level {level}" in message
    assert named in message
