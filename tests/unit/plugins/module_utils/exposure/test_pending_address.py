# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read before a gateway's Service is written: no more than its settings need, and in time."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from typing import Any
from unittest import mock

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure import (
    pending_address,
    port_conflicts,
    provider_detection,
)
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition
from ansible_collections.meshops.istio.plugins.module_utils.mesh.options import MESH_ARGUMENT_SPEC
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import MeshOptions

SCHEME = "service.beta.kubernetes.io/aws-load-balancer-scheme"
TAKEN = "spec.ports[0].nodePort: Invalid value: 30010: provided port is already allocated"


#: Far from the clock of whatever machine this runs on.
SERVER_TIME = datetime(2031, 5, 1, 12, 0, 0, tzinfo=timezone.utc)


class FakeCluster(Cluster):
    """A cluster that takes note of what is asked of it."""

    def __init__(self, provider: str = "", groups: tuple[str, ...] = (), services: Any = ()) -> None:
        self.nodes = [{"spec": {"providerID": provider} if provider else {}}]
        self.groups = groups
        self.services = list(services)
        self.forbidden: set[str] = set()
        self.refusals: dict[int, str] = {}
        self.asked: list[str] = []

    def _note(self, what: str) -> None:
        self.asked.append(what)
        if what in self.forbidden:
            raise ApiError(403, "Forbidden", f"{what} is forbidden")

    def request(self, _method: str, path: str, query: Any = None, *_more: Any, **_options: Any) -> Any:
        """API groups, or some nodes."""
        self._note(path)
        if path == "/apis":
            return {"groups": [{"name": name, "versions": [{"version": "v1"}]} for name in self.groups]}
        assert query == {"limit": 20}
        return {"items": self.nodes}

    def get(self, _api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """One Service."""
        self._note(f"{kind} {namespace}/{name}")
        where = (namespace, name)
        found = [each for each in self.services if (each["metadata"]["namespace"], each["metadata"]["name"]) == where]
        return found[0] if found else None

    def list(self, _api_version: str, kind: str, *_arguments: Any, **_options: Any) -> list[dict[str, Any]]:
        """All Services."""
        self._note(f"{kind}s")
        return self.services

    def now(self, strict: bool = False) -> datetime:
        """The API server's clock, which is not ours."""
        return SERVER_TIME

    def create(self, obj: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        """Ask for a node port."""
        assert dry_run
        port = obj["spec"]["ports"][0]["nodePort"]
        self._note(f"port {port}")
        if port in self.refusals:
            raise ApiError(422, "Invalid", self.refusals[port])
        return obj


def service(name: str, spec: dict[str, Any], namespace: str = "default", **annotations: str) -> dict[str, Any]:
    """A Service."""
    return {"metadata": {"namespace": namespace, "name": name, "annotations": annotations}, "spec": spec}


def settings(*gateways: dict[str, Any], **given: Any) -> MeshOptions:
    """Options that were validated and parsed."""
    named = [{"name": f"in{number or ''}", **gateway} for number, gateway in enumerate(gateways)]
    options = {"chart_version": "1.31.0", "gateways": named, **given}
    result = ArgumentSpecValidator(copy.deepcopy(MESH_ARGUMENT_SPEC)).validate(options)
    assert not result.error_messages
    return MeshOptions.of(result.validated_parameters)


def found(cluster: FakeCluster, *gateways: dict[str, Any], **given: Any) -> list[str]:
    """The providers of some gateways, on a platform that is said."""
    options = provider_detection.resolved(cluster, settings(*gateways, platform="", **given))
    return [gateway.provider for gateway in options.gateways]


# -- who gives addresses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gateway", "given"),
    [
        ({}, {"exposure": "NodePort"}),
        ({"type": "ClusterIP"}, {}),
        ({"internal": True}, {"provider": "azure"}),
        ({"load_balancer_class": "example.com/ours"}, {}),
        ({}, {"provider": "none"}),
    ],
)
def test_nothing_is_read_that_need_not_be(gateway: dict[str, Any], given: dict[str, Any]) -> None:
    """No load balancer, or its provider is said."""
    cluster = FakeCluster("aws:///a/b")
    found(cluster, gateway, **given)
    assert cluster.asked == []


def test_nodes_are_looked_at_once() -> None:
    """For all gateways together, and not all of them."""
    cluster = FakeCluster("azure:///a/b")
    assert found(cluster, {}, {"internal": True}, {"type": "NodePort"}) == ["azure", "azure", "auto"]
    assert cluster.asked == ["/apis", "/api/v1/nodes"]


def test_metallb_needs_no_nodes() -> None:
    """Its API group is there."""
    cluster = FakeCluster("openstack:///a", ("apps", "metallb.io"))
    assert found(cluster, {"load_balancer_ip": "192.0.2.1"}) == ["metallb"]
    assert cluster.asked == ["/apis"]


def test_api_groups_that_are_known() -> None:
    """By the platform: they are not asked for again."""
    cluster = FakeCluster("gce://a/b/c", ("apps", "security.openshift.io"))
    options = provider_detection.resolved(cluster, settings({}))
    assert (options.platform, options.gateways[0].provider) == ("openshift", "google")
    assert cluster.asked == ["/apis", "/api/v1/nodes"]


def test_nodes_that_may_not_be_read() -> None:
    """Guessing would change the load balancer with the account that happens to run: the message names the variable."""
    cluster = FakeCluster("aws:///a/b")
    cluster.forbidden.add("/api/v1/nodes")
    with pytest.raises(JobError, match=r"cannot be listed: /api/v1/nodes is forbidden\. .* istio_helm_provider\.$"):
        found(cluster, {})


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ([], "aws"),
        ([service("in", {"type": "NodePort"}, "istio-system")], "aws"),
        ([service("in", {"type": "LoadBalancer"}, "elsewhere")], "aws"),
        ([service("in", {"type": "LoadBalancer"}, "istio-system")], "aws-as-it-is"),
        ([service("in", {"type": "LoadBalancer"}, "istio-system", **{SCHEME: "internet-facing"})], "aws"),
    ],
)
@pytest.mark.parametrize("given", [{}, {"provider": "aws"}])
def test_load_balancer_that_is_there_on_aws(there: list[Any], expected: str, given: dict[str, Any]) -> None:
    """Of somebody before us: another type would leave its balancer behind, a scheme might open it to the internet."""
    assert found(FakeCluster("aws:///a/b", services=there), {}, **given) == [expected]


