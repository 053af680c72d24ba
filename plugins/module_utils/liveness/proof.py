# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of a mesh: each gateway is asked, and what answers and proxies say must fit the gateway that is meant.

An answer of 200 alone proves little: it may come by another gateway, or past the sidecar. The application's word of who
has called it, what the proxies have counted, and whose pods stand behind the Service tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import identity
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.cluster.selectors import text_of
from ansible_collections.meshops.istio.plugins.module_utils.cluster.workloads import workload_of
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure import endpoints
from ansible_collections.meshops.istio.plugins.module_utils.exposure.gateway_objects import STATUS_PATH, Gateway
from ansible_collections.meshops.istio.plugins.module_utils.liveness import counters, probe, served_by, vantage_points
from ansible_collections.meshops.istio.plugins.module_utils.liveness.gateway_targets import NONE, REQUEST, Target
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

Object = dict[str, Any]
Selection = tuple[str, Any]  # namespace, and labels or None
#: What counts the answers of some proxies, and their pods.
Watched = tuple[tuple[counters.Family, ...], list[Object]]

#: Just after a rollout an answer may still come from a pod that ends, whose count nobody can read any more: so many
#: times it is asked, with so many seconds between.
_ATTEMPTS, _PAUSE = 4, 2.0
#: Seconds in which a gateway that is not asked to route must say that it is ready: its pods were waited for before.
_READY_WITHIN = 5.0


class _AnotherGateway(JobError):
    """An answer came by another gateway: just after a rollout, perhaps by a pod that ends."""


