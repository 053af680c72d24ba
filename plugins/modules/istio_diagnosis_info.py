#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_diagnosis_info
version_added: 0.1.0
short_description: Find why a mesh does not work
description:
  - Looks at Istio, its gateways and the applications behind them, and says what is wrong. Pods that are refused or do
    not start, an istiod that does not serve, missing sidecars, routes that lead nowhere, addresses that do not answer,
    and ends that disagree about mutual TLS.
  - One finding is the root cause, which must be fixed first; what it explains comes after it. Each has a stable
    code, the object, the message, the fix, and the evidence in the cluster's own words; docs/findings.md
    lists the codes.
  - The modules M(meshops.istio.istio_releases) and M(meshops.istio.istio_liveness) do the same when they fail.
  - Reads only. Kinds that may not be read are left out, and RV(diagnosis.skipped) names the checks that were skipped;
    docs/rbac-diagnose.yml has the rights for all of them.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
options:
  namespace:
    description: Istio's namespace.
    type: str
    default: istio-system
  gateways:
    description: Gateways to look at, as C(NAMESPACE/NAME) of their Service. If empty, those that are there.
    type: list
    elements: str
    default: []
  application_namespaces:
    description: Namespaces of applications. If empty, those whose labels ask for injection.
    type: list
    elements: str
    default: []
  host_header:
    description: A host that should be answered for through the gateways; what is missing on its way is then found too.
    type: str
  port:
    description: Name of the gateways' port to which connections are tried; the first if there is none of that name.
    type: str
    default: http2
  address:
    description: Where the gateways answer, as C(HOST:PORT), if their Services do not say it.
    type: str
  connect:
    description: Whether to try connections to the gateways' addresses from where the task runs.
    type: bool
    default: true
  istioctl_binary:
    description:
      - Path of istioctl, or its name on PATH. Its C(analyze) is folded in after the module's own findings, and its
        C(proxy-status) tells which proxies are out of sync.
      - Without it, neither is looked at.
    type: path
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Find out why the shop is not reached
  meshops.istio.istio_diagnosis_info:
    application_namespaces: [shop]
    host_header: shop.example.com
  register: mesh

- name: Stop where something is wrong
  ansible.builtin.assert:
    that: mesh.diagnosis.main is none
    fail_msg: "{{ mesh.diagnosis.main }}"
"""

RETURN = r"""
lines:
  description: The same for people, a line for each finding with its fix, and below it what it was seen by.
  returned: always
  type: list
  elements: str
diagnosis:
  description: What was found.
  returned: always
  type: dict
  contains:
    main:
      description: The finding to mend first, the first of RV(diagnosis.findings); null if there is none.
      returned: always
      type: dict
    findings:
      description: Causes before what they explain, errors before warnings, the deepest first.
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
          description: Object that it is about.
          returned: always
          type: str
          sample: VirtualService shop/web
        message:
          description: What is wrong.
          returned: always
          type: str
          sample: names Gateway shop/wbe, which is not there, so that no gateway knows its routes.
        fix:
          description: What to do.
          returned: always
          type: str
          sample: "Name a Gateway that is there in spec.gateways: shop/web"
        evidence:
          description: What it was seen by, from objects and events, in their own words where they have any.
          returned: always
          type: list
          elements: str
          sample: ["spec.gateways: wbe"]
    skipped:
      description: Checks that were not made, each with the reason.
      returned: always
      type: list
      elements: str
      sample: ["subsets: DestinationRule may not be read"]
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
      sample: api-unreachable
    object:
      description: What it is about; empty where the message names that itself.
      returned: always
      type: str
      sample: The API server https://192.0.2.1:6443
    message:
      description: What is wrong with it.
      returned: always
      type: str
      sample: "cannot be reached: connection refused."
    fix:
      description: What to do; empty where the message says all.
      returned: always
      type: str
      sample: Check the address in the kubeconfig (or host).
timing:
  description: When the job began, by the clock of the machine where it ran, and how long it took.
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
