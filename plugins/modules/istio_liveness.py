#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_liveness
version_added: 0.1.0
short_description: Prove a mesh by requests through its gateways
description:
  - Applies an application with its Gateway and VirtualService, waits for it and for the gateways, finds their
    addresses, and asks each until it has answered 200 several times in a row.
  - What to wait for, which pods to select and which port to ask is read from the objects that the gateway's Helm
    release has stored, or from live ones where Helm has no release of it.
  - A gateway for what leaves the mesh (C(egress) in its label C(istio) or its name) routes no request to the
    application; it is asked whether it is ready. RV(evidence.gateways) says of each how it was proven, or why it was
    not.
  - Where the gateway's Service keeps requests on the node where they arrive (C(externalTrafficPolicy) V(Local)), only
    nodes that run a pod of it are asked. While a load balancer has no address, progress lines and the final message say
    what the cluster's events and controllers tell of it; where its provider has refused one for good, the wait ends.
  - With O(echo_path), proves from what the application received that its sidecar was called by the gateway over mutual
    TLS.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
  - meshops.istio.mesh.gateways
options:
  state:
    description:
      - V(absent) takes away what runs of this module have made for the application, and asks for nothing. With
        O(namespace), that is all that was made there under the name O(chart_release), whatever the options are now.
      - What was there before the application, what C(helm.sh/resource-policy) says C(keep) of, namespaces and
        CustomResourceDefinitions stay, and RV(kept) names them. O(namespace) loses the labels that this module has set,
        unless another application of this module is there.
    type: str
    choices: [present, absent]
    default: present
  manifests:
    description: The application's objects, or, with O(chart), those beside the chart's.
    type: list
    elements: dict
    required: true
  chart:
    description:
      - Directory or .tgz of the application's chart, where the task runs. It is rendered by helm and applied without a
        release; what Helm would run as a hook is left out.
    type: path
  chart_files:
    description:
      - A chart of the application that is handed over, file by file, its content by its path in the chart. It is
        rendered as O(chart) is. Where an earlier run has made objects of its optional kinds and this one has none
        of them (a C(PodDisruptionBudget), C(HorizontalPodAutoscaler) or C(ServiceMonitor) that the annotation
        C(meshops.istio/parts) of its Deployment names), they are deleted.
    type: dict
  chart_release:
    description: Name that the chart is rendered under.
    type: str
    default: liveness
  chart_values:
    description: Values of the chart.
    type: dict
    default: {}
  gateways_value:
    description:
      - Value of the chart that says which gateways lead to the application. Unless O(chart_values) has it, it is a list
        of what the chart's Gateways are made of, each with C(name) (empty for the first), C(selector), and C(http) and
        C(https), the numbers of the ports of the gateway's Service.
    type: str
  helm_binary:
    description: Path of helm, for O(chart); looked for on PATH if not given.
    type: path
  namespace:
    description: Namespace of objects that name none. It is applied too, with the labels of O(injection).
    type: str
  namespace_labels:
    description: Its labels, instead of those of O(injection).
    type: dict
  injection:
    description:
      - How the pods come by their sidecar. With V(automatic), by the injector, which labels of O(namespace) ask for it.
      - With V(manual), by C(istioctl kube-inject), which puts it into the pods' template before that is applied; a
        template that has it already stays as it is. The injector is turned away by the label
        C(istio-injection=disabled).
    type: str
    choices: [automatic, manual]
    default: automatic
  injection_source:
    description:
      - What tells C(istioctl kube-inject) how a sidecar looks. With V(config), istiod's ConfigMaps, which takes no
        right but to read them, and makes the same of the same each time. As istioctl cannot ask the nodes then,
        the proxy is no native sidecar unless the pods' annotation C(sidecar.istio.io/nativeSidecar) says C(true).
      - With V(live), the running istiod, which needs the rights to list pods and create C(pods/portforward) in
        O(istio_namespace).
    type: str
    choices: [config, live]
    default: config
  revision:
    description: Revision of the istiod that injects, or a tag of it; the default one if empty.
    type: str
    default: ''
  control_plane_revision:
    description:
      - Revision of the istiod in O(istio_namespace) that must serve the proxies of gateways and application; that of
        O(revision) if not given. Another one fails the proof, as nothing would be proven of this one.
    type: str
  istio_namespace:
    description: Namespace of that istiod.
    type: str
    default: istio-system
  istioctl_binary:
    description: Path of istioctl, for manual injection; looked for on PATH if not given.
    type: path
  preset:
    description:
      - What M(meshops.istio.istio_releases) installs when O(gateways) are not listed. Without it, nothing is known of
        gateways that are not listed.
    type: str
    choices: [lean, guide, none]
  exposure:
    description: Service type of listed gateways that name none.
    type: str
    choices: [LoadBalancer, NodePort]
  planned_gateways:
    description:
      - What M(meshops.istio.istio_releases) has returned as RV(ignore:gateways) in the same run.
      - Check mode, which may find the cluster without them, takes labels and ports from here.
    type: list
    elements: dict
    default: []
  gateway:
    description:
      - Name of the gateway that leads to the application. If not given, the first of O(gateways) that requests can
        reach, else V(istio-ingressgateway).
    type: str
  gateway_namespace:
    description: Its namespace. If not given, that of the listed gateway, else O(istio_namespace).
    type: str
  asked:
    description: Those of O(gateways) that are asked beside it, each as C(NAME) or C(NAMESPACE/NAME); all if empty.
    type: list
    elements: str
    default: []
  deployments:
    description: Further Deployments to wait for, each as C(NAMESPACE/NAME).
    type: list
    elements: str
    default: []
  port:
    description:
      - Name or number of the Service's port to ask. If not given, the one that takes requests of O(scheme), by its name
        (V(http2), V(http), V(http-...)), C(appProtocol) or number.
    type: str
  address:
    description:
      - C(HOST:PORT) to ask, where a provider forwards from elsewhere to the application's gateway. Found from the
        Service if not given. Other gateways are not asked with it.
    type: str
  scheme:
    description:
      - How to ask. With V(https) the server's certificate must be for O(host_header), which is sent as server name
        (SNI) too, and of an authority that is trusted. It cannot be asked so from inside of the cluster.
    type: str
    choices: [http, https]
    default: http
  ca_file:
    description: PEM certificates of the authorities to trust; the system's if not given.
    type: path
  path:
    description: Path to ask for.
    type: str
    default: /healthz
  host_header:
    description: Value of the Host header, where the VirtualService is not for V(*).
    type: str
  verify_from:
    description:
      - From where to ask. V(controller) is the machine on which the task runs, as users outside of the cluster would.
      - V(cluster) sends the requests to the API server, whose proxy passes them on to a pod of the gateway. It is for
        gateways that this machine cannot reach, such as behind an internal load balancer, and writes nothing. It proves
        the gateway, the sidecar and the application, and not the way to the gateway; a load balancer's address is
        waited for all the same. Needs the right to C(get) C(services/proxy) in the gateway's namespace.
      - The API server passes O(host_header) on as it is. A proxy in front of the API server that chooses by that header
        may not.
    type: str
    choices: [controller, cluster]
    default: controller
  echo_path:
    description: Path under which the application echoes the X-Forwarded-Client-Cert header it received. No proof of
      mutual TLS is asked for if not given.
    type: str
  successes:
    description: Answers of 200 in a row that count as proof.
    type: int
    default: 3
  wait_timeout:
    description: Seconds to wait for pods and address together, and again for the answers.
    type: int
    default: 300
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Ask for an application that is applied with its own Gateway and VirtualService
  meshops.istio.istio_liveness:
    manifests: "{{ lookup('ansible.builtin.template', 'app.yaml.j2') | meshops.istio.from_manifests }}"
    path: /healthz

