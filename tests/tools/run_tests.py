#!/usr/bin/env python3
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run parts of the test suite, all of them whatever fails, and end with one line: N passed, N failed.

    run_tests.py [PART ...]    default: every part that `make test` runs

A part is a list of steps. A step counts what its JUnit files say or, without any, one: its exit status. Parts that wait
for clusters run beside the others, step by step; what those print comes whole, when a step of theirs has ended.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import environments
import leftovers
import lint

ROOT = environments.ROOT
RESULTS = ROOT / "build/test"
sys.path.append(str(ROOT / "tests"))

from testbed import versions  # noqa: E402


@dataclass
class Step:
    """One command; `junit` is the file or the folder where it leaves its counts."""

    name: str
    command: list[str | Path]
    junit: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Count:
    """How many tests passed, failed and were skipped, and the seconds they took."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def __add__(self, other: Count) -> Count:
        """Return the sum, number by number."""
        return Count(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __str__(self) -> str:
        """Return the closing line."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def linting() -> Iterator[Step]:
    """One step per linter."""
    for name, command in lint.tools().items():
        yield Step(name, command, environment=lint.environment())


def sanity() -> Iterator[Step]:
    """One step; ansible-test leaves a JUnit file per sanity test."""
    yield Step("ansible-test sanity", [sys.executable, ROOT / "tests/tools/sanity.py"], ROOT / "build/sanity/junit")


def pytest(name: str, environment: str, *arguments: str | Path, **variables: str) -> Step:
    """Return the step that runs pytest with that environment's Python."""
    home = environments.ensure(environment)
    junit = RESULTS / f"{re.sub(r'[^a-z0-9.]+', '-', name)}.xml"
    # The environment's own tools come first, so that tests which call ansible-playbook get its ansible-core.
    variables["PATH"] = f"{home}/bin{os.pathsep}{os.environ['PATH']}"
    return Step(name, [home / "bin/python", "-m", "pytest", *arguments, f"--junitxml={junit}"], junit, variables)


#: What a run leaves behind, by a real ansible-playbook.
CONTRACT = "tests/unit/plugins/test_secrets_contract.py"


def unit(*cores: str) -> Iterator[Step]:
    """The unit tests, on some ansible-cores; what depends on none of them on the newest alone."""
    for core in cores or environments.QUICK:
        marks = "not cluster and not long" + ("" if core == "dev" else " and not once")
        yield pytest(f"unit {core}", core, "tests/unit", "-m", marks, "--numprocesses=auto")
        if core == "dev":
            yield pytest(f"secrets {core}", core, CONTRACT)


def cores() -> Iterator[Step]:
    """The unit tests on the other ansible-cores, the next one among them; what a run leaves behind on all of them."""
    others = [core for core in environments.ENVIRONMENTS if core not in environments.QUICK and core != "core-2.21"]
    yield from unit(*others)
    yield pytest("checkout on other cores", "dev", "tests/packaging/test_checkout.py", "-m", "long")
    yield pytest("connection on other cores", "dev", "tests/packaging/test_connection.py", "-m", "long")
    for core in environments.ENVIRONMENTS:
        for version in environments.pythons(core):
            name = f"{core}-py{version}"
            yield pytest(f"secrets {name}", name, CONTRACT)


def packaging() -> Iterator[Step]:
    """The tests of the house: metadata, archive, importer, AWX's way of running it."""
    yield pytest("packaging", "dev", "tests/packaging", "-m", "not cluster and not long")


def browser() -> Iterator[Step]:
    """The report in chromium; skipped where there is none, and none can be had."""
    yield Step("programs of the browser", [sys.executable, "tests/browser/programs.py"])
    yield pytest("browser", "dev", "tests/browser")


def programs(*kubernetes: str) -> Step:
    """The step that builds control planes: the tests and molecule would too, but show nothing for minutes."""
    return Step("programs of the beds", [sys.executable, "tests/testbed", "build-programs", *kubernetes])


def apiserver() -> Iterator[Step]:
    """The tests that need API servers, and make them: control planes alone."""
    yield programs(versions.PSP_KUBERNETES, versions.KUBERNETES)
    yield pytest("apiserver", "dev", "tests/apiserver", "-m", "not long")


def apiserver_long() -> Iterator[Step]:
    """Those that install whole meshes there: what was announced, adopted, killed, lost."""
    yield programs(versions.KUBERNETES)
    yield pytest("apiserver long", "dev", "tests/apiserver", "-m", "long")


def apiserver_matrix() -> Iterator[Step]:
    """The shorter ones on every other Kubernetes."""
    yield programs(versions.PSP_KUBERNETES, *versions.MATRIX_KUBERNETES)
    for version in versions.MATRIX_KUBERNETES:
        name = f"apiserver {version}"
        yield pytest(name, "dev", "tests/apiserver", "-m", "not long", MESHOPS_TEST_KUBERNETES=version)


