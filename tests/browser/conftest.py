# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A browser, and pages for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import programs
from browser.pages import Tab
from harness import report_samples as samples
from playwright.sync_api import Browser, sync_playwright

from ansible_collections.meshops.istio.plugins.plugin_utils.report import model, page

Open = Callable[..., Tab]

RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "green": (samples.GREEN, {"pods": samples.PODS}),
    "second": (samples.SECOND, {"pods_note": "This run started no pods."}),
    "check": (samples.CHECK, {"check": True, "pods_note": "Check mode starts no pods."}),
    "refused": (samples.REFUSED, {"pods_note": "This run did not reach a phase that starts pods."}),
    "failed": (samples.DIAGNOSED, {"pods": [samples.BROKEN_POD, *samples.PODS]}),
    "hostile": (samples.hostile(), {"pods": [samples.BROKEN_POD], "pods_note": samples.HOSTILE_TEXT}),
}


#: It may run as root in a container, where it has no sandbox, and where /dev/shm is small. It finds nobody but us.
OPTIONS = ("--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Yield a running browser, the system's own; its tests are skipped where there is none."""
    try:
        program = programs.chromium()
    except programs.Missing as missing:
        pytest.skip(str(missing))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """Return axe-core's script."""
    try:
        return programs.axe().read_text()
    except programs.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the page of each run."""
    folder = tmp_path_factory.mktemp("reports")
    for name, (phases, more) in RUNS.items():
        text = page.render(model.build(phases, "kvm", samples.NOW, **more))
        (folder / f"{name}.html").write_bytes(text.encode("utf-8", "replace"))
    return {name: folder / f"{name}.html" for name in RUNS}


@pytest.fixture
def show(chromium: Browser) -> Iterator[Open]:
    """Return what opens a file; it is closed after the test."""
    opened: list[Tab] = []

    def show(path: Path, width: int = 1280, height: int = 800, scheme: str = "light") -> Tab:
        opened.append(Tab(chromium, path, width, height, scheme))
        return opened[-1]

    yield show
    for tab in opened:
        tab.close()
