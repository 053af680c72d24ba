# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts and values made by chance: our "none" means that helm would store what it has stored, and the reverse.

Each chart is installed by helm once; each edit of it, or of its values, is a case. What helm would store says helm, by
a dry run on the server. MESHOPS_TEST_SEED repeats a run; MESHOPS_TEST_CASES says how many cases there are: 40 in
`make test`, 600 in `make matrix`; MESHOPS_TEST_HELM names another helm.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from harness.beds import BedCluster
from harness.chart_samples import EDITS, Sample, sample
from harness.yaml_samples import seeded

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.helm import dry_run, sources, storage
from ansible_collections.meshops.istio.plugins.module_utils.helm.charts import Chart
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm, HelmError, credentials
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import Source
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition
from ansible_collections.meshops.istio.plugins.module_utils.releases import steps

EDITS_OF_ONE = 8
WORKERS = 4
#: Fields by which helm list names a chart: we always upgrade for them.
NAMED_BY = ("name", "version", "appVersion")


class Asked(Helm):
    """helm, which remembers whether it was asked, and what it answered."""

    def __init__(self, binary: str) -> None:
        super().__init__(binary)
        self.answer: dict[str, Any] | None = None
        self.error: HelmError | None = None
        self.calls = 0

    def dry_run(self, *arguments: Any) -> dict[str, Any]:
        """Once for one case."""
        self.calls += 1
        try:
            self.answer = super().dry_run(*arguments)
        except HelmError as error:
            self.error = error
            raise
        return self.answer


@dataclass
class Case:
    """What came of one edit.

    :ivar chart: the seed that it was made from
    :ivar words: what helm would store otherwise; "fails" where it would fail
    """

    edit: str
    chart: int
    made: Sample = field(repr=False)
    ours: bool
    action: str
    reasons: list[str]
    words: list[str]
    calls: int

    @property
    def is_right(self) -> bool:
        """Whether our verdict is helm's."""
        return (self.action == "none") is (not self.words)


class Bench:
    """Makes cases on a bed, in a namespace of its own."""

    def __init__(self, bed: BedCluster, namespace: str, folder: Path) -> None:
        self.binary = os.environ.get("MESHOPS_TEST_HELM") or bed.variables["istio_helm_helm_binary"]
        self.cluster = Cluster({"kubeconfig": str(bed.kubeconfig), "context": bed.variables["istio_context"]})
        self.namespace = namespace
        self.folder = folder
        self.kube_version = self.cluster.version()["gitVersion"]

    def cases(self, seed: int) -> list[Case]:
        """Install a chart, and make some edits. [] where helm refuses the chart."""
        random = seeded(seed)
        made, name = sample(random), f"r{seed}"
        home = self.folder / name
        path, ours = made.written(home / "before"), random.random() < 0.5
        edits = random.sample(sorted(EDITS), EDITS_OF_ONE)
        with credentials(self.cluster) as environment:
            description = storage.description(Chart(path), is_first=True) if ours else ""
            try:
                Helm(self.binary).upgrade(
                    name, self.namespace, path, made.values, environment, 60, description=description
                )
            except HelmError as error:
                return [Case(f"install: {error.words}", seed, made, ours, "", [], [], 0)]
            stored = storage.read(self.cluster, [(self.namespace, name)])[self.namespace, name]
            found = []
            for edit in edits:
                after = EDITS[edit](random, made)
                found.append(self._case(edit, after, after.written(home / edit), stored, environment))
        return found

    def _case(self, edit: str, made: Sample, path: Path, stored: storage.Stored, environment: dict[str, str]) -> Case:
        chart, helm = Chart(path), Asked(self.binary)
        reference = sources.ChartReference(Source(str(path)), "made", "1.0.0")
        release = composition.Release(stored.name, self.namespace, "istiod", reference, values=made.values)
        step = steps.judge(release, chart, stored)
        if step.is_doubtful and dry_run.is_unchanged(helm, release, chart, stored, environment, self.kube_version):
            step.action, step.reasons = "none", []
        calls = helm.calls
        if not calls:
            with contextlib.suppress(HelmError):
                helm.dry_run(stored.name, self.namespace, path, made.values, environment)
        words = ["fails"] if helm.error else differences(stored, helm.answer)
        ours = stored.chart_digest is not None
        return Case(edit, int(stored.name[1:]), made, ours, step.action, step.reasons, words, calls)


def differences(stored: storage.Stored, answer: dict[str, Any]) -> list[str]:
    """What helm would store otherwise, compared without any code of ours."""

    def floats(data: Any) -> Any:
        return json.loads(json.dumps(data), parse_int=float, parse_float=float)

    chart, metadata = answer["chart"], stored.chart["metadata"]
    pairs = {
        "manifest": (stored.manifest, answer.get("manifest", "")),
        "hooks": (
            [each["manifest"] for each in stored.hooks],
            [each["manifest"] for each in answer.get("hooks") or []],
        ),
        "values": (floats(stored.values), floats(answer.get("config") or {})),
        "default values": (floats(stored.chart.get("values") or {}), floats(chart.get("values") or {})),
        **{name: (metadata.get(name), chart["metadata"].get(name)) for name in NAMED_BY},
    }
    return [name for name, (one, other) in pairs.items() if one != other]


@pytest.fixture(scope="module")
def bench(today: BedCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Yield a bench whose cache nobody has used."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch, today.namespace() as namespace:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield Bench(today, namespace, folder)


def judged(bench: Bench, seed: int, count: int) -> list[Case]:
    """So many cases, of charts by their own seeds."""
    first = seeded(seed).randrange(10**6)
    charts = range(first, first + -(-count // EDITS_OF_ONE))
    with ThreadPoolExecutor(WORKERS) as pool:
        return [case for cases in pool.map(bench.cases, charts) for case in cases]


def check(cases: list[Case], seed: int, count: int) -> None:
    """Each verdict is helm's; where nothing was done, helm was not even asked."""
    refused = [case for case in cases if case.edit.startswith("install: ")]
    cases = [case for case in cases if case not in refused]
    actions = collections.Counter(case.action for case in cases)
    print(f"{len(cases)} cases of seed {seed}: {dict(actions)}, helm asked for {sum(case.calls for case in cases)}")
    print("\n".join(case.edit for case in refused))
    assert len(refused) * 20 < len(cases), refused[0].edit
    wrong = [case for case in cases if not case.is_right]
    assert not wrong, f"seed {seed}: {len(wrong)} of {len(cases)} cases, as {wrong[0]}"
    quiet = [case for case in cases if case.edit.startswith("nothing")]
    assert all(case.action == "none" for case in quiet)
    assert not any(case.calls for case in quiet if case.ours)
    assert min(actions["none"], actions["upgrade"]) > count / 10


def test_some(bench: Bench, seed: int) -> None:
    """Enough of them to notice what breaks often."""
    count = int(os.environ.get("MESHOPS_TEST_CASES") or 40)
    check(judged(bench, seed, count), seed, count)


@pytest.mark.long
def test_many(bench: Bench, seed: int) -> None:
    """Enough to notice what breaks seldom."""
    count = int(os.environ.get("MESHOPS_TEST_CASES") or 600)
    seed = seed or secrets.randbelow(2**32)
    check(judged(bench, seed + 1, count), seed + 1, count)
