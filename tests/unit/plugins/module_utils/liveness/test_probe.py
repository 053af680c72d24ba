# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway works when one endpoint answers 200 several times in a row, and a failure says what each one answered."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import Unreachable
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure.endpoints import Endpoint, Proxied
from ansible_collections.meshops.istio.plugins.module_utils.liveness import probe
from ansible_collections.meshops.istio.plugins.module_utils.liveness.probe import (
    Answer,
    Evidence,
    as_dict,
    client_certificate,
    get,
    in_a_row,
    through,
)

ONE = Endpoint("192.0.2.1", 30080)
TWO = Endpoint("192.0.2.2", 30080)
OK = Answer(200, {"server": "istio-envoy"}, "", 1.5)
BUSY = Answer(503, {"server": "istio-envoy"}, "", 9.9)
NAMELESS = Answer(404, {}, "", 9.9)


class Gateway:
    """Stands for the network: gives each endpoint's answers in turn, the last one again and again."""

    def __init__(self, **answers: list[Answer | str]) -> None:
        self.answers = answers
        self.asked: list[tuple[Endpoint, str, str | None]] = []

    def __call__(self, endpoint: Endpoint, path: str, host: str | None) -> Answer:
        """Answer; a text is the message of an OSError."""
        self.asked.append((endpoint, path, host))
        answers = self.answers["one" if endpoint == ONE else "two"]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, str):
            raise OSError(answer)
        return answer


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly a pause between two tries."""
    monkeypatch.setattr(probe, "PAUSE", 0.01)


def ask(
    gateway: Gateway, endpoints: list[Endpoint], successes: int = 3, timeout: float = 5.0
) -> tuple[Endpoint, Evidence]:
    """Ask for /healthz."""
    return in_a_row(endpoints, "/healthz", "www.example.com", successes, timeout, lambda line: None, gateway)


def failure(gateway: Gateway, endpoints: list[Endpoint], successes: int = 3) -> str:
    """The message after a deadline that passes soon."""
    with pytest.raises(JobError) as caught:
        ask(gateway, endpoints, successes, timeout=0.1)
    return str(caught.value)


def test_successes_in_a_row() -> None:
    """So many requests, no more; the evidence has them all."""
    gateway = Gateway(one=[OK])
    endpoint, evidence = ask(gateway, [ONE], successes=3)
    assert endpoint == ONE
    assert gateway.asked == [(ONE, "/healthz", "www.example.com")] * 3
    assert as_dict(evidence) == {
        "url": "http://192.0.2.1:30080/healthz",
        "status": 200,
        "server": "istio-envoy",
        "latencies_ms": [1.5, 1.5, 1.5],
        "tries": 3,
    }


@pytest.mark.parametrize("fault", [BUSY, NAMELESS, "connection refused"])
def test_failure_starts_the_row_anew(fault: Answer | str) -> None:
    """Two of three, a fault, then three: the first two do not count."""
    _endpoint, evidence = ask(Gateway(one=[OK, OK, fault, OK]), [ONE], successes=3)
    assert evidence.tries == 6
    assert len(evidence.latencies_ms) == 3
    assert evidence.status == 200


@pytest.mark.parametrize("fault", [BUSY, "no route to host"])
def test_next_endpoint_is_tried(fault: Answer | str) -> None:
    """One node port may be closed to us and another open; the one that answers is kept, with its own evidence."""
    gateway = Gateway(one=[fault], two=[OK])
    endpoint, evidence = ask(gateway, [ONE, TWO], successes=2)
    assert endpoint == TWO
    assert evidence.url == "http://192.0.2.2:30080/healthz"
    assert evidence.tries == 2
    assert [asked[0] for asked in gateway.asked] == [ONE, TWO, TWO]


def test_all_endpoints_are_tried_again() -> None:
    """Until one works."""
    endpoint, evidence = ask(Gateway(one=[BUSY, "reset", OK], two=[BUSY]), [ONE, TWO], successes=2)
    assert endpoint == ONE
    assert evidence.tries == 4


def test_deadline_lists_what_came_back_last() -> None:
    """Every endpoint, its URL, and its last answer or fault."""
    message = failure(Gateway(one=[BUSY, "connection refused"], two=["timed out", BUSY]), [ONE, TWO])
    assert message == (
        "Timed out after 0 s waiting for 3 consecutive 200 responses: "
        "http://192.0.2.1:30080/healthz: connection refused; "
        "http://192.0.2.2:30080/healthz: 503 from istio-envoy."
    )


def test_server_without_a_name() -> None:
    """Something that is not Envoy may listen there."""
    assert "404 from an unknown server" in failure(Gateway(one=[NAMELESS]), [ONE])


def test_almost_is_not_enough() -> None:
    """A gateway that fails now and then never passes."""
    gateway = Gateway(one=[OK, OK, BUSY] * 100)
    assert "503 from istio-envoy" in failure(gateway, [ONE])
    assert len(gateway.asked) > 3


def test_deadline_ends_a_row_too() -> None:
    """Success after success, but slower than the time there is."""

    def slow(endpoint: Endpoint, path: str, host: str | None) -> Answer:
        time.sleep(0.02)
        return OK

    started = time.monotonic()
    with pytest.raises(JobError):
        in_a_row([ONE], "/", None, 1000, 0.1, lambda line: None, slow)
    assert time.monotonic() - started < 1


def test_progress_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line about every 15 seconds."""
    hours = iter(range(0, 1000, 10))
    monkeypatch.setattr(probe.time, "monotonic", lambda: float(next(hours)))
    monkeypatch.setattr(probe.time, "sleep", lambda seconds: None)
    lines: list[str] = []
    with pytest.raises(JobError):
        in_a_row([ONE], "/", None, 1, 100.0, lines.append, Gateway(one=["refused"]))
    assert lines
    assert all("s: no 200 yet: http://192.0.2.1:30080/: refused" in line for line in lines)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            'x-forwarded-client-cert: By=spiffe://cluster.local/ns/web/sa/web;Hash=5f0c;Subject="";'
            "URI=spiffe://cluster.local/ns/istio-ingress/sa/gateway",
            {
                "by": "spiffe://cluster.local/ns/web/sa/web",
                "uri": "spiffe://cluster.local/ns/istio-ingress/sa/gateway",
            },
        ),
        (
            '{"headers": {"X-Forwarded-Client-Cert": ["By=spiffe://a/ns/b/sa/c;URI=spiffe://a/ns/d/sa/e"]}}',
            {"by": "spiffe://a/ns/b/sa/c", "uri": "spiffe://a/ns/d/sa/e"},
        ),
        ("URI=spiffe://a/ns/d/sa/e,By=spiffe://x", {"uri": "spiffe://a/ns/d/sa/e", "by": "spiffe://x"}),
        ("By=http://example.com;URI=", {}),
        ("NearBy=spiffe://a/b", {}),
        ("ok", {}),
    ],
    ids=["header", "JSON", "several", "no identity", "other key", "none"],
)
def test_client_certificate(body: str, expected: dict[str, str]) -> None:
    """Both ends of a mutual TLS connection, wherever the app echoes its headers."""
    assert client_certificate(body) == expected


