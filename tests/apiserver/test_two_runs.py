# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs at once, whose clocks differ by ten minutes: the living are left alone, and what the dead left is mended.

Each case has a mesh of its own, so that all of them take place side by side. ``harness.gate`` holds helm in the middle
of a release, so that its holder is at work for certain.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cluster.testcluster import TestCluster
from harness.gate import Gate
from harness.in_process import Mesh, Place, actions
from harness.playbooks import kill

RELEASE = "jaeger"  # has nothing without a namespace
MINUTES = (-10, 10)
DURATION = 6.0  # seconds that the holders' Leases last
SECONDS = 120.0  # a machine may be busy


@dataclass
class Case:
    """A mesh whose release is in the middle of being installed.

    :ivar str holder: host and process of who holds the Lease
    :ivar dict outcomes: results of the runs of the case, by what they are called there
    :ivar list seen: of the pending record, uid and resourceVersion at some moments
    """

    mesh: Mesh
    namespace: str
    gate: Gate
    minutes: int
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    said: dict[str, list[str]] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    holder: str = ""
    seconds: float = 0.0

    def start(self, skew: bool, **over: Any) -> subprocess.Popen[str]:
        """A run: with the clock that is ten minutes off, or with that of this machine and helm at the gate."""
        place = Place(self.minutes * 60.0 if skew else 0.0, elsewhere=True, duration=DURATION)
        return self.mesh.start(place, **({} if skew else {"helm_binary": str(self.gate.helm)}), **over)

    def hear(self, name: str, run: subprocess.Popen[str], words: str) -> None:
        """Wait until a run says something."""
        assert run.stdout
        said = self.said.setdefault(name, [])
        while not said or words not in said[-1]:
            line = run.stdout.readline()
            assert line, said
            said.append(line.rstrip("\n"))

    def end(self, name: str, run: subprocess.Popen[str]) -> None:
        """Wait for a run's end."""
        printed, _none = run.communicate(timeout=SECONDS)
        *lines, result = printed.splitlines()
        self.said.setdefault(name, []).extend(lines)
        self.outcomes[name] = json.loads(result)

    def look(self) -> None:
        """Take note of the pending record."""
        secret = f"sh.helm.release.v1.{RELEASE}.v1"
        meta = self.mesh.cluster.get("secret", secret, f"--namespace={self.namespace}")["metadata"]
        assert meta["labels"]["status"] == "pending-install"
        self.seen.append((meta["uid"], meta["resourceVersion"]))

    def records(self) -> list[str]:
        """The status of each revision."""
        found = self.mesh.cluster.get("secrets", f"--namespace={self.namespace}", "--selector=owner=helm")["items"]
        return [each["metadata"]["labels"]["status"] for each in found]

    def leases(self) -> list[str]:
        """Who holds it."""
        found = self.mesh.cluster.get("leases", f"--namespace={self.namespace}")["items"]
        return [each["spec"]["holderIdentity"] for each in found]

    def at_work(self, run: subprocess.Popen[str]) -> None:
        """Wait until helm is in the middle."""
        assert self.gate.reached.wait(SECONDS), run.stdout and run.stdout.read()
        self.look()
        self.holder = "".join(self.leases()).partition("_")[0]


def living(case: Case) -> None:
    """One run that gives up waiting, and one that waits until the holder is done."""
    holder = case.start(skew=False)
    case.at_work(holder)
    case.end("impatient", case.start(skew=True, wait_timeout=2))
    case.look()
    patient = case.start(skew=True)
    case.hear("patient", patient, "which is alive")
    time.sleep(DURATION)
    case.look()
    case.gate.open()
    case.end("holder", holder)
    case.end("patient", patient)


def dead(case: Case) -> None:
    """One run that is asked what it would do, and one that does it."""
    holder = case.start(skew=False)
    case.at_work(holder)
    kill(holder)
    before = time.monotonic()
    case.end("next", case.start(skew=True))
    case.seconds = time.monotonic() - before


