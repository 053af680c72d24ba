# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a URL until it answers 200, as curl in a loop would."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request

PAUSE = 0.2  # seconds between two tries
TIMEOUT = 2.0  # seconds that one try may take


def good(url: str) -> bool:
    """Whether a GET, past any proxy, is answered with 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT) as answer:
            return answer.status == 200
    except (OSError, ValueError, urllib.error.URLError):
        return False
    except Exception:  # http.client's own kinds: half an answer is none
        return False


def wait(url: str, seconds: float) -> None:
    """Return at the first 200. :raises TimeoutError: none within ``seconds``"""
    deadline = time.monotonic() + seconds
    while not good(url):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url} did not answer 200 within {seconds:.0f} s")
        time.sleep(PAUSE)


class Watch(threading.Thread):
    """Asks all along, to know when the first 200 could be had; its few requests are the same for both contenders.

    :ivar first: seconds from the start to the first 200, or None
    """

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.first: float | None = None
        self._url = url
        self._stop_asking = threading.Event()

    def run(self) -> None:
        """The thread's work."""
        started = time.monotonic()
        while not self._stop_asking.is_set():
            if good(self._url):
                self.first = round(time.monotonic() - started, 2)
                return
            self._stop_asking.wait(PAUSE)

    def end(self) -> float | None:
        """Stop asking. :returns: ``first``"""
        self._stop_asking.set()
        self.join()
        return self.first
