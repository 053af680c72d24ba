# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""What can be said of a control plane alone without one."""

from __future__ import annotations

import json
import socket

import pytest
from testbed import controlplane, versions
from testbed.__main__ import control_plane_settings, parser
from testbed.bed import Bed
from testbed.errors import BedError
from testbed.programs import Settings


def settings(*arguments: str) -> Settings | None:
    """What a command line asks for."""
    return control_plane_settings(parser().parse_args(["up", *arguments]))


def test_the_command_line_says_what_it_is_to_be():
    assert settings() is None
    assert settings("--control-plane") == Settings(versions.KUBERNETES)
    assert settings("--control-plane", "v1.24.17", "--psp", "--nodes", "3") == Settings("v1.24.17", 3, psp=True)
    assert settings("--control-plane", "--pod-security=baseline", "--crd=a", "--crd=b") == Settings(
        pod_security="baseline", crds=("a", "b")
    )
    assert settings("--control-plane", "--load-balancer-hostname") == Settings(load_balancer_hostname=True)
    for flag in ("--psp", "--load-balancer-hostname"):
        with pytest.raises(BedError, match="require --control-plane"):
            settings(flag)
    with pytest.raises(BedError, match="at least one node"):
        settings("--control-plane", "--nodes=0")


def test_free_ports_are_free_and_differ():
    ports = controlplane.free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        assert not controlplane.listens(port)
        socket.create_server(("127.0.0.1", port)).close()


def test_a_secret_is_for_our_eyes_only_and_replaces_what_was_open(tmp_path):
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    controlplane.write_secret(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["secret"]


def test_a_bed_is_told_by_its_plan(tmp_path):
    own = Bed("demo", tmp_path)
    own.directory.mkdir(parents=True)
    assert not controlplane.is_one(own)
    assert controlplane.beds(tmp_path) == controlplane.beds(tmp_path / "no checkout") == []
    assert controlplane.read_plan(own) is None
    plan = {"settings": Settings(nodes=2).as_data(), "commands": {"etcd": ["etcd"]}}
    controlplane.plan_file(own).write_text(json.dumps(plan))
    assert controlplane.is_one(own)
    assert controlplane.beds(tmp_path) == [own]
    assert controlplane.describe(own) == f"Kubernetes {versions.KUBERNETES}, 2 nodes, half-made"
    assert controlplane.processes(own) == [("etcd", None)]
    controlplane.plan_file(own).write_text("{")
    assert controlplane.describe(own) == "half-made"


def test_one_with_other_settings_is_not_thrown_away_unasked(tmp_path):
    own = Bed("demo", tmp_path)
    own.directory.mkdir(parents=True)
    controlplane.plan_file(own).write_text(json.dumps({"settings": Settings().as_data(), "commands": {}}))
    own.state.write_text('{"charts": "/charts"}')
    with pytest.raises(BedError, match=r"2 nodes\. Run `down --name demo`"):
        controlplane.up(own, Settings(nodes=2), None, print)


def test_clearing_leaves_nothing_of_an_earlier_bed(tmp_path):
    own = Bed("demo", tmp_path)
    (own.directory / "etcd/member").mkdir(parents=True)
    own.state.write_text("{}")
    own.kubeconfig.write_text("{}")
    controlplane.clear(own)
    assert list(own.directory.iterdir()) == []


def test_an_unknown_definition_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(BedError, match="securitycontextconstraints"):
        controlplane.crd_file("nonsense", None)
    (tmp_path / "crd.yaml").touch()
    assert controlplane.crd_file(str(tmp_path / "crd.yaml"), None) == tmp_path / "crd.yaml"


def test_a_program_that_ends_is_named_with_its_last_words(tmp_path):
    own = Bed("demo", tmp_path)
    running = controlplane.daemons(own)
    running.start("etcd", ["sh", "-c", "echo address already in use; exit 1"])
    with pytest.raises(BedError, match=r"etcd exited. Last lines of its log:\naddress already in use"):
        controlplane.await_that(own, "nothing", lambda: False, seconds=10)


def test_waiting_ends():
    with pytest.raises(BedError, match=r"timed out after 0.1 s: the moon"):
        controlplane.await_that(Bed("demo"), "the moon", lambda: False, seconds=0.1)
