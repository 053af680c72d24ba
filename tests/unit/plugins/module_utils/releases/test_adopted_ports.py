# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway of istioctl's is not cut off from its pods by being adopted."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import ChartReference
from ansible_collections.meshops.istio.plugins.module_utils.mesh.composition import Release, Source
from ansible_collections.meshops.istio.plugins.module_utils.mesh.gateways import PORTS
from ansible_collections.meshops.istio.plugins.module_utils.releases.adopted_ports import ports_kept


def targets(service: dict[str, Any] | None, *ports: dict[str, Any]) -> list[int]:
    """Where the ports of a gateway lead to beside a live Service."""
    chart = ChartReference(Source("/charts"), "gateway", "1.31.1")
    release = Release("edge", "mesh", "gateway", chart, values={"service": {"ports": list(ports or PORTS)}})
    kept = ports_kept(release, service)
    assert [port["targetPort"] for port in PORTS] == [15021, 80, 443]  # the table is not written to
    return [port["targetPort"] for port in kept.values["service"]["ports"]]


def live(**ports: int) -> dict[str, Any]:
    """A Service; `p80=8080` is port 80, which leads to 8080."""
    found = [{"port": int(name[1:]), "targetPort": target} for name, target in ports.items()]
    return {"spec": {"ports": found}}


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (None, [15021, 80, 443]),
        (live(p15021=15021, p80=8080, p443=8443), [15021, 8080, 8443]),
        (live(p80=8080), [15021, 8080, 443]),
        (live(p80=80, p443=443), [15021, 80, 443]),
        (live(p15021=9999, p80=9999), [15021, 80, 443]),
        ({"spec": {"type": "ExternalName"}}, [15021, 80, 443]),
    ],
    ids=["none", "istioctl's", "one of them", "the chart's", "somebody's", "without ports"],
)
def test_ports_of_pods(service: dict[str, Any] | None, expected: list[int]) -> None:
    """Only istioctl's own are kept: whatever else the Service leads to is set to what is wanted."""
    assert targets(service) == expected


def test_ports_that_are_asked_for() -> None:
    """A target port that is no default is somebody's wish."""
    assert targets(live(p80=8080), {"name": "http2", "port": 80, "targetPort": 8888}) == [8888]
