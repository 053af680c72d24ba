#!/usr/bin/env python3
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight costs on a large cluster, beside an empty one: seconds, reads, access reviews and memory.

The cluster is a control plane alone. It is measured empty, then filled with namespaces, pods and Services, and measured
again, each time by new processes. Ends with 1 where a limit is exceeded; writes build/bench-preflight.json.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "collections")]

NAME = "bench-preflight"
RESULT = ROOT / "build/bench-preflight.json"
NAMESPACES, PODS, SERVICES, DEPLOYMENTS = 200, 2000, 1000, 400
ROUNDS = 3
#: What a pod of today carries that no rule looks at.
BALLAST = {"example.com/ballast": "x" * 3000}
#: Limits: seconds more than on the empty cluster, reads, and MiB.
MORE_SECONDS, MOST_READS, MOST_MEMORY = 3.0, 30, 250


@dataclass
class Figures:
    """Of one run.

    :ivar float seconds: of the task, without the process's imports
    :ivar int reads: requests that read; a page is one
    :ivar int reviews: access reviews
    :ivar float memory: the process's peak, in MiB, Ansible's validation and all imports included
    """

    seconds: float
    reads: int
    reviews: int
    writes: int
    memory: float
    findings: int


def once(variables: Path) -> None:
    """In a process of its own: run preflight and print seconds, MiB and the number of findings."""
    import yaml
    from harness.in_process import options_of, run_preflight

    known = yaml.safe_load(variables.read_text())
    options = {**options_of(known), "values": known["istio_helm_values"], "ignore": ["load-balancer-missing"]}
    began = time.monotonic()
    result, _task = run_preflight({**options, "application_namespaces": ["liveness"]})
    seconds = time.monotonic() - began
    if result.get("failed"):
        raise SystemExit(result["msg"])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "memory": memory, "findings": len(result["findings"])}))


def measure(cluster: Any, variables: Path) -> Figures:
    """The median of some runs; counts are of the last."""
    from ansible_collections.meshops.istio.plugins.module_utils.cluster.transport import USER_AGENT

    runs, count = [], None
    for _round in range(ROUNDS):
        mark = cluster.audit.mark()
        command = [sys.executable, str(Path(__file__)), "--once", str(variables)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        runs.append(json.loads(done.stdout))
        count = cluster.audit.count(mark, user_agent=USER_AGENT)
    seconds = statistics.median(run["seconds"] for run in runs)
    memory = max(run["memory"] for run in runs)
    figures = Figures(seconds, count.reads, count.reviews, count.writes, memory, runs[-1]["findings"])
    figures.seconds, figures.memory = round(figures.seconds, 2), round(figures.memory, 1)
    return figures


def objects() -> list[list[dict[str, Any]]]:
    """What the cluster is filled with, in rounds: every second namespace is in the mesh, every tenth port misnamed."""
    names = [f"team-{number:03d}" for number in range(NAMESPACES)]
    meshed = {"istio-injection": "enabled"}
    spaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {} if number % 2 else meshed}}
        for number, name in enumerate(names)
    ]
    resources = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
    ports = [{"name": "web", "containerPort": 8080}]
    containers = [{"name": name, "image": name, "resources": resources, "ports": ports} for name in ("app", "helper")]
    # Nobody schedules them, so that neither controllers nor kwok are at work while we measure.
    pod_spec = {"containers": containers, "schedulerName": "nobody", "serviceAccountName": "default"}
    pod_spec["automountServiceAccountToken"] = False
    rest: list[dict[str, Any]] = []
    for number in range(PODS):
        labels = {"app": f"app-{number % 1000}", "version": "v1"}
        meta = {"name": f"pod-{number}", "namespace": names[number % NAMESPACES], "labels": labels}
        rest.append({"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "annotations": BALLAST}, "spec": pod_spec})
    for number in range(SERVICES):
        meta = {"name": f"service-{number}", "namespace": names[number % NAMESPACES]}
        port = {"name": "http-web" if number % 10 else "web", "port": 80, "targetPort": "web"}
        spec = {"selector": {"app": f"app-{number}"}, "ports": [port]}
        rest.append({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    for number in range(DEPLOYMENTS):
        labels = {"app": f"deployed-{number}", "version": "v1"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        meta = {"name": f"deployed-{number}", "namespace": names[number % NAMESPACES]}
        rest.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
    return [spaces, rest]


def fill(cluster: Any) -> float:
    """Create all of it by parallel requests. :returns: the seconds that it took"""
    from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster

    client = Cluster({"kubeconfig": str(cluster.kubeconfig), "context": cluster.variables["istio_context"]})
    began = time.monotonic()
    with ThreadPoolExecutor(max_workers=16) as pool:
        for some in objects():
            list(pool.map(client.create, some))
            if some[0]["kind"] == "Namespace":  # each needs its default account before a pod can be created
                accounts = ("serviceaccounts", "--all-namespaces", "--field-selector=metadata.name=default")
                while len(cluster.get(*accounts)["items"]) < NAMESPACES:
                    time.sleep(0.5)
    return time.monotonic() - began


def exceeded(empty: Figures, full: Figures) -> list[str]:
    """The limits that were not kept, in words."""
    found = []
    if full.seconds - empty.seconds > MORE_SECONDS:
        found.append(f"{full.seconds - empty.seconds:.1f} s more than on an empty cluster; the limit is {MORE_SECONDS}")
    if full.reads > MOST_READS:
        found.append(f"{full.reads} reads; the limit is {MOST_READS}")
    if full.memory > MOST_MEMORY:
        found.append(f"{full.memory} MiB; the limit is {MOST_MEMORY}")
    if full.writes or empty.writes:
        found.append("it wrote")
    return found


def compare() -> tuple[Figures, Figures]:
    """Make a cluster, measure it empty and full, and take it down. :returns: both figures"""
    from harness.beds import BedCluster, bed_command

    made = bed_command("up", "--control-plane", "--name", NAME)
    if made.returncode:
        raise SystemExit(made.stderr)
    folder = ROOT / "build/testbed" / NAME
    try:
        with tempfile.TemporaryDirectory() as home:
            cluster = BedCluster(folder / "kubeconfig", folder / "vars.yml", Path(home))
            empty = measure(cluster, folder / "vars.yml")
            seconds = fill(cluster)
            print(f"filled in {seconds:.0f} s", file=sys.stderr)
            full = measure(cluster, folder / "vars.yml")
    finally:
        bed_command("down", "--name", NAME)
    RESULT.write_text(json.dumps({"empty": asdict(empty), "full": asdict(full)}, indent=2) + "\n")
    return empty, full


def main() -> int:
    """Print the table; 1 where a limit was exceeded."""
    if sys.argv[1:2] == ["--once"]:
        once(Path(sys.argv[2]))
        return 0
    empty, full = compare()
    print(f"{'':10} {'empty':>8} {'full':>8}   ({NAMESPACES} namespaces, {PODS} pods, {SERVICES} Services)")
    for name, value in asdict(empty).items():
        print(f"{name:10} {value:>8} {getattr(full, name):>8}")
    faults = exceeded(empty, full)
    print("\n".join(faults) or "within the limits")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