def pipeline(case: Case) -> None:
    """Another pipeline's helm, which takes no Lease: at work, then killed, and after a while given up."""
    chart = f"{case.mesh.options['chart_repository']}/base"
    command = [case.gate.helm, "upgrade", RELEASE, chart, "--install", f"--namespace={case.namespace}"]
    theirs = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    assert case.gate.reached.wait(SECONDS)
    case.look()
    case.end("while it works", case.start(skew=True, wait_timeout=400))
    case.look()
    kill(theirs)
    time.sleep(1)
    case.end("after its end", case.start(skew=True, wait_timeout=1, wait_for="nothing"))


Cases = dict[tuple[str, int], Future[Case]]
CASES: dict[str, Callable[[Case], None]] = {"living": living, "dead": dead, "pipeline": pipeline}


@pytest.fixture(scope="module")
def cases(install: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    """Yield all cases, which happen side by side."""

    def happen(which: tuple[str, int]) -> Case:
        name, minutes = which
        with install.namespace() as namespace:
            mesh = Mesh(
                install,
                namespace=namespace,
                preset="none",
                components=[RELEASE],
                addons_repository=f"{install.variables['istio_helm_chart_repository']}/addons",
            )
            folder: Path = tmp_path_factory.mktemp(f"{name}{minutes}")
            gate = Gate(install.kubeconfig, folder, Path(mesh.options["helm_binary"]), RELEASE, 0)
            with gate:
                case = Case(mesh, namespace, gate, minutes)
                CASES[name](case)
            case.outcomes["records"] = {"found": case.records(), "leases": case.leases()}
            return case

    which = [(name, minutes) for name in CASES for minutes in MINUTES]
    with ThreadPoolExecutor(len(which)) as pool:
        yield {each: pool.submit(happen, each) for each in which}


@pytest.mark.parametrize("minutes", MINUTES)
def test_holder_that_is_alive(minutes: int, cases: Cases) -> None:
    """It is named and waited for; its pending revision is not touched, and both runs end well."""
    case = cases["living", minutes].result()
    lease = f"Lease {case.namespace}/meshops-istio"
    assert case.outcomes["impatient"]["msg"].startswith(
        f"Another run is writing to this mesh: {case.holder} holds {lease} and is still active after "
    )
    assert case.said["patient"][0] == f"{lease} is held by {case.holder}: waiting up to 6 s for a sign that it is alive"
    assert case.said["patient"][1].startswith(f"{lease} is held by {case.holder}, which is alive: waiting up to ")
    assert len(set(case.seen)) == 1
    assert actions([case.outcomes["holder"]]) == {RELEASE: "install"}
    assert actions([case.outcomes["patient"]]) == {}
    assert case.outcomes["records"] == {"found": ["deployed"], "leases": []}


@pytest.mark.parametrize("minutes", MINUTES)
def test_holder_that_is_dead(minutes: int, cases: Cases) -> None:
    """It is watched for as long as it said, no longer, and what it left is recovered."""
    case = cases["dead", minutes].result()
    assert not case.outcomes["next"].get("failed"), case.outcomes["next"].get("msg")
    assert actions([case.outcomes["next"]]) == {RELEASE: "recover"}
    assert DURATION <= case.seconds < DURATION + 60
    assert (
        f"Lease {case.namespace}/meshops-istio is taken over from {case.holder}, which is no longer alive"
        in case.said["next"]
    )
    assert case.outcomes["records"] == {"found": ["deployed"], "leases": []}


@pytest.mark.parametrize("minutes", MINUTES)
def test_pending_release_of_another_pipeline(minutes: int, cases: Cases) -> None:
    """How long it has been pending is told by the API server's clock: neither helm's nor ours plays a part."""
    case = cases["pipeline", minutes].result()
    assert "another pipeline may be running" in case.outcomes["while it works"]["msg"]
    age = case.outcomes["while it works"]["msg"].partition(" for ")[2].partition(" s: ")[0]
    assert 0 <= int(age) < SECONDS
    assert len(set(case.seen)) == 1
    assert actions([case.outcomes["after its end"]]) == {RELEASE: "recover"}
    assert case.outcomes["records"] == {"found": ["deployed"], "leases": []}
