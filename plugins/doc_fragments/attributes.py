# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options and attributes that the modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """What every module of this collection supports."""

    DOCUMENTATION = r"""
options: {}
attributes:
  action:
    description: Has a corresponding action plugin, so that some of its work happens on the controller.
    support: full
    details: All of it does where the connection is local; elsewhere the module runs on the target.
  async:
    description: Supports being used with the C(async) keyword.
    support: full
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the cluster.
    support: full
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: full
    details:
      - "The values of Secrets, and what looks like a secret in Helm values and other objects, are shown as
        C(<hidden: 5f2c9a10>). Within one task, equal secrets look equal and different ones do not."
requirements:
  - kubernetes >= 24.2.0
  - PyYAML >= 3.11
"""
