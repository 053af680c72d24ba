# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions go together: data, so that a new Istio is a new row and never new code."""

from __future__ import annotations

import re
from typing import NamedTuple


class KubernetesRange(NamedTuple):
    """Kubernetes minors that an Istio minor runs on.

    :ivar int lowest: below it, Istio does not support the cluster
    :ivar int highest: the newest that Istio's project or our own tests have run it on
    """

    lowest: int
    highest: int


#: Istio minor -> Kubernetes 1.x minors. Lowest: MinK8SVersion in that Istio's istioctl/pkg/install/k8sversion.
#: Highest: the table at istio.io/latest/docs/releases/supported-releases. For 1.31 Istio's announcement says 1.32 to
#: 1.36; 1.37 is what this collection is tested on.
KUBERNETES_FOR_ISTIO: dict[str, KubernetesRange] = {
    "1.25": KubernetesRange(28, 32),
    "1.26": KubernetesRange(29, 33),
    "1.27": KubernetesRange(29, 33),
    "1.28": KubernetesRange(30, 34),
    "1.29": KubernetesRange(31, 35),
    "1.30": KubernetesRange(32, 36),
    "1.31": KubernetesRange(32, 37),
}

#: 3.17 is the first that can adopt objects of other owners (--take-ownership).
HELM_OLDEST = (3, 17)
HELM_NEWEST_MAJOR = 4


def minor_of(version: str) -> str:
    """``1.31`` of ``v1.31.0-beta.1``; the text itself when it is not a version."""
    match = re.match(r"v?(\d+\.\d+)", version)
    return match[1] if match else version


def kubernetes_minor(server: dict[str, str]) -> int:
    """The minor of ``/version``, whose field may read ``32+``. 0 when it cannot be read."""
    match = re.match(r"\d+", server.get("minor") or "")
    return int(match[0]) if match else 0


def helm_supported(version: str) -> bool:
    """Whether this collection works with a version of helm, as ``4.3.1``."""
    match = re.match(r"(\d+)\.(\d+)", version)
    if not match:
        return False
    found = int(match[1]), int(match[2])
    return found >= HELM_OLDEST and found[0] <= HELM_NEWEST_MAJOR
