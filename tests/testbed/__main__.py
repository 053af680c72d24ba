#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""The test bed's command line: python3 tests/testbed COMMAND. Needs Python >= 3.10 and nothing else."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent)] + [p for p in sys.path if Path(p or ".").resolve() != HERE]

from testbed import (  # noqa: E402
    additions,
    artifacts,
    bed,
    cluster,
    controlplane,
    engine,
    inventory,
    istioimages,
    nodeimage,
    process,
    programs,
    registry,
    versions,
)
from testbed import cache as caches  # noqa: E402
from testbed.audit import AuditLog  # noqa: E402
from testbed.bed import Bed  # noqa: E402
from testbed.errors import BedError  # noqa: E402
from testbed.phases import Phases  # noqa: E402


def up(args: argparse.Namespace) -> None:
    """Makes the cluster, or finds it up, and writes what callers need."""
    began = time.monotonic()
    own = Bed(args.name)
    kubeconfig = Path(args.kubeconfig or own.kubeconfig).absolute()
    vars_file = Path(args.vars or own.vars_file).absolute()
    settings = control_plane_settings(args)
    added = kind_additions(args)
    bed.prepare()
    with caches.lock(own.lock):
        own.directory.mkdir(exist_ok=True)
        if settings:
            note, variables = control_plane_up(own, settings, kubeconfig)
        else:
            note, variables = kind_up(own, added, kubeconfig)
        if args.helm3:
            helm = artifacts.collect_tools(caches.Cache(), Phases(1), "build", ("helm3",)) / "helm3"
            variables["istio_helm_helm_binary"] = str(helm)
        if args.registry or registry.find(own):
            charts = Path(cluster.read_state(own)["charts"])
            variables["testbed_registry"] = registry.up(own, caches.Cache(), charts, node=not settings).variables()
        inventory.write(vars_file, variables, own.cluster)
    tell(f"cluster {own.cluster} is up after {time.monotonic() - began:.1f} s; {note}")
    tell(f"variables for Ansible: {vars_file}")
    print(f"export KUBECONFIG={kubeconfig} PATH={bed.bin_directory()}:$PATH")


def control_plane_settings(args: argparse.Namespace) -> programs.Settings | None:
    """What a control plane alone is to be; None if a kind cluster is asked for.

    :raises BedError: it cannot be, or is asked of a kind cluster
    """
    asked = {"nodes": args.nodes, "psp": args.psp or None, "pod_security": args.pod_security}
    asked |= {"crds": tuple(args.crd) or None, "load_balancer_hostname": args.load_balancer_hostname or None}
    asked = {name: value for name, value in asked.items() if value is not None}
    if args.control_plane:
        return programs.Settings(args.control_plane, **asked)
    if asked:
        raise BedError("--nodes, --psp, --pod-security, --crd and --load-balancer-hostname require --control-plane")
    return None


def kind_additions(args: argparse.Namespace) -> list[str]:
    """What is to be added to a kind cluster.

    :raises BedError: it is asked of a control plane alone
    """
    asked = [name for name in additions.ADDITIONS if getattr(args, name.replace("-", "_"))]
    if asked and args.control_plane:
        raise BedError(f"{' and '.join(f'--{name}' for name in asked)}: only supported on a kind cluster")
    return asked


def control_plane_up(own: Bed, settings: programs.Settings, kubeconfig: Path) -> tuple[str, dict]:
    """Makes a control plane alone, or finds it up; returns what it is, and the variables of a run against it."""
    if (own.directory / "kind.json").exists():
        raise BedError(f"{own.name} is a kind cluster. Run `down --name {own.name}`, or choose another name")
    state = controlplane.up(own, settings, caches.Cache(), tell)
    if kubeconfig != own.kubeconfig:
        controlplane.export_kubeconfig(own, kubeconfig)
        remember(own, state, kubeconfig)
    variables = inventory.control_plane_vars(
        kubeconfig,
        controlplane.context(own),
        bed.bin_directory(),
        Path(state["charts"]),
        versions.istio_for(settings.version),
    )
    return f"it is {settings}", variables


