# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API servers and proxies on 127.0.0.1 that note who asks them: what a way to give credentials really leads to."""

from __future__ import annotations

import base64
import contextlib
import http.server
import ipaddress
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM and as files."""

    certificate: Path
    key: Path

    @property
    def data(self) -> tuple[str, str]:
        """Both in base64, as kubeconfigs have them."""
        return base64_of(self.certificate), base64_of(self.key)


def base64_of(path: Path) -> str:
    """A file's content in base64."""
    return base64.b64encode(path.read_bytes()).decode()


class Authority:
    """A CA that issues certificates of servers and of users."""

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        own = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), True)
        self._certificate = own.add_extension(usage, True).sign(self._key, hashes.SHA256())
        self.path = folder / "ca.crt"
        self.path.write_bytes(self._certificate.public_bytes(PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False)
        )

    def issue(self, name: str) -> Pair:
        """A certificate for 127.0.0.1 and localhost, or for the user of that name."""
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost"), x509.DNSName(name)]
        certificate = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
            .add_extension(x509.SubjectAlternativeName(addresses), False)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False
            )
            .sign(self._key, hashes.SHA256())
        )
        pair = Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(PEM))
        pair.key.write_bytes(
            key.private_bytes(PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        )
        return pair


@dataclass(frozen=True)
class Seen:
    """One request.

    :ivar str user: the Authorization header, or the name in the client's certificate
    :ivar tuple acts_as: the user and groups that it impersonates
    :ivar str proxy: name of the proxy that it came through
    """

    server: str
    user: str
    acts_as: tuple[str, ...]
    proxy: str
    path: str = field(compare=False)
    agent: str = field(compare=False)


class Recorder:
    """What several servers and proxies have seen."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        #: name of a proxy by the port from which it asks on
        self.proxied: dict[int, str] = {}
        #: what proxies were told: their own name, and the value of Proxy-Authorization
        self.logins: list[tuple[str, str]] = []

    def taken(self) -> list[Seen]:
        """What was seen since the last call."""
        found, self.seen = self.seen, []
        return found


class _Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    owner: RecordingServer

    def answer(self) -> None:
        """Note the request; all lists are empty, and nothing else is there."""
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        certificate = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        subject = dict(part[0] for part in (certificate or {}).get("subject", ()))
        authorization = self.headers.get("Authorization") or ""
        names = [self.headers.get("Impersonate-User"), *(self.headers.get_all("Impersonate-Group") or [])]
        self.owner.recorder.seen.append(
            Seen(
                self.owner.name,
                authorization or subject.get("commonName", ""),
                tuple(name for name in names if name),
                self.owner.recorder.proxied.get(self.client_address[1], ""),
                self.path,
                self.headers.get("User-Agent") or "",
            )
        )
        status, body = self.owner.reply(urlsplit(self.path).path, authorization)
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: Any) -> None:
        """A client that does not trust the server's certificate is no fault of the server."""


class RecordingServer:
    """An API server without any object, which notes who asks.

    :ivar accepts: whether a token is accepted; None for all, and for no token
    """

    def __init__(self, name: str, recorder: Recorder, authority: Authority | None) -> None:
        self.name, self.recorder = name, recorder
        self.accepts: Callable[[str], bool] | None = None
        self.http = _Server(("127.0.0.1", 0), type("Handler", (_Api,), {"owner": self}))
        self.scheme = "http"
        if authority:
            pair = authority.issue(f"server-{name}")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            context.load_verify_locations(authority.path)
            context.verify_mode = ssl.CERT_OPTIONAL
            # The handshake is the thread's that answers: a client that does not speak would keep all others waiting.
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
            self.scheme = "https"

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self.scheme}://127.0.0.1:{self.http.server_port}"

    def reply(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:
        """What is answered. A list is one to all who decode it."""
        if self.accepts and not self.accepts(authorization.removeprefix("Bearer ")):
            return 401, {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "code": 401,
                "reason": "Unauthorized",
            }
        if path == "/version":
            return 200, {"major": "1", "minor": "37", "gitVersion": "v1.37.2"}
        if path in ("/api", "/apis"):
            kind = "APIVersions" if path == "/api" else "APIGroupList"
            return 200, {"kind": kind, "apiVersion": "v1", "versions": ["v1"], "groups": []}
        if path.endswith(("/v1", "/v1beta1")):
            return 200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": []}
        if _names_object(path):
            return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"}
        if path.endswith("/secrets"):
            return 200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": []}
        return 200, {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}


def _names_object(path: str) -> bool:
    """Whether a path is that of one object, not of a list."""
    words = path.strip("/").split("/")
    words = words[2:] if words[0] == "api" else words[3:]
    if words[:1] == ["namespaces"] and len(words) > 2:
        words = words[2:]
    return len(words) >= 2


class _Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    owner: RecordingProxy

    def do_CONNECT(self) -> None:
        """Note the login, and lead to the server."""
        owner = self.owner
        login = self.headers.get("Proxy-Authorization") or ""
        owner.recorder.logins.append((owner.name, login))
        if owner.login is not None and login != owner.login:
            self.send_error(407)
            return
        host, _colon, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as upstream:
            port = upstream.getsockname()[1]
            owner.recorder.proxied[port] = owner.name
            self.send_response(200)
            self.end_headers()
            try:
                self._join(upstream)
            finally:
                del owner.recorder.proxied[port]  # the system gives it to others

    def _join(self, upstream: socket.socket) -> None:
        """Hand on what either side says, until one ends."""
        pairs = {self.connection: upstream, upstream: self.connection}
        while True:
            readable, _writable, _failed = select.select(list(pairs), [], [], 30)
            for one in readable:
                data = one.recv(65536)
                if not data:
                    return
                pairs[one].sendall(data)
            if not readable:
                return

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


class RecordingProxy:
    """A proxy for HTTPS, which notes what leads through it.

    :ivar login: the Proxy-Authorization that it wants; None for none
    """

    def __init__(self, name: str, recorder: Recorder) -> None:
        self.name, self.recorder = name, recorder
        self.login: str | None = None
        self.http = _Server(("127.0.0.1", 0), type("Handler", (_Proxy,), {"owner": self}))

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.http.server_port}"


@contextlib.contextmanager
def running(*servers: RecordingServer | RecordingProxy) -> Iterator[None]:
    """Serve while a block runs."""
    threads = [
        threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        for server in servers
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server in servers:
            server.http.shutdown()
            server.http.server_close()
        for thread in threads:
            thread.join(10)


def kubeconfig(
    server: RecordingServer, user: dict[str, Any], cluster: dict[str, Any] | None = None, context: str = "main"
) -> dict[str, Any]:
    """A kubeconfig with one context, whose names are all that of the context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "clusters": [{"name": context, "cluster": {"server": server.url, **(cluster or {})}}],
        "users": [{"name": context, "user": user}],
    }