def scenarios(*names: str) -> Iterator[Step]:
    """Scenarios of molecule that make beds of their own."""
    for name in names:
        yield Step(f"molecule {name}", ["molecule", "test", f"--scenario-name={name}"])


def on_kind(marks: str, *before: Step) -> Iterator[Step]:
    """The tests that need a kind cluster, on one of their own.

    :arg marks: which of them
    :arg before: what else is done there, first
    """
    kubeconfig = ROOT / "build/molecule/kubeconfig"
    variables = ROOT / "build/molecule/inventory/group_vars/all/testbed.yml"
    # Molecule would make the cluster too, but shows nothing until it is there, which can be half an hour.
    bed = [sys.executable, "tests/testbed", "up", "--name=meshops-molecule"]
    yield Step("test bed", [*bed, f"--kubeconfig={kubeconfig}", f"--vars={variables}"])
    yield from before
    where = {"MESHOPS_TEST_KUBECONFIG": str(kubeconfig), "MESHOPS_TEST_VARS": str(variables)}
    yield pytest(f"tests on its cluster: {marks}", "dev", "tests/packaging", "tests/cluster", "-m", marks, **where)
    yield Step("molecule destroy", ["molecule", "destroy", "--scenario-name=default"])


def molecule() -> Iterator[Step]:
    """A scenario on a kind cluster, the tests that need one with Istio, then scenarios on clusters of their own."""
    kvm = Step("molecule kvm", ["molecule", "test", "--destroy=never", "--scenario-name=kvm"])
    yield from on_kind("cluster and not long", kvm)
    yield from scenarios("cloud", "airgap")


def pod_security() -> Iterator[Step]:
    """Scenarios on control planes alone, one for each way in which a cluster decides which pods may run."""
    yield programs(versions.PSP_KUBERNETES, versions.KUBERNETES)
    yield from scenarios("psp", "psa", "scc")


def molecule_matrix() -> Iterator[Step]:
    """Scenarios that are rarely broken alone, or take what nothing else needs."""
    yield from on_kind("cluster and long")
    yield from scenarios("kvm_helm3", "cni", "registry")
    yield programs(versions.KUBERNETES)
    yield from scenarios("hostname", "addons", "ambient", "adopt")


def faults() -> Iterator[Step]:
    """What a diagnosis must name: faults on control planes alone, and on a kind cluster with Istio."""
    yield programs(versions.PSP_KUBERNETES, versions.KUBERNETES)
    yield pytest("faults", "dev", "tests/faults")


PARTS = {
    "lint": linting,
    "sanity": sanity,
    "unit": unit,
    "cores": cores,
    "packaging": packaging,
    "browser": browser,
    "apiserver": apiserver,
    "apiserver-long": apiserver_long,
    "apiserver-matrix": apiserver_matrix,
    "faults": faults,
    "molecule": molecule,
    "pod-security": pod_security,
    "molecule-matrix": molecule_matrix,
}
DEFAULT = ["lint", "sanity", "unit", "packaging", "browser", "apiserver", "molecule", "pod-security"]


def read_junit(path: Path) -> Count:
    """Add up the JUnit file, or the files of the folder."""
    count = Count()
    for file in sorted(path.glob("*.xml")) if path.is_dir() else [path] if path.exists() else []:
        for case in ET.parse(file).iter("testcase"):  # noqa: S314 - our own tools wrote it
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                count.failed += 1
            elif skipped is None:
                count.passed += 1
            # ansible-test's word for a test of a file type that we have none of.
            elif "No tests applicable" not in "".join(skipped.itertext()):
                count.skipped += 1
    return count


#: Parts that make kind clusters, and wait for them more than they compute.
WAITING = {"molecule", "molecule-matrix"}


def lanes(parts: list[str]) -> list[list[str]]:
    """Parts that may run at the same time: those that wait for clusters first, whose output is shown as it comes."""
    return [lane for lane in ([p for p in parts if p in WAITING], [p for p in parts if p not in WAITING]) if lane]


