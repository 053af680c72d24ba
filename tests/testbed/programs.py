# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""What the programs of a control plane alone are told: command lines and files, as data made from settings."""

from __future__ import annotations

import base64
import ipaddress
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed import versions
from testbed.errors import BedError

LOCALHOST = "127.0.0.1"
# Nothing routes to a fake service address. Addresses of the loopback network refuse a call at once, on any Linux and
# without touching its routes; others would be asked for through the default route, until a timeout.
SERVICE_RANGE = "127.96.0.0/16"
# Pods' addresses must not be of the loopback network, else no Service would have endpoints. Those of multicast nobody
# can call: the API server does not pass requests on to them, and the kernel refuses a connection at once.
POD_RANGE = "239.244.0.0/16"
ISSUER = "https://kubernetes.default.svc.cluster.local"
PORTS = ("etcd", "etcd-peer", "kube-apiserver")
POD_SECURITY_LEVELS = ("privileged", "baseline", "restricted")
NODE_ROOM = {"cpu": "8", "memory": "32Gi", "pods": "250"}
AWS_MACHINE = "aws:///eu-central-1a/i-"
NODE_RANGE = ipaddress.ip_network("127.18.0.0/15")  # a run asks its node ports, and is refused at once

# Who is who: program -> user and group. "system:" is what the audit log's counting leaves out.
USERS = {
    "admin": ("kubernetes-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kwok": ("system:kwok", "system:masters"),
    "load-balancer": ("system:load-balancer", "system:masters"),
}
LOAD_BALANCER = Path(__file__).with_name("loadbalancer.py")


@dataclass(frozen=True)
class Settings:
    """What a bed was asked to be.

    :param nodes: how many nodes kwok plays
    :param psp: PodSecurityPolicy admission is on
    :param pod_security: the level that Pod Security Admission enforces where a namespace's labels do not say, "" = none
    :param crds: names in ``versions.CRDS``, or files, that are applied
    :param load_balancer_hostname: Services of type LoadBalancer get a host name, as AWS gives one, and nodes are AWS'
    """

    version: str = versions.KUBERNETES
    nodes: int = 1
    psp: bool = False
    pod_security: str = ""
    crds: tuple[str, ...] = ()
    load_balancer_hostname: bool = False

    def __post_init__(self) -> None:
        known = versions.control_plane_versions()
        if self.version not in known:
            raise BedError(
                f"unknown Kubernetes {self.version}. Choose from {', '.join(known)}, or add a row to versions.py"
            )
        if self.psp and self.version != versions.PSP_KUBERNETES:
            raise BedError(f"Kubernetes {self.version} has no PodSecurityPolicy. Use {versions.PSP_KUBERNETES}")
        if self.nodes < 1:
            raise BedError("a bed needs at least one node")

    def as_data(self) -> dict:
        """Itself as it is kept in a file."""
        return {**asdict(self), "crds": list(self.crds)}

    @classmethod
    def from_data(cls, data: Mapping) -> Settings:
        """Itself out of a file."""
        return cls(**{**data, "crds": tuple(data["crds"])})

    def __str__(self) -> str:
        words = [f"Kubernetes {self.version}", f"{self.nodes} node{'s' * (self.nodes > 1)}"]
        words += ["PodSecurityPolicy"] * self.psp + [f"pod security {self.pod_security}"] * bool(self.pod_security)
        words += ["load balancers with host names"] * self.load_balancer_hostname
        return ", ".join([*words, *(Path(crd).name for crd in self.crds)])


@dataclass(frozen=True)
class Files:
    """Where a bed's programs find what they read and write; ``secrets`` is for our eyes only."""

    directory: Path

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets"

    @property
    def certificate(self) -> Path:
        """The API server makes it when it first starts, its key beside it, and its CA's certificate within."""
        return self.secrets / "apiserver.crt"

    @property
    def key(self) -> Path:
        return self.secrets / "apiserver.key"

    @property
    def ca(self) -> Path:
        return self.secrets / "ca.crt"

    @property
    def tokens(self) -> Path:
        return self.secrets / "tokens.csv"

    def kubeconfig(self, program: str) -> Path:
        return self.secrets / f"{program}.kubeconfig"

    @property
    def audit(self) -> Path:
        return self.directory / "audit"

    @property
    def admission(self) -> Path:
        return self.directory / "admission.json"

    @property
    def stages(self) -> Path:
        return self.directory / "stages.yaml"

    @property
    def etcd_data(self) -> Path:
        return self.directory / "etcd"


def flags(values: Mapping[str, str | Path | int]) -> list[str]:
    """``--name=value`` of each."""
    return [f"--{name}={value}" for name, value in values.items()]


def command_lines(
    settings: Settings, files: Files, ports: Mapping[str, int], binaries: Mapping[str, Path]
) -> dict[str, list[str]]:
    """The command line of each program, in the order in which they start.

    :param ports: a free port of 127.0.0.1 for each name in ``PORTS``
    :param binaries: the program of each name
    """
    etcd_url = f"http://{LOCALHOST}:{ports['etcd']}"
    peer_url = f"http://{LOCALHOST}:{ports['etcd-peer']}"
    told: dict[str, dict[str, str | Path | int]] = {
        "etcd": {
            "name": "bed",
            "data-dir": files.etcd_data,
            "listen-client-urls": etcd_url,
            "advertise-client-urls": etcd_url,
            "listen-peer-urls": peer_url,
            "initial-advertise-peer-urls": peer_url,
            "initial-cluster": f"bed={peer_url}",
            "unsafe-no-fsync": "true",  # what is in it need not outlive the machine
        },
        "kube-apiserver": {
            "etcd-servers": etcd_url,
            "bind-address": LOCALHOST,
            "secure-port": ports["kube-apiserver"],
            # Its Service `kubernetes` would need an address that pods could reach; there is none.
            "advertise-address": LOCALHOST,
            "endpoint-reconciler-type": "none",
            "cert-dir": files.secrets,
            "token-auth-file": files.tokens,
            "service-account-issuer": ISSUER,
            "service-account-signing-key-file": files.key,
            "service-account-key-file": files.key,
            "service-cluster-ip-range": SERVICE_RANGE,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": ",".join(["NodeRestriction"] + ["PodSecurityPolicy"] * settings.psp),
            "allow-privileged": "true",  # as kubeadm has it; else pods that ask for it are refused as invalid
            "audit-policy-file": files.audit / "policy.json",
            "audit-log-path": files.audit / "audit.log",
            "audit-log-maxsize": 2000,  # MiB; a rotation would pull the file away from under a reader
        },
        "kube-controller-manager": {
            "kubeconfig": files.kubeconfig("kube-controller-manager"),
            # Each controller is somebody of its own, with few rights: pods of a Deployment meet admission as anywhere.
            "use-service-account-credentials": "true",
            "service-account-private-key-file": files.key,
            "root-ca-file": files.ca,
            "leader-elect": "false",
            "secure-port": 0,
            "kube-api-qps": 500,  # with 20, the default, it takes seconds to make an account for each controller
            "kube-api-burst": 1000,
        },
        "kube-scheduler": {
            "kubeconfig": files.kubeconfig("kube-scheduler"),
            "leader-elect": "false",
            "secure-port": 0,
            "kube-api-qps": 500,
            "kube-api-burst": 1000,
        },
        "kwok": {
            "kubeconfig": files.kubeconfig("kwok"),
            "config": files.stages,
            "manage-all-nodes": "true",
            "node-lease-duration-seconds": 40,
            "cidr": POD_RANGE,
        },
    }
    if settings.pod_security:
        told["kube-apiserver"]["admission-control-config-file"] = files.admission
    lines = {name: [str(binaries[name]), *flags(values)] for name, values in told.items()}
    if settings.load_balancer_hostname:
        lines["load-balancer"] = [sys.executable, str(LOAD_BALANCER), str(files.kubeconfig("load-balancer"))]
    return lines


def admission_configuration(level: str) -> dict:
    """What the API server is told to enforce where no label of a namespace says anything, as hardened clusters do.

    kube-system is left out, as everywhere: what makes a cluster work runs there.
    """
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [
            {
                "name": "PodSecurity",
                "configuration": {
                    "apiVersion": "pod-security.admission.config.k8s.io/v1beta1",  # v1 since 1.25; both are read
                    "kind": "PodSecurityConfiguration",
                    "defaults": {"enforce": level, "enforce-version": "latest"},
                    "exemptions": {"namespaces": ["kube-system"]},
                },
            }
        ],
    }


