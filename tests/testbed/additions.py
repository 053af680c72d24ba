# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""What only some scenarios want of a kind cluster, added to one that is up: load balancer, Istio CNI's image, air gap.

None of it is in the node image, so that nobody waits for it who does not ask for it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testbed import artifacts, bed, cluster, gobuild, istiocharts, istioimages, nodeimage, rootfs, versions
from testbed.archive import Image, Layer, write_archive
from testbed.bed import Bed
from testbed.cache import Cache
from testbed.engine import NETWORK
from testbed.errors import BedError
from testbed.phases import Phases
from testbed.process import run

POOL_SIZE = 8  # addresses: more Services of type LoadBalancer than any test makes
METALLB_NAMESPACE = "metallb-system"
METALLB_IMAGE = re.compile(r"quay\.io/metallb/(controller|speaker):\S+")
METALLB_PROBE = re.compile(r"(readinessProbe:\n(?: +\S.*\n)*? +initialDelaySeconds:) 10(\n +periodSeconds:) 10\n")
# Every registry is one at which nobody listens: a pull fails at once, however the machine's network is.
NO_REGISTRY = 'server = "http://127.0.0.1:1"\n'


@dataclass(frozen=True)
class Site:
    """Where something is added: a cluster that is up, and where its parts come from."""

    own: Bed
    cache: Cache
    source: str

    def kubectl(self, *arguments: str | Path, text: str | None = None) -> str:
        """Runs kubectl as the cluster's administrator and returns what it printed."""
        access = ["--kubeconfig", self.own.kubeconfig, "--context", self.own.context]
        return run([bed.bin_directory() / "kubectl", *access, *arguments], text=text)


def add(site: Site, names: list[str]) -> None:
    """Adds what is not there yet, and notes it in the cluster's state."""
    state = cluster.read_state(site.own)
    for name in names:
        if name not in state.get("additions", []):
            ADDITIONS[name](site)
            state["additions"] = sorted({*state.get("additions", []), name})
            site.own.state.write_text(json.dumps(state, indent=2))


# -- a load balancer ---------------------------------------------------------------------------------------------------


def load_balancer(site: Site) -> None:
    """MetalLB, which gives Services of type LoadBalancer addresses of docker's network, and answers for them."""
    phases = Phases(3 if site.source == "build" else 1)
    if site.source == "build":
        programs = artifacts.build("metallb", site.cache, phases)
        with phases.phase("images of MetalLB into the node", "~3 s") as phase:
            phase.start()
            cluster.load_images(site.own, [metallb_images(site.cache, programs)])
    with phases.phase(f"MetalLB {versions.METALLB}", "~10 s") as phase:
        phase.start()
        module = gobuild.module_directory(site.cache.root, *metallb_module())
        manifest = (module / "config/manifests/metallb-native.yaml").read_text()
        site.kubectl("apply", "--server-side", "--filename=-", text=metallb_manifest(manifest, site.source))
        for workload in ("deployment/controller", "daemonset/speaker"):
            site.kubectl("rollout", "status", workload, "--namespace", METALLB_NAMESPACE, "--timeout=120s")
        subnets = json.loads(run(["docker", "network", "inspect", "--format", "{{json .IPAM.Config}}", NETWORK]))
        addresses = pool([config["Subnet"] for config in subnets], site.own.cluster)
        apply_patiently(site, json.dumps(metallb_configuration(addresses)))
        phase.note = addresses


def metallb_module() -> tuple[str, str]:
    """The module that MetalLB is, and its version."""
    build = versions.BUILDS["metallb"]
    return build.module, build.version


def metallb_images(cache: Cache, programs: Path) -> Path:
    """The docker-archive with MetalLB's images, each a program and nothing else."""
    inputs = {
        "build": gobuild.inputs(versions.BUILDS["metallb"]),
        "code": [Path(__file__), Path(nodeimage.__file__), Path(__file__).with_name("archive.py")],
    }

    def make(target: Path) -> None:
        names = ("controller", "speaker")
        images = [nodeimage.single(metallb_image(name), f"/{name}", programs / name) for name in names]
        write_archive(target / istioimages.ARCHIVE, images)

    return cache.get("metallb-images", inputs, make) / istioimages.ARCHIVE


def metallb_image(program: str) -> str:
    """What our image of one of MetalLB's programs is called."""
    return f"{versions.IMAGE_HUB}/metallb-{program}:{versions.METALLB}"


def metallb_manifest(text: str, source: str) -> str:
    """MetalLB's own manifest, with our images where they are built, and asked every second whether it is ready.

    It asks only after ten seconds, and nothing can be configured before its webhook answers.

    :raises BedError: the manifest is not as expected
    """
    text, probes = METALLB_PROBE.subn(r"\1 1\2 1\n", text)
    images = len(METALLB_IMAGE.findall(text))
    if (probes, images) != (2, 2):
        raise BedError(f"the manifest of MetalLB {versions.METALLB} is not as expected")
    return METALLB_IMAGE.sub(lambda found: metallb_image(found[1]), text) if source == "build" else text


