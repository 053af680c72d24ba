#!/usr/bin/env python3
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python environments with locked versions: .venv to work in, and one per ansible-core under test.

    environments.py ensure [NAME ...]   build what is missing or out of date (default: dev); print each path
    environments.py lock [--upgrade]    resolve the groups of pyproject.toml into requirements/*.txt
    environments.py clean-cache         delete what this script and sanity.py keep in the cache

Runs on any Python from 3.9 on, with nothing installed. The package index is the one pip uses.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(
    os.environ.get("MESHOPS_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meshops-istio"
)

# name -> Pythons in order of preference. The first of dev's that is found decides its ansible-core:
# 2.21 from Python 3.12 on, 2.19 on 3.11. `NAME-pyX.Y` is the environment of that name on one of its Pythons.
ENVIRONMENTS = {
    "dev": ("3.13", "3.12", "3.14", "3.11"),
    "core-2.16": ("3.11", "3.12"),
    "core-2.19": ("3.11", "3.12", "3.13"),
    "core-2.20": ("3.13", "3.12"),
    "core-2.21": ("3.13", "3.12"),
    "next": ("3.13", "3.14"),
}

# The cores that `make test` takes; the others are `make matrix`'s.
QUICK = ("dev", "core-2.16", "core-2.19")

# Galaxy is not needed: the `ansible` bundle on PyPI carries the collections, and only the ones
# named here are taken out of its wheel. Name -> (bundle, sha256 of its wheel, collection's version).
COLLECTIONS = {
    "kubernetes.core": (
        "ansible==14.5.0",
        "245623ccc2d31d0f6f4bdb63168d550cad305fb032cc43d96e8f61ce8ab0ba84",
        "6.6.0",
    ),
}

# Run by every Python of .venv when it starts, so that a molecule typed by hand works as one run by make:
# without the glob it warns each time that scenarios belong into extensions/, and without the directory it
# remembers in the user's home, after `make clean`, that there is a cluster.
MOLECULE_SETTINGS = {
    "MOLECULE_EPHEMERAL_DIRECTORY": str(ROOT / "build/molecule/state"),
    "MOLECULE_GLOB": "molecule/*/molecule.yml",
}
SITE_CONFIGURATION = f"import os; [os.environ.setdefault(*item) for item in {MOLECULE_SETTINGS}.items()]\n"

# pip's setting -> the variable by which uv takes the same.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "cert": "SSL_CERT_FILE",
}


def say(text: str) -> None:
    """Print a progress line; standard output is for the paths."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess:
    """Run a command.

    Raises:
        subprocess.CalledProcessError: it exited non-zero.
    """
    # Without what keeps the children of a test on this machine (tests/harness/guard): packages are fetched.
    environment = dict(options.pop("env", os.environ))
    paths = environment.pop("PYTHONPATH", "").split(os.pathsep)
    if kept := [path for path in paths if path and Path(path) != ROOT / "tests/harness/guard"]:
        environment["PYTHONPATH"] = os.pathsep.join(kept)
    return subprocess.run([str(part) for part in command], check=True, env=environment, **options)


@contextlib.contextmanager
def locked(name: str):
    """Hold the cache's lock of that name, so that two checkouts do not build one thing at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def digest(*parts: str | bytes) -> str:
    """Return a short name for that content."""
    return hashlib.sha256(b"\0".join(p if isinstance(p, bytes) else p.encode() for p in parts)).hexdigest()[:12]


def lock_file(group: str) -> Path:
    """Return the lock of a group of pyproject.toml."""
    return ROOT / "requirements" / f"{group}.txt"


