# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which gateways a run proves, and how each is asked: those that it installs, first the application's. Pure.

A request through the mesh is the proof. Where none can be sent (a Service of type ClusterIP, no port for HTTP), or none
should be (a gateway for what leaves the mesh), the gateway's own word that it is ready counts for what it is, and what
could not be asked at all is said with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.selectors import contains
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exposure.gateway_objects import (
    STATUS_PORT,
    Gateway,
    called,
    port_for,
    status_port,
)
from ansible_collections.meshops.istio.plugins.module_utils.mesh import parsed

#: How a gateway is proven: by requests that it routes to the application, by its own readiness, or not at all.
REQUEST, READINESS, NONE = "request", "readiness", "none"
#: What a run asks for that neither lists gateways nor names one.
DEFAULT = "istio-ingressgateway"
#: Types of Services that are reached from outside of the cluster.
OUTSIDE = ("NodePort", "LoadBalancer")


@dataclass(frozen=True)
class Wanted:
    """A gateway that is to be proven.

    :ivar Gateway options: as it is listed
    :ivar bool installed: whether this run installs it
    """

    options: parsed.Gateway
    installed: bool

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.options.namespace, self.options.name

    def __str__(self) -> str:
        return str(self.options)


@dataclass(frozen=True)
class Target:
    """A gateway, and how it is asked.

    :ivar str proof: REQUEST, READINESS or NONE
    :ivar str why: why not by a request; empty for one
    :ivar dict port: port of its Service that is asked; None where it is not asked, or none is known to fit
    :ivar bool is_first: whether it is the application's, to which the options lead
    """

    gateway: Gateway
    proof: str
    why: str = ""
    port: dict[str, Any] | None = None
    is_first: bool = False


def wanted(params: dict[str, Any]) -> list[Wanted]:
    """The gateways to prove, first the one that leads to the application.

    :arg params: the job's options; ``preset`` is None where nobody says what is installed
    :raises JobError: there is none
    """
    exposure = params["exposure"] or "LoadBalancer"
    listed = parsed.listed_gateways(params["gateways"], params["preset"], params["istio_namespace"], exposure)
    installed = [Wanted(each, installed=True) for each in listed]
    name, namespace = params["gateway"] or "", params["gateway_namespace"] or ""
    if name or namespace:
        of_that_name = [each for each in installed if namespace in ("", each.key[0]) and name in ("", each.key[1])]
        first = of_that_name[0] if of_that_name else _other(name, namespace, params)
    elif installed:
        first = next((each for each in installed if _leads_inside(each, params)), installed[0])
    elif params["preset"]:
        raise JobError(
            "This run installs no gateway through which to request the application.",
            fix="List a gateway in istio_helm_gateways, or set liveness_verify_gateway to an existing one.",
        )
    else:
        first = _other(name, namespace, params)
    return [first, *(each for each in installed if each.key != first.key)]


def _other(name: str, namespace: str, params: dict[str, Any]) -> Wanted:
    exposure = params["exposure"] or "LoadBalancer"
    return Wanted(parsed.Gateway(name or DEFAULT, namespace or params["istio_namespace"], exposure), installed=False)


def _leads_inside(gateway: Wanted, params: dict[str, Any]) -> bool:
    """Whether a gateway is by its options one for requests that come in."""
    inside = params["verify_from"] == "cluster" or gateway.options.type in OUTSIDE
    return inside and not Gateway(*gateway.key).is_egress


def not_installed(found: list[Wanted]) -> str:
    """A warning that the application is asked for through a gateway that is not the run's; empty where it is."""
    first, *others = found
    if first.installed or not others:
        return ""
    names = ", ".join(map(str, others))
    return (
        f"The application is bound to gateway {first}, which this run does not install (it installs {names}). Clear "
        "liveness_verify_gateway and liveness_verify_gateway_namespace to use the first of those, or list the gateway "
        "in istio_helm_gateways."
    )


