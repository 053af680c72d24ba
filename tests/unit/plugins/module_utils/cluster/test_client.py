# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client asks an API server the right things, tries again what may pass, and tells what does not.

The API server here is a thread that answers what a test has written down.
"""

from __future__ import annotations

import ast
import contextlib
import http.server
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import urllib3
from harness.recording import Authority, base64_of

from ansible_collections.meshops.istio.plugins.module_utils.cluster import client as kube
from ansible_collections.meshops.istio.plugins.module_utils.cluster import transport
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError, Unreachable
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.kinds import group_resource
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import reference
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.cluster.writes import noted
from ansible_collections.meshops.istio.plugins.module_utils.connection import connection
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}}


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: list[tuple[str, str]]
    body: Any

    def header(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class Reply:
    """One answer; `chunks` are sent one by one as a watch is, and None among them cuts the connection."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes | None] | None = None

    @property
    def data(self) -> bytes:
        """The body as it is sent."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def failure(status: int, reason: str = "", message: str = "", **headers: str) -> Reply:
    """A `Status` object."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"kind": "Status", "code": status, "reason": reason, "message": message}, named)


class ApiServer:
    """Answers requests in the order of the replies, the last one again and again."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.asked: list[Asked] = []
        handler = type("Handler", (_Handler,), {"api": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        """End."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answers(self, *replies: Reply | dict[str, Any]) -> None:
        """Set what comes next."""
        self.replies = [reply if isinstance(reply, Reply) else Reply(body=reply) for reply in replies]

    @property
    def paths(self) -> list[str]:
        """What was asked for."""
        return [f"{asked.method} {asked.path}" for asked in self.asked]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: ApiServer

    def answer(self) -> None:
        """Take the next reply."""
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        url = urlsplit(self.path)
        self.api.asked.append(Asked(self.command, url.path, dict(parse_qsl(url.query)), self.headers.items(), body))
        reply = self.api.replies.pop(0) if len(self.api.replies) > 1 else self.api.replies[0]
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.chunks is None:
            self.send_header("Content-Length", str(len(reply.data)))
            self.end_headers()
            self.wfile.write(reply.data)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in reply.chunks:
            if chunk is None:
                self.close_connection = True
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """Now."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def _no_cluster_of_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No kubeconfig, no K8S_AUTH_* variable and no proxy of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("K8S_AUTH_") or name.lower() in ("kubeconfig", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """An API server."""
    server = ApiServer()
    yield server
    server.stop()


@pytest.fixture
def cluster(api: ApiServer) -> Cluster:
    """A client of it."""
    return Cluster({"host": api.url, "api_key": "token-1"})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """No real pauses between tries; `random.uniform` gives its middle."""
    found = Clock()
    monkeypatch.setattr(transport, "time", found)
    monkeypatch.setattr(transport, "random", SimpleNamespace(uniform=lambda low, high: (low + high) / 2))
    return found


# -- requests ----------------------------------------------------------------------------------------------------------


def test_private_names_of_kubernetes_core_are_there() -> None:
    """They are imported although they are private: a new version of kubernetes.core may lose them."""
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s import client

    for name in ("_create_auth_spec", "_create_configuration", "_create_headers"):
        assert callable(getattr(client, name))
    assert connection.KUBERNETES_IMPORT_ERROR is None


def test_request_carries_credentials(api: ApiServer, cluster: Cluster) -> None:
    """The token by its header, never in the URL."""
    api.answers({"gitVersion": "v1.37.2"})
    assert cluster.version() == {"gitVersion": "v1.37.2"}
    assert api.paths == ["GET /version"]
    assert api.asked[0].header("Authorization") == ["Bearer token-1"]
    assert api.asked[0].header("User-Agent") == ["meshops.istio"]
    assert api.asked[0].header("Accept") == ["application/json"]


def test_impersonation(api: ApiServer) -> None:
    """Kubernetes wants a header for each group."""
    api.answers({})
    Cluster(
        {"host": api.url, "api_key": "t", "impersonate_user": "jane", "impersonate_groups": ["dev", "ops"]}
    ).version()
    assert api.asked[0].header("Impersonate-User") == ["jane"]
    assert api.asked[0].header("Impersonate-Group") == ["dev", "ops"]


def test_credentials_from_the_environment(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As AWX gives them to kubernetes.core."""
    monkeypatch.setenv("K8S_AUTH_HOST", api.url + "/")
    monkeypatch.setenv("K8S_AUTH_API_KEY", "token-2")
    monkeypatch.setenv("K8S_AUTH_VERIFY_SSL", "false")
    api.answers({})
    cluster = Cluster({})
    cluster.version()
    assert cluster.host == api.url
    assert api.asked[0].header("Authorization") == ["Bearer token-2"]


@pytest.mark.parametrize(
    ("host", "verify", "expected"),
    [
        ("https://a.example.com", None, True),
        ("https://a.example.com", False, False),
        ("http://a.example.com", False, True),
    ],
)
def test_verifies_tls(host: str, verify: bool | None, expected: bool) -> None:
    """Plain HTTP has no certificate that could be left unchecked."""
    assert Cluster({"host": host, "api_key": "t", "validate_certs": verify}).verifies_tls is expected


