# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""What was built once is kept by the hash of what it was built from.

An entry is a directory ``entries/NAME-KEY``. It appears whole or not at all: it is built in a temporary directory
beside it and renamed, under a file lock, so that two processes never build the same thing twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def directory() -> Path:
    """The project's cache: ``$MESHOPS_CACHE``, else ``meshops-istio`` in the user's cache directory."""
    own = os.environ.get("MESHOPS_CACHE")
    if own:
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "meshops-istio"


def content_key(inputs: Any) -> str:
    """12 hex digits for ``inputs``: JSON-like data, in which a ``Path`` stands for the content found there.

    A directory counts with its files' relative names, modes and contents.
    """
    return hashlib.sha256(json.dumps(_plain(inputs), sort_keys=True).encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        files = sorted(p for p in value.rglob("*") if p.is_file()) if value.is_dir() else [value]
        return [[str(p.relative_to(value)), hashlib.sha256(p.read_bytes()).hexdigest()] for p in files]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on the file ``path``; the kernel drops it if we die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def remove_tree(path: Path) -> None:
    """Removes a directory even where its directories are read-only, as those of Go's module cache are."""
    if path.is_symlink() or not path.exists():
        path.unlink(missing_ok=True)
        return
    for name, _names, _files in os.walk(path):
        parent = Path(name)
        mode = parent.lstat().st_mode
        if not mode & stat.S_IWUSR:
            parent.chmod(mode | stat.S_IWUSR)
    shutil.rmtree(path)


class Cache:
    """The entries below ``root`` (default: :func:`directory`)."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or directory()

    def path(self, name: str, inputs: Any) -> Path:
        """Where the entry is, or would be."""
        return self.root / "entries" / f"{name}-{content_key(inputs)}"

    def get(
        self, name: str, inputs: Any, build: Callable[[Path], None], starting: Callable[[], None] = lambda: None
    ) -> Path:
        """The entry for ``inputs``, built now if it is not there.

        :param build: fills the directory it is given; if it raises, nothing is kept
        :param starting: called before ``build``, if it is needed
        """
        entry = self.path(name, inputs)
        if entry.exists():
            return entry
        with lock(self.root / "locks" / f"{entry.name}.lock"):
            if entry.exists():
                return entry
            starting()
            pending = self.root / "pending"
            pending.mkdir(parents=True, exist_ok=True)
            for stale in pending.glob(f"{entry.name}.*"):  # ours by the lock: its builder was killed
                remove_tree(stale)
            work = Path(tempfile.mkdtemp(prefix=f"{entry.name}.", dir=pending))
            try:
                work.chmod(0o755)
                build(work)
                entry.parent.mkdir(parents=True, exist_ok=True)
                work.rename(entry)
            except BaseException:
                remove_tree(work)
                raise
        return entry

    def entries(self) -> list[Path]:
        """All entries there are, by name."""
        return sorted((self.root / "entries").glob("*"))
