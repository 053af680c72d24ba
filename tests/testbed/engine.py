# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""The container engine: the docker that is there, else one installed and started by us; and its network for kind.

A docker daemon is shared by everybody on a machine: one that answers is used as it is, and only one that we started is
ever stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from functools import cache as memoize
from pathlib import Path

from testbed import gobuild, versions
from testbed.cache import Cache
from testbed.errors import BedError, CannotRunContainers
from testbed.process import environment, run, succeeds

NETWORK = "kind"  # the name is kind's; it takes a network of that name as it finds it
BRIDGE = "br-kind"
LABEL = "meshops.istio.testbed"
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24}
REGISTRY_PATIENCE = 15  # seconds: a registry that is there answers in one or two


def info() -> dict | None:
    """What the daemon says about itself, or None if none answers within 10 seconds."""
    if not shutil.which("docker", path=environment()["PATH"]):
        return None
    try:
        return json.loads(run(["docker", "info", "--format", "{{json .}}"], timeout=10))
    except (BedError, ValueError):
        return None


def lacks_capability(name: str) -> bool:
    """Whether no process here can ever have a capability (Linux' bounding set)."""
    status = Path("/proc/self/status").read_text()
    bounding = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:"))
    return not bounding >> CAPABILITIES[name] & 1


def missing_programs(names: Iterable[str]) -> dict[str, str]:
    """Those of some programs that are not here, with the Debian package of each."""
    path = environment()["PATH"]
    return {name: versions.HOST_PROGRAMS[name] for name in names if not shutil.which(name, path=path)}


def check_possible() -> None:
    """Says in one message why containers can never run here.

    :raises CannotRunContainers: with the reason and the way out
    """
    socket = os.environ.get("DOCKER_HOST", "/var/run/docker.sock")
    if not hasattr(os, "geteuid") or not Path("/proc/self/status").exists():
        raise CannotRunContainers("Docker is not running. Start Docker and try again.")
    if os.geteuid() != 0:
        raise CannotRunContainers(
            f"Docker does not answer at {socket} for this user, and only root can start it. Start it, join its group, "
            "or run this command as root."
        )
    held_back = [name for name in ("CAP_SYS_ADMIN", "CAP_NET_ADMIN") if lacks_capability(name)]
    if held_back:
        raise CannotRunContainers(
            f"Containers cannot run here: this environment lacks {' and '.join(held_back)}, which mounts, namespaces "
            "and bridges require. Use a virtual machine, a privileged container, or DOCKER_HOST."
        )


