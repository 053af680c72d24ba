# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of module istio_diagnosis_info: the same job inside the controller."""

from __future__ import annotations

from ansible_collections.meshops.istio.plugins.module_utils.jobs import diagnosis
from ansible_collections.meshops.istio.plugins.plugin_utils.in_process import InProcessAction


class ActionModule(InProcessAction):
    """See the module's documentation."""

    job = diagnosis
    module = "istio_diagnosis_info"