class Handler(http.server.BaseHTTPRequestHandler):
    """Redirects, and tells which host was asked for."""

    def do_GET(self) -> None:
        """Answer a GET."""
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write("{} {}\xff".format(self.headers["Host"], self.headers["User-Agent"]).encode("latin-1"))

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def here() -> Iterator[Endpoint]:
    """A server on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Endpoint("127.0.0.1", server.server_port)
        server.shutdown()


def test_get(here: Endpoint) -> None:
    """Past proxies, for a host of our choice; the names of headers in lower case; text that is none does no harm."""
    answer = get(here, "/x", "www.example.com")
    assert (answer.status, answer.body) == (200, "www.example.com meshops.istio\ufffd")
    assert answer.headers["server"].startswith("BaseHTTP")
    assert 0 < answer.milliseconds < 5000
    assert get(here, "/x").body.startswith(f"{here.authority} ")


def test_get_follows_no_redirect(here: Endpoint) -> None:
    """What the gateway itself answers is what counts."""
    assert get(here, "/moved").status == 302


def test_get_past_a_proxy(here: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of the environment is for the internet."""
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:1")
    assert get(here, "/x").status == 200


class Endless(Handler):
    """An answer that does not end: a byte now and then, or as much as the connection takes."""

    def do_GET(self) -> None:
        """Begin to answer."""
        if self.path == "/headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        else:
            self.send_response(200)
            self.end_headers()
        with contextlib.suppress(OSError):
            for _time in range(10_000):
                self.wfile.write(b"x" * 65536 if self.path == "/fast" else b"x")
                time.sleep(0 if self.path == "/fast" else 0.05)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """Such a server, and less patience."""
    monkeypatch.setattr(probe, "REQUEST_TIMEOUT", 0.5)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Endpoint("127.0.0.1", server.server_port)
        server.shutdown()


@pytest.mark.parametrize("path", ["/slow", "/headers"])
def test_answer_without_end(path: str, endless: Endpoint) -> None:
    """Each byte comes in time, and all of them never."""
    started = time.monotonic()
    with pytest.raises(OSError, match="no complete response within"):
        get(endless, path)
    assert time.monotonic() - started < 5


def test_answer_that_is_too_long(endless: Endpoint) -> None:
    """Its beginning is enough."""
    assert len(get(endless, "/fast").body) == 1 << 20


