# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Processes that outlive the command which started them, each known by its number and the moment it began.

A number alone may be somebody else's by now. A daemon notes both itself, between fork and exec, so that however its
starter ends there is never one that runs and is not known.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from testbed.errors import BedError

BOOT = Path("/proc/sys/kernel/random/boot_id")
KILL_SECONDS = 10.0


def identity(pid: int, proc: Path = Path("/proc")) -> dict | None:
    """What tells a process from every other: number, start in clock ticks since boot, boot. None if it has ended.

    :param proc: the process file system; zombies, which only wait for their parent, count as ended
    """
    try:
        stat = (proc / str(pid) / "stat").read_text()
    except OSError:
        return None
    # "PID (NAME) STATE ...": the name may hold spaces and brackets. The start is field 22, the state field 3.
    after = stat.rpartition(")")[2].split()
    return None if after[0] in "ZX" else {"pid": pid, "started": int(after[19]), "boot": BOOT.read_text().strip()}


class Daemons:
    """The daemons of one bed; below ``directory`` each has NAME.json, which says which process it is, and NAME.log."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def names(self) -> list[str]:
        """Those that were started and not stopped since."""
        return sorted(path.stem for path in self.directory.glob("*.json"))

    def log(self, name: str) -> Path:
        """What it says."""
        return self.directory / f"{name}.log"

    def pid(self, name: str) -> int | None:
        """Its number while it runs."""
        try:
            noted = json.loads((self.directory / f"{name}.json").read_text())
            return noted["pid"] if identity(noted["pid"]) == noted else None
        except (OSError, ValueError, KeyError):
            return None

    def start(self, name: str, command: Sequence[str | Path]) -> None:
        """Starts a daemon in a session of its own; its log goes on where an earlier one's ended.

        :raises BedError: there is no such program
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        note = self.directory / f"{name}.json"

        def note_myself() -> None:
            # Any lock of ours is held by this child too until it executes the program: who waits for it sees the note.
            pending = note.with_suffix(".pending")
            pending.write_text(json.dumps(identity(os.getpid())))
            pending.rename(note)

        with self.log(name).open("ab") as log:
            try:
                subprocess.Popen(
                    [str(word) for word in command],
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=note_myself,
                )
            except OSError as e:
                raise BedError(f"{name} cannot be started: {e}") from e

    def stop(self, names: Sequence[str] | None = None) -> None:
        """Ends daemons (all) at once and for good, and forgets them: what they would save is thrown away anyway.

        :raises BedError: one does not end
        """
        names = self.names() if names is None else names
        deadline = time.monotonic() + KILL_SECONDS
        for name in names:
            pid = self.pid(name)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for name in names:
            while self.pid(name) is not None:
                if time.monotonic() > deadline:
                    raise BedError(f"{name}, process {self.pid(name)}, does not stop")
                time.sleep(0.01)
            (self.directory / f"{name}.json").unlink(missing_ok=True)

    def last_words(self, name: str, lines: int = 15) -> str:
        """The end of its log."""
        try:
            return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""
