# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report is made of what roles return: verdict, cause, what changed, and nothing that they did not say."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from harness import report_samples as samples

from ansible_collections.meshops.istio.plugins.plugin_utils.report import model


def built(phases: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A report of a sample."""
    return model.build(phases, "kvm", samples.NOW, **more)


def rows(report: dict[str, Any]) -> dict[str, str]:
    """How each phase ended."""
    return {row["name"]: row["status"] for row in report["phases"]}


@pytest.mark.parametrize(
    ("phases", "more", "status", "text"),
    [
        (
            samples.GREEN,
            {},
            "proven",
            f"Istio 1.31.1 works: {samples.URL} answered 200 through the gateway, over mutual TLS, 3 times in a row.",
        ),
        (samples.SECOND, {}, "proven", "No changes were needed."),
        (samples.CHECK, {"check": True}, "checked", "A run would make 5 changes."),
        (samples.REFUSED, {}, "failed", "The run failed in preflight: gateway istio-ingressgateway, port http2: node"),
        (samples.FAILED, {}, "failed", "The run failed in liveness_verify: Pod liveness/liveness-b7dd of"),
        (samples.DIAGNOSED, {}, "failed", "The image localhost/nothing:1 cannot be pulled"),
        ({"preflight": samples.GREEN["preflight"]}, {}, "done", "No request was sent through the mesh."),
        ({"preflight": {}}, {}, "done", "No phase ran."),
        ({"preflight": samples.GREEN["preflight"], "crds": {}}, {"failed": True}, "failed", "failed after preflight."),
        ({}, {"failed": True}, "failed", "The run failed at the start: A task outside the phases"),
    ],
)
def test_verdict(phases: dict[str, Any], more: dict[str, Any], status: str, text: str) -> None:
    """One word and one sentence, which is not longer for a message that is."""
    verdict = built(phases, **more)["verdict"]
    assert verdict["status"] == status
    assert text in verdict["text"]
    assert len(verdict["text"]) < 260


@pytest.mark.parametrize("mtls", [None, {}])
def test_verdict_claims_no_mutual_tls_that_nobody_saw(mtls: Any) -> None:
    """An own app may echo nothing."""
    proof = {**samples.GREEN["liveness_verify"]}
    proof["evidence"] = {**proof["evidence"], "mtls": mtls, "latencies_ms": [1.0]}
    text = built({**samples.GREEN, "liveness_verify": proof})["verdict"]["text"]
    assert "answered 200 through the gateway. " in text


def test_each_gateway_is_told_of() -> None:
    """How it was proven and by whose proxies, or why it was not; the verdict counts them."""
    report = built(samples.GREEN)
    first, public, egress, inner = report["gateways"]
    assert (first["name"], first["proof"], first["caller"]) == (
        "istio-system/istio-ingressgateway",
        "request",
        samples.GATEWAY,
    )
    assert first["istiods"] == ["istio-system/istiod, revision default"]
    assert (public["answer"], public["istiods"]) == (f"200 from {samples.URL}?edge", [])
    assert (egress["proof"], "leaves the mesh" in egress["why"]) == ("readiness", True)
    assert (inner["proof"], inner["answer"], inner["why"]) == ("none", "", "its Service is of type ClusterIP")
    assert report["verdict"]["text"].endswith(
        "1 other gateway answered too. Not proven by a request: istio-system/istio-egressgateway, edge/inner."
    )


@pytest.mark.parametrize("gateways", [None, [], "x", [None, {}], [{"served_by": "x", "mtls": 1}]], ids=str)
def test_gateways_of_another_form(gateways: Any) -> None:
    """An older or a newer role's; the report is written all the same."""
    proof = {**samples.GREEN["liveness_verify"], "evidence": {"url": samples.URL, "status": 200, "gateways": gateways}}
    report = built({"liveness_verify": proof})
    assert all(each["name"] == "?/?" for each in report["gateways"])
    assert report["verdict"]["status"] == "proven"


def test_phases_of_a_run() -> None:
    """Those that only guard are not told of while they let pass."""
    assert rows(built(samples.GREEN)) == {
        "preflight": "unchanged",
        "psp_rbac": "changed",
        "crds": "changed",
        "istio_helm": "changed",
        "liveness_verify": "changed",
    }


def test_phases_of_a_run_that_stopped() -> None:
    """What comes after is not reached; what tags left out before it is something else."""
    phases = {**samples.REFUSED, "preflight": {}, "crds": {"failed": True, "msg": "no"}}
    assert rows(built(phases)) == {
        "preflight": "left out",
        "psp_rbac": "left out",
        "crds": "failed",
        "istio_helm": "not reached",
        "liveness_verify": "not reached",
    }


@pytest.mark.parametrize("guard", ["variables", "cluster_twice"])
def test_guard_that_stops(guard: str) -> None:
    """Is the phase that failed."""
    errors = [{"code": "cluster-twice", "object": "a", "message": "is b. Both are c.", "fix": "Leave one out."}]
    result = {"failed": True, "msg": "Nothing was written. a: is b.", "errors": errors}
    report = built({**samples.REFUSED, "preflight": {}, guard: result})
    assert rows(report)[guard] == "failed"
    assert {key: report["cause"][key] for key in errors[0]} == errors[0]
    assert report["verdict"]["text"].endswith("a: is b. Both are c.")


@pytest.mark.parametrize(
    ("phases", "summary"),
    [
        (samples.GREEN, ["1 warning", "PodSecurityAdmission; 2 objects changed", "15 CRDs; 15 objects changed",
                         "2 installed, 1 up to date", f"200 from {samples.URL}; 1 object changed"]),
        (samples.SECOND, ["1 warning", "PodSecurityAdmission; no changes", "15 CRDs; no changes",
                          "3 up to date", f"200 from {samples.URL}; no changes"]),
    ],
)  # fmt: skip
def test_summaries(phases: dict[str, Any], summary: list[str]) -> None:
    """What each phase did."""
    assert [row["summary"] for row in built(phases)["phases"]] == summary


def test_summaries_of_a_check() -> None:
    """Speak of what would be."""
    found = {row["name"]: row["summary"] for row in built(samples.CHECK, check=True)["phases"]}
    assert found["istio_helm"] == "2 to install, 1 up to date"
    assert found["crds"] == "15 CRDs; 15 objects to change"


def test_cause_is_the_diagnosis() -> None:
    """With evidence and fix; its other findings stand after it, and the task's own words are kept."""
    report = built(samples.DIAGNOSED)
    assert (report["cause"]["code"], report["cause"]["fix"]) == ("image-pull", "Correct liveness_verify_image.")
    assert len(report["cause"]["evidence"]) == 2
    assert report["not_looked_at"] == ["proxies: no permission to read"]
    assert [finding["code"] for finding in report["findings"]] == ["no-endpoints", "room-short"]
    assert "ImagePullBackOff" in report["phases"][-1]["message"]


def test_cause_is_the_first_error_of_preflight() -> None:
    """And is told once; errors stand before warnings."""
    other = {**samples.ERROR, "object": "gateway other"}
    phases = {**samples.REFUSED, "preflight": {**samples.REFUSED["preflight"]}}
    phases["preflight"]["findings"] = [samples.WARNING, samples.ERROR, other]
    report = built(phases)
    assert report["cause"]["object"] == samples.ERROR["object"]
    assert [finding["object"] for finding in report["findings"]] == ["gateway other", "cluster"]
    assert report["counts"] == {"error": 2, "warning": 1}


def test_cause_is_the_message_where_nobody_knows_better() -> None:
    """Its parts are taken as they are."""
    report = built(samples.FAILED)
    (parts,) = samples.FAILED["liveness_verify"]["errors"]
    assert {key: report["cause"][key] for key in parts} == parts
    assert (report["cause"]["severity"], report["cause"]["phase"]) == ("error", "liveness_verify")


def test_several_errors_of_one_task() -> None:
    """The first is the cause, the others stand among the findings; of a diagnosis they are its consequences."""
    (first,) = samples.FAILED["liveness_verify"]["errors"]
    errors = [first, {**first, "object": "Pod b", "fix": ""}]
    result = {**samples.FAILED["liveness_verify"], "errors": errors}
    report = built({**samples.FAILED, "liveness_verify": result})
    assert report["cause"]["object"] == first["object"]
    assert [finding["object"] for finding in report["findings"]] == ["Pod b", "cluster"]
    assert report["counts"] == {"error": 2, "warning": 1}


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        ("One thing. Another thing! Fix: what? [room-short] is no code here.", "verbatim"),
        ("Kind x/y: it is\nbroken, e.g. v1.2 is none.", "on one line"),
        ("word " * 60, "cut"),
        ("x" * 500, "cut"),
    ],
)
@pytest.mark.parametrize("ours", [True, False])
def test_no_text_is_taken_apart(message: str, verdict: str, ours: bool) -> None:
    """A cause of several sentences, without a fix, or of a task that is not ours stays one message."""
    part = {"code": "", "object": "Thing a", "message": message, "fix": ""}
    result = {"failed": True, "msg": f"Thing a {message}" if ours else message, **({"errors": [part]} if ours else {})}
    report = built({"crds": result})
    cause = report["cause"]
    expected = part if ours else {"code": "", "object": "", "message": message, "fix": ""}
    assert {key: cause[key] for key in expected} == expected
    told = report["verdict"]["text"].removeprefix("The run failed in crds: ")
    whole = " ".join(f"{'Thing a: ' if ours else ''}{message}".split())
    assert len(told) <= 160
    if verdict == "cut":
        assert whole.startswith(told.removesuffix(" ..."))
    else:
        assert told == whole