def test_no_credentials(tmp_path: Path) -> None:
    """The message says what to set, and which kubeconfig was looked at."""
    with pytest.raises(JobError, match=r"Set kubeconfig and context \(.*\), host and api_key"):
        Cluster({})
    with pytest.raises(JobError, match=f"in kubeconfig {tmp_path}/none"):
        Cluster({"kubeconfig": f"{tmp_path}/none"})


def test_credentials_of_one_cluster_are_not_the_next_ones(tmp_path: Path) -> None:
    """A task in a loop has one process for all of its items."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("one").data
    user = {"client-certificate-data": certificate, "client-key-data": key, "token": "1"}
    server = {"server": "https://one.example", "certificate-authority-data": base64_of(authority.path)}
    users, clusters = [{"name": "one", "user": user}], [{"name": "one", "cluster": server}]
    contexts = [{"name": "one", "context": {"cluster": "one", "user": "one"}}]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps({"current-context": "one", "users": users, "clusters": clusters, "contexts": contexts}))
    one = Cluster({"kubeconfig": str(path)})
    two = Cluster({"host": "https://two.example", "api_key": "2"})
    assert two.host == "https://two.example"
    assert two.auth_headers()["Authorization"] == "Bearer 2"
    token = tmp_path / "token"
    assert two.connection.kubeconfig(token)["users"][0]["user"] == {"tokenFile": str(token)}
    assert two.connection.kubeconfig(token)["clusters"][0]["cluster"] == {"server": "https://two.example"}
    assert one.auth_headers()["Authorization"] == "Bearer 1"


def test_token_that_is_accepted_no_more(api: ApiServer, tmp_path: Path) -> None:
    """An exec plugin is asked anew, once; a token that was given stays refused."""
    plugin = tmp_path / "plugin"
    answer = '{"apiVersion": "client.authentication.k8s.io/v1", "status": {"token": "token-\'$n\'"}}'
    plugin.write_text(f"#!/bin/sh\necho x >> calls; n=$(wc -l < calls)\necho '{answer}'\n")
    plugin.chmod(0o755)
    path = tmp_path / "kubeconfig"
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin"}}
    clusters = [{"name": "c", "cluster": {"server": api.url}}]
    contexts = [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
    content = {"contexts": contexts, "clusters": clusters, "users": [{"name": "u", "user": user}]}
    path.write_text(json.dumps({"current-context": "c", **content}))
    cluster = Cluster({"kubeconfig": str(path)})
    api.answers(failure(401), {"gitVersion": "v1"})
    assert cluster.version() == {"gitVersion": "v1"}
    assert [asked.header("Authorization") for asked in api.asked] == [["Bearer token-1"], ["Bearer token-2"]]
    for client, asked in ((cluster, 2), (Cluster({"host": api.url, "api_key": "t"}), 1)):
        api.asked.clear()
        api.answers(failure(401))
        with pytest.raises(ApiError):
            client.version()
        assert len(api.asked) == asked


def test_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names it."""
    monkeypatch.setattr(transport, "KUBERNETES_IMPORT_ERROR", ImportError("No module named 'kubernetes'"))
    with pytest.raises(JobError, match=r"No module named 'kubernetes'\. Install the collection's requirements\.txt"):
        Cluster({})


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_faults_that_pass_are_tried_again(status: int, api: ApiServer, cluster: Cluster, clock: Clock) -> None:
    """With pauses that grow."""
    api.answers(failure(status), failure(status), {"gitVersion": "v1"})
    assert cluster.version() == {"gitVersion": "v1"}
    assert len(api.asked) == 3
    assert clock.slept == [0.2, 0.4]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_answers_that_are_final(status: int, api: ApiServer, cluster: Cluster, clock: Clock) -> None:
    """No second try."""
    api.answers(failure(status, "Reason", "message"))
    with pytest.raises(ApiError) as caught:
        cluster.version()
    assert (caught.value.status, caught.value.reason, str(caught.value)) == (status, "Reason", "message")
    assert len(api.asked) == 1
    assert clock.slept == []


def test_webhooks_refusal_is_final(api: ApiServer, cluster: Cluster, clock: Clock) -> None:
    """A 500 by a webhook that is not up yet may pass; one that it has decided on does not."""
    api.answers(failure(500, message='admission webhook "policy.example.com" denied the request: no'))
    with pytest.raises(ApiError, match="denied the request"):
        cluster.create(POD)
    assert len(api.asked) == 1
    api.answers(failure(500, message='failed calling webhook "validation.istio.io": connection refused'), POD)
    assert cluster.create(POD) == POD
    assert len(clock.slept) == 1


