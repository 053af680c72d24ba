# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process this is, so that another one can tell later whether it is gone. Only what is certain counts.

A process id alone says little: containers of one host name each count their own, and ids are used again. So a mark goes
with it, of kernel, PID namespace and moment of start (proc(5), pid_namespaces(7)). Without /proc there is none, and
nothing is known.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

_PROC = Path("/proc")
#: Fields of /proc/PID/stat, counted from the one after the program's name, which may hold blanks and brackets.
_STATE, _STARTED = 0, 19
#: States of a process that has ended and that nobody has taken note of yet.
_ENDED = ("Z", "X", "x")


def mark(pid: int | None = None) -> str:
    """What a process of this PID namespace is told from others by, as ``KERNEL-START``; ``""`` where nothing can tell.

    :arg pid: this process by default
    """
    place, seen = _place(), _seen(os.getpid() if pid is None else pid)
    return f"{place}-{seen[_STARTED]}" if place and seen else ""


def is_gone(pid: int, marked: str) -> bool:
    """Whether the process that a mark was made of is certainly there no more.

    False also for a process of another machine or PID namespace, which cannot be seen from here.
    """
    place = _place()
    if not place or marked.rpartition("-")[0] != place:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    seen = _seen(pid)  # none where /proc hides processes of other users
    return bool(seen) and (seen[_STATE] in _ENDED or mark(pid) != marked)


def _place() -> str:
    """The running kernel and our PID namespace, in a few letters."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = (_PROC / "self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:12]


def _seen(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return []
