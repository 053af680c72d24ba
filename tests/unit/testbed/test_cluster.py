# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""kind's configuration, and containerd's in the node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from testbed import cluster, nodeimage
from testbed.bed import Bed
from testbed.errors import BedError


def config(own_network=True, cgroup_v1=False, may_lower_oom_scores=True):
    return cluster.kind_config(Path("/audit"), own_network, cgroup_v1, may_lower_oom_scores)


def kubelet(found):
    return json.loads(found["kubeadmConfigPatches"][0])


def test_the_kubelet_is_changed_only_where_the_machine_asks_for_it():
    assert kubelet(config()) == {"kind": "KubeletConfiguration"}
    assert kubelet(config(cgroup_v1=True))["failCgroupV1"] is False
    assert kubelet(config(may_lower_oom_scores=False))["oomScoreAdj"] == 0


def test_requests_are_logged_once_into_a_directory_of_this_machine():
    found = config()
    (patch,) = found["kubeadmConfigPatchesJSON6902"]
    arguments = {
        p["value"]["name"]: p["value"]["value"] for p in json.loads(patch["patch"]) if p["path"].endswith("/-")
    }
    (mount,) = found["nodes"][0]["extraMounts"]
    assert arguments["audit-log-path"].startswith(mount["containerPath"])
    assert mount["hostPath"] == "/audit"
    assert cluster.AUDIT_POLICY["omitStages"] == ["RequestReceived", "ResponseStarted"]
    assert cluster.AUDIT_POLICY["rules"] == [{"level": "Metadata"}]


def test_only_a_built_node_brings_its_network():
    assert config(own_network=True)["networking"]["disableDefaultCNI"] is True
    assert config(own_network=False)["networking"]["disableDefaultCNI"] is False


def test_no_port_of_this_machine_is_taken():
    assert "extraPortMappings" not in config()["nodes"][0]


def test_containerd_gets_the_pause_image_that_kubeadm_wants():
    text = 'sandbox_image = "registry.k8s.io/pause:3.10"\nrestrict_oom_score_adj = false\n'
    changed = nodeimage.containerd_config(text, "registry.k8s.io/pause:3.11")
    assert changed == 'sandbox_image = "registry.k8s.io/pause:3.11"\nrestrict_oom_score_adj = true\n'
    with pytest.raises(BedError, match="not as expected"):
        nodeimage.containerd_config("", "x")


@pytest.mark.parametrize("name", ["", "Upper", "a_b", "-a", "a" * 41])
def test_names_that_kind_would_refuse_are_refused_first(name):
    with pytest.raises(BedError, match="invalid cluster name"):
        Bed(name)


def test_a_cluster_without_its_note_is_half_made(tmp_path):
    own = Bed("demo", tmp_path)
    assert cluster.read_state(own) is None
    own.directory.mkdir(parents=True)
    own.state.write_text("{")
    assert cluster.read_state(own) is None
    own.state.write_text('{"source": "build"}')
    assert cluster.read_state(own) == {"source": "build"}


@pytest.mark.parametrize(("used", "said"), [(100, False), (118, True), (128, True)])
def test_too_many_clusters_are_told_by_what_they_use_up(tmp_path, used, said):
    (tmp_path / "limit").write_text("128\n")
    (tmp_path / "7/fd").mkdir(parents=True)
    for number in range(used):
        (tmp_path / f"7/fd/{number}").symlink_to("anon_inode:inotify")
    (tmp_path / "7/fd/999").symlink_to("/dev/null")
    told = cluster.crowded(tmp_path / "limit", tmp_path)
    assert bool(told) is said
    assert not said or f"{used} inotify instances" in told


def test_dns_that_does_not_come_is_explained_where_it_can_be(monkeypatch):
    def run(command, **_options):
        if "rollout" in command:
            raise BedError("timed out")

    monkeypatch.setattr(cluster, "run", run)
    monkeypatch.setattr(cluster, "crowded", lambda _limit: "too many clusters")
    with pytest.raises(BedError, match="timed out\ntoo many clusters"):
        cluster.settle_dns(Bed("demo"), Path("kubectl"))
