# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to the gateway, from outside or through the API server: several successes in a row, and what they prove."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure.endpoints import Endpoint, Place, Proxied

PAUSE = 0.2  # seconds between two tries
REQUEST_TIMEOUT = 5.0  # seconds
#: Of an answer's body; the app's takes a few hundred bytes.
_MOST_READ = 1 << 20
#: Addresses that are dialled at once.
_DIALLED = 64
SPIFFE = re.compile(r"\b(By|URI)=(spiffe://[^;,\s\"]+)")


@dataclass
class Evidence:
    """What came back.

    :ivar list latencies_ms: of each success in the row, in milliseconds
    :ivar int tries: requests sent until the row was complete
    :ivar dict tls: of the last answer, where it came over TLS
    """

    url: str
    status: int = 0
    server: str = ""
    latencies_ms: list[float] = field(default_factory=list)
    tries: int = 0
    tls: dict[str, str] = field(default_factory=dict)

    def take(self, answer: Answer) -> str:
        """Note an answer. :returns: what is wrong with it, empty if nothing is"""
        self.status, self.server, self.tls = answer.status, answer.headers.get("server", ""), answer.tls
        if answer.status != 200:
            return f"{answer.status} from {self.server or 'an unknown server'}"
        self.latencies_ms.append(answer.milliseconds)
        return ""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer.

    :ivar dict tls: what the server has shown, where it was asked over TLS
    """

    status: int
    headers: dict[str, str]
    body: str
    milliseconds: float
    tls: dict[str, str] = field(default_factory=dict)


def get(endpoint: Endpoint, path: str, host: str | None = None) -> Answer:
    """One GET over plain HTTP, on a connection of its own, past proxies and redirects.

    :raises OSError: no answer
    """
    started = time.monotonic()
    with _connected(endpoint) as plain:
        return _answer(plain, endpoint.authority, path, host, started, {})


def over_tls(server_name: str, ca_file: str | None = None) -> Callable[[Endpoint, str, str | None], Answer]:
    """As ``get``, over TLS: the certificate must be for a name and of an authority that is trusted.

    :arg server_name: sent as SNI, for the gateway to choose a certificate by
    :arg ca_file: PEM certificates of the authorities to trust; the system's if not given
    :raises JobError: that file cannot be read
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise JobError(
            f"contains no usable CA certificates: {error}.",
            object=str(ca_file),
            fix="Set liveness_verify_ca_file to a PEM file with CA certificates.",
        ) from error

    def send(endpoint: Endpoint, path: str, host: str | None = None) -> Answer:
        started = time.monotonic()
        with _connected(endpoint) as plain, context.wrap_socket(plain, server_hostname=server_name) as secured:
            return _answer(secured, server_name, path, host, started, _shown(secured, server_name))

    send.dials = True  # type: ignore[attr-defined]
    return send


#: Senders that open a connection to an endpoint's own address say so.
get.dials = True  # type: ignore[attr-defined]


def _connected(endpoint: Endpoint) -> socket.socket:
    try:
        return socket.create_connection((endpoint.host, endpoint.port), REQUEST_TIMEOUT)
    except UnicodeError as error:  # a name of which no DNS query can be made
        raise OSError(f"{endpoint.host} is not a DNS name: {error}") from error


def _answer(
    connected: socket.socket, name: str, path: str, host: str | None, started: float, shown: dict[str, str]
) -> Answer:
    """Send a GET and read its answer: at most ``_MOST_READ`` bytes, and for at most ``REQUEST_TIMEOUT`` seconds."""
    connection = http.client.HTTPConnection(name, timeout=REQUEST_TIMEOUT)
    connection.sock = connected
    headers = {"Host": host or name, "User-Agent": "meshops.istio", "Connection": "close"}
    with _ended(connected) as too_late:
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read(_MOST_READ).decode("utf-8", "replace")
        except http.client.HTTPException as error:
            raise OSError(too_late() or f"no HTTP response: {error!r}") from error
        except OSError as error:
            raise OSError(too_late() or error.strerror or str(error)) from error
        if too_late():
            raise OSError(too_late())
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, body, round((time.monotonic() - started) * 1000, 1), shown)


@contextlib.contextmanager
def _ended(connected: socket.socket) -> Iterator[Callable[[], str]]:
    """End a connection after ``REQUEST_TIMEOUT`` seconds: a server that sends a byte now and then meets no other limit.

    Yields what says that it has been ended, and nothing as long as it has not.
    """
    ended = threading.Event()

    def end() -> None:
        ended.set()
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(REQUEST_TIMEOUT, end)
    timer.daemon = True
    timer.start()
    try:
        yield lambda: f"no complete response within {REQUEST_TIMEOUT:.0f} s" if ended.is_set() else ""
    finally:
        timer.cancel()


def _shown(secured: ssl.SSLSocket, server_name: str) -> dict[str, str]:
    """What a server has shown of itself."""
    certificate = secured.getpeercert() or {}

    def common_name(whose: str) -> str:
        found = dict(pair for pairs in certificate.get(whose, ()) for pair in pairs)
        return found.get("commonName") or found.get("organizationName", "")

    return {
        "server_name": server_name,
        "version": secured.version() or "",
        "subject": common_name("subject"),
        "issuer": common_name("issuer"),
        "not_after": str(certificate.get("notAfter", "")),
    }


