# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be installed, what that was called when the guide was written, and which of it goes together.

Tables only: a new component is a row. How a component is configured is in ``mesh``; Istio's own knowledge stays in
Istio's charts.
"""

from __future__ import annotations

from typing import NamedTuple

#: What a component is for; a run may wait for the control plane alone and leave the gateways to somebody else.
CONTROL_PLANE, GATEWAY, ADDON = "control-plane", "gateway", "addon"

#: Where a chart comes from, unless option ``charts`` says otherwise: Istio's repository (options ``chart_repository``
#: and ``chart_version``), Istio's manifests of addons (option ``addons_repository``), or a repository of its own.
ISTIO, MANIFESTS = "istio", "addons"
JETSTACK = "https://charts.jetstack.io"


class Component(NamedTuple):
    """One chart, or one of Istio's manifests, which is made a chart.

    :ivar str chart: the chart's name in its repository
    :ivar str release: the release's name
    :ivar tuple needs: components whose pods must be ready before this one is installed, where they are installed at all
    :ivar str part: CONTROL_PLANE, GATEWAY or ADDON
    :ivar str namespace: the release's namespace; Istio's if empty
    :ivar str source: ISTIO, MANIFESTS, or the URL of a repository
    :ivar str version: the chart's version; Istio's if empty
    :ivar bool runs_pods: whether there is anything to wait for
    """

    chart: str
    release: str
    needs: tuple[str, ...] = ()
    part: str = CONTROL_PLANE
    namespace: str = ""
    source: str = ISTIO
    version: str = ""
    runs_pods: bool = True


#: base and istiod need not wait for each other: istiod needs only the definitions that role crds has applied (or,
#: without that role, that base brings while istiod starts). Gateways need the injector: their image is "auto".
COMPONENTS: dict[str, Component] = {
    "base": Component("base", "istio-base", runs_pods=False),
    "cert-manager": Component(
        "cert-manager", "cert-manager", namespace="cert-manager", source=JETSTACK, version="v1.21.2"
    ),
    "istio-csr": Component(
        "cert-manager-istio-csr",
        "cert-manager-istio-csr",
        ("cert-manager",),
        namespace="cert-manager",
        source=JETSTACK,
        version="v0.16.0",
    ),
    "istiod": Component("istiod", "istiod", ("istio-csr",)),
    "cni": Component("cni", "istio-cni"),
    "ztunnel": Component("ztunnel", "ztunnel", ("istiod", "cni")),
    "gateway": Component("gateway", "", ("istiod",), GATEWAY),
    "prometheus": Component("prometheus", "prometheus", ("istiod",), ADDON, source=MANIFESTS),
    "grafana": Component("grafana", "grafana", ("istiod",), ADDON, source=MANIFESTS),
    "jaeger": Component("jaeger", "jaeger", ("istiod",), ADDON, source=MANIFESTS),
    "kiali": Component("kiali", "kiali", ("istiod",), ADDON, source=MANIFESTS),
}

#: Those that can be listed by name. Gateways have a list of their own: there may be many.
NAMES: tuple[str, ...] = tuple(name for name in COMPONENTS if name != "gateway")

#: Istio's README of its addons: "optimized for this case" (quick start), "may not be suitable for production".
QUICK_START = "is installed from Istio's quick-start manifest, which Istio says may not be suitable for production."


class Preset(NamedTuple):
    """What is installed when components and gateways are not listed.

    :ivar tuple gateways: names; one for traffic that leaves is called from inside only, so a cloud gives it no address
    """

    components: tuple[str, ...]
    gateways: tuple[str, ...]


PRESETS: dict[str, Preset] = {
    "lean": Preset(("base", "istiod"), ("istio-ingressgateway",)),
    # All that the guide's chart turned on: everything but strict mutual TLS and cert-manager.
    "guide": Preset(
        ("base", "istiod", "prometheus", "grafana", "jaeger", "kiali"), ("istio-ingressgateway", "istio-egressgateway")
    ),
    "none": Preset((), ()),
}
EGRESS = "istio-egressgateway"

#: Data plane -> the components that it needs beside a preset's.
PROFILES: dict[str, tuple[str, ...]] = {"sidecar": (), "ambient": ("cni", "ztunnel")}


class Former(NamedTuple):
    """A name of the guide's time.

    :ivar tuple now: the components that do its work today
    :ivar str since: the Istio that changed it
    :ivar str what: what became of it, to follow the name
    """

    now: tuple[str, ...]
    since: str
    what: str


#: As the guide's chart and its values called them.
FORMER: dict[str, Former] = {
    "pilot": Former(("istiod",), "1.5", "is part of istiod"),
    "galley": Former(("istiod",), "1.5", "is part of istiod"),
    "citadel": Former(("istiod",), "1.5", "is part of istiod"),
    "security": Former(("istiod",), "1.5", "is part of istiod, which replaced Citadel"),
    "sidecarInjectorWebhook": Former(("istiod",), "1.5", "is part of istiod"),
    "nodeagent": Former((), "1.5", "is part of every proxy"),
    "mixer": Former(
        (),
        "1.8",
        "no longer exists: proxies report telemetry (Telemetry), AuthorizationPolicy and WasmPlugin do the rest",
    ),
    "telemetry": Former((), "1.8", "no longer exists (it was Mixer): proxies report telemetry (Telemetry)"),
    "policy": Former((), "1.8", "no longer exists (it was Mixer): AuthorizationPolicy and WasmPlugin replace it"),
    "tracing": Former(("jaeger",), "1.7", "is the addon Jaeger"),
    "servicegraph": Former(("kiali",), "1.2", "no longer exists: Kiali draws the graph"),
    "certmanager": Former(("cert-manager",), "1.5", "is cert-manager's own chart"),
    "istiocoredns": Former((), "1.8", "no longer exists: proxies answer DNS queries themselves"),
    "mtls": Former((), "1.5", "is automatic where both ends have a proxy; PeerAuthentication makes it strict"),
}
#: Names of the guide's time for gateways, which are listed apart today: istio_helm_gateways.
FORMER_GATEWAYS = frozenset(
    ("gateways", "ingress", "ingressgateway", "egressgateway", "istio-ingressgateway", "istio-egressgateway")
)


def former_names(wanted: list[str]) -> list[tuple[str, Former]]:
    """The names of the guide's time among some, with what became of them."""
    return [(name, FORMER[name]) for name in wanted if name in FORMER]


def current_names(wanted: list[str]) -> list[str]:
    """Components by today's names, each once, in the order of first mention.

    Who lists Pilot by its former name means what the one chart of then brought with it: base, which had no name.
    """
    now = [found for name in wanted for found in (FORMER[name].now if name in FORMER else (name,))]
    had_base = any("istiod" in former.now for _name, former in former_names(wanted))
    return list(dict.fromkeys(["base", *now] if had_base else now))


def stages(wanted: set[str]) -> dict[str, int]:
    """When each of some components is installed, from 0: after the last of those that it needs and that are wanted."""
    found: dict[str, int] = {}

    def stage(name: str) -> int:
        if name not in found:
            found[name] = 1 + max((stage(other) for other in COMPONENTS[name].needs if other in wanted), default=-1)
        return found[name]

    for name in wanted:
        stage(name)
    return found