- name: The guide's way, an own chart whose pods get their sidecar from istioctl kube-inject
  meshops.istio.istio_liveness:
    manifests: []
    chart: charts/liveness-chart
    chart_values: {ingress: {port: 30010}}
    namespace: liveness
    injection: manual

- name: Behind an internal load balancer that this machine cannot reach
  meshops.istio.istio_liveness:
    manifests: "{{ manifests }}"
    verify_from: cluster

- name: Over TLS, by the name that the certificate is for
  meshops.istio.istio_liveness:
    manifests: "{{ manifests }}"
    scheme: https
    host_header: mesh.example.com
    ca_file: /etc/pki/mesh-ca.pem

- name: Take the application away
  meshops.istio.istio_liveness:
    manifests: "{{ manifests }}"
    state: absent

- name: Through a forwarded port
  meshops.istio.istio_liveness:
    manifests: "{{ manifests }}"
    address: mesh.example.com:8080
"""

RETURN = r"""
objects:
  description: Objects of the application that were applied or deleted, or would be in check mode.
    Of a failure, those that had been written before.
  returned: success, or something was written
  type: list
  elements: str
  sample: [Deployment liveness/liveness]
injected:
  description: Workloads whose template holds the sidecar. Empty in check mode before there is an istiod to ask.
  returned: with manual injection
  type: list
  elements: str
  sample: [Deployment liveness/liveness]
