# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_releases: a set of Helm releases, written by helm when they must be and never otherwise."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils import charts, lease, manifests, mesh, release_state
from ansible_collections.meshops.istio.plugins.module_utils.chart_source import Source, pinned
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm import Helm, credentials
from ansible_collections.meshops.istio.plugins.module_utils.job import Task, argument_spec
from ansible_collections.meshops.istio.plugins.module_utils.kube import Cluster, in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.objects import Identity, identity
from ansible_collections.meshops.istio.plugins.module_utils.pod_security_detection import served_groups
from ansible_collections.meshops.istio.plugins.module_utils.readiness import is_ready
from ansible_collections.meshops.istio.plugins.module_utils.waiting import Waiter

ARGUMENT_SPEC = argument_spec(
    {
        **mesh.MESH_ARGUMENT_SPEC,
        "wait_for": {"type": "str", "choices": ["gateways", "control-plane", "nothing"], "default": "gateways"},
        "wait_timeout": {"type": "int", "default": 300},
    }
)

#: Kinds whose readiness is part of a release's success. A Service is not: an address may need a cloud minutes, and the
#: role that needs the address waits for it.
WAITED_FOR = ("Deployment", "DaemonSet", "MutatingWebhookConfiguration")


@dataclass
class Step:
    """What is to be done about one release, and why.

    :ivar str action: ``none``, ``install``, ``upgrade``, ``restore`` or ``recover``
    :ivar list reasons: in a few words each
    """

    release: mesh.Release
    chart: charts.Chart
    stored: release_state.Stored | None
    action: str
    reasons: list[str] = field(default_factory=list)

    def result(self) -> dict[str, Any]:
        """For the task's result."""
        return {
            "name": self.release.name,
            "namespace": self.release.namespace,
            "chart": self.release.chart,
            "chart_version": str(self.chart.metadata["version"]),
            "action": self.action,
            "reasons": self.reasons,
        }

    def diff(self) -> dict[str, Any]:
        """Chart version and values before and after."""
        before = self.stored and {"chart_version": self.stored.chart_version, "values": self.stored.values}
        return {
            "before": before or "",
            "after": {"chart_version": str(self.chart.metadata["version"]), "values": self.release.values},
            "before_header": f"release {self.release.namespace}/{self.release.name}",
            "after_header": f"release {self.release.namespace}/{self.release.name} ({self.action})",
        }


def judge(release: mesh.Release, chart: charts.Chart, stored: release_state.Stored | None) -> Step:
    """What a release needs, from what is wanted and what Helm has stored. Pure."""
    if stored is None or stored.status == "uninstalled":
        return Step(release, chart, stored, "install", ["not installed"])
    if stored.status in release_state.PENDING:
        return Step(release, chart, stored, "recover", [f"left in {stored.status} by a run that ended early"])
    reasons = []
    if stored.status != "deployed":
        reasons.append(f"status {stored.status}")
    differs = release_state.chart_differs(stored.chart, chart)
    if differs:
        reasons.append(differs)
    if _canonical(stored.values) != _canonical(release.values):
        reasons.append("values")
    return Step(release, chart, stored, "upgrade" if reasons else "none", reasons)


def _canonical(values: dict[str, Any]) -> str:
    """Values as text, alike for alike values: helm writes 100.0, as the chart has it, as 100."""

    def number(text: str) -> float:
        found = float(text)
        return int(found) if found.is_integer() else found

    return json.dumps(json.loads(json.dumps(values), parse_float=number), sort_keys=True)


def objects_of(stored: release_state.Stored) -> list[Identity]:
    """Identities of a stored release's objects; parsed once for each manifest and then known by its digest."""

    def parse() -> list[list[str]]:
        return [list(identity(document)) for document in charts.documents(stored.manifest)]

    return [tuple(item) for item in charts.cached(["identities", stored.manifest], parse)]


