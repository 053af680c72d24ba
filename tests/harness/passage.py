# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A way to an API server, on 127.0.0.1, on which a test may do things to requests and answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from kubernetes import config

#: Of the headers of a request or an answer, those that its other side must see.
_HANDED_ON = ("accept", "content-type", "content-encoding", "user-agent", "date", "retry-after")
#: The only context of its kubeconfig.
CONTEXT = "passage"


class Request:
    """One request on its way.

    :ivar handler: of ``http.server``, to answer by
    """

    def __init__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.method, self.path, self.body, self.handler = handler.command, handler.path, body, handler

    def drop(self) -> None:
        """Close the connection without another word."""
        self.handler.close_connection = True

    def answer(self, status: int, body: dict[str, Any], **headers: str) -> None:
        """Answer in the API server's place."""
        data = json.dumps(body).encode()
        self.begin(status, {"content-type": "application/json", **headers}, len(data))
        self.handler.wfile.write(data)

    def begin(self, status: int, headers: dict[str, str], length: int | None) -> None:
        """Send what stands before an answer's body, which is of a length, or goes on until the connection ends."""
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        if length is None:
            self.handler.send_header("connection", "close")
        else:
            self.handler.send_header("content-length", str(length))
        self.handler.end_headers()


class Passage:
    """While it is entered, requests to it go to the API server of a kubeconfig, under the administrator's name.

    :ivar Path kubeconfig: leads to it
    """

    def __init__(self, kubeconfig: Path, folder: Path, name: str) -> None:
        self._api = config.new_client_from_config(str(kubeconfig))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False  # what was let through has arrived when the passage is left
        self.kubeconfig = folder / f"kubeconfig-of-{name}"
        self.kubeconfig.write_text(json.dumps(_kubeconfig(self._server.server_port)))

    def __enter__(self) -> Any:
        """Let requests come."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let no more come."""
        self._server.shutdown()
        self._server.server_close()

    def take(self, request: Request) -> None:
        """Do with a request what is to be done: hand it on, unless a passage of another kind knows better."""
        self.hand_on(request)

    def hand_on(self, request: Request) -> None:
        """To the API server, and the answer back, as it comes."""
        status, headers, length, chunks = self.ask(request)
        request.begin(status, headers, length)
        for chunk in chunks:
            request.handler.wfile.write(chunk)
        if length is None:
            request.handler.close_connection = True

    def ask(self, request: Request) -> tuple[int, dict[str, str], int | None, Iterator[bytes]]:
        """What the API server answers: status, headers, the body's length where it is known, and the body."""
        credentials = {
            each["key"]: each["value"] for each in self._api.configuration.auth_settings().values() if each["value"]
        }
        answer = self._api.rest_client.pool_manager.request(
            request.method,
            self._api.configuration.host + request.path,
            body=request.body or None,
            headers={**_handed_on(dict(request.handler.headers.items())), **credentials},
            decode_content=False,
            preload_content=False,
            retries=False,
        )
        if "watch=" in request.path:
            return answer.status, _handed_on(dict(answer.headers.items())), None, answer.stream(decode_content=False)
        data = answer.read(decode_content=False)
        answer.release_conn()
        return answer.status, _handed_on(dict(answer.headers.items())), len(data), iter([data])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        passage = self

        class Handler(BaseHTTPRequestHandler):
            """One connection."""

            protocol_version = "HTTP/1.1"
            timeout = 120

            def take(self) -> None:
                """One request of it."""
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                try:
                    passage.take(Request(self, body))
                except OSError:  # whoever asked has gone
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = take

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

        return Handler


def _handed_on(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() in _HANDED_ON}


def _kubeconfig(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
        "users": [{"name": CONTEXT, "user": {}}],
        "current-context": CONTEXT,
    }
