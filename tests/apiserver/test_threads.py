# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users of Istio's other installers complain about, by the number of the thread, on a real API server.

Each test does what the thread tells, and holds our run to what its author had hoped for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from cluster.testcluster import TestCluster
from harness.announcements import honestly_done
from harness.in_process import Mesh, actions
from harness.snapshots import take

NAMESPACE = "istio-system"
IN_NAMESPACE = f"--namespace={NAMESPACE}"
VALIDATOR = "validatingwebhookconfiguration/istio-validator-istio-system"
GATEWAYS: list[dict[str, Any]] = [{"name": "istio-ingressgateway", "node_ports": {"http2": 30010}}]


@pytest.fixture
def empty(install: TestCluster) -> Iterator[Mesh]:
    """Yield a mesh that is not there yet; whatever becomes of it is taken away."""
    install.wipe()
    yield Mesh(install, gateways=[dict(each) for each in GATEWAYS])
    install.wipe()


@pytest.fixture(scope="module")
def _installed(install: TestCluster) -> Iterator[None]:
    """A mesh that the tests of this file share, beside those that begin with none."""
    install.wipe()
    Mesh(install, gateways=GATEWAYS).run()
    yield
    install.wipe()


@pytest.fixture
def mesh(install: TestCluster, _installed: None) -> Mesh:
    """Return a mesh that is as it is wanted."""
    found = Mesh(install, gateways=[dict(each) for each in GATEWAYS])
    found.run(repair_drift=True)
    return found


def as_manager(mesh: Mesh, manager: str, target: str, *operations: dict[str, Any]) -> None:
    """Write some fields under the name of a controller."""
    patch = json.dumps([{"op": "add", **operation} for operation in operations])
    mesh.cluster.kubectl("patch", target, "--type=json", f"--field-manager={manager}", f"--patch={patch}", IN_NAMESPACE)


def history(mesh: Mesh, release: str) -> list[str]:
    """Status of each revision."""
    told = json.loads(mesh.cluster.tool("helm", "history", release, IN_NAMESPACE, "--output=json"))
    return [each["status"] for each in told]


# -- what controllers write --------------------------------------------------------------------------------------------


def istiod_at_work(mesh: Mesh) -> None:
    """What istiod does to its validators when it is ready."""
    ca = {"path": "/webhooks/0/clientConfig/caBundle", "value": "Q0E="}
    as_manager(mesh, "pilot-discovery", VALIDATOR, {"path": "/webhooks/0/failurePolicy", "value": "Fail"}, ca)


def test_webhooks_are_not_always_changed_57643_25447(mesh: Mesh) -> None:
    """istio#57643, argo-cd#25447: out of sync for ever, since istiod writes its CA and failurePolicy."""
    istiod_at_work(mesh)
    assert actions(mesh.run(check=True)) == {}
    assert mesh.written() == []
    assert mesh.written(repair_drift=True) == []
    assert mesh.warnings == []


def test_what_somebody_edits_there_is_told_57643(empty: Mesh) -> None:
    """The same field, by another hand, is no noise. Charts say it at the first revision only: then it is istiod's."""
    empty.run()
    as_manager(empty, "kubectl-edit", VALIDATOR, {"path": "/webhooks/0/failurePolicy", "value": "Fail"})
    empty.run()
    assert [words for words in empty.warnings if "istio-validator-istio-system: webhooks[0].failurePolicy" in words]


#: AKS adds to the selector, and leaves the rest as the chart has it.
EXPRESSION = {"key": "control-plane", "operator": "DoesNotExist"}
#: A controller, what it does to which webhook, and the release whose upgrade ended there.
TAKEN = {
    "istiod": (
        "pilot-discovery",
        "validatingwebhookconfiguration/istiod-default-validator",
        {"path": "/webhooks/0/failurePolicy", "value": "Fail"},
        "istio-base",
    ),
    "AKS": (
        "admissionsenforcer",
        "mutatingwebhookconfiguration/istio-sidecar-injector",
        {"path": "/webhooks/0/namespaceSelector/matchExpressions/-", "value": EXPRESSION},
        "istiod",
    ),
}


