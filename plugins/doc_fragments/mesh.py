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
    description: Version of the charts, which is Istio's version.
    type: str
    required: true
  chart_repository:
    description:
      - Where Istio's charts are.
      - A directory that holds them as C(NAME/) or C(NAME-VERSION.tgz), or the URL of an HTTP or OCI (C(oci://))
        repository.
    type: str
    default: https://blob.istio.io/istio-release/charts
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
    description: File of public keys, as C(gpg --export) writes it. Each chart must then come with a provenance
      (C(.prov)) that one of them has signed.
    type: path
  chart_digests:
    description:
      - SHA-256 of each chart as it is packaged, by the chart's name, as C(sha256:...). In an OCI registry that is the
        digest of the layer that holds the chart.
      - A chart that has another digest, or none here, is refused before anything is written.
    type: dict
    default: {}
  namespace:
    description: Istio's namespace.
    type: str
    default: istio-system
  revision:
    description:
      - Revision of Istio, such as V(canary) or V(1-31-1), for istiod, gateways, the validation of Istio's objects,
        ztunnel and istio-csr alike; the default one if empty. Istiod's release and objects have it in their names,
        C(istiod-REVISION), so that Istio can be installed beside another.
      - One that O(values) give to istiod is taken for it.
    type: str
    default: ""
  exposure:
    description: Service type of gateways that name none; the guide's cloud path or its KVM path.
    type: str
    choices: [LoadBalancer, NodePort]
    default: LoadBalancer
  preset:
    description:
      - What is installed when O(components) or O(gateways) list nothing.
      - V(lean) is base, istiod and one ingress gateway.
      - V(guide) is all that the guide of 2018 turns on. That is base, istiod, an ingress and an egress gateway,
        Prometheus, Grafana, Jaeger and Kiali.
      - V(none) is nothing but what is listed.
    type: str
    choices: [lean, guide, none]
    default: lean
  profile:
    description: The data plane; V(ambient) adds C(cni) and C(ztunnel) to the preset and tells Istio's charts.
    type: str
    choices: [sidecar, ambient]
    default: sidecar
  components:
    description:
      - What to install beside the gateways; if empty, what O(preset) and O(profile) say.
      - V(base), V(istiod), V(cni), V(ztunnel), V(prometheus), V(grafana), V(jaeger), V(kiali), V(cert-manager) and
        V(istio-csr), which signs by cert-manager instead of istiod and needs an issuer of yours.
      - Names of the chart of 2018, such as V(pilot) or V(tracing), are understood, with a warning that says what they
        became.
    type: list
    elements: str
    default: []
  provider:
    description:
      - Who gives addresses to Services of type LoadBalancer; it decides how an internal one and a certain address are
        asked for. On V(aws) every load balancer becomes a Network Load Balancer, unless its Service exists already.
      - V(auto) looks at O(gateways[].load_balancer_class), else for MetalLB's API, else at the nodes' C(providerID),
        and only where a gateway is of type LoadBalancer. V(none) adds nothing.
    type: str
    choices: [auto, none, aws, azure, google, openstack, digitalocean, hetzner, metallb, kube-vip, cilium]
    default: auto
  charts:
    description: Components that come from charts of your own choice instead of ours, such as Prometheus for production.
    type: list
    elements: dict
    default: []
    suboptions:
      component:
        description: Which component.
        type: str
        required: true
      repository:
        description: As O(chart_repository). Required for Prometheus, Grafana, Jaeger and Kiali.
        type: str
      name:
        description: The chart's name there; ours if not given.
        type: str
      version:
        description: The chart's version; ours if not given. Required for Prometheus, Grafana, Jaeger and Kiali.
        type: str
      digest:
        description: SHA-256 of the packaged chart, as C(sha256:) and 64 digits; any is taken if not given.
        type: str
      repository_username:
        description: User of O(charts[].repository).
        type: str
      repository_password:
        description: Password of O(charts[].repository_username).
        type: str
      repository_ca_file:
        description: Certificates by which O(charts[].repository) is verified, in place of the system's.
        type: path
      repository_plain_http:
        description: The OCI registry speaks no TLS.
        type: bool
        default: false
      keyring:
        description: Public keys by which the chart's provenance is verified.
        type: path
  addons_repository:
    description:
      - Where Istio's manifests of Prometheus, Grafana, Jaeger and Kiali are, as C(NAME.yaml).
      - A directory, such as C(samples/addons) of an Istio release, or a URL, in which C({version}) stands for
        O(chart_version).
    type: str
    default: https://raw.githubusercontent.com/istio/istio/{version}/samples/addons
  hub:
    description: Registry and path of Istio's images, in place of the charts' own. Reaches istiod and proxies alike.
    type: str
  tag:
    description: Tag of Istio's images, in place of the charts' own.
    type: str
  image_pull_policy:
    description: Pull policy of istiod, gateways and sidecars, in place of Kubernetes' own.
    type: str
    choices: [Always, IfNotPresent, Never]
  image_pull_secrets:
    description:
      - Names of Secrets with which Istio's images are pulled, by istiod, Istio CNI, ztunnel, gateways and sidecars.
      - The Secrets must exist in the namespace of each of these pods.
    type: list
    elements: str
    default: []
  log_as_json:
    description: Have istiod, Istio CNI, ztunnel, gateways and sidecars write their logs as JSON. Access logs have a
      setting of their own, C(meshConfig.accessLogEncoding) in O(values) of istiod.
    type: bool
    default: false
  platform:
    description:
      - Platform whose settings Istio's charts are to add (C(global.platform)), such as V(openshift), V(gke) or V(k3s).
      - V(auto) finds V(openshift), whose settings expect Istio CNI, by the API groups that the cluster serves. An empty
        text adds none.
    type: str
    default: auto
  values:
    description: Helm values to merge over ours, by component (V(istiod), V(gateway), V(cni)) or name of a gateway.
    type: dict
    default: {}
  adopt:
    description: Make objects of the same name that istioctl, kubectl or another Helm release has made part of these
      releases. Without it such objects stop the run. Nothing that the charts do not have is removed.
    type: bool
    default: false
  helm_binary:
    description: Path of helm, in place of the one on E(PATH).
    type: path
"""

    GATEWAYS = r"""
options:
  gateways:
    description: Gateways to install, each a release of the gateway chart; if empty, those of O(preset).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the release, its Service and its Deployment. The label C(istio) is the name without
          C(istio-), unless O(gateways[].labels) say otherwise.
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
      replicas:
        description: Number of its pods. The chart's autoscaler, which is on otherwise, is off then.
        type: int
      labels:
        description: Labels of all of its objects, its pods included. C(app) and C(istio) are those that select them.
        type: dict
        default: {}
      annotations:
        description: Annotations of its Service, over those that O(meshops.istio.istio_releases#module:provider) asks
          for. One that is null takes away what would be set for the provider.
        type: dict
        default: {}
      external_traffic_policy:
        description: With V(Local), the client's address is kept, and only nodes answer that run a pod of the gateway.
          With V(Cluster), which is Kubernetes' default, all nodes do.
        type: str
        choices: [Cluster, Local]
      load_balancer_class:
        description: Class of the load balancer, where several providers serve the cluster. Kubernetes takes it only
          when the Service is made, or becomes one of type LoadBalancer.
        type: str
      load_balancer_ip:
        description: Address that the load balancer is to have; where the provider can, one of IPv4 and one of IPv6 with
          a comma. O(meshops.istio.istio_releases#module:provider) says how it is asked for.
        type: str
      load_balancer_source_ranges:
        description: Ranges of addresses that the load balancer lets in, such as V(192.0.2.0/24).
        type: list
        elements: str
        default: []
      internal:
        description: Whether the load balancer is to be one that the internet cannot reach.
          O(meshops.istio.istio_releases#module:provider) says how.
        type: bool
        default: false
      values:
        description: Further values of the gateway chart, merged over all others.
        type: dict
        default: {}
"""
