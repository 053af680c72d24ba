# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Input that cannot lead to a mesh stops site.yml before its first write, with one message about it and the fix."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cluster.testcluster import TestCluster

INGRESS, EGRESS = "istio-ingressgateway", "istio-egressgateway"


def pinned(*ports: int) -> list[dict[str, Any]]:
    """Gateways that pin their http2 ports."""
    return [{"name": name, "node_ports": {"http2": port}} for name, port in zip((INGRESS, EGRESS), ports, strict=False)]


@dataclass(frozen=True)
class Bad:
    """One bad input.

    :ivar tuple named: what the message must hold: the variable or object, the cause, the fix
    """

    variables: dict[str, Any]
    named: tuple[str, ...]
    environ: dict[str, str] = field(default_factory=dict)


#: Placeholders are filled in from fixture `places`.
CASES = {
    "nothing listens": Bad(
        {"istio_kubeconfig": None, "istio_context": None},
        ("[api-unreachable]", "{dead}", "Fix: "),
        {"K8S_AUTH_HOST": "{dead}", "K8S_AUTH_API_KEY": "nobody", "K8S_AUTH_VERIFY_SSL": "False"},
    ),
    "no such kubeconfig": Bad(
        {"istio_kubeconfig": "{home}/nowhere", "istio_context": None}, ("kubeconfig", "{home}/nowhere", "Fix: ")
    ),
    "no such context": Bad({"istio_context": "nowhere"}, ("nowhere", "context", "Fix: ")),
    "a bogus token": Bad(
        {"istio_kubeconfig": None, "istio_context": None},
        ("[api-unauthorized]", "401", "Renew the credentials"),
        {"K8S_AUTH_HOST": "{server}", "K8S_AUTH_API_KEY": "bogus", "K8S_AUTH_SSL_CA_CERT": "{ca}"},
    ),
    "a CA of somebody else": Bad(
        {"istio_kubeconfig": None, "istio_context": None},
        ("[api-unreachable]", "is not trusted", "ca_cert"),
        {"K8S_AUTH_HOST": "{server}", "K8S_AUTH_API_KEY": "bogus"},
    ),
    "an account with few rights": Bad(
        {"istio_kubeconfig": None, "istio_context": None},
        (
            "[right-missing]",
            "customresourcedefinitions.apiextensions.k8s.io",
            "namespace istio-system",
            "docs/rbac.yml",
        ),
        {"K8S_AUTH_HOST": "{server}", "K8S_AUTH_API_KEY": "{weak}", "K8S_AUTH_SSL_CA_CERT": "{ca}"},
    ),
    "a certificate that is not checked": Bad(
        {"istio_kubeconfig": "{insecure}"}, ("[tls-unverified]", "{server}", "ca_cert", "preflight_ignore")
    ),
    "no helm": Bad(
        {"istio_helm_helm_binary": "{home}/no-helm"},
        ("[helm-missing]", "{home}/no-helm", "Set istio_helm_helm_binary"),
    ),
    "an old helm": Bad(
        {"istio_helm_helm_binary": "{old_helm}"},
        ("[helm-unsupported]", "{old_helm}", "3.10.0", "istio_helm_helm_binary"),
    ),
    "an unknown exposure": Bad(
        {"istio_helm_exposure": "Ingress"}, ("istio_helm_exposure", "LoadBalancer, NodePort", "Ingress")
    ),
    "a node port out of range": Bad(
        {"istio_helm_gateways": pinned(80)},
        ("[node-port-out-of-range]", f"gateway {INGRESS}, port http2", "30000-32767", "istio_helm_gateways"),
    ),
    "a node port of another Service": Bad(
        {"istio_helm_gateways": pinned(31999)},
        ("[node-port-taken]", "31999", "Service meshops-accounts/holder", "istio_helm_gateways"),
    ),
    "a node port pinned twice": Bad(
        {"istio_helm_gateways": pinned(30010, 30010)}, ("30010 is pinned twice", INGRESS, EGRESS, "istio_helm_gateways")
    ),
    "a node port of no port": Bad(
        {"istio_helm_gateways": [{"name": INGRESS, "node_ports": {"http": 30010}}]},
        (f"{INGRESS}: node_ports: http", "http2"),
    ),
    "values for nothing": Bad({"istio_helm_values": {"pilot": {"a": 1}}}, ("values", "pilot", "istiod")),
    "a chart version that is not there": Bad(
        {"istio_helm_chart_version": "1.2.3"}, ("[chart-missing]", "1.2.3", "istio_helm_chart_version")
    ),
    "a chart directory that is not there": Bad(
        {"istio_helm_chart_repository": "{home}/charts"},
        ("[chart-missing]", "{home}/charts", "istio_helm_chart_repository"),
    ),
    "preflight: a wrong type": Bad({"preflight_ignore": {"a": 1}}, ("preflight_ignore", "list")),
    "psp_rbac: a wrong type": Bad({"psp_rbac_force": "perhaps"}, ("psp_rbac_force", "bool")),
    "crds: a wrong type": Bad({"crds_wait_timeout": "soon"}, ("crds_wait_timeout", "int")),
    "istio_helm: a wrong type": Bad({"istio_helm_wait_timeout": "soon"}, ("istio_helm_wait_timeout", "int")),
    "liveness_verify: a wrong type": Bad({"liveness_verify_successes": "few"}, ("liveness_verify_successes", "int")),
}


