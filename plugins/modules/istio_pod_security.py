#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_pod_security
version_added: 0.1.0
short_description: Configure pod security for Istio and its applications
description:
  - Detects the pod security mechanism of the cluster and grants Istio's pods, and pods with a sidecar, the least
    privilege that they need.
  - With Pod Security Admission, labels namespaces with the lowest level that works.
  - With PodSecurityPolicy (as in the guide, until Kubernetes 1.24) and OpenShift's SecurityContextConstraints, creates
    policies, ClusterRoles to use them, and in each namespace a RoleBinding for the service accounts of its pods.
  - Creates missing namespaces, and never deletes a namespace.
  - Does not change what other users have set. Labels that would reject the pods make the module fail; a policy, role or
    binding of the same name causes a warning.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
options:
  state:
    description:
      - V(absent) removes the labels, bindings, roles and policies that this module created for O(namespaces). Roles and
        policies that a binding in another namespace needs, or that are in use elsewhere, are kept, with a warning. This
        requires permission to list bindings and roles in the whole cluster.
    type: str
    choices: [present, absent]
    default: present
  mechanism:
    description:
      - Pod security mechanism of the cluster.
      - V(auto) detects it. SecurityContextConstraints are used if the API server serves them. PodSecurityPolicy is used
        if its admission controller is active, which is tested by a dry run of a pod in namespace C(default).
    type: str
    choices: [auto, PodSecurityPolicy, SecurityContextConstraints, PodSecurityAdmission]
    default: auto
  namespaces:
    description: The namespaces, and what runs in each. A namespace may be listed more than once.
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
          - V(node) for Istio CNI and ztunnel, which are privileged and configure the node.
        type: str
        choices: [application, control-plane, node]
        default: application
      level:
        description:
          - Pod Security level of the namespace, instead of the lowest that works.
          - A level that would reject Istio's own containers is an error.
        type: str
        choices: [restricted, baseline, privileged]
      service_accounts:
        description:
          - Service accounts that may use the policy, instead of those that the namespace's workloads use. V(*) means
            all service accounts of the namespace.
          - Defaults to V(*) for V(control-plane), and to C(istio-cni) and C(ztunnel) for V(node).
        type: list
        elements: str
  istio_cni:
    description: Istio CNI redirects the applications' traffic, so their pods have no C(istio-init).
    type: bool
    default: false
  seccomp_profile:
    description: The proxies set a seccomp profile, which level V(restricted) requires.
    type: bool
    default: false
  guide_rules:
    description:
      - Use the guide's rules unchanged for the PodSecurityPolicy C(istio) (privileged containers, C(NET_ADMIN), all
        volume types), instead of C(NET_ADMIN), C(NET_RAW) and all volume types except those of the node.
      - The current C(istio-init) needs C(NET_RAW), which the guide's rules do not allow.
    type: bool
    default: false
  force:
    description: Take over labels, policies, roles and bindings that another user created.
    type: bool
    default: false
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Configure pod security for Istio and an application
  meshops.istio.istio_pod_security:
    namespaces:
      - name: istio-system
        runs: control-plane
      - name: shop

- name: Configure pod security with Istio CNI, where the application needs only level baseline
  meshops.istio.istio_pod_security:
    istio_cni: true
    namespaces:
      - name: istio-system
        runs: node
      - name: shop

- name: Bind only two service accounts on a cluster with PodSecurityPolicy
  meshops.istio.istio_pod_security:
    mechanism: PodSecurityPolicy
    namespaces:
      - name: shop
        service_accounts: [default, cart]

- name: Remove the pod security of this module
  meshops.istio.istio_pod_security:
    state: absent
    namespaces:
      - name: istio-system
      - name: shop
"""

RETURN = r"""
mechanism:
  description: Pod security mechanism of the cluster.
  returned: O(state=present)
  type: str
  sample: PodSecurityAdmission
levels:
  description: Pod Security level of each namespace.
  returned: O(state=present), with Pod Security Admission
  type: dict
  sample: {istio-system: baseline, liveness: privileged}
policies:
  description: The most permissive policy or constraints that the pods of each namespace may use.
  returned: O(state=present), with PodSecurityPolicy or SecurityContextConstraints
  type: dict
  sample: {istio-system: istio-baseline, liveness: istio}
service_accounts:
  description: The service accounts found in each namespace that needs them bound.
  returned: O(state=present), with PodSecurityPolicy or SecurityContextConstraints
  type: dict
  sample: {shop: [cart, default]}
objects:
  description: Objects that were changed or deleted, or would be in check mode. After a failure, those written before
    it.
  returned: success, or something was written
  type: list
  elements: str
  sample: [Namespace istio-system, RoleBinding shop/istio]
planned:
  description: The same objects, each with a digest of its desired state, for option O(ignore:planned) of
    M(meshops.istio.istio_releases).
  returned: success
  type: dict
  sample: {Namespace istio-system: 0f4c2a1b9d8e7f60}
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
      sample: ""
    object:
      description: Object that the error is about. Empty if the message names it.
      returned: always
      type: str
      sample: Namespace liveness
    message:
      description: What is wrong.
      returned: always
      type: str
      sample: enforces Pod Security level restricted, set by another field manager, but its pods need baseline.
    fix:
      description: What to do. Empty if there is no fix.
      returned: always
      type: str
      sample: "Ask the label's owner to change it, or set psp_rbac_force: true."
timing:
  description: Start time, by the clock of the host where the task ran, and duration in seconds.
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
