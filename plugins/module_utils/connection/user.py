# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kubeconfig's user: who asks, by a token, a password, a client certificate or an exec plugin, and as whom."""

from __future__ import annotations

import base64
import tempfile
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.meshops.istio.plugins.module_utils.connection.exec_plugin import ExecPlugin
from ansible_collections.meshops.istio.plugins.module_utils.connection.kubeconfig import Chosen
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

try:
    import kubernetes
except ImportError:  # connection says so
    kubernetes = None

#: Where the task runs, as in "on the control node".
RUNS_ON: ContextVar[str] = ContextVar("runs_on", default="this machine")
#: Header of something else that is impersonated, before its name.
EXTRA = "Impersonate-Extra-"


class User:
    """A kubeconfig's user: who asks, by a header or a certificate.

    :ivar bool renews: whether asking anew may help where the API server accepts a token no more
    """

    def __init__(self, chosen: Chosen, auth: dict[str, Any]) -> None:
        self._user = user = chosen.user
        self.certificate = chosen.certificate
        self._plugin: ExecPlugin | None = None
        self._provider: Any = None
        if "auth-provider" in user:
            self._provider = self._of_provider(auth, chosen)
        elif user.get("exec") and not user.get("token") and not user.get("tokenFile"):
            self._plugin = ExecPlugin(user["exec"], _cluster_info(chosen), chosen.folder, chosen.source, RUNS_ON.get())

    @staticmethod
    def _of_provider(auth: dict[str, Any], chosen: Chosen) -> Any:
        """The kubernetes client's own code for logins that came before exec plugins; it may write the file again."""
        configuration = kubernetes.client.Configuration()
        kubeconfig = auth.get("kubeconfig") or chosen.source
        options = {"context": auth.get("context"), "client_configuration": configuration}
        with tempfile.TemporaryDirectory(prefix="meshops-istio-") as folder:
            options["temp_file_path"] = folder
            if isinstance(kubeconfig, dict):
                kubernetes.config.load_kube_config_from_dict(kubeconfig, **options)
            else:
                persist = {"persist_config": auth.get("persist_config")}
                kubernetes.config.load_kube_config(kubeconfig, **options, **persist)
        return configuration

    def authorization(self) -> str:
        """The value of the header, renewed if it is about to expire; "" where none is needed.

        :raises JobError: it cannot be had
        """
        if self._provider is not None:
            return bearer_of(self._provider)
        if self._user.get("token"):
            return f"Bearer {self._user['token']}"
        if self._user.get("tokenFile"):
            return f"Bearer {_read(self._user['tokenFile'], 'token file').strip()}"
        if self._plugin:
            found = self._plugin.credential()
            pem = found.certificate
            self.certificate = (pem[0].encode(), pem[1].encode()) if pem else self.certificate
            return f"Bearer {found.token}" if found.token else ""
        return basic(self._user.get("username"), self._user.get("password"))

    def renews(self, refused: str) -> bool:
        """Whether it can ask for a token anew, which is done the next time. :arg refused: the header's value"""
        if self._plugin:
            self._plugin.forget(refused.partition(" ")[2])
        return self._plugin is not None

    @property
    def impersonation(self) -> dict[str, Any]:
        """Headers of those whom the kubeconfig acts as, which the kubernetes client leaves out and helm does not."""
        user = self._user
        found = {
            "Impersonate-User": user.get("as"),
            "Impersonate-Uid": user.get("as-uid"),
            "Impersonate-Group": user.get("as-groups"),
            **{EXTRA + quote(key, safe=""): value for key, value in (user.get("as-user-extra") or {}).items()},
        }
        return {name: value for name, value in found.items() if value}


def _cluster_info(chosen: Chosen) -> dict[str, Any]:
    """A cluster as exec plugins are told of it."""
    cluster = chosen.cluster
    told = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression")
    found = {name: cluster[name] for name in told if name in cluster}
    if chosen.ca:
        pem = chosen.ca if isinstance(chosen.ca, bytes) else _read(chosen.ca, "CA").encode()
        found["certificate-authority-data"] = base64.b64encode(pem).decode()
    for extension in cluster.get("extensions") or []:
        if extension.get("name") == "client.authentication.k8s.io/exec":
            found["config"] = extension.get("extension")
    return found


def basic(username: str | None, password: str | None) -> str:
    """The header of a user with a password; "" where there is none."""
    if not username or not password:
        return ""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def bearer_of(configuration: Any) -> str:
    """What the kubernetes client would send; its own hook renews what it has."""
    return (configuration.auth_settings().get("BearerToken") or {}).get("value") or ""


def _read(path: str, what: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(
            f"cannot be read: {error}.",
            object=f"The {what} {path}",
            fix="Correct the path in the kubeconfig, or the file's permissions.",
            code="api-unauthorized",
        ) from error
