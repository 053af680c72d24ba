# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Only a process of this kernel and PID namespace can be known to be gone, and its id may be another's by now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster import process

BLANK = "9 (sleep) S" + " 0" * 18 + " 77 0 0\n"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of our own making, of which process 9 is the only one."""
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("6e7a\n")
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026531836]")
    (tmp_path / "9").mkdir()
    (tmp_path / "9/stat").write_text(BLANK)
    monkeypatch.setattr(process, "_PROC", tmp_path)
    monkeypatch.setattr(process.os, "kill", lambda _pid, _signal: None)
    return tmp_path


def test_this_process_and_one_that_was() -> None:
    """By the running kernel itself."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    marked = process.mark(child.pid)
    assert not process.is_gone(os.getpid(), process.mark())
    assert not process.is_gone(child.pid, marked)
    assert child.stdin
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.is_gone(child.pid, marked), "it has ended, and nobody has taken note of that"
    child.wait()
    assert process.is_gone(child.pid, marked)


def test_id_that_is_used_again(elsewhere: Path) -> None:
    """The new one began later."""
    marked = process.mark(9)
    assert not process.is_gone(9, marked)
    (elsewhere / "9/stat").write_text(BLANK.replace(" 77 ", " 78 "))
    assert process.is_gone(9, marked)


@pytest.mark.parametrize("changed", ["another kernel, or this one started again", "another PID namespace"])
def test_process_that_cannot_be_seen_from_here(changed: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container of the same host name counts its own: nothing is known of its processes."""
    marked = process.mark(9)

    def kill(_pid: int, _signal: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(process.os, "kill", kill)
    assert process.is_gone(9, marked)
    if changed == "another PID namespace":
        (elsewhere / "self/ns/pid").unlink()
        (elsewhere / "self/ns/pid").symlink_to("pid:[4026532201]")
    else:
        (elsewhere / "sys/kernel/random/boot_id").write_text("51c0\n")
    assert not process.is_gone(9, marked)


def test_process_that_proc_hides(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hidepid other users' processes are not there; that they may not be signalled tells that they are."""
    marked = process.mark(9)

    def kill(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(process.os, "kill", kill)
    (elsewhere / "9/stat").unlink()
    assert not process.is_gone(9, marked)


def test_name_of_a_program_with_blanks_and_brackets(elsewhere: Path) -> None:
    """Fields are counted from behind it."""
    marked = process.mark(9)
    (elsewhere / "9/stat").write_text(BLANK.replace("(sleep)", "(a) R 1 (b c)"))
    assert process.mark(9) == marked


def test_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: no mark, and nothing is known, not even of a mark that is empty too."""
    monkeypatch.setattr(process, "_PROC", tmp_path)
    assert process.mark() == ""
    for marked in ("", "-", "0011aabbccdd-77"):
        assert not process.is_gone(2**22 + 1, marked)
