# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of Helm releases brought where it is wanted."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import lease, manifests
from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import Identity, digest, identity, reference
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.cluster.readiness import is_ready
from ansible_collections.meshops.istio.plugins.module_utils.cluster.waiting import Waiter
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure import gateway_objects, provider_detection
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding, shown
from ansible_collections.meshops.istio.plugins.module_utils.helm import (
    chart_lookup,
    charts,
    release_objects,
    sources,
    storage,
)
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm
from ansible_collections.meshops.istio.plugins.module_utils.helm.dry_run import is_unchanged
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition
from ansible_collections.meshops.istio.plugins.module_utils.mesh.components import ADDON, CONTROL_PLANE, GATEWAY
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import MeshOptions
from ansible_collections.meshops.istio.plugins.module_utils.releases import earlier_gateways
from ansible_collections.meshops.istio.plugins.module_utils.releases.adopted_ports import ports_kept
from ansible_collections.meshops.istio.plugins.module_utils.releases.obstacles import Examination
from ansible_collections.meshops.istio.plugins.module_utils.releases.preview import drifted
from ansible_collections.meshops.istio.plugins.module_utils.releases.steps import Step, drift_words, judge
from ansible_collections.meshops.istio.plugins.module_utils.releases.writer import Writer
from ansible_collections.meshops.istio.plugins.module_utils.task import Scope, Task

#: Kinds whose readiness is part of a release's success. A Service is not: an address may need a cloud minutes, and the
#: role that needs the address waits for it.
WAITED_FOR = ("Deployment", "DaemonSet", "MutatingWebhookConfiguration")
DRIFT_FIX = "It was left as it is. To revert it, set istio_helm_repair_drift: true."
#: Role crds sees to these, by their content; here it only counts that they are there.
_DEFINITION = "CustomResourceDefinition"


