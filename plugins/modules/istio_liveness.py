#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_liveness
version_added: 0.1.0
short_description: Verify traffic through the gateways of a mesh
description:
  - Applies an application with its Gateway and VirtualService, waits for it and for the gateways, finds their external
    addresses, and sends requests to each until it has answered 200 several times in a row.
  - The workload, the pod labels and the port of a gateway are read from the objects stored in its Helm release. If it
    has no release, they are read from live objects.
  - An egress gateway (C(egress) in its label C(istio) or its name) routes no request to the application; only its
    readiness is checked. RV(evidence.gateways) states how each gateway was proven, or why it was not.
  - If C(externalTrafficPolicy) of the gateway's Service is V(Local), requests are sent only to nodes that run a pod of
    the gateway. While a load balancer has no address, progress lines and the final message report what the cluster's
    events and controllers say about it. If its provider has rejected it permanently, the wait ends.
  - With O(echo_path), verifies from the headers that the application received that the gateway called its sidecar over
    mutual TLS.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
  - meshops.istio.mesh.gateways
options:
  state:
    description:
      - V(absent) deletes what this module created for the application, and sends no requests. With O(namespace), this
        is everything created there under the name O(chart_release), whatever the other options are now.
      - Objects that existed before the application, objects annotated with C(helm.sh/resource-policy) C(keep),
        namespaces and CustomResourceDefinitions are kept and listed in RV(kept). The labels that this module set on
        O(namespace) are removed, unless the namespace contains another application of this module.
    type: str
    choices: [present, absent]
    default: present
  manifests:
    description: Objects of the application. With O(chart), objects in addition to the chart's.
    type: list
    elements: dict
    required: true
  chart:
    description:
      - Chart of the application, as a directory or .tgz on the host where the task runs. helm renders it, and the
        module applies it without a release. Hooks are not applied.
    type: path
  chart_files:
    description:
      - Chart of the application, as a mapping of file paths in the chart to file contents. It is rendered like
        O(chart). Optional objects that an earlier run created and this run no longer renders are deleted. They are the
        C(PodDisruptionBudget), C(HorizontalPodAutoscaler) and C(ServiceMonitor) that the annotation
        C(meshops.istio/parts) of its Deployment names.
    type: dict
  chart_release:
    description: Release name with which the chart is rendered.
    type: str
    default: liveness
  chart_values:
    description: Helm values of the chart.
    type: dict
    default: {}
  gateways_value:
    description:
      - Key of the chart value that lists the gateways that route to the application. Unless O(chart_values) sets it, it
        is filled with a list whose items have C(name) (empty for the first), C(selector), and C(http) and C(https),
        the port numbers of the gateway's Service.
    type: str
  helm_binary:
    description: Path of helm, for O(chart). If not set, helm is looked up on PATH.
    type: path
  namespace:
    description: Namespace of objects that set none. It is created with the labels for O(injection).
    type: str
  namespace_labels:
    description: Labels of O(namespace), instead of those for O(injection).
    type: dict
  injection:
    description:
      - How the pods get their sidecar. With V(automatic), O(namespace) is labeled and the injector adds the sidecar.
      - With V(manual), C(istioctl kube-inject) adds the sidecar to the pod template before it is applied. A template
        that has a sidecar is not changed. The label C(istio-injection=disabled) disables the injector.
    type: str
    choices: [automatic, manual]
    default: automatic
  injection_source:
    description:
      - Where C(istioctl kube-inject) gets the sidecar template from. V(config) reads istiod's ConfigMaps, needs no
        other permission, and is reproducible. istioctl cannot query the nodes then, so the proxy is a native sidecar
        only if the pods' annotation C(sidecar.istio.io/nativeSidecar) is C(true).
      - V(live) queries the running istiod, and requires permission to list pods and create C(pods/portforward) in
        O(istio_namespace).
    type: str
    choices: [config, live]
    default: config
  revision:
    description: Revision or tag of the istiod that injects the sidecar. If empty, the default revision.
    type: str
    default: ''
  control_plane_revision:
    description:
      - Revision of the istiod in O(istio_namespace) that must serve the proxies of the gateways and the application.
        Defaults to O(revision). If another istiod serves them, the module fails.
    type: str
  istio_namespace:
    description: Namespace of istiod.
    type: str
    default: istio-system
  istioctl_binary:
    description: Path of istioctl, for manual injection. If not set, istioctl is looked up on PATH.
    type: path
  preset:
    description:
      - Preset of M(meshops.istio.istio_releases), which determines the gateways if O(gateways) is empty. If not set,
        only the gateways in O(gateways) are known.
    type: str
    choices: [lean, guide, none]
  exposure:
    description: Service type of gateways in O(gateways) that set none.
    type: str
    choices: [LoadBalancer, NodePort]
  planned_gateways:
    description:
      - RV(ignore:gateways) that M(meshops.istio.istio_releases) returned in the same run.
      - In check mode the gateways may not exist yet; labels and ports are then read from here.
    type: list
    elements: dict
    default: []
  gateway:
    description:
      - Name of the gateway that routes to the application. Defaults to the first of O(gateways) that requests can
        reach, else V(istio-ingressgateway).
    type: str
  gateway_namespace:
    description: Namespace of that gateway. Defaults to the one in O(gateways), else O(istio_namespace).
    type: str
  asked:
    description: Other gateways of O(gateways) to verify, each as C(NAME) or C(NAMESPACE/NAME). If empty, all of them.
    type: list
    elements: str
    default: []
  deployments:
    description: Other Deployments to wait for, each as C(NAMESPACE/NAME).
    type: list
    elements: str
    default: []
  port:
    description:
      - Name or number of the Service port that receives the requests. If not set, the port for O(scheme) is detected
        from its name (V(http2), V(http), V(http-...)), C(appProtocol) or number.
    type: str
  address:
    description:
      - C(HOST:PORT) to send requests to, if a provider forwards it to the application's gateway. If not set, it is
        read from the Service. If set, other gateways get no requests.
    type: str
  scheme:
    description:
      - Scheme of the requests. With V(https), O(host_header) is sent as server name (SNI), and the server's certificate
        must be valid for it and signed by a trusted CA. V(https) does not work with O(verify_from=cluster).
    type: str
    choices: [http, https]
    default: http
  ca_file:
    description: File of PEM certificates of the CAs to trust. If not set, those of the system.
    type: path
  path:
    description: Path to request.
    type: str
    default: /healthz
  host_header:
    description: Value of the Host header, if the VirtualService is not for V(*).
    type: str
  verify_from:
    description:
      - Where requests are sent from. V(controller) is the host where the task runs, outside the cluster like users.
      - V(cluster) sends the requests to the API server, whose proxy forwards them to a pod of the gateway. Use it for
        gateways that the host cannot reach, such as behind an internal load balancer. It proves the gateway, the
        sidecar and the application, but not the path to the gateway. It writes nothing for this, still waits for the
        load balancer's address, and requires permission to C(get) C(services/proxy) in the gateway's namespace.
      - The API server forwards O(host_header) unchanged. A proxy in front of it that routes by this header may not.
    type: str
    choices: [controller, cluster]
    default: controller
  echo_path:
    description: Path on which the application echoes the X-Forwarded-Client-Cert header it received. If not set, mutual
      TLS is not verified.
    type: str
  successes:
    description: Number of consecutive 200 responses that count as proof.
    type: int
    default: 3
  wait_timeout:
    description: Seconds to wait for pods and the external address together, and again for the responses.
    type: int
    default: 300
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Verify traffic to an application with its own Gateway and VirtualService
  meshops.istio.istio_liveness:
    manifests: "{{ lookup('ansible.builtin.template', 'app.yaml.j2') | meshops.istio.from_manifests }}"
    path: /healthz

