# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that describe a mesh."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of MESH_ARGUMENT_SPEC in module_utils/mesh.py; a test holds the two together.

    Those of CHART_ARGUMENT_SPEC are a part of their own, C(meshops.istio.mesh.charts).
    """

    DOCUMENTATION = r"""
options:
  namespace:
    description: Istio's namespace.
    type: str
    default: istio-system
  chart_repository:
    description:
      - Where Istio's charts are.
      - A directory that holds them as C(NAME/) or C(NAME-VERSION.tgz), or the URL of an HTTP or OCI (C(oci://))
        repository.
    type: str
    default: https://istio-release.storage.googleapis.com/charts
  chart_version:
    description: Version of the charts, which is Istio's version.
    type: str
    required: true
  components:
    description: Charts to install beside the gateways.
    type: list
    elements: str
    choices: [base, istiod]
    default: [base, istiod]
  exposure:
    description: Service type of gateways that name none; the guide's cloud path or its KVM path.
    type: str
    choices: [LoadBalancer, NodePort]
    default: LoadBalancer
  gateways:
    description: Gateways to install, each a release of the gateway chart.
    type: list
    elements: dict
    default:
      - name: istio-ingressgateway
    suboptions:
      name:
        description: Name of the release, its Service and its Deployment. The label C(istio) is the name without
          C(istio-).
        type: str
        required: true
      namespace:
        description: Its namespace; Istio's if not given.
        type: str
      type:
        description: Its Service type; O(exposure) if not given.
        type: str
        choices: [LoadBalancer, NodePort, ClusterIP]
      ports:
        description: Ports of its Service, instead of status-port (15021), http2 (80) and https (443).
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the port.
            type: str
            required: true
          port:
            description: Port of the Service.
            type: int
            required: true
          target_port:
            description: Port of the pod; O(gateways[].ports[].port) if not given.
            type: int
          protocol:
            description: Protocol of the port.
            type: str
            default: TCP
      node_ports:
        description: Node ports to pin, by name of the port.
        type: dict
        default: {}
      values:
        description: Further values of the gateway chart, merged over all others.
        type: dict
        default: {}
  hub:
    description: Registry and path of Istio's images; the charts' own if not given. Reaches istiod and proxies alike.
    type: str
  tag:
    description: Tag of Istio's images; the charts' own if not given.
    type: str
  image_pull_policy:
    description: Pull policy of istiod, gateways and sidecars.
    type: str
    choices: [Always, IfNotPresent, Never]
  platform:
    description:
      - Platform whose settings Istio's charts are to add (C(global.platform)), such as V(openshift), V(gke) or V(k3s).
      - V(auto) finds V(openshift) by the API groups that the cluster serves. An empty text adds none.
    type: str
    default: auto
  values:
    description: Helm values to merge over ours, by component (V(base), V(istiod), V(gateway)) or name of a gateway.
    type: dict
    default: {}
  helm_binary:
    description: Path of helm. Looked for on E(PATH) if not given.
    type: path
"""

    CHARTS = r"""
options:
  chart_repository_username:
    description:
      - User of the charts' repository. Goes with O(chart_repository_password).
      - Without, an OCI registry gets the login that C(helm registry login) has left for this user.
    type: str
  chart_repository_password:
    description:
      - Password or token of O(chart_repository_username).
      - It is on no command line, and in no file that outlives the task or that others can read.
    type: str
  chart_repository_ca_file:
    description: File with the certificates by which the repository's server is verified, in place of the system's.
    type: path
  chart_repository_plain_http:
    description: Speak to an OCI registry without TLS. Charts and password then travel in clear text.
    type: bool
    default: false
  chart_keyring:
    description:
      - File of public keys, as C(gpg --export) writes it. Each chart must then come with a provenance (C(.prov)) that
        one of them has signed.
    type: path
  chart_digests:
    description:
      - SHA-256 of each chart as it is packaged, by the chart's name, as C(sha256:...). In an OCI registry that is the
        digest of the layer that holds the chart.
      - A chart that has another digest, or none here, is refused before anything is written.
    type: dict
    default: {}
"""
