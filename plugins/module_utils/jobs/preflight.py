# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job of module istio_preflight_info: everything that can be known to go wrong, before anything is written.

Reads only, access reviews and dry runs of a Service and a Pod apart. What is wrong is decided by rules, each in the
file of its subject; here the cluster is read once, the rules are called, and all that they find is told together.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.findings import errors, shown
from ansible_collections.meshops.istio.plugins.module_utils.mesh import options
from ansible_collections.meshops.istio.plugins.module_utils.pod_security import privileges
from ansible_collections.meshops.istio.plugins.module_utils.preflight.checks import Checks, in_order
from ansible_collections.meshops.istio.plugins.module_utils.task import Task, argument_spec

ARGUMENT_SPEC = argument_spec(
    {
        **options.MESH_ARGUMENT_SPEC,
        "application_namespaces": {"type": "list", "elements": "str", "default": []},
        "istioctl_binary": {"type": "path"},
        "pod_security_mechanism": {
            "type": "str",
            "choices": ["auto", privileges.POLICY, privileges.CONSTRAINTS, privileges.ADMISSION],
            "default": "auto",
        },
        "verify_from": {"type": "str", "choices": ["controller", "cluster"], "default": "controller"},
        "recommended_cpu": {"type": "str", "default": "4"},
        "recommended_memory": {"type": "str", "default": "8G"},
        "ignore": {"type": "list", "elements": "str", "default": []},
    }
)


def run(task: Task) -> dict[str, Any]:
    """Check everything.

    :returns: ``findings``, ``cluster`` (facts) and ``versions``; when one is an error ``failed``, and one message of
        all ``errors``
    :raises JobError: options that contradict each other
    """
    check = Checks(task)
    check.run()
    ignored = set(task.params["ignore"])
    findings = [finding for finding in in_order(check.findings) if finding.code not in ignored]
    result: dict[str, Any] = {
        "changed": False,
        "findings": [finding.as_dict() for finding in findings],
        "versions": check.versions,
        "cluster": check.facts,
    }
    stopping = errors(findings)
    task.warnings += shown(finding for finding in findings if finding not in stopping)
    if stopping:
        # Each on a line of its own: a person reads this at 3 a.m.
        lines = "\n".join(str(finding) for finding in stopping)
        number = f"{len(stopping)} error{'s' if len(stopping) > 1 else ''}"
        result.update(
            failed=True,
            msg=f"Preflight failed with {number}; nothing was changed:\n{lines}",
            errors=[finding.parts() for finding in stopping],
        )
    return result
