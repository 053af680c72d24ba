# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kubeconfig's exec plugin: the program that logs in, asked again before its token expires.

The kubernetes client has code for it, which hands the plugin's words to the terminal, takes a plugin that fails for no
credentials at all, and runs it for each request in the last five minutes of a token. The protocol is Kubernetes' own:
https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

#: Seconds that a plugin may take.
SECONDS = 120.0
#: A credential is renewed that long before it expires, or after half of its life if that is shorter.
EARLY = timedelta(minutes=5)
#: What brings a program along, by its name; a kubeconfig's own installHint comes first.
PACKAGES = {
    "aws": "the AWS CLI",
    "aws-iam-authenticator": "aws-iam-authenticator (or use the AWS CLI in the kubeconfig)",
    "az": "the Azure CLI",
    "doctl": "doctl (DigitalOcean)",
    "gcloud": "the Google Cloud CLI",
    "gke-gcloud-auth-plugin": "gke-gcloud-auth-plugin from the Google Cloud CLI",
    "ibmcloud": "the IBM Cloud CLI",
    "kubectl": "kubectl and the plugin that the kubeconfig names",
    "kubectl-oidc_login": "kubelogin (int128/kubelogin)",
    "kubelogin": "kubelogin (Azure/kubelogin)",
    "oci": "the Oracle Cloud CLI",
    "tsh": "tsh (Teleport)",
}
_WORDS = 500
_SECRET = re.compile(r"secret|token|password|passwd|key", re.IGNORECASE)


@dataclass(frozen=True)
class Credential:
    """What a plugin answers.

    :ivar certificate: PEM of a client certificate and of its key
    """

    token: str = ""
    certificate: tuple[str, str] | None = None
    expires: datetime | None = None


class ExecPlugin:
    """A plugin, and its latest answer. Several threads may ask at once.

    :arg dict spec: ``exec`` of a kubeconfig's user
    :arg dict cluster: the kubeconfig's cluster, with its CA as data, for plugins that ask for it
    :arg str folder: of the kubeconfig, where the plugin runs
    :arg str source: the kubeconfig, as messages name it
    :arg str runs_on: where the task runs, as in "on the control node"
    """

    def __init__(self, spec: dict[str, Any], cluster: dict[str, Any], folder: str, source: str, runs_on: str) -> None:
        self._spec, self._cluster, self._folder = spec, cluster, folder
        self._source, self._runs_on = source, runs_on
        self._lock = threading.Lock()
        self._credential: Credential | None = None
        self._renewal: datetime | None = None

    def credential(self) -> Credential:
        """Its answer, from an earlier call as long as that is good.

        :raises JobError: it is not there, fails, or answers something else
        """
        with self._lock:
            now = datetime.now(timezone.utc)
            known = self._credential
            if known and (self._renewal is None or now < self._renewal):
                return known
            try:
                self._credential = self._ask()
            except JobError:
                if known and known.expires and now < known.expires:
                    return known
                raise
            expires = self._credential.expires
            self._renewal = expires and expires - min(EARLY, (expires - now) / 2)
            return self._credential

    def forget(self, refused: str) -> None:
        """Ask again next time, as the API server does not accept a token. :arg refused: the token"""
        with self._lock:
            if self._credential and self._credential.token == refused:
                self._credential = None

    # -- one call -----------------------------------------------------------------------------------------------------

    def _ask(self) -> Credential:
        command = self._spec.get("command")
        if not command or not self._spec.get("apiVersion"):
            raise JobError(
                "lacks command or apiVersion.",
                object=f"The exec plugin in kubeconfig {self._source}",
                fix="Set both in the kubeconfig.",
                code="api-unauthorized",
            )
        try:
            # In process there is no AnsibleModule whose run_command could be used.
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                [command, *map(str, self._spec.get("args") or [])],
                cwd=self._folder or None,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise self._failure(
                f"did not answer within {SECONDS:.0f} s on {self._runs_on}",
                "Log in before the run. A plugin that waits for input in a browser or a terminal cannot be used here.",
            ) from error
        except OSError as error:
            raise self._failure(f"cannot be run on {self._runs_on}: {error.strerror}", self._hint(command)) from error
        if done.returncode:
            words = self._quoted(done.stderr) or "no error output"
            raise self._failure(
                f"failed on {self._runs_on} with exit code {done.returncode}: {words}",
                "Run it there as this task's user and in its environment.",
            )
        return self._read(done.stdout)

    def _environment(self) -> dict[str, str]:
        own = {str(item["name"]): str(item.get("value", "")) for item in self._spec.get("env") or []}
        spec: dict[str, Any] = {"interactive": False}
        if self._spec.get("provideClusterInfo"):
            spec["cluster"] = self._cluster
        info = {"apiVersion": self._spec["apiVersion"], "kind": "ExecCredential", "spec": spec}
        return {**os.environ, **own, "KUBERNETES_EXEC_INFO": json.dumps(info)}

    def _read(self, text: str) -> Credential:
        """Its answer, of which no word is ever shown."""
        try:
            answer = json.loads(text)
            status = answer["status"]
            version = answer["apiVersion"]
            token, pem = status.get("token") or "", status.get("clientCertificateData")
            certificate = (pem, status["clientKeyData"]) if pem else None
            expires = _moment(status["expirationTimestamp"]) if status.get("expirationTimestamp") else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._failure(
                "did not return an ExecCredential with a status", "Update the plugin or the kubeconfig."
            ) from error
        if version != self._spec["apiVersion"]:
            raise self._failure(
                f"returned {version}, but the kubeconfig requests {self._spec['apiVersion']}",
                "Set that apiVersion in the kubeconfig, or update the plugin.",
            )
        if not token and not certificate:
            raise self._failure("returned neither a token nor a client certificate", "Log in, and run again.")
        return Credential(token, certificate, expires)

    # -- words --------------------------------------------------------------------------------------------------------

    def _failure(self, what: str, fix: str) -> JobError:
        # Only the program: arguments may hold secrets.
        about = f"The exec plugin {self._spec['command']} of kubeconfig {self._source}"
        return JobError(f"{what}.", object=about, fix=fix, code="api-unauthorized")

    def _hint(self, command: str) -> str:
        hint = " ".join(str(self._spec.get("installHint") or "").split())
        package = PACKAGES.get(Path(command).name, "the program")
        words = f"Install {package} on {self._runs_on}, in the PATH of this task."
        return f"{words} {hint}" if hint else words

    def _quoted(self, text: str) -> str:
        """Its error on one line, without what the kubeconfig hands to it as a secret."""
        for item in self._spec.get("env") or []:
            value = str(item.get("value", ""))
            if len(value) > 3 and _SECRET.search(str(item["name"])):
                text = text.replace(value, "********")
        words = " ".join(text.split()).rstrip(".")
        return words if len(words) <= _WORDS else "..." + words[-_WORDS:]


def _moment(text: str) -> datetime:
    """A time of RFC 3339; Go's fractions of a second are of any length, which Python refuses before 3.11."""
    return datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00"))