class Run:
    """One run of the job: reads the cluster, plans, and carries the plan out."""

    def __init__(self, task: Task) -> None:
        self.task = task
        mesh.releases(task.params)  # names options that contradict each other before anything is read
        self.cluster = Cluster(task.params)
        self.params = {**task.params, "platform": self._platform(task.params["platform"])}
        self.wanted = mesh.releases(self.params)
        self.helm = Helm(task.params["helm_binary"])
        self.charts = self._locate_charts()
        self.wanted = [release.fitted(self.charts[release.chart].accepted_values) for release in self.wanted]
        self.live: dict[Identity, dict[str, Any]] = {}

    def _platform(self, wanted: str) -> str:
        return mesh.platform(wanted, served_groups(self.cluster) if wanted == "auto" else ())

    def _locate_charts(self) -> dict[str, charts.Chart]:
        names = sorted({release.chart for release in self.wanted})
        source, version = Source.of(self.params), self.params["chart_version"]
        found = in_parallel(
            lambda name: charts.locate(lambda: self.helm, source, name, version, pinned(self.params, name)), names
        )
        return dict(zip(names, found, strict=True))

    # -- reading ------------------------------------------------------------------------------------------------------

    def plan(self) -> list[Step]:
        """Look at releases and their objects. Writes nothing."""
        stored = self._stored([(release.namespace, release.name) for release in self.wanted])
        steps = [
            judge(release, self.charts[release.chart], stored.get((release.namespace, release.name)))
            for release in self.wanted
        ]
        self._find_missing(steps)
        return steps

    def _stored(self, keys: list[tuple[str, str]]) -> dict[tuple[str, str], release_state.Stored]:
        if release_state.in_secrets():
            try:
                return release_state.read(self.cluster, keys)
            except release_state.UnknownFormat as error:
                self.task.say(f"asking helm, as its storage is in a form not known here: {error}")
        with credentials(self.cluster) as environment:
            return release_state.ask(self.helm, environment, keys)

    def _find_missing(self, steps: list[Step]) -> None:
        """A release whose secret is intact but whose objects are not all there is not unchanged."""
        intact = {id(step): self._objects(step) for step in steps if step.action == "none" and step.stored}
        self.live = self._live({key for keys in intact.values() for key in keys})
        for step in steps:
            missing = [key for key in intact.get(id(step), []) if key not in self.live]
            if missing:
                step.action = "restore"
                step.reasons = [f"missing: {key[1]} {'/'.join(filter(None, key[2:]))}" for key in missing]

    def _objects(self, step: Step) -> list[Identity]:
        """A chart may leave the namespace out where it is the release's own, and give one where there can be none."""
        return [
            (api_version, kind, self._namespace_for(api_version, kind, namespace or step.release.namespace), name)
            for api_version, kind, namespace, name in objects_of(step.stored)
        ]

    def _namespace_for(self, api_version: str, kind: str, namespace: str) -> str:
        return namespace if self.cluster.resource(api_version, kind).namespaced else ""

    def _live(self, keys: set[Identity]) -> dict[Identity, dict[str, Any]]:
        """Which objects are there: one list for each kind and namespace, in full where readiness is asked."""
        groups = sorted({key[:3] for key in keys})

        def fetch(group: tuple[str, str, str]) -> list[dict[str, Any]]:
            api_version, kind, namespace = group
            names = [key[3] for key in keys if key[:3] == group]
            if len(names) == 1:
                obj = self.cluster.get(api_version, kind, names[0], namespace or None)
                return [obj] if obj else []
            return self.cluster.list(api_version, kind, namespace or None, metadata_only=kind not in WAITED_FOR)

        found = {identity(obj): obj for objs in in_parallel(fetch, groups) for obj in objs}
        return {key: found[key] for key in keys if key in found}

    def respect_the_living(self, steps: list[Step]) -> None:
        """A release that is pending, and not by a run of ours that died, may be somebody's pipeline at work right now.

        :raises JobError: it is too young to be anything else; names it
        """
        for step in steps:
            if step.action != "recover":
                continue
            age, limit = step.stored.age(datetime.now(timezone.utc)), self.params["wait_timeout"]
            if age < limit:
                raise JobError(
                    f"Release {step.release.namespace}/{step.release.name} is {step.stored.status} since {age:.0f} s: "
                    f"another pipeline may be at work. Wait for it to end; a release that has been pending for "
                    f"{limit} s counts as left behind, and is recovered."
                )

    # -- writing ------------------------------------------------------------------------------------------------------

    def carry_out(self, steps: list[Step]) -> None:
        """Bring every release of every stage where it is wanted, a stage when the one before it is ready.

        A release that runs nothing (base) is nobody's condition: helm writes it while the others' pods start.
        """
        stages = sorted({step.release.stage for step in steps})
        todo = [step for step in steps if step.action != "none"]
        with credentials(self.cluster) as environment, ThreadPoolExecutor(max_workers=1) as beside:
            written_beside: list[Future] = []
            for stage in stages:
                writes = [step for step in todo if step.release.stage == stage and step.release.runs_pods]
                in_parallel(lambda step: self._write(step, environment), writes)
                if stage == stages[0]:
                    idle = [step for step in todo if not step.release.runs_pods]
                    written_beside = [beside.submit(self._write, step, environment) for step in idle]
                if self._waits_for(stage):
                    self._wait([step for step in steps if step.release.stage == stage and step.release.runs_pods])
            for future in written_beside:
                future.result()

    def _waits_for(self, stage: int) -> bool:
        """Whether a stage's pods are waited for: always when another stage follows that needs them."""
        stages = {release.stage for release in self.wanted}
        wanted = {"gateways": max(stages), "control-plane": 0, "nothing": -1}[self.params["wait_for"]]
        return stage <= wanted or (stage < max(stages))

    def _write(self, step: Step, environment: dict[str, str]) -> None:
        release = step.release
        if step.action == "recover":
            # The lease is ours and the run that left this behind is gone: without its record, helm starts over from
            # the revision before it, and objects that it had created carry Helm's ownership already.
            if not release_state.in_secrets():
                raise JobError(
                    f"Release {release.namespace}/{release.name} was {step.reasons[0]}, and is not kept in secrets "
                    "(HELM_DRIVER). Roll it back with helm rollback, or uninstall it, and run again."
                )
            self.cluster.delete(step.stored.secret)
        self.task.say(f"{step.action} {release.namespace}/{release.name}: {', '.join(step.reasons)}")
        self.helm.upgrade(
            release.name,
            release.namespace,
            step.chart.path,
            release.values,
            environment,
            self.params["wait_timeout"],
            first=step.action == "install" or (step.action == "recover" and step.stored.revision == 1),
        )

    def _wait(self, steps: list[Step]) -> None:
        """Wait for what a stage's releases run: all of what was written, and of the rest what was not ready before."""
        written = [step for step in steps if step.action != "none"]
        stored = self._stored([(step.release.namespace, step.release.name) for step in written])
        for step in written:
            step.stored = stored[step.release.namespace, step.release.name]
        pending = [
            key
            for step in steps
            for key in self._objects(step)
            if key[1] in WAITED_FOR and (step in written or not is_ready(self.live[key]))
        ]
        if pending:
            Waiter(self.cluster, self.params["wait_timeout"], self.task.say).wait(pending)

    def wait_for_all(self, steps: list[Step]) -> None:
        """Wait for the releases of a run that wrote nothing: somebody may have restarted them just now."""
        for stage in sorted({step.release.stage for step in steps}):
            if self._waits_for(stage):
                self._wait([step for step in steps if step.release.stage == stage])