- name: Apply your own chart with sidecars from istioctl kube-inject, as the guide does
  meshops.istio.istio_liveness:
    manifests: []
    chart: charts/liveness-chart
    chart_values: {ingress: {port: 30010}}
    namespace: liveness
    injection: manual

- name: Verify a gateway behind an internal load balancer that this host cannot reach
  meshops.istio.istio_liveness:
    manifests: "{{ manifests }}"
    verify_from: cluster

- name: Verify traffic over TLS, with the host name of the certificate
  meshops.istio.istio_liveness:
    manifests: "{{ manifests }}"
    scheme: https
    host_header: mesh.example.com
    ca_file: /etc/pki/mesh-ca.pem

- name: Delete the application
  meshops.istio.istio_liveness:
    manifests: "{{ manifests }}"
    state: absent

- name: Verify traffic through a forwarded port
  meshops.istio.istio_liveness:
    manifests: "{{ manifests }}"
    address: mesh.example.com:8080
"""

RETURN = r"""
objects:
  description: Objects of the application that were applied or deleted, or would be in check mode. After a failure,
    those written before it.
  returned: success, or something was written
  type: list
  elements: str
  sample: [Deployment liveness/liveness]
injected:
  description: Workloads whose template contains the sidecar. Empty in check mode before istiod exists.
  returned: with manual injection
  type: list
  elements: str
  sample: [Deployment liveness/liveness]
