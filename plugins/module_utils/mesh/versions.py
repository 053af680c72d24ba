# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions go together: data, so that a new Istio is a new row and never new code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.version_numbers import numbers


class KubernetesRange(NamedTuple):
    """Kubernetes minors that an Istio minor runs on.

    :ivar int lowest: below it, Istio does not support the cluster
    :ivar int highest: the newest that Istio's project or our own tests have run it on
    """

    lowest: int
    highest: int


#: Istio minor -> Kubernetes 1.x minors. Lowest: from 1.25 on MinK8SVersion in that Istio's
#: istioctl/pkg/install/k8sversion, before it the table. Highest: the table at
#: istio.io/latest/docs/releases/supported-releases. For 1.31 Istio's announcement says 1.32 to 1.36; 1.37 is what this
#: collection is tested on.
KUBERNETES_FOR_ISTIO: dict[str, KubernetesRange] = {
    "1.16": KubernetesRange(22, 25),
    "1.17": KubernetesRange(23, 26),
    "1.18": KubernetesRange(24, 27),
    "1.19": KubernetesRange(25, 28),
    "1.20": KubernetesRange(25, 29),
    "1.21": KubernetesRange(26, 29),
    "1.22": KubernetesRange(27, 30),
    "1.23": KubernetesRange(27, 30),
    "1.24": KubernetesRange(28, 31),
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
#: (Istio minor, Helm major) -> why that Helm cannot install that Istio; every other pair of supported ones goes
#: together.
HELM_REFUSES: dict[tuple[str, int], str] = {
    ("1.27", 4): (
        "the schema of the gateway chart rejects the chart's own values "
        '("additional properties ... not allowed"), and Helm 4 enforces it'
    ),
}
#: The first Istio whose istiod is told of Istio CNI by ``pilot.cni.enabled``; before, it was ``istio_cni.enabled``.
ISTIOD_CNI_SINCE = (1, 24)
#: Minors that istioctl may be away from Istio, as Istio's own version skew policy has it.
ISTIOCTL_SKEW = 1


def minor_of(version: str) -> str:
    """``1.31`` of ``v1.31.0-beta.1``; the text itself when it is not a version."""
    found = numbers(version)
    return f"{found[0]}.{found[1]}" if found else version


def kubernetes_minor(server: dict[str, str]) -> int:
    """The minor of ``/version``, whose field may read ``32+`` or, in own builds, be empty. 0 when unreadable."""
    match = re.match(r"\d+", server.get("minor") or "")
    found = numbers(server.get("gitVersion", ""))
    return int(match[0]) if match else found[1] if found else 0


def helm_supported(version: str) -> bool:
    """Whether this collection works with a version of helm, as ``4.3.1``."""
    found = numbers(version) if version[:1].isdigit() else ()
    return bool(found) and found[:2] >= HELM_OLDEST and found[0] <= HELM_NEWEST_MAJOR


def helm_refusal(istio: str, helm: str) -> str | None:
    """Why a version of helm cannot install an Istio minor, or None when it can."""
    major = helm.partition(".")[0]
    return HELM_REFUSES.get((istio, int(major))) if major.isdigit() else None


def minors_apart(one: str, other: str) -> int | None:
    """How many minors lie between two versions of the same major; None when they are no such versions."""
    mine, theirs = numbers(one), numbers(other)
    return abs(mine[1] - theirs[1]) if mine and theirs and mine[0] == theirs[0] else None


def istiod_cni_key(istio_version: str) -> str:
    """Where the istiod chart of an Istio takes that Istio CNI redirects the applications' traffic (istio#54968)."""
    found = numbers(istio_version)
    return "istio_cni.enabled" if found and found[:2] < ISTIOD_CNI_SINCE else "pilot.cni.enabled"


def kubernetes_findings(istio_version: str, server: dict[str, str], host: str) -> list[Finding]:
    """Whether an Istio runs on a cluster of this version.

    :arg dict server: what ``/version`` answers
    :arg host: the API server, as the findings name it
    """
    istio = minor_of(istio_version)
    supported = KUBERNETES_FOR_ISTIO.get(istio)
    if supported is None:
        known = ", ".join(KUBERNETES_FOR_ISTIO)
        fix = "Set istio_helm_chart_version to a version in that table, or check Istio's own support table."
        return [Finding("istio-unknown", f"Istio {istio}", f"is not in the support table, which covers {known}.", fix)]
    minor = kubernetes_minor(server)
    message = (
        f"runs Kubernetes {server['gitVersion']}; "
        f"Istio {istio} is known to run on 1.{supported.lowest} to 1.{supported.highest}."
    )
    if minor < supported.lowest:
        return [
            Finding(
                "kubernetes-too-old", host, message, "Upgrade the cluster, or set an older istio_helm_chart_version."
            )
        ]
    if minor > supported.highest:
        fix = "Continue, as it probably works, or set a newer istio_helm_chart_version that is tested on it."
        return [Finding("kubernetes-untested", host, message, fix)]
    return []


def helm_findings(binary: str, version: str, istio_version: str, chart_names: Iterable[str]) -> list[Finding]:
    """Whether a helm can install these charts of an Istio.

    :arg binary: path of helm, as the findings name it
    :arg version: what it says of itself, as ``4.3.1``
    """
    fix = "set istio_helm_helm_binary to its path, or set preflight_fetch_tools: true."
    if not helm_supported(version):
        oldest = ".".join(map(str, HELM_OLDEST))
        message = f"is helm {version}, but only {oldest} to {HELM_NEWEST_MAJOR}.x are supported."
        return [Finding("helm-unsupported", binary, message, f"Install a supported version and {fix}")]
    istio = minor_of(istio_version)
    refusal = helm_refusal(istio, version)
    if refusal and "gateway" in chart_names:
        message = f"is helm {version}, which cannot install Istio {istio}: {refusal}."
        return [
            Finding("helm-unsupported", binary, message, "Install helm 3, and set istio_helm_helm_binary to its path.")
        ]
    return []


def istioctl_findings(binary: str, version: str, istio_version: str) -> list[Finding]:
    """Whether an istioctl is close enough to an Istio."""
    apart = minors_apart(version, istio_version)
    if apart is not None and apart <= ISTIOCTL_SKEW:
        return []
    message = f"is istioctl {version}, more than {ISTIOCTL_SKEW} minor version away from Istio {istio_version}."
    fix = f"Install istioctl {minor_of(istio_version)}, and set istio_helm_istioctl_binary to its path."
    return [Finding("istioctl-skewed", binary, message, fix)]
