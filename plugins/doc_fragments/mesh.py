# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by tests/tools/mesh_options.py from plugins/module_utils/mesh/option_table.py.
"""Options that describe a mesh."""

from __future__ import annotations


class ModuleDocFragment:
    """What every module of action group meshops.istio.mesh takes."""

    DOCUMENTATION = r"""
options:
  chart_version:
    description: Version of Istio's charts, which is the version of Istio.
    type: str
    required: true
  chart_repository:
    description:
      - Location of Istio's charts.
      - A directory with C(NAME/) or C(NAME-VERSION.tgz), or the URL of an HTTP or OCI (C(oci://)) repository.
    type: str
    default: https://blob.istio.io/istio-release/charts
  chart_repository_username:
    description:
      - User name for the chart repository. Requires O(chart_repository_password).
      - If not set, an OCI registry gets the credentials that C(helm registry login) saved for the current user.
    type: str
  chart_repository_password:
    description:
      - Password or token of O(chart_repository_username).
      - It never appears on a command line, nor in a file that outlives the task or that other users can read.
    type: str
  chart_repository_ca_file:
    description: File with the CA certificates that verify the repository's server, instead of the system's.
    type: path
  chart_repository_plain_http:
    description: Connect to an OCI registry without TLS. Charts and password are then sent in clear text.
    type: bool
    default: false
  chart_keyring:
    description: File of public keys, as written by C(gpg --export). Each chart must then have a provenance file
      (C(.prov)) signed by one of them.
    type: path
  chart_digests:
    description:
      - SHA-256 of each packaged chart, by chart name, as C(sha256:...). In an OCI registry, this is the digest of the
        chart's layer.
      - If set, a chart with another digest, or with no digest here, is rejected before anything is written.
    type: dict
    default: {}
  namespace:
    description: Istio's namespace.
    type: str
    default: istio-system
  revision:
    description:
      - Revision of Istio, such as V(canary) or V(1-31-1). It applies to istiod, gateways, the validation webhook,
        ztunnel and istio-csr. If empty, the default revision.
      - The release and objects of istiod are then named C(istiod-REVISION), which allows several control planes in one
        cluster.
      - A revision that O(values) sets for istiod is used here too.
    type: str
    default: ""
  exposure:
    description: Default Service type of gateways, for the guide's cloud path or its KVM path.
    type: str
    choices: [LoadBalancer, NodePort]
    default: LoadBalancer
  preset:
    description:
      - What to install if O(components) or O(gateways) is empty.
      - V(lean) installs base, istiod and one ingress gateway.
      - V(guide) installs everything that the 2018 Giant Swarm guide enables, which is base, istiod, an ingress and an
        egress gateway, Prometheus, Grafana, Jaeger and Kiali.
      - V(none) installs only what is listed.
    type: str
    choices: [lean, guide, none]
    default: lean
  profile:
    description: Data plane mode. V(ambient) adds C(cni) and C(ztunnel) and sets Istio's ambient profile.
    type: str
    choices: [sidecar, ambient]
    default: sidecar
  components:
    description:
      - Components to install in addition to the gateways. If empty, O(preset) and O(profile) determine them.
      - V(base), V(istiod), V(cni), V(ztunnel), V(prometheus), V(grafana), V(jaeger), V(kiali), V(cert-manager) and
        V(istio-csr). V(istio-csr) signs workload certificates through cert-manager instead of istiod, and requires an
        issuer that you create.
      - Names from the chart of 2018, such as V(pilot) or V(tracing), are accepted. A warning says what replaced them.
    type: list
    elements: str
    default: []
  provider:
    description:
      - Provider of load balancers. It determines how an internal load balancer and a specific address are requested.
        With V(aws), every new load balancer is a Network Load Balancer; Services that exist already are not changed.
      - V(auto) detects it from O(gateways[].load_balancer_class), then MetalLB's API, then the nodes' C(providerID),
        and only if a gateway is of type LoadBalancer. V(none) adds nothing.
    type: str
    choices: [auto, none, aws, azure, google, openstack, digitalocean, hetzner, metallb, kube-vip, cilium]
    default: auto
  charts:
    description: Charts to install components from, instead of the charts of this collection. Use it, for example, for a
      production Prometheus.
    type: list
    elements: dict
    default: []
    suboptions:
      component:
        description: Component that the chart installs.
        type: str
        required: true
      repository:
        description: Like O(chart_repository). Required for Prometheus, Grafana, Jaeger and Kiali.
        type: str
      name:
        description: Name of the chart in the repository. Defaults to the name that this collection uses.
        type: str
      version:
        description: Version of the chart. Defaults to the version that this collection uses. Required for Prometheus,
          Grafana, Jaeger and Kiali.
        type: str
      digest:
        description: SHA-256 of the packaged chart, as C(sha256:) and 64 digits. If not set, any digest is accepted.
        type: str
      repository_username:
        description: User name for O(charts[].repository).
        type: str
      repository_password:
        description: Password of O(charts[].repository_username).
        type: str
      repository_ca_file:
        description: CA certificates that verify the server of O(charts[].repository), instead of the system's.
        type: path
      repository_plain_http:
        description: Connect to the OCI registry without TLS.
        type: bool
        default: false
      keyring:
        description: Public keys that verify the chart's provenance.
        type: path
  addons_repository:
    description:
      - Location of Istio's manifests of Prometheus, Grafana, Jaeger and Kiali, as C(NAME.yaml).
      - A directory, such as C(samples/addons) of an Istio release, or a URL. In a URL, C({version}) is replaced by
        O(chart_version).
    type: str
    default: https://raw.githubusercontent.com/istio/istio/{version}/samples/addons
  hub:
    description: Registry and path of Istio's images, instead of the charts' default. It applies to istiod and proxies.
    type: str
  tag:
    description: Tag of Istio's images, instead of the charts' default.
    type: str
  image_pull_policy:
    description: Image pull policy of istiod, Istio CNI, ztunnel, gateways and sidecars. If not set, the default of
      Kubernetes applies.
    type: str
    choices: [Always, IfNotPresent, Never]
  image_pull_secrets:
    description:
      - Names of the image pull Secrets of istiod, Istio CNI, ztunnel, gateways and sidecars.
      - The Secrets must exist in the namespace of each of these pods.
    type: list
    elements: str
    default: []
  log_as_json:
    description: Write the logs of istiod, Istio CNI, ztunnel, gateways and sidecars as JSON. For access logs, set
      C(meshConfig.accessLogEncoding) in O(values) of istiod.
    type: bool
    default: false
  platform:
    description:
      - Platform whose settings Istio's charts apply (C(global.platform)), such as V(openshift), V(gke) or V(k3s).
      - V(auto) detects V(openshift), whose settings require Istio CNI, from the API groups that the cluster serves. An
        empty string applies none.
    type: str
    default: auto
  values:
    description: Helm values by component (V(istiod), V(gateway), V(cni)) or by gateway name. They override the values
      that this collection sets.
    type: dict
    default: {}
  adopt:
    description: Adopt existing objects of the same name, created by istioctl, kubectl or another Helm release, into the
      releases of this run. If V(false), such objects stop the run. Objects that the charts do not contain are never
      deleted.
    type: bool
    default: false
  helm_binary:
    description: Path of helm, instead of the one on E(PATH).
    type: path
"""

    GATEWAYS = r"""
options:
  gateways:
    description: Gateways to install. Each is a release of the gateway chart. If empty, O(preset) determines them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the release, its Service and its Deployment. The pods' label C(istio) is this name without
          C(istio-), unless O(gateways[].labels) sets it.
        type: str
        required: true
      namespace:
        description: Namespace of the gateway. Defaults to O(meshops.istio.istio_releases#module:namespace).
        type: str
      type:
        description: Type of the gateway's Service. Defaults to O(exposure).
        type: str
        choices: [LoadBalancer, NodePort, ClusterIP]
      ports:
        description: Ports of the Service, instead of status-port (15021), http2 (80) and https (443).
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
            description: Port of the pod. Defaults to O(gateways[].ports[].port).
            type: int
          protocol:
            description: Protocol of the port.
            type: str
            default: TCP
      node_ports:
        description: Node ports to pin, by port name.
        type: dict
        default: {}
      replicas:
        description: Number of pods. Setting it disables the chart's autoscaler, which is enabled otherwise.
        type: int
      labels:
        description: Labels of all objects of the gateway, including its pods. C(app) and C(istio) are also the pod
          selector.
        type: dict
        default: {}
      annotations:
        description: Annotations of the Service. They override those that
          O(meshops.istio.istio_releases#module:provider) adds; a null value removes one of these.
        type: dict
        default: {}
      external_traffic_policy:
        description: V(Local) preserves the client's address, and only nodes that run a pod of the gateway answer.
          V(Cluster), the default of Kubernetes, lets every node answer.
        type: str
        choices: [Cluster, Local]
      load_balancer_class:
        description: Load balancer class, for clusters with several providers. Kubernetes accepts it only when the
          Service is created or its type changes to LoadBalancer.
        type: str
      load_balancer_ip:
        description: Address to request for the load balancer. Providers that support it accept one IPv4 and one IPv6
          address, separated by a comma. O(meshops.istio.istio_releases#module:provider) determines how the address is
          requested.
        type: str
      load_balancer_source_ranges:
        description: CIDR ranges that may connect to the load balancer, such as V(192.0.2.0/24).
        type: list
        elements: str
        default: []
      internal:
        description: Request an internal load balancer, which the internet cannot reach.
        type: bool
        default: false
      values:
        description: Further Helm values of the gateway chart. They override all other values.
        type: dict
        default: {}
"""
