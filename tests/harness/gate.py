# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate between helm and an API server: it shuts when so many objects of a release are written.

Then helm is in the middle of that release for certain, for as long as a test likes.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from kubernetes import config

#: Of the headers of a request or an answer, those that its other side must see.
_HANDED_ON = ("accept", "content-type", "content-encoding", "user-agent")


class Gate:
    """While it is entered, ``helm`` is a program that works on one release through the gate, and as ever on all others.

    :arg folder: for the program
    :arg real: the helm behind it
    :arg release: name of the release
    :arg int writes: so many objects are let through; the release's own records always are
    :ivar Path helm: the program
    :ivar reached: set when helm waits at the gate
    """

    def __init__(self, kubeconfig: Path, folder: Path, real: Path, release: str, writes: int = 1) -> None:
        self.helm = folder / f"helm-of-{release}"
        self.reached = threading.Event()
        self._opened = threading.Event()
        self._drops = False
        self._left = writes
        self._lock = threading.Lock()
        self._api = config.new_client_from_config(str(kubeconfig))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False  # what was let through has arrived when the gate is left
        through = folder / f"kubeconfig-of-{release}"
        through.write_text(json.dumps(_kubeconfig(self._server.server_port)))
        self.helm.write_text(
            "#!/bin/sh\n"
            f'if [ "$1 $2" = "upgrade {release}" ]; then\n'
            f"    unset HELM_KUBECONTEXT; export KUBECONFIG='{through}'\n"
            "fi\n"
            f"exec '{real}' \"$@\"\n"
        )
        self.helm.chmod(0o755)

    def __enter__(self) -> Gate:
        """Let requests come."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def open(self) -> None:
        """Let helm go on."""
        self._opened.set()

    def refuse(self) -> None:
        """Let whoever waits, and all that comes after, go without an answer."""
        self._drops = True
        self._opened.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Whoever still waits is left without an answer."""
        if not self._opened.is_set():
            self.refuse()
        self._server.shutdown()
        self._server.server_close()

    def _let_through(self, method: str, path: str) -> bool:
        """Wait where it is to be waited. :returns: whether the request may go on"""
        if method == "GET" or "/secrets" in path:
            return True
        with self._lock:
            self._left -= 1
            shut = self._left < 0
        if shut:
            self.reached.set()
            self._opened.wait()
        return not (shut and self._drops)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            """One request handed on."""

            protocol_version = "HTTP/1.1"

            def hand_on(self) -> None:
                """To the API server, under the administrator's name, and the answer back."""
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if not gate._let_through(self.command, self.path):
                    self.close_connection = True
                    return
                status, headers, data = gate._asked(self.command, self.path, body, dict(self.headers.items()))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = hand_on

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

        return Handler

    def _asked(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        credentials = {
            each["key"]: each["value"] for each in self._api.configuration.auth_settings().values() if each["value"]
        }
        answer = self._api.rest_client.pool_manager.request(
            method,
            self._api.configuration.host + path,
            body=body or None,
            headers={**_handed_on(headers), **credentials},
            decode_content=False,
        )
        return answer.status, _handed_on(dict(answer.headers.items())), answer.data


def _handed_on(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() in _HANDED_ON}


def _kubeconfig(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gate", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "contexts": [{"name": "gate", "context": {"cluster": "gate", "user": "gate"}}],
        "users": [{"name": "gate", "user": {}}],
        "current-context": "gate",
    }
