# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where only helm can tell whether a chart changes anything, its answer is compared and remembered."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.helm import dry_run
from ansible_collections.meshops.istio.plugins.module_utils.helm.charts import Chart
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import HelmError
from ansible_collections.meshops.istio.plugins.module_utils.helm.storage import Stored

HOOKS = [{"path": "a/templates/b.yaml", "manifest": "kind: Job", "last_run": {"phase": "Succeeded"}},
         {"path": "a/templates/a.yaml", "manifest": "kind: Pod"}]  # fmt: skip
ANSWER: dict[str, Any] = {
    "manifest": "kind: List\n",
    "hooks": [{key: hook[key] for key in ("path", "manifest")} for hook in reversed(HOOKS)],
    "config": {"big": 2**53 + 1},
    "chart": {"values": {"a": 1.0}},
}
STORED = Stored(
    "a", "b", 3, "deployed", {"values": {"a": 1}}, {"big": 2**53}, "kind: List\n", "2026", "ssa", hooks=HOOKS
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, []),
        ({"manifest": "kind: List\n# new\n"}, ["manifest"]),
        ({"hooks": None}, ["hooks"]),
        ({"hooks": [{**HOOKS[0], "manifest": "kind: Pod"}, HOOKS[1]]}, ["hooks"]),
        ({"config": {}}, ["values"]),
        ({"config": {"big": 2**53 + 2}}, ["values"]),
        ({"chart": {"values": {"a": 2}}}, ["default values"]),
        ({"chart": {"values": None}}, ["default values"]),
        ({"manifest": None, "chart": None}, ["manifest", "default values"]),
    ],
)
def test_differences(given: dict[str, Any], expected: list[str]) -> None:
    """Each in a word; how a hook went, and the order of hooks, is nothing."""
    assert dry_run.differences(STORED, {**ANSWER, **given}) == expected


def test_differences_without_chart() -> None:
    """Where helm tells of the stored chart only its version, its defaults cannot be compared."""
    told = Stored("a", "b", 3, "deployed", {"metadata": {}}, {"big": 2**53}, "kind: List\n", hooks=HOOKS)
    assert dry_run.differences(told, ANSWER) == []


def test_asked_once_for_a_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the chart, the values, the revision or helm is another; an error is no reason to call it unchanged."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "chart").mkdir()
    (tmp_path / "chart/Chart.yaml").write_text("name: a")
    calls: list[Any] = []

    def answer(*arguments: Any) -> dict[str, Any]:
        calls.append(arguments)
        if arguments[3] == {"bad": True}:
            raise HelmError("helm upgrade failed", "failed")
        return {**ANSWER, "config": arguments[3]}

    def asked(
        stored: Stored = STORED, version: str = "4.3.1", kube: str = "v1.37.2", **values: Any
    ) -> tuple[bool, int]:
        release = SimpleNamespace(name="a", namespace="b", values=values)
        helm = SimpleNamespace(version=version, dry_run=answer)
        chart = Chart(tmp_path / "chart")
        return dry_run.is_unchanged(helm, release, chart, stored, {"K": "v"}, kube), len(calls)  # type: ignore[arg-type]

    assert asked(big=2**53) == (True, 1)
    assert calls == [("a", "b", tmp_path / "chart", {"big": 2**53}, {"K": "v"})]
    assert asked(big=2**53) == (True, 1)
    assert asked(big=7) == (False, 2)
    assert asked(big=7) == (False, 2)
    assert asked(bad=True) == (False, 3)
    assert asked(Stored(**{**vars(STORED), "revision": 4}), big=2**53) == (True, 4)
    assert asked(version="4.3.2", big=2**53) == (True, 5)
    assert asked(kube="v1.38.0", big=2**53) == (True, 6)
    (tmp_path / "chart/new").write_text("")
    assert asked(big=2**53) == (True, 7)
