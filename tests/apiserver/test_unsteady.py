# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server that fails every now and then, to our client and to helm: Istio is installed all the same.

tests/cluster/test_unsteady.py has the same with traffic; here it takes seconds.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cluster.testcluster import TestCluster
from harness.in_process import Mesh
from harness.passage import CONTEXT
from harness.unsteady import FAULTS, Unsteady


@pytest.mark.parametrize("kind", FAULTS)
def test_first_installation(kind: str, install: TestCluster, tmp_path: Path, seed: int) -> None:
    """Each kind of fault, at two requests in a hundred; then a run without faults finds nothing left to do.

    Helm sends about a hundred for istiod, and tries none of them twice: more faults stop it more often than once.
    """
    install.wipe()
    mesh = Mesh(install, gateways=[{"name": "istio-ingressgateway"}])
    with Unsteady(install.kubeconfig, tmp_path, (kind,), 2, seed) as way:
        mesh.run(kubeconfig=str(way.kubeconfig), context=CONTEXT)
    print(way.counted)
    assert way.counted[kind] > 0, way.counted
    assert mesh.written() == []
    status = install.tool("helm", "list", "--namespace=istio-system", "--short", "--deployed").split()
    assert sorted(status) == ["istio-base", "istio-ingressgateway", "istiod"]


@pytest.mark.parametrize("kind", ["500", "lost", "unheard"])
def test_that_does_not_pass(kind: str, install: TestCluster, tmp_path: Path, seed: int) -> None:
    """At one request in three helm cannot do it: the run says what stopped helm, and the next one goes on."""
    install.wipe()
    mesh = Mesh(install, gateways=[{"name": "istio-ingressgateway"}])
    with Unsteady(install.kubeconfig, tmp_path, (kind,), 33, seed) as way:
        results = mesh.tried(kubeconfig=str(way.kubeconfig), context=CONTEXT)
    failed = [result for result in results if result.get("failed")]
    assert failed, way.counted
    assert re.search(r"request timed out|EOF|cannot be reached|answered 500", failed[-1]["msg"]), failed[-1]["msg"]
    mesh.run()
    assert mesh.written() == []
