# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check found: severity, a stable code, the object, the message and the fix.

The table of codes is the one place where their meaning is written; docs/findings.md is held against it by a test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

ERROR = "error"
WARNING = "warning"

#: Code -> (severity, what it means).
CODES: dict[str, tuple[str, str]] = {
    "api-unreachable": (ERROR, "The API server does not answer, or its certificate is not trusted."),
    "api-unauthorized": (ERROR, "The API server does not accept the credentials."),
    "tls-unverified": (ERROR, "The API server's certificate is not checked."),
    "helm-missing": (ERROR, "The helm program is not there or cannot be run."),
    "helm-unsupported": (ERROR, "This version of helm is too old, or of a major that is not known."),
    "chart-missing": (ERROR, "One of Istio's charts cannot be had."),
    "kubernetes-too-old": (ERROR, "Istio does not support this version of Kubernetes any more."),
    "kubernetes-untested": (WARNING, "Istio has not been tested on this version of Kubernetes yet."),
    "istio-unknown": (WARNING, "The support table does not know this Istio minor."),
    "right-missing": (ERROR, "The credentials lack a right that the run needs."),
    "room-none": (ERROR, "What is about to be installed fits on no node."),
    "room-short": (WARNING, "Less room is free than the guide recommends."),
    "node-port-out-of-range": (ERROR, "A node port is outside the cluster's range."),
    "node-port-taken": (ERROR, "Another Service holds a node port."),
}


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    :ivar str code: key of ``CODES``
    :ivar str object: the variable or Kubernetes object that it is about
    :ivar str message: what is wrong with it, with figures
    :ivar str fix: what to do
    """

    code: str
    object: str
    message: str
    fix: str

    @property
    def severity(self) -> str:
        """``error`` or ``warning``."""
        return CODES[self.code][0]

    def as_dict(self) -> dict[str, Any]:
        """For a task's result."""
        return {"severity": self.severity, **asdict(self)}

    def __str__(self) -> str:
        return f"[{self.code}] {self.object}: {self.message} Fix: {self.fix}"


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Those that stop a run."""
    return [finding for finding in findings if finding.severity == ERROR]