def test_found_provider_reaches_the_values() -> None:
    """And an internal load balancer never becomes a public one for want of knowledge."""
    options = provider_detection.resolved(FakeCluster("azure:///a"), settings({"internal": True}, preset="none"))
    (release,) = composition.releases(options)
    assert release.values["service"]["annotations"] == {
        "service.beta.kubernetes.io/azure-load-balancer-internal": "true"
    }
    options = provider_detection.resolved(FakeCluster(), settings({"internal": True}, preset="none"))
    with pytest.raises(JobError, match=r"^gateways: in: internal: no setting for an internal load balancer is known"):
        composition.releases(options)


# -- node ports --------------------------------------------------------------------------------------------------------

NODE_PORT = {"type": "NodePort", "node_ports": {"http2": 30010, "https": 30011}}


def releases(*gateways: dict[str, Any], **given: Any) -> list[composition.Release]:
    """Releases that are about to be written."""
    return composition.releases(settings(*gateways, **given))


def node_port(name: str, *ports: int, namespace: str = "default") -> dict[str, Any]:
    """A Service of type NodePort."""
    held = [{"name": f"port-{port}", "port": 80, "nodePort": port} for port in ports]
    return service(name, {"type": "NodePort", "ports": held}, namespace)


@pytest.mark.parametrize("gateway", [{}, {"type": "NodePort"}, {"type": "ClusterIP"}])
def test_services_are_not_read_without_pinned_ports(gateway: dict[str, Any]) -> None:
    """Nor for a run that writes nothing."""
    cluster = FakeCluster()
    port_conflicts.refuse_taken_ports(cluster, releases(gateway))
    port_conflicts.refuse_taken_ports(cluster, [])
    assert cluster.asked == []


def test_port_that_another_service_holds_10795() -> None:
    """istio#10795: helm says "provided port is already allocated", and not by whom."""
    cluster = FakeCluster(services=[node_port("web", 30010)])
    with pytest.raises(JobError) as caught:
        port_conflicts.refuse_taken_ports(cluster, releases(NODE_PORT))
    assert str(caught.value) == (
        "Node ports are already in use; nothing was changed: gateway in, port http2: node port 30010 is in use by "
        "Service default/web (port port-30010). Choose another node port in istio_helm_gateways, or change that "
        "Service."
    )
    assert cluster.asked == ["Services", "port 30011"]


def test_all_taken_ports_are_named_45113() -> None:
    """istio#45113: whoever pins several learns of all of them at once, of those in Helm values too."""
    own = {"service": {"ports": [{"name": "tcp", "port": 9000, "nodePort": 30012}]}}
    cluster = FakeCluster(services=[node_port("web", 30010, 30011), node_port("db", 30012)])
    with pytest.raises(JobError) as caught:
        port_conflicts.refuse_taken_ports(cluster, releases(NODE_PORT, {"type": "NodePort", "values": own}))
    assert str(caught.value).count("is in use by Service") == 3
    assert "gateway in1, port tcp: node port 30012 is in use by Service default/db (port port-30012)" in str(
        caught.value
    )


def test_ports_of_an_installed_gateway_change() -> None:
    """Its own Service holds the old ones, and may hold the new ones."""
    cluster = FakeCluster(services=[node_port("in", 30010, 30020, namespace="istio-system")])
    port_conflicts.refuse_taken_ports(cluster, releases(NODE_PORT))
    assert cluster.asked == ["Services", "port 30011"]


