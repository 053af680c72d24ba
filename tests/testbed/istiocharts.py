# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Istio's charts as its chart repository has them, out of the module that holds Istio's source."""

from __future__ import annotations

from pathlib import Path

from testbed import gobuild, versions
from testbed.cache import Cache


def stamp(text: str, stamps: dict[str, str], version: str) -> str:
    """``text`` with the release builder's replacements made, at the ends of lines only."""
    for old, new in stamps.items():
        text = "".join(
            line.replace(old, new.format(version=version)) if line.strip() == old else line
            for line in text.splitlines(keepends=True)
        )
    return text


def charts(cache: Cache, starting=lambda: None, version: str = versions.ISTIO) -> Path:
    """A directory of Istio's charts as they are released, by their released names, with the addons beside them.

    A chart that this Istio does not have yet is left out.
    """

    def copy(target: Path) -> None:
        module = gobuild.module_directory(cache.root, versions.ISTIO_MODULE, versions.ISTIO_COMMITS[version])
        for name, path in (versions.CHARTS | versions.CHART_EXTRAS).items():
            for file in sorted(p for p in (module / path).rglob("*") if p.is_file()):
                copied = target / name / file.relative_to(module / path)
                copied.parent.mkdir(parents=True, exist_ok=True)
                stamps = versions.CHART_STAMPS.get(file.name) if name in versions.CHARTS else None
                if stamps:
                    copied.write_text(stamp(file.read_text(), stamps, version))
                else:
                    copied.write_bytes(file.read_bytes())

    inputs = {
        "commit": versions.ISTIO_COMMITS[version],
        "version": version,
        "charts": versions.CHARTS | versions.CHART_EXTRAS,
        "stamps": versions.CHART_STAMPS,
        "code": Path(__file__),
    }
    return cache.get("charts", inputs, copy, starting)
