# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make upstream`, on servers of this machine in place of the internet: what it asks for, and how it ends."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import upstream
from upstream import Answer, Place

from ansible_collections.meshops.istio.plugins.module_utils.upstream import DECEMBER_2026

CHARTS = Place("charts.test/istio", "charts", "base-{istio}.tgz")
IMAGE = Place("registry.test/istio", "images", "pilot:{istio}")
OLD = Place("old.test/istio", "charts", "base-1.30.4.tgz", "1.30", "", DECEMBER_2026, "https://charts.test/istio")


@dataclass
class Internet:
    """A server that stands for all hosts.

    :ivar dict answers: host and path -> status; 404 for others, and for a status of 0 nobody answers
    :ivar list asked: method, host and path of each request
    """

    port: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    def opener(self, request: urllib.request.Request, timeout: float) -> Any:
        """As urlopen, with this server in place of each host: no name is looked up, and no other host is called."""
        assert timeout == upstream.TIMEOUT
        host = request.host
        if self.answers.get(host) == 0:
            raise urllib.error.URLError(OSError(f"{host}: Name or service not known"))
        local = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{request.selector}",
            headers={**dict(request.header_items()), "Host": host},
            method=request.get_method(),
        )
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(local, timeout=5)


@pytest.fixture
def internet() -> Iterator[Internet]:
    """Yield a server on an ephemeral port of 127.0.0.1."""
    world = Internet()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            where = f"{self.headers['Host']}{self.path}"
            world.asked.append((self.command, where))
            world.accepted.append(self.headers.get("Accept", ""))
            status = world.answers.get(where, 404)
            if self.path.startswith("/v2/") and self.headers.get("Authorization") != "Bearer secret-of-nobody":
                self.send_response(401)
                scope = f'realm="https://auth.test/token",service="registry.test",scope="{self.path}"'
                self.send_header("WWW-Authenticate", f"Bearer {scope}")
            else:
                self.send_response(status)
            self.end_headers()

        def do_GET(self) -> None:
            world.asked.append((self.command, f"{self.headers['Host']}{self.path.partition('?')[0]}"))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"token": "secret-of-nobody"}).encode())

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    world.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


BASE, PILOT = "charts.test/istio/base-1.31.1.tgz", "registry.test/v2/istio/pilot/manifests/1.31.1"


def ended(internet: Internet, *places: Place) -> int:
    """How a run over some places ends."""
    return upstream.main(internet.opener, places or (CHARTS, IMAGE, OLD), "1.31.1")


def test_all_is_well(internet: Internet, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is asked for one thing, by its head alone; a registry with a token for anybody, which is not printed."""
    internet.answers = {BASE: 200, PILOT: 200}
    assert ended(internet) == upstream.FINE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "ok", "ended"]
    assert lines[1].endswith(f"https://{PILOT}  200")
    assert "secret" not in " ".join(lines)
    assert sorted(internet.asked) == sorted(
        [
            ("HEAD", BASE),
            ("HEAD", PILOT),
            ("GET", "auth.test/token"),
            ("HEAD", PILOT),
            ("HEAD", "old.test/istio/base-1.30.4.tgz"),
        ]
    )
    assert sum("application/vnd.oci.image.index.v1+json" in accept for accept in internet.accepted) == 2


@pytest.mark.parametrize("status", [404, 410, 403, 500])
@pytest.mark.parametrize("which", [BASE, PILOT])
def test_something_is_gone(internet: Internet, which: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Answered, and without the thing."""
    internet.answers = {BASE: 200, PILOT: 200, which: status}
    assert ended(internet) == upstream.GONE
    assert f"https://{which}  {status}" in capsys.readouterr().out


def test_a_host_that_is_silent_while_others_answer(internet: Internet, capsys: pytest.CaptureFixture[str]) -> None:
    """That is how a place is switched off; this machine has a way to the internet, as the other shows."""
    internet.answers = {BASE: 200, "registry.test": 0}
    assert ended(internet) == upstream.GONE
    assert "SILENT" in capsys.readouterr().out


def test_nobody_answers(internet: Internet, capsys: pytest.CaptureFixture[str]) -> None:
    """A code of its own: it says nothing about any place."""
    internet.answers = dict.fromkeys(("charts.test", "registry.test", "old.test"), 0)
    assert ended(internet) == upstream.UNREACHABLE
    out = capsys.readouterr().out
    assert out.splitlines()[-1].startswith("not reachable: ")
    assert out.count("Name or service not known") == 3
    assert internet.asked == []


@pytest.mark.parametrize(("status", "state"), [(200, "still there"), (404, "ended"), (0, "silent")])
def test_a_place_whose_end_is_announced_fails_nothing(
    internet: Internet, status: int, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it answers."""
    internet.answers = {BASE: 200, "old.test/istio/base-1.30.4.tgz": status}
    if status == 0:
        internet.answers["old.test"] = 0
    assert ended(internet, CHARTS, OLD) == upstream.FINE
    assert capsys.readouterr().out.splitlines()[1].startswith(state)


def test_limited_is_alive(internet: Internet) -> None:
    """Docker Hub counts requests by address, and runners share theirs."""
    internet.answers = {BASE: 429}
    assert ended(internet, CHARTS) == upstream.FINE


def test_not_trusted_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands between us and the place is told by name."""

    def untrusted(*_arguments: Any, **_more: Any) -> None:
        raise urllib.error.URLError(upstream.ssl.SSLCertVerificationError(1, "self-signed certificate"))

    answer = upstream.Asker(untrusted).ask("https://charts.test/x")
    assert answer.status == 0
    assert str(answer).startswith("not trusted: ")


def test_a_challenge_without_a_realm(internet: Internet) -> None:
    """It ends in words, not in a traceback."""
    with pytest.raises(OSError, match="no realm"):
        upstream.Asker(internet.opener)._token('Bearer service="x"')
    assert not Answer(0, "no answer").there


@pytest.mark.parametrize("place", upstream.PLACES, ids=lambda place: f"{place.serves} {place.address}")
def test_every_place_has_something_to_ask_for(place: Place) -> None:
    """By HTTPS, and with the version that is installed by default."""
    where = upstream.url(place, upstream.version())
    assert where.startswith("https://")
    assert "{" not in where
    assert not where.startswith("https://docker.io")
    if "{istio}" in place.sample:
        assert upstream.version() in where
