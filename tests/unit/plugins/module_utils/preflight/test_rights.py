# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access reviews ask for all that a run needs, for each thing once, and in no narrower place than they have to."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.kinds import known_resource
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.privileges import (
    ADMISSION,
    CONSTRAINTS,
    POLICY,
)
from ansible_collections.meshops.istio.plugins.module_utils.preflight import rights
from ansible_collections.meshops.istio.plugins.module_utils.preflight.rights import (
    ANY_ROLE,
    RIGHTS,
    Right,
    grouped,
    of_components,
    of_rules,
    reviews,
    uses,
)

CONTROL_PLANE = ["istio-system", "istio-ingress"]
APPLICATIONS = ["web"]


def attributes(verb: str, group: str, resource: str, **more: str) -> dict[str, str]:
    """The attributes of one review."""
    return {"verb": verb, "group": group, "resource": resource, **more}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of three: services are read everywhere and written in two kinds of places."""
    table = (
        Right("v1", "Service", ("get", "list"), "cluster"),
        Right("v1", "Service", ("get", "create"), "control-plane"),
        Right("apps/v1", "Deployment", ("get",), "application"),
    )
    monkeypatch.setattr(rights, "RIGHTS", table)


@pytest.mark.usefixtures("few")
def test_reviews() -> None:
    """One a verb and namespace; nothing in a namespace that is asked for the whole cluster anyway."""
    assert reviews(CONTROL_PLANE, APPLICATIONS) == [
        attributes("get", "", "services"),
        attributes("list", "", "services"),
        attributes("create", "", "services", namespace="istio-system"),
        attributes("create", "", "services", namespace="istio-ingress"),
        attributes("get", "apps", "deployments", namespace="web"),
    ]


@pytest.mark.usefixtures("few")
def test_without_places_only_the_cluster_is_asked_for() -> None:
    """A mesh without an application."""
    assert reviews([], []) == [attributes("get", "", "services"), attributes("list", "", "services")]


@pytest.mark.usefixtures("few")
def test_further_attributes() -> None:
    """Asked for too: once, and not where a right of the table covers them."""
    further = [
        attributes("get", "", "services", namespace="other"),
        attributes("get", "", "pods"),
        attributes("get", "", "pods", namespace="other"),
        attributes("watch", "", "services", namespace="other"),
        attributes("watch", "", "services", namespace="other"),
    ]
    found = reviews([], [], iter(further))
    assert found[:2] == [attributes("get", "", "pods"), attributes("watch", "", "services", namespace="other")]
    assert len(found) == 4


@pytest.mark.parametrize(
    "narrow",
    [
        attributes("get", "", "services", namespace="web", subresource="status"),
        attributes("get", "", "services", namespace="web", name="istiod"),
        attributes("get", "apps", "services", namespace="web"),
    ],
    ids=["subresource", "one object", "another group"],
)
@pytest.mark.usefixtures("few")
def test_something_else_is_not_covered(narrow: dict[str, str]) -> None:
    """Only the same without its namespace is wider."""
    assert narrow in reviews([], [], [narrow])


def test_no_review_is_asked_twice_or_covered() -> None:
    """The whole table, with one namespace in both roles."""
    found = reviews([*CONTROL_PLANE, "web"], APPLICATIONS)
    keys = [tuple(sorted(entry.items())) for entry in found]
    assert len(keys) == len(set(keys))
    wide = {(entry["verb"], entry["group"], entry["resource"]) for entry in found if "namespace" not in entry}
    narrow = {(entry["verb"], entry["group"], entry["resource"]) for entry in found if "namespace" in entry}
    assert wide
    assert narrow
    assert not wide & narrow


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: f"{right.kind} {right.where}")
def test_every_right_is_asked_for_or_covered(right: Right) -> None:
    """And is one that Kubernetes can answer: a known kind, of a scope that fits the place, with verbs that exist."""
    resource = known_resource(right.api_version, right.kind)
    assert resource is not None
    assert right.where in ("cluster", "control-plane", "application")
    assert resource.namespaced or right.where == "cluster"
    assert set(right.verbs) <= {"get", "list", "watch", "create", "update", "patch", "delete"}
    assert len(right.verbs) == len(set(right.verbs))
    mechanism, features = next(iter(right.mechanisms), ""), filter(None, [right.feature])
    found = reviews(CONTROL_PLANE, APPLICATIONS, mechanism=mechanism, features=features)
    group = right.api_version.rpartition("/")[0]
    namespaces = {"cluster": [""], "control-plane": CONTROL_PLANE, "application": APPLICATIONS}[right.where]
    for namespace in namespaces:
        for verb in right.verbs:
            asked = attributes(verb, group, resource.plural)
            assert asked in found or (namespace and {**asked, "namespace": namespace} in found)


def test_what_is_waited_for_may_be_watched() -> None:
    """Waiting lists and watches workloads, the pods beside them, definitions and the injector's webhook."""
    found = reviews(CONTROL_PLANE, APPLICATIONS)
    for verb in ("list", "watch"):
        for namespace in (*CONTROL_PLANE, *APPLICATIONS):
            assert attributes(verb, "apps", "deployments", namespace=namespace) in found
        assert attributes(verb, "", "pods") in found
        assert attributes(verb, "apiextensions.k8s.io", "customresourcedefinitions") in found
        assert attributes(verb, "admissionregistration.k8s.io", "mutatingwebhookconfigurations") in found


