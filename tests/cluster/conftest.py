# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster for the tests of this folder: the one that is named, else one of their own.

They take Istio off the cluster and put it on again, so they want one of this checkout's test bed, and run in an order:
first what an empty cluster is for, then what shares one mesh, then what begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.testcluster import TestCluster
from harness.beds import kind_bed

ORDER = (
    "bad_input",
    "definitions",
    "announced",
    "site",
    "contract",
    "repair",
    "mesh",
    "injection",
    "app",
    "proof",
    "rights",
    "interrupted",
    "adoption",
    "unsteady",
)
NAME = "meshops-test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder, and put its files into their order."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.cluster)
    places = [index for index, item in enumerate(items) if item in here]
    here.sort(key=lambda item: ORDER.index(item.path.stem.removeprefix("test_")))
    for index, item in zip(places, here, strict=True):
        items[index] = item


@pytest.fixture(scope="session")
def named_cluster() -> Iterator[tuple[Path, Path]]:
    """Yield kubeconfig and variables of a cluster."""
    with kind_bed(NAME) as found:
        yield found


@pytest.fixture(scope="session")
def cluster(named_cluster: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> TestCluster:
    """Return the cluster, with nothing of Istio on it."""
    found = TestCluster(*named_cluster, tmp_path_factory.mktemp("home"))
    found.wipe()
    return found


@pytest.fixture
def mesh(cluster: TestCluster) -> TestCluster:
    """Return the cluster with Istio on it, as site.yml installs it."""
    cluster.ensure_mesh()
    return cluster
