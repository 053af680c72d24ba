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
  - Turns a description of a mesh into Helm releases of Istio's own charts, and has helm write those that differ from
    what Helm has stored, in chart, values or status, or whose objects are not all there.
  - A run that finds everything in place reads and writes nothing, and does not start helm at all.
  - A chart of the same version that has other content is another if helm, asked by a dry run, would store another
    manifest, other hooks or other values. Charts are read as helm reads them, subcharts and C(.helmignore) included.
  - What would make helm stop half-way is found before it starts. This is objects of other installers, fields that other
    managers hold, node ports that are taken, and what the API server would refuse.
  - Check mode and diffs show each object as the API server's dry run has it, without what controllers set anyway.
    Objects whose namespace or kind is not there yet are checked against the published schema instead, and marked.
  - A run that writes holds a Lease in Istio's namespace until what it wrote is ready, and recovers releases that a
    killed run left pending. Another run waits for it. A holder whose Lease has not changed for as long as it said (30
    seconds) while it was watched is dead; clocks of different machines are not compared.
  - A pending release that no run of this collection left is recovered when it is older than O(wait_timeout) by the API
    server's clock; a younger one may be another pipeline at work, and stops the run. Check mode, which takes no Lease,
    watches it for that long only where a release is pending.
  - Helm's history stays the user's; C(helm list), C(helm history) and C(helm rollback) work as ever. The
    description of a revision says which chart it was made from.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
  - meshops.istio.mesh
  - meshops.istio.mesh.gateways
options:
  repair_drift:
    description:
      - Set fields that somebody has changed since helm wrote them back to what the release says. Without it they are
        left alone, and told by a warning and in RV(releases[].drift).
      - Fields that controllers hold, such as an autoscaler's replicas or the CA in a webhook, are no drift, nor are
        labels, ports and other keys and items that somebody has added where the API server keeps each on its own.
      - A key that somebody has added to a field of one piece, such as a Service's selector, is.
    type: bool
    default: false
  planned:
    description:
      - What earlier tasks of the same run have changed, or would in check mode. It is RV(ignore:planned) of
        M(meshops.istio.istio_pod_security) and M(meshops.istio.istio_crds).
      - Check mode, which finds the cluster without it, does not show it a second time.
    type: dict
    default: {}
  wait_for:
    description:
      - V(gateways) to wait until the control plane is available with its injector's webhook, and then the gateways.
      - V(control-plane) to leave the gateways to somebody who needs them, such as M(meshops.istio.istio_liveness).
      - V(nothing) to wait only for what the next stage needs.
    type: str
    choices: [gateways, control-plane, nothing]
    default: gateways
  wait_timeout:
    description: Seconds for each stage (control plane, gateways), for each call of helm, and for another run that holds
      the Lease, at least 40.
    type: int
    default: 300
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Control plane and ingress gateway behind the cloud's load balancer
  meshops.istio.istio_releases:
    chart_version: 1.31.1

- name: Ingress and egress gateways on pinned node ports
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
  description: Namespaces that are made because they were not there.
  returned: success
  type: list
  elements: str
  sample: []
releases:
  description: Each release and what was done about it, or would be in check mode. Of a failure, those alone that helm
    had written before.
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
      description: Its namespace.
      returned: always
      type: str
      sample: istio-system
    chart:
      description: Name of its chart.
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
        drifted) and V(recover) (left pending).
      returned: always
      type: str
      sample: upgrade
    reasons:
      description: Why, in a few words each.
      returned: always
      type: list
      elements: str
      sample: [values]
    drift:
      description: Fields that somebody has changed since helm wrote them.
      returned: always
      type: list
      elements: str
      sample: [spec.replicas of Deployment istio-system/istiod]
    objects:
      description: What helm does to each object. Looked at in check mode and for diffs, and where objects are there
        already.
      returned: always
      type: list
      elements: str
      sample: [changed Deployment istio-system/istiod]
gateways:
  description:
    - The gateways among the releases, and what their objects say of them, or will say. C(kind) and C(workload) run the
      pods, which have C(labels) and the service account C(account). C(service), of C(type) and with C(ports), leads to
      those that C(selector) selects.
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
  description: Objects, and releases by C(release NAMESPACE/NAME), that had been written before a failure. A release
    that helm had begun to write is among them.
  returned: failure, and something was written
  type: list
  elements: str
  sample: [Namespace istio-system, release istio-system/istiod]
findings:
  description: Gateways of earlier runs that this one does not list. Each code is explained in docs/findings.md.
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
      sample: Release istio-system/istiod
    message:
      description: What is wrong with it.
      returned: always
      type: str
      sample: "has been pending-upgrade for 12 s: another pipeline may be running."
    fix:
      description: What to do; empty where the message says all.
      returned: always
      type: str
      sample: Wait for it to end.
timing:
  description: When the job began, by the clock of the machine where it ran, and how long it took.
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
