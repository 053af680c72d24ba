# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service accounts of a namespace are those of its workloads' templates, as refused pods do not exist."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.kinds import known_resource
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.service_accounts import (
    POD_SPECS,
    in_namespace,
    used_by,
)


def workload(api_version: str, kind: str, account: str | None, **meta: Any) -> dict[str, Any]:
    """A workload whose pods use a service account."""
    spec: Any = {"containers": [], **({"serviceAccountName": account} if account else {})}
    for step in reversed(POD_SPECS[api_version, kind]):
        spec = {step: spec}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "one", **meta}, **spec}


@pytest.mark.parametrize("kind", POD_SPECS)
def test_custom_account_of_every_kind(kind: tuple[str, str]) -> None:
    """Guide: "If your apps are using a custom service account then you need to create the binding for each of them"."""
    assert used_by([workload(*kind, "cart")]) == ("cart", "default")
    assert known_resource(*kind)


def test_default_is_always_one() -> None:
    """The guide binds it, and it is whom the next pod will use that says nothing."""
    assert used_by([]) == ("default",)
    assert used_by([workload("apps/v1", "Deployment", None)]) == ("default",)


def test_the_old_name_of_the_field() -> None:
    """serviceAccount is deprecated since 1.0 and still served."""
    pod = workload("v1", "Pod", None)
    pod["spec"]["serviceAccount"] = "cart"
    assert used_by([pod]) == ("cart", "default")


@pytest.mark.parametrize(("kind", "expected"), [("ReplicaSet", ("default",)), ("DaemonSet", ("default",))])
def test_what_has_an_owner_speaks_of_an_older_template(kind: str, expected: tuple[str, ...]) -> None:
    """Old ReplicaSets stay after a rollout, with accounts that nobody uses any more."""
    owned = workload("apps/v1", kind, "old", ownerReferences=[{"kind": "Deployment", "name": "one"}])
    assert used_by([owned]) == expected


def test_pods_that_run_count() -> None:
    """Their controller may be of a kind that is not known here."""
    pod = workload("v1", "Pod", "cart", ownerReferences=[{"kind": "Rollout", "name": "one"}])
    assert used_by([pod]) == ("cart", "default")


def test_a_workload_without_a_template() -> None:
    """Such as a ReplicaSet of Argo Rollouts' making: no account is known."""
    assert used_by([{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}]) == ("default",)


class Lists:
    """A cluster with one Deployment and one CronJob in namespace shop."""

    def list(self, api_version: str, kind: str, namespace: str) -> list[dict[str, Any]]:
        """What a list answers."""
        assert namespace == "shop"
        accounts = {"Deployment": "cart", "CronJob": "reaper"}
        return [workload(api_version, kind, accounts[kind])] if kind in accounts else []


def test_in_namespace() -> None:
    """Every kind is read."""
    assert in_namespace(Lists(), "shop") == ("cart", "default", "reaper")
