# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever somebody deletes, edits or rolls back: the next run says so, and sets right what it is to set right.

What `helm list` and `helm history` tell meanwhile is what a user of Helm expects.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
import yaml
from harness.announcements import broken_promises, honestly_done
from harness.in_process import Mesh, actions
from harness.snapshots import take

NAMESPACE = "istio-system"
DRIFT_FIX = "It was left as it is. To revert it, set istio_helm_repair_drift: true."
RELEASES = {"istio-base": "base", "istiod": "istiod", "istio-cni": "cni", "istio-ingressgateway": "gateway"}
DEFINITION = "CustomResourceDefinition"


def helm(mesh: Mesh, *arguments: str) -> Any:
    """What helm tells, as data."""
    return json.loads(mesh.cluster.tool("helm", *arguments, f"--namespace={NAMESPACE}", "--output=json"))


def history(mesh: Mesh, release: str) -> list[tuple[int, str, str]]:
    """Revision, status and description of each revision of a release, without the chart that a run of ours names."""
    told = helm(mesh, "history", release)
    return [(each["revision"], each["status"], each["description"].partition(" by meshops")[0]) for each in told]


def test_helm_list(mesh: Mesh) -> None:
    """Each release once, deployed, with the chart and version of it; and however often we run, no revision more."""
    version = mesh.options["chart_version"]
    wanted = {name: ("deployed", f"{chart}-{version}") for name, chart in RELEASES.items()}
    for _run in range(2):
        told = helm(mesh, "list")
        assert {each["name"]: (each["status"], each["chart"]) for each in told} == wanted
        assert {history(mesh, name)[-1] for name in RELEASES} == {(1, "deployed", "Install complete")}
        described = [helm(mesh, "history", name)[-1]["description"] for name in RELEASES]
        assert all(
            re.fullmatch(r"Install complete by meshops\.istio, of chart sha256:\w{64}", each) for each in described
        )
        assert mesh.written() == []


@pytest.mark.parametrize("release", RELEASES)
def test_any_one_object_that_is_deleted(release: str, mesh: Mesh) -> None:
    """Each object of the release's manifest, one after the other, is back as it was after one run."""
    manifest = mesh.cluster.tool("helm", "get", "manifest", release, f"--namespace={NAMESPACE}")
    objects = [obj for obj in yaml.load_all(manifest, yaml.CSafeLoader) if obj]
    assert len(objects) > 4
    wrong: list[str] = []
    # Charts leave failurePolicy out from the first upgrade on, since istiod sets it: here nobody does, and it changes.
    mesh.cluster.kubectl("delete", "serviceaccount", objects[0]["metadata"]["name"], f"--namespace={NAMESPACE}")
    assert actions(mesh.run()) == {release: "restore"}
    before = take(mesh.cluster.kubeconfig)
    for obj in objects:
        kind, name = obj["kind"], obj["metadata"]["name"]
        group = obj["apiVersion"].partition("/")[0] if "/" in obj["apiVersion"] else ""
        named = f"{kind}.{group}".rstrip(".")
        mesh.cluster.kubectl("delete", named, name, f"--namespace={NAMESPACE}")
        results = mesh.run()
        if kind == DEFINITION:
            expected = results[0]["objects"] == [f"{DEFINITION} {name}"] and not results[1]["changed"]
        else:
            place = (
                ""
                if (group, kind) == ("", "Namespace") or kind.startswith(("Cluster", "Validat", "Mutat"))
                else NAMESPACE
            )
            missing = f"missing: {kind} {'/'.join(filter(None, (place, name)))}"
            expected = [step["reasons"] for step in results[1]["releases"] if step["reasons"]] == [[missing]]
        if not expected:
            wrong.append(f"{named}/{name}: {results[0]['objects']} {actions(results)}")
        # As it was, down to the last field.
        wrong += [f"{named}/{name}: {line}" for line in broken_promises({}, before, take(mesh.cluster.kubeconfig))]
    assert wrong == []
    assert mesh.written() == []


def test_helm_rollback(mesh: Mesh) -> None:
    """Somebody rolls back by hand: the next run brings the wanted state, and helm's history tells all of it."""
    wanted = {**mesh.options["values"], "istio-ingressgateway": {"podAnnotations": {"example.com/a": "b"}}}
    revision = history(mesh, "istio-ingressgateway")[-1][0]
    assert actions(mesh.run(values=wanted)) == {"istio-ingressgateway": "upgrade"}
    after = take(mesh.cluster.kubeconfig)
    mesh.cluster.tool("helm", "rollback", "istio-ingressgateway", str(revision), f"--namespace={NAMESPACE}")
    names = honestly_done(mesh.cluster, lambda: mesh.run(check=True, values=wanted), lambda: mesh.run(values=wanted))
    assert "changed Deployment istio-system/istio-ingressgateway" in names
    assert broken_promises({}, after, take(mesh.cluster.kubeconfig)) == []
    assert history(mesh, "istio-ingressgateway")[-4:] == [
        (revision, "superseded", history(mesh, "istio-ingressgateway")[-4][2]),
        (revision + 1, "superseded", "Upgrade complete"),
        (revision + 2, "superseded", f"Rollback to {revision}"),
        (revision + 3, "deployed", "Upgrade complete"),
    ]
    assert mesh.written(values=wanted) == []
    mesh.run()


