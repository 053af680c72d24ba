# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mechanism is what the API server does, not what it serves."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.detection import detect
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.privileges import (
    ADMISSION,
    CONSTRAINTS,
    POLICY,
)

MODERN = {"policy": ["v1"], "apps": ["v1"]}
OLD = {"policy": ["v1", "v1beta1"], "apps": ["v1"]}
OPENSHIFT = {**MODERN, "security.openshift.io": ["v1"]}


class Server:
    """An API server that serves some groups and treats pods in some way."""

    def __init__(self, groups: dict[str, list[str]], pod: dict[str, Any] | str = "none may be asked for") -> None:
        self.groups, self.pod = groups, pod
        self.dry_runs = 0

    def request(self, method: str, path: str) -> dict[str, Any]:
        """The list of groups."""
        assert (method, path) == ("GET", "/apis")
        groups = self.groups.items()
        return {"groups": [{"name": name, "versions": [{"version": v} for v in found]} for name, found in groups]}

    def create(self, obj: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        """Admit a pod with annotations, or refuse it with a message."""
        assert dry_run
        assert obj["kind"] == "Pod"
        self.dry_runs += 1
        if isinstance(self.pod, str):
            raise ApiError(403, "Forbidden", self.pod)
        return {**obj, "metadata": {**obj["metadata"], "annotations": self.pod or None}}


@pytest.mark.parametrize(("groups", "expected"), [(MODERN, ADMISSION), (OPENSHIFT, CONSTRAINTS), ({}, ADMISSION)])
def test_no_pod_is_asked_for_where_the_groups_tell(groups: dict[str, list[str]], expected: str) -> None:
    """Kubernetes 1.25 and later, and OpenShift."""
    server = Server(groups)
    assert detect(server) == expected
    assert server.dry_runs == 0


def test_policy_that_admits() -> None:
    """The plugin notes which policy it was."""
    assert detect(Server(OLD, {"kubernetes.io/psp": "restricted"})) == POLICY


@pytest.mark.parametrize(
    "message",
    [
        'pods "x" is forbidden: PodSecurityPolicy: no providers available to validate pod request',
        'pods "x" is forbidden: PodSecurityPolicy: unable to admit pod: [spec.containers[0]...]',
        'pods "x" is forbidden: unable to validate against any pod security policy: []',
    ],
)
def test_policy_that_refuses(message: str) -> None:
    """In the words of 2018 and of 1.24."""
    assert detect(Server(OLD, message)) == POLICY


@pytest.mark.parametrize("annotations", [{}, {"kubernetes.io/limit-ranger": "x"}])
def test_served_is_not_active(annotations: dict[str, str]) -> None:
    """Kubernetes 1.24 serves PodSecurityPolicy whether or not its admission is on."""
    assert detect(Server(OLD, annotations)) == ADMISSION


def test_another_refusal_tells_nothing() -> None:
    """And says what to set instead."""
    with pytest.raises(JobError) as caught:
        detect(Server(OLD, 'pods is forbidden: User "x" cannot create resource "pods"'))
    assert 'User "x" cannot create' in str(caught.value)
    assert "psp_rbac_mechanism" in str(caught.value)
