# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts, references and destinations, as Istio reads them."""

from __future__ import annotations

import pytest
from harness.mesh_objects import gateway, state, virtual_service

from ansible_collections.meshops.istio.plugins.module_utils.diagnosis import routes


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("a.example", "a.example", True),
        ("a.example", "A.example", True),
        ("a.example", "b.example", False),
        ("*", "a.example", True),
        ("*.example", "a.example", True),
        ("*.example", "a.b.example", True),
        ("*.example", "example", False),
        ("*.example", ".example", False),
        ("a.example", "*.example", True),
        ("*.example", "*.a.example", True),
        ("*.a.example", "*.b.example", False),
        ("*", "*", True),
    ],
)
def test_hosts(pattern: str, host: str, expected: bool) -> None:
    """Either may have a wildcard in front."""
    assert routes.matches(pattern, host) is expected


@pytest.mark.parametrize(
    ("host", "expected", "service"),
    [
        ("web", "web.shop.svc.cluster.local", ("shop", "web")),
        ("web.other", "web.other", None),
        ("web.other.svc", "web.other.svc", None),
        ("web.other.svc.cluster.local", "web.other.svc.cluster.local", ("other", "web")),
        ("web.other.svc.corp", "web.other.svc.corp", ("other", "web")),
        ("api.example.com", "api.example.com", None),
        ("*.example.com", "*.example.com", None),
    ],
)
def test_short_names(host: str, expected: str, service: tuple[str, str] | None) -> None:
    """Only a name without a dot is short."""
    assert routes.full(host, "shop") == expected
    assert routes.service_of(expected) == service


def test_references() -> None:
    """Of the own namespace, of another, of the mesh, and as they were written until 1.1."""
    named = ["web", "istio-system/web", "./own", "mesh", "old.istio-system.svc.cluster.local"]
    found = routes.references(virtual_service(gateways=named))
    assert found == [("shop", "web"), ("istio-system", "web"), ("shop", "own"), None, ("istio-system", "old")]
    assert routes.references(virtual_service(gateways=None)) == [None]


def test_namespaces_of_a_servers_hosts() -> None:
    """NAMESPACE/HOST, with the own namespace as a dot."""
    for host, expected in (
        ("shop/a.example", True),
        ("./a.example", True),
        ("*/a.example", True),
        ("x/a.example", False),
    ):
        (server,) = routes.servers(gateway("web", host))
        assert routes.server_takes(server, "a.example", "shop") is expected


def test_destinations() -> None:
    """Of every kind of route, and mirrors."""
    spec = {
        "http": [
            {
                "route": [{"destination": {"host": "a", "subset": "v1", "port": {"number": 80}}}],
                "mirror": {"host": "b"},
                "mirrors": [{"destination": {"host": "c"}}],
            },
            {"directResponse": {"status": 418}},
        ],
        "tls": [{"route": [{"destination": {"host": "d.example"}}]}],
        "tcp": [{"route": [{"destination": {"host": "e"}}]}],
    }
    found = list(routes.destinations(virtual_service(**spec)))
    assert [each.host.partition(".")[0] for each in found] == ["a", "b", "c", "d", "e"]
    assert found[0] == ("a.shop.svc.cluster.local", 80, "v1", "http[0]")


def test_routed_services() -> None:
    """Those that a gateway leads to; a VirtualService for the mesh leads from sidecars alone."""
    assert [each["metadata"]["name"] for each in routes.routed_services(state())] == ["web"]
    assert routes.routed_services(state(virtual_service(gateways=["mesh"]))) == []
