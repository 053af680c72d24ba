# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which answers of an API server may become others by themselves, within seconds. Pure."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError

_PASSING = frozenset({429, 500, 502, 503, 504})
#: Answers of status 500 that are the same each time: an admission webhook's own denial, one whose Service does not
#: exist or which answers nonsense, and what no storage takes.
_SETTLED = re.compile(
    r"denied the request"
    r"|failed calling webhook .*: service \"[^\"]*\" not found"
    r"|failed calling webhook .*: x509: certificate (is valid for|has expired)"
    r"|failed calling webhook .*: (received invalid webhook response|expected webhook response)"
    r"|no kind \"[^\"]*\" is registered"
    r"|etcdserver: (request is too large|mvcc: database space exceeded)"
)
#: What a server says that did not get around to a write for other writers (RetryOnConflict of client-go).
_MODIFIED = "the object has been modified"


def may_pass(fault: ApiError, body: Any) -> bool:
    """Whether the same request may succeed within seconds.

    :arg body: the request's: one that names the version of an object that it is about will not
    """
    if fault.status == 409:
        return _MODIFIED in fault.message and not _is_of_a_version(body)
    return fault.status in _PASSING and not (fault.status == 500 and _SETTLED.search(fault.message))


def _is_of_a_version(body: Any) -> bool:
    """Whether a request is about one version of an object; a JSON patch may be, by its operations."""
    if isinstance(body, dict):
        return "preconditions" in body or "resourceVersion" in (body.get("metadata") or {})
    return isinstance(body, list)
