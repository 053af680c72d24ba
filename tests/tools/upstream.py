#!/usr/bin/env python3
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask each place that a run or a node fetches from (plugins/module_utils/upstream.py) for one thing that must be there.

Ends with 0 where all is well, with 1 where a place that should stay does not give it, and with 3, "not reachable",
where none of them answers, so that nothing is known. Places whose end is announced are asked and shown, and never fail
it.
"""

from __future__ import annotations

import json
import re
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.meshops.istio.plugins.module_utils.upstream import (  # noqa: E402
    IMAGES,
    OCI_CHARTS,
    PLACES,
    Place,
)

FINE, GONE, UNREACHABLE = 0, 1, 3
TIMEOUT = 15.0
THREADS = 8
#: As containerd and helm ask a registry: by any form of a manifest.
MANIFESTS = ", ".join(
    f"application/vnd.{form}+json"
    for form in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)
#: Where a registry answers whose name is another.
REGISTRIES = {"docker.io": "registry-1.docker.io"}
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')

Opener = Callable[..., Any]


class Answer(NamedTuple):
    """What came of asking.

    :ivar int status: HTTP's; 0 where nobody answered
    :ivar str words: why not
    """

    status: int
    words: str = ""

    @property
    def there(self) -> bool:
        """Whether the thing is there; a limit of requests says that at least the place is."""
        return 200 <= self.status < 400 or self.status == 429

    def __str__(self) -> str:
        return str(self.status) if self.status else self.words


def version() -> str:
    """Istio's version that is installed by default."""
    text = (ROOT / "roles/mesh_options/defaults/main.yml").read_text()
    return re.search(r"^istio_helm_chart_version: (\S+)", text, re.MULTILINE)[1]


def url(place: Place, istio: str) -> str:
    """What a place is asked for."""
    sample = place.sample.format(istio=istio)
    if place.serves not in (IMAGES, OCI_CHARTS):
        return f"https://{place.address}{'/' if sample else ''}{sample}"
    host, _slash, path = place.address.partition("/")
    name, _colon, tag = sample.partition(":")
    return f"https://{REGISTRIES.get(host, host)}/v2/{path}/{name}/manifests/{tag}"


@dataclass
class Asker:
    """Asks one after another, each at most three times: with a token, where a registry wants one.

    :ivar opener: as ``urllib.request.urlopen``, which verifies TLS
    """

    opener: Opener = urllib.request.urlopen

    def ask(self, where: str) -> Answer:
        """Whether something is at a URL; its content is not read."""
        try:
            return self._asked(where)
        except urllib.error.HTTPError as error:
            return Answer(error.code)
        except (OSError, ValueError) as error:  # no name, no connection, no trust, no JSON
            reason = getattr(error, "reason", error)
            untrusted = isinstance(reason, ssl.SSLError)
            return Answer(0, f"{'not trusted' if untrusted else 'no answer'}: {reason}")

    def _asked(self, where: str) -> Answer:
        headers = {"Accept": MANIFESTS} if "/manifests/" in where else {}
        try:
            return self._status(where, headers)
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate", "")
            if error.code != 401 or not challenge.startswith("Bearer "):
                raise
        return self._status(where, {**headers, "Authorization": f"Bearer {self._token(challenge)}"})

    def _status(self, where: str, headers: dict[str, str]) -> Answer:
        request = urllib.request.Request(where, headers=headers, method="HEAD")  # noqa: S310 - URLs of the table
        with self.opener(request, timeout=TIMEOUT) as response:
            return Answer(response.status)

    def _token(self, challenge: str) -> str:
        """A token for anybody, as the distribution specification has it. :raises OSError: there is none"""
        told = dict(_CHALLENGE.findall(challenge))
        realm = told.pop("realm", "")
        if urllib.parse.urlsplit(realm).scheme not in ("https", "http"):
            raise OSError(f"no realm in {challenge}")
        request = urllib.request.Request(f"{realm}?{urllib.parse.urlencode(told)}")  # noqa: S310 - checked above
        with self.opener(request, timeout=TIMEOUT) as response:
            given = json.loads(response.read(1 << 20))
        return str(given.get("token") or given.get("access_token") or "")


def line(place: Place, where: str, answer: Answer) -> str:
    """What is told of a place."""
    if place.retired:
        state = "still there" if answer.there else "ended" if answer.status else "silent"
    elif answer.there:
        state = "ok"
    else:
        state = "GONE" if answer.status else "SILENT"
    return f"{state:<12} {place.serves:<11} {where}  {answer}"


def code(places: Iterable[Place], answers: Iterable[Answer]) -> int:
    """How it ends."""
    told = list(zip(places, answers, strict=True))
    if not any(answer.status for _place, answer in told):
        return UNREACHABLE
    return FINE if all(answer.there for place, answer in told if not place.retired) else GONE


def main(opener: Opener = urllib.request.urlopen, places: tuple[Place, ...] = PLACES, istio: str = "") -> int:
    """Ask all of them and print a line for each."""
    asker, urls = Asker(opener), [url(place, istio or version()) for place in places]
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(asker.ask, urls))
    for place, where, answer in zip(places, urls, answers, strict=True):
        print(line(place, where, answer))
    ended = code(places, answers)
    if ended == UNREACHABLE:
        print("not reachable: none of these places answers, so nothing is known about them from here.")
    return ended


if __name__ == "__main__":
    sys.exit(main())
