# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""What is added to kind clusters, as far as it can be said without one."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import pytest
from testbed import additions, cluster, versions
from testbed.__main__ import kind_additions, parser
from testbed.additions import Site
from testbed.bed import Bed
from testbed.errors import BedError

PART = """\
        image: quay.io/metallb/{name}:v0.16.2
        livenessProbe:
          failureThreshold: 3
          initialDelaySeconds: 10
          periodSeconds: 10
        readinessProbe:
          failureThreshold: 3
          httpGet:
            path: /readyz
          initialDelaySeconds: 10
          periodSeconds: 10
          timeoutSeconds: 1
"""
MANIFEST = PART.format(name="controller") + "---\n" + PART.format(name="speaker")


@pytest.fixture
def site(tmp_path):
    own = Bed("demo", tmp_path)
    own.directory.mkdir(parents=True)
    own.state.write_text('{"source": "build"}')
    return Site(own, None, "build")


def asked(*arguments: str) -> list[str]:
    return kind_additions(parser().parse_args(["up", *arguments]))


def test_the_command_line_says_what_is_added():
    assert asked() == []
    assert asked("--load-balancer", "--air-gap") == ["load-balancer", "air-gap"]
    assert asked("--control-plane", "--load-balancer-hostname") == []
    with pytest.raises(BedError, match="--istio-cni: only supported on a kind cluster"):
        asked("--control-plane", "--istio-cni")


def test_what_is_there_is_not_added_again(site, monkeypatch):
    done = []
    for name in ("load-balancer", "air-gap"):
        monkeypatch.setitem(additions.ADDITIONS, name, lambda _site, name=name: done.append(name))
    additions.add(site, ["load-balancer"])
    additions.add(site, ["load-balancer", "air-gap"])
    assert done == ["load-balancer", "air-gap"]
    assert cluster.read_state(site.own) == {"source": "build", "additions": ["air-gap", "load-balancer"]}


def test_what_failed_is_not_noted(site, monkeypatch):
    def fail(_site):
        raise BedError("no")

    monkeypatch.setitem(additions.ADDITIONS, "air-gap", fail)
    with pytest.raises(BedError, match="no"):
        additions.add(site, ["air-gap"])
    assert cluster.read_state(site.own) == {"source": "build"}


def test_metallb_gets_our_images_and_is_asked_sooner():
    text = additions.metallb_manifest(MANIFEST, "build")
    for name in ("controller", "speaker"):
        assert f"image: {versions.IMAGE_HUB}/metallb-{name}:{versions.METALLB}\n" in text
    assert "quay.io" not in text
    before, after = text.split("readinessProbe", 1)
    assert "initialDelaySeconds: 10\n          periodSeconds: 10" in before  # its life is not taken sooner
    assert "initialDelaySeconds: 1\n          periodSeconds: 1\n" in after
    assert text.count("initialDelaySeconds: 1\n") == text.count("initialDelaySeconds: 10\n") == 2


def test_with_a_registry_metallb_has_its_own_images():
    assert additions.metallb_manifest(MANIFEST, "registry").count("quay.io/metallb/") == 2


def test_another_manifest_is_refused():
    with pytest.raises(BedError, match="not as expected"):
        additions.metallb_manifest(PART.format(name="controller"), "build")


@pytest.mark.parametrize("subnet", ["172.18.0.0/16", "192.168.207.0/24", "10.0.0.0/27"])
def test_addresses_are_of_the_upper_half_and_no_broadcast(subnet):
    network = ipaddress.ip_network(subnet)
    for number in range(50):
        first, last = map(ipaddress.ip_address, additions.pool(["fc00::/64", subnet], f"bed-{number}").split("-"))
        assert network[network.num_addresses // 2] <= first < last < network.broadcast_address
        assert int(last) - int(first) == additions.POOL_SIZE - 1


def test_clusters_beside_each_other_have_addresses_of_their_own():
    pools = {additions.pool(["172.18.0.0/16"], f"bed-{number}") for number in range(20)}
    assert len(pools) == 20
    assert additions.pool(["172.18.0.0/16"], "bed-1") == additions.pool(["172.18.0.0/16"], "bed-1")


def test_a_network_without_room_is_said():
    with pytest.raises(BedError, match="no room for a load balancer"):
        additions.pool(["fc00::/64", "10.0.0.0/29"], "bed")


def test_a_webhook_that_is_not_there_yet_is_asked_again(site, monkeypatch):
    answers = iter([BedError("connection refused"), BedError("connection refused"), None])

    def kubectl(_site, *_arguments, text):
        if error := next(answers):
            raise error
        assert json.loads(text) == {}

    monkeypatch.setattr(Site, "kubectl", kubectl)
    monkeypatch.setattr(additions.time, "sleep", lambda _seconds: None)
    additions.apply_patiently(site, "{}")
    assert next(answers, "asked no more") == "asked no more"
    answers = iter([BedError("connection refused")])
    with pytest.raises(BedError, match="connection refused"):
        additions.apply_patiently(site, "{}", seconds=-1)


@pytest.mark.parametrize(("source", "pulled"), [("build", 0), ("registry", len(versions.RELEASED_IMAGES))])
def test_behind_an_air_gap_all_images_are_there_first(site, monkeypatch, source, pulled):
    commands, loaded = [], []
    monkeypatch.setattr(additions, "run", lambda command, **_options: commands.append(list(map(str, command))))
    monkeypatch.setattr(cluster, "load_images", lambda _own, files: loaded.extend(files))
    additions.air_gap(Site(site.own, None, source))
    assert [command[:2] for command in commands].count(["docker", "pull"]) == pulled
    assert loaded == ([Path(site.own.directory / "images.tar")] if pulled else [])
    assert commands[-1][:4] == ["docker", "exec", "--interactive", site.own.node]  # the gap closes last
