# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diagnosis is about: what jobs hand on before they begin to look at a mesh. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Scope:
    """What a diagnosis is about.

    :ivar list gateways: (namespace, name) of gateways' Deployments and Services; those that are there if none is named
    :ivar list applications: namespaces of applications; those that ask for injection if none is named
    :ivar bool named_only: none is meant, if none is named
    :ivar str host: that is asked for through the gateways
    :ivar str port: name of the gateways' port that is asked
    :ivar str address: HOST:PORT that leads to the gateways, where their Services do not say it
    :ivar bool exposed: whether it matters that the gateways are reached from outside
    :ivar bool connect: whether connections to the gateways' addresses are tried then, from where this runs
    :ivar str istioctl: a binary whose analysis is folded in; empty for none
    """

    istio_namespace: str = "istio-system"
    gateways: list[tuple[str, str]] = field(default_factory=list)
    applications: list[str] = field(default_factory=list)
    host: str = ""
    port: str = "http2"
    address: str = ""
    exposed: bool = True
    connect: bool = True
    istioctl: str = ""
    named_only: bool = False
