# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A finding of a diagnosis: its evidence, and what it breaks, by which causes are told from consequences. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding

#: What hangs on other things and is hung on: kind, namespace and name of an object, or one of the names below.
Thing = tuple
#: An istiod that serves, and the webhook by which it injects sidecars.
ISTIOD: Thing = ("istiod", "", "")
INJECTOR: Thing = ("injector", "", "")
#: Longest part of a message that is quoted; Envoy's and the clouds' are whole requests.
QUOTED = 400


def thing(obj: dict[str, Any]) -> Thing:
    """An object as a thing."""
    meta = obj["metadata"]
    return obj["kind"], meta.get("namespace") or "", meta["name"]


def described(obj: dict[str, Any]) -> str:
    """An object as findings name it: ``Gateway shop/public``."""
    return "{} {}/{}".format(*thing(obj))


def sidecar(workload: Thing) -> Thing:
    """The proxies in the pods of a workload."""
    kind, namespace, name = workload
    return f"sidecar of {kind}", namespace, name


def quoted(words: str) -> str:
    """Somebody's words on one line, without their full stop."""
    return " ".join(words.split())[:QUOTED].rstrip(".")


@dataclass(frozen=True)
class Symptom(Finding):
    """A finding with what it was seen by.

    :ivar tuple evidence: taken from objects and events, in their own words where they have any
    :ivar frozenset breaks: things that do not work because of it
    :ivar frozenset needs: things without which its own object cannot work: where one is broken, that is the cause
    """

    evidence: tuple[str, ...] = ()
    breaks: frozenset[Thing] = frozenset()
    needs: frozenset[Thing] = frozenset()

    def as_dict(self) -> dict[str, Any]:
        """For a task's result."""
        found = {key: value for key, value in asdict(self).items() if key not in ("breaks", "needs")}
        return {"severity": self.severity, **found, "evidence": list(self.evidence)}

    def explains(self, other: Symptom) -> bool:
        """Whether the other one would not be there without this one."""
        return self is not other and bool(self.breaks & other.needs)
