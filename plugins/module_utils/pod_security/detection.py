# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a cluster decides which pods may run: found from what its API server does."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster, served_groups
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.privileges import (
    ADMISSION,
    CONSTRAINTS,
    POLICY,
)

#: Whom the admission plugin names: the policy that a pod was admitted by.
_ADMITTED_BY = "kubernetes.io/psp"
#: Where the dry run's pod would be: a namespace that every cluster has.
PROBED_NAMESPACE = "default"
#: The plugin's refusals name it so: the first in the guide's time, the second in Kubernetes 1.24.
_REFUSED = re.compile(r"pod security policy|PodSecurityPolicy", re.IGNORECASE)

_POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"generateName": "meshops-istio-", "namespace": PROBED_NAMESPACE},
    "spec": {"containers": [{"name": "probe", "image": "none"}], "automountServiceAccountToken": False},
}


def detect(cluster: Cluster, served: dict[str, set[str]] | None = None) -> str:
    """The mechanism of a cluster: SecurityContextConstraints where they are served (OpenShift), PodSecurityPolicy where
    its admission is active, which it need not be where it is served, else Pod Security Admission.

    :arg served: what ``served_groups`` says, if that is known already
    :raises JobError: a cluster that serves PodSecurityPolicy does not let us find out
    """
    served = served_groups(cluster) if served is None else served
    if "security.openshift.io" in served:
        return CONSTRAINTS
    if "v1beta1" in served.get("policy", ()) and _policies_admit(cluster):
        return POLICY
    return ADMISSION


def _policies_admit(cluster: Cluster) -> bool:
    """Ask by the dry run of a pod: the plugin notes the policy it used, or refuses in its own words."""
    try:
        pod = cluster.create(_POD, dry_run=True)
    except ApiError as error:
        if _REFUSED.search(error.message):
            return True
        raise JobError(
            f"Cannot determine whether PodSecurityPolicy admission is active: the dry run of a pod in namespace "
            f"{PROBED_NAMESPACE} was rejected: {error.message or error.reason}.",
            fix="Allow it, or set psp_rbac_mechanism: PodSecurityPolicy, or PodSecurityAdmission if it is inactive.",
            code="pod-security-unknown",
            quotes=[error.message],
        ) from error
    return _ADMITTED_BY in (pod["metadata"].get("annotations") or {})
