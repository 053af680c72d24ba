# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role psp_rbac on real API servers: pods that were refused through a Deployment are admitted, and nothing more.

OpenShift's own admission is not here: what is tested there is the objects' life against its real schema.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import rbac
from harness.beds import BedCluster
from harness.playbooks import ROOT, Run

from ansible_collections.meshops.istio.plugins.module_utils.cluster import readiness
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.grants import GUIDE_SPEC, OURS
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.privileges import (
    ADMISSION,
    CONSTRAINTS,
    POLICY,
)

LEVEL = "pod-security.kubernetes.io/"
SELECTOR = ",".join(f"{key}={value}" for key, value in OURS.items())
#: As Istio's injector adds it; under kwok nothing runs, but what the API server admits is real.
ISTIO_INIT = {
    "name": "istio-init",
    "image": "proxyv2",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": False,
        "runAsGroup": 0,
        "runAsNonRoot": False,
        "runAsUser": 0,
    },
}
#: As the injector adds it where Istio CNI does that work, with a seccomp profile.
ISTIO_PROXY = {
    "name": "istio-proxy",
    "image": "proxyv2",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsGroup": 1337,
        "runAsNonRoot": True,
        "runAsUser": 1337,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
HOST_PATH = {"volumes": [{"name": "node", "hostPath": {"path": "/etc"}}]}


@dataclass
class Shop:
    """A namespace with Deployments, as an application's team would have it before Istio came."""

    cluster: BedCluster
    namespace: str
    deployed: list[str] = field(default_factory=list)

    def deploy(self, name: str = "web", account: str = "default", **spec: Any) -> None:
        """A Deployment of one pod with istio-init, or with what is given instead."""
        labels = {"app": name}
        pod = {"serviceAccountName": account, "containers": [{"name": "app", "image": "app"}], **spec}
        if not spec:
            pod["initContainers"] = [ISTIO_INIT]
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": account, "namespace": self.namespace},
            },
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                },
            },
        )
        self.deployed.append(name)

    def refusal(self, name: str = "web") -> str:
        """What the API server told the Deployment's controller. :raises AssertionError: it admitted the pod"""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = self.cluster.get("deployment", name, "--namespace", self.namespace)
            conditions = {entry["type"]: entry for entry in found.get("status", {}).get("conditions", [])}
            if conditions.get("ReplicaFailure", {}).get("status") == "True":
                return conditions["ReplicaFailure"]["message"]
            assert not found.get("status", {}).get("availableReplicas"), f"{name} was admitted"
            time.sleep(0.1)
        raise AssertionError(f"{name} was neither refused nor admitted")

    def run_again(self, name: str) -> dict[str, Any]:
        """Its pod, once the API server has admitted it. A new rollout, as the controller of a refused one backs off."""
        where = ("--namespace", self.namespace)
        self.cluster.kubectl("rollout", "restart", f"deployment/{name}", *where)
        self.cluster.kubectl("rollout", "status", f"deployment/{name}", *where, "--timeout=30s")
        (pod,) = self.cluster.get("pods", *where, "--selector", f"app={name}")["items"]
        return pod

    def role(self, **over: Any) -> Run:
        """Run role psp_rbac for this namespace alone."""
        namespaces = {"psp_rbac_control_plane_namespaces": [], "psp_rbac_application_namespaces": [self.namespace]}
        return self.cluster.role("psp_rbac", **{**namespaces, **over}).succeeded()

    def bound(self, name: str = "istio") -> list[str]:
        """Who is bound."""
        found = self.cluster.get("rolebinding", name, "--namespace", self.namespace)
        return [subject["name"] for subject in found["subjects"]]

    @property
    def labels(self) -> dict[str, str]:
        """Its pod security labels, by mode."""
        found = self.cluster.get("namespace", self.namespace)["metadata"].get("labels", {})
        return {key.removeprefix(LEVEL): value for key, value in found.items() if key.startswith(LEVEL)}


def in_a_shop(cluster: BedCluster) -> Iterator[Shop]:
    """A new shop, on a cluster on which nothing of ours is left afterwards."""
    with cluster.namespace() as namespace:
        yield Shop(cluster, namespace)
    kinds = [kind for kind in ("podsecuritypolicy", "securitycontextconstraints") if serves(cluster, kind)]
    cluster.kubectl("delete", ",".join([*kinds, "clusterrole"]), "--selector", SELECTOR)
    cluster.kubectl("delete", "rolebinding", "--all-namespaces", "--selector", SELECTOR)


