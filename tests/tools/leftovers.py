# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests leave behind: files in their temporary directory, keys, and processes.

Whoever runs tests gives them a temporary directory of their own, by ``TMPDIR``. What is in it afterwards is a leftover,
and so is a process that was started with it and still runs.
"""

from __future__ import annotations

import os
from pathlib import Path

#: Of PEM, and of the base64 that a kubeconfig holds it in.
KEYS = (b"PRIVATE KEY-----", b"UFJJVkFURSBLRVktLS0tL", b"BSSVZBVEUgS0VZLS0tLS", b"QUklWQVRFIEtFWS0tLS0t")
#: A key stands in the first bytes of what a tool wrote it into; archives and logs may be large.
_READ = 1 << 20  # bytes


#: Files of others. kubernetes.core's own modules, which only molecule's playbooks call, leave what an API server
#: serves: one file for each cluster, for the next call to find.
OTHERS = ("k8srcp-*.json",)


def files(directory: Path) -> list[Path]:
    """Files and links below a directory. Empty directories are none, nor are sockets whose process is gone."""
    return sorted(path for path in directory.rglob("*") if path.is_symlink() or path.is_file())


def ours(directory: Path) -> list[Path]:
    """Those of them that are not ``OTHERS``, in which no key may be either."""
    return [path for path in files(directory) if not any(map(path.match, OTHERS)) or _holds_key(path)]


def keys(directory: Path) -> list[Path]:
    """Files below a directory that hold a private key."""
    return [path for path in files(directory) if path.is_file() and _holds_key(path)]


def _holds_key(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(_READ)
    except OSError:  # gone meanwhile
        return False
    return any(key in start for key in KEYS)


def processes(temporary: Path, proc: Path = Path("/proc")) -> dict[int, str]:
    """Command lines of processes that were started with a temporary directory, by process id; not our own.

    :arg proc: where Linux tells of its processes; elsewhere none is found
    """
    wanted = f"TMPDIR={temporary}".encode()
    found = {}
    for path in proc.glob("[0-9]*"):
        started_with = _read(path / "environ").split(b"\0")
        if int(path.name) != os.getpid() and any((each + b"/").startswith(wanted + b"/") for each in started_with):
            found[int(path.name)] = _read(path / "cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return {pid: command for pid, command in found.items() if command}  # one that has ended has none


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # gone meanwhile, or another user's
        return b""
