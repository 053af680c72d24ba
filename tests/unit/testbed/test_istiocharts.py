# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Charts as they are released."""

from __future__ import annotations

from testbed import versions
from testbed.istiocharts import stamp


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
        "global:\n  hub: registry.istio.io/release\n  tag: 1.31.0\n  other: latest\n"
    )