@pytest.mark.parametrize("by", TAKEN)
def test_second_upgrade_does_not_end_in_a_conflict_60497_59367(by: str, empty: Mesh) -> None:
    """istio#60497, istio#59367: Helm 4 stops at a webhook's field that a controller holds."""
    manager, webhook, operation, release = TAKEN[by]
    values = {"base": {"base": {"validationFailurePolicy": "Ignore"}}, "istiod": {}}
    # The injector would call for an istiod that does not run here: no pod of this mesh is to be injected.
    empty.options.update(preset="none", components=["base", "istiod"], gateways=[], wait_for="nothing", values=values)
    empty.run()
    as_manager(empty, manager, webhook, operation)
    # As the thread has it: plain helm stops here. If it did not, this test would show nothing.
    chart = f"{empty.options['chart_repository']}/{release.removeprefix('istio-')}"
    upgrade = ["upgrade", release, chart, IN_NAMESPACE, "--reuse-values", "--set=global.hub=registry.example.com/istio"]
    assert "conflict" in empty.cluster.tool("helm", *upgrade, check=False)
    for each in values.values():
        each["global"] = {"hub": "registry.example.com/istio"}
    results = empty.run()
    assert actions(results)[release] == "upgrade"
    assert history(empty, release)[-1] == "deployed"
    assert empty.written() == []


# -- what other installers made ----------------------------------------------------------------------------------------


def rendered(mesh: Mesh, release: str, chart: str, *values: str) -> str:
    """What a chart renders to, without Helm's ownership."""
    path = f"{mesh.options['chart_repository']}/{chart}"
    return mesh.cluster.tool("helm", "template", release, path, IN_NAMESPACE, *(f"--set={each}" for each in values))


def test_from_istioctl_to_helm_59630(empty: Mesh) -> None:
    """istio#59630: even with --take-ownership, helm stops at what `istio-operator` holds. Unasked, we write nothing."""
    empty.cluster.kubectl("create", "namespace", NAMESPACE)
    for release, chart, *values in (
        ("istio-base", "base"),
        ("istiod", "istiod", "global.operatorManageWebhooks=true", "pilot.env.OLD=yes"),
    ):
        manifest = rendered(empty, release, chart, *values)
        manager = "--field-manager=istio-operator"
        empty.cluster.kubectl("apply", "--server-side", "--force-conflicts", manager, "-f-", stdin=manifest)
    with empty.cluster.asked() as asked:
        _crds, refused = empty.tried()
    assert "Release istio-system/istiod cannot take over existing objects: " in refused["msg"]
    assert "was created by istioctl" in refused["msg"]
    assert "istio_helm_adopt: true" in refused["msg"]
    assert [write for write in asked.writes if "customresourcedefinitions" not in write] == []
    names = honestly_done(empty.cluster, lambda: empty.run(check=True, adopt=True), lambda: empty.run(adopt=True))
    assert "changed Deployment istio-system/istiod" in names
    assert history(empty, "istiod") == ["deployed"]
    assert "OLD" not in empty.cluster.kubectl("get", "deployment/istiod", IN_NAMESPACE, "--output=yaml")
    assert empty.written(adopt=True) == []
    assert empty.written() == []


def test_definitions_of_kubectl_43204(empty: Mesh) -> None:
    """istio#43204: definitions that kubectl applied block the base chart, and users deleted them by hand."""
    base = rendered(empty, "istio-base", "base")
    definitions = [text for text in base.split("\n---\n") if "kind: CustomResourceDefinition" in text]
    empty.cluster.kubectl("apply", "--server-side", "-f-", stdin="\n---\n".join(definitions))
    before = {crd["metadata"]["uid"] for crd in empty.cluster.get("customresourcedefinitions")["items"]}
    honestly_done(empty.cluster, lambda: empty.run(check=True), empty.run)
    assert history(empty, "istio-base") == ["deployed"]
    assert {crd["metadata"]["uid"] for crd in empty.cluster.get("customresourcedefinitions")["items"]} == before
    assert empty.written() == []


