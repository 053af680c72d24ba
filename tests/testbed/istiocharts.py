# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Charts as chart repositories have them, out of the modules that hold the source: Istio's, and what goes with it."""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
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


def copy_chart(source: Path, target: Path, stamps: dict[str, dict[str, str]], version: str) -> None:
    """Copies a directory, its files stamped with ``version`` where ``stamps`` names them; none is copied as none."""
    for file in sorted(p for p in source.rglob("*") if p.is_file()):
        copied = target / file.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        if file.name in stamps:
            copied.write_text(stamp(file.read_text(), stamps[file.name], version))
        else:
            copied.write_bytes(file.read_bytes())


def charts(cache: Cache, starting=lambda: None, version: str = versions.ISTIO) -> Path:
    """A directory of Istio's charts as they are released, by their released names, with the addons and others beside.

    A chart that this Istio does not have yet is left out.
    """

    def copy(target: Path) -> None:
        module = gobuild.module_directory(cache.root, versions.ISTIO_MODULE, versions.ISTIO_COMMITS[version])
        for name, path in versions.CHARTS.items():
            copy_chart(module / path, target / name, versions.CHART_STAMPS, version)
        for name, path in versions.CHART_EXTRAS.items():
            copy_chart(module / path, target / name, {}, version)
        for name, (other, its_version, path) in versions.OTHER_CHARTS.items():
            module = gobuild.module_directory(cache.root, other, its_version)
            copy_chart(module / path, target / name, versions.OTHER_CHART_STAMPS, its_version)

    inputs = {
        "commit": versions.ISTIO_COMMITS[version],
        "version": version,
        "charts": versions.CHARTS | versions.CHART_EXTRAS,
        "stamps": versions.CHART_STAMPS,
        "others": [versions.OTHER_CHARTS, versions.OTHER_CHART_STAMPS],
        "code": Path(__file__),
    }
    return cache.get("charts", inputs, copy, starting)


def packages(cache: Cache, directory: Path) -> Path:
    """A directory with the charts of another as NAME-VERSION.tgz, as a repository hands them out; the rest as it is."""

    def pack(target: Path) -> None:
        for chart in sorted(directory.iterdir()):
            if not (chart / "Chart.yaml").exists():
                shutil.copytree(chart, target / chart.name)
                continue
            version = re.search(r"^version: *(\S+)", (chart / "Chart.yaml").read_text(), re.MULTILINE)[1]
            with (
                (target / f"{chart.name}-{version}.tgz").open("wb") as file,
                gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed,
                tarfile.open(fileobj=compressed, mode="w") as archive,
            ):
                archive.add(chart, chart.name, filter=anonymous)

    return cache.get("chart-packages", {"charts": directory.name, "code": Path(__file__)}, pack)


def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member that says nothing of who packed it, and when."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info
