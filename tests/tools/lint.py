#!/usr/bin/env python3
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The linters, as a table: run_tests.py runs each and counts it; `lint.py [TOOL ...]` runs some by hand."""

from __future__ import annotations

import os
import subprocess
import sys

import environments

ROOT = environments.ROOT


def environment() -> dict[str, str]:
    """Return where ansible-lint and antsibull-docs find collections.

    A role's task file has no playbook beside it whose collections directory would be searched. Those of .venv
    must not be: of a collection inside a git checkout antsibull-docs sees only what git has, and of two that are
    installed it takes the one whose path sorts first.
    """
    paths = [ROOT / "collections", *map(environments.collection, environments.COLLECTIONS)]
    return {
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(map(str, paths)),
        "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
    }


def shell_files() -> list[str]:
    """Return the repository's shell scripts, known by their suffix or their first line."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    found = []
    for name in filter(None, listing.split("\0")):
        path = ROOT / name
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as handle:
            first = handle.readline(64)
        if name.endswith(".sh") or (first.startswith(b"#!") and first.rstrip().endswith((b"/sh", b"/bash", b" bash"))):
            found.append(name)
    return found


def tools() -> dict[str, list[str]]:
    """Return each linter's command, by name."""
    return {
        "ansible-lint": ["ansible-lint", "--offline"],
        "yamllint": ["yamllint", "--strict", "."],
        "ruff-check": ["ruff", "check"],
        "ruff-format": ["ruff", "format", "--check"],
        "shellcheck": ["shellcheck", *shell_files()],
        "changelog": ["antsibull-changelog", "lint"],
        "options": [sys.executable, "tests/tools/mesh_options.py", "--check"],
        "docs": ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", "."],
    }


def main() -> int:
    """Run the tools named on the command line, or all; return 1 if any complains."""
    known = tools()
    wanted = sys.argv[1:] or list(known)
    if unknown := set(wanted) - set(known):
        sys.exit(f"no such linter: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    os.environ |= environment()
    codes = [subprocess.run(known[name], cwd=ROOT, check=False).returncode for name in wanted]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
