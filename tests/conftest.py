# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No test leaves this machine, nor does any Python process that it starts; one that tries fails."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.guard import sitecustomize as guard


@pytest.fixture(scope="session")
def _notes() -> Iterator[Path]:
    """Yield the file in which what was stopped is noted, by children too."""
    with tempfile.TemporaryDirectory(prefix="mi-guard-") as folder:
        path = Path(folder) / "notes"
        path.touch()
        os.environ[guard.NOTES] = str(path)
        yield path
        del os.environ[guard.NOTES]


@pytest.fixture(autouse=True)
def _stays_on_this_machine(_notes: Path) -> Iterator[None]:
    """Fail a test that called another machine, or looked up a name there. :raises AssertionError: it did"""
    before = _notes.stat().st_size
    yield
    with _notes.open(encoding="utf-8") as stream:
        stream.seek(before)
        stopped = "".join(dict.fromkeys(stream))
    assert not stopped, f"This test would have left the machine:\n{stopped}"


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """What chance begins with: MESHOPS_TEST_SEED, or another each time. It is printed, to repeat what failed."""
    number = int(os.environ.get("MESHOPS_TEST_SEED") or secrets.randbelow(2**32))
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nMESHOPS_TEST_SEED={number}", flush=True)
    return number
