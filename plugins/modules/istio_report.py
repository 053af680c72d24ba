#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_report
version_added: 0.1.0
short_description: Write a report of a run
description:
  - Writes the roles' results as one self-contained HTML page, as JSON and as JUnit. The report contains the verdict,
    the root cause of a failure and its fix, the evidence, a timeline of the phases and of each pod's startup, changes,
    findings and versions.
  - Always runs on the controller and writes nothing to the cluster. If a phase started pods, it lists the pods of
    O(namespaces), once for each namespace.
  - Writes its files in check mode too, because the report is the result of a check. C(changed) refers to the cluster,
    and is always false.
  - Never fails. If the report cannot be made or its files cannot be written, a warning says so.
  - Reads results but never their diffs, and hides values that look like secrets.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
options:
  phases:
    description:
      - Results that the roles registered, by role, in the order in which they ran. An empty result means that the role
        did not run.
      - Known phases are V(preflight), V(psp_rbac), V(crds), V(istio_helm) and V(liveness_verify), and V(variables) and
        V(cluster_twice), which are shown only if they failed.
    type: dict
    required: true
  directory:
    description:
      - Directory for NAME.html, NAME.json and NAME.xml. It is created if it does not exist. A relative path starts at
        the directory in which C(ansible-playbook) was started.
      - If empty, no file is written and only the summary is returned.
    type: path
    default: istio-report
  name:
    description: Name of the files, without extension. Defaults to the inventory name of the host.
    type: str
  failed:
    description: Whether the host failed, even if none of O(phases) did.
    type: bool
    default: false
  namespaces:
    description: Namespaces whose pods are shown if they became ready in this run, besides those of the releases.
    type: list
    elements: str
    default: []
attributes:
  action:
    description: Has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
    details: All of it runs on the controller.
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

- name: Pass the summary to the next node of an AWX workflow
  ansible.builtin.set_stats:
    data:
      istio_report: "{{ {inventory_hostname: report.summary} }}"
    per_host: false
"""

RETURN = r"""
files:
  description: Paths of the files. Empty if none was written.
  returned: always
  type: dict
  sample:
    html: /home/me/istio-report/kvm.html
    json: /home/me/istio-report/kvm.json
    junit: /home/me/istio-report/kvm.xml
summary:
  description: Summary for workflows. Empty if the report failed.
  returned: always
  type: dict
  contains:
    verdict:
      description:
        - V(proven) after a response through the mesh, V(done) if no request was sent, V(checked) in check mode, else
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
      description: URL at which the application answered. Null if no request was sent.
      returned: always
      type: str
      sample: http://192.0.2.10:30010/healthz
    changed:
      description: Whether a phase changed the cluster, or would in check mode.
      returned: always
      type: bool
      sample: true
    findings:
      description: Number of findings of each severity.
      returned: always
      type: dict
      sample: {error: 0, warning: 1}
    cause:
      description: Code of the root cause of a failure. Empty if it has no code, null if nothing failed.
      returned: always
      type: str
      sample: null
    seconds:
      description: Seconds from the start of the first phase to the end.
      returned: always
      type: float
      sample: 23.4
    report:
      description: Path of the HTML page. Null if it was not written.
      returned: always
      type: str
      sample: /home/me/istio-report/kvm.html
msg:
  description: Path of the page, as one line of text.
  returned: always
  type: str
  sample: "Report: /home/me/istio-report/kvm.html"
timing:
  description: Start time, by the clock of the controller, and duration in seconds.
  returned: always
  type: dict
  sample: {started: "2026-11-26T14:14:42.648Z", seconds: 0.12}
"""
