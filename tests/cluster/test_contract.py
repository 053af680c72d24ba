# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each of our actions does in the controller's process what its module does in one of its own, key by key.

Two hosts run the same tasks on the same cluster. On one the connection is local, so that the action works in process;
on the other it only has another name, so that Ansible ships the real module and runs it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from cluster.testcluster import TestCluster
from harness.beds import LOCAL
from harness.playbooks import ROOT, Run

HERE, THERE = "in-process", "as-module"
#: Keys whose values differ between two runs of the same thing, wherever they are in a result.
VOLATILE = {
    "latencies_ms": "how long answers took",
    "tries": "how often was asked until they came",
    "answers": "how many the proxies counted meanwhile, those of the other host included",
    "free": "what pods use meanwhile",
    "metadata.creationTimestamp": "when the server made an object",
    "metadata.generation": "how often an object changed",
    "metadata.resourceVersion": "the server's count of changes",
    "metadata.uid": "the server's name for an object that was made anew for the other host",
    "timing": "when a task ran, and for how long",
    "time": "when a manager changed an object",
}

SECRET = "eyJhbGciOiJub25lIn0.a-token-that-must-not-be-seen"  # noqa: S105 -- a made-up one
MESH = {
    option: "{{ istio_helm_%s | default(omit) }}" % option
    for option in ("chart_repository", "chart_version", "exposure", "gateways", "hub", "tag", "values", "helm_binary")
} | {"image_pull_policy": "{{ istio_helm_image_pull_policy }}"}
CRDS = {option: MESH[option] for option in ("chart_repository", "chart_version", "helm_binary")}
ROLE = ROOT / "roles/liveness_verify"
LIVENESS = {
    "manifests": [],
    "chart_files": "{{ _liveness_verify_chart_files }}",
    "chart_values": "{{ _liveness_verify_chart_values }}",
    "gateways_value": "gateways",
    "gateways": MESH["gateways"],
    "exposure": MESH["exposure"],
    "namespace": "liveness",
    "echo_path": "{{ liveness_verify_echo_path }}",
    "helm_binary": MESH["helm_binary"],
}
NOTE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "note", "namespace": "liveness"},
    "data": {"a": "b"},
}

#: What succeeds and finds nothing to do, and an option without which none of it can be.
MODULES: dict[str, tuple[dict[str, Any], str]] = {
    "istio_preflight_info": ({**MESH, "application_namespaces": ["liveness"]}, "chart_version"),
    "istio_pod_security": (
        {"namespaces": [{"name": "istio-system", "runs": "control-plane"}, {"name": "liveness"}]},
        "namespaces",
    ),
    "istio_crds": (CRDS, "chart_version"),
    "istio_releases": (MESH, "chart_version"),
    "istio_liveness": (LIVENESS, "manifests"),
}
#: What changes something, and how to undo it first.
CHANGES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "istio_pod_security": ({"namespaces": [{"name": "contract"}]}, ["delete", "namespace", "contract"]),
    "istio_crds": (CRDS, ["delete", "crd", "proxyconfigs.networking.istio.io"]),
    "istio_releases": (MESH, ["delete", "hpa", "istio-egressgateway", "-n", "istio-system"]),
    "istio_liveness": ({**LIVENESS, "manifests": [NOTE]}, ["delete", "configmap", "note", "-n", "liveness"]),
}


@dataclass(frozen=True)
class Case:
    """One task.

    :ivar dict keywords: further keywords of the task, such as check_mode
    :ivar bool fails: whether it must fail
    :ivar changes: whether it must change something, where it succeeds
    :ivar str says: a part of the message of its failure
    """

    module: str
    args: dict[str, Any]
    keywords: dict[str, Any] = field(default_factory=dict)
    fails: bool = False
    changes: bool = False
    says: str = ""


def _cases() -> dict[str, Case]:
    """Cases that write nothing, by name."""
    found = {}
    for module, (args, required) in MODULES.items():
        less = {key: value for key, value in args.items() if key != required}
        found |= {
            f"{module} finds nothing to do": Case(module, args, {"diff": True}),
            f"{module} in check mode": Case(module, args, {"check_mode": True, "diff": True}),
            f"{module} with its arguments": Case(module, args, {"vars": {"ansible_inject_invocation": True}}),
            f"{module} with a wrong type": Case(
                module, {**args, "validate_certs": "perhaps"}, fails=True, says="validate_certs"
            ),
            f"{module} with an unknown option": Case(
                module, {**args, "nonsense": 1}, fails=True, says=f"Unsupported parameters for (meshops.istio.{module})"
            ),
            f"{module} without a required option": Case(
                module, less, fails=True, says=f"missing required arguments: {required}"
            ),
            f"{module} with no_log": Case(module, args, {"no_log": True}),
            f"{module} with a token that is not accepted": Case(
                module,
                {**args, "kubeconfig": "/dev/null", "api_key": SECRET, "host": "{{ server }}", "ca_cert": "{{ ca }}"},
                fails=True,
                says="401",
            ),
        }
    for module, (args, _undo) in CHANGES.items():
        if module not in ("istio_crds", "istio_releases"):
            found[f"{module} would change something"] = Case(
                module, args, {"check_mode": True, "diff": True}, changes=True
            )
    more = {**MESH, "values": {"istio-egressgateway": {"replicaCount": 2}}}
    found["istio_releases would change something"] = Case(
        "istio_releases", more, {"check_mode": True, "diff": True}, changes=True
    )
    found["istio_crds would change something"] = Case(
        "istio_crds", {**CRDS, "namespace": "elsewhere"}, {"check_mode": True, "diff": True}, changes=True
    )
    # With the diagnosis that follows a failure, whose files the module must have brought along.
    found["istio_liveness gets no answer"] = Case(
        "istio_liveness",
        {**LIVENESS, "address": "127.0.0.1:1", "wait_timeout": 2},
        fails=True,
        says="waiting for 3 consecutive 200 responses",
    )
    found["istio_liveness runs out of time"] = Case(
        "istio_liveness", {**LIVENESS, "address": "127.0.0.1:1"}, {"timeout": 3}, fails=True, says="3"
    )
    return found


