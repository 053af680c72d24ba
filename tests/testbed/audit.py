# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Counts what a program asked of a bed's API server, from the server's audit log.

    log = AuditLog(Bed().audit_log)
    before = log.mark()
    ...
    assert log.count(before, user_agent="helm").writes == 0

The log holds one event for each request, written when it is answered; a watch appears when it ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

READS = frozenset({"get", "list", "watch"})
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
# Created to ask a question; nothing is stored.
REVIEWS = frozenset(
    {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews", "subjectaccessreviews"}
    | {"localsubjectaccessreviews", "tokenreviews"}
)
SYSTEM_USERS = "system:"  # nodes, controllers, service accounts: istiod too


class Position(NamedTuple):
    """A place in the log; only good for the log that gave it."""

    offset: int
    file: int


@dataclass(frozen=True)
class Request:
    """One request, as far as counting it needs."""

    verb: str
    user: str
    user_agent: str
    resource: str
    dry_run: bool
    uri: str
    code: int


@dataclass
class Count:
    """How many requests of which kind. Requests that were refused count too: they were tried.

    ``requests`` holds those that count as writes, for a failing test to show.
    """

    reads: int = 0
    writes: int = 0
    dry_runs: int = 0
    reviews: int = 0
    other: int = 0
    requests: list[Request] = field(default_factory=list)

    def add(self, request: Request) -> None:
        """Counts one request under what it is."""
        if request.verb in READS:
            self.reads += 1
        elif request.verb not in WRITES:
            self.other += 1
        elif request.verb == "create" and request.resource in REVIEWS:
            self.reviews += 1
        elif request.dry_run:
            self.dry_runs += 1
        else:
            self.writes += 1
            self.requests.append(request)


def parse(lines: Iterable[str]) -> Iterator[Request]:
    """The requests in lines of an audit log; a last line that is not whole yet is left out.

    :raises ValueError: a whole line is no audit event
    """
    for line in lines:
        if not line.endswith("\n"):
            return
        event = json.loads(line)
        if event.get("stage") != "ResponseComplete":
            continue  # "Panic" is the only other one that the bed's policy lets through
        uri = event.get("requestURI", "")
        yield Request(
            verb=event.get("verb", ""),
            user=event.get("user", {}).get("username", ""),
            user_agent=event.get("userAgent", ""),
            resource=event.get("objectRef", {}).get("resource", ""),
            dry_run="All" in parse_qs(urlsplit(uri).query).get("dryRun", []),
            uri=uri,
            code=event.get("responseStatus", {}).get("code", 0),
        )


def count_requests(requests: Iterable[Request], user_agent: str | None = None, user: str | None = None) -> Count:
    """Counts the requests of one kind of caller.

    :param user_agent: only those whose user agent contains this
    :param user: only those of this user; without both, only users that are not of the system
    """
    count = Count()
    for request in requests:
        if user_agent is not None and user_agent not in request.user_agent:
            continue
        if user is not None and user != request.user:
            continue
        if user_agent is None and user is None and request.user.startswith(SYSTEM_USERS):
            continue
        count.add(request)
    return count


class AuditLog:
    """The audit log of a bed (``Bed.audit_log``)."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def mark(self) -> Position:
        """The present end of the log.

        :raises FileNotFoundError: there is no such log, so no cluster
        """
        self._settle()
        status = self.path.stat()
        return Position(status.st_size, status.st_ino)

    def count(self, since: Position, user_agent: str | None = None, user: str | None = None) -> Count:
        """Counts the requests since ``since``; the filters are those of :func:`count_requests`.

        :raises ValueError: the log is another one now; the cluster was made anew
        """
        self._settle()
        with self.path.open("rb") as f:
            if self.path.stat().st_ino != since.file:
                raise ValueError(f"{self.path} was replaced since the mark")
            f.seek(since.offset)
            lines = f.read().decode().splitlines(keepends=True)
        return count_requests(parse(lines), user_agent, user)

    def writes_since_last_time(self, memory: Path) -> list[Request]:
        """The writes of all but the system since this was called before, the first time all of them.

        :param memory: the file that knows when that was
        """
        now = self.mark()
        last = Position(*json.loads(memory.read_text())) if memory.exists() else Position(0, now.file)
        found = self.count(last if last.file == now.file else Position(0, now.file)).requests
        memory.write_text(json.dumps(now))
        return found

    def _settle(self, quiet: float = 0.1, patience: float = 1.0) -> None:
        """Waits for the last events, which are written just after the answers they are about.

        :param quiet: seconds in which the log must not grow
        :param patience: seconds after which it is read all the same: a cluster is never silent for long
        """
        deadline = time.monotonic() + patience
        size = -1
        while size != (size := self.path.stat().st_size) and time.monotonic() < deadline:
            time.sleep(quiet)
