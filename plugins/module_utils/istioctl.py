# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The istioctl program. No role needs it; preflight looks at the one that a user names."""

from __future__ import annotations

import re
import shutil
import subprocess

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

_SECONDS = 30.0


def version_of(binary: str) -> str:
    """The version of an istioctl, as ``1.31.0``.

    :arg binary: its path, or its name on PATH
    :raises JobError: it is not there, cannot be run, or does not say
    """
    found = shutil.which(binary)
    if not found:
        raise JobError(f"istioctl is not at {binary}.")
    command = [found, "version", "--remote=false", "--short"]
    try:
        # In process there is no AnsibleModule whose run_command could be used.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JobError(f"{found} cannot be run: {error}.") from error
    match = re.search(r"\d+\.\d+\.\d+\S*", done.stdout)
    if not match:
        printed = (done.stdout + done.stderr).strip()[:200]
        raise JobError(f"{found} does not say which version of istioctl it is: {printed!r}.")
    return match[0]
