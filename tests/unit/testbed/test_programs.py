# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""What the programs of a control plane alone are told."""

from __future__ import annotations

import base64
import csv
import ipaddress
import json
from pathlib import Path

import pytest
from testbed import programs, versions
from testbed.errors import BedError
from testbed.programs import Files, Settings

NAMES = ("etcd", *versions.CONTROL_PLANE_PROGRAMS, "kwok")
FILES = Files(Path("/bed"))
TODAY = Settings()


def told(settings: Settings = TODAY) -> dict[str, dict[str, str]]:
    """The flags of each program."""
    ports = dict(zip(programs.PORTS, (1, 2, 3), strict=True))
    lines = programs.command_lines(settings, FILES, ports, {name: Path("/bin-directory") / name for name in NAMES})
    assert tuple(lines) == NAMES + ("load-balancer",) * settings.load_balancer_hostname
    if settings.load_balancer_hostname:
        python, script, kubeconfig = lines.pop("load-balancer")
        assert Path(python).exists()
        assert Path(script).is_file()
        assert kubeconfig == str(FILES.kubeconfig("load-balancer"))
    assert all(words[0] == f"/bin-directory/{name}" for name, words in lines.items())
    return {name: dict(word[2:].split("=", 1) for word in words[1:]) for name, words in lines.items()}


def test_everything_listens_on_this_machine_only():
    found = told()
    assert found["kube-apiserver"]["bind-address"] == "127.0.0.1"
    assert found["kube-apiserver"]["secure-port"] == "3"
    assert found["kube-apiserver"]["etcd-servers"] == found["etcd"]["listen-client-urls"] == "http://127.0.0.1:1"
    for name in ("kube-controller-manager", "kube-scheduler"):
        assert found[name]["secure-port"] == "0"


def test_service_addresses_lead_nowhere_but_here():
    services = ipaddress.ip_network(told()["kube-apiserver"]["service-cluster-ip-range"])
    assert services.is_loopback
    assert ipaddress.ip_address("127.0.0.1") not in services
    assert ipaddress.ip_address("127.0.0.53") not in services  # where resolvers listen


def test_pods_meet_admission_as_their_controllers_not_as_an_administrator():
    assert told()["kube-controller-manager"]["use-service-account-credentials"] == "true"
    assert dict(programs.USERS.values())["system:kube-controller-manager"] == ""


def test_policy_admission_is_on_where_it_is_asked_for():
    plugins = "enable-admission-plugins"
    assert told()["kube-apiserver"][plugins] == "NodeRestriction"
    with_policies = told(Settings(versions.PSP_KUBERNETES, psp=True))
    assert with_policies["kube-apiserver"][plugins] == "NodeRestriction,PodSecurityPolicy"


def test_a_level_is_enforced_where_it_is_asked_for():
    assert "admission-control-config-file" not in told()["kube-apiserver"]
    hardened = told(Settings(pod_security="baseline"))["kube-apiserver"]
    assert hardened["admission-control-config-file"] == str(FILES.admission)
    (plugin,) = programs.admission_configuration("baseline")["plugins"]
    assert plugin["configuration"]["defaults"]["enforce"] == "baseline"
    assert plugin["configuration"]["exemptions"] == {"namespaces": ["kube-system"]}


def test_with_a_cloud_s_load_balancer_nodes_are_that_cloud_s():
    (node,) = programs.nodes(Settings(load_balancer_hostname=True))["items"]
    assert node["spec"] == {"providerID": "aws:///eu-central-1a/i-00000000000000001"}
    assert programs.nodes(TODAY)["items"][0]["spec"] == {}


def test_a_load_balancer_is_played_where_it_is_asked_for_by_somebody_of_the_system():
    assert told(Settings(load_balancer_hostname=True)) == told()
    assert programs.USERS["load-balancer"][0].startswith("system:")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"version": "v1.2.3"}, "unknown Kubernetes v1.2.3"),
        ({"psp": True}, "has no PodSecurityPolicy"),
        ({"nodes": 0}, "at least one node"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_built(wrong, message):
    with pytest.raises(BedError, match=message):
        Settings(**wrong)


def test_settings_come_back_from_a_file_as_they_were():
    settings = Settings(versions.PSP_KUBERNETES, 3, True, "restricted", ("/a.yaml", "b"), True)
    assert Settings.from_data(json.loads(json.dumps(settings.as_data()))) == settings
    assert str(settings) == (
        "Kubernetes v1.24.17, 3 nodes, PodSecurityPolicy, pod security restricted, load balancers with host names, "
        "a.yaml, b"
    )


def test_everybody_has_a_token_and_its_groups():
    tokens = {name: f"token-of-{name}" for name in programs.USERS}
    rows = list(csv.reader(programs.token_table(tokens).splitlines()))
    assert rows[0] == ["token-of-admin", "kubernetes-admin", "kubernetes-admin", "system:masters"]
    assert [row[0] for row in rows] == list(tokens.values())
    # All but the administrator count as the system's when requests are counted.
    assert all(row[1].startswith("system:") for row in rows[1:])


def test_a_kubeconfig_holds_all_that_is_needed():
    found = programs.kubeconfig("bed-123456", 6443, "-----CA-----", "secret")
    (cluster,) = found["clusters"]
    assert cluster["cluster"]["server"] == "https://127.0.0.1:6443"
    assert base64.b64decode(cluster["cluster"]["certificate-authority-data"]) == b"-----CA-----"
    assert "insecure-skip-tls-verify" not in cluster["cluster"]
    assert found["users"][0]["user"] == {"token": "secret"}
    assert found["current-context"] == found["contexts"][0]["name"] == "bed-123456"


def test_the_ca_is_the_last_of_the_chain():
    own, ca = (f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n" for name in ("own", "ca"))
    assert programs.ca_certificate(own + ca) == ca
    with pytest.raises(BedError, match="does not come with its CA's"):
        programs.ca_certificate(own)


def test_nodes_have_room_an_address_and_kwok_s_mark():
    first, second = programs.nodes(Settings(nodes=2))["items"]
    assert first["metadata"]["annotations"]["kwok.x-k8s.io/node"] == "fake"
    assert first["status"]["allocatable"] == {"cpu": "8", "memory": "32Gi", "pods": "250"}
    assert first["status"]["addresses"][0] == {"type": "InternalIP", "address": "127.18.0.1"}
    assert first["status"]["addresses"][1] == {"type": "Hostname", "address": "node-1.invalid"}
    assert second["metadata"]["name"] == "node-2"
    assert programs.nodes(Settings(nodes=300))["items"][-1]["status"]["addresses"][0]["address"] == "127.18.1.44"