def targets(
    params: dict[str, Any],
    found: Iterable[tuple[Wanted, Gateway]],
    leads: Callable[[Gateway], bool] = lambda gateway: True,
) -> list[Target]:
    """How each gateway is asked.

    :arg found: with what it is made of, first the application's
    :arg leads: whether the application is bound to a gateway's pods
    """
    (_wanted, made), *others = found
    return [_first(params, made), *(_target(params, wanted, gateway, leads(gateway)) for wanted, gateway in others)]


def _first(params: dict[str, Any], gateway: Gateway) -> Target:
    port = port_for(gateway.ports, params["scheme"], params["port"] or "")
    return Target(gateway, REQUEST, port=port, is_first=True)


def _target(params: dict[str, Any], wanted: Wanted, gateway: Gateway, leads: bool) -> Target:
    asked = params["asked"]
    if asked and not {str(gateway), gateway.name} & set(asked):
        return Target(gateway, NONE, "liveness_verify_gateways does not include it")
    why = _unreachable(params, wanted, gateway)
    if why:
        return Target(gateway, NONE, why)
    port = _port(params, gateway)
    if gateway.is_egress:
        why = "it handles traffic that leaves the mesh and routes no requests to the application"
    elif not leads:
        why = "no Gateway of the application selects its pods"
    elif port is None:
        names = ", ".join(map(called, gateway.ports)) or "none"
        why = f"its Service has no port for {params['scheme'].upper()} (its ports: {names})"
    else:
        return Target(gateway, REQUEST, port=port)
    port = status_port(gateway.ports)
    if port is None:
        return Target(gateway, NONE, f"{why}, and its Service has no port {STATUS_PORT} for a readiness request")
    return Target(gateway, READINESS, why, port)


def _port(params: dict[str, Any], gateway: Gateway) -> dict[str, Any] | None:
    """The port that is named where the gateway has it, else the one that takes such requests."""
    named = port_for(gateway.ports, params["scheme"], params["port"]) if params["port"] else None
    return named or port_for(gateway.ports, params["scheme"])


def _unreachable(params: dict[str, Any], wanted: Wanted, gateway: Gateway) -> str:
    """Why no request reaches a gateway from where the run asks; empty where one may."""
    if not gateway.service:
        return "no Service selects its pods"
    if params["verify_from"] == "cluster":
        return ""
    if gateway.type not in OUTSIDE:
        return f"its Service is of type {gateway.type}; to request it, set liveness_verify_from: cluster"
    if wanted.options.internal:
        return "its load balancer is internal; to request it, set liveness_verify_from: cluster"
    if params["address"]:
        return "liveness_verify_address leads to another gateway"
    return ""


def bindings(found: list[Target], scheme: str) -> list[dict[str, Any]]:
    """What the role's own application says of the gateways that lead to it: value ``gateways`` of its chart.

    Each distinct selection of pods and ports is one Gateway. The first has the application's own name.

    :arg scheme: by which they are asked
    """
    made: list[dict[str, Any]] = []
    for target in found:
        if target.proof != REQUEST:
            continue
        plain, secure = port_for(target.gateway.ports, "http"), port_for(target.gateway.ports, "https")
        # Istio looks a server's port up among the Service's, and listens where that leads to.
        numbers = {"http": plain["port"] if plain else 80, "https": secure["port"] if secure else 443}
        if target.port:
            numbers[scheme] = target.port["port"]
        binding = {"selector": target.gateway.selector, **numbers}
        if any({**each, "name": ""} == {**binding, "name": ""} for each in made):
            continue
        name = target.gateway.name if made else ""
        if name and name in [each["name"] for each in made]:
            name = f"{target.gateway.namespace}-{name}"
        made.append({"name": name, **binding})
    return made


def selected_by(objects: Iterable[dict[str, Any]]) -> Callable[[Gateway], bool]:
    """Whether some Gateway of an application's objects selects a gateway's pods.

    One of Istio's without a selector selects all (https://istio.io/latest/docs/reference/config/networking/gateway).
    """
    selectors = [
        (obj.get("spec") or {}).get("selector")
        for obj in objects
        if obj.get("kind") == "Gateway" and str(obj.get("apiVersion")).startswith("networking.istio.io/")
    ]
    return lambda gateway: any(contains(gateway.labels, selector) for selector in selectors)
