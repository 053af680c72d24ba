# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""The cloud whose load balancers have host names."""

from __future__ import annotations

import re

import pytest
from testbed import loadbalancer

UID = "0123abcd-4567-89ab-cdef-0123456789ab"


def service(kind="LoadBalancer", ingress=None, **spec):
    status = {"loadBalancer": {"ingress": ingress} if ingress else {}}
    return {"metadata": {"uid": UID}, "spec": {"type": kind, **spec}, "status": status}


def test_a_name_is_as_aws_would_give_it_and_nobody_s():
    name = loadbalancer.hostname(service())
    assert re.fullmatch(r"a[0-9a-f]{31}-[0-9a-f]{16}\.elb\.[a-z0-9-]+\.amazonaws\.example", name)


def test_a_service_gets_its_name_once():
    status = loadbalancer.wanted(service())
    ingress = status["status"]["loadBalancer"]["ingress"]
    assert ingress == [{"hostname": loadbalancer.hostname(service())}]
    assert loadbalancer.wanted(service(ingress=ingress)) is None


@pytest.mark.parametrize(
    "other", [service("NodePort"), service("ClusterIP"), service(loadBalancerClass="example.com/own")]
)
def test_others_are_left_alone(other):
    assert loadbalancer.wanted(other) is None


def test_one_that_is_being_deleted_is_left_alone():
    going = service()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert loadbalancer.wanted(going) is None


def test_another_s_address_is_replaced_as_the_bed_has_no_other_load_balancer():
    assert loadbalancer.wanted(service(ingress=[{"ip": "192.0.2.1"}]))
