# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job is given, and what it notes for a failure to tell."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout

try:
    from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
except ImportError:  # kube.Cluster says so
    AUTH_ARG_SPEC = {}


@dataclass
class Task:
    """What a job knows of the Ansible task that it is.

    :ivar dict params: validated options
    :ivar str runs_on: where, as in "on the control node"
    :ivar say: shows a line of progress; modules cannot, so there it does nothing
    :ivar list warnings: for the user; both ways of running hand them to Ansible
    :ivar list written: what this task has written so far: objects and releases, as people name them
    :ivar Scope looks_at: what a failure from now on may be explained by looking at; None while it is the options' fault
    """

    params: dict[str, Any]
    check_mode: bool = False
    diff: bool = False
    runs_on: str = "the target"
    say: Callable[[str], None] = lambda line: None
    warnings: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    looks_at: Scope | None = None


def argument_spec(own: dict[str, Any]) -> dict[str, Any]:
    """A job's own options beside kubernetes.core's authentication options."""
    return {**copy.deepcopy(AUTH_ARG_SPEC), **copy.deepcopy(own)}


def expanded(path: str) -> Path:
    """A path without ``~``, which stays where a user has no home directory: ``Path.expanduser`` raises there."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def namespace_and_name(option: str, text: str) -> tuple[str, str]:
    """Both parts of ``NAMESPACE/NAME``. :raises JobError: it is something else; names the option"""
    namespace, _slash, name = text.partition("/")
    if not namespace or not name:
        raise ErrorAbout(
            f"{text} is not NAMESPACE/NAME.",
            object=option,
            fix="Write it like istio-system/istio-ingressgateway.",
        )
    return namespace, name


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