# -- drift -------------------------------------------------------------------------------------------------------------

ISTIOD, GATEWAY = "deployment/istiod", "istio-ingressgateway"
#: What somebody does by kubectl, and what the warning says of it.
DRIFT: dict[str, tuple[list[str], str]] = {
    "a field of a pod": (
        [
            "patch",
            "daemonset/istio-cni-node",
            "--type=merge",
            '--patch={"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 9}}}}',
        ],
        "DaemonSet istio-system/istio-cni-node: spec.template.spec.terminationGracePeriodSeconds",
    ),
    "a node port": (
        [
            "patch",
            f"service/{GATEWAY}",
            "--type=json",
            '--patch=[{"op": "replace", "path": "/spec/ports/1/nodePort", "value": 30017}]',
        ],
        "Service istio-system/istio-ingressgateway: spec.ports[1].nodePort",
    ),
    "settings": (
        ["patch", "configmap/istio", "--type=merge", '--patch={"data": {"mesh": "accessLogFile: /dev/stdout"}}'],
        "ConfigMap istio-system/istio: data.mesh",
    ),
    "a label that is gone": (
        ["label", "clusterrole/istiod-clusterrole-istio-system", "app-"],
        "ClusterRole istiod-clusterrole-istio-system: metadata.labels.app",
    ),
    "a list": (
        ["patch", "clusterrole/istio-reader-clusterrole-istio-system", "--type=merge", '--patch={"rules": []}'],
        "ClusterRole istio-reader-clusterrole-istio-system: rules",
    ),
    "an argument": (
        [
            "patch",
            ISTIOD,
            "--type=json",
            '--patch=[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--log_as_json"}]',
        ],
        "Deployment istio-system/istiod: spec.template.spec.containers[0].args",
    ),
}


@pytest.mark.parametrize("name", DRIFT)
def test_drift(name: str, mesh: Mesh) -> None:
    """It is told and left alone; set back when that is asked for, as announced; and then there is silence."""
    arguments, words = DRIFT[name]
    before = take(mesh.cluster.kubeconfig)
    mesh.cluster.kubectl(*arguments, f"--namespace={NAMESPACE}")
    edited = take(mesh.cluster.kubeconfig)
    assert len(before.until(edited)) == 1
    with mesh.cluster.asked() as asked:
        results = mesh.run()
    assert (asked.writes, actions(results)) == ([], {})
    (drift,) = [drift for step in results[1]["releases"] for drift in step["drift"]]
    assert drift.startswith(words)
    assert mesh.warnings == [f"Drift detected: {drift} was modified outside Helm. {DRIFT_FIX}"]
    revisions = {release: history(mesh, release)[-1][0] for release in RELEASES}
    names = honestly_done(
        mesh.cluster, lambda: mesh.run(check=True, repair_drift=True), lambda: mesh.run(repair_drift=True)
    )
    assert names == [f"changed {words.partition(':')[0]}"]
    assert broken_promises({}, before, take(mesh.cluster.kubeconfig)) == []
    # One release, one revision.
    assert sum(history(mesh, release)[-1][0] - revisions[release] for release in RELEASES) == 1
    assert mesh.written(repair_drift=True) == []
    assert mesh.written() == []
    assert mesh.warnings == []


def test_what_others_add_is_no_drift(mesh: Mesh) -> None:
    """An annotation, a label, a restart, a scaling under the autoscaler: not ours to tell or to take away."""
    mesh.cluster.kubectl("annotate", ISTIOD, "example.com/team=mesh", f"--namespace={NAMESPACE}")
    mesh.cluster.kubectl("label", f"service/{GATEWAY}", "example.com/team=edge", f"--namespace={NAMESPACE}")
    mesh.cluster.kubectl("rollout", "restart", ISTIOD, f"--namespace={NAMESPACE}")
    mesh.cluster.kubectl("scale", ISTIOD, "--replicas=2", f"--namespace={NAMESPACE}")
    assert mesh.written() == []
    assert mesh.warnings == []
    assert mesh.written(repair_drift=True) == []
    values = copy.deepcopy(mesh.options["values"])
    values["istiod"]["env"] = {"A": "b"}
    honestly_done(mesh.cluster, lambda: mesh.run(check=True, values=values), lambda: mesh.run(values=values))
    live = mesh.cluster.get(ISTIOD, f"--namespace={NAMESPACE}")
    assert live["metadata"]["annotations"]["example.com/team"] == "mesh"
    assert "kubectl.kubernetes.io/restartedAt" in live["spec"]["template"]["metadata"]["annotations"]
    mesh.run()
