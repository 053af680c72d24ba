# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster for the tests of this folder: the one that is named, else one of their own.

They take Istio off the cluster and put it on again, so they want one of this checkout's test bed, and run in an order:
first what an empty cluster is for, then what shares one mesh, then what begins anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.testcluster import TestCluster
from harness.beds import bed_command
from harness.playbooks import ROOT

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
    "rights",
    "interrupted",
    "adoption",
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
    """Yield kubeconfig and variables of a cluster; one made here is taken down unless MESHOPS_KEEP_CLUSTER=1."""
    if "MESHOPS_TEST_KUBECONFIG" in os.environ and "MESHOPS_TEST_VARS" in os.environ:
        yield Path(os.environ["MESHOPS_TEST_KUBECONFIG"]), Path(os.environ["MESHOPS_TEST_VARS"])
        return
    folder = ROOT / "build/testbed" / NAME
    kubeconfig, variables = folder / "kubeconfig", folder / "vars.yml"
    made = bed_command("up", "--name", NAME, "--kubeconfig", kubeconfig, "--vars", variables)
    if made.returncode == 3:
        pytest.skip(
            f"MESHOPS_TEST_KUBECONFIG and MESHOPS_TEST_VARS name no cluster, and none can be made: {made.stderr}"
        )
    assert made.returncode == 0, made.stderr
    yield kubeconfig, variables
    if os.environ.get("MESHOPS_KEEP_CLUSTER") != "1":
        bed_command("down", "--name", NAME)


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
