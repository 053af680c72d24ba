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
  - Finds how the cluster decides which pods may run, and allows what Istio's pods and those with a sidecar need there.
  - With Pod Security Admission, labels namespaces at the lowest level that works.
  - With PodSecurityPolicy (the guide's way, until Kubernetes 1.24) and OpenShift's SecurityContextConstraints, creates
    policies, ClusterRoles to use them, and in each namespace a RoleBinding for the service accounts of its pods.
  - Namespaces that are missing are created. They are never deleted.
  - What somebody else has set is left alone. Labels that would refuse the pods make the module fail; a policy, role or
    binding of the same name makes it warn.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
options:
  state:
    description:
      - V(absent) takes back the labels, bindings, roles and policies that this module has made for O(namespaces).
        Roles and policies stay while a binding in another namespace needs them, and while others use them, which a
        warning tells. For that the account lists bindings and roles of the whole cluster.
    type: str
    choices: [present, absent]
    default: present
  mechanism:
    description:
      - How the cluster decides which pods may run.
      - V(auto) finds it from what the API server does. SecurityContextConstraints are chosen where they are served.
        PodSecurityPolicy is chosen where its admission is active, which the dry run of a pod in namespace C(default)
        tells; to be served is not enough.
    type: str
    choices: [auto, PodSecurityPolicy, SecurityContextConstraints, PodSecurityAdmission]
    default: auto
  namespaces:
    description: The namespaces, and what runs in each. One may be named more than once.
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
          - V(control-plane) for istiod and gateways, which need no capability.
          - V(application) for pods with a sidecar, whose init container C(istio-init) needs C(NET_ADMIN) and
            C(NET_RAW), unless O(istio_cni).
          - V(node) for Istio CNI and ztunnel, which are privileged and work on the node.
        type: str
        choices: [application, control-plane, node]
        default: application
      level:
        description:
          - The level of Pod Security Admission, instead of the lowest that works.
          - A level that would refuse Istio's own containers is an error.
        type: str
        choices: [restricted, baseline, privileged]
      service_accounts:
        description:
          - Service accounts that may use the policy, instead of those that the namespace's pods use or would use. V(*)
            stands for all of the namespace.
          - For the control plane the default is all of the namespace, for V(node) C(istio-cni) and C(ztunnel).
        type: list
        elements: str
  istio_cni:
    description: Istio CNI redirects the applications' traffic, so that their pods have no C(istio-init).
    type: bool
    default: false
  seccomp_profile:
    description: The proxies set a seccomp profile, without which level V(restricted) refuses them.
    type: bool
    default: false
  guide_rules:
    description:
      - Give the PodSecurityPolicy C(istio) the guide's rules to the letter (privileged containers, C(NET_ADMIN), every
        volume), instead of C(NET_ADMIN), C(NET_RAW) and volumes that are not the node's.
      - The C(istio-init) of today needs C(NET_RAW), which the guide's rules do not allow.
    type: bool
    default: false
  force:
    description: Take over labels, policies, roles and bindings that somebody else has made.
    type: bool
    default: false
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Let Istio's and an application's pods run
  meshops.istio.istio_pod_security:
    namespaces:
      - name: istio-system
        runs: control-plane
      - name: shop

- name: With Istio CNI, the application needs no more than level baseline
  meshops.istio.istio_pod_security:
    istio_cni: true
    namespaces:
      - name: istio-system
        runs: node
      - name: shop

- name: On a cluster with PodSecurityPolicy, allow two service accounts and no others
  meshops.istio.istio_pod_security:
    mechanism: PodSecurityPolicy
    namespaces:
      - name: shop
        service_accounts: [default, cart]

- name: Take all of it back
  meshops.istio.istio_pod_security:
    state: absent
    namespaces:
      - name: istio-system
      - name: shop
"""

RETURN = r"""
mechanism:
  description: How the cluster decides which pods may run.
  returned: O(state=present)
  type: str
  sample: PodSecurityAdmission
levels:
  description: Level of each namespace.
  returned: O(state=present), with Pod Security Admission
  type: dict
  sample: {istio-system: baseline, liveness: privileged}
policies:
  description: The most lenient policy or constraints that each namespace's pods may use.
  returned: O(state=present), with PodSecurityPolicy or SecurityContextConstraints
  type: dict
  sample: {istio-system: istio-baseline, liveness: istio}
service_accounts:
  description: The service accounts that were found in each namespace where they had to be.
  returned: O(state=present), with PodSecurityPolicy or SecurityContextConstraints
  type: dict
  sample: {shop: [cart, default]}
objects:
  description: Objects that were changed or deleted, or would be in check mode.
    Of a failure, those that had been written before.
  returned: success, or something was written
  type: list
  elements: str
  sample: [Namespace istio-system, RoleBinding shop/istio]
planned:
  description: Those objects with a digest of each as it is wanted, for option O(ignore:planned) of
    M(meshops.istio.istio_releases).
  returned: success
  type: dict
  sample: {Namespace istio-system: 0f4c2a1b9d8e7f60}
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
      sample: ""
    object:
      description: What it is about; empty where the message names that itself.
      returned: always
      type: str
      sample: Namespace liveness
    message:
      description: What is wrong with it.
      returned: always
      type: str
      sample: enforces Pod Security level restricted, set by another field manager, but its pods need baseline.
    fix:
      description: What to do; empty where the message says all.
      returned: always
      type: str
      sample: "Ask the label's owner to change it, or set psp_rbac_force: true."
timing:
  description: When the job began, by the clock of the machine where it ran, and how long it took.
  returned: always
  type: dict
  sample: {started: "2026-11-26T14:14:42.648Z", seconds: 3.271}
"""

from ansible_collections.meshops.istio.plugins.module_utils.jobs import pod_security
from ansible_collections.meshops.istio.plugins.module_utils.jobs.as_module import run_module


def main() -> None:
    """Run the job."""
    run_module(pod_security)


if __name__ == "__main__":
    main()
