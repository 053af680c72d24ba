# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""The kind node image: Debian, Kubernetes, containerd, and every container image the cluster will run.

What kind's Dockerfiles do, done as layers of a docker-archive. The images lie unpacked in the node's containerd store,
so that no start of a cluster imports anything.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed import gobuild, istioimages, rootfs, versions
from testbed.archive import Image, Layer, write_archive
from testbed.cache import Cache, content_key
from testbed.errors import BedError
from testbed.process import end, environment, run, succeeds

FILES = Path(__file__).parent / "node"
ARCHIVE = "node.tar"
REGISTRY = "registry.k8s.io"
POD_SUBNET = "10.244.0.0/16"
CNI_PLUGINS = ("ptp", "bridge", "host-local", "loopback", "portmap")
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
ENABLED_UNITS = ("kubelet.service", "containerd.service", "undo-mount-hacks.service")

# Pinned: the kubelet's garbage collection leaves it alone, as nothing could pull it again. Layers are kept unpacked
# only, as the kubelet needs them: half the size, and the first pod does not wait for it. (That takes --local.)
IMPORT_FLAGS = ("--local", "--discard-unpacked-layers", "--label=io.cri-containerd.pinned=pinned")

# kindnet, kind's own network, is not to be had. One node needs no routes between nodes: point-to-point links and
# addresses from the first /24, which is what the controller manager hands to the first node.
CNI_CONFIG = {
    "cniVersion": "0.4.0",
    "name": "testbed",
    "plugins": [
        {
            "type": "ptp",
            "ipMasq": True,
            "mtu": 1500,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni-ipam-state",
                "ranges": [[{"subnet": "10.244.0.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}

# The containerd that fills the store needs no Kubernetes plugins and must not touch the machine's own.
STORE_CONFIG = """\
version = 3
root = "{root}"
state = "{work}/state"
disabled_plugins = [
  "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri",
  "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt",
]
[grpc]
  address = "{work}/socket"
"""


def inputs() -> dict:
    """What the node image depends on."""
    builds = ("kubernetes", "kubectl", "etcd", "containerd", "coredns", "crictl", "pause")
    return {
        "builds": [gobuild.inputs(versions.BUILDS[name]) for name in builds],
        "kind": versions.KIND,
        "images": istioimages.inputs(),
        "files": FILES,
        "code": Path(__file__),
    }


def name() -> str:
    """The image's name; its tag carries the key, so that a changed bed never meets an old image."""
    return f"{versions.IMAGE_HUB}/kind-node:{versions.KUBERNETES}-{content_key(inputs())}"


def component_images(kubeadm: Path) -> dict[str, str]:
    """Which images kubeadm of this version wants: "etcd" -> "registry.k8s.io/etcd:3.6.5-0" and so on."""
    listed = run([kubeadm, "config", "images", "list", "--kubernetes-version", versions.KUBERNETES])
    return {re.sub(r".*/|:.*", "", image): image for image in listed.split()}


def archive(cache: Cache, bins: dict[str, Path], root: Path, images: Path, starting=lambda: None) -> Path:
    """The docker-archive with the node image, made once.

    :param bins: name of a build -> directory of its programs
    :param root: the node's file system
    :param images: the docker-archive of Istio's images and the application
    """

    def make(target: Path) -> None:
        wanted = component_images(bins["kubernetes"] / "kubeadm")
        components = target / "components.tar"
        write_archive(components, component_archive(bins, root, wanted))
        store = target / "store"
        with containerd(bins["containerd"], store) as ctr:
            for file in (components, images):
                run([*ctr, "images", "import", *IMPORT_FLAGS, file])
        image = Image(
            name(),
            (system_layer(root), kubernetes_layer(cache, bins, root, wanted["pause"]), store_layer(store)),
            {
                "Env": ["container=docker"],
                "Entrypoint": ["/usr/local/bin/entrypoint", "/sbin/init"],
                "StopSignal": "SIGRTMIN+3",  # to systemd: "halt"; SIGTERM would mean "re-execute yourself"
            },
        )
        write_archive(target / ARCHIVE, [image])
        components.unlink()
        shutil.rmtree(store)

    return cache.get("node", inputs(), make, starting) / ARCHIVE


def component_archive(bins: dict[str, Path], root: Path, wanted: dict[str, str]) -> list[Image]:
    """Kubernetes' own images, each a program or little more."""
    images = [single(wanted[name], f"/usr/local/bin/{name}", bins["kubernetes"] / name) for name in CONTROL_PLANE]
    images.append(single(wanted["etcd"], "/usr/local/bin/etcd", bins["etcd"] / "etcd"))
    images.append(single(wanted["coredns"], "/coredns", bins["coredns"] / "coredns"))
    images.append(single(wanted["pause"], "/pause", bins["pause"] / "pause"))
    proxy = Layer()
    rootfs.pick_packet_filters(proxy, root)
    proxy.add_program("/usr/local/bin/kube-proxy", bins["kubernetes"] / "kube-proxy")
    proxy.add_directory("/tmp", 0o1777)  # noqa: S108 - a path in the image
    return [*images, Image(wanted["kube-proxy"], (proxy,))]


def single(image: str, path: str, program: Path) -> Image:
    """An image that holds one static program and /tmp."""
    layer = Layer()
    layer.add_program(path, program)
    layer.add_directory("/tmp", 0o1777)  # noqa: S108 - a path in the image
    return Image(image, (layer,), {"Entrypoint": [path]})


@contextmanager
def containerd(programs: Path, store: Path) -> Iterator[list[str]]:
    """A containerd of our own with its data in ``store``; yields the start of a ctr command line.

    :raises BedError: it does not come up within 10 seconds
    """
    with tempfile.TemporaryDirectory(prefix="meshops-containerd-") as name:
        work = Path(name)
        (work / "config.toml").write_text(STORE_CONFIG.format(root=store, work=work))
        env = environment()
        env["PATH"] = f"{programs}:{env['PATH']}"
        with (work / "log").open("wb") as log:
            daemon = subprocess.Popen(
                [programs / "containerd", "--config", work / "config.toml"],
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
            )
        ctr = [str(programs / "ctr"), "--address", f"{work}/socket", "--namespace", "k8s.io"]
        try:
            wait_for_containerd(ctr, work / "log")
            yield ctr
        finally:
            end(daemon)


def wait_for_containerd(ctr: list[str], log: Path, seconds: float = 10) -> None:
    """Returns when containerd answers.

    :raises BedError: not within ``seconds``
    """
    deadline = time.monotonic() + seconds
    while not succeeds([*ctr, "images", "list", "--quiet"]):
        if time.monotonic() > deadline:
            raise BedError(f"containerd does not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def system_layer(root: Path) -> Layer:
    """Debian as it is, without what the machine puts there and without the CNI plugins' Debian directory."""
    layer = Layer()
    layer.add_tree(root, keep=lambda path: not path.startswith(("/dev/", "/proc/", "/sys/", "/usr/lib/cni/")))
    return layer


def kubernetes_layer(cache: Cache, bins: dict[str, Path], root: Path, pause: str) -> Layer:
    """kind's files, Kubernetes' and containerd's programs, and our few changes to the configuration."""
    kind = gobuild.module_directory(cache.root, "sigs.k8s.io/kind", versions.KIND) / "images/base/files"
    layer = Layer()
    for file in sorted(p for p in kind.rglob("*") if p.is_file()):
        path = f"/{file.relative_to(kind)}"
        layer.add_file(path, file, 0o755 if path.startswith(("/usr/local/bin/", "/kind/bin/")) else 0o644)
    layer.add_file(
        "/etc/containerd/config.toml", containerd_config((kind / "etc/containerd/config.toml").read_text(), pause)
    )
    layer.add_file("/etc/containerd/cri-base.json", base_runtime_spec(bins["containerd"] / "ctr"))
    for program in ("kubeadm", "kubelet"):
        layer.add_program(f"/usr/bin/{program}", bins["kubernetes"] / program)
    layer.add_program("/usr/bin/kubectl", bins["kubectl"] / "kubectl")
    for program in ("containerd", "ctr", "containerd-shim-runc-v2"):
        layer.add_program(f"/usr/local/bin/{program}", bins["containerd"] / program)
    layer.add_program("/usr/local/bin/crictl", bins["crictl"] / "crictl")
    layer.add_link("/usr/local/sbin/runc", "/usr/sbin/runc")
    for plugin in CNI_PLUGINS:
        layer.add_program(f"/opt/cni/bin/{plugin}", root / "usr/lib/cni" / plugin)
    layer.add_file("/etc/cni/net.d/10-testbed.conflist", json.dumps(CNI_CONFIG, indent=2))
    for unit in ENABLED_UNITS:
        layer.add_link(f"/etc/systemd/system/multi-user.target.wants/{unit}", f"/etc/systemd/system/{unit}")
    layer.add_link("/etc/systemd/system/systemd-binfmt.service", "/dev/null")
    layer.add_file("/etc/systemd/journald.conf", "[Journal]\nReadKMsg=no\n")  # the kernel's log is the host's
    layer.add_program("/kind/bin/shield-sysctl.sh", FILES / "shield-sysctl.sh")
    layer.add_file("/etc/systemd/system/kubelet.service.d/12-shield-sysctl.conf", FILES / "shield-sysctl.conf")
    for manifest in ("default-cni.yaml", "default-storage.yaml"):
        layer.add_file(f"/kind/manifests/{manifest}", FILES / manifest)
    layer.add_file("/kind/version", versions.KUBERNETES)
    layer.add_directory("/etc/kubernetes/manifests")
    layer.add_directory("/usr/lib/modules")
    return layer


def containerd_config(text: str, pause: str) -> str:
    """kind's configuration of containerd with kubeadm's pause image, and with no wish to lower an oom score.

    Lowering one needs CAP_SYS_RESOURCE, which the machine may lack; where it is there, nothing is lost.
    """
    text, pauses = re.subn(r"sandbox_image = .*", f'sandbox_image = "{pause}"', text)
    text, scores = re.subn(r"restrict_oom_score_adj = false", "restrict_oom_score_adj = true", text)
    if (pauses, scores) != (1, 1):
        raise BedError(f"containerd's configuration in kind {versions.KIND} is not as expected")
    return text


def base_runtime_spec(ctr: Path) -> str:
    """What every container starts from: containerd's own default, with no limits of its own.

    kind adds a hook here that hides the machine's product name; it fails where there is no DMI, as in small VMs.
    """
    spec = json.loads(run([ctr, "oci", "spec"]))
    spec["process"].pop("rlimits", None)
    return json.dumps(spec)


def store_layer(store: Path) -> Layer:
    """The images, as containerd keeps them."""
    layer = Layer()
    layer.add_tree(store, "/var/lib/containerd")
    return layer
