# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Charts as they are released."""

from __future__ import annotations

import tarfile

from testbed import versions
from testbed.cache import Cache
from testbed.istiocharts import copy_chart, packages, stamp


def test_a_chart_gets_its_version():
    text = "name: base\n# version: 1.0.0 is never shipped\nversion: 1.0.0\nappVersion: 1.0.0\n"
    assert stamp(text, versions.CHART_STAMPS["Chart.yaml"], "1.31.0") == (
        "name: base\n# version: 1.0.0 is never shipped\nversion: 1.31.0\nappVersion: 1.31.0\n"
    )


def test_values_of_old_charts_get_their_hub():
    text = "global:\n  hub: gcr.io/istio-testing\n  tag: latest\n"
    assert stamp(text, versions.CHART_STAMPS["values.yaml"], "1.16.5") == (
        "global:\n  hub: docker.io/istio\n  tag: 1.16.5\n"
    )


def test_values_get_the_released_hub_and_tag():
    text = "global:\n  hub: registry.istio.io/testing\n  tag: latest\n  other: latest\n"
    assert stamp(text, versions.CHART_STAMPS["values.yaml"], "1.31.0") == (
        "global:\n  hub: docker.io/istio\n  tag: 1.31.0\n  other: latest\n"
    )


def test_charts_of_others_get_their_version(tmp_path):
    (tmp_path / "deploy/templates").mkdir(parents=True)
    (tmp_path / "deploy/Chart.yaml").write_text("name: cert-manager\nversion: v0.0.0\nappVersion: v0.0.0\n")
    (tmp_path / "deploy/templates/a.yaml").write_text("version: v0.0.0\n")
    copy_chart(tmp_path / "deploy", tmp_path / "copy", versions.OTHER_CHART_STAMPS, "v1.21.2")
    assert (tmp_path / "copy/Chart.yaml").read_text() == "name: cert-manager\nversion: v1.21.2\nappVersion: v1.21.2\n"
    assert (tmp_path / "copy/templates/a.yaml").read_text() == "version: v0.0.0\n"
    copy_chart(tmp_path / "no such directory", tmp_path / "none", {}, "v1")
    assert not (tmp_path / "none").exists()


def test_packages_are_named_and_laid_out_as_a_repository_s(tmp_path):
    for name, version in {"base": "1.31.0", "cert-manager": "v1.21.2"}.items():
        (tmp_path / "charts-1" / name / "templates").mkdir(parents=True)
        (tmp_path / "charts-1" / name / "Chart.yaml").write_text(f"name: {name}\nversion: {version}\n")
    (tmp_path / "charts-1/addons").mkdir()
    (tmp_path / "charts-1/addons/kiali.yaml").write_text("kind: List\n")
    packed = packages(Cache(tmp_path / "cache"), tmp_path / "charts-1")
    assert sorted(path.name for path in packed.iterdir()) == [
        "addons",
        "base-1.31.0.tgz",
        "cert-manager-v1.21.2.tgz",
    ]
    assert (packed / "addons/kiali.yaml").read_text() == "kind: List\n"
    with tarfile.open(packed / "base-1.31.0.tgz") as archive:
        assert archive.extractfile("base/Chart.yaml").read() == b"name: base\nversion: 1.31.0\n"
        assert {(info.uname, info.mtime) for info in archive} == {("", 0)}