@pytest.mark.parametrize(
    "message",
    [
        'Internal error occurred: failed calling webhook "v.istio.io": failed to call webhook: '
        'Post "https://istiod.istio-system.svc:443/validate?timeout=10s": service "istiod" not found',
        'Internal error occurred: failed calling webhook "v.example.com": failed to call webhook: '
        'Post "https://v.example.svc:443/": x509: certificate has expired or is not yet valid',
        'Internal error occurred: failed calling webhook "v.example.com": expected webhook response of '
        "admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
        "etcdserver: request is too large",
    ],
)
def test_500_that_cannot_pass(message: str, api: ApiServer, cluster: Cluster, clock: Clock) -> None:
    """It is asked once, not nine times."""
    api.answers(failure(500, message=message))
    with pytest.raises(ApiError):
        cluster.create(POD)
    assert len(api.asked) == 1


MODIFIED = 'Operation cannot be fulfilled on pods "web": the object has been modified; please apply your changes'


def test_conflict_of_others_writers(api: ApiServer, cluster: Cluster, clock: Clock) -> None:
    """A request that is about no version of the object is tried again; one that is can only be told."""
    api.answers(failure(409, "Conflict", MODIFIED), POD)
    assert cluster.apply(POD) == POD
    versioned = {**POD, "metadata": {**POD["metadata"], "resourceVersion": "7"}}
    api.answers(failure(409, "Conflict", MODIFIED))
    for write in (cluster.replace, lambda obj: cluster.delete(obj, as_read=True)):
        with pytest.raises(ApiError, match="has been modified"):
            write(versioned)
    assert len(clock.slept) == 1


def test_server_that_restarts(api: ApiServer, cluster: Cluster, clock: Clock) -> None:
    """An address that has answered is right: nobody listens there for a while."""
    api.answers({"gitVersion": "v1"})
    cluster.version()
    api.stop()
    cluster.connection.pool.clear()  # the server's end of a connection outlives it here
    with pytest.raises(Unreachable, match="cannot be reached"):
        cluster.version()
    assert 10 < clock.now <= 15


def test_tls_that_is_cut(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """A load balancer may drop a connection in the handshake too."""
    answers = [urllib3.exceptions.SSLError(ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))]

    def send(*_arguments: Any, **_options: Any) -> Any:
        if answers:
            raise answers.pop()
        return SimpleNamespace(status=200, data=b'{"gitVersion": "v1"}')

    monkeypatch.setattr(cluster, "_send", send)
    assert cluster.version() == {"gitVersion": "v1"}
    assert len(clock.slept) == 1


ALERT = ssl.SSLError(1, "[SSL: TLSV1_ALERT_INTERNAL_ERROR] tlsv1 alert internal error")
UNTRUSTED = ssl.SSLCertVerificationError("certificate verify failed: self-signed")


@pytest.mark.parametrize(
    ("cause", "has_answered", "is_tried_again"), [(ALERT, True, True), (ALERT, False, False), (UNTRUSTED, True, False)]
)
def test_tls_that_fails(
    cause: Exception,
    has_answered: bool,
    is_tried_again: bool,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
) -> None:
    """A server that has answered speaks TLS; a certificate that is not trusted stays so."""

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise urllib3.exceptions.SSLError(cause)

    monkeypatch.setattr(cluster, "_send", refuse)
    monkeypatch.setattr(cluster, "_has_answered", has_answered)
    with pytest.raises(Unreachable):
        cluster.version()
    assert bool(clock.slept) == is_tried_again


@pytest.mark.parametrize(
    "last", [failure(403, "Forbidden", "no"), failure(503), Reply(headers={"Content-Length": "9"})]
)
def test_write_whose_answer_was_lost(last: Reply, api: ApiServer, clock: Clock) -> None:
    """It may have been carried out, whatever the server says next, so that it is noted."""
    cut = Reply(headers={"Content-Length": "9"}, chunks=[None])
    api.answers(cut, cut if last.status == 200 else last)
    told: list[str] = []
    with noted(told), pytest.raises((ApiError, Unreachable)):
        Cluster({"host": api.url, "api_key": "x"}).create(POD)
    assert told == ["Pod shop/web"]


@pytest.mark.parametrize(
    ("value", "pause"), [("2", 2.0), ("0", 0.2), ("99", 10.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.2)]
)
def test_retry_after(value: str, pause: float, api: ApiServer, cluster: Cluster, clock: Clock) -> None:
    """An API server under load says when it wants to be asked again; ten seconds at the most."""
    api.answers(failure(429, Retry_After=value), {})
    cluster.version()
    assert clock.slept == [pause]


def test_faults_that_stay_are_final_in_the_end(api: ApiServer, cluster: Cluster, clock: Clock) -> None:
    """After fifteen seconds the last answer counts; pauses do not grow beyond three."""
    api.answers(failure(503, message="apiserver not ready"))
    with pytest.raises(ApiError, match="apiserver not ready"):
        cluster.version()
    assert 10 < clock.now <= 15
    assert max(clock.slept) == 3.0


def test_dropped_connection_is_tried_again(api: ApiServer, cluster: Cluster, clock: Clock) -> None:
    """A load balancer in front of the API server drops some."""
    api.answers(Reply(headers={"Content-Length": "9"}, chunks=[None]), {"gitVersion": "v1"})
    assert cluster.version() == {"gitVersion": "v1"}
    assert len(api.asked) == 2