class Proof:
    """Asks the gateways of one run.

    :arg services: the gateways' Services, live, by namespace and name of the gateway
    :arg apps: namespace and labels of the application's pods
    """

    def __init__(
        self, task: Task, cluster: Cluster, services: dict[tuple[str, str], Object], apps: list[Selection]
    ) -> None:
        self.task = task
        self.params = task.params
        self.cluster = cluster
        self.services = services
        self.apps = apps

    def evidence(self, targets: list[Target]) -> dict[str, Any]:
        """Ask all of them.

        :arg targets: first the application's gateway
        :returns: what that one has shown, and as ``gateways`` what each has
        :raises JobError: one that is asked to route does not answer, or not the way that is to be proven
        """
        proven = [self._of(target) for target in targets]
        if self.istiod is None:
            self.task.warnings.append(
                "The istiod that should serve the proxies cannot be determined from namespace "
                f"{self.params['istio_namespace']}. The evidence names those that serve them."
            )
        first = {key: value for key, value in proven[0].items() if key not in _ABOUT}
        return {**first, "gateways": proven}

    def _of(self, target: Target) -> dict[str, Any]:
        gateway = target.gateway
        about = {"name": gateway.name, "namespace": gateway.namespace, "proof": target.proof}
        if target.proof == REQUEST:
            return {**about, **self._requested(target)}
        shown = self._said_ready(target) if target.proof != NONE else {}
        _watched, served, wrong = self._seen(target.gateway, [])
        if wrong:
            raise wrong
        return {**about, "why": target.why, **shown, "served_by": {"gateway": served["gateway"]}}

    def _asked_at(self, target: Target) -> tuple[list[endpoints.Place], Callable[..., probe.Answer]]:
        service = self.services.get(target.gateway.key)
        return vantage_points.asked_at(self.params, self.cluster, target, service, lambda: self._nodes)

    @cached_property
    def _nodes(self) -> list[Object]:
        """One list for all gateways."""
        return self.cluster.list("v1", "Node")

    # -- by the gateway's own word ------------------------------------------------------------------------------------

    def _said_ready(self, target: Target) -> dict[str, Any]:
        """Ask it whether it is ready. That nobody answers is no failure: a firewall may let requests alone through."""
        try:
            asked, send = self._asked_at(target)
            _place, found = probe.in_a_row(asked, STATUS_PATH, None, 1, _READY_WITHIN, self.task.say, send)
        except JobError as error:
            return {"proof": NONE, "why": f"{target.why}; its readiness request failed: {error}"}
        return {**probe.as_dict(found), "asked_from": self.params["verify_from"]}

    # -- by requests --------------------------------------------------------------------------------------------------

    def _requested(self, target: Target) -> dict[str, Any]:
        """Ask, and gather what the answers and the proxies on the way say.

        :raises JobError: there is no answer, or it did not come the way that is to be proven
        """
        wanted = self.params["successes"]
        failures: list[JobError] = []
        for attempt in range(_ATTEMPTS):
            time.sleep(_PAUSE if attempt else 0)
            watched, served, wrong = self._seen(target.gateway, self.apps)
            if wrong:
                failures.append(wrong)
                continue
            try:
                result = {**self._asked(target, watched), "served_by": served}
            except _AnotherGateway as error:
                failures.append(error)
                continue
            counted = result["counted"].items()
            passed_by = {name: count for name, count in counted if count.get("answers", wanted) < wanted}
            if not passed_by:
                return result
            name, count = next(iter(passed_by.items()))
            message = (
                f"answered {wanted} times, but the {name} counted {count['answers']} ({count['metric']}): the requests "
                "took another path."
            )
            fix = (
                f"Check what is in front of gateway {target.gateway}, and the application namespace's injection label."
            )
            failures.append(JobError(message, object=result["url"], fix=fix))
        raise failures[-1]

    def _asked(self, target: Target, watched: dict[str, Watched]) -> dict[str, Any]:
        """As ``_requested``, once."""
        params = self.params
        asked, send = self._asked_at(target)
        before = self._count(watched)
        try:
            found, evidence = probe.in_a_row(
                asked,
                params["path"],
                params["host_header"],
                params["successes"],
                params["wait_timeout"],
                self.task.say,
                send,
            )
        except JobError as error:
            inside, fix = self._from_inside(target)
            raise JobError(
                f"{error.message} Gateway: {target.gateway}. {inside}".rstrip(),
                object=error.object,
                fix=f"{error.fix} {fix}".strip(),
                code=error.code,
                quotes=error.quotes,
                joint=error.joint,
                **error.details,
            ) from error
        result = {**probe.as_dict(evidence), "asked_from": params["verify_from"]}
        if params["echo_path"]:
            result["mtls"] = self._mtls(target.gateway, found, send)
        result["counted"] = {name: after.since(before[name]) for name, after in self._count(watched).items()}
        return result

    # -- who stands on the way ----------------------------------------------------------------------------------------

    @cached_property
    def istiod(self) -> served_by.Istiod | None:
        """The one that is to serve all proxies; None where it cannot be seen."""
        revision = self.params["control_plane_revision"]
        wanted = self.params["revision"] if revision is None else revision
        return served_by.expected(self.cluster, self.params["istio_namespace"], wanted)

    def _seen(
        self, gateway: Gateway, apps: list[Selection]
    ) -> tuple[dict[str, Watched], dict[str, list[dict[str, str]]], JobError | None]:
        """The proxies on the way, who serves them, and what is wrong with either.

        :arg apps: as the proof has them; none for a gateway that leads to no application
        """
        service = self.services.get(gateway.key)
        selector = (service and service["spec"].get("selector")) or gateway.selector
        selections: list[Selection] = [(gateway.namespace, selector), *apps]
        behind, *running = in_parallel(lambda where: _running(self.cluster, *where), selections)
        once = {identity(pod): pod for pods in running for pod in pods}
        pods = {"gateway": behind, "sidecar": list(once.values())}
        serving = {name: served_by.of_pods(found) for name, found in pods.items()}
        wrong = _strangers(gateway, behind)
        for name, found in serving.items():
            wrong = wrong or self._served_by_another(gateway, name, found)
        families = {"gateway": counters.GATEWAY, "sidecar": counters.SIDECAR}
        return (
            {name: (families[name], found) for name, found in pods.items()},
            {name: [self._shown(istiod) for istiod in found] for name, found in serving.items()},
            wrong,
        )

    def _shown(self, istiod: served_by.Istiod) -> dict[str, str]:
        """With its owner, which was looked up where it is the one that is expected."""
        same = self.istiod is not None and self.istiod.key == istiod.key
        return (self.istiod if same else istiod).as_dict()

    def _served_by_another(self, gateway: Gateway, name: str, found: list[served_by.Istiod]) -> JobError | None:
        """What is wrong where another istiod than the expected one serves a proxy."""
        others = [each for each in found if self.istiod and each.key != self.istiod.key]
        if not others:
            return None
        other = served_by.owned(self.cluster, others[0])
        if name == "gateway":
            whose = f"The proxy of gateway {gateway}"
            workload = f"{gateway.kind.lower() or 'deployment'} {gateway.workload or gateway.name}"
            fix = (
                "Install the gateway with the same istio_helm_revision (role istio_helm), or restart its pods: "
                f"kubectl rollout restart {workload} --namespace {gateway.namespace}"
            )
        else:
            namespace = self.params["namespace"] or "default"
            whose = f"The application's sidecar in namespace {namespace}"
            fix = (
                "Label the namespace for that revision (liveness_verify_revision, liveness_verify_injection_labels), "
                f"then restart the pods: kubectl rollout restart deployment --namespace {namespace}"
            )
        message = f"is served by {other}, but this run verifies {self.istiod}."
        return JobError(message, object=whose, fix=fix)

    def _count(self, watched: dict[str, Watched]) -> dict[str, counters.Counted]:
        found = in_parallel(lambda each: counters.read(self.cluster, each[1], each[0]), watched.values())
        return dict(zip(watched, found, strict=True))

    def _from_inside(self, target: Target) -> tuple[str, str]:
        """What the gateway answers through the API server, where somebody outside got no answer: whose fault it is.

        :returns: that, and what to do; both empty where it cannot be asked
        """
        params = self.params
        if params["verify_from"] == "cluster" or params["scheme"] != vantage_points.HTTP or not target.gateway.service:
            return "", ""
        try:
            send = probe.through(self.cluster)
            answer = send(vantage_points.proxied(self.cluster, target), params["path"], params["host_header"])
        except (JobError, OSError):
            return "", ""  # no right to ask so, or no pod of the gateway
        if answer.status == 200:
            return (
                "From inside the cluster, the gateway returns 200: the mesh works, and the problem is in front of it.",
                "Check firewalls, security groups, load balancer and node ports, or set liveness_verify_address to an "
                "address that leads to the gateway.",
            )
        told = f"From inside the cluster, the gateway returns {answer.status} too."
        return told, "Check the mesh, not the network."

    def _mtls(self, gateway: Gateway, found: endpoints.Place, send: Callable[..., probe.Answer]) -> dict[str, str]:
        """The identities that the app's sidecar saw, taken from what the app was handed.

        :raises JobError: there are none, as the request came to the app in plain text, or they are another gateway's
        """
        asked = found.url(self.params["echo_path"])
        try:
            answer = send(found, self.params["echo_path"], self.params["host_header"])
        except OSError as error:
            fix = "Check that the application answers on liveness_verify_echo_path."
            raise JobError(f"did not respond: {error}.", object=asked, fix=fix) from error
        identities = probe.client_certificate(answer.body)
        if "uri" not in identities:
            raise JobError(
                f"The request reached the app, but not over mutual TLS: {asked} ({answer.status}) echoes no "
                "X-Forwarded-Client-Cert header. Its pod has no sidecar, or mutual TLS is disabled.",
                fix="Check the namespace's label istio-injection or istio.io/rev, and restart the app. If the app does "
                "not echo headers, set liveness_verify_echo_path to ''.",
            )
        expected = f"/ns/{gateway.namespace}/sa/{gateway.account}"
        if not identities["uri"].endswith(expected):
            raise _AnotherGateway(
                f"was answered by a gateway other than {gateway}: the caller of the app was {identities['uri']}, not "
                f"{expected}.",
                object=asked,
                fix="Check where the address leads. It may be a gateway of an earlier run, or of another Istio.",
            )
        return identities


