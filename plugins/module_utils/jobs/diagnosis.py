# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_diagnosis_info: what is wrong with a mesh, the one cause first. Reads only."""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.after_failure import read_and_diagnose
from ansible_collections.meshops.istio.plugins.module_utils.task import Scope, Task, argument_spec, namespace_and_name

ARGUMENT_SPEC = argument_spec(
    {
        "namespace": {"type": "str", "default": "istio-system"},
        "gateways": {"type": "list", "elements": "str", "default": []},
        "application_namespaces": {"type": "list", "elements": "str", "default": []},
        "host_header": {"type": "str"},
        "port": {"type": "str", "default": "http2"},
        "address": {"type": "str"},
        "connect": {"type": "bool", "default": True},
        "istioctl_binary": {"type": "path"},
    }
)


def run(task: Task) -> dict[str, Any]:
    """Look at the mesh; whatever is found, this is no failure.

    :raises JobError: options that cannot be, no usable credentials, or an API server that does not answer
    """
    params = task.params
    scope = Scope(
        params["namespace"],
        [namespace_and_name("gateways", text) for text in params["gateways"]],
        params["application_namespaces"],
        host=params["host_header"] or "",
        port=params["port"],
        address=params["address"] or "",
        connect=params["connect"],
        istioctl=params["istioctl_binary"] or "",
    )
    found = read_and_diagnose(Cluster(params), scope)
    return {"changed": False, "diagnosis": found.as_dict(), "lines": found.lines}