def test_fetch(api: ApiServer, cluster: Cluster, clock: Clock) -> None:
    """Whatever comes back, once, with the headers of our choice beside the credentials."""
    api.answers(Reply(503, b"busy", {"Server": "istio-envoy"}))
    status, headers, body = cluster.fetch("/proxy/healthz?a=b", {"Host": "www.example.com"}, 5.0)
    assert (status, headers["server"], body) == (503, "istio-envoy", b"busy")
    (asked,) = api.asked
    assert (asked.path, asked.query) == ("/proxy/healthz", {"a": "b"})
    assert asked.header("Host") == ["www.example.com"]
    assert asked.header("Authorization") == ["Bearer token-1"]
    assert clock.slept == []


def test_fetch_of_what_does_not_end(api: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning, and the connection is no one else's."""
    monkeypatch.setattr(transport, "MOST_FETCHED", 10)
    api.answers(Reply(chunks=[b"x" * 8] * 1000), {"gitVersion": "v1"})
    _status, _headers, body = cluster.fetch("/", {}, 5.0)
    assert body.startswith(b"x" * 16)
    assert cluster.version() == {"gitVersion": "v1"}


def test_fetch_without_a_server(clock: Clock) -> None:
    """Is not tried again."""
    with pytest.raises(Unreachable):
        Cluster({"host": "http://127.0.0.1:1", "api_key": "x"}).fetch("/", {}, 1.0)
    assert clock.slept == []


def test_port_where_nothing_listens(clock: Clock) -> None:
    """Not tried again; the message names the address and what to check."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Unreachable) as caught:
            Cluster({"host": host, "api_key": "t"}).version()
    assert str(caught.value).startswith(f"The API server {host} cannot be reached: ")
    assert "refused" in str(caught.value)
    assert "Check the address in the kubeconfig" in str(caught.value)
    assert clock.slept == []


def test_name_that_does_not_resolve(clock: Clock) -> None:
    """Not tried again either."""
    with pytest.raises(Unreachable, match=r"nowhere\.invalid"):
        Cluster({"host": "http://nowhere.invalid:6443", "api_key": "t"}).version()
    assert clock.slept == []


def test_certificate_that_is_not_trusted(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Not tried again; the message says where to give the CA."""
    error = urllib3.exceptions.SSLError(
        ssl.SSLCertVerificationError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed")
    )

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise error

    monkeypatch.setattr(cluster, "_send", refuse)
    with pytest.raises(Unreachable, match=r"is not trusted: .*self-signed.* Set its CA in ca_cert"):
        cluster.version()
    assert clock.slept == []


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        (b'{"kind":"Status","reason":"Forbidden","message":"no"}', "Forbidden", "no"),
        (b'{"kind":"Status"}', "", "HTTP status 403"),
        (b"<html>Bad Gateway</html>", "", "<html>Bad Gateway</html>"),
        (b"", "", "HTTP status 403"),
        (b'"text"', "", '"text"'),
        (b"\xff\xfe", "", "��"),
        (b"x" * 999, "", "x" * 300),
    ],
)
def test_api_error(body: bytes, reason: str, message: str) -> None:
    """The server's own words; a proxy's, cut short; never a fault of ours on the way."""
    error = ApiError.from_body(403, body)
    assert (error.status, error.reason, error.message) == (403, reason, message)


def test_api_error_details() -> None:
    """What says which object is meant."""
    body = json.dumps({"details": {"kind": "pods", "name": "web"}}).encode()
    assert ApiError.from_body(409, body).details == {"kind": "pods", "name": "web"}
    assert ApiError.from_body(409, b"{}").details == {}


# -- reads -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (("v1", "Pod", "web", "shop"), "/api/v1/namespaces/shop/pods/web"),
        (("v1", "Namespace", "shop", None), "/api/v1/namespaces/shop"),
        (("v1", "Node", "a", "ignored"), "/api/v1/nodes/a"),
        (("apps/v1", "Deployment", "d", "n"), "/apis/apps/v1/namespaces/n/deployments/d"),
        (("networking.istio.io/v1", "Gateway", "g", "n"), "/apis/networking.istio.io/v1/namespaces/n/gateways/g"),
        (
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "c", None),
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/c",
        ),
    ],
)
def test_get(kind: tuple[str, str, str, str | None], path: str, api: ApiServer, cluster: Cluster) -> None:
    """Straight to the known URL."""
    api.answers({"found": True})
    assert cluster.get(*kind) == {"found": True}
    assert api.paths == [f"GET {path}"]


def test_get_of_what_is_not_there(api: ApiServer, cluster: Cluster) -> None:
    """None; a refusal is not None."""
    api.answers(failure(404, "NotFound"))
    assert cluster.get("v1", "Pod", "web", "shop") is None
    api.answers(failure(403, "Forbidden"))
    with pytest.raises(ApiError):
        cluster.get("v1", "Pod", "web", "shop")


