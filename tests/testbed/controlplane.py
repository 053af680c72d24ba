# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""A bed that is a control plane alone: make it, find it, mend it, remove it.

etcd and Kubernetes' own programs run as plain processes of this user, and kwok plays nodes and pods. What a kubelet,
a network or Istio itself would do does not happen; what the API server, its admission and the controllers do is real.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from testbed import artifacts, bed, gobuild, programs, versions
from testbed.bed import Bed
from testbed.cache import Cache
from testbed.cluster import AUDIT_POLICY, read_state
from testbed.daemons import Daemons
from testbed.errors import BedError
from testbed.phases import Phases
from testbed.process import run, succeeds
from testbed.programs import LOCALHOST, Files, Settings

READY_SECONDS = 60.0
TRIES = 3  # a port that was free a moment ago may be taken
TOOLS = ("helm", "kubectl")


def plan_file(own: Bed) -> Path:
    """Written before the first process starts: whose bed is this, and what is it to be."""
    return own.directory / "control-plane.json"


def is_one(own: Bed) -> bool:
    """Whether the bed is, or was to become, a control plane alone."""
    return plan_file(own).exists()


def beds(checkout: Path = bed.CHECKOUT) -> list[Bed]:
    """All beds of a checkout that are, or were to become, a control plane alone."""
    return [Bed(path.parent.name, checkout) for path in sorted(bed.root(checkout).glob(f"*/{plan_file(Bed()).name}"))]


def read_plan(own: Bed) -> dict | None:
    """Settings, ports and programs of the bed; None if there is none."""
    try:
        return json.loads(plan_file(own).read_text())
    except (OSError, ValueError):
        return None


def daemons(own: Bed) -> Daemons:
    """The processes of a bed."""
    return Daemons(own.directory / "daemons")


def end(own: Bed) -> None:
    """Ends all processes of a bed, that of its registry too. :raises BedError: one does not end"""
    daemons(own).stop()
    Daemons(own.registry / "daemons").stop()


def context(own: Bed) -> str:
    """The context of its kubeconfig."""
    return own.cluster


