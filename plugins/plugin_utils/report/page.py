# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one page of HTML: page.html.j2 and page.css beside this file, escaped by Jinja2. Pure but for these."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import jinja2

from ansible_collections.meshops.istio.plugins.plugin_utils.report import timeline

HERE = Path(__file__).resolve().parent
#: Keys of the evidence that have a place of their own on the page; whatever else there is stands in a table.
SHOWN = ("url", "status", "server", "latencies_ms", "tries", "asked_from", "mtls", "gateways", "served_by")
#: What a key is called on the page; others are called by their name.
WORDS = {
    "by": "application",
    "uri": "caller",
    "uid": "UID",
    "cpu": "CPU",
    "memory_mib": "memory, MiB",
    "url": "URL",
    "tls": "TLS",
    "counted": "counted by the proxies",
}


def render(model: dict[str, Any]) -> str:
    """The page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(words=words, seconds=seconds, moment=moment)
    evidence = model["evidence"]
    return environment.get_template("page.html.j2").render(
        model=model,
        timeline=timeline.draw(model),
        latencies=latencies([value for value in evidence.get("latencies_ms") or [] if isinstance(value, (int, float))]),
        more_evidence={key: value for key, value in evidence.items() if key not in SHOWN},
        style=HERE.joinpath("page.css").read_text(),
    )


def latencies(milliseconds: list[float]) -> dict[str, Any] | None:
    """Each answer with its bar in percent of the slowest, and what they are like together."""
    if not milliseconds:
        return None
    slowest = max(milliseconds) or 1
    return {
        "answers": [(value, round(100 * value / slowest, 1)) for value in milliseconds],
        "fastest": min(milliseconds),
        "median": round(median(milliseconds), 1),
        "slowest": max(milliseconds),
    }


def words(key: str) -> str:
    """A key as a person reads it."""
    return WORDS.get(key, str(key).replace("_", " "))


def seconds(value: float | None) -> str:
    """A duration as a person reads it."""
    if value is None:
        return ""
    if value >= 60:
        return f"{int(value // 60)} min {int(value % 60)} s"
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"


def moment(text: str) -> str:
    """A time as a person reads it."""
    return timeline.instant(text).strftime("%Y-%m-%d %H:%M:%S UTC")
