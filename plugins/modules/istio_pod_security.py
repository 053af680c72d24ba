#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_pod_security
version_added: 0.1.0
short_description: Let Istio's and the applications' pods run, with as little privilege as works
description:
  - Creates namespaces where they are missing, and labels them for Pod Security Admission at the lowest level that
    works.
  - Labels that somebody else has set are left alone. Where they would refuse the pods, the module says so and fails.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
options:
  namespaces:
    description: The namespaces, and what runs in each.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the namespace.
        type: str
        required: true
      runs:
        description:
          - V(control-plane) for istiod and gateways, which run at level V(baseline).
          - V(application) for pods with a sidecar, whose init container C(istio-init) needs C(NET_ADMIN) and thus level
            V(privileged) as long as Istio CNI does its work on the node.
        type: str
        choices: [application, control-plane]
        default: application
      level:
        description: Use this level instead.
        type: str
        choices: [restricted, baseline, privileged]
  force:
    description: Overwrite labels that somebody else has set.
    type: bool
    default: false
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Namespaces for Istio and an application
  meshops.istio.istio_pod_security:
    namespaces:
      - name: istio-system
        runs: control-plane
      - name: liveness
"""

RETURN = r"""
mechanism:
  description: How the cluster decides which pods may run.
  returned: success
  type: str
  sample: PodSecurityAdmission
levels:
  description: Level of each namespace.
  returned: success
  type: dict
  sample: {istio-system: baseline, liveness: privileged}
objects:
  description: Namespaces that were changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [Namespace istio-system]
"""

from ansible_collections.meshops.istio.plugins.module_utils.jobs import pod_security
from ansible_collections.meshops.istio.plugins.module_utils.module import run_module


def main() -> None:
    """Run the job."""
    run_module(pod_security)


if __name__ == "__main__":
    main()
