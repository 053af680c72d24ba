# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gateway's options of exposure become in the values of its chart, and what is refused early."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition
from ansible_collections.meshops.istio.plugins.module_utils.mesh.options import MESH_ARGUMENT_SPEC
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import MeshOptions

NLB = "service.beta.kubernetes.io/aws-load-balancer-type"
SCHEME = "service.beta.kubernetes.io/aws-load-balancer-scheme"


def values_of(gateway: dict[str, Any], **given: Any) -> dict[str, Any]:
    """The values of a gateway called edge."""
    options = {"chart_version": "1.31.0", "gateways": [{"name": "edge", **gateway}], **given}
    result = ArgumentSpecValidator(copy.deepcopy(MESH_ARGUMENT_SPEC)).validate(options)
    assert not result.error_messages
    (found,) = [
        release
        for release in composition.releases(MeshOptions.of(result.validated_parameters))
        if release.name == "edge"
    ]
    return found.values


def refused(gateway: dict[str, Any], **given: Any) -> str:
    """The message with which it is refused."""
    with pytest.raises(JobError) as caught:
        values_of(gateway, **given)
    return str(caught.value)


def test_nothing_is_the_charts_own() -> None:
    """No key of which nobody spoke."""
    values = values_of({})
    assert set(values) == {"service", "readinessProbe"}
    assert set(values["service"]) == {"type", "ports"}


@pytest.mark.parametrize("number", [0, 3])
def test_replicas(number: int) -> None:
    """A fixed number; the chart's autoscaler, which would set its own, is off unless somebody wants it."""
    values = values_of({"replicas": number})
    assert (values["replicaCount"], values["autoscaling"]) == (number, {"enabled": False})
    values = values_of({"replicas": number, "values": {"autoscaling": {"enabled": True}}})
    assert values["autoscaling"] == {"enabled": True}


def test_labels_and_annotations() -> None:
    """Texts, as Kubernetes wants them, whatever YAML made of them; the user's values win."""
    values = values_of({"labels": {"team": "web", "tier": 1}, "annotations": {"example.com/on": True, "b": "c"}})
    assert values["labels"] == {"team": "web", "tier": "1"}
    assert values["service"]["annotations"] == {"example.com/on": "true", "b": "c"}
    over = {"labels": {"team": "ops"}, "service": {"annotations": {"b": "d"}}}
    values = values_of({"labels": {"team": "web"}, "annotations": {"b": "c"}, "values": over})
    assert (values["labels"], values["service"]["annotations"]) == ({"team": "ops"}, {"b": "d"})


def test_fields_of_the_service() -> None:
    """By the chart's names."""
    given = {
        "external_traffic_policy": "Local",
        "load_balancer_class": "example.com/ours",
        "load_balancer_source_ranges": ["192.0.2.0/24", "2001:db8::/32"],
    }
    service = values_of(given)["service"]
    assert {key: value for key, value in service.items() if key not in ("type", "ports")} == {
        "externalTrafficPolicy": "Local",
        "loadBalancerClass": "example.com/ours",
        "loadBalancerSourceRanges": ["192.0.2.0/24", "2001:db8::/32"],
    }
    assert values_of({"type": "NodePort", "external_traffic_policy": "Local"})["service"]["externalTrafficPolicy"]


def test_provider() -> None:
    """Its annotations are under the user's, one of which may take ours away."""
    values = values_of({}, provider="aws")
    assert values["service"]["annotations"] == {NLB: "nlb", SCHEME: "internet-facing"}
    values = values_of({"annotations": {NLB: None, SCHEME: "internal"}}, provider="aws")
    assert values["service"]["annotations"] == {SCHEME: "internal"}
    values = values_of({"load_balancer_ip": "192.0.2.1"}, provider="google")
    assert values["service"]["loadBalancerIP"] == "192.0.2.1"
    assert "annotations" not in values["service"]


def test_provider_of_other_types() -> None:
    """They have no load balancer."""
    assert "annotations" not in values_of({}, provider="aws", exposure="NodePort")["service"]


@pytest.mark.parametrize(
    ("gateway", "option"),
    [
        ({"type": "ClusterIP", "external_traffic_policy": "Local"}, "external_traffic_policy"),
        ({"type": "NodePort", "internal": True}, "internal"),
        ({"type": "NodePort", "load_balancer_ip": "192.0.2.1"}, "load_balancer_ip"),
        ({"type": "NodePort", "load_balancer_class": "a/b"}, "load_balancer_class"),
        ({"type": "ClusterIP", "load_balancer_source_ranges": ["192.0.2.0/24"]}, "load_balancer_source_ranges"),
    ],
)
def test_option_of_another_type(gateway: dict[str, Any], option: str) -> None:
    """Kubernetes would refuse it after half of the mesh is installed, or say nothing."""
    message = refused(gateway)
    assert message.startswith(f"gateways: edge: {option} applies only to a Service of type ")
    assert f", and this one is {gateway['type']}. Remove " in message


@pytest.mark.parametrize("text", ["192.0.2.0/33", "everywhere", ""])
def test_range_that_is_none(text: str) -> None:
    """Named."""
    message = refused({"load_balancer_source_ranges": [text]})
    assert message.startswith(f"gateways: edge: load_balancer_source_ranges: {text} is not a CIDR range, such as ")


def test_provider_that_cannot() -> None:
    """Named with the gateway; while the provider is not known yet, nothing is refused."""
    assert refused({"internal": True}, provider="metallb").startswith("gateways: edge: internal: MetalLB assigns")
    values_of({"internal": True})
