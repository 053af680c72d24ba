# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Names and places of one bed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from testbed.errors import BedError

CHECKOUT = Path(__file__).resolve().parents[2]
DEFAULT_NAME = "meshops-demo"


def suffix(checkout: Path) -> str:
    """Six hex digits that tell this checkout's clusters from another's on the same machine."""
    return hashlib.sha256(str(checkout).encode()).hexdigest()[:6]


@dataclass(frozen=True)
class Bed:
    """A bed called ``name`` in a checkout; everything it writes is below ``directory``."""

    name: str = DEFAULT_NAME
    checkout: Path = field(default=CHECKOUT)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", self.name):
            raise BedError(f"invalid cluster name {self.name!r}: use at most 40 lowercase letters, digits and dashes")

    @property
    def cluster(self) -> str:
        """kind's name of the cluster."""
        return f"{self.name}-{suffix(self.checkout)}"

    @property
    def node(self) -> str:
        """The node's container, which is also the node's name in Kubernetes."""
        return f"{self.cluster}-control-plane"

    @property
    def context(self) -> str:
        """The context that kind writes into a kubeconfig."""
        return f"kind-{self.cluster}"

    @property
    def directory(self) -> Path:
        return root(self.checkout) / self.name

    @property
    def lock(self) -> Path:
        """Held by who makes or removes the bed; beside the directory, since that goes away."""
        return root(self.checkout) / f".{self.name}.lock"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def vars_file(self) -> Path:
        return self.directory / "vars.yml"

    @property
    def registry(self) -> Path:
        """What its own registry keeps, if it has one, with its ``daemons``."""
        return self.directory / "registry"

    @property
    def audit_log(self) -> Path:
        return self.directory / "audit" / "audit.log"

    @property
    def state(self) -> Path:
        """Written when the cluster is complete, so that one without it is known to be half-made."""
        return self.directory / "state.json"


def root(checkout: Path = CHECKOUT) -> Path:
    """Where all beds of a checkout live."""
    return checkout / "build" / "testbed"


def bin_directory(checkout: Path = CHECKOUT) -> Path:
    """Links to helm, istioctl, kubectl and kind."""
    return root(checkout) / "bin"


def prepare(checkout: Path = CHECKOUT) -> Path:
    """Makes the beds' directory, which git ignores by itself, and returns it."""
    directory = root(checkout)
    directory.mkdir(parents=True, exist_ok=True)
    ignore = directory / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    return directory
