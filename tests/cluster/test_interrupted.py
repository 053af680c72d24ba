# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed while helm writes does no lasting harm."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from cluster.testcluster import TestCluster
from harness.playbooks import SITE, kill, signal_all


def ours(temporary: Path) -> list[str]:
    """What a run put into the temporary directory under our name."""
    return sorted(path.name for path in temporary.glob("meshops-istio-*"))


def pending(cluster: TestCluster) -> list[str]:
    """Releases that Helm's records say are being written."""
    secrets = cluster.get("secrets", "--namespace=istio-system", "--selector=owner=helm")["items"]
    labels = [secret["metadata"]["labels"] for secret in secrets]
    return [label["name"] for label in labels if label["status"].startswith("pending-")]


def killed_in_the_middle(cluster: TestCluster, environ: dict[str, str], folder: Path) -> list[str]:
    """Start site.yml, and kill it with all its children while a release is pending. :returns: the pending releases"""
    run = cluster.playbook(SITE, environ=environ, istio_kubeconfig=None, istio_context=None).start(folder)
    deadline = time.monotonic() + 120
    try:
        while time.monotonic() < deadline and run.poll() is None:
            signal_all(run, signal.SIGSTOP)  # else it could end between the look and the kill
            found = pending(cluster)
            if found:
                return found
            signal_all(run, signal.SIGCONT)
            time.sleep(0.2)
    finally:
        kill(run)
    raise AssertionError(f"the run ended before it could be killed: {run.stdout.read() if run.stdout else ''}")


def test_the_next_run_ends_well(cluster: TestCluster, tmp_path: Path) -> None:
    """It recovers what was pending, answers, leaves no Lease and no file, not even the killed one's kubeconfig."""
    cluster.wipe()
    temporary = cluster.home / "tmp"
    credential = cluster.credential(cluster.token(*admin(cluster)))
    left = killed_in_the_middle(cluster, credential, tmp_path)
    assert pending(cluster) == left
    assert [name for name in ours(temporary) if (temporary / name / "kubeconfig").exists()]
    again = cluster.site(environ=credential, istio_kubeconfig=None, istio_context=None).succeeded()
    actions = {step["name"]: step["action"] for step in again.of("istio_releases").data["releases"]}
    assert {actions[name] for name in left} == {"recover"}
    assert again.of("istio_liveness").data["evidence"]["status"] == 200
    assert pending(cluster) == []
    assert ours(temporary) == []
    assert "meshops-istio" not in cluster.kubectl("get", "leases", "--namespace=istio-system", "--output=name")
    with cluster.asked() as asked:
        third = cluster.site(environ=credential, istio_kubeconfig=None, istio_context=None).succeeded()
    assert (third.changed, asked.writes) == ([], [])


def admin(cluster: TestCluster) -> tuple[str, str]:
    """Make a ServiceAccount that may do everything. :returns: its namespace and name"""
    cluster.account("admin")
    subject = {"kind": "ServiceAccount", "name": "admin", "namespace": "meshops-accounts"}
    cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "meshops-accounts-admin"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [subject],
        }
    )
    return "meshops-accounts", "admin"
