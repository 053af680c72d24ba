# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of a cluster: each kind once, only what rules look at, and nothing that may not be read."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.reading import kept
from ansible_collections.meshops.istio.plugins.module_utils.preflight import snapshot
from ansible_collections.meshops.istio.plugins.module_utils.preflight.snapshot import Reader, Snapshot


class FakeCluster:
    """Serves lists, refuses some, and remembers what was asked for."""

    def __init__(self, **objects: list[dict[str, Any]]) -> None:
        self.objects = objects
        self.refused: set[tuple[str, str | None]] = set()
        self.asked: list[tuple[str, str | None]] = []
        self.status = 403

    def list(
        self, _api_version: str, kind: str, namespace: str | None = None, keep: Any = None, **query: Any
    ) -> list[dict[str, Any]]:
        """Objects of a kind."""
        istiods = kind == "Deployment" and "label_selector" in query
        self.asked.append(("istiod" if istiods else kind, namespace))
        if self.asked[-1] in self.refused:
            raise ApiError(self.status, "", "no")
        found = self.objects.get(kind, [])
        return [keep(obj) for obj in found if namespace in (None, obj["metadata"].get("namespace"))]


def named(name: str, namespace: str | None = None, **labels: str) -> dict[str, Any]:
    """An object."""
    return {"metadata": {"name": name, "labels": labels, **({"namespace": namespace} if namespace else {})}}


def read(cluster: FakeCluster, *applications: str) -> Snapshot:
    """The snapshot of a run into `istio-system` and some namespaces."""
    return Reader(cluster, ["istio-system"], list(applications)).read()  # type: ignore[arg-type]


def test_kept() -> None:
    """Named fields alone, through lists; what is not there stays away."""
    fields = {"metadata": {"name": True}, "items": {"a": True}}
    obj = {"metadata": {"name": "x", "uid": "u"}, "items": [{"a": 1, "b": 2}, {"b": 3}], "status": {}}
    assert kept(obj, fields) == {"metadata": {"name": "x"}, "items": [{"a": 1}, {}]}
    assert kept({"metadata": None}, fields) == {"metadata": None}


def test_pods_are_small() -> None:
    """What makes them large is not kept."""
    env = [{"name": "X", "value": "y" * 999}]
    container = {"name": "app", "image": "app", "env": env, "ports": [{"containerPort": 80}]}
    meta = {"name": "x", "namespace": "shop", "managedFields": [{}], "annotations": {"big": "y" * 999}}
    status = {"phase": "Running", "containerStatuses": [{}]}
    cluster = FakeCluster(
        Pod=[{"metadata": meta, "spec": {"containers": [container], "volumes": []}, "status": status}]
    )
    assert read(cluster).pods == [
        {
            "metadata": {"name": "x", "namespace": "shop", "annotations": {}},
            "spec": {"containers": [{"name": "app", "image": "app", "ports": [{"containerPort": 80}]}]},
            "status": {"phase": "Running"},
        }
    ]


