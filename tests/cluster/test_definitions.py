# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role crds alone, on a cluster that knows nothing of Istio, and helm after it (istio#43204, istio#60497)."""

from __future__ import annotations

import pytest
from cluster.testcluster import TestCluster

CRDS = "customresourcedefinitions"


@pytest.fixture(scope="module")
def applied(cluster: TestCluster) -> TestCluster:
    """Return the cluster after the role has run on it."""
    cluster.wipe()
    run = cluster.role("crds").succeeded()
    assert run.changed == ["meshops.istio.crds : Apply Istio CRDs"]
    return cluster


def test_a_second_run_writes_nothing(applied: TestCluster) -> None:
    """What is in place is not applied again."""
    with applied.asked() as asked:
        run = applied.role("crds").succeeded()
    assert (run.changed, asked.writes) == ([], [])


def test_plain_helm_adopts_them(applied: TestCluster) -> None:
    """A base release by helm's own command, without --force or --take-ownership, conflicts with nothing."""
    before = {crd["metadata"]["name"]: crd["metadata"]["uid"] for crd in applied.get(CRDS)["items"]}
    chart = f"{applied.variables['istio_helm_chart_repository']}/base"
    applied.tool("helm", "upgrade", "--install", "istio-base", chart, "--namespace=istio-system", "--create-namespace")
    assert {crd["metadata"]["name"]: crd["metadata"]["uid"] for crd in applied.get(CRDS)["items"]} == before


def test_the_role_does_not_fight_with_helm(applied: TestCluster) -> None:
    """After that release, the role finds its definitions as it wants them."""
    with applied.asked() as asked:
        run = applied.role("crds").succeeded()
    assert (run.changed, asked.writes) == ([], [])