def test_a_gateway_that_we_did_not_make_stays_57036(mesh: Mesh) -> None:
    """istio#57036, istio#25498: istioctl deleted gateways that its own file did not name."""
    chart = f"{mesh.options['chart_repository']}/gateway"
    mesh.cluster.tool("helm", "install", "theirs", chart, IN_NAMESPACE, "--set=service.type=ClusterIP")
    labels = "operator.istio.io/component=IngressGateways,install.operator.istio.io/owning-resource=installed-state"
    deployment = mesh.cluster.get("deployment", "istio-ingressgateway", IN_NAMESPACE)
    meta = {"name": "custom", "namespace": NAMESPACE, "labels": dict(each.split("=") for each in labels.split(","))}
    mesh.cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": deployment["spec"]})
    before = take(mesh.cluster.kubeconfig)
    values = {**mesh.options["values"], "istiod": {**mesh.options["values"]["istiod"], "env": {"A": "57036"}}}
    mesh.run(values=values, adopt=True, repair_drift=True)
    touched = {key[3] for key in before.until(take(mesh.cluster.kubeconfig))}
    assert "istiod" in touched
    assert not touched & {"theirs", "custom"}
    mesh.cluster.tool("helm", "uninstall", "theirs", IN_NAMESPACE)
    mesh.cluster.kubectl("delete", "deployment", "custom", IN_NAMESPACE)


@pytest.mark.parametrize("leftover", ["istiod-default-validator", "istio-validator-istio-system"])
def test_leftovers_of_an_earlier_installation_36905_38880(leftover: str, empty: Mesh) -> None:
    """istio#36905, istio#38880: a validator that outlived its istiod breaks the next installation, half-way."""
    rule = {"apiGroups": ["networking.istio.io"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["*"]}
    webhook = {
        "name": "validation.istio.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "clientConfig": {"service": {"name": "istiod", "namespace": "istio-old", "path": "/validate"}},
        "rules": [rule],
    }
    kind, version = "ValidatingWebhookConfiguration", "admissionregistration.k8s.io/v1"
    meta = {"name": leftover, "labels": {"app": "istiod", "istio.io/rev": "default"}}
    empty.cluster.apply({"apiVersion": version, "kind": kind, "metadata": meta, "webhooks": [webhook]})
    with empty.cluster.asked() as asked:
        _crds, refused = empty.tried()
    assert f"ValidatingWebhookConfiguration {leftover} was created by kubectl" in refused["msg"]
    assert [write for write in asked.writes if "customresourcedefinitions" not in write] == []
    honestly_done(empty.cluster, lambda: empty.run(check=True, adopt=True), lambda: empty.run(adopt=True))
    live = empty.cluster.get(kind.lower(), leftover)
    assert {each["clientConfig"]["service"]["namespace"] for each in live["webhooks"]} == {NAMESPACE}
    assert empty.written() == []


# -- ports, addresses, order -------------------------------------------------------------------------------------------


def test_a_taken_node_port_is_named_before_helm_runs_10795_45113(mesh: Mesh) -> None:
    """istio#10795, istio#45113: "provided port is already allocated", by whom nobody said, and half of it was done."""
    with mesh.cluster.namespace() as other:
        spec = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30031}]}
        meta = {"name": "theirs", "namespace": other}
        mesh.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        gateways = [{"name": "istio-ingressgateway", "node_ports": {"http2": 30031}}]
        for check in (True, False):
            with mesh.cluster.asked() as asked:
                _crds, refused = mesh.tried(check=check, gateways=gateways)
            assert "30031" in refused["msg"]
            assert f"{other}/theirs" in refused["msg"]
            assert asked.writes == []
        mesh.cluster.kubectl("delete", "service", "theirs", "--namespace", other)
        mesh.run(gateways=gateways)
    service = mesh.cluster.get("service", "istio-ingressgateway", IN_NAMESPACE)
    assert {port["name"]: port["nodePort"] for port in service["spec"]["ports"]}["http2"] == 30031


def test_a_load_balancer_that_never_comes_does_not_hang_40324_2374_1494(mesh: Mesh) -> None:
    """istio#40324, kind#2374, uds-core#1494: where nobody gives addresses, the installation of a gateway ends all the
    same, and a second one has nothing to do.
    """
    began = time.monotonic()
    gateways = [{"name": "istio-ingressgateway", "type": "LoadBalancer"}]
    assert actions(mesh.run(gateways=gateways, provider="none")) == {"istio-ingressgateway": "upgrade"}
    assert time.monotonic() - began < mesh.options["wait_timeout"]
    service = mesh.cluster.get("service", "istio-ingressgateway", IN_NAMESPACE)
    assert not service["status"]["loadBalancer"]
    assert history(mesh, "istio-ingressgateway")[-1] == "deployed"
    assert mesh.written(gateways=gateways, provider="none") == []


