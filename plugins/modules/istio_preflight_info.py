#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_preflight_info
version_added: 0.1.0
short_description: Check cluster prerequisites before anything is changed
description:
  - Checks helm, the API server, versions against the support table, permissions, charts and capacity, node ports and
    load balancers, existing Istio installations and their leftovers, namespaces, quotas and LimitRanges, and the
    guide's recommendations for application namespaces.
  - Reports findings with a stable code, the object, a message and a fix; docs/findings.md lists them. If any finding is
    an error, the module fails with one message that lists all of them.
  - Writes nothing. Permissions are checked by access reviews, node ports by a dry run.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
  - meshops.istio.mesh
  - meshops.istio.mesh.gateways
options:
  application_namespaces:
    description:
      - Application namespaces in which the run needs permissions.
      - Labels, ports and sidecars are checked in these namespaces and in every namespace with injection enabled.
    type: list
    elements: str
    default: []
  istioctl_binary:
    description: Path of istioctl, or its name on PATH. If not set, istioctl is not checked. Only manual injection needs
      it.
    type: path
  pod_security_mechanism:
    description:
      - Pod security mechanism of the cluster, which determines the permissions that are checked.
      - V(auto) detects it, as M(meshops.istio.istio_pod_security) does.
    type: str
    choices: [auto, PodSecurityPolicy, SecurityContextConstraints, PodSecurityAdmission]
    default: auto
  verify_from:
    description: Where M(meshops.istio.istio_liveness) sends requests from. V(cluster) requires an additional
      permission.
    type: str
    choices: [controller, cluster]
    default: controller
  recommended_cpu:
    description: Free CPU, in cores, below which a warning is reported.
    type: str
    default: "4"
  recommended_memory:
    description: Free memory below which a warning is reported.
    type: str
    default: 8G
  ignore:
    description: Codes of findings to ignore.
    type: list
    elements: str
    default: []
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Check a cluster for the NodePort path
  meshops.istio.istio_preflight_info:
    chart_version: 1.31.1
    exposure: NodePort
    gateways:
      - name: istio-ingressgateway
        node_ports: {http2: 30010}
"""

RETURN = r"""
findings:
  description: All findings that are not ignored.
  returned: always
  type: list
  elements: dict
  contains:
    severity:
      description: V(error) or V(warning).
      returned: always
      type: str
      sample: error
    code:
      description: Stable code.
      returned: always
      type: str
      sample: node-port-taken
    object:
      description: Variable or object that the finding is about.
      returned: always
      type: str
      sample: gateway istio-ingressgateway, port http2
    message:
      description: What is wrong.
      returned: always
      type: str
      sample: node port 30010 is in use by Service default/web (port http).
    fix:
      description: What to do.
      returned: always
      type: str
      sample: Choose another node port in istio_helm_gateways, or change that Service.
versions:
  description: Versions found.
  returned: always
  type: dict
  sample: {helm: 4.3.1, istio: 1.31.1, kubernetes: 1.37.2}
cluster:
  description: Facts about the cluster, such as its UID and free capacity.
  returned: always
  type: dict
  sample: {free: {cpu: "3.2", memory_mib: 7000, nodes: 1}, uid: 9b5f6a0e-2f55-4b0e-a5a4-6d6d1a1b8b1c}
errors:
  description: Each error that C(msg) reports, in parts. Absent if an option is invalid.
  returned: failure
  type: list
  elements: dict
  contains:
    code:
      description: Code of the finding, as in docs/findings.md. Empty if it has none.
      returned: always
      type: str
      sample: room-none
    object:
      description: Object that the error is about. Empty if the message names it.
      returned: always
      type: str
      sample: gateway
    message:
      description: What is wrong.
      returned: always
      type: str
      sample: its pod fits on no node.
    fix:
      description: What to do. Empty if there is no fix.
      returned: always
      type: str
      sample: Add a node.
timing:
  description: Start time, by the clock of the host where the task ran, and duration in seconds.
  returned: always
  type: dict
  sample: {started: "2026-11-26T14:14:42.648Z", seconds: 3.271}
"""

from ansible_collections.meshops.istio.plugins.module_utils.jobs import preflight
from ansible_collections.meshops.istio.plugins.module_utils.jobs.as_module import run_module


def main() -> None:
    """Run the job."""
    run_module(preflight)


if __name__ == "__main__":
    main()