def free_ports(count: int, host: str = LOCALHOST) -> list[int]:
    """Ports of one of this machine's addresses that nobody listens on now, no two alike."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server((host, 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]


def write_secret(path: Path, text: str) -> None:
    """Writes a file that nobody else may read, whole or not at all."""
    pending = path.with_name(f".{path.name}.{os.getpid()}")
    pending.unlink(missing_ok=True)
    with os.fdopen(os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    pending.replace(path)


def builds(kubernetes: Sequence[str]) -> list[str]:
    """The builds that beds of these versions of Kubernetes need, tools left out."""
    return ["etcd", "kwok", *(versions.control_plane_build(version) for version in kubernetes)]


# -- up ----------------------------------------------------------------------------------------------------------------


def up(own: Bed, settings: Settings, cache: Cache, tell: Callable[[str], None]) -> dict:
    """Makes the bed, or finds it up, and returns its state. The caller holds the bed's lock.

    :raises BedError: it cannot be made, or the name is that of another bed
    """
    plan = read_plan(own)
    if plan and read_state(own) and Settings.from_data(plan["settings"]) != settings:
        there = Settings.from_data(plan["settings"])
        raise BedError(f"bed {own.name} exists as {there}, not as {settings}. Run `down --name {own.name}`")
    return revive(own, tell) or make(own, settings, cache, tell)


def revive(own: Bed, tell: Callable[[str], None]) -> dict | None:
    """The state of a bed that is whole and answers, after starting what had ended; else None."""
    plan, state = read_plan(own), read_state(own)
    if not plan or not state or not Path(state["charts"]).exists():
        return None
    if not all((bed.bin_directory() / name).exists() for name in TOOLS):
        return None
    running = daemons(own)
    ended = [name for name in plan["commands"] if running.pid(name) is None]
    if not ended:
        return state if healthy(own) else None
    tell(f"starting again: {', '.join(ended)}")
    try:
        for name in ended:
            start_one(own, plan, name)
        await_controllers(own, Settings.from_data(plan["settings"]))
    except BedError as e:
        tell(f"it does not come back, and is made anew: {e}")
        return None
    return state


def make(own: Bed, settings: Settings, cache: Cache, tell: Callable[[str], None]) -> dict:
    """Makes the bed from nothing, or from whatever an interrupted run left."""
    names = builds([settings.version])
    phases = Phases(len(names) + len(TOOLS) + 2)
    built = {name: artifacts.build(name, cache, phases) for name in names}
    artifacts.collect_tools(cache, phases, "build", TOOLS)
    charts = artifacts.charts(cache, phases, versions.istio_for(settings.version))
    kubernetes = built[versions.control_plane_build(settings.version)]
    binaries = {name: kubernetes / name for name in versions.CONTROL_PLANE_PROGRAMS}
    binaries |= {name: built[name] / name for name in ("etcd", "kwok")}
    with phases.phase(f"control plane {own.cluster}", "~10 s") as phase:
        phase.start()
        for left in reversed(range(TRIES)):
            clear(own)
            prepare(own, settings, cache, binaries)
            try:
                launch(own, settings)
                break
            except BedError as e:
                daemons(own).stop()
                if not left or "address already in use" not in str(e):
                    raise
                tell("somebody took one of the ports: trying others")
    state = {"charts": str(charts), "kubeconfigs": []}
    own.state.write_text(json.dumps(state, indent=2))
    return state


def clear(own: Bed) -> None:
    """Ends and removes all of an earlier bed but its lock."""
    end(own)
    own.state.unlink(missing_ok=True)
    for path in own.directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


def prepare(own: Bed, settings: Settings, cache: Cache, binaries: dict[str, Path]) -> None:
    """Writes what the programs read, and last the plan."""
    files = Files(own.directory)
    files.secrets.mkdir(mode=0o700)
    files.audit.mkdir()
    write_secret(files.tokens, programs.token_table({name: secrets.token_hex(32) for name in programs.USERS}))
    (files.audit / "policy.json").write_text(json.dumps(AUDIT_POLICY))
    own.audit_log.touch(0o600)
    if settings.pod_security:
        files.admission.write_text(json.dumps(programs.admission_configuration(settings.pod_security), indent=2))
    kwok = gobuild.module_directory(cache.root, "sigs.k8s.io/kwok", versions.KWOK)
    files.stages.write_text("\n---\n".join((kwok / stage).read_text() for stage in versions.KWOK_STAGES))
    ports = dict(zip(programs.PORTS, free_ports(len(programs.PORTS)), strict=True))
    plan = {
        "settings": settings.as_data(),
        "crds": [str(crd_file(crd, cache)) for crd in settings.crds],
        "ports": ports,
        "commands": programs.command_lines(settings, files, ports, binaries),
    }
    plan_file(own).write_text(json.dumps(plan, indent=2))


def crd_file(crd: str, cache: Cache) -> Path:
    """The file of a definition: one that ``versions.CRDS`` names, else a path.

    :raises BedError: there is none
    """
    if crd in versions.CRDS:
        module, version, path = versions.CRDS[crd]
        return gobuild.module_directory(cache.root, module, version) / path
    if not Path(crd).is_file():
        raise BedError(f"{crd} is neither a file nor a known CRD: {', '.join(versions.CRDS)}")
    return Path(crd)


def launch(own: Bed, settings: Settings) -> None:
    """Starts everything in order; returns when nodes are Ready and controllers work.

    :raises BedError: something ended, or is not ready in time
    """
    plan, files = read_plan(own), Files(own.directory)
    start_one(own, plan, "etcd")
    await_that(own, "etcd listens", lambda: listens(plan["ports"]["etcd"]))
    start_one(own, plan, "kube-apiserver")
    await_that(own, "the API server has its certificate", files.certificate.exists)
    await_that(own, "the API server listens", lambda: listens(plan["ports"]["kube-apiserver"]))
    write_kubeconfigs(own, plan)
    await_that(own, "the API server is ready", lambda: healthy(own))
    for name in plan["commands"]:
        if name not in daemons(own).names():
            start_one(own, plan, name)
    kubectl(own, "create", "--validate=false", "--filename=-", text=json.dumps(programs.nodes(settings)))
    for file in plan["crds"]:
        kubectl(own, "apply", "--server-side", f"--filename={file}")
        kubectl(own, "wait", "--for=condition=Established", "--timeout=30s", f"--filename={file}")
    await_controllers(own, settings)


def start_one(own: Bed, plan: dict, name: str) -> None:
    """Starts one of the plan's programs."""
    daemons(own).start(name, plan["commands"][name])


def write_kubeconfigs(own: Bed, plan: dict) -> None:
    """Writes everybody's access: the administrator's where callers look for it, the programs' among the secrets."""
    files = Files(own.directory)
    ca = programs.ca_certificate(files.certificate.read_text())
    files.ca.write_text(ca)
    tokens = [line.partition(",")[0] for line in files.tokens.read_text().splitlines()]
    for name, token in zip(programs.USERS, tokens, strict=True):
        content = programs.kubeconfig(context(own), plan["ports"]["kube-apiserver"], ca, token)
        path = own.kubeconfig if name == "admin" else files.kubeconfig(name)
        write_secret(path, json.dumps(content, indent=2) + "\n")