def test_many_addresses_that_drop_packets(here: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty ExternalIPs take the time of one, so that InternalIPs have their turn."""
    monkeypatch.setattr(probe, "REQUEST_TIMEOUT", 0.5)
    dropping = [Endpoint(f"127.0.1.{n}", here.port) for n in range(60)]
    connected = probe._connected

    def connect(endpoint: Endpoint) -> Any:
        if endpoint in dropping:
            time.sleep(0.5)
            raise TimeoutError("timed out")
        return connected(endpoint)

    monkeypatch.setattr(probe, "_connected", connect)
    place, evidence = in_a_row([*dropping, here], "/", None, 3, 5.0, lambda line: None, get)
    assert (place, evidence.tries) == (here, 3)
    with pytest.raises(JobError) as caught:
        in_a_row(dropping[:2], "/", None, 3, 1.0, lambda line: None, get)
    assert str(caught.value).count("timed out") == 2


def test_name_of_which_no_query_can_be_made() -> None:
    """It is told as what it is; no traceback of the codec."""
    with pytest.raises(OSError, match="is not a DNS name"):
        get(Endpoint(f"{'a' * 64}.example", 80), "/")


def test_no_answer_is_an_os_error() -> None:
    """A port where nothing listens."""
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        port = server.server_port
    with pytest.raises(OSError, match="refused"):
        get(Endpoint("127.0.0.1", port), "/")


# -- through the API server --------------------------------------------------------------------------------------------

PLACE = Proxied("https://192.0.2.9:6443", "istio-system", "in", "http2")


class FakeCluster(Cluster):
    """An API server that passes requests on, or has an answer of its own."""

    def __init__(self, status: int = 200, body: bytes = b"ok", fault: Exception | None = None) -> None:
        self.answer = (status, {"server": "istio-envoy"}, body)
        self.fault = fault
        self.asked: list[tuple[str, dict[str, str]]] = []

    def fetch(self, path: str, headers: dict[str, str], timeout: float) -> tuple[int, dict[str, str], bytes]:
        """One answer."""
        assert timeout == probe.REQUEST_TIMEOUT
        self.asked.append((path, headers))
        if self.fault:
            raise self.fault
        return self.answer


def status_object(code: int, message: str) -> bytes:
    """What an API server itself says."""
    return json.dumps({"kind": "Status", "code": code, "reason": "x", "message": message}).encode()


@pytest.mark.parametrize("host", [None, "www.example.com"])
def test_request_through_the_api_server(host: str | None) -> None:
    """The gateway's answer is handed on as it is; the API server passes the Host header on."""
    cluster = FakeCluster(404, b"nothing\xff")
    answer = through(cluster)(PLACE, "/healthz?a=b", host)
    assert (answer.status, answer.body, answer.headers["server"]) == (404, "nothing\ufffd", "istio-envoy")
    ((path, headers),) = cluster.asked
    assert path == "/api/v1/namespaces/istio-system/services/http:in:http2/proxy/healthz?a=b"
    assert headers.get("Host") == host


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        (FakeCluster(503, status_object(503, "no endpoints available")), "the API server returned 503: no endpoints"),
        (FakeCluster(fault=Unreachable("cannot be reached")), "cannot be reached"),
    ],
)
def test_api_server_that_cannot_pass_it_on(cluster: FakeCluster, words: str) -> None:
    """It may soon: the next try is another."""
    with pytest.raises(OSError, match=words):
        through(cluster)(PLACE, "/healthz", None)
    with pytest.raises(
        JobError,
        match=f"^Timed out after 0 s waiting for 3 consecutive 200 responses: {PLACE.url('/healthz')}: .*{words}",
    ):
        in_a_row([PLACE], "/healthz", None, 3, 0.1, lambda line: None, through(cluster))


def test_api_server_that_does_not_want_to() -> None:
    """A right that is missing does not come by waiting: the message names the file that has it."""
    cluster = FakeCluster(403, status_object(403, 'cannot get resource "services/proxy"'))
    with pytest.raises(JobError, match=r'services/proxy"\. Bind the role in docs/rbac-proxy\.yml'):
        in_a_row([PLACE], "/healthz", None, 3, 5.0, lambda line: None, through(cluster))
    assert len(cluster.asked) == 1


@pytest.mark.parametrize("body", [b"RBAC: access denied", b"[]", b'{"kind": "Other"}'])
def test_refusal_of_the_mesh_is_no_refusal_of_the_api_server(body: bytes) -> None:
    """An AuthorizationPolicy answers 403 too."""
    assert through(FakeCluster(403, body))(PLACE, "/healthz", None).status == 403


def test_evidence_of_a_request_through_the_api_server() -> None:
    """Its URL is what can be typed again, with kubectl get --raw."""
    found: Any
    found, evidence = in_a_row([PLACE], "/healthz", None, 2, 5.0, lambda line: None, through(FakeCluster()))
    assert (found, evidence.url) == (PLACE, PLACE.url("/healthz"))