kept:
  description: Objects that were kept, each with the reason.
  returned: with O(state=absent)
  type: list
  elements: str
  sample: ["PersistentVolumeClaim liveness/data: helm.sh/resource-policy: keep"]
evidence:
  description: The responses, and what they prove.
  returned: success, not in check mode, nor with O(state=absent)
  type: dict
  contains:
    url:
      description: URL of the request.
      returned: always
      type: str
      sample: http://192.0.2.10:30010/healthz
    status:
      description: Status of the last response.
      returned: always
      type: int
      sample: 200
    server:
      description: Server header of the last response.
      returned: always
      type: str
      sample: istio-envoy
    latencies_ms:
      description: Duration of each successful request, in milliseconds.
      returned: always
      type: list
      elements: float
      sample: [4.2, 3.9, 4.0]
    tries:
      description: Number of requests sent.
      returned: always
      type: int
      sample: 3
    asked_from:
      description: Value of O(verify_from). V(cluster) means that nothing in front of the gateway was tested.
      returned: always
      type: str
      sample: controller
    tls:
      description: TLS version and certificate of the server.
      returned: with O(scheme=https)
      type: dict
      sample:
        server_name: mesh.example.com
        version: TLSv1.3
        subject: mesh.example.com
        issuer: Example CA
        not_after: Nov 26 12:00:00 2027 GMT
    counted:
      description:
        - Number of 200 responses that the proxies counted meanwhile, including responses to other clients. If the
          account has no permission to C(get) C(pods/proxy), or the proxies have no such counter, C(unknown) with the
          reason replaces C(metric) and C(answers).
      returned: always
      type: dict
      sample:
        gateway: {metric: istio_requests_total, answers: 4}
        sidecar: {metric: istio_requests_total, answers: 4}
    mtls:
      description: SPIFFE identities of the application (C(by)) and of its caller (C(uri)), as the application received
        them.
      returned: when O(echo_path) is given
      type: dict
      sample:
        by: spiffe://cluster.local/ns/liveness/sa/liveness
        uri: spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway
    served_by:
      description:
        - The istiods that serve the proxies C(gateway) and C(sidecar), as reported by the proxies.
          RV(evidence.gateways) has it for each gateway. C(release) is the Helm release that owns the istiod, if known.
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
        - Each gateway, starting with the application's, with C(name), C(namespace) and C(proof), and the keys above for
          those that received requests.
        - C(proof) is V(request) if it routed requests to the application, V(readiness) if only its readiness was
          checked, and V(none) if it was not checked. C(why) is the reason if it is not V(request).
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
          why: it handles traffic that leaves the mesh and routes no requests to the application
          url: http://192.0.2.10:30022/healthz/ready
          status: 200
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
    object:
      description: Object that the error is about. Empty if the message names it.
      returned: always
      type: str
    message:
      description: What is wrong.
      returned: always
      type: str
    fix:
      description: What to do. Empty if there is no fix.
      returned: always
      type: str
timing:
  description: Start time, by the clock of the host where the task ran, and duration in seconds.
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