def install_programs(names: Iterable[str]) -> None:
    """Installs what is missing of some programs, with apt.

    :param names: keys of ``versions.HOST_PROGRAMS``

    Without recommended packages, as one of them remounts the machine's cgroups; and with RUNLEVEL=1, so that no
    package starts a service.

    :raises CannotRunContainers: something is missing and there is no apt
    """
    missing = missing_programs(names)
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise CannotRunContainers(
            f"Missing: {', '.join(missing)} (in Debian: {', '.join(missing.values())}). Install them and try again."
        )
    quiet = {"RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=quiet)
    patient = ["-o", "DPkg::Lock::Timeout=120"]  # seconds: another apt may be at work
    run(
        ["apt-get", "install", "-y", "-qq", *patient, "--no-install-recommends", *sorted(set(missing.values()))],
        env=quiet,
    )


def ensure(cache: Cache, starting=lambda: None) -> str:
    """Returns when a docker daemon answers; installs and starts one if none does. Says which it was.

    :raises CannotRunContainers: this machine or user cannot
    :raises BedError: the daemon does not come up
    """
    if info():
        return "answers"
    check_possible()
    starting()
    install_programs(versions.HOST_PROGRAMS)
    start(cache)
    return "started by us"


def start(cache: Cache, seconds: float = 30) -> None:
    """Starts dockerd for good (it outlives us) and notes that it is ours.

    ``ip_forward`` is switched on first: if dockerd has to do it, it also sets the FORWARD chain to drop everything.

    :raises BedError: it does not answer within ``seconds``
    """
    state = cache.root / "state"
    state.mkdir(parents=True, exist_ok=True)
    forwarding = IP_FORWARD.read_text().strip()
    IP_FORWARD.write_text("1\n")
    command = ["dockerd", "--exec-opt", "native.cgroupdriver=cgroupfs"]  # there may be no systemd to ask
    if lacks_capability("CAP_SYS_RESOURCE"):
        runtime = gobuild.build_programs(versions.BUILDS["runc-held-caps"], cache) / "runc-held-caps"
        command += ["--add-runtime", f"held-caps={runtime}", "--default-runtime", "held-caps"]
    # It outlives whoever started it, and so the temporary directory that was theirs.
    env = {key: value for key, value in environment().items() if key != "TMPDIR"}
    with (state / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
        )
    note = {"pid": daemon.pid, "started": start_time(daemon.pid), "ip_forward": forwarding}
    (state / "dockerd.json").write_text(json.dumps(note))
    deadline = time.monotonic() + seconds
    while not info():
        if daemon.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join((state / "dockerd.log").read_text(errors="replace").splitlines()[-15:])
            raise BedError(f"dockerd did not start:\n{tail}")
        time.sleep(0.1)


def start_time(pid: int) -> str:
    """When a process started, in the kernel's own unit; with the pid it names one process for ever. "" if gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def ours(cache: Cache) -> dict | None:
    """The note about the daemon that we started, if it still runs."""
    try:
        note = json.loads((cache.root / "state" / "dockerd.json").read_text())
    except (OSError, ValueError):
        return None
    return note if start_time(note["pid"]) == note["started"] else None


def stop_if_ours(cache: Cache, seconds: float = 30) -> str:
    """Stops the daemon if we started it and no container is left in it; says what was done."""
    note = ours(cache)
    if not note:
        return "dockerd: not ours, left alone" if info() else "dockerd: not running"
    if run(["docker", "ps", "--all", "--quiet"]).strip():
        return "dockerd: ours, but it holds containers; left running"
    os.kill(note["pid"], signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while start_time(note["pid"]) == note["started"] and not zombie(note["pid"]):
        if time.monotonic() > deadline:
            raise BedError(f"dockerd (pid {note['pid']}) did not stop")
        time.sleep(0.1)
    IP_FORWARD.write_text(note["ip_forward"] + "\n")
    (cache.root / "state" / "dockerd.json").unlink()
    return "dockerd: stopped"


def zombie(pid: int) -> bool:
    """Whether a process has ended and only waits for its parent (this very program, if it also started it)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def ensure_network() -> None:
    """Makes kind's docker network beforehand, with a bridge of a known name, and lets nothing new leave it.

    Until kube-proxy has written its rules, a pod's packet to a service address looks like one for the internet and
    would leave through the machine. A network that somebody else made is used as it is, without the rule.
    """
    if not succeeds(["docker", "network", "inspect", NETWORK]):
        run(
            [
                "docker", "network", "create", "--driver", "bridge", "--label", f"{LABEL}=true",
                "--opt", f"com.docker.network.bridge.name={BRIDGE}", "--opt", "com.docker.network.driver.mtu=1500",
                NETWORK,
            ],
        )  # fmt: skip
    if network_is_ours() and not succeeds(["iptables", "--wait", "--check", *no_way_out()]):
        run(["iptables", "--wait", "--insert", *no_way_out()])


def no_way_out() -> list[str]:
    """The rule, as iptables' arguments after the command."""
    return [
        "DOCKER-USER", "--in-interface", BRIDGE, "!", "--out-interface", BRIDGE,
        "--match", "conntrack", "--ctstate", "NEW", "--match", "comment", "--comment", LABEL, "--jump", "REJECT",
    ]  # fmt: skip


def network_is_ours() -> bool:
    """Whether kind's network exists and carries our label."""
    template = '{{index .Labels "' + LABEL + '"}}'
    try:
        return run(["docker", "network", "inspect", "--format", template, NETWORK]).strip() == "true"
    except BedError:
        return False


def host_address() -> str:
    """The address of this machine in kind's network, at which containers reach what listens there.

    :raises BedError: there is no such network, or it has none
    """
    template = "{{range .IPAM.Config}}{{.Gateway}} {{end}}"
    addresses = run(["docker", "network", "inspect", "--format", template, NETWORK]).split()
    for address in addresses:
        if "." in address:
            return address
    raise BedError(f"this machine has no IPv4 address in docker's network {NETWORK}")


def remove_network_if_unused() -> str:
    """Removes our network and its rule if no container is in it; says what was done."""
    if not network_is_ours():
        return "network: none of ours"
    if run(["docker", "ps", "--all", "--quiet", "--filter", f"network={NETWORK}"]).strip():
        return "network: still in use"
    while succeeds(["iptables", "--wait", "--check", *no_way_out()]):
        run(["iptables", "--wait", "--delete", *no_way_out()])
    run(["docker", "network", "rm", NETWORK])
    return "network: removed"


@memoize
def source() -> str:
    """Where everything comes from: "registry" or "build".

    ``TESTBED_SOURCE`` decides; else a registry that answers the engine within 15 seconds. Asked once per process.

    :raises BedError: ``TESTBED_SOURCE`` is something else
    """
    wanted = os.environ.get("TESTBED_SOURCE", "")
    if wanted not in ("", "registry", "build"):
        raise BedError(f"invalid TESTBED_SOURCE {wanted!r}: use registry or build")
    if wanted:
        return wanted
    image = versions.KIND_NODE_IMAGE
    known = succeeds(["docker", "image", "inspect", image]) or succeeds(
        ["docker", "manifest", "inspect", image], REGISTRY_PATIENCE
    )
    return "registry" if known else "build"


def load(archive: Path, name: str) -> None:
    """Gives the engine an image from a docker-archive, and drops the images that earlier versions of it left."""
    run(["docker", "load", "--quiet", "--input", archive])
    repository = name.rpartition(":")[0]
    for other in run(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", repository]).split():
        if other != name:
            succeeds(["docker", "rmi", other])  # refused while a cluster uses it, and that is right


def our_images() -> list[str]:
    """The images of ours that the engine holds."""
    listed = run(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", f"{versions.IMAGE_HUB}/*"])
    return listed.split()
