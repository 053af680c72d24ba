#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_report
version_added: 0.1.0
short_description: Write a report of what the roles did
description:
  - Makes one self-contained page of HTML of the roles' results, and the same as JSON and as JUnit. It holds the
    verdict, the one cause of a failure and its fix, the evidence, a timeline of the phases and of each pod's way to
    ready, what was changed, findings and versions.
  - Runs on the controller whatever the connection is, and writes nothing to the cluster. It lists the pods of
    O(namespaces), once each, where a phase has started some.
  - In check mode it writes its files too, because the plan is what a check is made for. The cluster, of which
    C(changed) speaks, is as it was.
  - Never fails because of what it reports, nor because it cannot write. Both are warnings.
  - Takes what it knows from results, never from their diffs, and hides what looks like a secret besides.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
options:
  phases:
    description:
      - Results that the roles have registered, by role, in the order in which they ran. An empty one is a role that
        did not run.
      - Known are V(preflight), V(psp_rbac), V(crds), V(istio_helm) and V(liveness_verify), and, which are shown only
        where they failed, V(variables) and V(cluster_twice).
    type: dict
    required: true
  directory:
    description:
      - Where to write NAME.html, NAME.json and NAME.xml; made if it is not there. A relative one begins where
        C(ansible-playbook) was called.
      - If empty, nothing is written, and the summary alone is returned.
    type: path
    default: istio-report
  name:
    description: The files' name without its ending. The inventory's name of the host if not given.
    type: str
  failed:
    description: Whether the host has failed, be it in none of O(phases).
    type: bool
    default: false
  namespaces:
    description: Namespaces whose pods are drawn as far as they became ready in this run, beside those of the releases.
    type: list
    elements: str
    default: []
attributes:
  action:
    description: Has a corresponding action plugin, so that some of its work happens on the controller.
    support: full
    details: All of it does.
  async:
    description: Supports being used with the C(async) keyword.
    support: none
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the cluster.
    support: full
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: none
requirements:
  - kubernetes >= 24.2.0
  - PyYAML >= 3.11
seealso:
  - module: ansible.builtin.set_stats
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Report what two roles did, even if they failed
  meshops.istio.istio_report:
    directory: /var/www/reports
    failed: "{{ inventory_hostname not in ansible_play_hosts }}"
    phases:
      istio_helm: "{{ istio_helm_result | default({}) }}"
      liveness_verify: "{{ liveness_verify_result | default({}) }}"
    namespaces: [istio-system, liveness]
  register: report

- name: Hand the summary to the next node of an AWX workflow
  ansible.builtin.set_stats:
    data:
      istio_report: "{{ {inventory_hostname: report.summary} }}"
    per_host: false
"""

RETURN = r"""
files:
  description: Paths of what was written. Empty where nothing was, or could be.
  returned: always
  type: dict
  sample:
    html: /home/me/istio-report/kvm.html
    json: /home/me/istio-report/kvm.json
    junit: /home/me/istio-report/kvm.xml
summary:
  description: The few words that a workflow goes on with. Empty where no report could be made.
  returned: always
  type: dict
  contains:
    verdict:
      description:
        - V(proven) after an answer through the mesh; V(done) where none was asked for; V(checked) in check mode;
          V(failed).
      returned: always
      type: str
      sample: proven
    text:
      description: The verdict in one sentence.
      returned: always
      type: str
      sample: "Istio 1.31.1 works: http://192.0.2.10:30010/healthz answered 200 through the gateway, over mutual TLS, 3
        times in a row."
    endpoint:
      description: Where the application answers; null where it was not asked for.
      returned: always
      type: str
      sample: http://192.0.2.10:30010/healthz
    changed:
      description: Whether a phase changed the cluster, or would in check mode.
      returned: always
      type: bool
      sample: true
    findings:
      description: How many findings there are of each severity.
      returned: always
      type: dict
      sample: {error: 0, warning: 1}
    cause:
      description: Code of the cause of a failure; empty for one that has no code, null where nothing failed.
      returned: always
      type: str
      sample: null
    seconds:
      description: From the beginning of the first phase to the end.
      returned: always
      type: float
      sample: 23.4
    report:
      description: Path of the page; null where it was not written.
      returned: always
      type: str
      sample: /home/me/istio-report/kvm.html
msg:
  description: Where the page is, in a line for people.
  returned: always
  type: str
  sample: "Report: /home/me/istio-report/kvm.html"
timing:
  description: When the job began on this machine's clock, and how long it took.
  returned: always
  type: dict
  sample: {started: "2026-11-26T14:14:42.648Z", seconds: 0.12}
"""
