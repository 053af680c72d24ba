# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the browser's tests need: chromium, by apt where this may install it, and axe-core, by npm.

python3 tests/browser/programs.py    fetch them; says what cannot be had, and ends well all the same
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

from testbed.cache import Cache  # noqa: E402

#: By any of these names; the last are those of other systems than Debian.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


class Missing(Exception):
    """Something cannot be had on this machine; says what, and how to get it."""


def chromium() -> str:
    """Path of a browser. :raises Missing: there is none"""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not found:
        raise Missing(f"no {', '.join(CHROMIUM)} on PATH: install one (in Debian: apt-get install chromium)")
    return found


def install_chromium() -> None:
    """Install it where that is Debian's to do, and ours. :raises Missing: it is not, or fails"""
    try:
        chromium()
    except Missing:
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise
    else:
        return
    print("browser: installing chromium (about a minute)", flush=True)
    quiet = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
    patient = ("-o", "DPkg::Lock::Timeout=120")  # seconds: another apt may be at work
    install = ("apt-get", "install", "-y", "-qq", *patient, "--no-install-recommends", "chromium")
    for command in (("apt-get", "update", "-qq"), install):
        _run(command, HERE, quiet)


def axe() -> Path:
    """The script that looks for what people cannot read or reach, of the locked version. :raises Missing: no npm"""

    def build(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        if not shutil.which("npm"):
            raise Missing("no npm on PATH, which fetches axe-core: install it (in Debian: apt-get install npm)")
        _run(("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"), folder, dict(os.environ))

    lock = HERE / "package-lock.json"
    return Cache().get("axe", lock, build) / "node_modules/axe-core/axe.min.js"


def _run(command: tuple[str, ...], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise Missing(f"{' '.join(command)} failed: {done.stdout.strip()[-500:]}")


def main() -> int:
    """Fetch both."""
    try:
        install_chromium()
        axe()
    except Missing as missing:
        print(f"browser: the tests will be skipped: {missing}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