class Installation:
    """One run of the job: reads the cluster, plans, and carries the plan out.

    :arg environment: gives helm the cluster and its credentials
    """

    def __init__(self, task: Task, options: MeshOptions, cluster: Cluster, environment: dict[str, str]) -> None:
        self.task = task
        self.cluster = cluster
        self.environment = environment
        self.params = task.params
        self.options = provider_detection.resolved(cluster, options)
        task.warnings += shown(composition.platform_advice(self.options))
        self.helm = Helm(task.params["helm_binary"])
        self.wanted = composition.releases(self.options)
        self.charts = self._locate_charts()
        self.wanted = [release.fitted(self.charts[release.chart].accepted_values) for release in self.wanted]
        self.wanted = in_parallel(self._ports_kept, self.wanted)
        self.live: dict[Identity, dict[str, Any]] = {}
        #: By which this run may write; none in check mode.
        self.lease: lease.Held | None = None
        #: Steps that helm has carried out, for a failure to tell.
        self.written: list[Step] = []
        #: What earlier tasks of this run do, with digests: check mode finds it undone.
        self.planned: dict[str, str] = task.params["planned"] if task.check_mode else {}

    def _ports_kept(self, release: composition.Release) -> composition.Release:
        """A gateway that istioctl has installed goes on listening where it does, unless its ports are listed."""
        listed = {gateway.name for gateway in self.options.gateways if gateway.ports}
        if release.part != GATEWAY or release.name in listed:
            return release
        return ports_kept(release, self.cluster.get("v1", "Service", release.name, release.namespace))

    def _locate_charts(self) -> dict[sources.ChartReference, charts.Chart]:
        wanted = list(dict.fromkeys(release.chart for release in self.wanted))
        return dict(
            zip(wanted, in_parallel(lambda each: chart_lookup.find(lambda: self.helm, each), wanted), strict=True)
        )

    # -- reading ------------------------------------------------------------------------------------------------------

    def plan(self) -> list[Step]:
        """Look at releases and their objects. Writes nothing."""
        stored = self._stored([(release.namespace, release.name) for release in self.wanted])
        steps = [
            judge(release, self.charts[release.chart], stored.get((release.namespace, release.name)))
            for release in self.wanted
        ]
        self._settle([step for step in steps if step.is_doubtful])
        self._look_at_objects([step for step in steps if step.action == "none"])
        return steps

    def _settle(self, doubtful: list[Step]) -> None:
        """Ask helm of each whether a chart that is another changes anything."""
        if not doubtful:
            return
        kube_version = self.cluster.version()["gitVersion"]

        def settle(step: Step) -> None:
            if is_unchanged(self.helm, step.release, step.chart, step.stored, self.environment, kube_version):
                step.action, step.reasons = "none", []

        in_parallel(settle, doubtful)

    def _stored(self, keys: list[tuple[str, str]]) -> dict[tuple[str, str], storage.Stored]:
        if storage.in_secrets():
            try:
                return storage.read(self.cluster, keys)
            except storage.UnknownFormat as error:
                self.task.say(f"running helm to read the releases, because their storage format is unknown: {error}")
        return storage.ask(self.helm, self.environment, keys)

    def _look_at_objects(self, intact: list[Step]) -> None:
        """A release whose secret is intact but whose objects are not all there, or not as helm wrote them, differs."""
        objects = [release_objects.stored_objects(self.cluster, step.stored) for step in intact]
        self.live = self._live([obj for each in objects for obj in each])
        for step, wanted in zip(intact, objects, strict=True):
            missing = [identity(obj) for obj in wanted if identity(obj) not in self.live and not self.is_planned(obj)]
            if missing:
                step.action = "restore"
                step.reasons = [f"missing: {key[1]} {'/'.join(filter(None, key[2:]))}" for key in missing]
                continue
            objects_of = [obj for obj in wanted if obj["kind"] != _DEFINITION]
            changes = drifted(self.cluster, objects_of, self.live, step.stored.modified)
            step.drift = drift_words(changes)
            if changes and self.params["repair_drift"]:
                step.action, step.reasons = "repair", [f"drifted: {words}" for words in step.drift]

    def _live(self, wanted: list[dict[str, Any]]) -> dict[Identity, dict[str, Any]]:
        """Which objects are there, in full; of definitions, which take a megabyte, only that they are."""
        found = manifests.read(self.cluster, [obj for obj in wanted if obj["kind"] != _DEFINITION])
        definitions = {identity(obj) for obj in wanted if obj["kind"] == _DEFINITION}
        for api_version in {key[0] for key in definitions}:
            there = self.cluster.list(api_version, _DEFINITION, metadata_only=True)
            found.update((identity(obj), obj) for obj in there if identity(obj) in definitions)
        return found

    def is_planned(self, wanted: dict[str, Any]) -> bool:
        """Whether another task makes of an object what is wanted of it, before this one's turn."""
        return self.planned.get(reference(wanted)) == digest(wanted)

    @property
    def scope(self) -> Scope:
        """What a failure may be explained by: the releases of this run, and nobody's applications."""
        gateways = [(release.namespace, release.name) for release in self.wanted if release.part == GATEWAY]
        return Scope(self.options.namespace, gateways, named_only=True, exposed=False)

    @property
    def patience(self) -> float:
        """Seconds to wait for another run: it may wait for its pods as long as this one would."""
        return max(self.params["wait_timeout"], lease.DURATION + 10)

    def missing_namespaces(self) -> list[manifests.Change]:
        """Namespaces of the releases and of the Lease that nobody has made yet, nor will in this very run.

        Helm would make them too, but say so nowhere.
        """
        names = {release.namespace for release in self.wanted} | {self.options.namespace}
        wanted = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(names)]
        live = manifests.read(self.cluster, wanted)
        stays = {key for key, obj in live.items() if not obj["metadata"].get("deletionTimestamp")}
        missing = [obj for obj in wanted if identity(obj) not in stays and reference(obj) not in self.planned]
        shown = self.task.check_mode or self.task.diff
        return manifests.plan(self.cluster, missing, preview=shown, live=live).changes

    def examine(self, steps: list[Step]) -> None:
        """Find what stands in the way, and what helm will do, before anything is written."""
        Examination(self.task, self.cluster, self.helm, self.environment, self.is_planned).examine(steps)

    def respect_the_living(self, steps: list[Step]) -> None:
        """A release that is pending, and not by a run of ours that died, may be somebody's pipeline at work right now.

        Without the Lease, in check mode, it is watched for as long as is needed to see whether its holder is dead.

        :raises JobError: it is too young to be anything else, or its record cannot be deleted; names it
        """
        pending = [step for step in steps if step.action == "recover"]
        if not pending:
            return
        if not storage.in_secrets():
            release, status = pending[0].release, pending[0].stored.status
            raise JobError(
                f"is {status}, but is not stored in Secrets (HELM_DRIVER), so this run cannot recover it.",
                object=f"Release {release.namespace}/{release.name}",
                fix="Make sure that no helm process is working on it, roll it back or uninstall it with helm, and run "
                "again.",
            )
        if self.lease:
            from_the_dead = self.lease.from_the_dead
        else:
            from_the_dead = lease.left_behind(self.cluster, self.options.namespace, self.patience, self.task.say)
        if from_the_dead:
            return
        now, limit = self.cluster.now(strict=True), self.params["wait_timeout"]
        for step in pending:
            age = storage.dated(self.cluster, step.stored).age(now)
            if age < limit:
                raise JobError(
                    f"has been {step.stored.status} for {age:.0f} s: another pipeline may be running.",
                    object=f"Release {step.release.namespace}/{step.release.name}",
                    fix=f"Wait for it to end. A release that has been pending for {limit} s counts as abandoned, and "
                    "the next run recovers it.",
                )

    def gateways(self, steps: list[Step]) -> list[dict[str, Any]]:
        """What each gateway is made of, or will be: for whoever waits for it, selects its pods or asks it."""
        found = []
        for step in (step for step in steps if step.release.part == GATEWAY):
            objects = step.rendered or release_objects.stored_objects(self.cluster, step.stored)
            gateway = gateway_objects.of_objects(step.release.namespace, step.release.name, objects)
            found += [gateway.as_dict()] if gateway else []
        return found

    def unlisted_gateways(self) -> list[Finding]:
        """Gateways of earlier runs that are not wanted any more, in this run's namespaces, where they may be seen."""
        wanted = [release for release in self.wanted if release.part == GATEWAY]
        if not wanted:
            return []  # whose gateways these are, other runs know
        namespaces = sorted({release.namespace for release in self.wanted} | {self.options.namespace})
        asked = [(kind, namespace) for kind in gateway_objects.WORKLOADS for namespace in namespaces]
        found = in_parallel(lambda each: self._seen(*each), asked)
        ours = {(release.namespace, release.name) for release in self.wanted}
        revision = str(wanted[0].values.get("revision") or "default")
        return earlier_gateways.findings((obj for objects in found for obj in objects), ours, revision)

    def _seen(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """What runs pods of Istio there; nothing without the right, as few accounts have one on DaemonSets."""
        try:
            return self.cluster.list("apps/v1", kind, namespace, label_selector=earlier_gateways.GATEWAY_SELECTOR)
        except ApiError as error:
            if error.status != 403:
                raise
            return []

    # -- writing ------------------------------------------------------------------------------------------------------

    def carry_out(self, steps: list[Step]) -> None:
        """Bring every release of every stage where it is wanted, a stage when the one before it is ready.

        A release that runs nothing (base) is nobody's condition: helm writes it while the others' pods start.
        """
        stages = sorted({step.release.stage for step in steps})
        todo = [step for step in steps if step.action != "none"]
        with ThreadPoolExecutor(max_workers=1) as beside:
            written_beside: list[Future] = []
            for stage in stages:
                writes = [step for step in todo if step.release.stage == stage and step.release.runs_pods]
                in_parallel(self._write, writes)
                if stage == stages[0]:
                    idle = [step for step in todo if not step.release.runs_pods]
                    written_beside = [beside.submit(self._write, step) for step in idle]
                self._wait(self._awaited(stage, steps))
            for future in written_beside:
                future.result()

    def _awaited(self, stage: int, steps: list[Step]) -> list[Step]:
        """The releases of a stage that are waited for: always when another stage follows, which needs them."""
        followed = any(release.stage > stage for release in self.wanted)
        parts = {"gateways": (CONTROL_PLANE, ADDON, GATEWAY), "control-plane": (CONTROL_PLANE, ADDON), "nothing": ()}
        wanted = parts[self.params["wait_for"]]
        return [
            step
            for step in steps
            if step.release.stage == stage
            and step.release.runs_pods
            and (step.release.part in wanted or (followed and step.release.part == CONTROL_PLANE))
        ]

    def _write(self, step: Step) -> None:
        Writer(self.task, self.cluster, self.helm, self.environment, self.lease, self._stored).write(step)
        self.written.append(step)

    def _wait(self, steps: list[Step]) -> None:
        """Wait for what a stage's releases run: all of what was written, and of the rest what was not ready before."""
        written = [step for step in steps if step.action != "none"]
        stored = self._stored([(step.release.namespace, step.release.name) for step in written])
        for step in written:
            step.stored = stored[step.release.namespace, step.release.name]
        pending = [
            identity(obj)
            for step in steps
            for obj in release_objects.stored_objects(self.cluster, step.stored)
            if obj["kind"] in WAITED_FOR and (step in written or not is_ready(self.live[identity(obj)]))
        ]
        created = [
            identity(obj)
            for step in written
            if step.action == "install" and not step.adopted
            for obj in release_objects.stored_objects(self.cluster, step.stored)
        ]
        if pending:
            Waiter(self.cluster, self.params["wait_timeout"], self.task.say).wait(pending, created)

    def wait_for_all(self, steps: list[Step]) -> None:
        """Wait for the releases of a run that wrote nothing: somebody may have restarted them just now."""
        for stage in sorted({step.release.stage for step in steps}):
            self._wait(self._awaited(stage, steps))
