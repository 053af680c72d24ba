#!/usr/bin/env python3
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run `ansible-test sanity` on a copy of this tree, without docker and without its own download site.

    sanity.py [ARGUMENT ...]    arguments for ansible-test sanity, for example --test pep8

ansible-test wants the path .../ansible_collections/NAMESPACE/NAME and the dependencies beside it. The
copy holds what git would commit, so that no build output is judged. Its home directory lies in the
cache: the environments it builds for its tests stay there, and the user's home is not touched.
Results in JUnit's format are left in build/sanity/junit.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import environments

TREE = environments.ROOT / "build/sanity/ansible_collections"
COPY = TREE / "meshops/istio"
JUNIT = environments.ROOT / "build/sanity/junit"
HOME = environments.CACHE / "sanity-home"
# Judged: what Ansible runs. Not judged: Kubernetes' own YAML in docs/, our tests and tools, which ruff reads
# and for which the rules for modules were not made, and the links by which the checkout contains itself.
LEFT_OUT = re.compile(
    r"\.|(collections|docs|inventories|molecule|playbooks/collections|requirements)(/|$)|tests/(?!config\.yml)"
)


def copy_tree() -> None:
    """Copy what git would commit and sanity judges."""
    shutil.rmtree(TREE, ignore_errors=True)
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=environments.ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, listing.split("\0")):
        source, target = environments.ROOT / name, COPY / name
        if source.is_file() and not LEFT_OUT.match(name):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    # Else ansible-test asks the repository around it, which ignores build/ and so lists nothing.
    subprocess.run(["git", "init", "--quiet", COPY], check=True)


def prepare_home(site_packages: Path) -> None:
    """Give ansible-test its get-pip script, and pip the index settings that ansible-test would hide."""
    requirements = (site_packages / "ansible_test/_internal/python_requirements.py").read_text()
    pip_version = re.search(r"\bpip='([\d.]+)'", requirements)[1].replace(".", "_")
    cache = HOME / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    stand_in = Path(__file__).with_name("get_pip_stand_in.py")
    shutil.copy(stand_in, cache / f"get_pip_{pip_version}.py")

    # ansible-test passes on the home directory but none of pip's variables.
    listing = subprocess.run(
        [environments.Uv().home / "bin/python", "-m", "pip", "config", "list"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    settings = [line.split(".", 1)[1] for line in listing.splitlines()]
    settings = dict(line.lstrip(".").split("=", 1) for line in settings)
    configuration = HOME / ".config/pip/pip.conf"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{key} = {value.strip(chr(39))}" for key, value in settings.items()]
    configuration.write_text("\n".join(["[global]", *lines, ""]))


def main() -> int:
    """Copy, prepare, run; return ansible-test's exit status."""
    venv = environments.ensure("dev")
    site_packages = next(venv.glob("lib/python*/site-packages"))
    copy_tree()
    for name in environments.COLLECTIONS:
        shutil.copytree(environments.collection(name), TREE.parent, dirs_exist_ok=True)
    prepare_home(site_packages)
    python = site_packages.parent.name.removeprefix("python")
    command = [venv / "bin/ansible-test", "sanity", "--python", python, "--junit", "--color", "no", *sys.argv[1:]]
    # A short PATH: ansible-test would try every pythonX.Y it finds, pyenv's shims among them.
    environment = {**os.environ, "HOME": str(HOME), "PATH": f"{venv}/bin:/usr/bin:/bin"}
    code = subprocess.run([str(part) for part in command], cwd=COPY, env=environment, check=False).returncode
    shutil.rmtree(JUNIT, ignore_errors=True)
    if (COPY / "tests/output/junit").is_dir():
        shutil.copytree(COPY / "tests/output/junit", JUNIT)
    return code


if __name__ == "__main__":
    sys.exit(main())
