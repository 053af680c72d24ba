# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters for the faults: a kind cluster with a real mesh where traffic matters, control planes alone otherwise.

MESHOPS_TEST_KUBECONFIG and MESHOPS_TEST_VARS name a kind cluster of the test bed to use; MESHOPS_KEEP_CLUSTER=1 keeps
those that are made here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apiserver.conftest import TODAY, bed
from cluster.testcluster import TestCluster
from faults.fault import ROWS, STOPPED
from harness.beds import BedCluster, kind_bed
from harness.in_process import Mesh
from testbed import versions

NAME = "meshops-faults"
GATEWAYS = [{"name": "istio-ingressgateway", "node_ports": {"http2": 30010, "https": 30011}}]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            kind = "cluster" if item.path.stem == "test_traffic" else "apiserver"
            item.add_marker(getattr(pytest.mark, kind))
            item.add_marker(pytest.mark.long)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    for code, seconds in STOPPED:
        terminalreporter.write_line(f"a failing run stopped {seconds:.1f} s after its cause was to be seen: {code}")
    if not ROWS:
        return
    widths = [max(len(getattr(row, name)) for row in ROWS) for name in ("name", "bed", "expected", "found")]
    form = "{:<%d}  {:<%d}  {:<%d}  {:<%d}  {:<6}  {:>7}" % tuple(max(width, 8) for width in widths)
    terminalreporter.section("faults")
    terminalreporter.write_line(form.format("fault", "bed", "expected", "found", "silent", "seconds"))
    for row in ROWS:
        line = form.format(row.name, row.bed, row.expected, row.found, row.silent, f"{row.seconds:.1f}")
        terminalreporter.write_line(line)
    right = [row for row in ROWS if row.found == row.expected]
    silent = [row for row in ROWS if row.silent == "yes"]
    terminalreporter.write_line(f"{len(ROWS)} faults, {len(right)} named, {len(silent)} near-misses silent")


def injector(bundle: str) -> dict[str, Any]:
    """Istio's own webhooks, with the selectors of its chart. They are never called, as no istiod runs here."""

    def webhook(name: str, namespaces: list[dict[str, Any]], pods: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "name": f"{name}.sidecar-injector.istio.io",
            "clientConfig": {
                "service": {"name": "istiod", "namespace": "istio-system", "path": "/inject"},
                "caBundle": bundle,
            },
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "namespaceSelector": {"matchExpressions": namespaces},
            "objectSelector": {"matchExpressions": pods},
            "matchConditions": [{"name": "never", "expression": "false"}],
        }

    def rule(key: str, operator: str, *values: str) -> dict[str, Any]:
        return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}

    wanted = rule("sidecar.istio.io/inject", "NotIn", "false")
    unlabelled = [rule("istio-injection", "DoesNotExist"), rule("istio.io/rev", "DoesNotExist")]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "istio-sidecar-injector", "labels": {"istio.io/rev": "default"}},
        "webhooks": [
            webhook(
                "rev.namespace",
                [rule("istio.io/rev", "In", "default"), rule("istio-injection", "DoesNotExist")],
                [wanted],
            ),
            webhook("namespace", [rule("istio-injection", "In", "enabled")], [wanted]),
            webhook("object", unlabelled, [rule("sidecar.istio.io/inject", "In", "true")]),
        ],
    }


@pytest.fixture(scope="session")
def today(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield a control plane alone of today with Istio's objects on it, of which no pod really runs."""
    with bed("faults", TODAY, tmp_path_factory.mktemp("home")) as found:
        Mesh(found, gateways=GATEWAYS).run()
        authority = found.ca.read_text()
        published = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "istio-ca-root-cert", "namespace": "istio-system"},
            "data": {"root-cert.pem": authority},
        }
        found.apply(published, injector(base64.b64encode(authority.encode()).decode()))
        yield found


@pytest.fixture(scope="session")
def psp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield one of the last Kubernetes with PodSecurityPolicy, its admission on, and nothing of Istio."""
    with bed("faults-psp", versions.PSP_KUBERNETES, tmp_path_factory.mktemp("home"), "--psp") as found:
        yield found


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    """Yield a kind cluster with Istio on it."""
    with kind_bed(NAME) as (kubeconfig, variables):
        found = TestCluster(kubeconfig, variables, tmp_path_factory.mktemp("home"))
        found.ensure_mesh()
        yield found