def test_list_goes_on_to_the_last_page(api: ApiServer, cluster: Cluster) -> None:
    """Items of a list carry neither apiVersion nor kind; ours do."""
    api.answers(
        {"metadata": {"continue": "c1", "resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]},
        {"metadata": {"continue": "c2"}, "items": None},
        {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "b"}}]},
    )
    items, version = cluster.list_with_version("v1", "Pod", "shop", label_selector="a=b", field_selector="c=d")
    assert [(item["apiVersion"], item["kind"], item["metadata"]["name"]) for item in items] == [
        ("v1", "Pod", "a"),
        ("v1", "Pod", "b"),
    ]
    assert version == "9"
    selectors = {"limit": "500", "labelSelector": "a=b", "fieldSelector": "c=d"}
    assert [asked.query for asked in api.asked] == [
        selectors,
        {**selectors, "continue": "c1"},
        {**selectors, "continue": "c2"},
    ]
    assert api.paths == ["GET /api/v1/namespaces/shop/pods"] * 3


def test_list_whose_pages_are_compacted(api: ApiServer, cluster: Cluster) -> None:
    """All at once then, and nothing twice: status 410 of a continue token can pass."""
    first = {"items": [POD], "metadata": {"continue": "more"}}
    everything = {"items": [POD, {"metadata": {"name": "api", "namespace": "shop"}}], "metadata": {}}
    api.answers(first, failure(410, "Expired", "The provided continue parameter is too old"), everything)
    found = cluster.list("v1", "Pod", "shop")
    assert [obj["metadata"]["name"] for obj in found] == ["web", "api"]
    assert [sorted(asked.query) for asked in api.asked] == [["limit"], ["continue", "limit"], []]


def test_list_of_all_namespaces(api: ApiServer, cluster: Cluster) -> None:
    """None is all of them."""
    api.answers({"metadata": {}, "items": []})
    assert cluster.list("v1", "Pod") == []
    assert api.paths == ["GET /api/v1/pods"]


def test_list_of_metadata_only(api: ApiServer, cluster: Cluster) -> None:
    """Helm's secrets are large; their names are not. Objects keep their own kind, not PartialObjectMetadata."""
    api.answers({"metadata": {}, "items": [{"kind": "PartialObjectMetadata", "metadata": {"name": "a"}}]})
    found = cluster.list("v1", "Secret", "istio-system", label_selector="owner=helm", metadata_only=True)
    assert found == [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}]
    assert api.asked[0].header("Accept") == [
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;q=0.9"
    ]


def test_list_of_what_is_kept(api: ApiServer, cluster: Cluster) -> None:
    """Each page is reduced before the next is asked for, so that no more than one is ever held whole."""
    page = {"items": [{"metadata": {"name": "a"}, "spec": {"large": "x"}}]}
    api.answers({"metadata": {"continue": "c1"}, **page}, {"metadata": {}, **page})
    kept_before: list[int] = []

    def keep(obj: dict[str, Any]) -> dict[str, Any]:
        kept_before.append(len(api.asked))
        return {"metadata": obj["metadata"]}

    found = cluster.list("v1", "Pod", keep=keep)
    assert found == [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}] * 2
    assert kept_before == [1, 2]


def test_list_of_a_kind_that_is_not_served(api: ApiServer, cluster: Cluster) -> None:
    """Before the definitions are there, there are no gateways."""
    api.answers(failure(404, "NotFound"))
    assert cluster.list("networking.istio.io/v1", "Gateway") == []
    api.answers(failure(403, "Forbidden"))
    with pytest.raises(ApiError):
        cluster.list("networking.istio.io/v1", "Gateway")


SERVED = {
    "resources": [
        {"name": "widgets/status", "kind": "Widget", "namespaced": False},
        {"name": "widgets", "kind": "Widget", "namespaced": True},
        {"name": "shops", "kind": "Shop", "namespaced": False},
    ]
}


def test_unknown_kinds_are_looked_up_once(api: ApiServer, cluster: Cluster) -> None:
    """One request for a group and version, whatever number of its kinds is asked for."""
    api.answers(SERVED, {"widget": 1}, {"shop": 1})
    assert cluster.get("example.com/v1", "Widget", "w", "n") == {"widget": 1}
    assert cluster.get("example.com/v1", "Shop", "s") == {"shop": 1}
    assert api.paths == [
        "GET /apis/example.com/v1",
        "GET /apis/example.com/v1/namespaces/n/widgets/w",
        "GET /apis/example.com/v1/shops/s",
    ]
    assert cluster.namespaced({"apiVersion": "example.com/v1", "kind": "Widget"})
    assert not cluster.namespaced({"apiVersion": "example.com/v1", "kind": "Shop"})


@pytest.mark.parametrize("reply", [failure(404, "NotFound"), Reply(body={"resources": []})])
def test_kind_that_nobody_serves(reply: Reply, api: ApiServer, cluster: Cluster) -> None:
    """The message names it."""
    api.answers(reply)
    with pytest.raises(JobError, match=r"The cluster does not serve kind Widget of example\.com/v1"):
        cluster.get("example.com/v1", "Widget", "w")


