# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody deleted from an intact release is put back by the next run; the one after that has nothing to do."""

from __future__ import annotations

import threading

import pytest
from cluster.testcluster import TestCluster

#: A finalizer is what keeps an object that is being deleted.
HELD = "meshops.example.com/held"
LOST = {
    "a gateway's Deployment": ("deployment", "istio-ingressgateway"),
    "a gateway's Service": ("service", "istio-ingressgateway"),
    "istiod's ClusterRole": ("clusterrole", "istiod-clusterrole-istio-system"),
    # With it goes the application's VirtualService.
    "a definition": ("customresourcedefinition", "virtualservices.networking.istio.io"),
}


@pytest.mark.parametrize("what", LOST)
def test_it_is_restored(what: str, mesh: TestCluster) -> None:
    """The run says what was missing, ends with an answer through the mesh, and the next one changes nothing."""
    kind, name = LOST[what]
    mesh.kubectl("delete", kind, name, "--namespace=istio-system")
    repaired = mesh.site().succeeded()
    assert repaired.of("istio_liveness").data["evidence"]["status"] == 200
    assert mesh.get(kind, name, "--namespace=istio-system")["metadata"]["name"] == name
    assert [result.task for result in repaired.results if name in str(result.data)]
    with mesh.asked() as asked:
        again = mesh.site().succeeded()
    assert (again.changed, asked.writes) == ([], [])


def test_what_is_being_deleted_is_waited_for_and_made_anew(mesh: TestCluster) -> None:
    """A definition that somebody is deleting looks as it is wanted, and will be gone."""
    kind, name = "customresourcedefinition", "proxyconfigs.networking.istio.io"
    mesh.kubectl("patch", kind, name, "--type=merge", f'--patch={{"metadata": {{"finalizers": ["{HELD}"]}}}}')
    before = mesh.get(kind, name)["metadata"]["uid"]
    mesh.kubectl("delete", kind, name, "--wait=false")
    release = threading.Timer(
        5, mesh.kubectl, ["patch", kind, name, "--type=merge", '--patch={"metadata": {"finalizers": null}}']
    )
    release.start()
    run = mesh.role("crds").succeeded()
    release.join()
    assert run.of("istio_crds").data["objects"] == [f"CustomResourceDefinition {name}"]
    assert mesh.get(kind, name)["metadata"]["uid"] != before
