# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be seen is not taken for gone."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError, NotServed, Unreachable
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.liveness import removal
from ansible_collections.meshops.istio.plugins.module_utils.liveness.belongings import App

US = "meshops.istio.liveness"
APP = App("", "liveness", US)
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}}
OURS = {**CONFIG, "metadata": {**CONFIG["metadata"], "uid": "u-1", "managedFields": [{"manager": US}]}}


class FakeCluster(Cluster):
    """Serves one object, or fails at it."""

    def __init__(self, *answers: dict[str, Any] | Exception | None) -> None:
        self.answers = list(answers)
        self.deleted: list[str] = []

    def namespaced(self, obj: dict[str, Any]) -> bool:
        """Of one kind there is nothing."""
        if obj["kind"] == "Gone":
            raise NotServed("The cluster does not serve kind Gone.")
        return True

    def get(self, _version: str, _kind: str, _name: str, _namespace: str | None = None) -> dict[str, Any] | None:
        """The next answer, the last one again and again."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def delete(self, obj: dict[str, Any], as_read: bool = False, same: bool = False) -> bool:
        """Delete the very object."""
        assert same
        self.deleted.append(obj["metadata"]["uid"])
        return True


@pytest.mark.parametrize("fault", [Unreachable("no route"), ApiError(403, "Forbidden", "no")])
def test_api_server_that_does_not_tell(fault: Exception) -> None:
    """That is an error, and no object that is gone."""
    with pytest.raises(type(fault)):
        removal.plan(FakeCluster(fault), APP, [CONFIG])


def test_kind_that_is_served_no_more() -> None:
    """Its objects went with it."""
    gone = {**CONFIG, "kind": "Gone"}
    assert removal.plan(FakeCluster(OURS), APP, [gone, CONFIG]).gone == [OURS]
    assert removal.plan(FakeCluster(NotServed("none")), APP, [CONFIG]).gone == []


@pytest.mark.parametrize(
    ("after", "going"),
    [
        (None, {}),
        ({**OURS, "metadata": {**OURS["metadata"], "uid": "u-2"}}, {}),
        (
            {**OURS, "metadata": {**OURS["metadata"], "finalizers": ["example.com/held"]}},
            {"ConfigMap shop/a": "example.com/held"},
        ),
    ],
)
def test_object_with_finalizers(after: dict[str, Any] | None, going: dict[str, str]) -> None:
    """It is asked for once more, and what holds it is told; another that has come since is another."""
    held = {**OURS, "metadata": {**OURS["metadata"], "finalizers": ["example.com/held"]}}
    cluster = FakeCluster(held, after)
    found = removal.plan(cluster, APP, [CONFIG])
    removal.carry_out(cluster, APP, found)
    assert (cluster.deleted, found.going) == (["u-1"], going)
    assert removal.warnings(found) == [
        f"{name} is still being deleted (finalizers: {what})." for name, what in going.items()
    ]


def test_object_that_is_being_deleted() -> None:
    """Not deleted again, and told."""
    dying = {**OURS, "metadata": {**OURS["metadata"], "deletionTimestamp": "2026-11-22T19:58:30Z"}}
    found = removal.plan(FakeCluster(dying), APP, [CONFIG])
    assert (found.gone, found.going) == ([], {"ConfigMap shop/a": "none"})
