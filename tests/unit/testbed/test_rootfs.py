# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""The node's file system: where its packages come from, and how files are found in it."""

from __future__ import annotations

import pytest
from testbed import rootfs
from testbed.errors import BedError

STANZAS = """\
# by the installer
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
"""
THIRD_PARTY = """\
Types: deb
URIs: http://vendor.example
Suites: nodistro
Components: main
"""


def test_only_the_distributions_own_sources_are_used():
    found = rootfs.package_sources(
        [STANZAS, THIRD_PARTY, "deb http://vendor.example cloud-bookworm main\n"], "bookworm"
    )
    assert found.count("Types: deb") == 2
    assert "vendor" not in found
    assert "by the installer" not in found


def test_the_old_format_will_do():
    text = "deb http://m.example/debian bookworm main\ndeb [signed-by=/k] http://m.example/d bookworm-updates main\n"
    assert rootfs.package_sources([text + "deb http://vendor.example stable main\n"], "bookworm") == text


def test_the_release_is_recognised():
    assert rootfs.codename('NAME="Debian"\nVERSION_CODENAME=bookworm\n') == "bookworm"
    with pytest.raises(BedError, match="Debian or Ubuntu"):
        rootfs.codename("NAME=Fedora\n")


def test_links_are_followed_inside_the_root(tmp_path):
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "etc/alternatives").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "usr/lib/real").write_text("x")
    (tmp_path / "etc/alternatives/a").symlink_to("/usr/lib/real")
    (tmp_path / "usr/lib/name").symlink_to("/etc/alternatives/a")
    assert rootfs.resolve(tmp_path, "/lib/name") == tmp_path / "usr/lib/real"


def test_paths_are_those_of_a_merged_usr():
    assert rootfs.merged("/lib/x86_64-linux-gnu/libc.so.6") == "/usr/lib/x86_64-linux-gnu/libc.so.6"
    assert rootfs.merged("/lib64/ld.so") == "/usr/lib64/ld.so"
    assert rootfs.merged("/usr/sbin/nft") == "/usr/sbin/nft"
    assert rootfs.merged("/library/x") == "/library/x"
