# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as JUnit: a test case for each phase, each finding and each piece of evidence. Pure."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.codes import ERROR
from ansible_collections.meshops.istio.plugins.plugin_utils.report.model import FAILED
from ansible_collections.meshops.istio.plugins.plugin_utils.report.words import brief

#: Characters that XML has no way to write.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_RUN = ("left out", "not reached")


def render(model: dict[str, Any]) -> bytes:
    """The file's content. The cause of a failure is a failed case, warnings are passed cases that say something."""
    suite = ET.Element("testsuite", name=_plain(f"meshops.istio {model['host']}"), timestamp=model["started"][:19])
    for row in model["phases"]:
        case = _case(suite, "phase", row["name"], row["seconds"])
        if row["status"] == FAILED:
            _failure(case, "failed", brief("", row["message"]), row["message"])
        elif row["status"] in _NOT_RUN:
            ET.SubElement(case, "skipped", message=row["status"])
        elif row["summary"]:
            ET.SubElement(case, "system-out").text = _plain(row["summary"])
    for finding in [*([model["cause"]] if model["cause"] else []), *model["findings"]]:
        name = " ".join(filter(None, [finding["code"], finding["object"]])) or "cause"
        case = _case(suite, f"finding.{finding['phase']}" if finding["phase"] else "finding", name)
        text = "\n".join(
            filter(None, [finding["message"], *finding["evidence"], finding["fix"] and f"Fix: {finding['fix']}"])
        )
        if finding["severity"] == ERROR:
            _failure(case, finding["code"] or "error", finding["message"], text)
        else:
            ET.SubElement(case, "system-out").text = _plain(text)
    if model["evidence"]:
        _evidence(suite, model["evidence"])
        _gateways(suite, model["gateways"][1:])
    cases = suite.findall("testcase")
    counts = {"tests": len(cases), "errors": 0}
    for name, tag in (("failures", "failure"), ("skipped", "skipped")):
        counts[name] = sum(case.find(tag) is not None for case in cases)
    root = ET.Element("testsuites")
    for element in (root, suite):
        element.attrib.update({key: str(number) for key, number in counts.items()})
        element.set("time", f"{model['seconds']:.3f}")
    root.append(suite)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _evidence(suite: ET.Element, evidence: dict[str, Any]) -> None:
    answer = _case(suite, "evidence", f"{evidence.get('url')} answers 200")
    if evidence.get("status") != 200:
        words = f"Got status {evidence.get('status')}, expected 200."
        _failure(answer, "status", words, words)
    if evidence.get("mtls"):
        case = _case(suite, "evidence", "mutual TLS between gateway and application")
        ET.SubElement(case, "system-out").text = _plain(
            "\n".join(f"{key}: {value}" for key, value in evidence["mtls"].items())
        )


def _gateways(suite: ET.Element, others: list[dict[str, Any]]) -> None:
    """Those beside the application's: one that was not asked is a case that was skipped."""
    for gateway in others:
        case = _case(suite, "evidence", f"gateway {gateway['name']}")
        if gateway["answer"]:
            ET.SubElement(case, "system-out").text = _plain(" ".join(filter(None, [gateway["answer"], gateway["why"]])))
        else:
            ET.SubElement(case, "skipped", message=_plain(gateway["why"]))


def _case(suite: ET.Element, group: str, name: str, seconds: float | None = None) -> ET.Element:
    return ET.SubElement(
        suite, "testcase", classname=f"istio.{_plain(group)}", name=_plain(name), time=f"{seconds or 0:.3f}"
    )


def _failure(case: ET.Element, kind: str, message: str, text: str) -> None:
    ET.SubElement(case, "failure", type=_plain(kind), message=_plain(message)).text = _plain(text)


def _plain(text: Any) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(text))
