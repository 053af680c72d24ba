# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless chromium, driven by its DevTools protocol over two pipes: JSON, each message ended by a NUL."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TIMEOUT = 30.0  # seconds for one answer; machines are busy
#: It may run as root in a container, where it has no sandbox, and where /dev/shm is small.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
#: It reads on descriptor 3 and writes on 4.
PIPES = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Chrome:
    """The browser's process.

    :arg Path home: for its profile
    """

    def __init__(self, program: str, home: Path) -> None:
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        # Ours are moved out of the way of 3 and 4, where PIPES puts them.
        moved = [fcntl.fcntl(number, fcntl.F_DUPFD, 10) for number in (theirs_in, theirs_out)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", PIPES, *map(str, moved), program, *OPTIONS, f"--user-data-dir={home}"],
            pass_fds=moved,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(home)},
        )
        for number in (theirs_in, theirs_out, *moved):
            os.close(number)
        self._rest = b""
        self._calls = 0
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        """End it."""
        os.close(self._to)  # which it takes for the end
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Call a method; what happens meanwhile is kept in ``events``. :raises AssertionError: it fails"""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + TIMEOUT
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._calls:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def wait_for(self, method: str, session: str) -> dict[str, Any]:
        """Wait for an event, which may have come already."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            for event in self.events:
                if (event["method"], event.get("sessionId")) == (method, session):
                    return event
            self._next(deadline)

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _none, _none = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._from, 1 << 20) if ready else b""
            assert chunk, "chromium does not answer"
            self._rest += chunk
        text, _nul, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message


class Page:
    """A tab that shows one file.

    :arg int width: of its window, in CSS pixels
    :arg str scheme: light or dark
    """

    def __init__(self, chrome: Chrome, path: Path, width: int, height: int, scheme: str) -> None:
        self._chrome = chrome
        self.url = path.as_uri()
        chrome.events.clear()
        self._target = chrome.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = chrome.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        chrome.events.clear()
        self.call("Page.navigate", url=self.url)
        chrome.wait_for("Page.loadEventFired", self._session)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_error: object) -> None:
        self._chrome.call("Target.closeTarget", targetId=self._target)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the tab."""
        return self._chrome.call(method, self._session, **params)

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript, awaited. It is ours, and no matter of the page's Content-Security-Policy."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    @property
    def errors(self) -> list[str]:
        """What the console, the log and the page's scripts complained of."""
        found = []
        for event in self._chrome.events:
            params, method = event["params"], event["method"]
            if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
                found.append(f"console: {params['args']}")
            elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(f"log: {params['entry']['text']}")
            elif method in ("Runtime.exceptionThrown", "Page.javascriptDialogOpening"):
                found.append(f"{method}: {params}")
        return found

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for, beside the page's own and those that hold their answer."""
        sent = [event for event in self._chrome.events if event["method"] == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in sent]
        return [url for url in urls if url != self.url and not url.startswith("data:")]

    def screenshot(self, path: Path) -> None:
        """All of it as a picture."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self) -> bytes:
        """As it is printed."""
        found = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True)
        return base64.b64decode(found["data"])