def test_each_kind_is_read_once() -> None:
    """Namespaced ones once for each namespace while they are few."""
    cluster = FakeCluster()
    read(cluster, "shop")
    assert len(cluster.asked) == len(set(cluster.asked))
    everywhere = {"Pod", "Service", "Namespace", "Node", "CustomResourceDefinition", "istiod"}
    everywhere |= {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
    assert {kind for kind, namespace in cluster.asked if namespace is None} == everywhere
    each = {(kind, name) for kind in ("ResourceQuota", "LimitRange", "Deployment") for name in ("istio-system", "shop")}
    assert {asked for asked in cluster.asked if asked[1]} == each


def test_many_namespaces_are_one_list() -> None:
    """Cut down to those that count."""
    spaces = [named(f"team-{number}", None, **{"istio-injection": "enabled"}) for number in range(9)]
    cluster = FakeCluster(Namespace=spaces, Deployment=[named("a", "team-1"), named("b", "elsewhere")])
    found = read(cluster)
    assert [obj["metadata"]["name"] for obj in found.deployments or []] == ["a"]
    assert [asked for asked in cluster.asked if asked[0] == "Deployment"] == [("Deployment", None)]
    assert found.meshed(["shop"]) == ["shop", *(f"team-{number}" for number in range(9))]


def test_many_namespaces_and_few_rights() -> None:
    """Then those that were named are read, one by one."""
    spaces = [named(f"team-{number}", None, **{"istio-injection": "enabled"}) for number in range(9)]
    cluster = FakeCluster(Namespace=spaces, Deployment=[named("a", "shop"), named("b", "team-1")])
    cluster.refused = {("Deployment", None)}
    assert [obj["metadata"]["name"] for obj in read(cluster, "shop").deployments or []] == ["a"]
    cluster.refused.add(("Deployment", "shop"))
    assert read(cluster, "shop").deployments is None


def test_namespace_that_was_not_named_may_be_closed() -> None:
    """It is found by its label, and its owner's affair."""
    cluster = FakeCluster(Namespace=[named("team", None, **{"istio-injection": "enabled"})])
    cluster.refused = {("Deployment", "team")}
    assert read(cluster).deployments == []


@pytest.mark.parametrize(
    ("kind", "attribute"),
    [
        ("Node", "nodes"),
        ("Pod", "pods"),
        ("Service", "services"),
        ("Namespace", "namespaces"),
        ("CustomResourceDefinition", "crds"),
        ("MutatingWebhookConfiguration", "webhooks"),
        ("ValidatingWebhookConfiguration", "webhooks"),
    ],
)
def test_kind_that_may_not_be_read(kind: str, attribute: str) -> None:
    """Is None, which is not the same as empty; the others are there. Another fault is one."""
    cluster = FakeCluster()
    cluster.refused = {(kind, None)}
    found = read(cluster)
    assert getattr(found, attribute) is None
    assert [name for name in ("nodes", "pods", "services", "istiods") if getattr(found, name) is None] == (
        [attribute] if attribute in ("nodes", "pods", "services") else []
    )
    cluster.status = 500
    with pytest.raises(ApiError):
        read(cluster)


def test_control_planes_of_our_own_namespace() -> None:
    """Where all may not be listed, as with the documented rights."""
    istiod = {**named("istiod", "istio-system"), "spec": {"template": {}}}
    cluster = FakeCluster(Deployment=[istiod, named("istiod", "elsewhere")])
    assert len(read(cluster).istiods or []) == 2
    cluster.refused = {("istiod", None)}
    assert [obj["metadata"]["namespace"] for obj in read(cluster).istiods or []] == ["istio-system"]


def test_pools_and_operators_are_read_where_they_are_defined() -> None:
    """Definitions that are not there cost no request."""
    crds = [named("ipaddresspools.metallb.io"), named("istios.sailoperator.io")]
    cluster = FakeCluster(CustomResourceDefinition=crds, IPAddressPool=[named("a", "b")], Istio=[named("default")])
    found = read(cluster)
    assert (found.pools, len(found.sail), found.istio_operators) == ({"MetalLB": 1}, 1, [])
    assert ("IstioOperator", None) not in cluster.asked
    cluster.refused = {("IPAddressPool", None)}
    assert read(cluster).pools == {}


def test_injectors_are_read_beside_each_istiod() -> None:
    """One list for each namespace with an istiod, of ConfigMaps that tell of a revision; one may be refused."""
    told = {**named("istio-sidecar-injector", "istio-system"), "data": {"values": "{}", "config": "x" * 999}}
    istiods = [named("istiod", "istio-system"), named("istiod-canary", "istio-system"), named("istiod", "other")]
    cluster = FakeCluster(Deployment=[{**obj, "spec": {}} for obj in istiods], ConfigMap=[told])
    cluster.refused = {("ConfigMap", "other")}
    assert read(cluster).injectors == [
        {"metadata": {"name": "istio-sidecar-injector", "namespace": "istio-system"}, "data": {"values": "{}"}}
    ]
    assert sorted(asked for asked in cluster.asked if asked[0] == "ConfigMap") == [
        ("ConfigMap", "istio-system"),
        ("ConfigMap", "other"),
    ]
    nobody = FakeCluster(ConfigMap=[told])
    assert read(nobody).injectors == []
    assert "ConfigMap" not in {kind for kind, _namespace in nobody.asked}


def test_every_kind_that_is_trimmed_is_read() -> None:
    """A kind that nobody reads any more has no business in the table."""
    cluster = FakeCluster(Deployment=[named("istiod", "istio-system")])
    read(cluster)
    assert set(snapshot.KEPT) <= {kind for kind, _namespace in cluster.asked}
