# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests leave behind is found: files, keys, processes."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time

import leftovers
import pytest

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIEow\n-----END CERTIFICATE-----\n"


def test_files_and_links_are_found_and_empty_directories_are_not(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")

    assert leftovers.files(tmp_path) == [tmp_path / "deep/file", tmp_path / "link"]


def test_what_kubernetes_core_keeps_of_a_server_is_not_ours_unless_a_key_is_in_it(tmp_path):
    (tmp_path / "k8srcp-1efb.json").write_text('{"resources": []}')
    (tmp_path / "k8srcp-2efb.json").write_text(f'{{"resources": [{PEM!r}]}}')
    (tmp_path / "other.json").write_text("")

    assert leftovers.ours(tmp_path) == [tmp_path / "k8srcp-2efb.json", tmp_path / "other.json"]


@pytest.mark.parametrize("shift", range(3))
def test_a_key_is_found_in_clear_and_wherever_it_begins_in_base64(tmp_path, shift):
    (tmp_path / "clear").write_text(PEM)
    (tmp_path / "kubeconfig").write_text(base64.b64encode(("x" * shift + PEM).encode()).decode())
    (tmp_path / "certificate").write_text(CERTIFICATE + base64.b64encode(CERTIFICATE.encode()).decode())

    assert leftovers.keys(tmp_path) == [tmp_path / "clear", tmp_path / "kubeconfig"]


@pytest.mark.parametrize(("below", "found"), [("", True), ("/deeper", True), ("-other", False)])
def test_a_process_is_found_by_its_temporary_directory(tmp_path, below, found):
    environment = {**os.environ, "TMPDIR": f"{tmp_path}{below}"}
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment)
    try:
        deadline = time.monotonic() + 10
        while found and process.pid not in leftovers.processes(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)  # it has the environment when it executes the program
        assert (process.pid in leftovers.processes(tmp_path)) is found
    finally:
        process.kill()
        process.wait()
    assert process.pid not in leftovers.processes(tmp_path)


def test_our_own_process_is_none(tmp_path):
    process = tmp_path / str(os.getpid())
    process.mkdir()
    (process / "environ").write_bytes(f"TMPDIR={tmp_path}\0".encode())
    (process / "cmdline").write_bytes(b"pytest\0")

    assert leftovers.processes(tmp_path, proc=tmp_path) == {}
