# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server that fails every now and then, to our client and to helm: Istio is installed all the same.

tests/cluster/test_unsteady.py has the same with traffic; here it takes seconds.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.testcluster import TestCluster
from harness.in_process import Mesh
from harness.passage import CONTEXT
from harness.unsteady import FAULTS, Unsteady


@pytest.mark.parametrize("kind", FAULTS)
def test_first_installation(kind: str, install: TestCluster, tmp_path: Path, seed: int) -> None:
    """Each kind of fault, at one request in twenty; then a run without faults finds nothing left to do."""
    install.wipe()
    mesh = Mesh(install, gateways=[{"name": "istio-ingressgateway"}])
    with Unsteady(install.kubeconfig, tmp_path, (kind,), 5, seed) as way:
        mesh.run(kubeconfig=str(way.kubeconfig), context=CONTEXT)
    assert way.counted[kind] > 2, way.counted
    assert mesh.written() == []
    status = install.tool("helm", "list", "--namespace=istio-system", "--short", "--deployed").split()
    assert sorted(status) == ["istio-base", "istio-ingressgateway", "istiod"]
