# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""The table of versions is whole."""

from __future__ import annotations

import re

import pytest
from testbed import gobuild, versions


def test_kubernetes_reports_its_version():
    variables = versions.kubernetes_link_variables("v1.37.2")
    assert variables["k8s.io/component-base/version.gitVersion"] == "v1.37.2"
    assert variables["k8s.io/component-base/version.gitMinor"] == "37"


@pytest.mark.parametrize("build", versions.BUILDS.values(), ids=lambda build: build.name)
def test_builds_are_pinned_and_have_their_source(build):
    if build.module:
        assert re.match(r"v\d+\.\d+\.\d+", build.version)
    if build.source:
        assert (gobuild.SOURCES / build.source / "main.go").is_file()
    assert build.programs


@pytest.mark.parametrize("wheel", [versions.ENVOY, versions.GO])
def test_wheels_are_pinned_by_hash(wheel):
    assert re.fullmatch("[0-9a-f]{64}", wheel.sha256)


def test_the_registry_image_is_pinned_by_digest():
    assert re.fullmatch(r"kindest/node:v\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", versions.KIND_NODE_IMAGE)


@pytest.mark.parametrize("version", versions.control_plane_versions())
def test_every_control_plane_has_its_programs_and_charts(version):
    build = versions.BUILDS[versions.control_plane_build(version)]
    assert build.version == version
    assert set(versions.CONTROL_PLANE_PROGRAMS) <= set(build.programs)
    assert versions.istio_for(version) in versions.ISTIO_COMMITS


def test_control_planes_are_listed_oldest_first():
    minors = [int(version.split(".")[1]) for version in versions.control_plane_versions()]
    assert minors == sorted(minors)
    assert versions.istio_for(versions.KUBERNETES) == versions.ISTIO
