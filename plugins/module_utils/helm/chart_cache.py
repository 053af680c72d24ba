# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where fetched charts, and what is derived from charts, are kept between runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.secrets.hiding import secrets_in


def cache_directory() -> Path:
    """Where fetched charts and what is derived from charts are kept: ``$XDG_CACHE_HOME/meshops-istio/charts``."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        path = (Path(base) if base else Path.home() / ".cache") / "meshops-istio" / "charts"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a read-only home, or a user without one: slower, not broken
        path = Path(tempfile.gettempdir()) / f"meshops-istio-cache-{os.getuid()}"
        path.mkdir(mode=0o700, exist_ok=True)
        if path.lstat().st_uid != os.getuid():
            fix = "Set XDG_CACHE_HOME to a directory that you own."
            raise JobError("belongs to another user.", object=str(path), fix=fix) from None
    return path


def cached(key_parts: list[str], compute: Callable[[], Any], public: bool = False) -> Any:
    """JSON data that depends on nothing but the key: from the cache, else computed and, without a secret in it, kept.

    :arg public: it is kept whatever it looks like, as everybody can read it where it comes from
    """
    key = hashlib.sha256("\0".join(key_parts).encode()).hexdigest()
    path = cache_directory() / f"{key}.json"
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_bytes())
    data = compute()
    if not public and secrets_in(data):
        return data
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as stream:
        json.dump(data, stream)
        stream.close()
        Path(stream.name).replace(path)
    return data