def pool(subnets: list[str], cluster_name: str) -> str:
    """Addresses for Services, as "FIRST-LAST": some of the upper half of the first IPv4 network.

    docker hands out the lower ones first. Which of the upper ones follows from the cluster's name, so that clusters
    beside each other do not answer for the same address.

    :raises BedError: no network has room
    """
    for subnet in subnets:
        network = ipaddress.ip_network(subnet)
        slots = network.num_addresses // 2 // POOL_SIZE
        if network.version == 4 and slots > 1:
            # The last slot is left out: it holds the network's broadcast address.
            slot = int(hashlib.sha256(cluster_name.encode()).hexdigest(), 16) % (slots - 1)
            first = network[network.num_addresses // 2 + slot * POOL_SIZE]
            return f"{first}-{first + POOL_SIZE - 1}"
    raise BedError(f"docker's network {NETWORK} has no room for a load balancer's addresses: {', '.join(subnets)}")


def metallb_configuration(addresses: str) -> dict:
    """Which addresses there are, and that they are announced in the network itself (layer 2)."""
    metadata = {"name": "testbed", "namespace": METALLB_NAMESPACE}
    items = [
        {"kind": "IPAddressPool", "spec": {"addresses": [addresses]}},
        {"kind": "L2Advertisement", "spec": {"ipAddressPools": [metadata["name"]]}},
    ]
    items = [{"apiVersion": "metallb.io/v1beta1", "metadata": metadata, **item} for item in items]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def apply_patiently(site: Site, text: str, seconds: float = 60) -> None:
    """Applies objects; a webhook that is not there yet refuses them (failurePolicy Fail), and is asked again.

    :raises BedError: not within ``seconds``
    """
    deadline = time.monotonic() + seconds
    while not accepted(site, text, last=time.monotonic() > deadline):
        time.sleep(0.5)


def accepted(site: Site, text: str, last: bool) -> bool:
    """Applies objects, and says whether they were taken. :raises BedError: they were not, at the ``last`` try"""
    try:
        site.kubectl("apply", "--server-side", "--filename=-", text=text)
    except BedError:
        if last:
            raise
        return False
    return True


# -- Istio CNI ---------------------------------------------------------------------------------------------------------


def istio_cni(site: Site) -> None:
    """The image of Istio CNI, under the hub and tag of the others; a registry's bed pulls its own."""
    if site.source != "build":
        return
    phases = Phases(2)
    programs = artifacts.build("istio-cni", site.cache, phases)
    root = rootfs.node_file_system(site.cache)
    with phases.phase("image of Istio CNI into the node", "~5 s") as phase:
        phase.start()
        cluster.load_images(site.own, [istio_cni_image(site.cache, programs, root)])


def istio_cni_image(cache: Cache, programs: Path, root: Path) -> Path:
    """The docker-archive with the image, whose lowest layer is that of the other images of Istio.

    :param programs: directory of the built programs
    :param root: the node's file system, from which the base layer is picked
    """
    inputs = {
        "images": istioimages.inputs(),
        "build": gobuild.inputs(versions.BUILDS["istio-cni"]),
        "code": Path(__file__),
    }

    def make(target: Path) -> None:
        layer = Layer()
        layer.add_program("/opt/cni/bin/istio-cni", programs / "istio-cni")
        layer.add_program("/usr/local/bin/install-cni", programs / "install-cni")
        config = {"Cmd": ["/usr/local/bin/install-cni"], "WorkingDir": "/opt/cni/bin"}
        name = f"{versions.IMAGE_HUB}/install-cni:{versions.ISTIO}"
        write_archive(target / istioimages.ARCHIVE, [Image(name, (istioimages.base_layer(root), layer), config)])

    return cache.get("istio-cni-image", inputs, make) / istioimages.ARCHIVE


# -- an air gap --------------------------------------------------------------------------------------------------------


def air_gap(site: Site) -> None:
    """All images are in the node, and none can be pulled any more; the charts are packaged files on disk."""
    phases = Phases(2)
    with phases.phase("images of Istio and the application", "~1 min with a registry") as phase:
        phase.note = "in the node"
        if site.source == "registry":
            phase.start()
            phase.note = ""
            pull_into_node(site, versions.RELEASED_IMAGES)
    with phases.phase("air gap"):
        directory = "/etc/containerd/certs.d/_default"
        write = f"mkdir -p {directory} && cat > {directory}/hosts.toml"
        run(["docker", "exec", "--interactive", site.own.node, "sh", "-c", write], text=NO_REGISTRY)


def pull_into_node(site: Site, images: tuple[str, ...]) -> None:
    """Fetches images from their registries and puts them into the node."""
    for image in images:
        run(["docker", "pull", "--quiet", image])
    file = site.own.directory / "images.tar"
    try:
        run(["docker", "save", "--output", file, *images])
        cluster.load_images(site.own, [file])
    finally:
        file.unlink(missing_ok=True)


def air_gap_variables(cache: Cache, charts: Path) -> dict:
    """Where an air-gapped run finds its charts."""
    return {"istio_helm_chart_repository": str(istiocharts.packages(cache, charts))}


ADDITIONS: dict[str, Callable[[Site], None]] = {
    "load-balancer": load_balancer,
    "istio-cni": istio_cni,
    "air-gap": air_gap,
}