# -- health ------------------------------------------------------------------------------------------------------------


def listens(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOCALHOST, port)) == 0


def await_that(own: Bed, what: str, ready: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    """Returns when ``ready`` says so.

    :raises BedError: a program ended meanwhile, with its last words, or the time is over
    """
    running, deadline = daemons(own), time.monotonic() + seconds
    while not ready():
        for name in running.names():
            if running.pid(name) is None:
                raise BedError(f"{name} exited. Last lines of its log:\n{running.last_words(name)}")
        if time.monotonic() > deadline:
            raise BedError(f"timed out after {seconds:g} s: {what}. See {running.directory}")
        time.sleep(0.05)


def await_controllers(own: Bed, settings: Settings) -> None:
    """Returns when the nodes are Ready and namespaces get their service accounts."""
    await_that(own, "the API server is ready", lambda: healthy(own))
    await_that(own, "all nodes are Ready", lambda: ready_nodes(own) >= settings.nodes)
    account = ["get", "--raw", "/api/v1/namespaces/default/serviceaccounts/default"]
    await_that(own, "the controllers work", lambda: succeeds([*kubectl_command(own), *account]))


def healthy(own: Bed) -> bool:
    """Whether the API server says that it is ready, over verified TLS."""
    return own.kubeconfig.exists() and succeeds([*kubectl_command(own), "get", "--raw", "/readyz"])


def ready_nodes(own: Bed) -> int:
    """How many nodes are Ready."""
    conditions = "{range .items[*]}{range .status.conditions[?(@.type=='Ready')]}{.status}{' '}{end}{end}"
    return kubectl(own, "get", "nodes", f"--output=jsonpath={conditions}").split().count("True")


def kubectl_command(own: Bed) -> list[str | Path]:
    """kubectl as the bed's administrator."""
    return [bed.bin_directory() / "kubectl", "--kubeconfig", own.kubeconfig, "--request-timeout=10s"]


def kubectl(own: Bed, *arguments: str, text: str | None = None) -> str:
    """Runs kubectl as the bed's administrator and returns what it printed. :raises CommandFailed: it failed"""
    return run([*kubectl_command(own), *arguments], text=text)


# -- other kubeconfigs, and the end ------------------------------------------------------------------------------------


def export_kubeconfig(own: Bed, kubeconfig: Path) -> None:
    """Writes the bed's access into ``kubeconfig`` (mode 0600) as its present context; others in that file are kept."""
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    merge = [bed.bin_directory() / "kubectl", "config", "view", "--raw", "--flatten"]
    # The first file wins where both name something, and only the second may be missing.
    merged = run(merge, env={"KUBECONFIG": f"{own.kubeconfig}{os.pathsep}{kubeconfig}"})
    if not kubeconfig.exists() or kubeconfig.read_text() != merged:
        write_secret(kubeconfig, merged)


def forget_kubeconfig(own: Bed, kubeconfig: Path) -> None:
    """Takes the bed's access out of ``kubeconfig``; a file in which nothing is left is removed."""
    if not kubeconfig.exists():
        return
    config = [bed.bin_directory() / "kubectl", "--kubeconfig", kubeconfig, "config"]
    current = succeeds([*config, "current-context"]) and run([*config, "current-context"]).strip()
    for what in ("context", "cluster", "user"):
        succeeds([*config, f"delete-{what}", context(own)])
    if current == context(own):
        run([*config, "unset", "current-context"])
    if not run([*config, "get-clusters"]).split()[1:]:
        kubeconfig.unlink()


def remove(own: Bed) -> None:
    """Ends the bed's processes and removes its files, and its entries in every kubeconfig it was written into.

    :raises BedError: a process does not end
    """
    end(own)
    if (bed.bin_directory() / "kubectl").exists():
        for kubeconfig in (read_state(own) or {}).get("kubeconfigs", []):
            forget_kubeconfig(own, Path(kubeconfig))
    shutil.rmtree(own.directory, ignore_errors=True)


def describe(own: Bed) -> str:
    """What the bed is, in a few words."""
    plan = read_plan(own)
    made = "" if read_state(own) else ", half-made"
    return f"{Settings.from_data(plan['settings'])}{made}" if plan else "half-made"


def processes(own: Bed) -> Sequence[tuple[str, int | None]]:
    """Each program of the plan, with its process number while it runs."""
    running = daemons(own)
    return [(name, running.pid(name)) for name in (read_plan(own) or {}).get("commands", {})]