@pytest.fixture(scope="module")
def places(cluster: TestCluster) -> Iterator[dict[str, str]]:
    """Yield what the cases' placeholders stand for."""
    old_helm = cluster.home / "old-helm"
    old_helm.write_text("#!/bin/sh\necho v3.10.0\n")
    old_helm.chmod(0o755)
    insecure = cluster.home / "insecure"
    insecure.write_text(_without_ca(cluster.kubeconfig))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"https://127.0.0.1:{probe.getsockname()[1]}"
    weak = cluster.account("weak")
    spec = {"type": "NodePort", "ports": [{"name": "web", "port": 80, "nodePort": 31999}]}
    holder = {"name": "holder", "namespace": "meshops-accounts"}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": holder, "spec": spec})
    yield {
        "home": str(cluster.home),
        "dead": dead,
        "server": cluster.server,
        "ca": str(cluster.ca),
        "weak": weak,
        "old_helm": str(old_helm),
        "insecure": str(insecure),
    }
    cluster.kubectl("delete", "service", "holder", "--namespace", "meshops-accounts")


def _without_ca(kubeconfig: Path) -> str:
    """The same access, with nobody checking whom one talks to."""
    lines = kubeconfig.read_text().splitlines()
    return "\n".join(
        line.partition("certificate-authority-data")[0] + "insecure-skip-tls-verify: true"
        if "certificate-authority-data" in line
        else line
        for line in lines
    )


def filled(value: Any, places: dict[str, str]) -> Any:
    """A value with its placeholders replaced."""
    return value.format_map(places) if isinstance(value, str) else value


@pytest.mark.parametrize("name", CASES)
def test_it_is_named_before_anything_is_written(name: str, cluster: TestCluster, places: dict[str, str]) -> None:
    """One failed task, its message holds what is wrong and what to do, and nothing was asked to be written."""
    case = CASES[name]
    variables = {key: filled(value, places) for key, value in case.variables.items()}
    environ = {key: filled(value, places) for key, value in case.environ.items()}
    with cluster.asked() as asked, cluster.asked(user="system:serviceaccount:meshops-accounts:weak") as of_weak:
        run = cluster.site(environ=environ, **variables)
    assert run.code != 0
    assert [words for words in case.named if filled(words, places) not in run.message] == [], run.message
    assert (asked.writes, of_weak.writes) == ([], [])


def test_an_unchecked_certificate_can_be_accepted(cluster: TestCluster, places: dict[str, str]) -> None:
    """The message's second way out is one."""
    run = cluster.site(
        "--tags=preflight", istio_kubeconfig=places["insecure"], preflight_ignore=["tls-unverified"]
    ).succeeded()
    assert "tls-unverified" not in [finding["code"] for finding in run.of("istio_preflight_info").data["findings"]]