def kind_up(own: Bed, added: list[str], kubeconfig: Path) -> tuple[str, dict]:
    """Makes a kind cluster, or finds it up; returns where its node is, and the variables of a run against it."""
    if controlplane.is_one(own):
        raise BedError(f"{own.name} is a control plane alone. Run `down --name {own.name}`, or choose another name")
    state = revive(own) or make(own)
    additions.add(additions.Site(own, caches.Cache(), state["source"]), added)
    state = cluster.read_state(own)
    if kubeconfig != own.kubeconfig:
        cluster.export_kubeconfig(own, bed.bin_directory() / "kind", kubeconfig)
        remember(own, state, kubeconfig)
    charts = Path(state["charts"])
    variables = inventory.ansible_vars(state["source"], kubeconfig, own.context, bed.bin_directory(), charts)
    if "air-gap" in state.get("additions", []):
        variables |= additions.air_gap_variables(caches.Cache(), charts)
    if state["source"] == "build" and state["node_image"] != nodeimage.name():
        tell("note: an older test bed created this cluster. To renew it, run `down` and `up`")
    return f"its node is {cluster.node_address(own)}", variables


def remember(own: Bed, state: dict, kubeconfig: Path) -> None:
    """Notes that access was written into ``kubeconfig``, for `down` to take it out again."""
    state["kubeconfigs"] = sorted({*state["kubeconfigs"], str(kubeconfig)})
    own.state.write_text(json.dumps(state, indent=2))


def revive(own: Bed) -> dict | None:
    """The state of a cluster that is whole and answers, after mending what can be mended; else None."""
    state = cluster.read_state(own)
    if not state or not artifacts.tools_present() or not Path(state["charts"]).exists() or not engine.info():
        return None
    container = cluster.container_state(own)
    if container and container != "running":
        tell(f"the node is {container}: starting it again")
        process.succeeds(["docker", "start", own.node], timeout=30)
    kubectl, kind = bed.bin_directory() / "kubectl", bed.bin_directory() / "kind"
    return state if container and cluster.reachable(own, kind, kubectl) else None


def make(own: Bed) -> dict:
    """Makes the cluster from nothing, or from whatever an interrupted run left."""
    cache = caches.Cache()
    phases = Phases(1)
    with phases.phase("container engine", "~5 s, ~30 s if docker must be installed") as phase:
        phase.note = engine.ensure(cache, phase.start)
    source = engine.source()
    tell(f"source: {source} (TESTBED_SOURCE=registry|build overrides)")
    if source == "build":
        engine.install_programs(versions.BUILD_PROGRAMS)  # a docker that answers says nothing of the other programs
    phases.total = 1 + artifacts.phase_count(source) + 2
    parts = artifacts.collect(cache, phases, source)
    kubectl, kind = bed.bin_directory() / "kubectl", bed.bin_directory() / "kind"
    if cluster.container_state(own):
        tell("removing the leftovers of an interrupted run")
        cluster.delete(own, kind)
    if source == "build":
        engine.ensure_network()
    with phases.phase(f"cluster {own.cluster}", "~20 s") as phase:
        phase.start()
        cluster.create(own, kind, parts.node_image, own_network=source == "build")
    with phases.phase("cluster DNS", "~5 s") as phase:
        phase.start()
        cluster.settle_dns(own, kubectl)
    state = {"source": source, "node_image": parts.node_image, "charts": str(parts.charts), "kubeconfigs": []}
    own.state.write_text(json.dumps(state, indent=2))
    return state


def down(args: argparse.Namespace) -> None:
    """Deletes a cluster, or all clusters of this checkout and their dependencies."""
    own = Bed(args.name)
    alone = controlplane.beds() if args.all else [own] if controlplane.is_one(own) else []
    for each in alone:
        with caches.lock(each.lock):
            controlplane.remove(each)
        tell(f"cluster {each.cluster}: removed")
    if args.all or not alone:
        kind_down(None if args.all else args.name)
    if args.all:
        shutil.rmtree(bed.root(), ignore_errors=True)


def kind_down(name: str | None) -> None:
    """Removes a kind cluster; without a name all of this checkout's, docker's network and our dockerd."""
    cache = caches.Cache()
    names = {name} if name else {path.parent.name for path in bed.root().glob("*/kind.json")}
    if not engine.info() and any(Bed(name).directory.joinpath("kind.json").exists() for name in names):
        engine.ensure(cache)  # it went away, and took the containers with it; they come back only to be removed
    alive = engine.info() is not None
    if not name and alive:
        names |= {found.removesuffix(ending()) for found in cluster.clusters() if found.endswith(ending())}
    for each in sorted(names):
        remove(Bed(each), alive)
    if not name and alive:
        tell(engine.remove_network_if_unused())
        tell(engine.stop_if_ours(cache))


def ending() -> str:
    """What the names of this checkout's clusters end in."""
    return f"-{bed.suffix(bed.CHECKOUT)}"