def test_phase_that_says_the_cause_itself() -> None:
    """The page need not say it twice; what a task says beside a diagnosis is not the cause, and is shown."""
    assert [row["name"] for row in built(samples.FAILED)["phases"] if row["is_cause"]] == ["liveness_verify"]
    assert [row["name"] for row in built(samples.REFUSED)["phases"] if row["is_cause"]] == ["preflight"]
    for phases in (samples.DIAGNOSED, samples.GREEN):
        assert not any(row["is_cause"] for row in built(phases)["phases"])


def test_changes() -> None:
    """By release and set of objects; what is up to date is none."""
    changes = built(samples.GREEN)["changes"]
    assert [(change["name"], change["action"]) for change in changes] == [
        ("Pod security", "changed"),
        ("CRDs", "changed"),
        ("istio-system/istiod", "installed"),
        ("istio-system/istio-ingressgateway", "installed"),
        ("Traffic verification", "changed"),
    ]
    assert changes[2]["reasons"] == ["chart istiod 1.31.1", "not installed"]
    assert built(samples.SECOND)["changes"] == []


def test_what_was_written_before_a_failure_is_told() -> None:
    """istio_helm says which releases helm had written, and the summary that something is not as it was."""
    helm = samples.GREEN["istio_helm"]
    failed = {"failed": True, "changed": True, "msg": "helm upgrade failed", "releases": helm["releases"][1:2]}
    report = built({**samples.REFUSED, "preflight": samples.GREEN["preflight"], "istio_helm": failed})
    assert [change["name"] for change in report["changes"]] == ["istio-system/istiod"]
    assert model.summary(report, None)["changed"] is True
    # And what else it had written, or begun to write.
    failed["objects"] = ["Namespace edge", "release istio-system/istiod", "release edge/edge"]
    report = built({**samples.REFUSED, "preflight": samples.GREEN["preflight"], "istio_helm": failed})
    assert [change["objects"] for change in report["changes"]][1:] == [["Namespace edge", "release edge/edge"]]