def serves(cluster: BedCluster, kind: str) -> bool:
    """Whether there is such a kind."""
    return "the server doesn't have" not in cluster.tool("kubectl", "get", kind, check=False)


def ours(cluster: BedCluster, *kinds: str) -> list[str]:
    """What the role has made."""
    return sorted(cluster.kubectl("get", ",".join(kinds), "-A", "-l", SELECTOR, "--output=name").split())


@pytest.fixture
def policed(psp: BedCluster) -> Iterator[Shop]:
    """Yield a shop where PodSecurityPolicy decides."""
    yield from in_a_shop(psp)


@pytest.fixture
def labelled(hardened: BedCluster) -> Iterator[Shop]:
    """Yield a shop where Pod Security Admission enforces baseline."""
    yield from in_a_shop(hardened)


@pytest.fixture
def constrained(openshift: BedCluster) -> Iterator[Shop]:
    """Yield a shop on a cluster with OpenShift's kinds."""
    yield from in_a_shop(openshift)


# -- PodSecurityPolicy --------------------------------------------------------------------------------------------


def test_policy_lets_pods_of_every_service_account_run(policed: Shop) -> None:
    """The guide's error before the role, running pods after it: for `default` and for a custom service account."""
    policed.deploy("web")
    policed.deploy("cart", account="cart")
    for name in ("web", "cart"):
        message = policed.refusal(name)
        assert re.search(r"is forbidden: PodSecurityPolicy: (no providers available|unable to admit pod)", message)
        assert "role psp_rbac" in (readiness.refusal(message) or "")

    result = policed.role().of("istio_pod_security").data
    assert result["mechanism"] == POLICY
    assert result["service_accounts"] == {policed.namespace: ["cart", "default"]}
    for name in ("web", "cart"):
        assert policed.run_again(name)["metadata"]["annotations"]["kubernetes.io/psp"] == "istio"

    with policed.cluster.asked() as asked:
        assert policed.role(psp_rbac_force=True).changed == []
    assert asked.writes == []


def test_policy_allows_nothing_of_the_node(policed: Shop) -> None:
    """Stricter than the guide's, which is there for those who need it."""
    policed.role()
    policed.deploy("hostpath", **HOST_PATH)
    assert "hostPath volumes are not allowed" in policed.refusal("hostpath")
    privileged = {"name": "app", "image": "app", "securityContext": {"privileged": True}}
    policed.deploy("privileged", containers=[privileged])
    assert "Privileged containers are not allowed" in policed.refusal("privileged")

    policed.role(psp_rbac_guide_rules=True)
    spec = policed.cluster.get("podsecuritypolicy", "istio")["spec"]
    assert {key: spec[key] for key in GUIDE_SPEC} == GUIDE_SPEC
    for name in ("hostpath", "privileged"):
        policed.run_again(name)


def test_policy_is_for_the_accounts_that_are_named(policed: Shop) -> None:
    """Explicit lists win over what the workloads use."""
    policed.deploy("web")
    policed.deploy("cart", account="cart")
    policed.role(psp_rbac_service_accounts={policed.namespace: ["cart"]})
    assert policed.bound() == ["cart"]
    policed.run_again("cart")
    assert "PodSecurityPolicy" in policed.refusal("web")


def test_policy_is_for_everybody_where_an_own_app_will_come(policed: Shop) -> None:
    """Its chart or manifests come after this role, with any account; the guide's app has one that is known."""
    own = {"liveness_verify_namespace": policed.namespace}
    policed.role(**own)
    assert policed.bound() == ["default", "liveness"]
    policed.deploy("app", account="own")
    policed.refusal("app")
    policed.role(**own, liveness_verify_chart="charts/app")
    assert policed.bound() == [f"system:serviceaccounts:{policed.namespace}"]
    policed.run_again("app")