def test_kind_that_is_going_to_be_defined(api: ApiServer, cluster: Cluster) -> None:
    """Its objects have a place before it is served, and nothing is asked."""
    names = {"plural": "issuers", "kind": "Issuer"}
    for scope, kind in (("Namespaced", "Issuer"), ("Cluster", "ClusterIssuer")):
        spec = {"group": "cert-manager.io", "scope": scope, "names": {**names, "kind": kind}}
        cluster.announce([{"spec": {**spec, "versions": [{"name": "v1"}, {"name": "v1beta1"}]}}])
    assert cluster.resource("cert-manager.io/v1beta1", "Issuer") == ("issuers", True)
    assert not cluster.namespaced({"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer"})
    assert api.asked == []


def test_discovery_that_is_refused(api: ApiServer, cluster: Cluster) -> None:
    """A refusal is not an absence."""
    api.answers(failure(403, "Forbidden"))
    with pytest.raises(ApiError):
        cluster.get("example.com/v1", "Widget", "w")


# -- watch -------------------------------------------------------------------------------------------------------------


def event(kind: str, name: str) -> bytes:
    """One line of a watch."""
    return json.dumps({"type": kind, "object": {"metadata": {"name": name}}}).encode() + b"\n"


def watched(cluster: Cluster, seconds: float = 30) -> list[tuple[str, str]]:
    """All events of a watch."""
    events = cluster.watch("v1", "Pod", "shop", "812", seconds)
    return [(found["type"], found["object"]["metadata"]["name"]) for found in events]


def test_watch(api: ApiServer, cluster: Cluster) -> None:
    """Lines come in chunks of any size: one may be torn apart, and several may come together."""
    long = event("ADDED", "a" * 5000)
    two = event("MODIFIED", "b") + b"\n" + event("DELETED", "b")
    api.answers(Reply(chunks=[long[:7], long[7:4000], long[4000:] + two[:3], two[3:], event("ADDED", "c")]))
    assert watched(cluster) == [("ADDED", "a" * 5000), ("MODIFIED", "b"), ("DELETED", "b"), ("ADDED", "c")]
    assert api.paths == ["GET /api/v1/namespaces/shop/pods"]
    assert api.asked[0].query == {"watch": "1", "resourceVersion": "812", "timeoutSeconds": "30"}


def test_watch_that_is_cut(api: ApiServer, cluster: Cluster) -> None:
    """It ends; half a line is none."""
    api.answers(Reply(chunks=[event("ADDED", "a"), event("ADDED", "b")[:9], None]))
    assert watched(cluster) == [("ADDED", "a")]


def test_watch_of_an_old_version(api: ApiServer, cluster: Cluster) -> None:
    """An ERROR event is an error, after the events before it."""
    error = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
    api.answers(Reply(chunks=[event("ADDED", "a"), json.dumps(error).encode() + b"\n"]))
    events = cluster.watch("v1", "Pod", "shop", "1", 30)
    assert next(events)["type"] == "ADDED"
    with pytest.raises(ApiError) as caught:
        next(events)
    assert (caught.value.status, caught.value.reason) == (410, "Expired")


def test_watch_that_is_refused(api: ApiServer, cluster: Cluster) -> None:
    """At once, with the server's words."""
    api.answers(failure(403, "Forbidden", "pods is forbidden"))
    with pytest.raises(ApiError, match="pods is forbidden"):
        watched(cluster)


def test_watch_without_a_server(api: ApiServer, cluster: Cluster) -> None:
    """The list that follows tells; a watch only ends."""
    api.stop()
    assert watched(cluster) == []


def test_watch_asks_for_a_second_at_least(api: ApiServer, cluster: Cluster) -> None:
    """0 would mean no limit to the API server."""
    api.answers(Reply(chunks=[]))
    assert watched(cluster, 0.3) == []
    assert api.asked[0].query["timeoutSeconds"] == "1"


# -- writes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({}, {"fieldManager": "meshops.istio", "force": "true"}),
        (
            {"dry_run": True, "manager": "helm", "force": False},
            {"fieldManager": "helm", "force": "false", "dryRun": "All"},
        ),
    ],
)
def test_apply(options: dict[str, Any], query: dict[str, str], api: ApiServer, cluster: Cluster) -> None:
    """Server-side apply of the whole object."""
    api.answers(POD)
    assert cluster.apply(POD, **options) == POD
    asked = api.asked[0]
    assert api.paths == ["PATCH /api/v1/namespaces/shop/pods/web"]
    assert (asked.query, asked.body) == (query, POD)
    assert asked.header("Content-Type") == ["application/apply-patch+yaml"]


def test_apply_as_helm_does(api: ApiServer, cluster: Cluster) -> None:
    """Without taking over, and with nothing left out unsaid."""
    api.answers(POD)
    cluster.apply(POD, dry_run=True, manager="helm", force=False, strict=True)
    assert api.asked[0].query == {
        "fieldManager": "helm",
        "force": "false",
        "dryRun": "All",
        "fieldValidation": "Strict",
    }


