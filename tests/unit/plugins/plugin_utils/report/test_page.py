# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page says what the report says, is well formed, asks for nothing and runs nothing. tests/browser looks at it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from harness import report_samples as samples

from ansible_collections.meshops.istio.plugins.plugin_utils.report import model, page

VOID = {"meta", "link", "br", "img", "hr", "input"}
RUNS = {
    "a run that went well": (samples.GREEN, {"pods": samples.PODS}),
    "a second run": (samples.SECOND, {"pods_note": "This run started no pods."}),
    "a check": (samples.CHECK, {"check": True}),
    "refused by preflight": (samples.REFUSED, {}),
    "failed": (samples.FAILED, {"pods": [samples.BROKEN_POD]}),
    "diagnosed": (samples.DIAGNOSED, {}),
    "hostile": (samples.hostile(), {"pods_note": samples.HOSTILE_TEXT}),
    "nothing ran": ({}, {}),
    "failed at nothing": ({}, {"failed": True}),
}


class Page(HTMLParser):
    """Elements as they open and close, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one that has no end tag, as in SVG."""
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """Close the last one. :raises AssertionError: it is another"""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text that is seen."""
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All that is seen, with single spaces."""
        return " ".join(" ".join(self.words).split())


def rendered(name: str) -> Page:
    """The page of one of the runs."""
    phases, more = RUNS[name]
    report: dict[str, Any] = model.build(
        phases, samples.HOSTILE_TEXT if name == "hostile" else "kvm", samples.NOW, **more
    )
    return Page(page.render(report))


@pytest.mark.parametrize("name", RUNS)
def test_page_is_well_formed_and_runs_and_asks_for_nothing(name: str) -> None:
    """No script, no handler, no address but the empty icon's; every id is there once, and what names it finds it."""
    found = rendered(name)
    assert found.open == []
    tags = {tag for tag, _attributes in found.elements}
    assert not tags & {"script", "img", "iframe", "object", "embed", "form", "a", "base"}
    attributes = [item for _tag, given in found.elements for item in given.items()]
    assert [item for item in attributes if item[0].startswith("on") or item[0] in ("style", "srcset")] == []
    assert [value for key, value in attributes if key in ("href", "src", "action")] == ["data:,"]
    ids = [value for key, value in attributes if key == "id"]
    assert len(ids) == len(set(ids))
    assert {value for key, value in attributes if key == "aria-labelledby"} <= set(ids)


def test_style_asks_for_nothing() -> None:
    """Neither fonts nor pictures."""
    style = page.HERE.joinpath("page.css").read_text()
    assert re.findall(r"url\(|@import|@font-face|</", style) == []


def test_hostile_texts_are_only_texts() -> None:
    """They are shown as they came, and are neither elements nor templates."""
    found = rendered("hostile")
    assert samples.SCRIPT in found.text
    assert "{{ 7*7 }}" in found.text


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        (
            "a run that went well",
            ["Proven", "200", samples.URL, "istio-envoy", samples.GATEWAY, samples.APP, "18.2 ms", "median 4.2 ms",
             "4 sent, 3 consecutive responses", "counted by gateway: 4, sidecar: unknown", "forbidden", "TLSv1.3",
             "of tomorrow gateway requests 4 errors 0", "istiod-66f6", "room-short", "chart istiod 1.31.1",
             "kubernetes 1.37.2", "15 objects", "kvm", "2026-11-26 14:14:40 UTC", "Drift detected"],
        ),
        ("a second run", ["Proven", "No changes were needed.", "This run started no pods."]),
        ("a check", ["Checked", "Planned changes", "to install", "would change", "check mode"]),
        ("refused by preflight", ["Failed", "Root cause", "node-port-taken", samples.ERROR["fix"], "not reached"]),
        ("failed", ["Failed", "ImagePullBackOff", "Check the image name.", "app: ErrImagePull", "see root cause"]),
        ("diagnosed", ["image-pull", "Correct liveness_verify_image.", "no other pod", "no-endpoints", "Other errors",
             "proxies: no permission to read"]),
        ("nothing ran", ["Done", "No phase ran."]),
        ("failed at nothing", ["Failed", "The run failed at the start.", "output of ansible-playbook"]),
    ],
)  # fmt: skip
def test_page_says_it(name: str, seen: list[str]) -> None:
    """All that a reader comes for."""
    text = rendered(name).text
    assert [words for words in seen if words not in text] == []


def test_cause_comes_first() -> None:
    """Before the other findings, the timeline and everything else."""
    text = rendered("diagnosed").text
    places = [text.index(words) for words in ("image-pull", "no-endpoints", "Timeline", "room-short")]
    assert places == sorted(places)


def test_bars_are_told_to_who_cannot_see_them() -> None:
    """Each is a picture with words."""
    found = rendered("a run that went well")
    labels = [given["aria-label"] for tag, given in found.elements if tag == "svg" and given.get("role") == "img"]
    assert "init containers from 15.5 s to 20.5 s, containers start from 20.5 s to 21.5 s" in labels
    assert all(given.get("aria-hidden") or given.get("role") for tag, given in found.elements if tag == "svg")


@pytest.mark.parametrize(
    ("value", "said"), [(None, ""), (0.04, "0.0 s"), (4.25, "4.2 s"), (59.6, "60 s"), (125, "2 min 5 s")]
)
def test_seconds(value: float | None, said: str) -> None:
    """As a person says it."""
    assert page.seconds(value) == said
