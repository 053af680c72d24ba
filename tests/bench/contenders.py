# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two contenders: each brings an empty cluster to an app that answers through the gateway, and can run again."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from testbed import bed, process

from bench import answers
from bench.figures import ISTIOCTL, OURS
from bench.operator_file import istio_operator

ROOT = bed.CHECKOUT
INVENTORY = ROOT / "inventories/kind"
ROLE = ROOT / "roles/liveness_verify"
COMMAND_TIMEOUT = 600  # seconds that one command may take
#: Begin the names of variables that would lead to another cluster or other settings; the rest is the user's.
FOREIGN = ("ANSIBLE_", "K8S_AUTH_", "HELM_", "KUBE", "ISTIO")


def forget_foreign_environment() -> None:
    """Take out of our environment, and so of every child's, what would make this another benchmark."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]


def program(name: str) -> Path:
    """A program of the environment that runs this file. :raises FileNotFoundError: it is not there"""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise FileNotFoundError(f"{path}: `make bench` runs this in .venv, where it is")
    return path


@dataclass
class Place:
    """The cluster and the files of a benchmark.

    :ivar Path directory: where inventory, manifests and logs go
    :ivar str url: what answers when the mesh works
    """

    own: bed.Bed
    directory: Path
    url: str = ""
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def inventory(self) -> Path:
        """A copy of inventories/kind, whose testbed.yml is this cluster's."""
        return self.directory / "inventory"

    @property
    def vars_file(self) -> Path:
        """What the test bed says of this cluster."""
        return self.inventory / "group_vars/all/testbed.yml"

    @property
    def kubeconfig(self) -> Path:
        """Access to the cluster."""
        return self.directory / "kubeconfig"

    @property
    def app(self) -> Path:
        """The app's manifests, as role liveness_verify applies them."""
        return self.directory / "app.yaml"

    @property
    def operator(self) -> Path:
        """istioctl's input."""
        return self.directory / "istio-operator.yaml"

    @property
    def environment(self) -> dict[str, str]:
        """For the children. The caches last from run to run, as a user's do, but are not the user's."""
        caches = self.directory / "caches"
        return {
            "ANSIBLE_HOME": str(ROOT / "build/ansible"),
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(caches / "kube"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(bed.bin_directory()), os.environ["PATH"]]),
            "XDG_CACHE_HOME": str(caches),
        }

    def write_inputs(self) -> None:
        """Write what both contenders read; the test bed has written ``vars_file``."""
        group_vars = self.inventory / "group_vars/all"
        (self.inventory / "hosts.yml").write_bytes((INVENTORY / "hosts.yml").read_bytes())
        (group_vars / "main.yml").write_bytes((INVENTORY / "group_vars/all/main.yml").read_bytes())
        for file in (group_vars / "main.yml", self.vars_file):
            self.variables |= yaml.safe_load(file.read_text())
        self.operator.write_text(yaml.safe_dump(istio_operator(self.variables), sort_keys=False))
        # The chart that the role renders; namespaces are what the role adds.
        name = yaml.safe_load((ROLE / "defaults/main.yml").read_text())["liveness_verify_namespace"]
        image = f"image={self.variables['liveness_verify_image']}"
        chart = [ROLE / "files/liveness", "--namespace", name, "--set", image]
        command = [bed.bin_directory() / "helm", "template", "liveness", *chart]
        printed = process.run(command, env=self.environment, timeout=COMMAND_TIMEOUT)
        app = [obj for obj in yaml.safe_load_all(printed) if obj]
        for obj in app:
            obj["metadata"]["namespace"] = name
        metadata = {"name": name, "labels": {"istio-injection": "enabled"}}
        self.app.write_text(yaml.safe_dump_all([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, *app]))

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl on behalf of the benchmark itself, which must not warm a contender's cache."""
        command = [bed.bin_directory() / "kubectl", "--context", self.own.context, *arguments]
        environment = self.environment | {"KUBECACHEDIR": str(self.directory / "caches/kube-of-the-benchmark")}
        return process.run(command, env=environment, timeout=COMMAND_TIMEOUT)

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects that ``kubectl get`` finds."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))["items"]


@dataclass
class Outcome:
    """What a contender says of its run: seconds by step, and Ansible's log."""

    steps: dict[str, float] = field(default_factory=dict)
    log: str = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a part."""
        started = time.monotonic()
        yield
        self.steps[name] = round(time.monotonic() - started, 2)


def ours(place: Place, label: str) -> Outcome:
    """``ansible-playbook site.yml``, which ends when it has seen three answers of 200 in a row."""
    outcome = Outcome()
    logs = place.directory / "logs"
    log = logs / f"{label}.ansible.log"
    environment = place.environment | {"ANSIBLE_LOG_PATH": str(log)}
    del environment["KUBECONFIG"]  # the inventory names the cluster
    process.run(
        [program("ansible-playbook"), "site.yml", "--inventory", place.inventory],
        env=environment,
        cwd=ROOT,
        log=logs / f"{label}.out",
        timeout=COMMAND_TIMEOUT,
    )
    outcome.log = log.read_text()
    return outcome


def istioctl(place: Place, label: str) -> Outcome:
    """``istioctl install``, ``kubectl apply`` of the same app, ``rollout status``, and asking until 200 comes."""
    outcome = Outcome()
    log = place.directory / "logs" / f"{label}.out"
    tools, context = bed.bin_directory(), f"--context={place.own.context}"
    name, namespace = app_deployment(place)
    install = [tools / "istioctl", "install", "--skip-confirmation", "--filename", place.operator, context]
    rollout = ["rollout", "status", f"deployment/{name}", "--namespace", namespace, "--timeout=300s"]
    for step, command in {
        "istioctl install": install,
        "kubectl apply": [tools / "kubectl", context, "apply", "--filename", place.app],
        "kubectl rollout status": [tools / "kubectl", context, *rollout],
    }.items():
        with outcome.step(step):
            process.run(command, env=place.environment, log=log, timeout=COMMAND_TIMEOUT)
    with outcome.step("until 200"):
        answers.wait(place.url, 120)
    return outcome


def app_deployment(place: Place) -> tuple[str, str]:
    """Name and namespace of the app's Deployment."""
    meta = next(d for d in yaml.safe_load_all(place.app.read_text()) if d and d["kind"] == "Deployment")["metadata"]
    return meta["name"], meta["namespace"]


CONTENDERS = {OURS: ours, ISTIOCTL: istioctl}
