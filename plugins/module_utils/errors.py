# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that a job raises for its user to read."""

from __future__ import annotations


class JobError(Exception):
    """A failure with a message for the user, and more for the task's result.

    :arg str message: names the object or variable, the cause and the fix
    :arg dict details: further keys of the failed task's result, such as ``findings``
    """

    def __init__(self, message: str, **details) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
