# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that describe a mesh: the one place to add one. A table only.

A row is an entry of an argument spec, with what documentation and role need beside it:

- ``description``, in Ansible's markup. ``O(name)`` is another option of this table, whose role variable has the same
  name after ``istio_helm_``.
- ``variable_default``: the role's own default, where it is not the module's. Without either, the variable is empty by
  default, which gives the module nothing.
- ``reaches``: component -> where its chart takes the value. An empty value is left to the chart.

``tests/tools/mesh_options.py`` writes the rest: the documentation fragment, and role mesh_options with its defaults,
argument specs and what the roles hand to modules.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils import upstream
from ansible_collections.meshops.istio.plugins.module_utils.mesh import components, providers

_GATEWAY: dict[str, dict[str, Any]] = {
    "name": {
        "description": [
            "Name of the release, its Service and its Deployment. The label C(istio) is the name without C(istio-), "
            "unless O(gateways[].labels) say otherwise."
        ],
        "type": "str",
        "required": True,
    },
    "namespace": {"description": ["Its namespace; Istio's if not given."], "type": "str"},
    "type": {
        "description": ["Its Service type; O(exposure) if not given."],
        "type": "str",
        "choices": ["LoadBalancer", "NodePort", "ClusterIP"],
    },
    "ports": {
        "description": ["Ports of its Service, instead of status-port (15021), http2 (80) and https (443)."],
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"description": ["Name of the port."], "type": "str", "required": True},
            "port": {"description": ["Port of the Service."], "type": "int", "required": True},
            "target_port": {
                "description": ["Port of the pod; O(gateways[].ports[].port) if not given."],
                "type": "int",
            },
            "protocol": {"description": ["Protocol of the port."], "type": "str", "default": "TCP"},
        },
    },
    "node_ports": {"description": ["Node ports to pin, by name of the port."], "type": "dict", "default": {}},
    "replicas": {
        "description": ["Number of its pods. The chart's autoscaler, which is on otherwise, is off then."],
        "type": "int",
    },
    "labels": {
        "description": [
            "Labels of all of its objects, its pods included. C(app) and C(istio) are those that select them."
        ],
        "type": "dict",
        "default": {},
    },
    "annotations": {
        "description": [
            "Annotations of its Service, over those that O(provider) asks for. One that is null takes away what "
            "would be set for the provider."
        ],
        "type": "dict",
        "default": {},
    },
    "external_traffic_policy": {
        "description": [
            "With V(Local), the client's address is kept, and only nodes answer that run a pod of the gateway. With "
            "V(Cluster), which is Kubernetes' default, all nodes do."
        ],
        "type": "str",
        "choices": ["Cluster", "Local"],
    },
    "load_balancer_class": {
        "description": [
            "Class of the load balancer, where several providers serve the cluster. Kubernetes takes it only when "
            "the Service is made, or becomes one of type LoadBalancer."
        ],
        "type": "str",
    },
    "load_balancer_ip": {
        "description": [
            "Address that the load balancer is to have; where the provider can, one of IPv4 and one of IPv6 with a "
            "comma. O(provider) says how it is asked for."
        ],
        "type": "str",
    },
    "load_balancer_source_ranges": {
        "description": ["Ranges of addresses that the load balancer lets in, such as V(192.0.2.0/24)."],
        "type": "list",
        "elements": "str",
        "default": [],
    },
    "internal": {
        "description": ["Whether the load balancer is to be one that the internet cannot reach. O(provider) says how."],
        "type": "bool",
        "default": False,
    },
    "values": {
        "description": ["Further values of the gateway chart, merged over all others."],
        "type": "dict",
        "default": {},
    },
}

_CHART: dict[str, dict[str, Any]] = {
    "component": {"description": ["Which component."], "type": "str", "required": True},
    "repository": {
        "description": ["As O(chart_repository). Required for Prometheus, Grafana, Jaeger and Kiali."],
        "type": "str",
    },
    "name": {"description": ["The chart's name there; ours if not given."], "type": "str"},
    "version": {
        "description": ["The chart's version; ours if not given. Required for Prometheus, Grafana, Jaeger and Kiali."],
        "type": "str",
    },
    "digest": {
        "description": ["SHA-256 of the packaged chart, as C(sha256:) and 64 digits; any is taken if not given."],
        "type": "str",
    },
    "repository_username": {"description": ["User of O(charts[].repository)."], "type": "str"},
    "repository_password": {
        "description": ["Password of O(charts[].repository_username)."],
        "type": "str",
        "no_log": True,
    },
    "repository_ca_file": {
        "description": ["Certificates by which O(charts[].repository) is verified, in place of the system's."],
        "type": "path",
    },
    "repository_plain_http": {
        "description": ["The OCI registry speaks no TLS."],
        "type": "bool",
        "default": False,
    },
    "keyring": {
        "description": ["Public keys by which the chart's provenance is verified."],
        "type": "path",
    },
}

