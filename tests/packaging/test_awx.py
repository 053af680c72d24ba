# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job run the way AWX runs it.

AWX clones the project, installs collections/requirements.yml beside it, and hands ansible-runner a
directory with the clone, the inventory, the extra variables and the credential's environment. A remote
execution node gets that directory through ansible-runner's transmit, worker and process, which is the
way taken here: it is the one on which links and modes could get lost.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import environments
import pytest
import yaml
from support import BIN, GIT, ROOT, run

#: What AWX sets for every job (awx/main/tasks/jobs.py), with its paths inside the execution environment.
JOB_ENVIRONMENT = {
    "ANSIBLE_FORCE_COLOR": "True",
    "ANSIBLE_HOST_KEY_CHECKING": "False",
    "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
    "ANSIBLE_PARAMIKO_RECORD_HOST_KEYS": "False",
    "ANSIBLE_RETRY_FILES_ENABLED": "False",
}


class Job:
    """One run of site.yml through ansible-runner."""

    def __init__(self, directory: Path, repository: Path, credential: dict[str, str], extra_vars: dict) -> None:
        """Lay out the private data directory and run."""
        private = directory / "private"
        for name in ("env", "inventory"):
            (private / name).mkdir(parents=True)
        clone = run([*GIT, "clone", "--quiet", repository, private / "project"], cwd=directory)
        assert clone.returncode == 0, clone.stdout
        self._install_requirements(private)

        node, result = directory / "node", directory / "result"
        (directory / "home").mkdir()
        variables = {
            **JOB_ENVIRONMENT,
            "ANSIBLE_COLLECTIONS_PATH": f"{node}/requirements_collections:{directory}/home/.ansible/collections",
            "HOME": str(directory / "home"),
            **credential,
        }
        (private / "env/envvars").write_text(yaml.safe_dump(variables))
        (private / "env/extravars").write_text(yaml.safe_dump(extra_vars))
        (private / "inventory/hosts").write_text("cluster ansible_connection=local\n")
        self._stream(private, node, result, directory / "home")
        artifacts = result / "artifacts/job"
        self.output = (artifacts / "stdout").read_text()
        self.status = (artifacts / "status").read_text()
        self.events = [json.loads(path.read_text()) for path in artifacts.glob("job_events/*-*.json")]

    @staticmethod
    def _install_requirements(private: Path) -> None:
        """Do what AWX's project update does with collections/requirements.yml, with the copy we have."""
        wanted = yaml.safe_load((private / "project/collections/requirements.yml").read_text())["collections"]
        for requirement in wanted:
            copy = environments.collection(requirement["name"])
            shutil.copytree(copy, private / "requirements_collections", dirs_exist_ok=True)

    @staticmethod
    def _stream(private: Path, node: Path, result: Path, home: Path) -> None:
        """Transmit the directory, work on it elsewhere, process what comes back."""
        runner = str(BIN / "ansible-runner")
        environment = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(home)}
        pipe: bytes = b""
        for arguments in (
            ["transmit", str(private), "--ident", "job", "--playbook", "site.yml"],
            ["worker", "--private-data-dir", str(node)],
            ["process", str(result), "--ident", "job"],
        ):
            step = subprocess.run(
                [runner, *arguments], input=pipe, stdout=subprocess.PIPE, env=environment, check=False
            )
            pipe = step.stdout

    @property
    def artifacts(self) -> dict:
        """Return what AWX keeps of the job, and hands to the next node of a workflow, as extra variables."""
        (stats,) = [event for event in self.events if event["event"] == "playbook_on_stats"]
        return stats["event_data"]["artifact_data"]

    def failures(self) -> list[dict]:
        """Return the data of every failed task's event."""
        return [event["event_data"] for event in self.events if event["event"] == "runner_on_failed"]


@pytest.fixture(scope="module")
def dead_port() -> int:
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_an_unreachable_cluster_is_named(repository: Path, tmp_path: Path, dead_port: int) -> None:
    """The clone finds its roles and modules, and our preflight says what is wrong with the credential's address."""
    credential = {
        "K8S_AUTH_HOST": f"https://127.0.0.1:{dead_port}",
        "K8S_AUTH_API_KEY": "nobody",
        "K8S_AUTH_VERIFY_SSL": "False",
    }
    job = Job(tmp_path, repository, credential, {})
    assert job.status == "failed"
    assert not re.search(r"the role '.*' was not found|couldn't resolve", job.output), job.output
    failures = job.failures()
    assert [failure["role"] for failure in failures] == ["preflight"], job.output
    assert f"127.0.0.1:{dead_port}" in failures[0]["res"]["msg"], job.output
    summary = job.artifacts["istio_report"]["cluster"]
    assert (summary["verdict"], summary["cause"]) == ("failed", "api-unreachable")
    assert len(json.dumps(job.artifacts)) < 2000, "AWX refuses artifacts beyond 1 MB, and people read them"


@pytest.fixture
def cluster_credential(tmp_path: Path) -> dict[str, str]:
    """Return what AWX's credential type for Kubernetes injects, for a service account that may do everything."""
    import kubernetes  # slow, and only this needs it

    kubernetes.config.load_kube_config(os.environ["MESHOPS_TEST_KUBECONFIG"])
    configuration = kubernetes.client.Configuration.get_default_copy()
    core, rbac = kubernetes.client.CoreV1Api(), kubernetes.client.RbacAuthorizationV1Api()
    name = "meshops-test-awx"
    account = {"metadata": {"name": name}}
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}],
    }
    core.create_namespaced_service_account("kube-system", account)
    rbac.create_cluster_role_binding(binding)
    token = core.create_namespaced_service_account_token(name, "kube-system", {"spec": {}}).status.token
    ca = tmp_path / "ca.crt"
    shutil.copy(configuration.ssl_ca_cert, ca)
    yield {
        "K8S_AUTH_HOST": configuration.host,
        "K8S_AUTH_API_KEY": token,
        "K8S_AUTH_VERIFY_SSL": "True",
        "K8S_AUTH_SSL_CA_CERT": str(ca),
    }
    rbac.delete_cluster_role_binding(name)
    core.delete_namespaced_service_account(name, "kube-system")


@pytest.mark.cluster
@pytest.mark.skipif("MESHOPS_TEST_KUBECONFIG" not in os.environ, reason="names no cluster to test on")
def test_a_job_ends_with_an_answer_through_the_mesh(
    repository: Path, tmp_path: Path, cluster_credential: dict[str, str]
) -> None:
    """With AWX's injected credential and no kubeconfig, site.yml installs, or finds, Istio and gets its 200."""
    scenario = yaml.safe_load((ROOT / "molecule/kvm/inventory.yml").read_text())["all"]["hosts"]["cluster"]
    variables = {**yaml.safe_load(Path(os.environ["MESHOPS_TEST_VARS"]).read_text()), **scenario}
    for name in ("istio_kubeconfig", "istio_context"):
        variables.pop(name, None)
    variables["liveness_verify_report_path"] = str(tmp_path / "report.json")
    job = Job(tmp_path, repository, cluster_credential, variables)
    assert job.status == "successful", job.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["status"] == 200
    assert report["server"] == "istio-envoy"
    summary = job.artifacts["istio_report"]["cluster"]
    assert (summary["verdict"], summary["endpoint"]) == ("proven", report["url"])
