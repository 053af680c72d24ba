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
  - Checks helm, the API server, versions against the support table, rights, charts and room; node ports and load
    balancers; an Istio that is there already, and what a dead one left; namespaces, quotas and LimitRanges; and what
    the guide recommends on the namespaces of applications.
  - Every check adds findings with a stable code, the object, the message and the fix; docs/findings.md lists them. The
    module fails when one of them is an error, with one message about all of them.
  - Writes nothing. Rights are asked by access reviews, node ports by a dry run.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
  - meshops.istio.mesh
  - meshops.istio.mesh.gateways
options:
  application_namespaces:
    description:
      - Namespaces of applications in which the run will need rights.
      - Labels, ports and sidecars are looked at there, and in every namespace whose labels ask for injection.
    type: list
    elements: str
    default: []
  istioctl_binary:
    description: Path of istioctl, or its name on PATH. Not looked at if not given, as only manual injection needs it.
    type: path
  pod_security_mechanism:
    description:
      - How the cluster decides which pods may run, which has rights of its own.
      - V(auto) finds it, as M(meshops.istio.istio_pod_security) does.
    type: str
    choices: [auto, PodSecurityPolicy, SecurityContextConstraints, PodSecurityAdmission]
    default: auto
  verify_from:
    description: From where M(meshops.istio.istio_liveness) will ask; V(cluster) needs a right of its own.
    type: str
    choices: [controller, cluster]
    default: controller
  recommended_cpu:
    description: Processor time in cores below which the free room is warned of.
    type: str
    default: "4"
  recommended_memory:
    description: Memory below which the free room is warned of.
    type: str
    default: 8G
  ignore:
    description: Codes of findings to leave out.
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
      description: Variable or object that it is about.
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
  description: Versions that were found.
  returned: always
  type: dict
  sample: {helm: 4.3.1, istio: 1.31.1, kubernetes: 1.37.2}
cluster:
  description: Facts of the cluster, such as its UID and free room.
  returned: always
  type: dict
  sample: {free: {cpu: "3.2", memory_mib: 7000, nodes: 1}, uid: 9b5f6a0e-2f55-4b0e-a5a4-6d6d1a1b8b1c}
errors:
  description: What C(msg) says, in parts, one for each thing that is wrong. Absent where an option is refused.
  returned: failure
  type: list
  elements: dict
  contains:
    code:
      description: Code of the finding that it is, as in docs/findings.md; empty where it is none.
      returned: always
      type: str
      sample: room-none
    object:
      description: What it is about; empty where the message names that itself.
      returned: always
      type: str
      sample: gateway
    message:
      description: What is wrong with it.
      returned: always
      type: str
      sample: its pod fits on no node.
    fix:
      description: What to do; empty where the message says all.
      returned: always
      type: str
      sample: Add a node.
timing:
  description: When the job began, by the clock of the machine where it ran, and how long it took.
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
