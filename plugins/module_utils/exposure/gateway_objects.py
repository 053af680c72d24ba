# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gateway is made of, read from objects: what runs its pods, what leads to them, and by which labels. Pure.

The gateway chart has values for all of it: ``kind`` (istio#37610, istio#56658, istio#59490), ``labels`` (istio#36760,
istio#38792), ``name``, ``service.type: None``. Whoever waits for a gateway, selects its pods or asks it looks here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.selectors import contains

Object = dict[str, Any]

#: Kinds that the gateway chart runs its pods by.
WORKLOADS = ("Deployment", "DaemonSet")
#: Where each of Istio's proxies says whether it is ready: ``GET /healthz/ready``.
STATUS_PORT, STATUS_PATH = 15021, "/healthz/ready"
#: By which names, and of names what before a dash (https://istio.io/latest/docs/ops/configuration/traffic-management/
#: protocol-selection), by which ``appProtocol``, and by which numbers a port is known to take a scheme; best first.
_NAMES = {"http": ("http2", "http"), "https": ("https",)}
_APP_PROTOCOLS = {"http": ("http", "http2", "kubernetes.io/h2c"), "https": ("https",)}
_NUMBERS = {"http": (80, 8080), "https": (443, 8443)}
#: First words of names of ports that speak something else than HTTP.
_OTHERS = ("status", "https", "tls", "tcp", "udp", "grpc", "mongo", "mysql", "redis")


@dataclass(frozen=True)
class Gateway:
    """A gateway.

    :ivar str namespace: of its release, and so of its objects
    :ivar str name: of its release
    :ivar str kind: of what runs its pods; empty where nothing does
    :ivar str workload: the name of that
    :ivar str service: name of the Service that leads to its pods; empty where none does
    :ivar str type: of that Service
    :ivar list ports: of that Service; of each what tells whom it leads to
    :ivar dict selector: labels by which its pods are known, those of the Service's selector
    :ivar dict labels: all labels of its pods, before anything is injected
    :ivar str account: the service account of its pods
    """

    namespace: str
    name: str
    kind: str = ""
    workload: str = ""
    service: str = ""
    type: str = ""
    ports: list[Object] = field(default_factory=list)
    selector: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    account: str = "default"

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def as_dict(self) -> dict[str, Any]:
        """For a task's result."""
        return asdict(self)

    @classmethod
    def of_dict(cls, given: dict[str, Any]) -> Gateway:
        """The reverse, of a task's result that has gone through a playbook."""
        return cls(**{each.name: given[each.name] for each in fields(cls) if each.name in given})

    @property
    def is_egress(self) -> bool:
        """Whether it is for what leaves the mesh, as its label ``istio`` or its name says."""
        return any("egress" in word for word in (self.name, self.selector.get("istio", "")))


def of_objects(namespace: str, name: str, objects: Iterable[Object]) -> Gateway | None:
    """A gateway, from its release's objects or from live ones; None where they run no pods and lead to none.

    :arg name: of the release
    """
    objects = list(objects)
    workload = next((obj for obj in objects if obj["kind"] in WORKLOADS), None)
    labels = pod_labels(workload) if workload else {}
    services = [obj for obj in objects if obj["kind"] == "Service" and _leads_to_pods(obj, name)]
    service = next((obj for obj in services if not workload or contains(labels, _selector(obj))), None)
    if workload is None and service is None:
        return None
    spec = (service or {}).get("spec") or {}
    matched = (((workload or {}).get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    pods = (((workload or {}).get("spec") or {}).get("template") or {}).get("spec") or {}
    return Gateway(
        namespace,
        name,
        kind=workload["kind"] if workload else "",
        workload=workload["metadata"]["name"] if workload else "",
        service=service["metadata"]["name"] if service else "",
        type=(spec.get("type") or "ClusterIP") if service else "",
        ports=[_port(port) for port in spec.get("ports") or []],
        selector=dict(spec.get("selector") or matched),
        labels=labels,
        account=pods.get("serviceAccountName") or "default",
    )


def _selector(service: Object) -> dict[str, str]:
    return (service.get("spec") or {}).get("selector") or {}


def _leads_to_pods(service: Object, name: str) -> bool:
    """By its selector, or by endpoints that somebody writes by hand: then its name alone says whose it is."""
    return bool(_selector(service)) or service["metadata"]["name"] == name


def _port(port: Object) -> Object:
    found = {"name": port.get("name") or "", "port": port["port"], "protocol": port.get("protocol") or "TCP"}
    return {**found, **{key: port[key] for key in ("targetPort", "appProtocol") if port.get(key)}}


def pod_labels(workload: Object) -> dict[str, str]:
    """The labels that a workload gives its pods."""
    template = (workload.get("spec") or {}).get("template") or {}
    return dict((template.get("metadata") or {}).get("labels") or {})


def as_the_chart_has_it(namespace: str, name: str, kind: str, ports: list[Object]) -> Gateway:
    """A gateway that is not there, as Istio's chart makes one of that name with its own values.

    :arg kind: of its Service
    :arg ports: of its Service
    """
    labels = {"app": name, "istio": name.removeprefix("istio-")}
    ports = [_port(port) for port in ports]
    return Gateway(namespace, name, "Deployment", name, name, kind, ports, labels, labels, name)


def port_for(ports: Iterable[Object], scheme: str, wanted: str = "") -> Object | None:
    """The port of a Service that takes requests of a scheme; None where none is seen to.

    :arg scheme: ``http`` or ``https``
    :arg wanted: its name or its number, where somebody has said it
    """
    ports = [port for port in ports if (port.get("protocol") or "TCP") == "TCP"]
    if wanted:
        return next((port for port in ports if wanted in (port.get("name"), str(port["port"]))), None)
    rules = [
        *((lambda port, name=name: port.get("name") == name) for name in _NAMES[scheme]),
        *((lambda port, name=name: (port.get("name") or "").startswith(f"{name}-")) for name in _NAMES[scheme]),
        lambda port: port.get("appProtocol") in _APP_PROTOCOLS[scheme],
        *((lambda port, number=number: port["port"] == number) for number in _NUMBERS[scheme]),
    ]
    for rule in rules:
        found = next((port for port in ports if rule(port)), None)
        if found:
            return found
    rest = [port for port in ports if scheme == "http" and not _is_known_otherwise(port)]
    return rest[0] if len(rest) == 1 else None


def _is_known_otherwise(port: Object) -> bool:
    """Whether a port's name, number or ``appProtocol`` says that it takes something else than HTTP."""
    word = (port.get("name") or "").partition("-")[0]
    return bool(port.get("appProtocol")) or word in _OTHERS or port["port"] in (STATUS_PORT, *_NUMBERS["https"])


def status_port(ports: Iterable[Object]) -> Object | None:
    """The port of a Service by which its proxies say whether they are ready."""
    return next((port for port in ports if STATUS_PORT in (port["port"], port.get("targetPort"))), None)


def called(port: Object) -> str:
    """How a port of a Service is named in requests to the API server and in messages: by its name, else its number."""
    return port.get("name") or str(port["port"])
