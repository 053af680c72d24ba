#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_releases
version_added: 0.1.0
short_description: Install, upgrade and repair the Helm releases of a mesh
description:
  - Renders a description of a mesh as Helm releases of Istio's own charts. Runs helm only for releases whose chart,
    values or status differ from what Helm has stored, or whose objects are missing.
  - If everything is up to date, helm is not started and nothing is written.
  - A chart of the same version with other content counts as changed if a helm dry run would store another manifest,
    other hooks or other values. Charts are read like helm reads them, including subcharts and C(.helmignore).
  - Detects before helm starts what would make it fail halfway, which is objects of other installers, fields of other
    field managers, node ports in use, and objects that the API server would reject.
  - Check mode and diffs show each object as returned by the API server's dry run, without the fields that controllers
    set. Objects whose namespace or kind does not exist yet are validated against the published schema, and marked.
  - While it writes, and until what it wrote is ready, the module holds a Lease in Istio's namespace. Other runs wait
    for it. A holder whose Lease does not change for its duration (30 seconds) while it is watched is considered dead.
    Clocks of different machines are never compared.
  - Recovers releases that a killed run left pending. A pending release from elsewhere is recovered if it is older than
    O(wait_timeout) by the API server's clock. If it is younger, another pipeline may be writing it, and the module
    fails. Check mode takes no Lease, and watches it only if a release is pending.
  - C(helm list), C(helm history) and C(helm rollback) work as usual. The description of a revision names the chart that
    it was made from.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
  - meshops.istio.mesh
  - meshops.istio.mesh.gateways
options:
  repair_drift:
    description:
      - Revert drift, which is fields that were modified outside Helm, to the values of the release. If V(false), drift
        is not reverted, but reported by a warning and in RV(releases[].drift).
      - Fields that controllers own, such as an autoscaler's replicas or the CA bundle of a webhook, are not drift.
        Neither are labels, ports and other keys and items that were added where the API server merges them separately.
      - A key that was added to an atomic field, such as a Service's selector, is drift.
    type: bool
    default: false
  planned:
    description:
      - RV(ignore:planned) of M(meshops.istio.istio_pod_security) and M(meshops.istio.istio_crds), which is what earlier
        tasks of the same run changed, or would in check mode.
      - Check mode does not report these changes a second time.
    type: dict
    default: {}
  wait_for:
    description:
      - V(gateways) waits until the control plane and its injection webhook are available, and then for the gateways.
      - V(control-plane) does not wait for the gateways. Use it before M(meshops.istio.istio_liveness), which does.
      - V(nothing) waits only for what the next stage needs.
    type: str
    choices: [gateways, control-plane, nothing]
    default: gateways
  wait_timeout:
    description: Seconds to wait for each stage (control plane, gateways), for each helm command, and for another run
      that holds the Lease (at least 40).
    type: int
    default: 300
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Install the control plane and an ingress gateway behind the cloud's load balancer
  meshops.istio.istio_releases:
    chart_version: 1.31.1

- name: Install ingress and egress gateways on pinned node ports
  meshops.istio.istio_releases:
    chart_version: 1.31.1
    exposure: NodePort
    gateways:
      - name: istio-ingressgateway
        node_ports: {http2: 30010, https: 30011, status-port: 30012}
      - name: istio-egressgateway
    values:
      istiod:
        resources: {requests: {cpu: 100m, memory: 512Mi}}
"""

RETURN = r"""
namespaces:
  description: Namespaces that did not exist and were created, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: []
releases:
  description: Each release and what was done, or would be in check mode. After a failure, only the releases that helm
    wrote before it.
  returned: success, or something was written
  type: list
  elements: dict
  contains:
    name:
      description: Name of the release.
      returned: always
      type: str
      sample: istiod
    namespace:
      description: Namespace of the release.
      returned: always
      type: str
      sample: istio-system
    chart:
      description: Name of the chart.
      returned: always
      type: str
      sample: istiod
    chart_version:
      description: Version of the chart.
      returned: always
      type: str
      sample: 1.31.1
    action:
      description: One of V(none), V(install), V(upgrade), V(restore) (objects were missing), V(repair) (fields had
        drifted) and V(recover) (the release was left pending).
      returned: always
      type: str
      sample: upgrade
    reasons:
      description: Reasons for the action, in a few words each.
      returned: always
      type: list
      elements: str
      sample: [values]
    drift:
      description: Fields that were modified outside Helm.
      returned: always
      type: list
      elements: str
      sample: [spec.replicas of Deployment istio-system/istiod]
    objects:
      description: What helm does to each object. Determined in check mode, for diffs, and if objects exist already.
      returned: always
      type: list
      elements: str
      sample: [changed Deployment istio-system/istiod]
gateways:
  description:
    - The gateways among the releases, as described by their objects. C(kind) and C(workload) identify the workload,
      whose pods have C(labels) and the service account C(account). C(service) has C(type), C(ports) and C(selector).
  returned: success
  type: list
  elements: dict
  sample:
    - namespace: istio-system
      name: istio-ingressgateway
      kind: Deployment
      workload: istio-ingressgateway
      service: istio-ingressgateway
      type: NodePort
      ports: [{name: http2, port: 80, protocol: TCP, targetPort: 80}]
      selector: {app: istio-ingressgateway, istio: ingressgateway}
      labels: {app: istio-ingressgateway, istio: ingressgateway, sidecar.istio.io/inject: "true"}
      account: istio-ingressgateway
objects:
  description: Objects, and releases as C(release NAMESPACE/NAME), that were written before a failure, including a
    release that helm had started to write.
  returned: failure, and something was written
  type: list
  elements: str
  sample: [Namespace istio-system, release istio-system/istiod]
findings:
  description: Gateways of earlier runs that this run does not list. docs/findings.md explains each code.
  returned: success
  type: list
  elements: dict
  sample:
    - severity: warning
      code: gateway-not-listed
      object: Release istio-system/istio-ingressgateway
      message: is a gateway (Deployment istio-ingressgateway) that this run does not list. It keeps serving traffic.
      fix: >-
        Add it to istio_helm_gateways, or uninstall it: helm uninstall istio-ingressgateway --namespace istio-system
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
      sample: Release istio-system/istiod
    message:
      description: What is wrong.
      returned: always
      type: str
      sample: "has been pending-upgrade for 12 s: another pipeline may be running."
    fix:
      description: What to do. Empty if there is no fix.
      returned: always
      type: str
      sample: Wait for it to end.
timing:
  description: Start time, by the clock of the host where the task ran, and duration in seconds.
  returned: always
  type: dict
  sample: {started: "2026-11-26T14:14:42.648Z", seconds: 3.271}
"""

from ansible_collections.meshops.istio.plugins.module_utils.jobs import releases
from ansible_collections.meshops.istio.plugins.module_utils.jobs.as_module import run_module


def main() -> None:
    """Run the job."""
    run_module(releases)


if __name__ == "__main__":
    main()
