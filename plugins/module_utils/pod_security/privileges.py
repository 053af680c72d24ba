# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Istio's pods and those with a sidecar must be allowed, in the words of each of Kubernetes' mechanisms. Pure.

Two tables: what runs in a namespace needs a privilege, and a privilege is a level of Pod Security Admission, a
PodSecurityPolicy (the guide's way, until Kubernetes 1.24) or one of OpenShift's SecurityContextConstraints.
"""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout

ADMISSION, POLICY, CONSTRAINTS = "PodSecurityAdmission", "PodSecurityPolicy", "SecurityContextConstraints"

#: What may run in a namespace.
RUNS = ("application", "control-plane", "node")


class Privilege(NamedTuple):
    """What pods must be allowed.

    :ivar str level: the strictest level of Pod Security Admission that admits them
    :ivar str policy: name of the PodSecurityPolicy, which is ours
    :ivar str constraints: name of the SecurityContextConstraints, OpenShift's own but for ``istio``
    """

    level: str
    policy: str
    constraints: str


#: From the least to the most. istiod and gateways bind low ports by a safe sysctl and need no capability; OpenShift's
#: default would refuse their user 1337, which is outside of a namespace's range, so ``nonroot-v2``. The init container
#: that redirects an application's traffic needs NET_ADMIN and NET_RAW. Istio CNI and ztunnel work on the node.
PRIVILEGES: dict[str, Privilege] = {
    "none": Privilege("baseline", "istio-baseline", "nonroot-v2"),
    "net-admin": Privilege("privileged", "istio", "istio"),
    "host": Privilege("privileged", "istio-node", "privileged"),
}


def privilege(runs: str, istio_cni: bool) -> str:
    """The key of ``PRIVILEGES`` that what runs in a namespace needs.

    :arg istio_cni: Istio CNI redirects the applications' traffic on the node, so that they have no istio-init
    """
    if runs == "node":
        return "host"
    return "net-admin" if runs == "application" and not istio_cni else "none"


def most(keys: set[str]) -> str:
    """The greatest of some privileges."""
    return max(keys, key=list(PRIVILEGES).index)


def check_level(namespace: str, level: str, needed: str, seccomp_profile: bool) -> None:
    """Refuse a level that is asked for and would refuse Istio's own containers.

    :arg needed: key of ``PRIVILEGES``
    :arg seccomp_profile: the proxies set one, as ``restricted`` demands of every container
    :raises JobError: it would
    """
    if level != "privileged" and needed != "none":
        raise ErrorAbout(
            f"level {level} rejects pods that need {PRIVILEGES[needed].level}.",
            object=f"Namespace {namespace}",
            fix="Remove the level, or install Istio CNI and set psp_rbac_istio_cni: true.",
        )
    if level == "restricted" and not seccomp_profile:
        raise ErrorAbout(
            "level restricted rejects proxies without a seccomp profile.",
            object=f"Namespace {namespace}",
            fix="Set global.proxy.seccompProfile: {type: RuntimeDefault} for istiod in istio_helm_values and "
            "psp_rbac_seccomp_profile: true, or use level baseline.",
        )
