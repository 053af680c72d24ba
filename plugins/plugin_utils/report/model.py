# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run did, as plain data: made of the roles' results, and what page, JSON and JUnit are made of. Pure.

Of each result only what is named here is taken, and never a diff: objects' contents may hold secrets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.codes import ERROR, WARNING
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding, shown
from ansible_collections.meshops.istio.plugins.plugin_utils.report import gateways, timeline
from ansible_collections.meshops.istio.plugins.plugin_utils.report.words import brief, plural

#: Of the JSON's form; a key that goes, or means something else, makes it grow.
FORMAT = 1

#: How a run ended: with an answer through the mesh, without having asked for one, in check mode, or not well.
PROVEN, DONE, CHECKED, FAILED = "proven", "done", "checked", "failed"

Result = dict[str, Any]


@dataclass(frozen=True)
class Phase:
    """What the report knows of a phase of the run.

    :ivar str title: what it is for, in a word or two
    :ivar summary: says what it did, from its result and whether it only checked
    :ivar bool guard: it is told of only where it failed
    """

    title: str
    summary: Callable[[Result, bool], str] = lambda result, check: ""
    guard: bool = False


def build(
    phases: dict[str, Result],
    host: str,
    now: datetime,
    *,
    check: bool = False,
    failed: bool = False,
    pods: Iterable[dict[str, Any]] = (),
    pods_note: str = "",
    ahead: timedelta = timedelta(0),
    programs: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The whole report.

    :arg phases: results of the roles by phase, in the order in which they ran; empty where one did not
    :arg now: when the run ended
    :arg bool failed: whether it did; a task may fail that is none of the phases
    :arg pods: pods of the mesh and of the app, as the API server shows them
    :arg pods_note: why there are none
    :arg ahead: of the API server's clock this machine's
    :arg programs: versions of what ran the roles
    """
    found = {name: result for name, result in phases.items() if result and not result.get("skipped")}
    rows = _phase_rows(phases, found, check)
    failed = failed or any(row["status"] == FAILED for row in rows)
    started = min((timeline.instant(row["started"]) for row in rows if row["started"]), default=now)
    cause, findings = _findings(found, rows, failed)
    evidence = dict(_of(found, "liveness_verify", "evidence") or {})
    changes = [change for name, result in found.items() for change in _changes(name, result, check)]
    drawn = [] if check else timeline.of_pods(pods, started, ahead)
    model: dict[str, Any] = {
        "format": FORMAT,
        "host": host,
        "check": check,
        **_times(started, now),
        "endpoint": evidence.get("url"),
        "cause": cause,
        "findings": findings,
        "not_looked_at": _not_looked_at(found),
        "warnings": _warnings(found),
        "evidence": evidence,
        "gateways": gateways.of_evidence(evidence),
        "changes": changes,
        "phases": rows,
        "pods": drawn,
        "pods_note": "" if drawn else pods_note,
        "versions": {**(programs or {}), **(_of(found, "preflight", "versions") or {})},
        "cluster": dict(_of(found, "preflight", "cluster") or {}),
    }
    return {**model, "verdict": _verdict(model, failed), "counts": _counts([*findings, *([cause] if cause else [])])}


def _times(started: datetime, ended: datetime) -> dict[str, Any]:
    seconds = round((ended - started).total_seconds(), 1)
    return {"started": _text(started), "ended": _text(ended), "seconds": seconds}


def _not_looked_at(found: dict[str, Result]) -> list[str]:
    return [str(line) for result in found.values() for line in _diagnosis(result).get("skipped") or []]


def _counts(findings: list[dict[str, Any]]) -> dict[str, int]:
    """How many findings there are of each severity."""
    return {severity: sum(each["severity"] == severity for each in findings) for severity in (ERROR, WARNING)}


def summary(model: dict[str, Any], page: str | None) -> dict[str, Any]:
    """The few words of it that a workflow goes on with."""
    return {
        "verdict": model["verdict"]["status"],
        "text": model["verdict"]["text"],
        "endpoint": model["endpoint"],
        "changed": any(row["changed"] for row in model["phases"]),
        "findings": model["counts"],
        "cause": model["cause"]["code"] if model["cause"] else None,
        "seconds": model["seconds"],
        "report": page,
    }


def _of(found: dict[str, Result], phase: str, key: str) -> Any:
    return found.get(phase, {}).get(key)


def _text(time: datetime) -> str:
    return time.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# -- phases ------------------------------------------------------------------------------------------------------------


def _objects(result: Result, check: bool) -> str:
    number = len(result.get("objects") or [])
    if not number:
        return "no changes"
    return f"{plural(number, 'object')} {'to change' if check else 'changed'}"


def _preflight(result: Result, check: bool) -> str:
    counts = Counter(finding.get("severity") for finding in result.get("findings") or [])
    found = [plural(counts[severity], severity) for severity in (ERROR, WARNING) if counts[severity]]
    return ", ".join(found) or "no findings"


def _pod_security(result: Result, check: bool) -> str:
    return "; ".join(filter(None, [result.get("mechanism", ""), _objects(result, check)]))


def _crds(result: Result, check: bool) -> str:
    return f"{plural(len(result.get('crds') or []), 'CRD')}; {_objects(result, check)}"


_DONE = {
    "install": "installed",
    "upgrade": "upgraded",
    "restore": "restored",
    "repair": "repaired",
    "recover": "recovered",
    "create": "created",
    "change": "changed",  # applied, or taken away
}


def _releases(result: Result, check: bool) -> str:
    counts = Counter(release.get("action") for release in result.get("releases") or [])
    unchanged = counts.pop("none", 0)
    done = [
        f"{number} to {action}" if check else f"{number} {_DONE.get(action, action)}"
        for action, number in counts.items()
    ]
    return ", ".join(done + ([f"{unchanged} up to date"] if unchanged else []))


def _liveness(result: Result, check: bool) -> str:
    evidence = result.get("evidence") or {}
    answered = f"{evidence.get('status')} from {evidence.get('url')}" if evidence else ""
    return "; ".join(filter(None, [answered, _objects(result, check)]))


PHASES: dict[str, Phase] = {
    "variables": Phase("Variables", guard=True),
    "preflight": Phase("Preflight", _preflight),
    "cluster_twice": Phase("Distinct clusters", guard=True),
    "psp_rbac": Phase("Pod security", _pod_security),
    "crds": Phase("CRDs", _crds),
    "istio_helm": Phase("Helm releases", _releases),
    "liveness_verify": Phase("Traffic verification", _liveness),
}


def _phase_rows(phases: dict[str, Result], found: dict[str, Result], check: bool) -> list[dict[str, Any]]:
    rows = []
    for name in phases:
        phase, result = PHASES.get(name, Phase(name)), found.get(name, {})
        if phase.guard and not result.get("failed"):
            continue
        status = "left out"
        if result:
            status = FAILED if result.get("failed") else "changed" if result.get("changed") else "unchanged"
        timing = result.get("timing") or {}
        rows.append(
            {
                "name": name,
                "title": phase.title,
                "status": status,
                "changed": bool(result.get("changed")),
                "started": timing.get("started"),
                "seconds": timing.get("seconds"),
                "summary": phase.summary(result, check) if result and status != FAILED else "",
                "message": str(result.get("msg", "")) if status == FAILED else "",
            }
        )
    last = max((place for place, row in enumerate(rows) if row["status"] == FAILED), default=len(rows))
    for row in rows[last + 1 :]:
        row["status"] = "not reached" if row["status"] == "left out" else row["status"]
    return rows


# -- findings ----------------------------------------------------------------------------------------------------------


def _finding(phase: str, given: dict[str, Any], severity: str = ERROR) -> dict[str, Any]:
    evidence = given.get("evidence") or []
    return {
        "phase": phase,
        "severity": given.get("severity") or severity,
        "code": given.get("code") or "",
        "object": str(given.get("object") or ""),
        "message": str(given.get("message") or ""),
        "fix": str(given.get("fix") or ""),
        "evidence": [str(line) for line in (evidence if isinstance(evidence, list) else [evidence])],
    }


def _told(phase: str, result: Result) -> list[dict[str, Any]]:
    """What a failed task says as findings: its parts, or the message of a task that is not ours, as it is."""
    parts = [given for given in result.get("errors") or [] if isinstance(given, dict)]
    return [_finding(phase, given) for given in parts or [{"message": result.get("msg")}]]


def _diagnosis(result: Result) -> dict[str, Any]:
    return result.get("diagnosis") or {}


def _findings(
    found: dict[str, Result], rows: list[dict[str, Any]], failed: bool
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The one cause of a failure, and all else that was found, errors first."""
    cause: dict[str, Any] | None = None
    findings: list[dict[str, Any]] = []
    for name, result in found.items():
        diagnosis = _diagnosis(result)
        own = [_finding(name, given, WARNING) for given in result.get("findings") or []]
        own += [_finding(name, given, WARNING) for given in diagnosis.get("findings") or []]
        if result.get("failed") and cause is None:
            main = diagnosis.get("main")
            errors = [finding for finding in own if finding["severity"] == ERROR]
            told = errors or _told(name, result)
            cause = _finding(name, main) if main else told[0]
            own += [] if main else told[1:]
        findings += own
    if failed and cause is None:
        cause = _unknown(rows)
    for row in rows:
        row["is_cause"] = row["status"] == FAILED and _says_cause(row["name"], found, cause)
    same = ("code", "object", "message")
    seen = [[finding[key] for key in same] for finding in ([cause] if cause else [])]
    others = []
    for finding in findings:
        key = [finding[part] for part in same]
        if key not in seen:
            seen.append(key)
            others.append(finding)
    return cause, sorted(others, key=lambda finding: finding["severity"] != ERROR)


def _says_cause(phase: str, found: dict[str, Result], cause: dict[str, Any] | None) -> bool:
    """Whether the cause of a failure is what a phase said itself, and not what a diagnosis has found after it."""
    return cause is not None and cause["phase"] == phase and not _diagnosis(found[phase]).get("main")


def _unknown(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A task failed that is no phase's own, such as the download of a program."""
    done = [row["name"] for row in rows if row["status"] in ("changed", "unchanged")]
    where = f"after {done[-1]}" if done else "before the first phase finished"
    message = f"A task outside the phases of this report failed {where}."
    fix = "Read its error message in the output of ansible-playbook or of the AWX job."
    return _finding(done[-1] if done else "", {"message": message, "fix": fix})


def _warnings(found: dict[str, Result]) -> list[dict[str, str]]:
    """What tasks warned of, less what is among the findings already."""
    given = [each for result in found.values() for each in result.get("findings") or []]
    parts = ("code", "object", "message", "fix")
    told = set(shown(Finding(*(str(each.get(part) or "") for part in parts)) for each in given))
    return [
        {"phase": name, "message": str(message)}
        for name, result in found.items()
        for message in result.get("warnings") or []
        if str(message) not in told
    ]


# -- what changed ------------------------------------------------------------------------------------------------------


def _changes(phase: str, result: Result, check: bool) -> Iterable[dict[str, Any]]:
    """Each release and each set of objects that is not as it was."""

    def change(name: str, action: str, objects: Iterable[Any] = (), reasons: Iterable[Any] = ()) -> dict[str, Any]:
        return {
            "phase": phase,
            "name": name,
            "action": f"to {action}" if check else _DONE.get(action, action),
            "reasons": list(map(str, reasons)),
            "objects": list(map(str, objects)),
        }

    for release in result.get("releases") or []:
        if release.get("action") != "none":
            name = f"{release.get('namespace')}/{release.get('name')}"
            version = f"chart {release.get('chart')} {release.get('chart_version')}"
            yield change(
                name,
                release.get("action", ""),
                release.get("objects") or [],
                [version, *(release.get("reasons") or [])],
            )
    if result.get("namespaces") and phase == "istio_helm":
        yield change("namespaces", "create", (f"Namespace {name}" for name in result["namespaces"]))
    told = {f"release {release.get('namespace')}/{release.get('name')}" for release in result.get("releases") or []}
    objects = [obj for obj in result.get("objects") or [] if obj not in told]
    if objects and result.get("changed"):
        yield change(PHASES[phase].title if phase in PHASES else phase, "change", objects)


# -- the verdict -------------------------------------------------------------------------------------------------------


def _verdict(model: dict[str, Any], failed: bool) -> dict[str, str]:
    """One word, and one sentence."""
    cause, evidence = model["cause"], model["evidence"]
    istio = " ".join(filter(None, ["Istio", model["versions"].get("istio")]))
    if failed:
        where = f"in {cause['phase']}" if cause["phase"] else "at the start"
        return {"status": FAILED, "text": f"The run failed {where}: {brief(cause['object'], cause['message'])}"}
    if model["check"]:
        number = len(model["changes"])
        would = f"would make {plural(number, 'change')}" if number else "would change nothing"
        return {"status": CHECKED, "text": f"A run {would}. Check mode wrote nothing to the cluster."}
    if evidence:
        times = len(evidence.get("latencies_ms") or [])
        by = ", over mutual TLS" if evidence.get("mtls") else ""
        row = f", {times} times in a row" if times > 1 else ""
        text = f"{istio} works: {evidence.get('url')} answered {evidence.get('status')} through the gateway{by}{row}."
        text += gateways.in_words(model["gateways"][1:])
        return {"status": PROVEN, "text": text if model["changes"] else f"{text} No changes were needed."}
    ran = [row["name"] for row in model["phases"] if row["status"] in ("changed", "unchanged")]
    if not ran:
        return {"status": DONE, "text": "No phase ran."}
    what = plural(len(model["changes"]), "change") if model["changes"] else "no changes were needed"
    return {"status": DONE, "text": f"{', '.join(ran)} succeeded: {what}. No request was sent through the mesh."}
