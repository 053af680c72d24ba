# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The support table holds together, and versions are read as clusters and helm write them."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from ansible_collections.meshops.istio.plugins.module_utils.mesh import versions
from ansible_collections.meshops.istio.plugins.module_utils.mesh.versions import (
    HELM_NEWEST_MAJOR,
    HELM_OLDEST,
    KUBERNETES_FOR_ISTIO,
    KubernetesRange,
    helm_supported,
    kubernetes_minor,
    minor_of,
)

ROOT = Path(__file__).resolve().parents[5]
ISTIO_MINORS = [tuple(map(int, istio.split("."))) for istio in KUBERNETES_FOR_ISTIO]


def test_istio_minors_have_no_gaps() -> None:
    """A minor that was forgotten would be called unknown."""
    newest = ISTIO_MINORS[-1]
    expected = [(newest[0], newest[1] - older) for older in reversed(range(len(ISTIO_MINORS)))]
    assert expected == ISTIO_MINORS


@pytest.mark.parametrize("istio", KUBERNETES_FOR_ISTIO)
def test_keys_are_as_versions_are_shortened(istio: str) -> None:
    """Else a row would never be found."""
    assert re.fullmatch(r"\d+\.\d+", istio)
    assert minor_of(f"{istio}.0") == istio


@pytest.mark.parametrize("istio", KUBERNETES_FOR_ISTIO)
def test_ranges_are_about_as_wide_as_istios(istio: str) -> None:
    """Istio supports four or more minors of Kubernetes; a range turned round or mistyped does not fit."""
    lowest, highest = KUBERNETES_FOR_ISTIO[istio]
    assert 4 <= highest - lowest + 1 <= 8
    assert lowest >= 20


def test_ranges_only_move_on() -> None:
    """No newer Istio supports an older Kubernetes than the one before, or ends before it."""
    ranges = list(KUBERNETES_FOR_ISTIO.values())
    for older, newer in pairwise(ranges):
        assert older.lowest <= newer.lowest <= older.lowest + 1
        assert older.highest <= newer.highest <= older.highest + 1


@pytest.mark.parametrize(
    ("istio", "expected"),
    [
        ("1.16", KubernetesRange(lowest=22, highest=25)),
        ("1.24", KubernetesRange(lowest=28, highest=31)),
        ("1.25", KubernetesRange(lowest=28, highest=32)),
        ("1.30", KubernetesRange(lowest=32, highest=36)),
        ("1.31", KubernetesRange(lowest=32, highest=37)),
    ],
)
def test_ranges_of_istio(istio: str, expected: KubernetesRange) -> None:
    """As Istio's announcements say, and our own tests."""
    assert KUBERNETES_FOR_ISTIO[istio] == expected


def test_default_version_of_istio_is_known() -> None:
    """What the role installs by default is the newest that we know."""
    defaults = yaml.safe_load((ROOT / "roles/mesh_options/defaults/main.yml").read_text())
    assert minor_of(defaults["istio_helm_chart_version"]) == list(KUBERNETES_FOR_ISTIO)[-1]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.31.0", "1.31"),
        ("v1.31.0-beta.1", "1.31"),
        ("1.31", "1.31"),
        ("1.9.10", "1.9"),
        ("10.20.30", "10.20"),
        ("latest", "latest"),
        ("1", "1"),
        ("", ""),
        ("x1.31", "x1.31"),
    ],
)
def test_minor_of(version: str, expected: str) -> None:
    """Major and minor, or the text that is no version."""
    assert minor_of(version) == expected


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({"major": "1", "minor": "37"}, 37),
        ({"major": "1", "minor": "32+"}, 32),
        ({"major": "1", "minor": "9"}, 9),
        ({"minor": ""}, 0),
        ({"minor": "", "gitVersion": "v1.24.17"}, 24),
        ({"minor": "+"}, 0),
        ({}, 0),
    ],
)
def test_kubernetes_minor(server: dict[str, str], expected: int) -> None:
    """Providers add a plus; 0 stands for a minor that cannot be read."""
    assert kubernetes_minor(server) == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("3.17.0", True),
        ("3.16.9", False),
        ("3.9.0", False),
        ("3.100.0", True),
        ("2.17.0", False),
        ("4.0.0", True),
        ("4.3.1", True),
        ("4.0.0-rc.1", True),
        ("5.0.0", False),
        ("40.0.0", False),
        ("4", False),
        ("", False),
        ("v3.17.0", False),
    ],
)
def test_helm_supported(version: str, expected: bool) -> None:
    """From the first that can take objects over, to the newest major that is known; figures, not text, are compared."""
    assert (HELM_OLDEST, HELM_NEWEST_MAJOR) == ((3, 17), 4)
    assert helm_supported(version) is expected


@pytest.mark.parametrize(
    ("istio", "minor", "code"),
    [
        ("1.31.0", "32", None),
        ("1.31.0", "31", "kubernetes-too-old"),
        ("1.31.0", "38", "kubernetes-untested"),
        ("1.16.5", "24", None),
        ("1.16.5", "26", "kubernetes-untested"),
        ("1.99.0", "32", "istio-unknown"),
    ],
)
def test_findings_about_kubernetes(istio: str, minor: str, code: str | None) -> None:
    """By the table, at both of its ends."""
    found = versions.kubernetes_findings(istio, {"minor": minor, "gitVersion": f"v1.{minor}.0"}, "https://192.0.2.1")
    assert [finding.code for finding in found] == ([code] if code else [])


@pytest.mark.parametrize(
    ("version", "istio", "charts", "code"),
    [
        ("4.3.1", "1.31.0", {"istiod", "gateway"}, None),
        ("3.16.0", "1.31.0", {"istiod"}, "helm-unsupported"),
        ("4.3.1", "1.27.3", {"istiod", "gateway"}, "helm-unsupported"),
        ("4.3.1", "1.27.3", {"base", "istiod"}, None),
        ("3.19.0", "1.27.3", {"istiod", "gateway"}, None),
        ("4.3.1", "1.26.3", {"istiod", "gateway"}, None),
    ],
)
def test_findings_about_helm(version: str, istio: str, charts: set[str], code: str | None) -> None:
    """The gateway chart of 1.27 and Helm 4 do not go together; the chart's other versions and Helm 3 do."""
    found = versions.helm_findings("/usr/bin/helm", version, istio, charts)
    assert [finding.code for finding in found] == ([code] if code else [])


@pytest.mark.parametrize(
    ("version", "fires"), [("1.31.4", False), ("1.30.0", False), ("1.32.0", False), ("1.29.9", True), ("2.31.0", True)]
)
def test_findings_about_istioctl(version: str, fires: bool) -> None:
    """One minor apart is what Istio itself allows."""
    assert bool(versions.istioctl_findings("istioctl", version, "1.31.0")) is fires


def test_refusals_are_of_known_versions() -> None:
    """A row for a version that is not known would never be found."""
    assert {istio for istio, _major in versions.HELM_REFUSES} <= set(KUBERNETES_FOR_ISTIO)
