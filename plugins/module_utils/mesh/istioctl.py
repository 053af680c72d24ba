# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The istioctl program: found, asked for its version, and run. Manual injection needs it; a diagnosis uses it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

_SECONDS = 30.0
#: Seconds for kube-inject, which forwards a port for each workload where it asks the running istiod.
_INJECTION_SECONDS = 120.0
#: Seconds for its looking at a cluster.
_LOOKING_SECONDS = 60.0
#: How kube-inject begins its remarks about workloads that it leaves alone.
_REMARK = "===> "
#: The finding that an istioctl is which is not there, or cannot be run.
MISSING = "istioctl-missing"
_INSTALL = "Install istioctl, and set istio_helm_istioctl_binary to its path."


class Istioctl:
    """An istioctl binary.

    :arg binary: its path, or its name on PATH; None or "" for the name ``istioctl``
    :raises JobError: it is not there
    """

    def __init__(self, binary: str | None = None) -> None:
        wanted = binary or "istioctl"
        found = shutil.which(wanted)
        if not found:
            raise JobError(
                f"was not found at {wanted}."
                if os.sep in wanted
                else "was not found on PATH. Manual injection needs the istioctl of your Istio version.",
                object="istioctl" if os.sep in wanted else wanted,
                fix=_INSTALL,
                code=MISSING,
            )
        self.binary = found

    def _run(
        self, arguments: list[str], text: str, environment: dict[str, str] | None, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        try:
            # In process there is no AnsibleModule whose run_command could be used.
            return subprocess.run(  # pylint: disable=ansible-bad-function
                [self.binary, *arguments],
                env=environment,
                input=text,
                capture_output=True,
                encoding="utf-8",
                timeout=timeout,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise JobError(f"cannot be run: {error}.", object=self.binary, fix=_INSTALL, code=MISSING) from error

    @property
    def version(self) -> str:
        """Its version, as ``1.31.0``. :raises JobError: it cannot be run, or does not say"""
        done = self._run(["version", "--remote=false", "--short"], "", None, _SECONDS)
        match = re.search(r"(?<!\d)\d+\.\d+\.\d+\S*", done.stdout)
        if not match:
            printed = (done.stdout + done.stderr).strip()[:200]
            message = f"does not report an istioctl version: {printed!r}."
            raise JobError(message, object=self.binary, fix=_INSTALL, code=MISSING)
        return match[0]

    def kube_inject(self, text: str, flags: list[str], environment: dict[str, str]) -> tuple[str, list[str]]:
        """Add sidecars to workloads.

        :arg text: their documents, handed over by standard input
        :arg flags: where the template comes from
        :arg environment: with the credentials, if any are needed
        :returns: the documents with sidecars, and what istioctl remarks about those that get none
        :raises JobError: istioctl fails
        """
        done = self._run(["kube-inject", "--filename", "-", *flags], text, environment, _INJECTION_SECONDS)
        lines = done.stderr.strip().splitlines()
        if done.returncode:
            # It logs to standard error beside its error; the error is what counts.
            words = [line for line in lines if line.startswith("Error:")] or lines[-1:]
            said = " ".join(words)[:2000]
            raise JobError(
                f"failed: {said} ({self.binary}).",
                object="istioctl kube-inject",
                fix="Correct what istioctl reports. If it is not of istiod's version, install that version: it may not "
                "understand istiod's template.",
                quotes=[said],
            )
        return done.stdout, [line[len(_REMARK) :] for line in lines if line.startswith(_REMARK)]

    def analyze(self, environment: dict[str, str], flags: list[str]) -> list[dict[str, Any]]:
        """What it finds in all of a cluster's configuration: ``code``, ``level``, ``origin``, ``message``.

        :arg environment: with the credentials
        :arg flags: of ``Connection.acting_flags``
        :raises JobError: it cannot be run
        :raises ValueError: it failed, and printed no JSON
        """
        arguments = ["analyze", "--all-namespaces", "--output=json", *flags]
        done = self._run(arguments, "", environment, _LOOKING_SECONDS)
        return _json(done)

    def proxy_status(self, environment: dict[str, str], flags: list[str], namespace: str) -> list[dict[str, Any]]:
        """What istiod says of its proxies: an answer a replica, each as its ``/debug/syncz`` has it.

        :arg environment: with the credentials
        :arg flags: of ``Connection.acting_flags``
        :arg namespace: Istio's
        :raises JobError: it cannot be run
        :raises ValueError: it failed, or is too old to print JSON
        """
        arguments = ["proxy-status", "--output=json", f"--istioNamespace={namespace}", *flags]
        found = _json(self._run(arguments, "", environment, _LOOKING_SECONDS))
        return found if isinstance(found, list) else [found]


def _json(done: subprocess.CompletedProcess[str]) -> Any:
    """What a command printed, whatever it ended with: analyze ends with a code of its own where it found something."""
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise ValueError((done.stderr or done.stdout).strip()[:300] or f"exit code {done.returncode}") from error


def version_of(binary: str) -> str:
    """The version of an istioctl, as ``1.31.0``.

    :arg binary: its path, or its name on PATH
    :raises JobError: it is not there, cannot be run, or does not say
    """
    return Istioctl(binary).version
