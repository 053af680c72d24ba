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
    description: Has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
    details: With a local connection, all of it runs on the controller. Otherwise the module runs on the target.
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
      - "Values of Secrets, and values that look like secrets in Helm values and other objects, are shown as
        C(<hidden: 5f2c9a10>). Within one task, equal secrets are shown with equal digits, and different secrets with
        different digits."
requirements:
  - kubernetes >= 24.2.0
  - PyYAML >= 3.11
"""
