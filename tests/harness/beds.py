# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Beds under test: what is on one, what was asked of its API server, runs against it, and other people's access."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.playbooks import ROOT, SITE, Playbook, Run
from testbed.audit import AuditLog, Count
from testbed.bed import Bed, bin_directory, suffix
from testbed.process import environment

ACCOUNTS = "meshops-accounts"
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}


@dataclass
class Asked:
    """What a block asked of the API server; filled in when the block ends."""

    count: Count = field(default_factory=Count)

    @property
    def writes(self) -> list[str]:
        """Each write in a few words."""
        return [f"{request.verb} {request.uri} ({request.user_agent})" for request in self.count.requests]


def bed_command(verb: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the test bed. :returns: its exit code, and what it said on standard error"""
    command = [str(word) for word in (sys.executable, ROOT / "tests/testbed", verb, *arguments)]
    return subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, env=environment()
    )


@contextlib.contextmanager
def kind_bed(name: str) -> Iterator[tuple[Path, Path]]:
    """Yield kubeconfig and variables of a kind cluster: the one that the environment names, or one made for the tests.

    That is taken down unless MESHOPS_KEEP_CLUSTER=1; where none can be made, the tests are skipped.
    """
    if "MESHOPS_TEST_KUBECONFIG" in os.environ and "MESHOPS_TEST_VARS" in os.environ:
        yield Path(os.environ["MESHOPS_TEST_KUBECONFIG"]), Path(os.environ["MESHOPS_TEST_VARS"])
        return
    folder = ROOT / "build/testbed" / name
    kubeconfig, variables = folder / "kubeconfig", folder / "vars.yml"
    made = bed_command("up", "--name", name, "--kubeconfig", kubeconfig, "--vars", variables)
    if made.returncode == 3:
        pytest.skip(
            f"MESHOPS_TEST_KUBECONFIG and MESHOPS_TEST_VARS name no cluster, and none can be made: {made.stderr}"
        )
    assert made.returncode == 0, made.stderr
    yield kubeconfig, variables
    if os.environ.get("MESHOPS_KEEP_CLUSTER") != "1":
        bed_command("down", "--name", name)


class BedCluster:
    """A cluster of the test bed."""

    def __init__(self, kubeconfig: Path, variables_file: Path, home: Path) -> None:
        self.kubeconfig = kubeconfig
        self.home = home
        self.variables: dict[str, Any] = yaml.safe_load(variables_file.read_text())
        self.audit = AuditLog(self._bed().audit_log)
        self.tools = bin_directory()

    def _bed(self) -> Bed:
        """The bed it is of, since tests delete what they find. :raises ValueError: it is none of ours"""
        context = self.variables["istio_context"]
        bed = Bed(context.removeprefix("kind-").removesuffix(f"-{suffix(ROOT)}"))
        if context not in (bed.context, bed.cluster):
            raise ValueError(f"{context} is no cluster of this checkout's test bed")
        return bed

    # -- asking and changing it as an administrator -----------------------------------------------------------------

    def tool(self, name: str, *arguments: str | Path, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl, helm or istioctl against it. :returns: what it printed"""
        command = [str(self.tools / name), "--kubeconfig", str(self.kubeconfig), *map(str, arguments)]
        # What kinds a server has is kept by its address, which may have been an older bed's.
        environment = {**os.environ, "KUBECACHEDIR": str(self.home / "kube-cache")}
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=300, check=False, env=environment
        )
        assert done.returncode == 0 or not check, f"{name} {' '.join(map(str, arguments))}: {done.stderr}{done.stdout}"
        return done.stdout + ("" if done.returncode == 0 else done.stderr)

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run kubectl."""
        return self.tool("kubectl", *arguments, stdin=stdin)

    def get(self, *arguments: str) -> dict[str, Any]:
        """What `kubectl get` shows, as data."""
        return json.loads(self.kubectl("get", "--output=json", *arguments))

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects under kubectl's own name."""
        self.kubectl(
            "apply", "--server-side", "-f-", stdin=json.dumps({"kind": "List", "apiVersion": "v1", "items": objects})
        )

    @contextlib.contextmanager
    def asked(self, user: str | None = None) -> Iterator[Asked]:
        """Count the requests of people and their programs while a block runs, or those of one user."""
        asked, mark = Asked(), self.audit.mark()
        yield asked
        asked.count = self.audit.count(mark, user=user)

    @contextlib.contextmanager
    def gateway_without_pods(self, name: str, namespace: str = "default") -> Iterator[dict[str, str]]:
        """A gateway that is a Service alone: it proves no app. Yields the options that name it."""
        port = {"name": "http2", "port": 80}
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"type": "NodePort", "selector": {"app": name}, "ports": [port]},
            }
        )
        try:
            yield {"gateway": name, "gateway_namespace": namespace}
        finally:
            self.kubectl("delete", "service", name, "--namespace", namespace, "--ignore-not-found")

    @contextlib.contextmanager
    def namespace(self, labels: dict[str, str] | None = None) -> Iterator[str]:
        """A namespace that nobody used before, with a default account, and gone afterwards. Yields its name."""
        name = f"test-{secrets.token_hex(4)}"
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}})
        try:
            self.kubectl("wait", "--for=create", "serviceaccount/default", "--namespace", name, "--timeout=30s")
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")

    # -- runs ----------------------------------------------------------------------------------------------------------

    def playbook(
        self,
        playbook: Path | list[dict[str, Any]],
        *arguments: str,
        environ: dict[str, str] | None = None,
        hosts: dict[str, dict[str, Any]] | None = None,
        **over: Any,
    ) -> Playbook:
        """A run against it; a variable that is None is left out."""
        variables = {key: value for key, value in {**self.variables, **over}.items() if value is not None}
        return Playbook(self.home, playbook, hosts or {"cluster": LOCAL}, variables, arguments, environ)

    def site(self, *arguments: str, environ: dict[str, str] | None = None, **over: Any) -> Run:
        """Run site.yml."""
        return self.playbook(SITE, *arguments, environ=environ, **over).run()

    def role(self, name: str, *arguments: str, **over: Any) -> Run:
        """Run one role alone, as somebody's own playbook would."""
        role = {"name": f"include {name}", "ansible.builtin.include_role": {"name": f"meshops.istio.{name}"}}
        play = {"hosts": "all", "gather_facts": False, "tasks": [role]}
        return self.playbook([play], *arguments, **over).run()

    # -- other people --------------------------------------------------------------------------------------------------

    @property
    def server(self) -> str:
        """URL of its API server."""
        return self._kubeconfig()["clusters"][0]["cluster"]["server"]

    @property
    def ca(self) -> Path:
        """A file with its CA."""
        path = self.home / "ca.crt"
        path.write_bytes(base64.b64decode(self._kubeconfig()["clusters"][0]["cluster"]["certificate-authority-data"]))
        return path

    def _kubeconfig(self) -> dict[str, Any]:
        return yaml.safe_load(self.kubeconfig.read_text())

    def account(self, name: str) -> str:
        """Make a ServiceAccount without any right. :returns: its token"""
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ACCOUNTS}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": ACCOUNTS}},
        )
        return self.token(ACCOUNTS, name)

    def token(self, namespace: str, name: str) -> str:
        """A token of a ServiceAccount."""
        return self.kubectl("create", "token", name, "--namespace", namespace).strip()

    def credential(self, token: str) -> dict[str, str]:
        """The environment by which AWX hands a cluster over."""
        return {
            "K8S_AUTH_HOST": self.server,
            "K8S_AUTH_API_KEY": token,
            "K8S_AUTH_SSL_CA_CERT": str(self.ca),
            "K8S_AUTH_VERIFY_SSL": "True",
        }
