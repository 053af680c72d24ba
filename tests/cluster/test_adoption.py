# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh of istioctl's becomes ours under traffic, and nobody who asks for the app notices."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

from cluster.testcluster import TestCluster

NODE_PORTS = {"http2": 30010, "https": 30011, "status-port": 30012}
#: Name, port and target port of istioctl's own gateway.
PORTS = (("status-port", 15021, 15021), ("http2", 80, 8080), ("https", 443, 8443))


def operator_file(variables: dict[str, Any]) -> dict[str, Any]:
    """What istioctl is told: the same images, values and node ports as the run that adopts."""
    ports = [
        {"name": name, "port": port, "targetPort": target, "nodePort": NODE_PORTS[name]} for name, port, target in PORTS
    ]
    istiod = variables.get("istio_helm_values", {}).get("istiod", {})
    values: dict[str, Any] = {"global": {"imagePullPolicy": variables["istio_helm_image_pull_policy"]}}
    values |= {"telemetry": istiod.get("telemetry", {}), "pilot": {"env": istiod.get("env", {})}}
    gateway = {
        "name": "istio-ingressgateway",
        "enabled": True,
        "k8s": {"service": {"type": "NodePort", "ports": ports}},
    }
    images = {"hub": variables.get("istio_helm_hub"), "tag": variables.get("istio_helm_tag")}
    spec = {"profile": "default", "components": {"ingressGateways": [gateway]}, "values": values}
    spec |= {key: value for key, value in images.items() if value}
    return {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec}


@contextlib.contextmanager
def asked_all_the_time(url: str) -> Iterator[Counter[str]]:
    """Ask for something five times a second while a block runs. Yields how often there was which answer."""
    answers: Counter[str] = Counter()
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.2):
            try:
                with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 - a URL of ours
                    answers[str(answer.status)] += 1
            except OSError as error:  # noqa: PERF203 - each request is one of its own
                answers[str(error)] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        done.set()
        thread.join()


def test_adoption_under_traffic(cluster: TestCluster) -> None:
    """200 before, during and after: the gateway's pods listen on istioctl's ports, and the Service still leads there.

    istioctl has put its tag `default` in the injector's place, which is activated again: a new pod has one sidecar.
    """
    cluster.wipe()
    path = cluster.home / "operator.json"
    path.write_text(json.dumps(operator_file(cluster.variables)))
    cluster.tool("istioctl", "install", "--skip-confirmation", "--filename", path)
    gateways = [{"name": "istio-ingressgateway", "node_ports": NODE_PORTS}]
    over = {"istio_helm_exposure": "NodePort", "istio_helm_gateways": gateways}
    cluster.site("--tags=psp_rbac,liveness_verify", **over).succeeded()
    address = cluster.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    with asked_all_the_time(f"http://{address}:{NODE_PORTS['http2']}/healthz") as answers:
        time.sleep(2)
        adopted = cluster.site(**over, istio_helm_adopt=True).succeeded()
        time.sleep(2)
    assert {step["action"] for step in adopted.of("istio_releases").data["releases"]} == {"install"}
    assert set(answers) == {"200"}
    assert answers["200"] > 50
    with cluster.asked() as asked:
        again = cluster.site(**over).succeeded()
    assert (again.changed, asked.writes) == ([], [])
    where = ("--namespace", "liveness")
    cluster.kubectl("rollout", "restart", "deployment/liveness", *where)
    cluster.kubectl("rollout", "status", "deployment/liveness", *where, "--timeout=120s")
    pods = cluster.get("pods", *where, "--selector=app=liveness")["items"]
    for spec in [pod["spec"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]:
        names = [each["name"] for each in spec["containers"] + spec.get("initContainers", [])]
        assert names.count("istio-proxy") == 1
