# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""The kind cluster of a bed: make it, find it, mend it, remove it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from testbed import archive, engine, nodeimage
from testbed.bed import Bed
from testbed.errors import BedError
from testbed.process import run, succeeds

CLUSTER_LABEL = "io.x-k8s.kind.cluster"
READY_SECONDS = 180
KIND_ENVIRONMENT = {"KIND_EXPERIMENTAL_PROVIDER": "docker"}
AUDIT_DIRECTORY = "/var/log/kubernetes/audit"
INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")

# One event for each request, when it is answered. The other stages would count it twice or thrice.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata"}],
}


def kind_config(audit: Path, own_network: bool, cgroup_v1: bool, may_lower_oom_scores: bool) -> dict:
    """kind's configuration of one node, the API server on a free port of 127.0.0.1.

    :param audit: directory of this machine with the audit policy, into which the log is written
    :param own_network: the node image brings its network, instead of kindnet
    :param cgroup_v1: the kubelet has refused it since 1.35 unless told otherwise
    :param may_lower_oom_scores: the machine has CAP_SYS_RESOURCE; the kubelet ends without it if it is to try
    """
    kubelet = {"kind": "KubeletConfiguration"}
    if cgroup_v1:
        kubelet["failCgroupV1"] = False
    if not may_lower_oom_scores:
        kubelet["oomScoreAdj"] = 0
    arguments = {
        "audit-policy-file": f"{AUDIT_DIRECTORY}/policy.json",
        "audit-log-path": f"{AUDIT_DIRECTORY}/audit.log",
        "audit-log-maxsize": "2000",  # MiB; a rotation would pull the file away from under a reader
    }
    volume = {"name": "audit", "hostPath": AUDIT_DIRECTORY, "mountPath": AUDIT_DIRECTORY, "pathType": "Directory"}
    # kubeadm's arguments are a list since v1beta4: a merge patch would replace the list, so each is appended.
    patch = [
        {"op": "add", "path": "/apiServer/extraArgs/-", "value": {"name": k, "value": v}} for k, v in arguments.items()
    ]
    patch.append({"op": "add", "path": "/apiServer/extraVolumes", "value": [volume]})
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {
            "ipFamily": "ipv4",
            "apiServerAddress": "127.0.0.1",
            "podSubnet": nodeimage.POD_SUBNET,
            "disableDefaultCNI": own_network,
        },
        "kubeadmConfigPatches": [json.dumps(kubelet)],
        "kubeadmConfigPatchesJSON6902": [
            {
                "group": "kubeadm.k8s.io",
                "version": "v1beta4",
                "kind": "ClusterConfiguration",
                "patch": json.dumps(patch),
            }
        ],
        "nodes": [
            {
                "role": "control-plane",
                "extraMounts": [{"hostPath": str(audit), "containerPath": AUDIT_DIRECTORY}],
            }
        ],
    }


def container_state(bed: Bed) -> str:
    """The node container's state in docker's words ("running", "exited", ...), or "" if there is none."""
    listed = run(["docker", "ps", "--all", "--filter", f"name=^{bed.node}$", "--format", "{{.State}}"])
    return listed.strip()


def node_address(bed: Bed) -> str:
    """The node's IP address, at which its node ports answer from this machine."""
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return run(["docker", "inspect", "--format", template, bed.node]).strip()


def read_state(bed: Bed) -> dict | None:
    """What was noted when the cluster was complete; None if it never was."""
    try:
        return json.loads(bed.state.read_text())
    except (OSError, ValueError):
        return None


def answers(bed: Bed, kubectl: Path, kubeconfig: Path) -> bool:
    """Whether the API server of this cluster is ready, asked through ``kubeconfig``."""
    arguments = ["--kubeconfig", kubeconfig, "--context", bed.context, "--request-timeout=5s"]
    return kubeconfig.exists() and succeeds([kubectl, *arguments, "get", "--raw", "/readyz"])


def export_kubeconfig(bed: Bed, kind: Path, kubeconfig: Path) -> None:
    """Writes the cluster's access into ``kubeconfig`` (mode 0600); other clusters in that file are kept."""
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    run([kind, "export", "kubeconfig", "--name", bed.cluster, "--kubeconfig", kubeconfig], env=KIND_ENVIRONMENT)
    kubeconfig.chmod(0o600)


def create(bed: Bed, kind: Path, image: str, own_network: bool) -> None:
    """Makes the cluster; returns when its node is Ready.

    :raises BedError: it does not become Ready; the node's logs are then in the bed's directory and the rest is removed
    """
    audit = bed.audit_log.parent
    shutil.rmtree(audit, ignore_errors=True)
    audit.mkdir(parents=True)
    (audit / "policy.json").write_text(json.dumps(AUDIT_POLICY))
    bed.audit_log.touch(0o600)  # so that it belongs to us even if docker runs as somebody else
    machine = engine.info() or {}
    config = kind_config(
        audit,
        own_network,
        cgroup_v1=machine.get("CgroupVersion") == "1",
        may_lower_oom_scores=not engine.lacks_capability("CAP_SYS_RESOURCE"),
    )
    (bed.directory / "kind.json").write_text(json.dumps(config, indent=2))
    bed.kubeconfig.unlink(missing_ok=True)
    log = bed.directory / "kind.log"
    log.unlink(missing_ok=True)
    try:
        run(
            [
                kind, "create", "cluster", "--name", bed.cluster, "--image", image, "--retain",
                "--config", bed.directory / "kind.json", "--kubeconfig", bed.kubeconfig, "--wait", f"{READY_SECONDS}s",
            ],
            env=KIND_ENVIRONMENT,
            log=log,
        )  # fmt: skip
        if "Ready after" not in log.read_text(errors="replace"):
            raise BedError(f"the node is not ready after {READY_SECONDS} s. See {bed.directory}")
    except BedError:
        if container_state(bed):
            succeeds([kind, "export", "logs", "--name", bed.cluster, bed.directory / "failed"], timeout=60)
            delete(bed, kind)
        raise
    bed.kubeconfig.chmod(0o600)