@pytest.mark.parametrize(
    ("options", "query", "form"),
    [
        ({}, {"fieldManager": "meshops.istio"}, "application/merge-patch+json"),
        (
            {"form": kube.JSON_PATCH, "dry_run": True, "manager": "helm"},
            {"fieldManager": "helm", "dryRun": "All"},
            "application/json-patch+json",
        ),
    ],
)
def test_patch(options: dict[str, Any], query: dict[str, str], form: str, api: ApiServer, cluster: Cluster) -> None:
    """One request, in the form that is said."""
    api.answers(POD)
    cluster.patch(POD, {"metadata": {"labels": {"a": None}}}, **options)
    assert api.paths == ["PATCH /api/v1/namespaces/shop/pods/web"]
    assert api.asked[0].query == query
    assert api.asked[0].header("Content-Type") == [form]
    assert api.asked[0].body == {"metadata": {"labels": {"a": None}}}


def test_create(api: ApiServer, cluster: Cluster) -> None:
    """To the collection; a dry run says so."""
    api.answers(Reply(201, POD))
    assert cluster.create(POD) == POD
    cluster.create(POD, dry_run=True)
    assert api.paths == ["POST /api/v1/namespaces/shop/pods"] * 2
    assert [asked.query for asked in api.asked] == [
        {"fieldManager": "meshops.istio"},
        {"fieldManager": "meshops.istio", "dryRun": "All"},
    ]
    assert api.asked[0].header("Content-Type") == ["application/json"]


def test_replace(api: ApiServer, cluster: Cluster) -> None:
    """A conflict is the caller's to see."""
    api.answers(failure(409, "Conflict"))
    with pytest.raises(ApiError):
        cluster.replace(POD)
    assert api.paths == ["PUT /api/v1/namespaces/shop/pods/web"]
    assert api.asked[0].body == POD


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"same": True}, {"uid": "u-1"}),
        ({"as_read": True}, {"uid": "u-1", "resourceVersion": "7"}),
        ({"as_read": True, "same": True}, {"uid": "u-1", "resourceVersion": "7"}),
    ],
)
def test_delete_of_the_very_object(
    how: dict[str, bool], expected: dict[str, str], api: ApiServer, cluster: Cluster
) -> None:
    """Not of a later one of its name, nor of what has changed since; that is a conflict, and the caller's to see."""
    pod = {**POD, "metadata": {**POD["metadata"], "uid": "u-1", "resourceVersion": "7"}}
    api.answers({"kind": "Status"})
    assert cluster.delete(pod, **how) is True
    assert api.asked[0].body["preconditions"] == expected
    assert api.asked[0].body["propagationPolicy"] == "Background"
    api.answers(failure(409, "Conflict"))
    with pytest.raises(ApiError):
        cluster.delete(pod, **how)
    api.answers({"kind": "Status"})
    cluster.delete(POD, **how)  # of which nothing is known that could be asked for
    assert api.asked[-1].body is None


