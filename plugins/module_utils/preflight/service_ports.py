# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide's recommendations on Services: ports named by their protocol, one protocol for each port of a pod. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.workloads import Workload
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding

#: What a port's name may begin with: Istio's pkg/config/protocol, the guide's five among them.
PROTOCOLS = frozenset(
    {"grpc", "grpc-web", "http", "http2", "http_proxy", "https", "mongo", "mysql", "redis", "tcp", "tls", "udp"}
)
#: Kubernetes' own values of ``appProtocol`` that Istio knows.
_STANDARD = {"kubernetes.io/h2c": "http2", "kubernetes.io/ws": "http", "kubernetes.io/wss": "https"}
#: Ports that Istio takes for plain TCP when nothing names their protocol: SMTP, DNS, MySQL, MongoDB.
_WELL_KNOWN = frozenset({25, 53, 3306, 27017})


def protocol(port: dict[str, Any]) -> str | None:
    """The protocol that Istio reads from a Service's port; None when it has to guess.

    ``appProtocol`` counts alone when it is there; else the name up to its first hyphen.
    """
    text = port.get("appProtocol") or port.get("name") or ""
    text = _STANDARD.get(text, text).lower()
    if text.startswith("grpc-web"):
        return "grpc-web"
    prefix = text.partition("-")[0]
    if prefix in PROTOCOLS:
        return prefix
    return "tcp" if port["port"] in _WELL_KNOWN else None


def _relevant(service: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Ports that Istio looks at: those of TCP, of Services that lead to pods."""
    if service["spec"].get("type") != "ExternalName":
        yield from (port for port in service["spec"].get("ports") or [] if port.get("protocol", "TCP") == "TCP")


def _where(service: dict[str, Any]) -> str:
    return f"Service {service['metadata']['namespace']}/{service['metadata']['name']}"


def name_findings(services: Iterable[dict[str, Any]]) -> list[Finding]:
    """One finding for each Service with ports whose protocol Istio has to guess."""
    findings = []
    for service in services:
        unnamed = [port for port in _relevant(service) if protocol(port) is None]
        if not unnamed:
            continue
        words = ", ".join(_described(port) for port in unnamed)
        message = f"{words} {'names' if len(unnamed) == 1 else 'name'} no protocol, so Istio guesses it."
        example = f"http-{unnamed[0]['name']}" if unnamed[0].get("name") else "http"
        fix = f"Name the port after its protocol, such as {example}, or set appProtocol."
        findings.append(Finding("port-unnamed", _where(service), message, fix))
    return findings


def _described(port: dict[str, Any]) -> str:
    text = f"port {port['port']}"
    if port.get("name"):
        text += f" ({port['name']})"
    return text + (f" with appProtocol {port['appProtocol']}" if port.get("appProtocol") else "")


def _target(port: dict[str, Any], workload: Workload) -> int | None:
    """The pod's port that a Service's port leads to; None when the pods have no port of that name."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    for candidate in workload.ports:
        if candidate.get("name") == target and candidate.get("protocol", "TCP") == "TCP":
            return candidate["containerPort"]
    return None


class _ByLabel:
    """Workloads of a namespace, found by a selector without looking at each."""

    def __init__(self, workloads: Iterable[Workload]) -> None:
        self._index: dict[tuple[str, str, str], list[Workload]] = defaultdict(list)
        for workload in workloads:
            for key, value in workload.labels.items():
                self._index[workload.namespace, key, value].append(workload)

    def select(self, namespace: str, selector: dict[str, str]) -> list[Workload]:
        """Those whose labels hold the whole selector."""
        lists = [self._index.get((namespace, key, value), []) for key, value in selector.items()]
        fewest = min(lists, key=len, default=[])
        return [workload for workload in fewest if selector.items() <= workload.labels.items()]


def conflict_findings(services: Iterable[dict[str, Any]], workloads: Iterable[Workload]) -> list[Finding]:
    """Findings about pods' ports to which Services give different protocols.

    Services that select no pod yet are compared with those of the same selector, as if there were such pods.
    """
    services = [service for service in services if service["spec"].get("selector")]
    index = _ByLabel(workloads)
    imagined: dict[str, Workload] = {}
    given: dict[tuple[str, str, int], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for service in services:
        namespace, selector = service["metadata"]["namespace"], service["spec"]["selector"]
        selected = index.select(namespace, selector)
        if not selected:
            key = f"pods {namespace}/{','.join(f'{name}={value}' for name, value in sorted(selector.items()))}"
            selected = [imagined.setdefault(key, Workload(namespace, "pods", key.partition("/")[2], selector))]
        for workload in selected:
            for port in _relevant(service):
                number, name = _target(port, workload), protocol(port)
                if number is not None and name is not None:
                    given[namespace, str(workload), number][name].append(service["metadata"]["name"])
    findings: dict[tuple, Finding] = {}
    for (namespace, workload, number), protocols in given.items():
        if len(protocols) > 1:
            words = " and ".join(
                f"{name} (Service {', '.join(sorted(set(callers)))})" for name, callers in sorted(protocols.items())
            )
            message = f"port {number} has conflicting protocols: {words}. Istio uses only one of them."
            fix = "Use one protocol for this port in all of these Services."
            findings.setdefault((namespace, words, number), Finding("port-conflict", workload, message, fix))
    return list(findings.values())
