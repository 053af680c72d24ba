# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubeconfig says of one context: the cluster and the user, with paths that lead there from anywhere."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

try:
    from kubernetes.config.kube_config import KubeConfigMerger
except ImportError:  # connection says so
    KubeConfigMerger = None

_FIX = (
    "Set kubeconfig and context (istio_kubeconfig and istio_context for the roles), host and api_key, or "
    "kubernetes.core's K8S_AUTH_* environment variables."
)


def unusable(cause: str, source: str = "") -> JobError:
    """The error of credentials that lead nowhere."""
    where = f" in kubeconfig {source}" if source else ""
    message = f"No usable credentials for a cluster{where}: {cause.rstrip('.')}."
    return JobError(message, fix=_FIX, code="api-unauthorized")


@dataclass(frozen=True)
class Chosen:
    """What a kubeconfig says in one context.

    :ivar str source: the kubeconfig, as messages name it
    :ivar dict cluster: with absolute paths
    :ivar dict user: with absolute paths, but for its exec plugin
    :ivar str folder: of the user's file
    """

    source: str
    cluster: dict[str, Any]
    user: dict[str, Any]
    folder: str = ""

    @property
    def ca(self) -> bytes | str | None:
        """PEM, or the path of a file."""
        return _data_or_path(self.cluster, "certificate-authority")

    @property
    def certificate(self) -> tuple[bytes | str, bytes | str] | None:
        """Client certificate and key, each as PEM or the path of a file."""
        found = [_data_or_path(self.user, name) for name in ("client-certificate", "client-key")]
        return (found[0], found[1]) if found[0] and found[1] else None


def _data_or_path(entry: dict[str, Any], name: str) -> bytes | str | None:
    data = entry.get(f"{name}-data")
    return base64.b64decode(data) if data else entry.get(name)


def choose(kubeconfig: str | dict[str, Any], context: str | None) -> Chosen:
    """Read one context of a kubeconfig.

    :arg kubeconfig: its content, or its path, or several, as KUBECONFIG has them
    :arg context: None for the current one
    :raises JobError: there is no such kubeconfig or context, or files name several
    """
    if isinstance(kubeconfig, dict):
        source, files = "of the task's options", {"": kubeconfig}
    else:
        source, files = kubeconfig, _files(kubeconfig)
    current = {str(each["current-context"]): path for path, each in files.items() if each.get("current-context")}
    if context is None and len(current) > 1:
        named = ", ".join(f"{name} in {path}" for name, path in current.items())
        raise JobError(
            f"has several current contexts: {named}. kubectl uses the first, kubernetes.core the last.",
            object=f"The kubeconfig {source}",
            fix="Set the context: istio_context (roles), context (modules) or K8S_AUTH_CONTEXT.",
            code="api-unauthorized",
        )
    wanted = context or next(iter(current), None)
    if wanted is None:
        raise unusable("it has no current context, and no context is set", source)
    _path, chosen = _entry(files, "context", wanted, source)
    cluster_path, cluster = _entry(files, "cluster", chosen.get("cluster"), source)
    user_path, user = _entry(files, "user", chosen["user"], source) if chosen.get("user") else ("", {})
    folder = str(Path(user_path).parent.absolute()) if user_path else ""
    return Chosen(
        source,
        _absolute(cluster, cluster_path, ("certificate-authority",)),
        _absolute(user, user_path, ("client-certificate", "client-key", "tokenFile")),
        folder,
    )


def _files(paths: str) -> dict[str, dict[str, Any]]:
    """The files' contents by their paths; those that are not there do not count, as for kubectl."""
    try:
        found = KubeConfigMerger(paths).config_files
    except Exception as error:  # of YAML, of the file system, and of the client, about the same: the file
        raise unusable(str(error), paths) from error
    if not found:
        raise unusable("no such file", paths)
    return found


def _entry(files: dict[str, dict[str, Any]], kind: str, name: Any, source: str) -> tuple[str, dict[str, Any]]:
    """The first entry of that name, and the file that has it."""
    names = []
    for path, content in files.items():
        for item in content.get(kind + "s") or []:
            if item.get("name") == name:
                return path, item.get(kind) or {}
            names.append(str(item.get("name")))
    raise unusable(f"it has no {kind} {name} (available: {', '.join(names) or 'none'})", source)


def _absolute(entry: dict[str, Any], path: str, names: tuple[str, ...]) -> dict[str, Any]:
    """An entry whose paths, relative to its file, lead there from anywhere."""
    folder = Path(path).parent
    return {**entry, **{name: str((folder / entry[name]).absolute()) for name in names if entry.get(name)}}