def remove(own: Bed, alive: bool) -> None:
    """Removes one cluster, its files, and its entries in every kubeconfig it was written into."""
    if alive and cluster.container_state(own):
        kind = bed.bin_directory() / "kind"
        if not kind.exists():
            artifacts.collect_tools(caches.Cache(), Phases(1), "build", ("kind",))
        kubeconfigs = (cluster.read_state(own) or {}).get("kubeconfigs", [])
        cluster.delete(own, kind, [Path(path) for path in kubeconfigs if Path(path).exists()])
        tell(f"cluster {own.cluster}: removed")
    else:
        tell(f"cluster {own.cluster}: not found")
    registry.daemons(own).stop()
    shutil.rmtree(own.directory, ignore_errors=True)


def status(_args: argparse.Namespace) -> None:
    """Shows the clusters, the cache and the container engine."""
    cache = caches.Cache()
    print(f"cache      {cache.root} ({megabytes(cache.root)} MiB)")
    for entry in cache.entries():
        print(f"           {entry.name} ({megabytes(entry)} MiB)")
    for own in controlplane.beds():
        print(f"cluster    {own.name}: {controlplane.describe(own)}, {own.kubeconfig}")
        for name, pid in controlplane.processes(own):
            print(f"           {name}: {f'process {pid}' if pid else 'ended'}")
        registry_status(own)
    engine_status(cache)


def registry_status(own: Bed) -> None:
    """Says where the registry of a bed is, if it has one."""
    place = registry.find(own)
    if place:
        pid = registry.daemons(own).pid(registry.NAME)
        print(f"           {registry.NAME}: {f'process {pid}' if pid else 'ended'}, {place.address}")


def engine_status(cache: caches.Cache) -> None:
    """Says what docker holds."""
    machine = engine.info()
    if not machine:
        print("engine     Docker is not running")
        return
    owner = "started by us" if engine.ours(cache) else "not ours"
    print(f"engine     docker {machine.get('ServerVersion')}, cgroup v{machine.get('CgroupVersion')}, {owner}")
    for image in engine.our_images():
        print(f"image      {image}")
    for name in cluster.clusters():
        if name.endswith(ending()):
            own = Bed(name.removesuffix(ending()))
            state = cluster.read_state(own)
            made = f"source {state['source']}" if state else "half-made"
            print(f"cluster    {own.name}: {cluster.container_state(own)}, {made}, {own.kubeconfig}")
            registry_status(own)


def megabytes(path: Path) -> int:
    """Size on disk in MiB."""
    return int(process.run(["du", "-sm", path]).split()[0]) if path.exists() else 0


def load_images(args: argparse.Namespace) -> None:
    """Loads images into the node."""
    own = Bed(args.name)
    if not engine.info() or cluster.container_state(own) != "running":
        raise BedError(f"cluster {own.name} is not up")
    own_images = caches.Cache().path("images", istioimages.inputs()) / istioimages.ARCHIVE
    files = [Path(file) for file in args.images] or [own_images]
    for file in files:
        if not file.exists():
            raise BedError(f"no such archive: {file}")
    for image, outcome in cluster.load_images(own, files).items():
        print(f"{image}: {outcome}")


def writes(args: argparse.Namespace) -> None:
    """Prints each write by clients since the last call, from the API server's audit log."""
    own = Bed(args.name)
    if not own.audit_log.exists():
        raise BedError(f"cluster {own.name} is not up")
    for request in AuditLog(own.audit_log).writes_since_last_time(own.directory / "writes.json"):
        print(f"{request.verb} {request.uri} ({request.user_agent})")


def tools(args: argparse.Namespace) -> None:
    """Builds or finds helm, istioctl and kubectl, or the named tools, and prints their directory."""
    source = "registry" if engine.info() and engine.source() == "registry" else "build"
    names = tuple(args.names) or ("helm", "istioctl", "kubectl")
    if unknown := set(names) - set(artifacts.TOOLS) - {"helm3"}:
        raise BedError(
            f"unknown tool: {', '.join(sorted(unknown))}. Choose from {', '.join(artifacts.TOOLS)} and helm3"
        )
    print(artifacts.collect_tools(caches.Cache(), Phases(len(names)), source, names))


def build_programs(args: argparse.Namespace) -> None:
    """Builds the programs of control planes without starting one."""
    kubernetes = [programs.Settings(version).version for version in args.kubernetes] or [versions.KUBERNETES]
    builds = controlplane.builds(kubernetes)
    phases = Phases(len(builds) + len(controlplane.TOOLS))
    for name in builds:
        artifacts.build(name, caches.Cache(), phases)
    artifacts.collect_tools(caches.Cache(), phases, "build", controlplane.TOOLS)


