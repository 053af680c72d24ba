# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server that fails every now and then, from an empty cluster to the proof: it holds, or says what stopped it.

Client, helm and the proof's own reads all go by the unsteady way. MESHOPS_TEST_SEED repeats what a run met.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cluster.testcluster import TestCluster
from harness.passage import CONTEXT
from harness.unsteady import FAULTS, Unsteady

KINDS = {**{kind: (kind,) for kind in FAULTS}, "any": tuple(FAULTS), "connections": ("lost", "unheard", "cut")}
#: What a run may say that was stopped by such a fault: what it was, not what was not finished because of it.
TRUE_CAUSES = re.compile(
    r"EOF|connection reset|cannot be reached|answered 5\d\d|TooMany|too many requests|on the server"
)


@pytest.mark.long
@pytest.mark.parametrize("rate", [5, 20])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attempt", [1, 2])
def test_first_installation(
    attempt: int, kind: str, rate: int, cluster: TestCluster, tmp_path: Path, seed: int
) -> None:
    """Proven at once, or stopped with the true cause and proven by the next run, without faults."""
    cluster.wipe()
    with Unsteady(cluster.kubeconfig, tmp_path, KINDS[kind], rate, seed + attempt) as way:
        run = cluster.site(istio_kubeconfig=str(way.kubeconfig), istio_context=CONTEXT)
    faults = sum(count for kind, count in way.counted.items() if kind)
    print(f"{kind} at {rate} in 100: {faults} of {way.counted.total()} requests failed; exit status {run.code}")
    assert faults > 2
    if run.code:
        assert TRUE_CAUSES.search(run.message), run.message
        assert "istiod-not-ready" not in run.message
        cluster.site().succeeded()
    assert cluster.site().succeeded().changed == []
