#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_diagnosis_info
version_added: 0.1.0
short_description: Find the root cause of a mesh failure
description:
  - Checks Istio, its gateways and the applications behind them. Finds pods that are rejected or do not start, an istiod
    that is not ready, missing sidecars, routes without a destination, addresses that do not answer, and mutual TLS
    settings that conflict.
  - One finding is the root cause, which must be fixed first. The findings that it explains follow. Each has a stable
    code, the object, a message, a fix, and evidence quoted from the cluster; docs/findings.md lists the codes.
  - The modules M(meshops.istio.istio_releases) and M(meshops.istio.istio_liveness) run the same diagnosis when they
    fail.
  - Only reads. Checks of kinds that the account has no permission to read are skipped and listed in
    RV(diagnosis.skipped); docs/rbac-diagnose.yml has the permissions for all checks.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
options:
  namespace:
    description: Istio's namespace.
    type: str
    default: istio-system
  gateways:
    description: Gateways to check, as C(NAMESPACE/NAME) of their Service. If empty, all that exist.
    type: list
    elements: str
    default: []
  application_namespaces:
    description: Application namespaces to check. If empty, those with injection enabled.
    type: list
    elements: str
    default: []
  host_header:
    description: Host that the gateways should serve. If set, its route is checked too.
    type: str
  port:
    description: Name of the gateway port to connect to. If no port has this name, the first is used.
    type: str
    default: http2
  address:
    description: C(HOST:PORT) of the gateways, if it cannot be read from their Services.
    type: str
  connect:
    description: Try to connect to the gateways' addresses from the host where the task runs.
    type: bool
    default: true
  istioctl_binary:
    description:
      - Path of istioctl, or its name on PATH. The findings of C(istioctl analyze) follow those of the module, and
        C(istioctl proxy-status) reports proxies that are out of sync.
      - If not set, both checks are skipped.
    type: path
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Find out why the shop cannot be reached
  meshops.istio.istio_diagnosis_info:
    application_namespaces: [shop]
    host_header: shop.example.com
  register: mesh

- name: Stop if something is wrong
  ansible.builtin.assert:
    that: mesh.diagnosis.main is none
    fail_msg: "{{ mesh.diagnosis.main }}"
"""

RETURN = r"""
lines:
  description: The findings as text. One line for each finding and its fix, followed by the evidence.
  returned: always
  type: list
  elements: str
diagnosis:
  description: The findings.
  returned: always
  type: dict
  contains:
    main:
      description: The root cause, which is the first of RV(diagnosis.findings). Null if nothing was found.
      returned: always
      type: dict
    findings:
      description: Causes come before what they explain, errors before warnings, and lower layers first.
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
          sample: gateway-unknown
        object:
          description: Object that the finding is about.
          returned: always
          type: str
          sample: VirtualService shop/web
        message:
          description: What is wrong.
          returned: always
          type: str
          sample: references Gateway shop/wbe, which does not exist, so no gateway has its routes.
        fix:
          description: What to do.
          returned: always
          type: str
          sample: Set spec.gateways to an existing Gateway (shop/web).
        evidence:
          description: Evidence from objects and events, quoted where they have a message.
          returned: always
          type: list
          elements: str
          sample: ["spec.gateways: wbe"]
    skipped:
      description: Checks that were skipped, each with the reason.
      returned: always
      type: list
      elements: str
      sample: ["subsets: no permission to read DestinationRule"]
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
      sample: api-unreachable
    object:
      description: Object that the error is about. Empty if the message names it.
      returned: always
      type: str
      sample: The API server https://192.0.2.1:6443
    message:
      description: What is wrong.
      returned: always
      type: str
      sample: "cannot be reached: connection refused."
    fix:
      description: What to do. Empty if there is no fix.
      returned: always
      type: str
      sample: Check the address in the kubeconfig (or host).
timing:
  description: Start time, by the clock of the host where the task ran, and duration in seconds.
  returned: always
  type: dict
  sample: {started: "2026-11-26T14:14:42.648Z", seconds: 0.481}
"""

from ansible_collections.meshops.istio.plugins.module_utils.jobs import diagnosis
from ansible_collections.meshops.istio.plugins.module_utils.jobs.as_module import run_module


def main() -> None:
    """Run the job."""
    run_module(diagnosis)


if __name__ == "__main__":
    main()
