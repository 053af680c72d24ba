# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kubeconfig and context, where options, environment and files name several."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.connection.kubeconfig import Chosen, choose
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

with contextlib.suppress(ImportError):  # connection says so
    import kubernetes

_DEFAULT = "~/.kube/config"
#: With one of these, kubernetes.core reads no kubeconfig.
_DIRECT = (("username", "password", "host"), ("api_key", "host"), ("cert_file", "key_file", "host"))


def chosen_kubeconfig(params: dict[str, Any], auth: dict[str, Any]) -> Chosen | None:
    """The kubeconfig's part in it, by kubernetes.core's rules; None where it has none."""
    direct = any(all(auth.get(name) for name in names) for names in _DIRECT)
    for name in ("kubeconfig", "context"):
        if auth.get(name) in ("", {}) and (not direct or params.get(name) is not None):
            raise JobError(
                "is set but empty, so it selects no cluster.",
                object=name,
                fix=f"Set it (istio_{name} for the roles, K8S_AUTH_{name.upper()} in the environment) or leave it out.",
            )
    wanted = auth.get("kubeconfig"), auth.get("context")
    named = [name for name in ("kubeconfig", "context") if params.get(name)]
    if direct and named and not params.get("host"):
        _refuse_two(named, choose(wanted[0] or _default(), wanted[1]), auth)
    if direct:
        return None
    if any(wanted):
        found = choose(wanted[0] or _default(), wanted[1])
        if named and auth.get("host") and not params.get("host"):
            _refuse_two(named, found, auth)
        return found
    if not _in_cluster():
        return choose(_default(), None)
    if os.environ.get("KUBECONFIG"):
        raise JobError(
            "is set, but this task runs in a pod, where kubernetes.core uses the service account's cluster instead.",
            object="KUBECONFIG",
            fix="Set istio_kubeconfig (roles), kubeconfig (modules) or K8S_AUTH_KUBECONFIG, or unset KUBECONFIG.",
        )
    return None


def _refuse_two(named: list[str], chosen: Chosen, auth: dict[str, Any]) -> None:
    """An option that names one cluster, and an environment that names another and would win."""
    server, host = str(chosen.cluster.get("server", "")).rstrip("/"), auth["host"].rstrip("/")
    if server != host:
        raise JobError(
            f"the task's cluster is {server}, but K8S_AUTH_HOST in its environment is {host}, which kubernetes.core "
            "would use.",
            object=" and ".join(named),
            joint=": ",
            fix="Remove one of them. In AWX, a Kubernetes credential sets K8S_AUTH_HOST.",
        )


def _default() -> str:
    """KUBECONFIG as it is now; the kubernetes client knows it as it was when it was imported."""
    path = os.environ.get("KUBECONFIG", _DEFAULT)
    if not path:
        raise JobError(
            "is set but empty, so it selects no cluster.",
            object="KUBECONFIG",
            fix="Set it to a file, or unset it.",
        )
    return path


def _in_cluster() -> bool:
    """Whether this is a pod with a service account."""
    try:
        kubernetes.config.load_incluster_config(client_configuration=kubernetes.client.Configuration())
    except kubernetes.config.ConfigException:
        return False
    return True
