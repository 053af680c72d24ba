# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to one API server: who asks, how long, and which faults are tried again."""

from __future__ import annotations

import contextlib
import json
import random
import ssl
import time
from typing import Any
from urllib.parse import urlencode

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError, Unreachable
from ansible_collections.meshops.istio.plugins.module_utils.cluster.faults import may_pass
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import json_for_yaml
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import THREADS
from ansible_collections.meshops.istio.plugins.module_utils.connection.connection import (
    KUBERNETES_IMPORT_ERROR,
    Connection,
)
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

with contextlib.suppress(ImportError):  # connection says so
    import urllib3

USER_AGENT = "meshops.istio"
#: Bytes of an answer that is not the API server's own: all counters of a proxy in a large mesh take a tenth of it.
MOST_FETCHED = 32 << 20


class Transport:
    """Sends requests straight to known URLs through the kubernetes client's connection pool.

    :arg dict params: kubernetes.core's authentication options, by their names there
    :arg float timeout: seconds that one request may take
    :raises JobError: no usable credentials, or a Python library that is missing
    """

    def __init__(self, params: dict[str, Any], timeout: float = 30.0) -> None:
        if KUBERNETES_IMPORT_ERROR is not None:
            raise JobError(
                f"A Python library is missing: {KUBERNETES_IMPORT_ERROR}.",
                fix="Install the collection's requirements.txt (kubernetes) for the Python that runs this task, and "
                "the collection kubernetes.core.",
            )
        self.connection = Connection(params, THREADS * 2)
        self._timeout = timeout
        #: Whether the API server has ever answered: an address that was right may be without a server for seconds.
        self._has_answered = False

    @property
    def host(self) -> str:
        """URL of the API server."""
        return self.connection.host

    @property
    def verifies_tls(self) -> bool:
        """False when the server's certificate is not checked, and the connection is TLS."""
        return self.connection.verifies_tls

    def auth_headers(self) -> dict[str, str | list[str]]:
        """The headers that authenticate a request, impersonation included. Renews a token when due."""
        authorization = self.connection.authorization()
        found: dict[str, str | list[str]] = {"User-Agent": USER_AGENT, **self.connection.impersonation}
        return {**found, "Authorization": authorization} if authorization else found

    def _send(self, method: str, path: str, query: dict[str, Any] | None, body: Any, headers: dict[str, str], **kwargs):
        url = self.host + path + ("?" + urlencode(query) if query else "")
        sent = urllib3.HTTPHeaderDict({"Accept": "application/json"})
        for name, value in {**sent, **self.auth_headers(), **headers}.items():
            sent.discard(name)
            for one in value if isinstance(value, list) else [value]:  # Impersonate-Group stands there once a group
                sent.add(name, one)
        data = json_for_yaml(body).encode() if body is not None else None
        return self.connection.pool.request(method, url, body=data, headers=sent, retries=False, **kwargs)

    def request(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        retry_for: float = 15.0,
    ) -> Any:
        """Send one request; try again after what passes by itself: see `faults`, and dropped connections.

        Every request that is made here may be repeated: reads, server-side applies, deletes, and creates of objects
        whose second creation is a conflict.

        :arg float retry_for: seconds after which a fault that may pass is final
        :returns: the decoded JSON of the answer
        :raises ApiError: the server's answer is not a success
        :raises Unreachable: there was no answer
        """
        deadline = time.monotonic() + retry_for
        pause, renewed, has_arrived = 0.2, False, False
        while True:
            try:
                response = self._send(
                    method, path, query, body, headers or {}, timeout=urllib3.Timeout(connect=10, read=self._timeout)
                )
            except urllib3.exceptions.HTTPError as error:
                has_arrived |= not _never_arrived(error)
                if time.monotonic() + pause > deadline or self._is_final(error):
                    raise self._unreachable(error, has_arrived) from error
            else:
                self._has_answered = True
                if response.status < 300:
                    return self._decoded(response)
                fault = ApiError.from_body(response.status, response.data)
                if fault.status == 401 and not renewed and self.connection.renew():
                    renewed = True
                    continue
                if time.monotonic() + pause > deadline or not may_pass(fault, body):
                    fault.maybe_done |= has_arrived
                    raise fault
                pause = max(pause, _retry_after(response))
            time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 -- jitter, not a secret
            pause = min(pause * 2, 3.0)

    def _is_final(self, error: Exception) -> bool:
        """A fault that no second try within seconds changes: a certificate, or an address that never answered."""
        cause = _cause(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        if isinstance(error, urllib3.exceptions.SSLError) and not isinstance(cause, _CUT):
            return not self._has_answered
        return _never_arrived(error) and not self._has_answered

    def _decoded(self, response: Any) -> Any:
        try:
            return json.loads(response.data)
        except ValueError as error:
            raise Unreachable(
                f"answered {response.status}, but not like an API server: {response.data[:80]!r}.",
                object=self.host,
                fix="Check the address in the kubeconfig (or host). A proxy's login page is a common cause.",
            ) from error

    def _unreachable(self, error: Exception, has_arrived: bool = False) -> Unreachable:
        cause = _cause(error)
        if "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return Unreachable(
                f"is not trusted: {cause}.",
                object=f"The certificate of the API server {self.host}",
                fix="Set its CA in ca_cert or in the kubeconfig.",
                maybe_done=has_arrived,
            )
        return Unreachable(
            f"cannot be reached: {cause}.",
            object=f"The API server {self.host}",
            fix="Check the address in the kubeconfig (or host), the network between this host and the cluster, and the "
            "proxy settings.",
            maybe_done=has_arrived,
        )

    def fetch(self, path: str, headers: dict[str, str], timeout: float) -> tuple[int, dict[str, str], bytes]:
        """One GET whose answer need not be the API server's own, as through its proxy. It is not repeated.

        :arg float timeout: seconds without a byte; a body ends after ``MOST_FETCHED`` bytes, or four times as long
        :returns: status, headers by their names in lower case, and body
        :raises Unreachable: there was no answer
        """
        limit = urllib3.Timeout(connect=10, read=timeout)
        try:
            response = self._send("GET", path, None, None, headers, timeout=limit, preload_content=False)
            body = _read(response, 4 * timeout)
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error
        return response.status, {name.lower(): value for name, value in response.headers.items()}, body


def _read(response: Any, seconds: float) -> bytes:
    """The body of an answer that need not end: its beginning is enough."""
    parts, length, deadline = [], 0, time.monotonic() + seconds
    for part in response.stream(65536, decode_content=True):
        parts.append(part)
        length += len(part)
        if length > MOST_FETCHED or time.monotonic() > deadline:
            response.close()  # the connection is of no use to others
            break
    else:
        response.release_conn()
    return b"".join(parts)


def _retry_after(response: Any) -> float:
    try:
        return min(float(response.headers.get("Retry-After", 0)), 10.0)
    except ValueError:
        return 0.0


def _cause(error: Exception) -> Any:
    """What urllib3 wraps."""
    first = error.args[0] if error.args else None
    return getattr(error, "reason", None) or (first if isinstance(first, ssl.SSLError) else error)


#: A connection that ended within TLS's own words.
_CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def _never_arrived(error: Exception) -> bool:
    """Whether a request cannot have reached a server: a name that does not resolve, a port where nothing listens."""
    return isinstance(_cause(error), urllib3.exceptions.NewConnectionError)