def find_python(version: str) -> Path | None:
    """Return an interpreter of that version that really runs, or None.

    uv's own search stops at a pyenv shim, which exists on PATH for every version installed and
    fails when called for one that is not selected; so each candidate is called here.
    """
    name = f"python{version}"
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders += sorted(pyenv.glob(f"versions/{version}.*/bin"), reverse=True)
    for candidate in (folder / name for folder in folders):
        if not os.access(candidate, os.X_OK):
            continue
        answer = subprocess.run(
            [str(candidate), "-c", "import ssl, sys; print('%d.%d' % sys.version_info[:2], sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode == 0 and answer.stdout.split()[0] == version:
            return Path(answer.stdout.split()[1])
    return None


def pip_settings() -> dict[str, str]:
    """Return uv's variables for the package index that pip is configured with."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings = {}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        variable = PIP_TO_UV.get(key.rsplit(".", 1)[-1])
        if variable and variable not in os.environ:
            settings[variable] = value.strip("'\"").replace("\\n", " ").strip()
    return settings


class Uv:
    """The pinned uv, in a small environment of its own in the cache; installed by pip on first use."""

    def __init__(self) -> None:
        lock = lock_file("bootstrap")
        self.home = CACHE / f"bootstrap-{digest(lock.read_bytes())}"
        with locked("bootstrap"):
            if not (self.home / "done").exists():
                say("installing uv, which installs everything else (about 10 s)")
                run(sys.executable, "-m", "venv", "--clear", self.home)
                run(self.home / "bin/python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock)
                (self.home / "done").touch()
        self.environment = {**os.environ, **pip_settings()}

    def __call__(self, *arguments: str | Path) -> None:
        """Run uv with pip's index settings.

        Raises:
            subprocess.CalledProcessError: uv exited non-zero.
        """
        run(self.home / "bin/uv", *arguments, env=self.environment, cwd=ROOT)

    def install(self, python: Path, lock: Path) -> None:
        """Make the environment of `python` hold exactly the lock; by pip if uv cannot reach the index."""
        try:
            self("pip", "sync", "--quiet", "--require-hashes", "--python", python, lock)
        except subprocess.CalledProcessError:
            say("uv failed; trying the same with pip (about 2 min)")
            pip = (self.home / "bin/python", "-m", "pip", "--python", python)
            run(*pip, "install", "--quiet", "--require-hashes", "-r", lock)


def collection(name: str) -> Path:
    """Return a collections path in the cache that holds this collection alone, taken out of the bundle's wheel."""
    bundle, sha256, version = COLLECTIONS[name]
    path = CACHE / f"collections/{name}-{version}-{sha256[:12]}"
    with locked(name):
        if path.is_dir():
            return path
        say(f"taking {name} {version} out of the PyPI bundle {bundle} (50 MB, about 10 s)")
        work = path.with_name(path.name + ".partial")
        shutil.rmtree(work, ignore_errors=True)
        wheels = work / "wheels"
        wheels.mkdir(parents=True)
        requirement = wheels / "requirement.txt"
        requirement.write_text(f"{bundle} --hash=sha256:{sha256}\n")
        # The bundle asks for a newer Python than may run this; nothing of it runs here.
        run(
            *(Uv().home / "bin/python", "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"),
            *("--only-binary=:all:", "--python-version=3.13", "--dest", wheels, "-r", requirement),
        )
        prefix = f"ansible_collections/{name.replace('.', '/')}/"
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
            wheel.extractall(work, [member for member in wheel.namelist() if member.startswith(prefix)])
        shutil.rmtree(wheels)
        work.rename(path)
    return path


def parts_of(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the group that an environment is of, and its Pythons in order of preference.

    Raises:
        KeyError: there is no such environment.
    """
    group, _, version = name.partition("-py")
    versions = ENVIRONMENTS[group]
    if version and (version not in versions or group == "dev"):
        raise KeyError(name)
    return group, (version,) if version else versions


def pythons(group: str) -> list[str]:
    """Return those of a group's Pythons that are on this machine; none for `dev`, which is on one alone."""
    return [version for version in ENVIRONMENTS[group] if group != "dev" and find_python(version)]


def ensure(name: str) -> Path:
    """Build the environment if it is missing or its lock has changed; return its directory.

    Raises:
        SystemExit: no suitable Python was found.
        subprocess.CalledProcessError: an installation step failed.
    """
    group, versions = parts_of(name)
    lock = lock_file(group)
    site_configuration = SITE_CONFIGURATION if name == "dev" else ""
    stamp = digest(lock.read_bytes(), json.dumps(COLLECTIONS), site_configuration)
    home = ROOT / ".venv" if name == "dev" else CACHE / f"environments/{name}-{stamp}"
    done = home / ".meshops-stamp"
    if done.exists() and done.read_text() == stamp and (home / "bin/python").exists():
        return home
    with locked(f"environment-{digest(str(home))}"):
        started = time.monotonic()
        python = next(filter(None, map(find_python, versions)), None)
        uv = Uv()
        say(f"building {name} from requirements/{lock.name} (about 10 s, 1-2 min with an empty cache)")
        done.unlink(missing_ok=True)
        # Without an interpreter of ours, uv may know how to download one.
        uv("venv", "--quiet", "--clear", "--python", python or versions[0], "--prompt", f"meshops-{name}", home)
        uv.install(home / "bin/python", lock)
        site = next(home.glob("lib/python*/site-packages"))
        for each in COLLECTIONS:
            shutil.copytree(collection(each), site, dirs_exist_ok=True)
        (site / "meshops.pth").write_text(site_configuration)
        done.write_text(stamp)
        say(f"{name} is ready in {time.monotonic() - started:.0f} s: {home}")
    return home


def lock(upgrade: bool) -> None:
    """Resolve every group for the oldest Python it runs on, with markers for the newer ones."""
    uv = Uv()
    header = "Made by `tests/tools/environments.py lock` from pyproject.toml; do not edit."
    for group, versions in {**ENVIRONMENTS, "bootstrap": ("3.11",)}.items():
        oldest = min(versions, key=lambda version: int(version.split(".")[1]))
        path = lock_file(group)
        uv(
            *("pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate"),
            *("--python-version", oldest, "--group", group, "--output-file", path),
            *(["--upgrade"] if upgrade else []),
        )
        path.write_text(f"# {header}\n{path.read_text()}")


def clean_cache() -> None:
    """Delete our part of the cache; the test bed's part is its own."""
    for pattern in ("bootstrap-*", "collections", "environments", "sanity-home", ".*.lock"):
        for path in CACHE.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with contextlib.suppress(OSError):  # not empty, or not there
        CACHE.rmdir()


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    ensuring = commands.add_parser("ensure", help="build what is missing or out of date; print each path")
    ensuring.add_argument("names", nargs="*", default=["dev"], metavar="NAME", help=", ".join(ENVIRONMENTS))
    locking = commands.add_parser("lock", help="resolve pyproject.toml's groups into requirements/*.txt")
    locking.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    commands.add_parser("clean-cache", help="delete what this script and sanity.py keep in the cache")
    arguments = parser.parse_args()
    if arguments.command == "lock":
        lock(arguments.upgrade)
        return 0
    if arguments.command == "clean-cache":
        clean_cache()
        return 0
    for name in arguments.names:
        try:
            parts_of(name)
        except KeyError:
            parser.error(f"no such environment: {name}; there are {', '.join(ENVIRONMENTS)}")
        print(ensure(name))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"setup: failed with exit status {error.returncode}: {' '.join(map(str, error.cmd))}")
