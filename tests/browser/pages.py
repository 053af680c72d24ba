# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tab of a browser that shows one file, and what it complained of and asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, ConsoleMessage, Page

PHONE = 600  # pixels; windows of fewer are a phone's


class Tab:
    """A tab that shows one file.

    :ivar Page page: Playwright's
    :ivar list errors: what the console, the log and the page's scripts complained of
    :ivar list requests: addresses that were asked for, beside the page's own and those that hold their answer
    :arg int width: of its window, in CSS pixels
    :arg str scheme: light or dark
    """

    def __init__(self, browser: Browser, path: Path, width: int, height: int, scheme: Literal["light", "dark"]) -> None:
        window = {"width": width, "height": height}
        self._context = browser.new_context(viewport=window, color_scheme=scheme, is_mobile=width < PHONE)
        self.page: Page = self._context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        url = path.as_uri()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(f"exception: {error}"))
        self.page.on("dialog", lambda dialog: (self.errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self._asked(request.url, url))
        self.page.goto(url)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "assert"):
            self.errors.append(f"console: {message.text}")

    def _asked(self, url: str, own: str) -> None:
        if url != own and not url.startswith("data:"):
            self.requests.append(url)

    def close(self) -> None:
        """Close it, and forget what it has kept."""
        self._context.close()
