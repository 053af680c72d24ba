# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a cluster is read: some fields of each object, some namespaces or all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster

Objects = list[dict[str, Any]]
#: Namespaces up to which a list for each is made; a list of all is made for more.
FEW = 3
#: Selects pods that have not ended.
UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"


def kept(obj: Any, fields: Any) -> Any:
    """An object reduced to some of its fields.

    :arg fields: names, each with True or the fields below it
    """
    if fields is True or obj is None:
        return obj
    if isinstance(obj, list):
        return [kept(item, fields) for item in obj]
    return {name: kept(obj[name], below) for name, below in fields.items() if name in obj}


def joined(lists: Iterable[Objects | None]) -> Objects | None:
    """All objects of some lists; None when one of them may not be read."""
    found = list(lists)
    return None if None in found else [obj for objects in found for obj in objects or []]


def allowed(read: Callable[[], Objects]) -> Objects | None:
    """What a read returns; None without the right."""
    try:
        return read()
    except ApiError as error:
        if error.status == 403:
            return None
        raise


def listed(
    cluster: Cluster, api_version: str, kind: str, namespace: str | None = None, fields: Any = True, **query: Any
) -> Objects | None:
    """Objects of a kind; None without the right to list them.

    :arg fields: what is kept of each, as in ``kept``
    :arg query: further arguments of ``Cluster.list``
    """
    return allowed(lambda: cluster.list(api_version, kind, namespace, keep=lambda obj: kept(obj, fields), **query))
