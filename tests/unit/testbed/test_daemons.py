# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Processes that outlive who started them are known, and only they are ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from testbed import cache, daemons
from testbed.daemons import Daemons
from testbed.errors import BedError

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
TESTS = Path(daemons.__file__).parents[1]


@pytest.fixture
def some(tmp_path):
    """Yield an empty set of daemons, and end what is left in it."""
    found = Daemons(tmp_path / "daemons")
    yield found
    found.stop()


def test_one_is_known_while_it_runs_and_ended_for_good(some):
    some.start("sleep", SLEEP)
    pid = some.pid("sleep")
    assert daemons.identity(pid)["pid"] == pid
    some.stop()
    assert daemons.identity(pid) is None
    assert some.names() == []


def test_it_outlives_who_started_it(some):
    script = (
        f"from pathlib import Path; from testbed.daemons import Daemons; Daemons(Path({str(some.directory)!r}))"
        f".start('sleep', {SLEEP!r})"
    )
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(TESTS)}, check=True)
    assert some.pid("sleep")
    assert os.getsid(some.pid("sleep")) == some.pid("sleep")  # a Ctrl-C in our terminal is none of its business


def test_another_process_with_its_number_is_left_alone(some, monkeypatch):
    some.start("sleep", SLEEP)
    pid, note = some.pid("sleep"), some.directory / "sleep.json"
    noted = json.loads(note.read_text())
    killed = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", lambda *args: killed.append(args))
        for change in ({"started": noted["started"] + 1}, {"boot": "another"}):
            note.write_text(json.dumps({**noted, **change}))
            some.stop()
    assert killed == []
    assert daemons.identity(pid)
    os.kill(pid, signal.SIGKILL)


def test_one_that_ended_by_itself_is_not_running_even_if_nobody_waited_for_it(some):
    some.start("true", [sys.executable, "-c", "print('last words')"])
    deadline = time.monotonic() + 10
    while some.pid("true") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert some.pid("true") is None
    assert some.names() == ["true"]
    assert some.last_words("true") == "last words"


def test_a_note_that_makes_no_sense_is_nobody(some):
    some.directory.mkdir()
    for text in ("", "{", "{}"):
        (some.directory / "x.json").write_text(text)
        assert some.pid("x") is None


def test_a_program_that_does_not_exist_is_told(some):
    with pytest.raises(BedError, match="nothing cannot be started"):
        some.start("nothing", ["/does/not/exist"])
    assert some.pid("nothing") is None


def test_a_name_with_brackets_does_not_confuse(tmp_path):
    (tmp_path / "7").mkdir()
    fields = " ".join(["S", *map(str, range(4, 22)), "4711", "0"])
    (tmp_path / "7/stat").write_text(f"7 (a) (b c)) {fields}\n")
    assert daemons.identity(7, tmp_path)["started"] == 4711
    (tmp_path / "7/stat").write_text(f"7 (a) Z {fields[2:]}\n")
    assert daemons.identity(7, tmp_path) is None
    assert daemons.identity(8, tmp_path) is None


def test_who_holds_the_lock_next_sees_what_a_killed_starter_started(tmp_path):
    """The daemon's process notes itself while it still holds the starter's lock."""
    directory, lock = tmp_path / "daemons", tmp_path / "lock"
    script = (
        "import os, signal, time\nfrom pathlib import Path\nfrom testbed import cache, daemons\n"
        "real = daemons.identity\n"
        "def slow(pid, *rest):\n    os.kill(os.getppid(), signal.SIGKILL); time.sleep(0.5); return real(pid, *rest)\n"
        "daemons.identity = slow\n"
        f"with cache.lock(Path({str(lock)!r})):\n"
        f"    daemons.Daemons(Path({str(directory)!r})).start('sleep', {SLEEP!r})\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(TESTS)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    with cache.lock(lock):
        found = Daemons(directory)
        assert found.pid("sleep")
        found.stop()
