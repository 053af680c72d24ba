# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The revision of Istio that a run is about: one for istiod, gateways, injection and proof alike. Pure.

An istiod of a revision injects only what has its label ``istio.io/rev``, pods of gateways too: one that is told of it
in istiod's values alone leaves them without a proxy, or to another istiod
(https://istio.io/latest/docs/setup/upgrade/canary).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout
from ansible_collections.meshops.istio.plugins.module_utils.mesh.sidecars import REVISION

#: What Istio calls the one without a name.
DEFAULT = "default"
#: It is part of names of objects, of Services among them, and the value of a label.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")


class Listed(Protocol):
    """A gateway that is listed: ``parsed.Gateway`` is one."""

    name: str
    values: dict[str, Any]


def effective(option: str, values: Mapping[str, Any], names: Iterable[str], listed: Iterable[Listed]) -> str:
    """The revision of a run; empty for the default one.

    :arg option: what option ``revision`` says
    :arg values: Helm values by component or gateway
    :arg names: the components that it installs
    :arg listed: its gateways
    :raises JobError: it is no name for a revision, or they contradict each other; names the variable
    """
    said = [each for each in _said(option, values, listed) if each[1]]
    for where, value in said:
        if not _NAME.fullmatch(value):
            raise ErrorAbout(
                f"{value} is not a valid revision name.",
                object=where,
                fix=f"Use up to 42 lowercase letters, digits and dashes, such as {_suggested(value)}.",
            )
    if not said:
        return ""
    where, value = said[0]
    others = [each for each in said[1:] if each[1] != value]
    if others:
        other, contradicting = others[0]
        message = f"{contradicting} contradicts {where}: {value}."
        raise ErrorAbout(message, object=other, fix="Set only istio_helm_revision.")
    if "istiod" in names and where not in (_OPTION, _ISTIOD):
        raise ErrorAbout(
            f"{value} is not the revision of the istiod that this run installs, which is the default one.",
            object=where,
            fix=f"Set istio_helm_revision: {value}, which applies to both.",
        )
    return value


_OPTION, _ISTIOD = "revision", "values: istiod: revision"


def _said(option: str, values: Mapping[str, Any], listed: Iterable[Listed]) -> list[tuple[str, str]]:
    """Where somebody may say it, and what; those that count for all first."""

    def of(component: str) -> str:
        given = values.get(component)
        return _plain(given.get("revision")) if isinstance(given, dict) else ""

    found = [(_OPTION, _plain(option)), (_ISTIOD, of("istiod"))]
    found += [(f"values: {component}: revision", of(component)) for component in ("gateway", "ztunnel")]
    for gateway in listed:
        found.append((f"values: {gateway.name}: revision", of(gateway.name)))
        own = _plain(gateway.values.get("revision"))
        found.append((f"gateways: {gateway.name}: values: revision", own))
    return found


def _plain(value: Any) -> str:
    text = "" if value is None else str(value)
    return "" if text == DEFAULT else text


def _suggested(value: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:40] or "canary"


def suffix(revision: str) -> str:
    """What names of a revision's objects end with: ``istiod-canary`` beside ``istiod``."""
    return f"-{revision}" if revision not in ("", DEFAULT) else ""


def revision_of(obj: dict[str, Any]) -> str:
    """The revision that an object of Istio is of; ``default`` without one."""
    return (obj["metadata"].get("labels") or {}).get(REVISION) or "default"
