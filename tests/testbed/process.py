# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Child processes: run one, log it, and leave none behind when the bed is interrupted."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from testbed.errors import BedError

GUARD = Path(__file__).resolve().parents[1] / "harness/guard"
_children: set[subprocess.Popen] = set()
_lock = threading.Lock()
_stopping = threading.Event()


class CommandFailed(BedError):
    """A child ended with another code than 0; ``output`` is what it said."""

    def __init__(self, args: Sequence[str], code: int, output: str) -> None:
        self.output = output
        tail = "\n".join(output.strip().splitlines()[-25:])
        super().__init__(f"`{shlex.join(map(str, args))}` ended with code {code}\n{tail}")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment plus ``extra``, with the sbin directories, which a plain user's PATH lacks.

    Without what keeps the children of a test on this machine (``harness/guard``): a bed's sources are fetched.
    """
    env = dict(os.environ)
    if "PYTHONPATH" in env:
        paths = env["PYTHONPATH"].split(os.pathsep)
        env["PYTHONPATH"] = os.pathsep.join(path for path in paths if Path(path) != GUARD)
    path = env.get("PATH", os.defpath).split(os.pathsep)
    env["PATH"] = os.pathsep.join(path + [d for d in ("/usr/sbin", "/sbin") if d not in path])
    env.update(extra or {})
    return env


def run(
    args: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: IO | None = None,
    text: str | None = None,
    log: Path | None = None,
    timeout: float | None = None,
) -> str:
    """Runs a program to its end and returns its standard output.

    :param env: additions to the environment
    :param text: what to feed to its standard input (else ``stdin``, else nothing)
    :param log: file that gets standard output and error instead (then "" is returned)
    :param timeout: seconds, after which it is killed
    :raises CommandFailed: exit code other than 0, or ``timeout`` over
    :raises BedError: the program does not exist, or the bed is being stopped

    Each child leads a process group of its own, so that a compiler's children can be ended with it, and so that
    Ctrl-C reaches us alone and we end them in order.
    """
    if _stopping.is_set():
        raise BedError("stopped")
    args = [str(a) for a in args]
    with (log or Path(os.devnull)).open("ab") as log_file:
        try:
            child = subprocess.Popen(
                args,
                env=environment(env),
                cwd=cwd,
                stdin=subprocess.PIPE if text is not None else (stdin or subprocess.DEVNULL),
                stdout=log_file if log else subprocess.PIPE,
                stderr=log_file if log else subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except FileNotFoundError as e:
            raise BedError(f"program not found: {e.filename}") from e
        with _lock:
            _children.add(child)
        try:
            out, err = child.communicate(text, timeout=timeout)
        except subprocess.TimeoutExpired as e:
            end(child)
            raise CommandFailed(args, -1, f"timed out after {timeout:g} s") from e
        except BaseException:
            end(child)
            raise
        finally:
            with _lock:
                _children.discard(child)
    if child.returncode:
        output = log.read_text(errors="replace") if log else (out or "") + (err or "")
        raise CommandFailed(args, child.returncode, output)
    return out or ""


def succeeds(args: Sequence[str | Path], timeout: float = 15) -> bool:
    """Whether a program exists and ends with code 0 within ``timeout`` seconds."""
    try:
        run(args, timeout=timeout)
    except BedError:
        return False
    return True


def end(child: subprocess.Popen, grace: float = 5) -> None:
    """Ends a child and its process group: politely, and after ``grace`` seconds for good."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, sig)
        try:
            child.wait(grace)
            return
        except subprocess.TimeoutExpired:
            continue


def stop_all() -> None:
    """Ends every child there is and lets no new one start (for Ctrl-C and SIGTERM)."""
    _stopping.set()
    with _lock:
        children = list(_children)
    for child in children:
        end(child)