def test_no_diff_is_taken_over() -> None:
    """Objects' contents may hold secrets."""
    assert "somebody's Secret" not in json.dumps(built(samples.GREEN))


def test_warnings_that_are_findings_are_told_once() -> None:
    """Preflight hands its findings to Ansible too."""
    assert [(warning["phase"], warning["message"][:22]) for warning in built(samples.GREEN)["warnings"]] == [
        ("istio_helm", "Drift detected: spec.r")
    ]


def test_warnings_that_look_like_findings_are_kept() -> None:
    """Only what is among the findings is told there."""
    preflight = {**samples.GREEN["preflight"], "warnings": ["[room-short] somewhere else: no room."]}
    assert [each["phase"] for each in built({"preflight": preflight})["warnings"]] == ["preflight"]


def test_unknown_evidence_is_kept() -> None:
    """Whoever adds a key need not change the report."""
    assert built(samples.GREEN)["evidence"]["of_tomorrow"]["gateway"] == {"requests": 4, "errors": 0}


def test_time_is_that_of_the_run() -> None:
    """From its first phase to its end."""
    report = built(samples.GREEN)
    assert (report["started"], report["seconds"]) == ("2026-11-26T14:14:40.500Z", 22.5)
    late = model.build({}, "kvm", samples.NOW + timedelta(hours=1))
    assert late["seconds"] == 0


def test_pods_of_a_check_are_nobodys() -> None:
    """Those that are there were not started by it."""
    report = built(samples.CHECK, check=True, pods=samples.PODS, pods_note="Check mode starts no pods.")
    assert (report["pods"], report["pods_note"]) == ([], "Check mode starts no pods.")


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        (samples.GREEN, {"verdict": "proven", "endpoint": samples.URL, "changed": True, "cause": None}),
        (samples.SECOND, {"verdict": "proven", "endpoint": samples.URL, "changed": False, "cause": None}),
        (samples.DIAGNOSED, {"verdict": "failed", "endpoint": None, "changed": False, "cause": "image-pull"}),
        (samples.FAILED, {"verdict": "failed", "endpoint": None, "changed": False, "cause": "image-pull"}),
    ],
)
def test_summary(phases: dict[str, Any], expected: dict[str, Any]) -> None:
    """Is small enough for a workflow's variables."""
    found = model.summary(built(phases), "/r/kvm.html")
    assert {key: found[key] for key in expected} == expected
    assert found["report"] == "/r/kvm.html"
    assert len(json.dumps(found)) < 700


@pytest.mark.parametrize(
    "phases",
    [
        {"preflight": {"failed": True}},
        {"preflight": {"failed": True, "msg": None, "findings": None, "warnings": None, "timing": None}},
        {"liveness_verify": {"changed": True, "evidence": {"latencies_ms": None}, "objects": None}},
        {"istio_helm": {"changed": True, "releases": [{}]}},
        {"somebodys": {"changed": True, "objects": ["x"]}},
        {"liveness_verify": {"failed": True, "diagnosis": {"main": {}, "findings": [{"evidence": "one line"}]}}},
    ],
)
def test_results_that_lack_what_ours_have(phases: dict[str, Any]) -> None:
    """Other roles, other versions: there is a report all the same."""
    assert built(phases)["verdict"]["text"]