def run(task: Task) -> dict[str, Any]:
    """Install, upgrade, restore or leave alone each release of the mesh.

    :raises JobError: bad options, no helm, no chart, helm's own failure, or objects that do not become ready
    """
    job = Run(task)
    steps = job.plan()
    changed, diff = any(step.action != "none" for step in steps), _diff(steps)
    if changed and not task.check_mode:
        _ensure_namespaces(job)
        with lease.held(job.cluster, task.params["namespace"], lease.DURATION + 10, task.say) as from_the_dead:
            steps = job.plan()
            if not from_the_dead:
                job.respect_the_living(steps)
            diff = _diff(steps)
            job.carry_out(steps)
    elif not task.check_mode:
        job.wait_for_all(steps)
    result: dict[str, Any] = {"changed": changed, "releases": [step.result() for step in steps]}
    if task.diff:
        result["diff"] = diff
    return result


def _diff(steps: list[Step]) -> list[dict[str, Any]]:
    """Taken before anything is written: a step then knows its new revision."""
    return [step.diff() for step in steps if step.action != "none"]


def _ensure_namespaces(job: Run) -> None:
    """Namespaces of the releases, where role psp_rbac has not made them: helm would leave them without labels too."""
    names = {release.namespace for release in job.wanted} | {job.params["namespace"]}
    wanted = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(names)]
    live = manifests.read(job.cluster, wanted)
    for namespace in wanted:
        if identity(namespace) not in live:
            job.cluster.apply(namespace)