def settle_dns(bed: Bed, kubectl: Path) -> None:
    """Returns when the cluster's DNS answers, which a node's being Ready does not promise.

    The first two pods start before kube-proxy's rules are there, back off, and are asked only every ten seconds: 15 s
    in all. One new pod, asked every second, is there in a third of that; one node needs no second one.

    :raises BedError: not within two minutes
    """
    here = [kubectl, "--kubeconfig", bed.kubeconfig, "--context", bed.context, "--namespace", "kube-system"]
    container = {"name": "coredns", "readinessProbe": {"periodSeconds": 1}}
    patch = {"spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}}}
    run([*here, "patch", "deployment/coredns", "--patch", json.dumps(patch)])
    try:
        run([*here, "rollout", "status", "deployment/coredns", "--timeout=120s"])
    except BedError as e:
        raise BedError(f"{e}\n{crowded(INOTIFY_LIMIT)}".rstrip()) from e


def crowded(limit: Path, proc: Path = Path("/proc")) -> str:
    """What to say if the machine's clusters have used up what programs watch files with; "" if they have not.

    The limit is the machine's, for all containers of one user together; kube-proxy ends where nothing is left of it.

    :param limit: the kernel's file that holds it
    :param proc: the process file system
    """
    used = 0
    for descriptor in proc.glob("[0-9]*/fd/*"):
        with suppress(OSError):  # closed meanwhile, or somebody else's
            used += str(descriptor.readlink()) == "anon_inode:inotify"
    allowed = int(limit.read_text())
    if used < allowed - 10:
        return ""
    return (
        f"{used} inotify instances are in use, and fs.inotify.max_user_instances allows each user {allowed}. Too many "
        "clusters run on this machine. Run `down` for one of them, or raise the limit"
    )


def reachable(bed: Bed, kind: Path, kubectl: Path, seconds: float = 60) -> bool:
    """Whether the API server answers within ``seconds``; our kubeconfig is written anew, as it may be the reason."""
    deadline = time.monotonic() + seconds
    while not answers(bed, kubectl, bed.kubeconfig):
        with suppress(BedError):
            bed.kubeconfig.unlink(missing_ok=True)
            export_kubeconfig(bed, kind, bed.kubeconfig)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def delete(bed: Bed, kind: Path, kubeconfigs: Iterable[Path] = ()) -> None:
    """Removes the cluster with our kubeconfig, and its entries in others that it was written into.

    Such a file is removed if nothing is left in it.

    :raises CommandFailed: docker did not remove it, or one of the others' files is no kubeconfig any more
    """
    bed.state.unlink(missing_ok=True)
    bed.kubeconfig.unlink(missing_ok=True)
    for kubeconfig in (bed.kubeconfig, *kubeconfigs):
        run([kind, "delete", "cluster", "--name", bed.cluster, "--kubeconfig", kubeconfig], env=KIND_ENVIRONMENT)
        if kubeconfig.exists() and "cluster:" not in kubeconfig.read_text():
            kubeconfig.unlink()
        Path(f"{kubeconfig}.lock").unlink(missing_ok=True)


def clusters() -> list[str]:
    """All kind clusters the engine holds, ours and others'."""
    listed = run(
        ["docker", "ps", "--all", "--filter", f"label={CLUSTER_LABEL}", "--format", f'{{{{.Label "{CLUSTER_LABEL}"}}}}']
    )
    return sorted(set(listed.split()))


def present_images(bed: Bed) -> dict[str, str]:
    """The images in the node's store: name -> digest of its manifest."""
    table = run(["docker", "exec", bed.node, "ctr", "--namespace", "k8s.io", "images", "list"])
    rows = [line.split() for line in table.splitlines()[1:]]
    return {row[0]: row[2] for row in rows if len(row) > 2}


def load_images(bed: Bed, files: list[Path]) -> dict[str, str]:
    """Puts docker-archives into the node's store; returns each image's name with "loaded" or "present".

    An image counts as present when the store holds one of that name whose configuration has the same id. The archive
    goes through a pipe into the node: `kind load` would first copy it twice.
    """
    outcome: dict[str, str] = {}
    there = present_images(bed)
    for file in files:
        images = archive.read_images(file)
        missing = [name for name, digest in images.items() if name not in there or config_id(bed, name) != digest]
        if missing:
            with file.open("rb") as stream:
                run(
                    [
                        "docker", "exec", "--interactive", bed.node, "ctr", "--namespace", "k8s.io", "images", "import",
                        *nodeimage.IMPORT_FLAGS, "-",
                    ],
                    stdin=stream,
                )  # fmt: skip
        outcome |= {name: "loaded" if name in missing else "present" for name in images}
    return outcome


def config_id(bed: Bed, name: str) -> str:
    """The id ("sha256:...") of an image in the node, "" if it is not there."""
    try:
        return json.loads(run(["docker", "exec", bed.node, "crictl", "inspecti", name]))["status"]["id"]
    except BedError:
        return ""
