# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Brings together all that a bed needs, from the cache, the registry or by building; slow things side by side."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed import bed, engine, gobuild, istiocharts, istioimages, nodeimage, rootfs, versions
from testbed.cache import Cache
from testbed.phases import Phases
from testbed.process import stop_all, succeeds

TOOLS = ("helm", "istioctl", "kubectl", "kind")
# The rest, in the order in which they are built: what fails soonest first, what takes longest last.
NODE_BUILDS = ("crictl", "pause", "etcd", "containerd", "coredns", "istio", "kubernetes", "agnhost")


@dataclass(frozen=True)
class Artifacts:
    """What a cluster is made of.

    :param node_image: the name by which the engine knows it
    :param images: the docker-archive of Istio's images and the application; None where a registry has them
    """

    source: str
    node_image: str
    charts: Path
    images: Path | None = None


def phase_count(source: str) -> int:
    """How many phases collecting takes, so that they can be numbered."""
    return len(TOOLS) + 1 + (len(NODE_BUILDS) + 5 if source == "build" else 0)


def build(name: str, cache: Cache, phases: Phases) -> Path:
    """One Go build as a phase."""
    item = versions.BUILDS[name]
    with phases.phase(f"{name} {item.release or item.version}".rstrip(), item.expected) as phase:
        return gobuild.build_programs(item, cache, phase.start)


def link_tools(programs: dict[str, Path]) -> Path:
    """Links the tools into the checkout's bin directory and returns that."""
    bed.prepare()
    directory = bed.bin_directory()
    directory.mkdir(exist_ok=True)
    for name, program in programs.items():
        pending = directory / f".{name}.{os.getpid()}"
        pending.symlink_to(program)
        pending.rename(directory / name)
    return directory


def collect_tools(cache: Cache, phases: Phases, source: str, names: tuple[str, ...] = TOOLS) -> Path:
    """The bin directory with the tools in it: built, or from PATH where the source is a registry."""
    programs = {}
    for name in names:
        found = shutil.which(name) if source == "registry" else None
        if found:
            with phases.phase(name) as phase:
                phase.note = f"{found}, from PATH"
            programs[name] = Path(found)
        else:
            programs[name] = build(name, cache, phases) / name
    return link_tools(programs)


def tools_present() -> bool:
    """Whether the bin directory holds all tools, and they are still there."""
    return all((bed.bin_directory() / name).exists() for name in TOOLS)


def charts(cache: Cache, phases: Phases, version: str = versions.ISTIO) -> Path:
    """The charts of an Istio, as a phase."""
    with phases.phase(f"charts of Istio {version}") as phase:
        return istiocharts.charts(cache, phase.start, version)


def collect(cache: Cache, phases: Phases, source: str) -> Artifacts:
    """Everything for a cluster."""
    if source == "registry":
        collect_tools(cache, phases, source)
        return Artifacts(source, versions.KIND_NODE_IMAGE, charts(cache, phases))
    return build_everything(cache, phases)


def build_everything(cache: Cache, phases: Phases) -> Artifacts:
    """The build branch: Go programs one after another, as each fills every core; downloads beside them."""
    with ThreadPoolExecutor(max_workers=1) as beside, stopping_all_on_error():
        root = beside.submit(make_root, cache, phases)
        envoy = beside.submit(fetch_envoy, cache, phases)
        bins = {}
        for name in (*NODE_BUILDS, *TOOLS):
            bins[name] = build(name, cache, phases)
            raise_early(root, envoy)
        link_tools({name: bins[name] / name for name in TOOLS})
        chart_directory = charts(cache, phases)
        root_directory, envoy_program = root.result(), envoy.result()
    with phases.phase("images of Istio and the application", "~5 s") as phase:
        images = istioimages.archive(cache, bins["istio"], bins["agnhost"], envoy_program, root_directory, phase.start)
    with phases.phase("node image", "~25 s") as phase:
        archive = nodeimage.archive(cache, bins, root_directory, images, phase.start)
    with phases.phase("node image into docker", "~25 s") as phase:
        phase.note = "present"
        if not succeeds(["docker", "image", "inspect", nodeimage.name()]):
            phase.start()
            phase.note = ""
            engine.load(archive, nodeimage.name())
    return Artifacts("build", nodeimage.name(), chart_directory, images)


@contextmanager
def stopping_all_on_error() -> Iterator[None]:
    """Ends all children if the block is left by an exception, so that no thread beside it is waited for in vain."""
    try:
        yield
    except BaseException:
        stop_all()
        raise


def raise_early(*futures: Future) -> None:
    """Raises what went wrong beside us now, instead of after twenty minutes of building."""
    for future in futures:
        if future.done():
            future.result()


def make_root(cache: Cache, phases: Phases) -> Path:
    with phases.phase("Debian file system", "~1 min cold") as phase:
        return rootfs.node_file_system(cache, phase.start)


def fetch_envoy(cache: Cache, phases: Phases) -> Path:
    with phases.phase(f"Envoy {versions.ENVOY.version}", "~5 s") as phase:
        return istioimages.envoy_program(cache, phase.start)
