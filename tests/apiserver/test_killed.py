# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed in the middle of a release, of any release, and what the next one makes of it.

``harness.gate`` holds helm when the first object of the release is written, so that the kill hits for certain.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.testcluster import TestCluster
from harness.announcements import honestly_done
from harness.gate import Gate
from harness.in_process import Mesh, actions
from harness.playbooks import kill

NAMESPACE = "istio-system"
RELEASES = (
    "istio-base",
    "istiod",
    "istio-cni",
    "ztunnel",
    "istio-ingressgateway",
    "istio-egressgateway",
    "prometheus",
)
SECONDS = 300.0  # a machine may be busy


@pytest.fixture(scope="module")
def mesh(install: TestCluster) -> Iterator[Mesh]:
    """Yield a mesh with something of everything."""
    install.wipe()
    found = Mesh(
        install,
        profile="ambient",
        components=["base", "istiod", "cni", "ztunnel", "prometheus"],
        gateways=[{"name": "istio-ingressgateway"}, {"name": "istio-egressgateway"}],
        addons_repository=f"{install.variables['istio_helm_chart_repository']}/addons",
    )
    found.run()
    yield found
    install.wipe()


@pytest.fixture
def helm(mesh: Mesh, tmp_path: Path) -> Any:
    """Return what makes a gate in front of a release."""

    def gate(release: str, writes: int = 1) -> Gate:
        real = Path(mesh.options["helm_binary"])
        return Gate(mesh.cluster.kubeconfig, tmp_path, real, release, writes)

    return gate


def history(mesh: Mesh, release: str) -> list[tuple[int, str, str]]:
    """What `helm history` tells: revision, status, description without the chart that a run of ours names."""
    told = json.loads(mesh.cluster.tool("helm", "history", release, f"--namespace={NAMESPACE}", "--output=json"))
    return [(each["revision"], each["status"], each["description"].partition(" by meshops")[0]) for each in told]


def killed_in(mesh: Mesh, gate: Gate, **over: Any) -> None:
    """Kill a run, and its helm, when helm is in the middle of the release."""
    with gate:
        run = mesh.start(helm_binary=str(gate.helm), **over)
        try:
            assert gate.reached.wait(SECONDS), run.stdout and run.stdout.read()
        finally:
            kill(run)


@pytest.mark.parametrize("release", RELEASES)
def test_while_it_is_installed(release: str, mesh: Mesh, helm: Any) -> None:
    """The next run says what it is going to do, recovers the release, and leaves nothing for the one after it."""
    mesh.cluster.tool("helm", "uninstall", release, f"--namespace={NAMESPACE}", "--wait")
    killed_in(mesh, helm(release))
    assert [status for _revision, status, _words in history(mesh, release)] == ["pending-install"]
    done: list[list[dict[str, Any]]] = []
    honestly_done(mesh.cluster, lambda: mesh.run(check=True), lambda: done.append(mesh.run()))
    assert actions(done[0]) == {release: "recover"}
    assert history(mesh, release) == [(1, "deployed", "Install complete")]
    assert mesh.written() == []
    assert (
        mesh.cluster.get("leases", f"--namespace={NAMESPACE}", "--selector=app.kubernetes.io/managed-by")["items"] == []
    )


def upgraded(mesh: Mesh, release: str, word: str) -> dict[str, Any]:
    """Values by which pods of a release become others."""
    annotations = {"podAnnotations": {"example.com/upgraded": word}}
    return {**mesh.options["values"], release: {**mesh.options["values"].get(release, {}), **annotations}}


@pytest.mark.parametrize("writes", [1, 4])
@pytest.mark.parametrize("release", ["istiod", "istio-ingressgateway"])
def test_while_it_is_upgraded(release: str, writes: int, mesh: Mesh, helm: Any) -> None:
    """Helm's records are as if nobody had been killed: what was deployed, and the upgrade."""
    before = history(mesh, release)
    values = upgraded(mesh, release, f"{writes} written")
    killed_in(mesh, helm(release, writes), values=values)
    assert [status for _revision, status, _words in history(mesh, release)][-2:] == ["deployed", "pending-upgrade"]
    done: list[list[dict[str, Any]]] = []
    honestly_done(
        mesh.cluster, lambda: mesh.run(check=True, values=values), lambda: done.append(mesh.run(values=values))
    )
    assert actions(done[0]) == {release: "recover"}
    assert history(mesh, release)[-2:] == [
        (before[-1][0], "superseded", before[-1][2]),
        (before[-1][0] + 1, "deployed", "Upgrade complete"),
    ]
    assert mesh.written(values=values) == []


@pytest.mark.parametrize("goes_on", [True, False])
def test_that_fails_half_way(goes_on: bool, mesh: Mesh, helm: Any) -> None:
    """The API server is gone in the middle of an upgrade. Going on, or going back, is announced as it is done."""
    mesh.run()
    values = upgraded(mesh, "istiod", f"failed, {goes_on}")
    with helm("istiod", 4) as gate:
        run = mesh.start(helm_binary=str(gate.helm), values=values)
        assert gate.reached.wait(SECONDS)
        gate.refuse()
        said, _none = run.communicate(timeout=SECONDS)
    assert "helm upgrade istiod" in said
    assert history(mesh, "istiod")[-1][1] == "failed"
    over = {"values": values} if goes_on else {}
    honestly_done(mesh.cluster, lambda: mesh.run(check=True, **over), lambda: mesh.run(**over))
    assert history(mesh, "istiod")[-1][1:] == ("deployed", "Upgrade complete")
    assert mesh.written(**over) == []


def test_somebody_elses_that_is_alive(mesh: Mesh, helm: Any) -> None:
    """Another pipeline's helm, in the middle of its work: named, left alone, in check mode too, and it ends well."""
    chart = f"{mesh.options['chart_repository']}/gateway"
    with helm("istio-egressgateway") as gate:
        command = [gate.helm, "upgrade", "istio-egressgateway", chart, f"--namespace={NAMESPACE}", "--reset-values"]
        theirs = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert gate.reached.wait(SECONDS)
        secret = f"sh.helm.release.v1.istio-egressgateway.v{history(mesh, 'istio-egressgateway')[-1][0]}"
        before = mesh.cluster.get("secret", secret, f"--namespace={NAMESPACE}")
        for check in (True, False):
            with mesh.cluster.asked() as asked:
                _crds, result = mesh.tried(check=check)
            assert result["failed"]
            assert result["msg"].startswith(f"Release {NAMESPACE}/istio-egressgateway has been pending-upgrade for ")
            assert "another pipeline may be running" in result["msg"]
            # The lock, taken and given back, is all.
            assert [write for write in asked.writes if "/leases" not in write] == []
        assert mesh.cluster.get("secret", secret, f"--namespace={NAMESPACE}") == before
        gate.open()
        said, _none = theirs.communicate(timeout=SECONDS)
        assert theirs.returncode == 0, said
    assert history(mesh, "istio-egressgateway")[-1][1:] == ("deployed", "Upgrade complete")
    assert actions(mesh.run()) == {"istio-egressgateway": "upgrade"}
    assert mesh.written() == []