def test_policies_of_the_control_plane_and_of_nodes(policed: Shop) -> None:
    """istiod and gateways get no capability; Istio CNI gets the node, for its own accounts alone."""
    here = [policed.namespace]
    over = {"psp_rbac_application_namespaces": [], "psp_rbac_control_plane_namespaces": here}
    policed.role(**over, psp_rbac_node_namespaces=here)
    policed.deploy("istiod", account="istiod", containers=[{**ISTIO_PROXY, "name": "discovery"}])
    assert policed.run_again("istiod")["metadata"]["annotations"]["kubernetes.io/psp"] == "istio-baseline"
    policed.deploy("greedy", account="istiod", initContainers=[ISTIO_INIT], containers=[ISTIO_PROXY])
    assert "capability may not be added" in policed.refusal("greedy")
    node = {"hostNetwork": True, "containers": [{"name": "cni", "image": "cni"}], **HOST_PATH}
    policed.deploy("cni", account="istio-cni", **node)
    policed.run_again("cni")
    policed.deploy("other", account="other", **node)
    assert "Host network is not allowed" in policed.refusal("other")


def test_policy_of_somebody_else_is_left_alone(policed: Shop) -> None:
    """And named; then everything else of ours is made, and theirs is never deleted."""
    theirs = {
        "apiVersion": "policy/v1beta1",
        "kind": "PodSecurityPolicy",
        "metadata": {"name": "istio"},
        "spec": {**GUIDE_SPEC, "allowedCapabilities": ["NET_ADMIN", "NET_RAW"]},
    }
    policed.cluster.apply(theirs)
    try:
        before = policed.cluster.get("podsecuritypolicy", "istio")
        run = policed.role()
        assert run.of("istio_pod_security").data["objects"] == [
            "ClusterRole istio",
            f"RoleBinding {policed.namespace}/istio",
        ]
        assert "PodSecurityPolicy istio exists but was not created by this role" in run.output
        policed.role(psp_rbac_state="absent")
        assert policed.cluster.get("podsecuritypolicy", "istio") == before
    finally:
        policed.cluster.kubectl("delete", "podsecuritypolicy", "istio")


def test_policy_goes_when_nobody_needs_it(policed: Shop) -> None:
    """Bindings of this namespace first, what another namespace uses only with that one."""
    kinds = ("podsecuritypolicies", "clusterroles", "rolebindings")
    with policed.cluster.namespace() as other:
        policed.role(psp_rbac_application_namespaces=[policed.namespace, other])
        made = ours(policed.cluster, *kinds)
        policed.role(psp_rbac_state="absent")
        assert ours(policed.cluster, *kinds) == [
            "clusterrole.rbac.authorization.k8s.io/istio",
            "podsecuritypolicy.policy/istio",
            "rolebinding.rbac.authorization.k8s.io/istio",
        ]
        assert len(made) == 4
        policed.role(psp_rbac_state="absent", psp_rbac_application_namespaces=[other])
    assert ours(policed.cluster, *kinds) == []
    assert policed.role(psp_rbac_state="absent").changed == []


def test_served_is_not_active(served: BedCluster) -> None:
    """Kubernetes 1.24 serves the kind; without its admission plugin, policies would change nothing."""
    assert serves(served, "podsecuritypolicy")
    with served.namespace() as namespace:
        shop = Shop(served, namespace)
        assert shop.role().of("istio_pod_security").data["mechanism"] == ADMISSION
    assert ours(served, "podsecuritypolicies", "clusterroles") == []


@contextlib.contextmanager
def documented_account(cluster: BedCluster, *paths: Path) -> Iterator[dict[str, str]]:
    """The documented account with the rights of some files, for a while. Yields the environment that hands it over."""
    # The one before it may still be going.
    namespaces = [f"namespace/{name}" for name in (rbac.ACCOUNT["namespace"], "istio-system", "liveness")]
    cluster.kubectl("wait", "--for=delete", "--timeout=60s", *namespaces)
    try:
        for path in paths:
            cluster.kubectl("apply", "-f", path)
        yield cluster.credential(cluster.token(rbac.ACCOUNT["namespace"], rbac.ACCOUNT["name"]))
    finally:
        for path in (rbac.path(ROOT, POLICY), rbac.path(ROOT, CONSTRAINTS), rbac.path(ROOT)):
            cluster.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", path)


@pytest.mark.parametrize("mechanism", [POLICY, CONSTRAINTS])
def test_documented_rights_are_enough(mechanism: str, request: pytest.FixtureRequest) -> None:
    """docs/rbac.yml and the file of the mechanism: the role makes all of it, with a token alone."""
    cluster: BedCluster = request.getfixturevalue("psp" if mechanism == POLICY else "openshift")
    play = {"hosts": "all", "gather_facts": False, "roles": ["meshops.istio.psp_rbac"]}
    nobody = {"istio_kubeconfig": None, "istio_context": None}
    with documented_account(cluster, rbac.path(ROOT), rbac.path(ROOT, mechanism)) as credential:
        try:
            run = cluster.playbook([play], environ=credential, **nobody).run().succeeded()
            assert run.of("istio_pod_security").data["mechanism"] == mechanism
            assert run.changed
            assert cluster.playbook([play], environ=credential, **nobody).run().succeeded().changed == []
        finally:
            cluster.role("psp_rbac", psp_rbac_state="absent").succeeded()


