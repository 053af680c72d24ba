# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limits that the benchmark of preflight holds, and what it fills a cluster with."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from bench import preflight
from bench.preflight import Figures

EMPTY = Figures(seconds=0.2, reads=17, reviews=1, writes=0, memory=55.0, findings=0)


@pytest.mark.parametrize(
    ("full", "says"),
    [
        ({"seconds": 3.2, "reads": 30, "memory": 250.0}, None),
        ({"seconds": 3.3}, "3.1 s more than on an empty cluster; the limit is 3.0"),
        ({"reads": 31}, "31 reads; the limit is 30"),
        ({"memory": 250.1}, "250.1 MiB; the limit is 250"),
        ({"writes": 1}, "it wrote"),
    ],
)
def test_limits(full: dict[str, float], says: str | None) -> None:
    """Each is said where it is exceeded, and at the limit itself nothing is."""
    assert preflight.exceeded(EMPTY, replace(EMPTY, **full)) == ([says] if says else [])


def test_the_large_cluster_is_as_large_as_it_says() -> None:
    """And no object is there twice."""
    objects = [obj for some in preflight.objects() for obj in some]
    assert Counter(obj["kind"] for obj in objects) == {
        "Namespace": 200,
        "Pod": 2000,
        "Service": 1000,
        "Deployment": 400,
    }
    names = {(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]) for obj in objects}
    assert len(names) == len(objects)