CASES = _cases()
ENVIRONMENT = {f"{module} with the cluster in the environment": Case(module, MODULES[module][0]) for module in MODULES}
WRITING = {
    f"{module} changes something": Case(module, args, {"diff": True}, changes=True)
    for module, (args, _undo) in CHANGES.items()
}


def task(name: str, case: Case) -> dict[str, Any]:
    """The case as a task."""
    return {"name": name, f"meshops.istio.{case.module}": case.args, "ignore_errors": True, **case.keywords}


def undoing(case: Case) -> dict[str, Any]:
    """The task that takes away what the case will make."""
    words = ["kubectl", "--kubeconfig", "{{ istio_kubeconfig }}", *CHANGES[case.module][1], "--ignore-not-found"]
    return {
        "name": "undo",
        "ansible.builtin.command": {"argv": ["{{ tools }}/kubectl", *words[1:]]},
        "delegate_to": "localhost",
    }


@pytest.fixture(scope="module")
def run(cluster: TestCluster) -> Run:
    """Return one run of all cases on both hosts: side by side where nothing is written, else one after the other."""
    cluster.ensure_mesh()
    defaults = {"kubeconfig": "{{ istio_kubeconfig }}", "context": "{{ istio_context }}"}
    common = {
        "hosts": "all",
        "gather_facts": False,
        "vars_files": [f"{ROLE}/defaults/main.yml", f"{ROLE}/vars/main.yml"],
    }
    with_defaults = {**common, "module_defaults": {"group/meshops.istio.istio": defaults}}
    environment = {"K8S_AUTH_KUBECONFIG": "{{ istio_kubeconfig }}", "K8S_AUTH_CONTEXT": "{{ istio_context }}"}
    writing = [step for name, case in WRITING.items() for step in (undoing(case), task(name, case))]
    # The application's namespace remembers what has been made of it, so that making it once more changes less.
    first = {"meshops.istio.istio_liveness": WRITING["istio_liveness changes something"].args}
    plays = [
        {**with_defaults, "tasks": [task(*item) for item in CASES.items()]},
        {**common, "environment": environment, "tasks": [task(*item) for item in ENVIRONMENT.items()]},
        {**with_defaults, "hosts": HERE, "tasks": [{"name": "first", **first}]},
        {**with_defaults, "serial": 1, "tasks": writing},
    ]
    extra = {"role_path": str(ROLE), "server": cluster.server, "ca": str(cluster.ca), "tools": str(cluster.tools)}
    hosts = {HERE: LOCAL, THERE: {**LOCAL, "ansible_connection": "as_process"}}
    playbook = cluster.playbook(plays, "-vvv", hosts=hosts, environ={"PYTHONHASHSEED": "0"}, **extra)
    done = playbook.run().succeeded()
    cluster.kubectl("delete", "namespace", "contract", "--wait=false", "--ignore-not-found")
    return done


def compared(value: Any, under: str = "") -> Any:
    """A result without what may differ; what is hidden looks other in each process."""
    if isinstance(value, str):
        return re.sub(r"<hidden: [0-9a-f]{8}>", "<hidden>", value)
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not {key, f"{under}.{key}"} & set(VOLATILE)}
        return {key: compared(item, key) for key, item in kept.items()}
    return [compared(item, under) for item in value] if isinstance(value, list) else value


def pair(run: Run, name: str) -> tuple[Any, Any]:
    """Results of one task on both hosts."""
    found = {result.host: result for result in run.results if result.task == name}
    return found[HERE], found[THERE]


ALL = {**CASES, **ENVIRONMENT, **WRITING}


@pytest.mark.parametrize("name", ALL)
def test_both_ways_give_the_same(name: str, run: Run) -> None:
    """The result is what the case is about, and the same both ways."""
    case, (here, there) = ALL[name], pair(run, name)
    assert here.status == ("ignored" if case.fails else "ok"), here.data
    if not case.keywords.get("no_log"):
        assert case.says in str(here.data.get("msg", ""))
        assert bool(here.data["changed"]) is case.changes, here.data
    assert there.status == here.status, there.data
    assert compared(there.data) == compared(here.data)


def test_the_module_really_ran(run: Run) -> None:
    """Else two runs in the controller would have been compared."""
    assert "AnsiballZ_istio_releases.py" in run.output
    assert f"<{HERE}> EXEC" not in run.output


def test_no_token_is_shown(run: Run) -> None:
    """Neither in results nor in anything that the most curious user sees."""
    assert SECRET not in run.output
    assert SECRET not in str(run.results)


def test_no_log_hides_everything(run: Run) -> None:
    """Of the result, only that there was one is left."""
    for module in MODULES:
        for result in pair(run, f"{module} with no_log"):
            assert set(result.data) <= {"censored", "changed"}, result.data