def test_preflight_says_when_it_cannot_be_told(psp: BedCluster) -> None:
    """An account that may not create a pod learns nothing by its dry run; with the documented right it does."""
    with documented_account(psp, rbac.path(ROOT)) as credential:

        def codes() -> set[str]:
            run = psp.site("--tags=preflight", environ=credential, istio_kubeconfig=None, istio_context=None)
            return {finding["code"] for finding in run.of("istio_preflight_info").data["findings"]}

        with psp.asked(user="system:serviceaccount:{namespace}:{name}".format_map(rbac.ACCOUNT)) as asked:
            assert "pod-security-unknown" in codes()
            psp.kubectl("apply", "-f", rbac.path(ROOT, POLICY))
            assert "pod-security-unknown" not in codes()
        assert asked.writes == []


# -- Pod Security Admission ---------------------------------------------------------------------------------------


def test_labels_let_istio_init_run(labelled: Shop) -> None:
    """A cluster that enforces baseline refuses NET_ADMIN until the namespace says otherwise (istio#6806, #11571)."""
    labelled.deploy("web")
    message = labelled.refusal()
    assert 'violates PodSecurity "baseline:latest"' in message
    assert "role psp_rbac" in (readiness.refusal(message) or "")
    result = labelled.role().of("istio_pod_security").data
    assert (result["mechanism"], result["levels"]) == (ADMISSION, {labelled.namespace: "privileged"})
    labelled.run_again("web")
    with labelled.cluster.asked() as asked:
        assert labelled.role().changed == []
    assert asked.writes == []


def test_with_istio_cni_applications_keep_baseline(labelled: Shop) -> None:
    """Nothing needs NET_ADMIN then, and what asks for it is refused as before."""
    labelled.role(psp_rbac_istio_cni=True)
    assert labelled.labels == dict.fromkeys(("enforce", "audit", "warn"), "baseline")
    labelled.deploy("injected", containers=[{"name": "app", "image": "app"}, ISTIO_PROXY])
    labelled.run_again("injected")
    labelled.deploy("greedy")
    assert "NET_ADMIN" in labelled.refusal("greedy")


def test_restricted_with_a_seccomp_profile(labelled: Shop) -> None:
    """The strictest level, for an application that fits it; its proxy does, with the profile, and not without."""
    app = {**ISTIO_PROXY, "name": "app", "image": "app"}
    over = {"psp_rbac_istio_cni": True, "psp_rbac_application_level": "restricted"}
    profile = {"istiod": {"global": {"proxy": {"seccompProfile": {"type": "RuntimeDefault"}}}}}
    labelled.role(**over, istio_helm_values=profile)
    assert labelled.labels["enforce"] == "restricted"
    labelled.deploy("injected", containers=[app, ISTIO_PROXY])
    labelled.run_again("injected")
    bare = {key: value for key, value in ISTIO_PROXY["securityContext"].items() if key != "seccompProfile"}
    labelled.deploy("bare", containers=[app, {**ISTIO_PROXY, "securityContext": bare}])
    assert "seccompProfile" in labelled.refusal("bare")


@pytest.mark.parametrize(
    ("over", "named"),
    [
        ({"psp_rbac_application_level": "baseline"}, "psp_rbac_istio_cni: true"),
        ({"psp_rbac_application_level": "restricted", "psp_rbac_istio_cni": True}, "seccompProfile"),
    ],
)
def test_levels_that_would_refuse_istio(labelled: Shop, over: dict[str, Any], named: str) -> None:
    """Are refused first, and nothing is written."""
    with labelled.cluster.asked() as asked:
        run = labelled.cluster.role("psp_rbac", psp_rbac_application_namespaces=[labelled.namespace], **over)
    assert named in run.message
    assert asked.writes == []


