# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide's labels, and sidecars where labels say so: one finding for each workload, and near-misses."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster import workloads
from ansible_collections.meshops.istio.plugins.module_utils.cluster.workloads import Workload
from ansible_collections.meshops.istio.plugins.module_utils.mesh import sidecars
from ansible_collections.meshops.istio.plugins.module_utils.preflight import workload_labels

GOOD = {"app": "web", "version": "v1"}
SIDECAR = ("app", "istio-proxy")


def pod(owner: tuple[str, str] | None = None, *containers: str, labels: dict | None = None, **spec: Any) -> dict:
    """A pod in namespace `shop`. :arg owner: kind and name of its controller"""
    meta: dict[str, Any] = {"name": "x", "namespace": "shop", "labels": labels or {}}
    if owner:
        meta["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    return {"metadata": meta, "spec": {"containers": [{"name": name} for name in containers or ("app",)], **spec}}


def deployment(labels: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    """A Deployment `shop/web`."""
    template = {"metadata": {"labels": labels}, "spec": {"containers": []}}
    meta = {"name": "web", "namespace": "shop", "generation": 2}
    return {"metadata": meta, "spec": {"template": template}, "status": {"observedGeneration": 2, **status}}


def namespace(**labels: str) -> dict[str, Any]:
    """Namespace `shop`; underscores stand for hyphens, `rev` for the revision's label."""
    named = {"istio.io/rev" if key == "rev" else key.replace("_", "-"): value for key, value in labels.items()}
    return {"metadata": {"name": "shop", "labels": named}}


def workload(name: str = "web", labels: dict[str, str] | None = None, *pods: dict[str, Any]) -> Workload:
    """A Deployment's pods."""
    return Workload("shop", "Deployment", name, GOOD if labels is None else labels, list(pods))


@pytest.mark.parametrize(
    ("owner", "labels", "expected"),
    [
        (("ReplicaSet", "web-5d4f"), {"pod-template-hash": "5d4f"}, ("shop", "Deployment", "web")),
        (("ReplicaSet", "web-5d4f"), {}, ("shop", "ReplicaSet", "web-5d4f")),
        (("StatefulSet", "db"), {}, ("shop", "StatefulSet", "db")),
        (None, {}, ("shop", "Pod", "x")),
    ],
)
def test_owner(owner: tuple[str, str] | None, labels: dict[str, str], expected: tuple) -> None:
    """The Deployment behind a ReplicaSet; a ReplicaSet of its own is itself."""
    assert workloads.workload_of(pod(owner, labels=labels)) == expected


def test_pods_are_grouped() -> None:
    """A hundred pods are one workload; Jobs and pods of the host's network are none of ours."""
    replica, labels = ("ReplicaSet", "web-1"), {"pod-template-hash": "1"}
    many = [pod(replica, labels=labels) for _number in range(100)]
    others = [pod(("Job", "nightly")), pod(("DaemonSet", "agent"), hostNetwork=True)]
    (found,) = workloads.workloads([*many, *others], [deployment(GOOD)])
    assert (str(found), len(found.pods)) == ("Deployment shop/web", 100)
    (alone,) = workloads.workloads([], [deployment(GOOD)])
    assert (alone.labels, alone.pods) == (GOOD, [])


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (GOOD, None),
        ({"app.kubernetes.io/name": "web", "app.kubernetes.io/version": "1"}, None),
        ({"service.istio.io/canonical-name": "web", "version": "1"}, None),
        ({"app": "web"}, "lack the label version,"),
        ({"version": "1"}, "lack the label app,"),
        ({"name": "web"}, "lack the labels app and version,"),
        ({"sidecar.istio.io/inject": "false"}, None),
    ],
)
def test_labels(labels: dict[str, str], says: str | None) -> None:
    """The guide's, or today's that Istio reads in their place; what stays outside of the mesh needs none."""
    found = workload_labels.label_findings([workload("web", labels)])
    assert len(found) == bool(says)
    assert all(says in finding.message and finding.object == "Deployment shop/web" for finding in found)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (namespace(istio_injection="enabled"), True),
        (namespace(istio_injection="disabled"), False),
        (namespace(rev="canary"), True),
        (namespace(istio_injection="disabled", rev="canary"), False),
        (namespace(), None),
    ],
)
def test_injects(found: dict[str, Any], expected: bool | None) -> None:
    """`istio-injection` counts before the revision."""
    assert sidecars.injects(found) is expected


def codes(found: dict[str, Any], *of: Workload) -> list[str]:
    """What is said about a namespace."""
    return [finding.code for finding in workload_labels.injection_findings(found, of)]


def test_both_labels() -> None:
    """Each alone is silent."""
    assert codes(namespace(istio_injection="enabled", rev="canary")) == ["injection-labels-mixed"]
    assert codes(namespace(istio_injection="enabled")) == codes(namespace(rev="canary")) == []


@pytest.mark.parametrize(
    ("labels", "wish", "code"),
    [
        ({"istio_injection": "disabled"}, "true", "injection-contradicted"),
        ({"istio_injection": "disabled"}, "false", None),
        ({"istio_injection": "enabled"}, "false", "injection-contradicted"),
        ({"rev": "canary"}, "false", "injection-contradicted"),
        ({"istio_injection": "enabled"}, "true", None),
        ({}, "true", None),
    ],
)
def test_pods_against_their_namespace(labels: dict[str, str], wish: str, code: str | None) -> None:
    """A namespace without a label leaves the choice to its pods."""
    found = codes(namespace(**labels), workload("web", {"sidecar.istio.io/inject": wish}))
    assert found == ([code] if code else [])


@pytest.mark.parametrize(
    ("of", "fires"),
    [
        ([workload("a", None, pod(None, *SIDECAR)), workload("b", None, pod())], True),
        ([workload("a", None, pod()), workload("b", None, pod())], False),
        ([workload("a", None, pod(None, *SIDECAR)), workload("b", None, pod(None, *SIDECAR))], False),
        ([workload("a", None, pod(None, *SIDECAR)), workload("b", None)], False),
        ([workload("a", None, pod(initContainers=[{"name": "istio-proxy"}])), workload("b", None, pod())], True),
        # While a rollout goes on, both kinds of pods are of one workload.
        ([workload("a", None, pod(None, *SIDECAR), pod())], False),
    ],
)
def test_sidecars_here_and_there(of: list[Workload], fires: bool) -> None:
    """Some workloads have one and some do not; native sidecars are sidecars."""
    assert ("injection-partial" in codes(namespace(istio_injection="enabled"), *of)) is fires
    assert codes(namespace(), *of) == []


def failure(status: str = "True", message: str = 'violates PodSecurity "restricted"') -> list[dict[str, Any]]:
    """A condition about pods that are refused."""
    return [{"type": "ReplicaFailure", "status": status, "message": message}]


def test_refused_pods() -> None:
    """In the server's words, with what to do; not by a status that speaks of an older template."""
    (finding,) = workload_labels.refusal_findings([deployment(conditions=failure())])
    assert finding.code == "pods-refused"
    assert finding.message == 'its pods are rejected: violates PodSecurity "restricted".'
    assert "psp_rbac" in finding.fix
    (other,) = workload_labels.refusal_findings([deployment(conditions=failure(message="something new"))])
    assert other.fix == "Fix what the message reports."
    assert workload_labels.refusal_findings([deployment(conditions=failure("False")), deployment()]) == []
    assert workload_labels.refusal_findings([deployment(conditions=failure(), observedGeneration=1)]) == []
