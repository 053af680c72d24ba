#!/usr/bin/env python3
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure our playbook against istioctl on one kind cluster, in turns, and write build/bench.json.

Both bring an empty cluster to an app that answers 200 through the ingress gateway, and then run again with nothing to
do. Both install istiod, an ingress and an egress gateway with the same node ports, from the same images, and the same
app. A round is one of each, in alternating order; the figures are medians over the rounds, the ratios medians of each
round's ratio. What a user's machine keeps from run to run (our cache of rendered charts, kubectl's of kinds, the node's
images) is warm from the second sample on, the warm-up round's being the first.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent)] + [p for p in sys.path if Path(p or ".").resolve() != HERE]

from testbed import audit, bed, cluster, process  # noqa: E402
from testbed.errors import BedError  # noqa: E402

from bench import answers, empty, timeline  # noqa: E402
from bench.contenders import CONTENDERS, ROOT, Place, forget_foreign_environment, program  # noqa: E402
from bench.figures import FRESH, ISTIOCTL, OURS, RERUN, Sample, figures, pick, ratios, table, typical  # noqa: E402

CLUSTER = "meshops-bench"
RESULT = ROOT / "build/bench.json"
DIRECTORY = ROOT / "build/bench"


def testbed(*arguments: str | Path) -> None:
    """Call the test bed, with its output on ours, and let it end in order when we are interrupted.

    :raises BedError: it fails
    """
    command = [sys.executable, str(ROOT / "tests/testbed"), *map(str, arguments)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, process_group=0)
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise
    if code:
        raise BedError(f"the test bed ended with code {code}")


def prepare(place: Place) -> None:
    """Make the cluster and write what the contenders read."""
    shutil.rmtree(place.directory, ignore_errors=True)
    for directory in (place.directory / "logs", place.vars_file.parent):
        directory.mkdir(parents=True)
    testbed("up", "--name", CLUSTER, "--kubeconfig", place.kubeconfig, "--vars", place.vars_file)
    place.write_inputs()
    ingress = next(g for g in place.variables["istio_helm_gateways"] if "egress" not in g["name"])
    place.url = f"http://{cluster.node_address(place.own)}:{ingress['node_ports']['http2']}/healthz"


def measure(place: Place, contender: str, kind: str, number: int) -> Sample:
    """Run one contender once, and gather what the logs say of it."""
    log = audit.AuditLog(place.own.audit_log)
    sample = Sample(number, contender, kind, seconds=0.0, load=round(os.getloadavg()[0], 2))
    mark, watch, began, started = log.mark(), answers.Watch(place.url), time.time(), time.monotonic()
    watch.start()
    processor = children_cpu()
    try:
        outcome = CONTENDERS[contender](place, f"{number}-{contender}-{kind}")
        sample.seconds = round(time.monotonic() - started, 2)
    finally:
        first = watch.end()
    sample.cpu = round(children_cpu() - processor, 2)
    ended = began + sample.seconds
    with log.path.open("rb") as stream:
        stream.seek(mark.offset)
        lines = stream.read(log.mark().offset - mark.offset).decode().splitlines(keepends=True)
    sample.steps = outcome.steps
    sample.requests = timeline.by_agent(audit.parse(lines))
    if outcome.log:
        sample.tasks = timeline.tasks(began, ended, outcome.log, timeline.request_times(lines))
    if kind == FRESH:
        sample.first_200 = sample.seconds if first is None else min(first, sample.seconds)
        # What a contender does not wait for shall not disturb its own second run.
        place.kubectl("wait", "--for=condition=Available", "deployment", "--all", "--all-namespaces", "--timeout=300s")
        sample.pods = timeline.pods(began, [p for p in place.objects("pods", "-A") if ours_or_istio(p)])
    return sample


def children_cpu() -> float:
    """Processor seconds of all children that have ended, theirs included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ours_or_istio(pod: dict[str, Any]) -> bool:
    """Whether a pod is of the mesh or the app, not of the cluster's own."""
    return pod["metadata"]["namespace"] not in ("kube-system", "local-path-storage")


