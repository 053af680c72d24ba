# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""A Debian file system for the node, and single programs picked out of it for the images.

Made by mmdebstrap from the package sources that this machine itself uses, so that no mirror is named anywhere.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from testbed import versions
from testbed.archive import Layer
from testbed.cache import Cache
from testbed.errors import BedError
from testbed.process import run

# What kind's own Dockerfile takes away: units that make no sense in a container or wait for a machine's devices.
UNWANTED_UNITS = (
    "usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
    "usr/lib/systemd/system/multi-user.target.wants/*",
    "etc/systemd/system/*.wants/*",
    "usr/lib/systemd/system/local-fs.target.wants/*",
    "usr/lib/systemd/system/sockets.target.wants/*udev*",
    "usr/lib/systemd/system/sockets.target.wants/*initctl*",
    "usr/lib/systemd/system/basic.target.wants/*",
)
UNWANTED_FILES = ("var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*", "usr/share/doc/*", "usr/share/man/*")
DPKG_EXCLUDES = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/i18n/*",
    "/usr/share/info/*",
)

IPTABLES_NAMES = tuple(
    f"{program}{suffix}"
    for program in ("iptables", "ip6tables")
    for suffix in ("", "-save", "-restore", "-nft", "-nft-save", "-nft-restore")
)


def codename(os_release: str) -> str:
    """The release's name ("bookworm") in the text of /etc/os-release.

    :raises BedError: it is no Debian or Ubuntu
    """
    found = re.search(r'^VERSION_CODENAME="?([\w-]+)', os_release, re.MULTILINE)
    if not found:
        raise BedError("the node's file system is made with mmdebstrap, which needs Debian or Ubuntu here")
    return found[1]


def package_sources(texts: Iterable[str], suite: str) -> str:
    """The part of apt's source files that belongs to the distribution ``suite``; third parties' are left out.

    :param texts: the files' contents, in the new format (stanzas) or the old one (lines); the new one wins
    """
    stanzas, lines = [], []
    for text in texts:
        for stanza in re.split(r"\n\s*\n", text):
            suites = re.search(r"^Suites:(.*)$", stanza, re.MULTILINE)
            if suites and all(re.match(rf"{suite}(-|$)", name) for name in suites[1].split()):
                stanzas.append("\n".join(line for line in stanza.splitlines() if not line.startswith("#")).strip())
        lines += re.findall(rf"^deb(?: \[.*?\])? \S+ {suite}(?:-\S+)? .*$", text, re.MULTILINE)
    return "\n\n".join(stanzas) + "\n" if stanzas else "\n".join(lines) + "\n"


def inputs() -> dict:
    """What the node's file system depends on. Debian's fixes are not followed: a cached one is as good for tests."""
    return {
        "suite": codename(Path("/etc/os-release").read_text()),
        "packages": versions.DEBIAN_NODE_PACKAGES,
        "removed": [UNWANTED_UNITS, UNWANTED_FILES, DPKG_EXCLUDES],
    }


def node_file_system(cache: Cache, starting=lambda: None) -> Path:
    """The directory with the node's file system, made once.

    :raises BedError: not root, or mmdebstrap said no
    """
    suite = inputs()["suite"]
    files = [*sorted(Path("/etc/apt/sources.list.d").glob("*")), Path("/etc/apt/sources.list")]
    sources = package_sources([f.read_text() for f in files if f.is_file()], suite)

    def make(target: Path) -> None:
        if os.geteuid() != 0:
            raise BedError("making the node's file system needs root (owners and device nodes); run as root")
        root = target / "rootfs"
        run(
            [
                "mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--format=directory",
                '--aptopt=Apt::Install-Recommends "false"',
                f"--include={','.join(versions.DEBIAN_NODE_PACKAGES)}",
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in DPKG_EXCLUDES),
                suite, root, "-",
            ],
            text=sources,
            log=target / "mmdebstrap.log",
        )  # fmt: skip
        for pattern in UNWANTED_UNITS + UNWANTED_FILES:
            for path in root.glob(pattern):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    return cache.get("rootfs", inputs(), make, starting) / "rootfs"


def libraries(root: Path, program: str) -> Iterator[str]:
    """The shared libraries (and the loader) that ``program``, a path inside ``root``, needs."""
    for line in run(["chroot", root, "/usr/bin/ldd", program]).splitlines():
        yield from (word for word in line.split() if word.startswith("/"))


def resolve(root: Path, path: str) -> Path:
    """The file that ``path`` inside ``root`` means there, through links, absolute ones too."""
    root = root.resolve()  # the cache itself may be reached through a link
    current = root / path.lstrip("/")
    for _ in range(10):
        parent = Path(os.path.realpath(current.parent))
        if not parent.is_relative_to(root):
            parent = root / parent.relative_to("/")
        current = parent / current.name
        if not current.is_symlink():
            return current
        target = str(current.readlink())
        current = root / target.lstrip("/") if target.startswith("/") else current.parent / target
    raise BedError(f"too many links at {path} in {root}")


def merged(path: str) -> str:
    """``path`` as it is since Debian merged /bin, /sbin and /lib into /usr."""
    return f"/usr{path}" if re.match("/(bin|sbin|lib|lib64)/", path) else path


def pick(layer: Layer, root: Path, programs: Iterable[str]) -> None:
    """Adds programs of ``root`` (absolute paths) with the libraries they need to ``layer``, a lowest layer.

    Libraries go where the loader looks for them: /lib and its like become links into /usr, as they are in Debian.
    """
    for name in ("bin", "sbin", "lib", "lib64"):
        layer.add_directory(f"/usr/{name}")
        layer.add_link(f"/{name}", f"usr/{name}")
    added = set()
    for program in programs:
        layer.add_program(program, resolve(root, program))
        found = [] if resolve(root, program).read_bytes()[:4] != b"\x7fELF" else libraries(root, program)
        for library in found:
            if library not in added:
                added.add(library)
                layer.add_program(merged(library), resolve(root, library))


def pick_packet_filters(layer: Layer, root: Path) -> None:
    """Adds iptables, nft and conntrack with their extensions: kube-proxy and Istio's init container call them."""
    extensions = [f"/{path.relative_to(root)}" for path in sorted(root.glob("usr/lib/*/xtables/*.so"))]
    programs = [f"/usr/sbin/{name}" for name in ("xtables-nft-multi", "xtables-legacy-multi", "nft", "conntrack")]
    pick(layer, root, [*programs, *extensions])
    for name in IPTABLES_NAMES:
        layer.add_link(f"/usr/sbin/{name}", "xtables-nft-multi")
    for name in ("iptables-legacy", "ip6tables-legacy"):
        for suffix in ("", "-save", "-restore"):
            layer.add_link(f"/usr/sbin/{name}{suffix}", "xtables-legacy-multi")
    if (root / "etc/ethertypes").exists():
        layer.add_file("/etc/ethertypes", resolve(root, "/etc/ethertypes"))