def clean_cache(_args: argparse.Namespace) -> None:
    """Deletes everything that was built and downloaded."""
    cache = caches.Cache()
    if engine.ours(cache) or engine.info():
        for image in engine.our_images():
            if process.run(["docker", "ps", "--all", "--quiet", "--filter", f"ancestor={image}"]).strip():
                raise BedError(f"a cluster uses {image}. Run `down` in every checkout that has one")
        for image in engine.our_images():
            process.run(["docker", "rmi", image])
        tell(engine.stop_if_ours(cache))  # what it starts containers with is in the cache
        if engine.ours(cache):
            raise BedError(
                "dockerd, which the test bed started, runs other containers and needs the cache. Stop them first"
            )
    caches.remove_tree(cache.root)
    tell(f"{cache.root}: removed")


def tell(text: str) -> None:
    """For people; standard output is for what scripts read."""
    print(text, file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="testbed", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(function) -> argparse.ArgumentParser:
        name, text = function.__name__.replace("_", "-"), function.__doc__.splitlines()[0]
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(function=function)
        return added

    for function in (up, down, load_images, writes):
        command(function).add_argument(
            "--name", default=bed.DEFAULT_NAME, help="name of the cluster (default: %(default)s)"
        )
    by_name = commands.choices
    by_name["up"].add_argument(
        "--kubeconfig", metavar="FILE", help="file to write the kubeconfig to (default: in build/testbed)"
    )
    by_name["up"].add_argument(
        "--vars", metavar="FILE", help="file to write variables for Ansible to (default: in build/testbed)"
    )
    by_name["up"].add_argument(
        "--registry", action="store_true", help="start a registry for images, and charts over OCI and HTTP"
    )
    by_name["up"].add_argument(
        "--helm3", action="store_true", help="use Helm 3 (helm3) instead of Helm 4 in the variables"
    )
    on_kind = by_name["up"].add_argument_group("additions to a kind cluster")
    for name, function in additions.ADDITIONS.items():
        on_kind.add_argument(f"--{name}", action="store_true", help=function.__doc__.splitlines()[0])
    alone = by_name["up"].add_argument_group("a control plane alone, with nodes of kwok, instead of kind")
    alone.add_argument(
        "--control-plane",
        nargs="?",
        const=versions.KUBERNETES,
        metavar="VERSION",
        help=f"Kubernetes {', '.join(versions.control_plane_versions())} (default: %(const)s)",
    )
    alone.add_argument("--nodes", type=int, metavar="N", help="number of nodes (default: 1)")
    alone.add_argument(
        "--psp", action="store_true", help=f"PodSecurityPolicy admission; {versions.PSP_KUBERNETES} only"
    )
    alone.add_argument(
        "--pod-security", choices=programs.POD_SECURITY_LEVELS, help="Pod Security level of namespaces without labels"
    )
    alone.add_argument(
        "--crd",
        action="append",
        default=[],
        metavar="CRD",
        help=f"CRD to apply: a file, or {' or '.join(versions.CRDS)} (OpenShift's). May be repeated",
    )
    alone.add_argument(
        "--load-balancer-hostname",
        action="store_true",
        help="give Services of type LoadBalancer a host name, like AWS",
    )
    by_name["down"].add_argument(
        "--all",
        action="store_true",
        help="all clusters of this checkout, their network, and the dockerd of the test bed",
    )
    by_name["load-images"].add_argument(
        "images", nargs="*", metavar="IMAGE.tar", help="docker-archives (default: those of the bed)"
    )
    for function in (status, tools, build_programs, clean_cache):
        command(function)
    by_name["tools"].add_argument("names", nargs="*", metavar="TOOL", help="default: helm istioctl kubectl")
    by_name["build-programs"].add_argument(
        "kubernetes", nargs="*", metavar="VERSION", help=f"default: {versions.KUBERNETES}"
    )
    return top


def interrupted(_number, _frame) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Runs one command; 0 if it did what was asked, 3 if containers cannot run here, 130 if it was interrupted."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    args = parser().parse_args()
    try:
        args.function(args)
    except BedError as e:
        process.stop_all()
        tell(f"testbed: {e}")
        return e.exit_code
    except KeyboardInterrupt:
        process.stop_all()
        tell("testbed: interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