@pytest.mark.parametrize(
    ("rule", "namespace", "expected"),
    [
        (
            {"apiGroups": ["", "apps"], "resources": ["a", "b"], "verbs": ["get", "list"]},
            "",
            [
                attributes(verb, group, resource)
                for group in ("", "apps")
                for resource in ("a", "b")
                for verb in ("get", "list")
            ],
        ),
        (
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            "web",
            [attributes("get", "", "pods", namespace="web")],
        ),
        (
            {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]},
            "",
            [attributes("patch", "", "pods", subresource="status")],
        ),
        (
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["a", "b"]},
            "web",
            [attributes("get", "", "configmaps", name=name, namespace="web") for name in ("a", "b")],
        ),
        ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, "", [attributes("*", "*", "*")]),
        ({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}, "", [{"verb": "get", "path": "/metrics"}]),
        ({"apiGroups": [""], "resources": None, "verbs": ["get"]}, "", []),
    ],
    ids=["product", "of a Role", "subresource", "names", "everything", "URL", "no resources"],
)
def test_rules_of_a_role(rule: dict[str, Any], namespace: str, expected: list[dict[str, str]]) -> None:
    """Every combination that a rule allows is one review."""
    assert of_rules([rule], namespace) == expected


def test_several_rules() -> None:
    """One after the other."""
    rules = [{"apiGroups": [""], "resources": [resource], "verbs": ["get"]} for resource in ("pods", "nodes")]
    assert [entry["resource"] for entry in of_rules(rules)] == ["pods", "nodes"]


def test_any_role() -> None:
    """Kubernetes lets those create any role who may escalate, and bind it who may bind; for both kinds of roles."""
    group = "rbac.authorization.k8s.io"
    assert sorted(ANY_ROLE, key=str) == sorted(
        (
            attributes("escalate", group, "clusterroles"),
            attributes("escalate", group, "roles"),
            attributes("bind", group, "clusterroles"),
            attributes("bind", group, "roles"),
        ),
        key=str,
    )


def test_grouped() -> None:
    """As people write rights: verbs together, by resource and namespace."""
    found = grouped(
        [
            attributes("get", "apps", "deployments", namespace="web"),
            attributes("get", "", "pods"),
            attributes("patch", "apps", "deployments", namespace="web"),
            attributes("get", "apps", "deployments", namespace="shop"),
            attributes("get", "apps", "deployments", subresource="scale", name="istiod", namespace="web"),
            attributes("get", "", "configmaps", name="istio"),
            {"verb": "get", "path": "/metrics"},
        ]
    )
    assert found == {
        ("deployments.apps", "web"): ["get", "patch"],
        ("pods", ""): ["get"],
        ("deployments.apps", "shop"): ["get"],
        ("deployments.apps/scale/istiod", "web"): ["get"],
        ("configmaps/istio", ""): ["get"],
        ("/metrics", ""): ["get"],
    }


def test_what_components_need_beside() -> None:
    """Daemons are watched, in their namespace; who lets them use a node's policy must be allowed to use it."""
    found = of_components({"base": "istio-system", "cni": "kube-system"})
    assert attributes("watch", "apps", "daemonsets", namespace="kube-system") in found
    assert {entry["namespace"] for entry in found} == {"kube-system"}
    use = {"verb": "use", "group": "policy", "resource": "podsecuritypolicies", "name": "istio-node"}
    assert use not in found
    assert use in of_components({"ztunnel": "istio-system"}, POLICY)
    assert use not in of_components({"istiod": "istio-system"}, POLICY)


@pytest.mark.parametrize(
    ("mechanism", "group", "resource"),
    [
        (POLICY, "policy", "podsecuritypolicies"),
        (CONSTRAINTS, "security.openshift.io", "securitycontextconstraints"),
    ],
)
def test_rights_of_a_mechanism(mechanism: str, group: str, resource: str) -> None:
    """Policies are written and handed on, and bindings in applications' namespaces; elsewhere nobody asks for that."""
    asked = reviews(CONTROL_PLANE, APPLICATIONS, mechanism=mechanism)
    assert attributes("create", group, resource) in asked
    assert attributes("use", group, resource, name="istio") in asked
    assert attributes("create", "rbac.authorization.k8s.io", "rolebindings", namespace="web") in asked
    assert attributes("list", "batch", "cronjobs", namespace="web") in asked
    without = reviews(CONTROL_PLANE, APPLICATIONS, mechanism=ADMISSION)
    assert without == reviews(CONTROL_PLANE, APPLICATIONS)
    assert not [entry for entry in without if entry["resource"] == resource]


def test_nobody_must_hold_the_nodes_privileges() -> None:
    """Istio CNI is asked for by few, and its policy allows everything."""
    names = [name for rule in uses(POLICY) for name in rule["resourceNames"]]
    assert names == ["istio-baseline", "istio"]


def test_proxy_only_where_it_is_used() -> None:
    """Who asks from outside needs no right to the API server's proxy."""
    asked = {**attributes("get", "", "services", subresource="proxy"), "namespace": "istio-system"}
    assert asked not in reviews(CONTROL_PLANE, APPLICATIONS)
    found = reviews(CONTROL_PLANE, APPLICATIONS, features=[rights.FROM_CLUSTER])
    assert asked in found
    assert len(found) == len(reviews(CONTROL_PLANE, APPLICATIONS)) + len(CONTROL_PLANE)