def test_port_of_which_only_the_api_server_knows() -> None:
    """Its Service is going."""
    cluster = FakeCluster()
    cluster.refusals[30010] = TAKEN
    with pytest.raises(JobError, match="is in use by a Service that is being deleted"):
        port_conflicts.refuse_taken_ports(cluster, releases(NODE_PORT))


def test_account_that_may_not_look() -> None:
    """It cannot be warned; helm will say what it says. Rights are preflight's."""
    cluster = FakeCluster(services=[node_port("web", 30010)])
    cluster.forbidden |= {"Services", "port 30010", "port 30011"}
    port_conflicts.refuse_taken_ports(cluster, releases(NODE_PORT))
    assert cluster.asked == ["Services", "port 30010", "port 30011"]


def test_other_faults_are_not_swallowed() -> None:
    """A server that does not work is no free port."""
    cluster = FakeCluster()
    cluster.list = lambda *_arguments: (_ for _ in ()).throw(ApiError(500, "InternalError", "no"))  # type: ignore
    with pytest.raises(ApiError):
        port_conflicts.refuse_taken_ports(cluster, releases(NODE_PORT))
    cluster = FakeCluster("aws:///a")
    cluster.get = lambda *_arguments: (_ for _ in ()).throw(ApiError(500, "InternalError", "no"))  # type: ignore
    with pytest.raises(ApiError):
        found(cluster, {})


# -- an address that does not come -------------------------------------------------------------------------------------

PENDING = service("in", {"type": "LoadBalancer"}, "istio-system")
WARNING = {
    "metadata": {},
    "type": "Warning",
    "reason": "SyncLoadBalancerFailed",
    "message": "quota",
    "involvedObject": {"uid": None},
}


class Pending(FakeCluster):
    """A cluster on which a Service waits.

    :ivar events: what is said about it
    """

    def __init__(self, *events: dict[str, Any]) -> None:
        super().__init__(
            services=[{**PENDING, "metadata": {**PENDING["metadata"], "creationTimestamp": "2026-11-22T12:00:00Z"}}]
        )
        self.events = list(events)
        self.selectors: list[str | None] = []
        self.definitions: list[str] = []

    def list(self, _api_version: str, kind: str, *_where: Any, **options: Any) -> list[dict[str, Any]]:
        """Events, and the rest."""
        self._note(kind)
        if kind == "Event":
            self.selectors.append(options["field_selector"])
        named = {
            "Event": self.events,
            "Service": self.services,
            "Node": [{"metadata": {"name": "a"}, **self.nodes[0]}],
            "CustomResourceDefinition": [{"metadata": {"name": name}} for name in self.definitions],
        }
        keep = options.get("keep") or (lambda obj: obj)
        return [keep(obj) for obj in named.get(kind, [])]


def test_events_are_enough() -> None:
    """Where somebody spoke, nothing else is read."""
    cluster = Pending(WARNING)
    explain = pending_address.why_pending(cluster)
    assert cluster.asked == []
    assert "reports SyncLoadBalancerFailed: quota" in explain(PENDING).message
    assert cluster.asked == ["Event"]
    assert cluster.selectors == ["involvedObject.kind=Service,involvedObject.name=in"]


def test_cluster_is_looked_at_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody spoke: once in a while, as the lists are long."""
    cluster = Pending()
    explain = pending_address.why_pending(cluster)
    first = explain(PENDING)
    assert "nothing in this cluster assigns addresses" in first.message
    looked = ["Pod", "Service", "Node", "CustomResourceDefinition"]
    assert sorted(cluster.asked) == sorted(["Event", *looked])
    assert explain(PENDING) == first
    assert cluster.asked.count("Pod") == 1
    monkeypatch.setattr(pending_address, "LOOK_EVERY", 0.0)
    cluster.nodes = [{"spec": {"providerID": "gce://a/b/c"}}]
    assert "Google Cloud" in explain(PENDING).message


@pytest.mark.parametrize("forbidden", ["Event", "Pod", "Service", "Node", "CustomResourceDefinition"])
def test_explanation_is_worth_no_failure(forbidden: str) -> None:
    """An account may lack a right; the wait goes on."""
    cluster = Pending()
    cluster.forbidden.add(forbidden)
    message = pending_address.why_pending(cluster)(PENDING).message
    assert ("the reason is unknown" in message) == (forbidden != "Event")


def test_server_that_is_down_is_worth_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come again."""
    monkeypatch.setattr(pending_address, "listed", mock.Mock(side_effect=JobError("down")))
    assert "the reason is unknown" in pending_address.why_pending(Pending())(PENDING).message


def test_only_what_tells_of_addresses_is_read() -> None:
    """Pools too, of a provider that is there; nothing else."""
    cluster = Pending()
    cluster.definitions = ["ipaddresspools.metallb.io"]
    found = pending_address.evidence(cluster)
    kinds = ["CustomResourceDefinition", "IPAddressPool", "Node", "Pod", "Service"]
    assert sorted(cluster.asked) == kinds
    assert found is not None
    assert len(found.poolless) == 1
