# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops helm and passes by itself costs nobody a run, and what has begun is told all the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import HelmError
from ansible_collections.meshops.istio.plugins.module_utils.helm.storage import Stored
from ansible_collections.meshops.istio.plugins.module_utils.releases import writer
from ansible_collections.meshops.istio.plugins.module_utils.releases.steps import Step
from ansible_collections.meshops.istio.plugins.module_utils.releases.writer import Writer
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

KEY = ("mesh", "istiod")
EOF = 'Patch "https://192.0.2.1:6443/api": EOF'
FINAL = "the Deployment is invalid"


class World:
    """Helm and its storage; `faults` are those of its next calls, each with the status that it leaves, or none."""

    major = 4

    def __init__(self, *faults: tuple[str, str | None], before: Stored | None = None) -> None:
        self.faults = list(faults)
        self.stored = before
        self.log: list[str] = []
        self.now = 0.0
        self.lost_after: float | None = None

    def upgrade(self, name: str, *_arguments: Any, **_how: Any) -> None:
        """Begin a revision, and end it as is written down."""
        self.log.append("helm")
        words, status = self.faults.pop(0) if self.faults else ("", "deployed")
        if status:
            revision = (self.stored.revision if self.stored else 0) + 1
            self.stored = Stored(name, KEY[0], revision, status, resource_version="7")
        if words:
            raise HelmError(["upgrade", name], f"Error: {words}")

    def delete(self, obj: dict[str, Any], as_read: bool) -> bool:
        """Delete a revision."""
        assert as_read
        self.log.append(f"delete {obj['metadata']['name'].rpartition('.')[2]}")
        self.stored = self.before
        return True

    before: Stored | None = None

    def still(self) -> None:
        """As the Lease."""
        if self.lost_after is not None and self.now > self.lost_after:
            raise JobError("was taken over")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what writes a release there. :returns: the task"""

    def write(world: World, action: str = "install") -> Task:
        world.before = world.stored
        monkeypatch.setattr(writer.time, "monotonic", lambda: world.now)
        monkeypatch.setattr(writer.time, "sleep", lambda seconds: setattr(world, "now", world.now + seconds))
        chart: Any = SimpleNamespace(path=Path("/charts/istiod"), digest="0" * 64)
        release: Any = SimpleNamespace(name=KEY[1], namespace=KEY[0], values={})
        task = Task({"wait_timeout": 300}, False, False)
        task.say = lambda _line: None
        fake: Any = world
        steps = Step(release, chart, world.stored, action)
        try:
            Writer(task, fake, fake, {}, fake, lambda _keys: {KEY: world.stored} if world.stored else {}).write(steps)
        finally:
            world.log.append(f"noted {len(task.written)}")
        return task

    return write


def test_what_passes(written: Any) -> None:
    """A revision that a fault has ended is taken back, so that helm's history is as if nothing had been."""
    world = World((EOF, "failed"), (EOF, "pending-install"), (EOF, None))
    written(world)
    assert world.log == ["helm", "delete v1", "helm", "delete v1", "helm", "helm", "noted 1"]
    assert (world.stored.revision, world.stored.status) == (1, "deployed")


def test_revision_before_stays(written: Any) -> None:
    """Only what this run has begun is taken back."""
    world = World((EOF, "pending-upgrade"), before=Stored("istiod", "mesh", 4, "deployed"))
    written(world, "upgrade")
    assert world.log == ["helm", "delete v5", "helm", "noted 1"]
    assert world.stored.revision == 5


def test_success_of_which_helm_did_not_hear(written: Any) -> None:
    """The last answer was lost, and the record says that all is done."""
    world = World((EOF, "deployed"))
    written(world)
    assert world.log == ["helm", "noted 1"]


@pytest.mark.parametrize(("status", "noted"), [("failed", 1), (None, 0)])
def test_what_does_not_pass(status: str | None, noted: int, written: Any) -> None:
    """No second try; what was begun is noted."""
    world = World((FINAL, status))
    with pytest.raises(HelmError, match=FINAL):
        written(world)
    assert world.log == ["helm", f"noted {noted}"]


def test_fault_that_stays(written: Any) -> None:
    """The last one counts after a minute; objects of tries before are noted, though the last had none."""
    world = World((EOF, "failed"), *[(EOF, None)] * 99)
    with pytest.raises(HelmError, match="EOF"):
        written(world)
    assert 45 < world.now <= writer.PERSISTENCE
    assert world.log[-1] == "noted 1"


def test_lease_that_was_lost(written: Any) -> None:
    """Nothing is taken back, nor tried again, by who may not write any more."""
    world = World((EOF, "failed"))
    world.lost_after = 0.5
    with pytest.raises(JobError, match="taken over"):
        written(world)
    assert world.log == ["helm", "noted 1"]


@pytest.mark.parametrize(("status", "log"), [("failed", ["helm", "helm"]), ("pending-install", ["helm"])])
def test_storage_that_is_not_ours_to_edit(
    status: str, log: list[str], written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HELM_DRIVER: helm goes on from what has failed, and refuses what is pending."""
    monkeypatch.setenv("HELM_DRIVER", "configmap")
    world = World((EOF, status))
    if status == "failed":
        written(world)
    else:
        with pytest.raises(HelmError, match="EOF"):
            written(world)
    assert world.log[:-1] == log
