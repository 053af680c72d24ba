# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps tests on this machine: what it lets through, what it stops, what it notes, and who inherits it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from harness.guard import sitecustomize as guard
from harness.playbooks import environment
from testbed import process

#: An address that documentation may name and that nobody here listens on; some networks really have it.
ELSEWHERE = "192.0.2.1"


#: Runs pieces of code one after another, and prints how each ended and what was noted meanwhile.
RUNNER = """
import contextlib, io, json, os, socket, sys
ended = []
for code in json.load(sys.stdin):
    notes, out = os.environ["MESHOPS_GUARD_NOTES"], io.StringIO()
    open(notes, "w").close()
    with contextlib.redirect_stdout(out):
        try:
            exec(code)
        except Exception as error:
            print(type(error).__name__, error)
    ended.append([out.getvalue(), open(notes).read()])
print(json.dumps(ended))
"""
TCP = "socket.socket().connect(({!r}, 9))"
UDP = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ({!r}, 9))"
#: What would leave -> how it fails, and what is noted.
LEAVES: dict[str, tuple[str, str]] = {
    TCP.format(ELSEWHERE): ("OSError [Errno 101] Network is unreachable", f"call to {ELSEWHERE} port 9"),
    TCP.format("198.18.0.1"): ("Network is unreachable", "call to 198.18.0.1 port 9"),
    UDP.format(ELSEWHERE): ("Network is unreachable", f"call to {ELSEWHERE} port 9"),
    "socket.socket(socket.AF_INET6).connect(('2001:db8::1', 9))": ("unreachable", "call to 2001:db8::1 port 9"),
    "socket.getaddrinfo('istio.io', 443)": ("gaierror [Errno -2]", "look-up of istio.io"),
    "socket.gethostbyname('istio.io')": ("gaierror [Errno -2]", "look-up of istio.io"),
    TCP.format("istio.io"): ("gaierror [Errno -2]", "look-up of istio.io"),
    UDP.format("istio.io"): ("gaierror [Errno -2]", "look-up of istio.io"),
    "import urllib.request; urllib.request.urlopen('https://blob.istio.io/')": (
        "Name or service not known",
        "look-up of blob.istio.io",
    ),
}
#: What stays -> how it ends.
STAYS: dict[str, str] = {
    TCP.format("127.0.0.1"): "ConnectionRefusedError",
    TCP.format("127.18.0.1"): "ConnectionRefusedError",
    TCP.format("localhost"): "ConnectionRefusedError",
    "print(socket.getaddrinfo('localhost', 80)[0][4][1])": "80",
    "print(socket.getaddrinfo('192.0.2.1', 80)[0][4])": "('192.0.2.1', 80)",  # written out, it asks nobody
    "print(socket.getaddrinfo(None, 80)[0][4][1])": "80",
    "print(socket.getfqdn('192.0.2.1'))": "192.0.2.1",
    "socket.getaddrinfo('r.example.com', 443)": "gaierror [Errno -2]",
    "socket.getaddrinfo('a.elb.invalid', 443)": "gaierror [Errno -2]",
    "socket.getaddrinfo('a1.elb.eu-central-1.amazonaws.example', 80)": "gaierror [Errno -2]",
    "a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))": "b'x'",
    "socket.socket(socket.AF_UNIX).connect('/nowhere')": "FileNotFoundError",
}


def ended(codes: Iterable[str], notes: Path) -> list[tuple[str, str]]:
    """Run pieces of code in a process that inherits the guard. :returns: what each printed, and what was noted"""
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(list(codes)),
        env={**os.environ, guard.NOTES: str(notes)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [(printed, noted) for printed, noted in json.loads(done.stdout)]


def test_what_would_leave_is_stopped_and_noted(tmp_path: Path) -> None:
    """At once, with the error of a machine without a network."""
    for (code, (says, noted)), found in zip(LEAVES.items(), ended(LEAVES, tmp_path / "notes"), strict=True):
        assert says in found[0], code
        assert found[1].startswith(noted), code
        assert found[1].count("\n") == 1, code


def test_what_stays_is_let_through_and_not_noted(tmp_path: Path) -> None:
    """Names that nobody has are looked up nowhere: they are not to be found, as ever."""
    for (code, says), found in zip(STAYS.items(), ended(STAYS, tmp_path / "notes"), strict=True):
        assert says in found[0], code
        assert found[1] == "", code


def test_runs_and_children_of_children_inherit_it(tmp_path: Path) -> None:
    """Ansible's modules are processes of their own, and a test's environment for runs is made anew."""
    inner = f"import socket; {TCP.format(ELSEWHERE)}"
    code = f"import subprocess; subprocess.run([sys.executable, '-c', {inner!r}], stderr=subprocess.DEVNULL)"
    ((_printed, noted),) = ended([code], tmp_path / "notes")
    assert noted.startswith(f"call to {ELSEWHERE}")
    given = environment(tmp_path, {})
    assert str(process.GUARD) in given["PYTHONPATH"].split(os.pathsep)
    assert given[guard.NOTES] == os.environ[guard.NOTES]


def test_what_builds_beds_does_not_inherit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sources come from package indexes, by their own clients."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(process.GUARD), "/elsewhere"]))
    assert Path(guard.__file__).parent == process.GUARD
    assert process.environment()["PYTHONPATH"] == "/elsewhere"


def test_dockers_networks_and_own_addresses_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the kernel's tables; a gateway's network is another machine's."""
    routes = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n"
        "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
        "br-1f2e\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n"
    )
    trie = "        |-- 192.0.2.9\n           /32 host LOCAL\n        |-- 127.0.0.1\n           /32 host LOCAL\n"
    tables = {"/proc/net/route": routes, "/proc/net/fib_trie": trie}
    monkeypatch.setattr(guard.Path, "read_text", lambda self, **_more: tables[str(self)])
    assert [str(network) for network in guard.docker_networks()] == ["172.18.0.0/16"]
    assert guard.own_addresses() == {"192.0.2.9"}
    here = ["172.18.0.2", "192.0.2.9", "127.1.2.3", "::1", "::ffff:127.0.0.1"]
    assert [address for address in here if not guard.is_here(address)] == []
    assert [
        address for address in ("192.0.2.1", "10.0.0.1", "239.244.0.1", "fe80::1%eth0") if guard.is_here(address)
    ] == []


def test_a_test_that_would_leave_fails(tmp_path: Path) -> None:
    """Even one that hides the error, and one whose child did it."""
    (tmp_path / "test_inner.py").write_text(
        "import contextlib, socket\n"
        "def test_leaves():\n"
        "    with contextlib.suppress(OSError):\n"
        f"        socket.create_connection(({ELSEWHERE!r}, 9), timeout=1)\n"
        "def test_stays():\n"
        "    assert socket.gethostname()\n"
    )
    conftest = Path(guard.__file__).parents[2] / "conftest.py"
    (tmp_path / "conftest.py").write_text(conftest.read_text())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
            "PYTHONPATH": os.pathsep.join(map(str, (process.GUARD, process.GUARD.parents[1]))),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "This test would have left the machine:" in done.stdout
    assert f"call to {ELSEWHERE} port 9" in done.stdout
    assert "2 passed, 1 error" in done.stdout


def test_this_process_is_guarded() -> None:
    """The tests themselves."""
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("nobody.example.com", 80)