def run_rounds(place: Place, args: argparse.Namespace) -> list[Sample]:
    """All samples, the warm-up's included."""
    samples: list[Sample] = []
    numbers = ([0] if args.warmup else []) + list(range(1, args.rounds + 1))
    for number in numbers:
        for contender in (OURS, ISTIOCTL) if number % 2 else (ISTIOCTL, OURS):
            tell(f"round {number}: emptying the cluster")
            empty.clear(place, args.settle)
            for kind in (FRESH, RERUN):
                sample = measure(place, contender, kind, number)
                samples.append(sample)
                uncounted = "" if number else ", warm-up, not counted"
                tell(f"round {number}: {contender} {kind}: {sample.seconds:.1f} s (load {sample.load:.1f}{uncounted})")
                time.sleep(args.settle)
    return samples


def versions(place: Place) -> dict[str, str]:
    """Of everything that the figures depend on."""
    tools = bed.bin_directory()
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "meshops.istio": described.stdout.strip() or "unknown",
        "istio": str(place.variables["istio_helm_chart_version"]),
        "istioctl": process.run([tools / "istioctl", "version", "--remote=false", "--short"]).split()[-1],
        "helm": process.run([tools / "helm", "version", "--template", "{{.Version}}"]).strip(),
        "kubernetes": json.loads(place.kubectl("get", "--raw", "/version"))["gitVersion"],
        "ansible-core": metadata.version("ansible-core"),
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def report(samples: list[Sample], place: Place, args: argparse.Namespace) -> None:
    """Write build/bench.json and print the table."""
    last = json.loads(RESULT.read_text()) if RESULT.exists() else None
    now = figures(samples)
    details = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "rounds": args.rounds,
        "warmup": args.warmup,
        "cores": len(os.sched_getaffinity(0)),
        "load": [sample.load for sample in samples if sample.round],
        "caches": "warm" if args.warmup else "cold in the first sample of each contender",
        "versions": versions(place),
        "ratios": {kind: [round(ratio, 3) for ratio in ratios(samples, kind)] for kind in (FRESH, RERUN)},
        "samples": [asdict(sample) for sample in samples],
    }
    pending = RESULT.with_suffix(".json.new")
    pending.write_text(json.dumps(now | {"details": details}, indent=2) + "\n")
    pending.replace(RESULT)
    if args.profile:
        for kind in (FRESH, RERUN):
            for contender in CONTENDERS:
                print(f"\n{timeline.describe(typical(pick(samples, contender, kind)))}")
    loads = details["load"]
    print(f"\n{table(now, last)}\n")
    print(f"{args.rounds} rounds, {details['cores']} cores, load average {min(loads):.1f} to {max(loads):.1f}")
    print(RESULT.relative_to(ROOT))


def tell(text: str) -> None:
    """For people; standard output is for the figures."""
    print(text, file=sys.stderr, flush=True)


def interrupted(_number: int, _frame: object) -> None:
    """Let SIGTERM and SIGHUP clean up as Ctrl-C does."""
    raise KeyboardInterrupt


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    found.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: %(default)s)")
    found.add_argument(
        "--warmup", type=int, choices=(0, 1), default=1, help="rounds before, not counted (default: %(default)s)"
    )
    found.add_argument(
        "--settle", type=float, default=5.0, metavar="SECONDS", help="rest before each run (default: %(default)s)"
    )
    found.add_argument("--profile", action="store_true", help="print where the seconds of the median runs went")
    found.add_argument("--keep", action="store_true", help=f"leave the cluster {CLUSTER} up")
    return found


def main() -> int:
    """Measure; 0 when all rounds went well, 130 when interrupted."""
    args = parser().parse_args()
    if args.rounds < 1:
        parser().error("--rounds: at least 1")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    forget_foreign_environment()
    place = Place(bed.Bed(CLUSTER), DIRECTORY)
    code = 0
    try:
        program("ansible-playbook")
        prepare(place)
        report(run_rounds(place, args), place, args)
    except (BedError, OSError) as error:
        tell(f"bench: {error}\nLogs: {place.directory.relative_to(ROOT)}/logs")
        code = 1
    except KeyboardInterrupt:
        tell("bench: interrupted")
        code = 130
    finally:
        if not args.keep:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # it takes five seconds, and must be done
            testbed("down", "--name", CLUSTER)
    return code


if __name__ == "__main__":
    sys.exit(main())