def token_table(tokens: Mapping[str, str]) -> str:
    """The API server's file of tokens: token, user, id, groups.

    :param tokens: a token for each of ``USERS``
    """
    return "".join(f'{tokens[name]},{user},{user},"{group}"\n' for name, (user, group) in USERS.items())


def kubeconfig(cluster: str, port: int, ca: str, token: str) -> dict:
    """A kubeconfig with one context, called as the cluster is.

    :param ca: certificate of the API server's CA, PEM
    """
    data = base64.b64encode(ca.encode()).decode()
    server = f"https://{LOCALHOST}:{port}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": data}}],
        "users": [{"name": cluster, "user": {"token": token}}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
        "current-context": cluster,
    }


def ca_certificate(chain: str) -> str:
    """The last certificate of a chain (PEM): its CA's.

    :raises BedError: there are not two
    """
    end = "-----END CERTIFICATE-----\n"
    certificates = [part + end for part in chain.split(end)[:-1]]
    if len(certificates) < 2:
        raise BedError("the API server's certificate does not come with its CA's")
    return certificates[-1]


def nodes(settings: Settings) -> dict:
    """The nodes, as kwok wants them."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": f"node-{number}",
                    "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
                    "labels": {
                        "kubernetes.io/arch": "amd64",
                        "kubernetes.io/hostname": f"node-{number}",
                        "kubernetes.io/os": "linux",
                        "type": "kwok",
                    },
                },
                "spec": {"providerID": f"{AWS_MACHINE}{number:017x}"} if settings.load_balancer_hostname else {},
                "status": {
                    "allocatable": NODE_ROOM,
                    "capacity": NODE_ROOM,
                    "addresses": [
                        {"type": "InternalIP", "address": str(NODE_RANGE[number])},
                        # A run that gets no answer asks by name too: one that no name server is asked for.
                        {"type": "Hostname", "address": f"node-{number}.invalid"},
                    ],
                    "nodeInfo": {"kubeletVersion": settings.version, "kubeProxyVersion": settings.version},
                },
            }
            for number in range(1, settings.nodes + 1)
        ],
    }
