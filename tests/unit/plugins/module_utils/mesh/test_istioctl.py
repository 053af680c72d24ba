# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The version of the istioctl that a user names."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.mesh.istioctl import version_of


def program(folder: Path, text: str) -> str:
    """An istioctl that runs a line of shell."""
    path = folder / "istioctl"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("printed", ["1.31.0", "client version: 1.31.0", "v1.31.0"])
def test_version(printed: str, tmp_path: Path) -> None:
    """As several versions of istioctl print it; asked without a cluster."""
    only_of_itself = '[ "$*" = "version --remote=false --short" ] || exit 1'
    assert version_of(program(tmp_path, f"{only_of_itself}; echo '{printed}'")) == "1.31.0"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("echo unknown", "does not report an istioctl version: 'unknown'"),
        ("exit 3", "does not report an istioctl version"),
    ],
)
def test_one_that_does_not_say(text: str, says: str, tmp_path: Path) -> None:
    """With what it printed."""
    with pytest.raises(JobError) as caught:
        version_of(program(tmp_path, text))
    assert says in str(caught.value)


def test_one_that_is_not_there(tmp_path: Path) -> None:
    """Or is no program."""
    with pytest.raises(JobError) as caught:
        version_of("/nonexistent/istioctl")
    assert str(caught.value).startswith("istioctl was not found at /nonexistent/istioctl. Install istioctl, and set ")
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    with pytest.raises(JobError, match="cannot be run"):
        version_of(str(broken))