def through(cluster: Cluster) -> Callable[[Proxied, str, str | None], Answer]:
    """As ``get``, for a Service behind the API server's proxy.

    The API server strips its own credentials, and passes the Host header on as it came.

    :raises JobError: when called: the account may not use the proxy
    """

    def send(place: Proxied, path: str, host: str | None = None) -> Answer:
        started = time.monotonic()
        headers = {"Accept": "*/*", **({"Host": host} if host else {})}
        try:
            status, answered, body = cluster.fetch(place.path(path), headers, REQUEST_TIMEOUT)
        except JobError as error:
            raise OSError(str(error)) from error
        refusal = _refusal(status, body)
        if refusal and refusal.status == 403:
            raise JobError(
                f"does not proxy requests to Service {place.namespace}/{place.service}: {refusal.message}.",
                object="The API server",
                fix="Bind the role in docs/rbac-proxy.yml to this user, or request the gateway from outside the "
                "cluster: liveness_verify_from: controller",
                code="right-missing",
                quotes=[refusal.message],
            )
        if refusal:
            raise OSError(f"the API server returned {status}: {refusal.message}")
        milliseconds = (time.monotonic() - started) * 1000
        return Answer(status, answered, body.decode("utf-8", "replace"), round(milliseconds, 1))

    return send


def _refusal(status: int, body: bytes) -> ApiError | None:
    """What the API server itself says: it has no pod to pass a request to, cannot reach it, or does not want to."""
    try:
        own = status >= 400 and json.loads(body).get("kind") == "Status"
    except (ValueError, AttributeError):
        return None
    return ApiError.from_body(status, body) if own else None


def in_a_row(
    endpoints: list[Place],
    path: str,
    host: str | None,
    successes: int,
    timeout: float,
    say: Callable[[str], None],
    send: Callable[..., Answer] = get,
) -> tuple[Place, Evidence]:
    """Ask until one of the endpoints has answered 200 a number of times in a row.

    :arg list endpoints: tried in turn; the first that answers is kept
    :arg float timeout: seconds for all of it
    :returns: the endpoint that answers, and the evidence
    :raises JobError: the deadline has passed; says what came back last from each
    """
    started = told = time.monotonic()
    evidence = {endpoint: Evidence(endpoint.url(path)) for endpoint in endpoints}
    wrong: dict[Place, str] = {}

    def is_over() -> bool:
        return time.monotonic() - started >= timeout

    while not is_over():
        for endpoint in _accepting(list(evidence), wrong) if _dials(send, evidence) else evidence:
            found = evidence[endpoint]
            broken = _row(found, lambda endpoint=endpoint: send(endpoint, path, host), successes, is_over)
            if len(found.latencies_ms) >= successes:
                return endpoint, found
            wrong[endpoint] = broken or wrong.get(endpoint, "")
        if time.monotonic() - told > 15:
            told = time.monotonic()
            say(f"{told - started:.0f} s: no 200 yet: {_answers(evidence, wrong)}")
        time.sleep(PAUSE)
    awaited = f"{successes} consecutive 200 responses" if successes > 1 else "a 200 response"
    waited = f"Timed out after {timeout:.0f} s waiting for {awaited}"
    raise JobError(f"{waited}: {_answers(evidence, wrong)}.")


def _dials(send: Callable[..., Answer], endpoints: Sized) -> bool:
    """Whether it is worth while to see first which of several addresses are there at all."""
    return getattr(send, "dials", False) and len(endpoints) > 1


def _accepting(endpoints: list[Endpoint], wrong: dict[Place, str]) -> list[Endpoint]:
    """Those that accept a connection, dialled all at once: sixty that drop packets take five seconds, not five minutes.

    :arg wrong: takes what stands in the way of the others
    """

    def dial(endpoint: Endpoint) -> str:
        try:
            _connected(endpoint).close()
        except OSError as error:
            return error.strerror or str(error)
        return ""

    with ThreadPoolExecutor(max_workers=min(_DIALLED, len(endpoints))) as pool:
        faults = dict(zip(endpoints, pool.map(dial, endpoints), strict=True))
    wrong.update((endpoint, fault) for endpoint, fault in faults.items() if fault)
    return [endpoint for endpoint, fault in faults.items() if not fault]


def _row(found: Evidence, ask: Callable[[], Answer], successes: int, is_over: Callable[[], bool]) -> str:
    """Ask one endpoint until its row of successes is complete. :returns: what has broken it, empty if nothing has"""
    while len(found.latencies_ms) < successes and not is_over():
        found.tries += 1
        try:
            broken = found.take(ask())
        except OSError as error:
            broken = str(error)
        if broken:
            found.latencies_ms.clear()
            return broken
    return ""


def _answers(evidence: dict[Place, Evidence], wrong: dict[Place, str]) -> str:
    return "; ".join(f"{found.url}: {wrong.get(endpoint) or 'not tried'}" for endpoint, found in evidence.items())


def client_certificate(body: str) -> dict[str, str]:
    """The identities in an echoed X-Forwarded-Client-Cert header: ``by`` (the app's) and ``uri`` (the caller's)."""
    return {key.lower(): value for key, value in SPIFFE.findall(body)}


def as_dict(evidence: Evidence) -> dict[str, Any]:
    """For a task's result."""
    return {
        "url": evidence.url,
        "status": evidence.status,
        "server": evidence.server,
        "latencies_ms": evidence.latencies_ms,
        "tries": evidence.tries,
        **({"tls": evidence.tls} if evidence.tls else {}),
    }
