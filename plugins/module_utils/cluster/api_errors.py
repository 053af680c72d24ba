# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of the API server that are no success, and no answer at all."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError


class ApiError(Exception):
    """An answer of the API server that is not a success.

    :ivar int status: the HTTP status
    :ivar str reason: the machine-readable reason of the ``Status`` object, such as ``NotFound``
    :ivar str message: the server's own words
    :ivar dict details: ``details`` of the ``Status`` object
    :ivar bool maybe_done: whether the request may have been carried out all the same
    """

    def __init__(self, status: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.maybe_done = status in (502, 504) or "request timed out" in message

    @classmethod
    def from_body(cls, status: int, body: bytes) -> ApiError:
        """Read the ``Status`` object that the API server answers with; proxies in between answer anything."""
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            text = body.decode("utf-8", "replace").strip()
            return cls(status, "", text[:300] or f"HTTP status {status}")
        message = answer.get("message") or answer.get("reason") or f"HTTP status {status}"
        return cls(status, answer.get("reason") or "", message, answer.get("details"))


class Unreachable(JobError):
    """No connection to the API server, or none that its certificate allows.

    :ivar bool maybe_done: whether the request may have been carried out all the same
    """

    def __init__(self, message: str, *, object: str = "", fix: str = "", maybe_done: bool = True) -> None:
        super().__init__(message, object=object, fix=fix, code="api-unreachable")
        self.maybe_done = maybe_done


class NotServed(JobError):
    """The cluster serves no such kind."""
