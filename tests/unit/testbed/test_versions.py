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
