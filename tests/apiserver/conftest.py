# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API servers for the tests of this folder: control planes alone, each made when a test first asks for it.

MESHOPS_TEST_KUBERNETES=v1.34.4 makes those that are of today's Kubernetes of that version instead, and
MESHOPS_KEEP_CLUSTER=1 keeps all of them for the next run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.testcluster import TestCluster
from harness.beds import BedCluster, bed_command
from harness.in_process import Mesh
from harness.playbooks import ROOT
from testbed import versions

TODAY = os.environ.get("MESHOPS_TEST_KUBERNETES", versions.KUBERNETES)


#: Files whose tests install whole meshes, again and again.
LONG = (
    "adopt",
    "announced",
    "changed",
    "components",
    "connection",
    "killed",
    "preview",
    "restored",
    "taken_over",
    "threads",
    "two_runs",
    "unsteady",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.apiserver)
            if item.path.stem.removeprefix("test_") in LONG:
                item.add_marker(pytest.mark.long)


@contextlib.contextmanager
def bed(name: str, version: str, home: Path, *flags: str) -> Iterator[BedCluster]:
    """Yield a control plane alone; it is taken down unless MESHOPS_KEEP_CLUSTER=1."""
    name = f"api-{name}-{version.replace('.', '-')}"
    folder = ROOT / "build/testbed" / name
    made = bed_command("up", f"--control-plane={version}", "--name", name, *flags)
    try:
        assert made.returncode == 0, made.stderr
        yield BedCluster(folder / "kubeconfig", folder / "vars.yml", home)
    finally:
        if os.environ.get("MESHOPS_KEEP_CLUSTER") != "1":
            bed_command("down", "--name", name)


@pytest.fixture(scope="session")
def today(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield an API server of today, as it is by default."""
    with bed("today", TODAY, tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture(scope="session")
def psp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield one of the last Kubernetes with PodSecurityPolicy, its admission on."""
    with bed("psp", versions.PSP_KUBERNETES, tmp_path_factory.mktemp("home"), "--psp") as found:
        yield found


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield one of that Kubernetes with the admission off: it serves PodSecurityPolicy all the same."""
    with bed("served", versions.PSP_KUBERNETES, tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture(scope="session")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield one of today that enforces the level baseline where no label says otherwise."""
    with bed("hardened", TODAY, tmp_path_factory.mktemp("home"), "--pod-security=baseline") as found:
        yield found


@pytest.fixture(scope="session")
def openshift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield one of today that serves OpenShift's SecurityContextConstraints; nobody enforces them."""
    with bed("openshift", TODAY, tmp_path_factory.mktemp("home"), "--crd=securitycontextconstraints") as found:
        yield found


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield one of today on which Services of type LoadBalancer get a host name."""
    with bed("aws", TODAY, tmp_path_factory.mktemp("home"), "--load-balancer-hostname") as found:
        yield found


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    """Yield one of today on which Istio comes and goes: all that happens to objects, and no traffic."""
    with bed("install", TODAY, tmp_path_factory.mktemp("home")) as found:
        yield TestCluster(found.kubeconfig, found.kubeconfig.parent / "vars.yml", found.home)


@pytest.fixture(scope="module")
def mesh(install: TestCluster) -> Iterator[Mesh]:
    """Yield a mesh with one gateway and Istio CNI, installed anew."""
    install.wipe()
    found = Mesh(
        install,
        components=["base", "istiod", "cni"],
        gateways=[{"name": "istio-ingressgateway", "node_ports": {"http2": 30010}}],
    )
    found.run()
    yield found
    install.wipe()