def test_labels_of_others_are_not_lowered(labelled: Shop) -> None:
    """Unless force is given; then they are ours, and go with the rest."""
    labelled.cluster.kubectl("label", "namespace", labelled.namespace, f"{LEVEL}enforce=baseline")
    here = {"psp_rbac_control_plane_namespaces": [], "psp_rbac_application_namespaces": [labelled.namespace]}
    with labelled.cluster.asked() as asked:
        run = labelled.cluster.role("psp_rbac", **here)
    assert f"Namespace {labelled.namespace} enforces Pod Security level baseline" in run.message
    assert asked.writes == []
    assert labelled.labels == {"enforce": "baseline"}
    labelled.role(psp_rbac_force=True)
    assert set(labelled.labels.values()) == {"privileged"}


def test_labels_are_taken_back(labelled: Shop) -> None:
    """Ours alone: the namespace stays, with what others have said of it."""
    labelled.cluster.kubectl("label", "namespace", labelled.namespace, f"{LEVEL}warn=privileged", "team=shop")
    labelled.role()
    assert len(labelled.labels) == 3
    run = labelled.role(psp_rbac_state="absent")
    assert run.of("istio_pod_security").data["objects"] == [f"Namespace {labelled.namespace}"]
    assert labelled.labels == {"warn": "privileged"}
    assert labelled.role(psp_rbac_state="absent").changed == []


def test_check_mode_tells_the_truth(labelled: Shop) -> None:
    """What it says that it would do is what is done then, and meanwhile nothing is."""
    play = {
        "hosts": "all",
        "gather_facts": False,
        "module_defaults": {
            "group/meshops.istio.istio": {"kubeconfig": "{{ istio_kubeconfig }}", "context": "{{ istio_context }}"}
        },
        "roles": ["meshops.istio.psp_rbac"],
    }
    here = {"psp_rbac_application_namespaces": [labelled.namespace], "psp_rbac_control_plane_namespaces": []}
    with labelled.cluster.asked() as asked:
        said = labelled.cluster.playbook([play], "--check", "--diff", **here).run().succeeded()
    assert asked.writes == []
    (shown,) = said.of("istio_pod_security").data["diff"]
    assert shown["after"]["metadata"]["labels"].items() - shown["before"]["metadata"]["labels"].items() == {
        (f"{LEVEL}{mode}", "privileged") for mode in ("enforce", "audit", "warn")
    }
    done = labelled.role()
    assert said.of("istio_pod_security").data["objects"] == done.of("istio_pod_security").data["objects"]


# -- SecurityContextConstraints -----------------------------------------------------------------------------------


def test_constraints_are_made_bound_and_removed(constrained: Shop) -> None:
    """By the real schema, which drops nothing of what was sent; a second run has nothing to do."""
    constrained.deploy("cart", account="cart")
    over = {"psp_rbac_control_plane_namespaces": [constrained.namespace]}
    result = constrained.role(**over).of("istio_pod_security").data
    assert result["mechanism"] == CONSTRAINTS
    stored = constrained.cluster.get("securitycontextconstraints", "istio")
    assert stored["allowedCapabilities"] == ["NET_ADMIN", "NET_RAW"]
    assert (stored["allowPrivilegedContainer"], stored["runAsUser"]) == (False, {"type": "RunAsAny"})
    assert constrained.bound() == ["cart", "default"]
    assert constrained.bound("istio-scc-nonroot-v2") == [f"system:serviceaccounts:{constrained.namespace}"]
    with constrained.cluster.asked() as asked:
        assert constrained.role(**over).changed == []
    assert asked.writes == []
    constrained.role(psp_rbac_state="absent", **over)
    assert ours(constrained.cluster, "securitycontextconstraints", "clusterroles", "rolebindings") == []


def test_constraints_may_be_used_by_whom_they_are_bound_to(constrained: Shop) -> None:
    """As OpenShift's admission asks: may this account `use` those constraints in its namespace?"""
    constrained.role(psp_rbac_service_accounts={constrained.namespace: ["cart"]})

    def may(account: str) -> bool:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{constrained.namespace}:{account}",
                "groups": ["system:serviceaccounts", f"system:serviceaccounts:{constrained.namespace}"],
                "resourceAttributes": {
                    "verb": "use",
                    "group": "security.openshift.io",
                    "resource": "securitycontextconstraints",
                    "name": "istio",
                    "namespace": constrained.namespace,
                },
            },
        }
        answer = constrained.cluster.kubectl("create", "-f-", "--output=json", stdin=json.dumps(review))
        return yaml.safe_load(answer)["status"].get("allowed", False)

    assert (may("cart"), may("default")) == (True, False)