#: In the order in which people read them.
OPTIONS: dict[str, dict[str, Any]] = {
    "chart_version": {
        "description": ["Version of the charts, which is Istio's version."],
        "type": "str",
        "required": True,
        "variable_default": "1.31.1",
    },
    "chart_repository": {
        "description": [
            "Where Istio's charts are.",
            "A directory that holds them as C(NAME/) or C(NAME-VERSION.tgz), or the URL of an HTTP or OCI "
            "(C(oci://)) repository.",
        ],
        "type": "str",
        "default": upstream.CHART_REPOSITORY,
    },
    "chart_repository_username": {
        "description": [
            "User of the charts' repository. Goes with O(chart_repository_password).",
            "Without, an OCI registry gets the login that C(helm registry login) has left for this user.",
        ],
        "type": "str",
    },
    "chart_repository_password": {
        "description": [
            "Password or token of O(chart_repository_username).",
            "It is on no command line, and in no file that outlives the task or that others can read.",
        ],
        "type": "str",
        "no_log": True,
    },
    "chart_repository_ca_file": {
        "description": [
            "File with the certificates by which the repository's server is verified, in place of the system's."
        ],
        "type": "path",
    },
    "chart_repository_plain_http": {
        "description": ["Speak to an OCI registry without TLS. Charts and password then travel in clear text."],
        "type": "bool",
        "default": False,
    },
    "chart_keyring": {
        "description": [
            "File of public keys, as C(gpg --export) writes it. Each chart must then come with a provenance "
            "(C(.prov)) that one of them has signed."
        ],
        "type": "path",
    },
    "chart_digests": {
        "description": [
            "SHA-256 of each chart as it is packaged, by the chart's name, as C(sha256:...). In an OCI registry that "
            "is the digest of the layer that holds the chart.",
            "A chart that has another digest, or none here, is refused before anything is written.",
        ],
        "type": "dict",
        "default": {},
    },
    "namespace": {
        "description": ["Istio's namespace."],
        "type": "str",
        "default": "istio-system",
        "reaches": {
            "base": "global.istioNamespace",
            "istiod": "global.istioNamespace",
            "ztunnel": "istioNamespace",
            "istio-csr": "app.istio.namespace",
        },
    },
    "revision": {
        "description": [
            "Revision of Istio, such as V(canary) or V(1-31-1), for istiod, gateways, the validation of Istio's "
            "objects, ztunnel and istio-csr alike; the default one if empty. Istiod's release and objects have it in "
            "their names, C(istiod-REVISION), so that Istio can be installed beside another.",
            "One that O(values) give to istiod is taken for it.",
        ],
        "type": "str",
        "default": "",
        "reaches": {"base": "defaultRevision", "istiod": "revision", "ztunnel": "revision", "gateway": "revision"},
    },
    "exposure": {
        "description": ["Service type of gateways that name none; the guide's cloud path or its KVM path."],
        "type": "str",
        "choices": ["LoadBalancer", "NodePort"],
        "default": "LoadBalancer",
    },
    "preset": {
        "description": [
            "What is installed when O(components) or O(gateways) list nothing.",
            "V(lean) is base, istiod and one ingress gateway.",
            "V(guide) is all that the guide of 2018 turns on. That is base, istiod, an ingress and an egress "
            "gateway, Prometheus, Grafana, Jaeger and Kiali.",
            "V(none) is nothing but what is listed.",
        ],
        "type": "str",
        "choices": list(components.PRESETS),
        "default": "lean",
    },
    "profile": {
        "description": [
            "The data plane; V(ambient) adds C(cni) and C(ztunnel) to the preset and tells Istio's charts."
        ],
        "type": "str",
        "choices": list(components.PROFILES),
        "default": "sidecar",
    },
    "components": {
        "description": [
            "What to install beside the gateways; if empty, what O(preset) and O(profile) say.",
            "V(base), V(istiod), V(cni), V(ztunnel), V(prometheus), V(grafana), V(jaeger), V(kiali), V(cert-manager) "
            "and V(istio-csr), which signs by cert-manager instead of istiod and needs an issuer of yours.",
            "Names of the chart of 2018, such as V(pilot) or V(tracing), are understood, with a warning that says "
            "what they became.",
        ],
        "type": "list",
        "elements": "str",
        "default": [],
    },
    "gateways": {
        "description": ["Gateways to install, each a release of the gateway chart; if empty, those of O(preset)."],
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": _GATEWAY,
    },
    "provider": {
        "description": [
            "Who gives addresses to Services of type LoadBalancer; it decides how an internal one and a certain "
            "address are asked for. On V(aws) every load balancer becomes a Network Load Balancer, unless its "
            "Service exists already.",
            "V(auto) looks at O(gateways[].load_balancer_class), else for MetalLB's API, else at the nodes' "
            "C(providerID), and only where a gateway is of type LoadBalancer. V(none) adds nothing.",
        ],
        "type": "str",
        "choices": list(providers.CHOICES),
        "default": providers.AUTO,
    },
    "charts": {
        "description": [
            "Components that come from charts of your own choice instead of ours, such as Prometheus for production."
        ],
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": _CHART,
    },
    "addons_repository": {
        "description": [
            "Where Istio's manifests of Prometheus, Grafana, Jaeger and Kiali are, as C(NAME.yaml).",
            "A directory, such as C(samples/addons) of an Istio release, or a URL, in which C({version}) stands for "
            "O(chart_version).",
        ],
        "type": "str",
        "default": upstream.ADDONS_REPOSITORY,
    },
    # ``global.hub`` and ``global.tag`` reach istiod and every proxy that it injects alike, ``hub`` and ``tag`` do not
    # (istio#57215).
    "hub": {
        "description": [
            "Registry and path of Istio's images, in place of the charts' own. Reaches istiod and proxies alike."
        ],
        "type": "str",
        "reaches": {"istiod": "global.hub", "cni": "global.hub", "ztunnel": "hub"},
    },
    "tag": {
        "description": ["Tag of Istio's images, in place of the charts' own."],
        "type": "str",
        "reaches": {"istiod": "global.tag", "cni": "global.tag", "ztunnel": "tag"},
    },
    # A gateway is an injected proxy, but its own chart creates it: the pod's pull policy is defaulted to Always before
    # the injector puts an image in place of "auto".
    "image_pull_policy": {
        "description": ["Pull policy of istiod, gateways and sidecars, in place of Kubernetes' own."],
        "type": "str",
        "choices": ["Always", "IfNotPresent", "Never"],
        "reaches": {
            "istiod": "global.imagePullPolicy",
            "cni": "global.imagePullPolicy",
            "ztunnel": "imagePullPolicy",
            "gateway": "imagePullPolicy",
        },
    },
    "image_pull_secrets": {
        "description": [
            "Names of Secrets with which Istio's images are pulled, by istiod, Istio CNI, ztunnel, gateways and "
            "sidecars.",
            "The Secrets must exist in the namespace of each of these pods.",
        ],
        "type": "list",
        "elements": "str",
        "default": [],
        "no_log": False,  # their names
        "reaches": {
            "istiod": "global.imagePullSecrets",
            "cni": "global.imagePullSecrets",
            "ztunnel": "imagePullSecrets",
            "gateway": "imagePullSecrets",
        },
    },
    "log_as_json": {
        "description": [
            "Have istiod, Istio CNI, ztunnel, gateways and sidecars write their logs as JSON. Access logs have "
            "a setting of their own, C(meshConfig.accessLogEncoding) in O(values) of istiod."
        ],
        "type": "bool",
        "default": False,
        "reaches": {"istiod": "global.logAsJson", "cni": "global.logAsJson", "ztunnel": "logAsJson"},
    },
    "platform": {
        "description": [
            "Platform whose settings Istio's charts are to add (C(global.platform)), such as V(openshift), V(gke) or "
            "V(k3s).",
            "V(auto) finds V(openshift), whose settings expect Istio CNI, by the API groups that the cluster serves. "
            "An empty text adds none.",
        ],
        "type": "str",
        "default": "auto",
    },
    "values": {
        "description": [
            "Helm values to merge over ours, by component (V(istiod), V(gateway), V(cni)) or name of a gateway."
        ],
        "type": "dict",
        "default": {},
    },
    "adopt": {
        "description": [
            "Make objects of the same name that istioctl, kubectl or another Helm release has made part of these "
            "releases. Without it such objects stop the run. Nothing that the charts do not have is removed."
        ],
        "type": "bool",
        "default": False,
    },
    "helm_binary": {
        "description": ["Path of helm, in place of the one on E(PATH)."],
        "type": "path",
        "variable_default": (
            "{{ preflight_tools_directory ~ '/helm' if preflight_fetch_tools | default(false) else '' }}"
        ),
    },
}
