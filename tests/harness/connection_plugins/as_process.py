# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local connection under another name, so that Ansible ships modules and runs them in processes of their own."""

from __future__ import annotations

from ansible.plugins.connection.local import Connection as LocalConnection

DOCUMENTATION = r"""
name: as_process
short_description: Local, but not called so
description: Our actions work in the controller only when the connection is local; on this one the real module runs.
"""


class Connection(LocalConnection):
    """See DOCUMENTATION."""

    transport = "as_process"