kept:
  description: What was left as it is, and why.
  returned: with O(state=absent)
  type: list
  elements: str
  sample: ["PersistentVolumeClaim liveness/data: helm.sh/resource-policy: keep"]
evidence:
  description: What came back.
  returned: success, not in check mode, nor with O(state=absent)
  type: dict
  contains:
    url:
      description: What was asked for.
      returned: always
      type: str
      sample: http://192.0.2.10:30010/healthz
    status:
      description: Status of the last answer.
      returned: always
      type: int
      sample: 200
    server:
      description: Its Server header.
      returned: always
      type: str
      sample: istio-envoy
    latencies_ms:
      description: Milliseconds that each of the successes took.
      returned: always
      type: list
      elements: float
      sample: [4.2, 3.9, 4.0]
    tries:
      description: Requests that were sent.
      returned: always
      type: int
      sample: 3
    asked_from:
      description: O(verify_from). V(cluster) says that nothing in front of the gateway was tried.
      returned: always
      type: str
      sample: controller
    tls:
      description: What the server has shown of itself.
      returned: when it was asked over TLS
      type: dict
      sample:
        server_name: mesh.example.com
        version: TLSv1.3
        subject: mesh.example.com
        issuer: Example CA
        not_after: Nov 26 12:00:00 2027 GMT
    counted:
      description:
        - How many answers of 200 the proxies on the way have counted themselves meanwhile, those of others included. In
          place of C(metric) and C(answers) stands C(unknown), with the reason, where the account may not C(get)
          C(pods/proxy), or the proxies keep no such counter.
      returned: always
      type: dict
      sample:
        gateway: {metric: istio_requests_total, answers: 4}
        sidecar: {metric: istio_requests_total, answers: 4}
    mtls:
      description: SPIFFE identities of the application (C(by)) and of its caller (C(uri)), as the application was
        handed them.
      returned: when O(echo_path) is given
      type: dict
      sample:
        by: spiffe://cluster.local/ns/liveness/sa/liveness
        uri: spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway
    served_by:
      description:
        - The istiods that serve the proxies, C(gateway) and C(sidecar), as these say; RV(evidence.gateways) has it of
          each gateway. C(release) is the Helm release that owns it, where that was seen.
      returned: always
      type: dict
      sample:
        gateway:
          - address: istiod.istio-system.svc:15012
            service: istiod
            namespace: istio-system
            revision: default
            release: istio-system/istiod
    gateways:
      description:
        - Each gateway, first the application's, with C(name), C(namespace), C(proof), and what else is above where it
          was asked.
        - C(proof) is V(request) where it has routed requests to the application, V(readiness) where it has only said
          that it is ready, and V(none) where nothing was asked of it. C(why) says why it is not V(request).
      returned: always
      type: list
      elements: dict
      sample:
        - name: istio-ingressgateway
          namespace: istio-system
          proof: request
          url: http://192.0.2.10:30010/healthz
          status: 200
        - name: istio-egressgateway
          namespace: istio-system
          proof: readiness
          why: it is for what leaves the mesh, and routes no request to the application
          url: http://192.0.2.10:30022/healthz/ready
          status: 200
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
    object:
      description: What it is about; empty where the message names that itself.
      returned: always
      type: str
    message:
      description: What is wrong with it.
      returned: always
      type: str
    fix:
      description: What to do; empty where the message says all.
      returned: always
      type: str
timing:
  description: When the job began, by the clock of the machine where it ran, and how long it took.
  returned: always
  type: dict
  sample: {started: "2026-11-26T14:14:42.648Z", seconds: 3.271}
"""

from ansible_collections.meshops.istio.plugins.module_utils.jobs import liveness
from ansible_collections.meshops.istio.plugins.module_utils.jobs.as_module import run_module


def main() -> None:
    """Run the job."""
    run_module(liveness)


if __name__ == "__main__":
    main()
