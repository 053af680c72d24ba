# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind that is known here is where the API server serves it."""

from __future__ import annotations

import re

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster import kinds, readiness
from ansible_collections.meshops.istio.plugins.module_utils.cluster.kinds import (
    Resource,
    group_of,
    known_resource,
    path_of,
)
from ansible_collections.meshops.istio.plugins.module_utils.jobs import liveness
from ansible_collections.meshops.istio.plugins.module_utils.preflight import rights
from ansible_collections.meshops.istio.plugins.module_utils.releases import installation


@pytest.mark.parametrize(("api_version", "expected"), [("v1", ""), ("apps/v1", "apps"), ("a.b.io/v1alpha1", "a.b.io")])
def test_group_of(api_version: str, expected: str) -> None:
    """The core group has no name."""
    assert group_of(api_version) == expected


@pytest.mark.parametrize(
    ("api_version", "kind", "expected"),
    [
        ("v1", "Endpoints", Resource("endpoints", True)),
        ("v1", "Namespace", Resource("namespaces", False)),
        ("networking.istio.io/v1", "Gateway", Resource("gateways", True)),
        ("networking.istio.io/v1beta1", "ServiceEntry", Resource("serviceentries", True)),
        ("networking.k8s.io/v1", "NetworkPolicy", Resource("networkpolicies", True)),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", Resource("clusterroles", False)),
        ("gateway.networking.k8s.io/v1", "Gateway", None),
        ("v1", "Deployment", None),
        ("example.com/v1", "Widget", None),
    ],
)
def test_known_resource(api_version: str, kind: str, expected: Resource | None) -> None:
    """By group and kind, whatever the version; a kind of the same name in another group is another."""
    assert known_resource(api_version, kind) == expected


@pytest.mark.parametrize(
    ("api_version", "resource", "namespace", "name", "expected"),
    [
        ("v1", Resource("pods", True), None, None, "/api/v1/pods"),
        ("v1", Resource("pods", True), "shop", None, "/api/v1/namespaces/shop/pods"),
        ("v1", Resource("pods", True), "shop", "web", "/api/v1/namespaces/shop/pods/web"),
        ("v1", Resource("nodes", False), "shop", "a", "/api/v1/nodes/a"),
        ("apps/v1", Resource("deployments", True), "", None, "/apis/apps/v1/deployments"),
    ],
)
def test_path_of(api_version: str, resource: Resource, namespace: str | None, name: str | None, expected: str) -> None:
    """A cluster-wide kind has no namespace in its path, whatever is given."""
    assert path_of(api_version, resource, namespace, name) == expected


def test_plurals_are_plural() -> None:
    """By English rules: a typing error in the table would be a 404 that reads as "not there"."""
    for resources in kinds._GROUPS.values():
        for kind, resource in resources.items():
            expected = re.sub(r"(?<=[^aeiou])ys$", "ies", kind.lower().removesuffix("s") + "s")
            assert resource.plural == expected


def test_kinds_that_are_used_are_known() -> None:
    """Those with a rule of their own, and those that rights are asked for: discovery would cost each run a request."""
    known = {kind for resources in kinds._GROUPS.values() for kind in resources}
    assert set(readiness.READY) <= known
    assert set(installation.WAITED_FOR) | set(liveness.WAITED_FOR) <= known
    for right in rights.RIGHTS:
        assert known_resource(right.api_version, right.kind), right
