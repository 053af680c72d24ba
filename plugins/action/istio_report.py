# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action istio_report: the report of a run, which belongs to the controller whatever the connection is."""

from __future__ import annotations

from typing import Any

from ansible_collections.meshops.istio.plugins.plugin_utils.in_process import InProcessAction
from ansible_collections.meshops.istio.plugins.plugin_utils.report import job


class ActionModule(InProcessAction):
    """See the module's documentation."""

    job = job
    module = "istio_report"
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Name the files by the host unless the task does."""
        self._task.args.setdefault("name", (task_vars or {}).get("inventory_hostname", "report"))
        return super().run(tmp, task_vars)

    def _runs_here(self) -> bool:
        return True
