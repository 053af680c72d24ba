# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in a real browser: it opens without a complaint, asks for nothing, and everybody can read it.

MESHOPS_SCREENSHOTS=DIRECTORY keeps a picture of each page that is opened.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from browser.conftest import RUNS, Open
from browser.pages import Tab

DESK, PHONE = (1280, 800), (360, 740)
AXE = "axe.run(document, {resultTypes: ['violations', 'incomplete']}).then(found => found.violations)"

BAD = """<!DOCTYPE html><html><head><title>bad</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="http://127.0.0.1:9/x.css"></head>
<body style="color: #aaa; background: #fff"><div style="width: 900px">wide and pale</div><img src="data:,">
<script>console.error("a complaint"); throw new Error("a fault")</script></body></html>"""


def violations(tab: Tab, axe: str) -> list[str]:
    """What axe finds, of whatever impact."""
    tab.page.evaluate(axe + ";0")
    found: list[dict[str, Any]] = tab.page.evaluate(AXE)
    return [f"{rule['impact']}: {rule['id']}: {rule['nodes'][0]['html']}" for rule in found]


def width(tab: Tab) -> int:
    """Pixels that all of it needs. A phone's window grows with them, and shows them smaller."""
    return tab.page.evaluate("document.documentElement.scrollWidth")


def bottom(tab: Tab, selector: str) -> float:
    """Where an element ends, in pixels from the top of the first screen."""
    return tab.page.evaluate(f"document.querySelector({selector!r}).getBoundingClientRect().bottom")


def test_tests_see_what_is_wrong(tmp_path: Path, show: Open, axe: str) -> None:
    """Else none of the others could fail."""
    (tmp_path / "bad.html").write_text(BAD)
    tab = show(tmp_path / "bad.html", *PHONE)
    assert any("a complaint" in error for error in tab.errors)
    assert any("a fault" in error for error in tab.errors)
    assert tab.requests == ["http://127.0.0.1:9/x.css"]
    assert width(tab) > PHONE[0]
    found = violations(tab, axe)
    assert [rule for rule in ("color-contrast", "image-alt", "html-has-lang") if rule not in str(found)] == []


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", RUNS)
def test_report(name: str, scheme: str, size: tuple[int, int], reports: dict[str, Path], show: Open, axe: str) -> None:
    """No error, no request, nothing to scroll sideways, and nothing that axe has to say."""
    tab = show(reports[name], *size, scheme)
    if folder := os.environ.get("MESHOPS_SCREENSHOTS"):
        tab.page.screenshot(path=Path(folder) / f"{name}-{scheme}-{size[0]}.png", full_page=True)
    assert tab.page.evaluate("document.querySelector('h1').innerText")
    assert tab.page.evaluate(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
    assert violations(tab, axe) == []
    assert tab.errors == []
    assert tab.requests == []
    assert width(tab) <= size[0]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", ["refused", "failed"])
def test_cause_and_fix_are_on_the_first_screen(
    name: str, size: tuple[int, int], reports: dict[str, Path], show: Open
) -> None:
    """At 3 a.m. nobody scrolls."""
    assert bottom(show(reports[name], *size), ".cause .fix") <= size[1]


def test_answer_is_on_the_first_screen(reports: dict[str, Path], show: Open) -> None:
    """On a phone too."""
    assert bottom(show(reports["green"], *PHONE), ".figures .good") <= PHONE[1]


def test_hostile_texts_run_nothing(reports: dict[str, Path], show: Open) -> None:
    """And are elements of no kind."""
    tab = show(reports["hostile"])
    assert tab.page.evaluate("document.querySelectorAll('script, img, [onerror]').length") == 0
    assert "<script>alert(1)</script>" in tab.page.evaluate("document.body.innerText")


def test_scripts_are_refused(reports: dict[str, Path], show: Open, tmp_path: Path) -> None:
    """By the page itself, should a text ever come through."""
    text = reports["green"].read_text()
    (tmp_path / "report.html").write_text(text.replace("</main>", "<script>window.ran = true</script></main>"))
    tab = show(tmp_path / "report.html")
    assert tab.page.evaluate("window.ran === undefined")
    assert any("Content Security Policy" in error for error in tab.errors)


@pytest.mark.parametrize("name", RUNS)
def test_report_can_be_printed(name: str, reports: dict[str, Path], show: Open) -> None:
    """Whatever the screen is like, paper is white, and shows what is folded on a screen."""
    tab = show(reports[name], *DESK, "dark")
    assert tab.page.pdf(format="A4", print_background=True).startswith(b"%PDF")
    tab.page.emulate_media(media="print", color_scheme="dark")
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    hidden = "[...document.querySelectorAll('details li')].filter(item => !item.checkVisibility()).length"
    assert tab.page.evaluate(hidden) == 0