def test_gateways_begin_when_istiod_is_there_46307_54841(empty: Mesh) -> None:
    """istio#46307, istio#54841: a gateway's pod that comes before the injector has the image `auto`, for ever."""
    empty.run()

    def moment(text: str) -> datetime:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))

    istiod = empty.cluster.get("deployment", "istiod", IN_NAMESPACE)
    (available,) = [each for each in istiod["status"]["conditions"] if each["type"] == "Available"]
    gateway = empty.cluster.get("deployment", "istio-ingressgateway", IN_NAMESPACE)
    assert available["status"] == "True"
    assert moment(gateway["metadata"]["creationTimestamp"]) >= moment(available["lastTransitionTime"])


# -- helm as a module --------------------------------------------------------------------------------------------------


def test_a_second_run_is_not_changed_565_772(mesh: Mesh) -> None:
    """kubernetes.core#565, #772: always changed, or only with a plugin not. What means the same is the same."""
    same = json.loads(json.dumps(mesh.options["values"]))
    same["istiod"] = dict(reversed(same["istiod"].items()))
    same["istiod"]["meshConfig"] = {"defaultConfig": {"tracing": {"sampling": 100.0}}}
    mesh.run(values=same)
    revisions = history(mesh, "istiod")
    same["istiod"]["meshConfig"]["defaultConfig"]["tracing"]["sampling"] = 100
    assert mesh.written(values=same) == []
    assert history(mesh, "istiod") == revisions


def test_the_diff_is_of_what_is_live_31185_58341(mesh: Mesh) -> None:
    """istio#31185, istio#58341: what an upgrade would change of what is there, and not of what was written once."""
    mesh.cluster.kubectl("scale", "deployment/istio-ingressgateway", "--replicas=2", IN_NAMESPACE)
    mesh.cluster.kubectl("annotate", "service/istio-ingressgateway", "example.com/by=hand", IN_NAMESPACE)
    gateways = [
        {"name": "istio-ingressgateway", "node_ports": {"http2": 30010}, "annotations": {"example.com/by": "us"}}
    ]
    _crds, result = mesh.tried(check=True, gateways=gateways, repair_drift=True)
    shown = {each["before_header"]: each for each in result["diff"] if "Service" in each["before_header"]}
    (service,) = shown.values()
    assert service["before"]["metadata"]["annotations"]["example.com/by"] == "hand"
    assert service["after"]["metadata"]["annotations"]["example.com/by"] == "us"


def test_one_hub_is_enough_57215(mesh: Mesh) -> None:
    """istio#57215: `hub` without `global.hub`, and sidecars were pulled from the internet where there is none."""
    over = {"hub": "registry.example.com/istio", "tag": "1.31.0-x"}
    honestly_done(mesh.cluster, lambda: mesh.run(check=True, **over), lambda: mesh.run(**over))
    istiod = mesh.cluster.get("deployment", "istiod", IN_NAMESPACE)
    images = [each["image"] for each in istiod["spec"]["template"]["spec"]["containers"]]
    assert images == ["registry.example.com/istio/pilot:1.31.0-x"]
    injector = mesh.cluster.get("configmap", "istio-sidecar-injector", IN_NAMESPACE)
    told = json.loads(injector["data"]["values"])["global"]
    assert (told["hub"], told["tag"]) == ("registry.example.com/istio", "1.31.0-x")


def test_nothing_of_an_uninstalled_mesh_is_in_the_way_41607(empty: Mesh) -> None:
    """istio#41607: ConfigMaps that istiod leaves in every namespace; a release that was uninstalled and its history."""
    empty.run()
    for release in ("istio-ingressgateway", "istiod", "istio-base"):
        empty.cluster.tool("helm", "uninstall", release, IN_NAMESPACE, "--keep-history")
    for name in ("istio-ca-root-cert", "istio-leader"):
        empty.cluster.kubectl("create", "configmap", name, IN_NAMESPACE, "--field-manager=pilot-discovery")
    honestly_done(empty.cluster, lambda: empty.run(check=True), empty.run)
    assert history(empty, "istiod")[-1] == "deployed"
    assert empty.written() == []
