# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a Python process on this machine: nothing else is called, and no name server is asked.

Python imports this file by itself where its directory is on PYTHONPATH, so that the children of a test have it too, and
theirs. What is stopped fails as it would without a network. It is also noted, in the file that MESHOPS_GUARD_NOTES
names, and ``tests/conftest.py`` then fails the test. Programs that are not Python's are held by the addresses that beds
give away: ``tests/apiserver/test_bed.py`` looks at those.
"""

from __future__ import annotations

import errno
import ipaddress
import itertools
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

NOTES = "MESHOPS_GUARD_NOTES"
_HERE = Path(__file__).resolve().parent
#: Names that nobody has (RFC 2606, RFC 6761), and that of a kind node, which only docker knows and which is the last of
#: the addresses of a gateway: looked up nowhere, and not to be found.
_NOBODYS = re.compile(
    r"(?:^|\.)(?:example|invalid|test|example\.(?:com|net|org))\.?$|^[^.]+-control-plane$", re.IGNORECASE
)
_OWN_NAMES = ("localhost", "ip6-localhost", "localhost.localdomain")
_WILDCARDS = ("", "0.0.0.0", "::", "<broadcast>")  # noqa: S104 - what a socket is bound to, and never calls
#: Interfaces of docker's networks, which are on this machine.
_DOCKERS = ("docker", "br-")


def note(what: str) -> None:
    """Write down what was stopped."""
    path = os.environ.get(NOTES)
    if path:
        with open(path, "a", encoding="utf-8") as stream:  # noqa: PTH123 - one write, whole lines of several processes
            stream.write(f"{what} (process {os.getpid()}: {' '.join(sys.argv[:1])})\n")


def docker_networks() -> list[ipaddress.IPv4Network]:
    """Networks of docker's bridges, from the kernel's table of routes."""
    try:
        rows = [line.split() for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]]
    except OSError:
        return []
    found = []
    for row in rows:
        if row[0].startswith(_DOCKERS):
            address, mask = (int.from_bytes(bytes.fromhex(row[at]), "little") for at in (1, 7))
            found.append(ipaddress.ip_network((address, mask.bit_count())))
    return found


def own_addresses() -> set[str]:
    """This machine's own IPv4 addresses, loopback apart, from the kernel's table of local ones."""
    try:
        lines = Path("/proc/net/fib_trie").read_text(encoding="ascii").splitlines()
    except OSError:
        return set()
    local = {before.split()[-1] for before, line in itertools.pairwise(lines) if "/32 host LOCAL" in line}
    return {address for address in local if not address.startswith("127.")}


def is_here(host: str) -> bool:
    """Whether an address is this machine's or one of docker's networks here."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback or str(address) in own_addresses():
        return True
    return isinstance(address, ipaddress.IPv4Address) and any(address in network for network in docker_networks())


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _text(host: Any) -> str:
    return host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else str(host or "")


def _lookup(host: Any) -> None:
    """Let a name be looked up that this machine knows by itself."""
    name = _text(host)
    if name in _WILDCARDS or _is_address(name) or name.lower() in (*_OWN_NAMES, socket.gethostname().lower()):
        return
    if not _NOBODYS.search(name):
        note(f"look-up of {name}")
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _reverse(host: Any) -> None:
    """Let only the names of localhost be looked up: those of other addresses a name server would be asked for."""
    if _text(host) not in (*_OWN_NAMES, "127.0.0.1", "::1", *_WILDCARDS):
        raise socket.herror(1, "Unknown host")


def _call(_socket: Any, address: Any = None, *_more: Any) -> None:
    """Let a socket call what is here; an address of another family than the internet's is."""
    if not isinstance(address, tuple) or len(address) < 2 or not isinstance(address[0], (str, bytes)):
        return
    host = _text(address[0])
    if host in _WILDCARDS:
        return
    if not _is_address(host):
        _lookup(host)
    elif not is_here(host):
        note(f"call to {host} port {address[1]}")
        raise OSError(errno.ENETUNREACH, "Network is unreachable: tests do not leave this machine")


_EVENTS = {
    "socket.connect": _call,
    "socket.sendto": _call,
    "socket.sendmsg": _call,
    "socket.getaddrinfo": lambda host, *_more: _lookup(host),
    "socket.gethostbyname": _lookup,
    "socket.gethostbyaddr": _reverse,
}


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    rule = _EVENTS.get(event)
    if rule is not None:
        rule(*arguments)


def _named(name: str) -> None:
    """Have a method of sockets look at its address: a name in it is looked up before the event is raised."""
    original = getattr(socket.socket, name)

    def guarded(self: socket.socket, *arguments: Any) -> Any:
        _call(self, arguments[-1] if arguments else None)
        return original(self, *arguments)

    setattr(socket.socket, name, guarded)


def install() -> None:
    """Guard this process, once, and the Python processes that it starts."""
    if getattr(sys, "_meshops_guard", False):
        return
    sys._meshops_guard = True  # type: ignore[attr-defined]
    sys.addaudithook(_hook)
    for name in ("connect", "connect_ex", "sendto"):
        _named(name)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if str(_HERE) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(_HERE), *paths])


install()