#: What of a gateway's proof is about the gateway, and not what was seen.
_ABOUT = ("name", "namespace", "proof")


def _strangers(gateway: Gateway, pods: list[Object]) -> JobError | None:
    """What is wrong where a gateway's Service selects pods of another."""
    found = sorted({words for pod in pods for words in _of_another(pod, gateway)})
    if not found:
        return None
    return JobError(
        f"of gateway {gateway} also selects pods of {', '.join(found)}, so responses may come from those.",
        object=f"Service {gateway.namespace}/{gateway.service}",
        fix="Give each gateway different labels (istio_helm_gateways: labels), or uninstall the other one.",
    )


def _of_another(pod: Object, gateway: Gateway) -> list[str]:
    """What else than a gateway's own workload a pod belongs to, in words; [] where it is the gateway's."""
    if not gateway.workload or not pod["metadata"].get("ownerReferences"):
        return []
    namespace, kind, name = workload_of(pod)
    return [] if (kind, name) == (gateway.kind, gateway.workload) else [f"{kind} {namespace}/{name}"]


def _running(cluster: Cluster, namespace: str, labels: dict[str, str] | None) -> list[Object]:
    """Pods with some labels that run, and are not about to end."""
    if not labels:
        return []
    running = {"label_selector": text_of(labels), "field_selector": "status.phase=Running"}
    pods = cluster.list("v1", "Pod", namespace, **running)
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
