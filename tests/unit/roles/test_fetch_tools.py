# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role preflight fetches programs: pinned, once, into its own directory, and leaves nothing where it fails."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/preflight"
WRONG = "sha256:" + "0" * 64

pytestmark = pytest.mark.slow


class Fleet:
    """Control nodes, each with a directory for programs, and archives on disk to fetch them from.

    Several cases share one run of Ansible: a case is a host.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path / "tmp"
        self.temporary.mkdir()
        self.output = ""

    def directory(self, host: str) -> Path:
        """A host's directory for programs."""
        return self.path / host

    def tool(self, content: str, name: str = "helm") -> dict[str, str]:
        """Make an archive and return what describes it in ``preflight_tools``."""
        archive = self.path / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for member, data in ((f"linux-amd64/{name}", content), ("linux-amd64/README.md", "not wanted")):
                entry = tarfile.TarInfo(member)
                entry.size, entry.mode, entry.uid, entry.gid = len(data), 0o644, 1001, 1001
                tar.addfile(entry, io.BytesIO(data.encode()))
        checksum = "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
        return {"name": name, "url": archive.as_uri(), "checksum": checksum, "member": f"linux-amd64/{name}"}

    def run(self, wanted: dict[str, list[dict[str, str]]], *options: str) -> dict[str, int | None]:
        """Run the part of the role that fetches; return the number of changed tasks by host, None where it failed."""
        hosts = {
            host: {"preflight_tools": tools, "preflight_tools_directory": str(self.directory(host))}
            for host, tools in wanted.items()
        }
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_remote_tmp": str(self.temporary),
        }
        inventory, playbook = self.path / "inventory.json", self.path / "play.yml"
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
        task = {"name": "Fetch", "include_role": {"name": str(ROLE), "tasks_from": "fetch_tools.yml"}}
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
        environment = {"TMPDIR": str(self.temporary), "ANSIBLE_HOME": str(self.path / "ansible"), "NO_COLOR": "1"}
        environment |= {"ANSIBLE_PIPELINING": "1", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")}
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", inventory, *options, playbook],
            cwd=self.path,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.output = done.stdout
        recap = re.findall(r"^(\S+) +: ok=.*changed=(\d+).*failed=(\d+)", self.output, re.MULTILINE)
        assert {host for host, _changed, _failed in recap} == set(wanted), self.output
        return {host: None if int(failed) else int(changed) for host, changed, failed in recap}

    def failure(self, host: str) -> str:
        """The message with which the last run ended for a host."""
        return re.findall(rf"fatal: \[{host}\].*", self.output)[-1]

    def programs(self, host: str) -> dict[str, str]:
        """What is in a host's directory, without the notes about checksums."""
        return {path.name: path.read_text() for path in self.directory(host).iterdir() if path.name[0] != "."}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Return control nodes that have fetched nothing."""
    return Fleet(tmp_path)


def test_program_is_fetched_once(fleet: Fleet) -> None:
    """First run changed, second not."""
    tool = fleet.tool("version 1")
    assert fleet.run({"node": [tool]})["node"], fleet.output
    assert fleet.programs("node") == {"helm": "version 1"}
    program = (fleet.directory("node") / "helm").stat()
    assert (program.st_mode & 0o777, program.st_uid) == (0o755, os.getuid())
    assert (fleet.directory("node") / ".helm.checksum").read_text() == tool["checksum"]

    assert fleet.run({"node": [tool]}) == {"node": 0}, fleet.output


@pytest.mark.once  # the same tasks as in the tests beside it, in another order
def test_program_is_fetched_again_when_another_is_wanted(fleet: Fleet) -> None:
    """A failed upgrade keeps the old one; another version replaces it, and one of which nothing is known."""
    old, new = fleet.tool("version 1"), fleet.tool("version 2")
    # The third was killed between two steps. And it wants a second program.
    for host, note in (("refused", old["checksum"]), ("upgraded", old["checksum"]), ("killed", "being replaced")):
        fleet.directory(host).mkdir()
        (fleet.directory(host) / "helm").write_text("version 1")
        (fleet.directory(host) / ".helm.checksum").write_text(note)
    wrong = {**new, "checksum": WRONG}
    result = fleet.run({"refused": [wrong], "upgraded": [new], "killed": [new, fleet.tool("b", "istioctl")]})
    assert result["refused"] is None, fleet.output
    assert fleet.programs("refused") == {"helm": "version 1"}
    assert result["upgraded"], fleet.output
    assert fleet.programs("upgraded") == {"helm": "version 2"}
    assert result["killed"], fleet.output
    assert fleet.programs("killed") == {"helm": "version 2", "istioctl": "b"}


def test_failure_names_the_program_and_leaves_nothing(fleet: Fleet) -> None:
    """Neither a program nor a note nor an archive; and what somebody else has put there stays."""
    tool = fleet.tool("version 1")
    fleet.directory("foreign").mkdir()
    (fleet.directory("foreign") / "helm").write_text("mine")
    wanted = {
        "checksum": [{**tool, "checksum": WRONG}],
        "member": [{**tool, "member": "linux-amd64/other"}],
        "foreign": [tool],
    }
    assert fleet.run(wanted) == dict.fromkeys(wanted), fleet.output
    for host, word in (("checksum", "checksum"), ("member", "linux-amd64/other")):
        assert f"helm could not be fetched from {tool['url']}" in fleet.failure(host)
        assert word in fleet.failure(host)
        assert list(fleet.directory(host).iterdir()) == []
    assert list(fleet.temporary.rglob("*.tar.gz")) == []
    assert "was not installed by this role" in fleet.failure("foreign")
    assert fleet.programs("foreign") == {"helm": "mine"}


def test_check_mode_says_what_it_would_fetch_and_writes_nothing(fleet: Fleet) -> None:
    """And a machine for which no release is pinned gets a message, not a guess."""
    unknown = ["--extra-vars", '{"_preflight_released_tools": {}}']
    result = fleet.run({"fresh": [fleet.tool("version 1")], "unknown": []}, "--check", *unknown)
    assert result["fresh"], fleet.output
    assert not fleet.directory("fresh").exists()
    assert result["unknown"] is None
    assert re.search(r"No helm is pinned for \w+-\w+\. Fix: Set preflight_tools", fleet.output), fleet.output


def test_released_programs_are_pinned_for_both_architectures() -> None:
    """What an empty ``preflight_tools`` stands for."""
    released = yaml.safe_load((ROLE / "vars/main.yml").read_text())["_preflight_released_tools"]
    assert set(released) == {"Linux-x86_64", "Linux-aarch64"}
    for tools in released.values():
        for tool in tools:
            assert set(tool) == {"name", "url", "checksum", "member"}
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", tool["checksum"])
            assert tool["url"].startswith("https://")