def test_now(api: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server's clock: timestamps of objects are its own, and ours may be another."""
    told = ["Thu, 01 May 2031 12:00:00 GMT"]
    monkeypatch.setattr(api.server.RequestHandlerClass, "date_time_string", lambda _self: told[0])
    api.answers({"major": "1"})
    assert cluster.now() == datetime(2031, 5, 1, 12, 0, 0, tzinfo=timezone.utc)
    for told[0] in ("", "yesterday"):
        before = datetime.now(timezone.utc)
        assert before <= cluster.now() <= datetime.now(timezone.utc)
        with pytest.raises(JobError, match="answers without a Date header, so the age of objects is"):
            cluster.now(strict=True)


def test_delete(api: ApiServer, cluster: Cluster) -> None:
    """What was not there is no error; a refusal is."""
    api.answers({"kind": "Status"})
    assert cluster.delete(POD) is True
    assert api.asked[0].query == {"propagationPolicy": "Background"}
    api.answers(failure(404, "NotFound"))
    assert cluster.delete(POD) is False
    api.answers(failure(403, "Forbidden"))
    with pytest.raises(ApiError):
        cluster.delete(POD)
    assert set(api.paths) == {"DELETE /api/v1/namespaces/shop/pods/web"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [({"allowed": True}, True), ({"allowed": False}, False), ({"denied": True}, False), ({}, False)],
)
def test_may(status: dict[str, bool], expected: bool, api: ApiServer, cluster: Cluster) -> None:
    """One access review; what is not allowed in so many words is not."""
    api.answers(Reply(201, {"status": status}))
    attributes = {"verb": "create", "group": "apps", "resource": "deployments", "namespace": "istio-system"}
    assert cluster.may(attributes) is expected
    assert api.paths == ["POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"]
    assert api.asked[0].body["spec"] == {"resourceAttributes": attributes}


def test_may_about_a_path(api: ApiServer, cluster: Cluster) -> None:
    """Which is no resource: Prometheus' role allows /metrics."""
    api.answers(Reply(201, {"status": {"allowed": True}}))
    assert cluster.may({"verb": "get", "path": "/metrics"}) is True
    assert api.asked[0].body["spec"] == {"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}


# -- helpers -----------------------------------------------------------------------------------------------------------


def test_in_parallel_keeps_the_order() -> None:
    """Results stand where their items stood, however long each took."""

    def slow(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * 2

    assert in_parallel(slow, range(4)) == [0, 2, 4, 6]
    assert in_parallel(slow, []) == []


def test_in_parallel_is_parallel() -> None:
    """All items meet at a barrier that opens for none alone; a single item pays for no thread."""
    barrier = threading.Barrier(3, timeout=5)
    assert sorted(in_parallel(lambda _item: barrier.wait(), "abc")) == [0, 1, 2]
    assert in_parallel(lambda _item: threading.current_thread(), [1]) == [threading.current_thread()]


def test_in_parallel_raises() -> None:
    """The first error, when all have ended."""
    done: list[int] = []
    all_begun = threading.Barrier(3)  # what has not begun by the first error never does

    def work(item: int) -> None:
        all_begun.wait(timeout=5)
        if item == 0:
            raise JobError("first")
        time.sleep(0.02)
        done.append(item)

    with pytest.raises(JobError, match="first"):
        in_parallel(work, range(3))
    assert sorted(done) == [1, 2]


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (POD, "Pod shop/web"),
        ({"kind": "Node", "metadata": {"name": "a"}}, "Node a"),
        ({"kind": "Node", "metadata": {"name": "a", "namespace": ""}}, "Node a"),
        ({"kind": "List"}, "List "),
    ],
)
def test_reference(obj: dict[str, Any], expected: str) -> None:
    """An object as people name it."""
    assert reference(obj) == expected


def test_group_resource() -> None:
    """As access reviews name a kind; one that is not in the table is a mistake of ours."""
    assert group_resource("v1", "Pod") == ("", "pods")
    assert group_resource("apps/v1", "Deployment") == ("apps", "deployments")
    with pytest.raises(KeyError):
        group_resource("example.com/v1", "Widget")


def test_threads_share_a_cluster(api: ApiServer, cluster: Cluster) -> None:
    """Discovery happens once, although all ask at once."""
    api.answers(SERVED)
    calls: list[Callable[[], Any]] = [lambda: cluster.resource("example.com/v1", "Widget")] * 8
    assert {found.plural for found in in_parallel(lambda call: call(), calls)} == {"widgets"}
    assert len(api.asked) == 1


# -- what was written --------------------------------------------------------------------------------------------------

SERVICE: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}}
LEASE = {**SERVICE, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
LOST = Reply(headers={"Content-Length": "9"}, chunks=[None])
WRITES: dict[str, Callable[..., Any]] = {
    "apply": lambda cluster, obj, **how: cluster.apply(obj, **how),
    "patch": lambda cluster, obj, **how: cluster.patch(obj, {}, **how),
    "create": lambda cluster, obj, **how: cluster.create(obj, **how),
    "replace": lambda cluster, obj, **how: how or cluster.replace(obj),
    "delete": lambda cluster, obj, **how: how or cluster.delete(obj),  # neither has a dry run
}


@pytest.mark.parametrize(
    ("reply", "obj", "how", "expected"),
    [
        (Reply(200, SERVICE), SERVICE, {}, True),
        (Reply(201, SERVICE), SERVICE, {}, True),
        (Reply(200, SERVICE), SERVICE, {"dry_run": True}, False),
        (Reply(200, LEASE), LEASE, {}, False),
        (failure(404, "NotFound"), SERVICE, {}, False),
        (failure(409, "Conflict"), SERVICE, {}, False),
        (failure(403, "Forbidden"), SERVICE, {}, False),
        (LOST, SERVICE, {}, True),
    ],
    ids=["changed", "created", "dry run", "our own lease", "not there", "conflict", "forbidden", "answer lost"],
)
@pytest.mark.parametrize("write", WRITES)
def test_writes_are_noted(
    write: str, reply: Reply, obj: dict[str, Any], how: dict[str, Any], expected: bool, api: ApiServer, clock: Clock
) -> None:
    """What changed an object, or may have; neither a dry run, nor what was refused, nor our own Lease."""
    api.answers(reply)
    written: list[str] = []
    with noted(written):
        cluster = Cluster({"host": api.url, "api_key": "token-1"})
    with contextlib.suppress(ApiError, Unreachable):
        WRITES[write](cluster, obj, **how)
    assert api.asked or how
    assert written == (["Service shop/web"] if expected else [])


def test_nothing_is_written_where_nobody_listens() -> None:
    """A request that cannot have arrived is no write; nor is a question."""
    written: list[str] = []
    with noted(written):
        cluster = Cluster({"host": "http://127.0.0.1:9", "api_key": "token-1"})
    with pytest.raises(Unreachable):
        cluster.apply(SERVICE)
    with pytest.raises(Unreachable):
        cluster.may({"verb": "get"})
    assert written == []


def test_there_is_no_other_way_to_write() -> None:
    """All requests that change something go through what takes note of them."""
    others = []
    for path in Path(kube.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_request = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "request"
            if is_request and node.args and getattr(node.args[0], "value", "GET") in ("POST", "PUT", "PATCH", "DELETE"):
                others.append(f"{path.name}: {ast.unparse(node)[:80]}")
    assert len(others) == 1, others  # the question whether something is allowed
    assert "review" in others[0]
