# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing that is broken on a real cluster, and almost the same: what is said of the one, and nothing of the other.

Manifests and expected codes are written in the tests, by hand, and know nothing of our rules.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from harness.beds import BedCluster
from harness.in_process import run_job

from ansible_collections.meshops.istio.plugins.module_utils.jobs import diagnosis

Manifest = dict[str, Any]
#: Seconds in which a cluster shows a fault, and in which it settles.
SHOWN, SETTLED = 45.0, 60.0


@dataclass
class Row:
    """A line of the table that the suite prints."""

    name: str
    bed: str
    expected: str
    found: str = "-"
    silent: str = "-"
    seconds: float = 0.0


#: Filled in by the tests, printed in the end.
ROWS: list[Row] = []
#: Codes, and the seconds after which a failing run stopped once its cause could be seen; printed too.
STOPPED: list[tuple[str, float]] = []


@dataclass(frozen=True)
class Fault:
    """A fault and its near-miss. ``{ns}`` stands for the namespace, which each has of its own.

    :ivar str name: in words
    :ivar str expected: code of the main finding
    :ivar list broken: objects with the one thing that is wrong
    :ivar list near: almost the same objects, with nothing wrong
    :ivar dict labels: of the namespace
    :ivar dict options: of the diagnosis beside those of every one
    :ivar str says: words that the finding must quote
    :ivar after: done once the broken objects are there
    :ivar after_near: done once the others are there
    :ivar undo: done when the broken ones go
    :ivar near_labels: of the near-miss' namespace, where they are others
    """

    name: str
    expected: str
    broken: list[Manifest]
    near: list[Manifest]
    labels: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    after: Callable[[BedCluster, str], None] | None = None
    after_near: Callable[[BedCluster, str], None] | None = None
    undo: Callable[[BedCluster, str], None] | None = None
    near_labels: dict[str, str] | None = None

    def __str__(self) -> str:
        return self.name.replace(" ", "-").replace("'", "")


def filled(value: Any, namespace: str) -> Any:
    """A manifest with the namespace in place of {ns}."""
    return json.loads(json.dumps(value).replace("{ns}", namespace))


def placed(objects: Iterable[Manifest], namespace: str) -> list[Manifest]:
    """Objects in a namespace, but for those that say where they are, or are in none."""
    whole = filled(list(objects), namespace)
    for obj in whole:
        if obj.pop("clusterScoped", False):
            continue
        obj["metadata"].setdefault("namespace", namespace)
    return whole


def look(cluster: BedCluster, **options: Any) -> dict[str, Any]:
    """What the diagnosis says. Writes nothing. :raises AssertionError: it fails"""
    access = {"kubeconfig": str(cluster.kubeconfig), "context": cluster.variables["istio_context"]}
    result, _task = run_job(diagnosis, {**access, **options})
    assert not result.get("failed"), result
    return result["diagnosis"]


def until(check: Callable[[], Any], seconds: float) -> Any:
    """What a check returns, once that is something, or in the end."""
    deadline = time.monotonic() + seconds
    while not (found := check()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def wait_for_workloads(cluster: BedCluster, namespace: str) -> None:
    """Until what is to run there does."""
    for kind in ("deployment", "daemonset", "statefulset"):
        for name in cluster.kubectl("get", kind, "-n", namespace, "-o", "name").split():
            cluster.kubectl("rollout", "status", name, "-n", namespace, f"--timeout={SETTLED:.0f}s")


def said(finding: dict[str, Any]) -> str:
    """All that a finding says of what is wrong."""
    return "\n".join([finding["message"], *finding["evidence"]])


def assert_told(row: Row, fault: Fault, found: dict[str, Any]) -> None:
    """The main finding is the right one, and says what it should."""
    main = found["main"] or {}
    row.found = main.get("code", "nothing")
    shown = json.dumps(found, indent=1)
    assert row.found == fault.expected, shown
    assert fault.says in said(main), shown
    assert main["evidence"], shown
    assert all(main.values()), shown
    assert main == found["findings"][0]


def assert_silent(row: Row, found: dict[str, Any]) -> None:
    """Nothing is found."""
    row.silent = "yes" if not found["findings"] else ", ".join(each["code"] for each in found["findings"])
    assert found["findings"] == []


def try_out(cluster: BedCluster, bed: str, fault: Fault) -> None:
    """Break it, ask, mend it, and ask again, in namespaces of their own."""
    row, started = Row(fault.name, bed, fault.expected), time.monotonic()
    ROWS.append(row)
    with cluster.namespace(fault.labels) as namespace:
        objects = placed(fault.broken, namespace)
        try:
            cluster.apply(*objects)
            if fault.after:
                fault.after(cluster, namespace)
            options = filled({"application_namespaces": ["{ns}"], "connect": False, **fault.options}, namespace)
            found: dict[str, Any] = {}

            def told() -> bool:
                found.update(look(cluster, **options))
                main = found["main"] or {}
                return main.get("code") == fault.expected and fault.says in said(main)

            until(told, SHOWN)
            assert_told(row, fault, found)
        finally:
            if fault.undo:
                fault.undo(cluster, namespace)
            clean(cluster, objects, namespace)
    labels = fault.labels if fault.near_labels is None else fault.near_labels
    with cluster.namespace(labels) as namespace:
        objects = placed(fault.near, namespace)
        try:
            cluster.apply(*objects)
            if fault.after_near:
                fault.after_near(cluster, namespace)
            wait_for_workloads(cluster, namespace)
            options = filled({"application_namespaces": ["{ns}"], "connect": False, **fault.options}, namespace)
            assert_silent(row, look(cluster, **options))
        finally:
            clean(cluster, objects, namespace)
    row.seconds = time.monotonic() - started


def clean(cluster: BedCluster, objects: list[Manifest], namespace: str) -> None:
    """Take away what goes with no namespace, or is in another."""
    elsewhere = [obj for obj in objects if obj["metadata"].get("namespace") != namespace]
    if elsewhere:
        text = json.dumps({"kind": "List", "apiVersion": "v1", "items": elsewhere})
        cluster.kubectl("delete", "--ignore-not-found", "--wait=false", "-f-", stdin=text)