class Screen:
    """What several lanes print, one step at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line_ended = True

    def write(self, text: bytes, whole_lines: bool = False) -> None:
        """Print a piece of output.

        :arg whole_lines: it begins on a line of its own
        """
        if not text:
            return
        with self._lock:
            if whole_lines and not self._line_ended:
                sys.stdout.buffer.write(b"\n")
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
            self._line_ended = text.endswith(b"\n")


class Lane(threading.Thread):
    """Parts that run one after the other, beside those of other lanes.

    :ivar list rows: part, step and count of each step that has ended
    :arg scratch: the temporary directory of all lanes
    :arg number: of this one; the first shows what its steps print as it comes
    """

    def __init__(self, parts: list[str], scratch: Path, number: int, screen: Screen) -> None:
        super().__init__(daemon=True)
        self.parts = parts
        self.rows: list[tuple[str, str, Count]] = []
        self.error: BaseException | None = None
        self._scratch = scratch
        # The path is short, because Ansible makes sockets below it.
        self._base = scratch / f"t{number}"
        self._screen = screen
        self._live = number == 0

    def run(self) -> None:
        """Run all steps, whatever fails."""
        try:
            for part in self.parts:
                for step in PARTS[part]():
                    self.rows.append((part, step.name, self._step(part, step)))
        except BaseException as error:  # an environment that cannot be made, for the main thread to raise
            self.error = error

    def _step(self, part: str, step: Step) -> Count:
        """Run one step, and count."""
        title = f"\n==> {part}: {step.name}\n".encode()
        if self._live:
            self._screen.write(title, whole_lines=True)
        if step.junit and step.junit.is_file():
            step.junit.unlink()
        started = time.monotonic()
        code, output = self._run(step)
        self._screen.write(output if self._live else title + output, whole_lines=True)
        shutil.rmtree(self._base, ignore_errors=True)  # pytest keeps the files of tests that failed
        count = read_junit(step.junit) if step.junit else Count(passed=int(code == 0))
        if code != 0 and not count.failed:
            count.failed = 1  # it broke before it could count, or ran no test at all
        count.seconds = time.monotonic() - started
        return count

    def _run(self, step: Step) -> tuple[int, bytes]:
        """:returns: a step's exit status, and what is still to be shown of what it printed"""
        environment = {**os.environ, **step.environment}
        environment["TMPDIR"] = str(self._scratch)
        environment["PYTEST_ADDOPTS"] = f"{os.environ.get('PYTEST_ADDOPTS', '')} --basetemp={self._base}"
        command = [str(word) for word in step.command]
        try:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        except FileNotFoundError as error:
            return 127, f"{error}\n".encode()
        kept = []
        with process:
            while piece := os.read(process.stdout.fileno(), 1 << 16):
                if self._live:
                    self._screen.write(piece)
                else:
                    kept.append(piece)
        return process.returncode, b"".join(kept)


def run(parts: list[str], scratch: Path) -> list[tuple[str, str, Count]]:
    """Run parts, in lanes. :returns: part, step and count of each step, in the order of the parts"""
    screen = Screen()
    running = [Lane(lane, scratch, number, screen) for number, lane in enumerate(lanes(parts))]
    for lane in running:
        lane.start()
    for lane in running:
        lane.join()
    for lane in running:
        if lane.error:
            raise lane.error
    return sorted((row for lane in running for row in lane.rows), key=lambda row: parts.index(row[0]))


def left_behind(scratch: Path) -> Count:
    """Say what all steps have left in their temporary directory, which processes still run, and where keys lie."""
    found = [f"file {path}" for path in leftovers.ours(scratch)]
    found += [f"key {path}" for path in leftovers.keys(ROOT / "build/ansible")]
    if not os.environ.get("MESHOPS_KEEP_CLUSTER"):  # then its programs are to stay
        found += [f"process {pid}: {command}" for pid, command in leftovers.processes(scratch).items()]
    print("\n".join(["\n==> leftovers", *(found or ["none"])]), flush=True)
    return Count(passed=int(not found), failed=int(bool(found)))


def main() -> int:
    """Run the parts, print the table and the closing line; return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: {' '.join(DEFAULT)}")
    parts = parser.parse_args().parts or DEFAULT
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")

    venv = environments.ensure("dev")
    os.environ["PATH"] = f"{venv}/bin{os.pathsep}{os.environ['PATH']}"
    # Where Ansible keeps what it needs between two runs; the user's home stays as it is.
    os.environ["ANSIBLE_HOME"] = str(ROOT / "build/ansible")
    os.environ["MOLECULE_COMMAND_BORDERS"] = "false"
    RESULTS.mkdir(parents=True, exist_ok=True)

    started = time.monotonic()
    # A run that is ended takes its temporary directory along, in which clients have put keys.
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="mi-", ignore_cleanup_errors=True) as scratch:
        rows = run(parts, Path(scratch))
        rows.append(("leftovers", "files, keys and processes", left_behind(Path(scratch))))
    total = sum((count for _, _, count in rows), Count())
    total.seconds = time.monotonic() - started
    width = max(len(name) for _, name, _ in rows)
    print(f"\n{'part':<16} {'step':<{width}} {'passed':>6} {'failed':>6} {'skipped':>7} {'seconds':>8}")
    for part, name, count in [*rows, ("all", "", total)]:
        print(
            f"{part:<16} {name:<{width}} {count.passed:>6} {count.failed:>6} {count.skipped:>7} {count.seconds:>8.1f}"
        )
    print(f"\n{total}")
    return int(total.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
