# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why there is no sidecar, and the many pods that are right to have none."""

from __future__ import annotations

import pytest
from harness.mesh_objects import (
    SHOP,
    Object,
    codes,
    deployment,
    namespace,
    pod,
    service,
    state,
    virtual_service,
    webhooks,
)

from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.diagnose import diagnose

ENABLED = namespace(istio_injection="enabled")
BARE = pod("web", SHOP, "app")
LABEL = {"sidecar.istio.io/inject": "false"}


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ([namespace(), BARE], "injection-label-missing", "no label istio-injection"),
        ([namespace(rev="1-16"), BARE], "injection-revision-unknown", "istio.io/rev=1-16"),
        ([ENABLED, webhooks("canary"), BARE], "injection-partial", "older than the injection label"),
        ([ENABLED, BARE], "injection-partial", "older than the injection label"),
        (
            [ENABLED, pod("web", SHOP, "app", labels=LABEL)],
            "injection-contradicted",
            "label sidecar.istio.io/inject=false",
        ),
        (
            [ENABLED, pod("web", SHOP, "app", annotations=LABEL)],
            "injection-contradicted",
            "annotation sidecar.istio.io/inject=false",
        ),
        (
            [
                namespace(istio_injection="disabled"),
                pod("web", SHOP, "app", labels={"sidecar.istio.io/inject": "true"}),
            ],
            "injection-contradicted",
            "istio-injection=disabled",
        ),
        ([ENABLED, pod("web", SHOP, "app", spec={"hostNetwork": True})], "injection-host-network", "host network"),
    ],
)
def test_causes(changed: list[Object], code: str, says: str) -> None:
    """Of an application that a gateway sends requests to."""
    found = diagnose(state(*changed))
    assert found.main is not None
    assert found.main.code == code, found.findings
    assert says in found.main.message + " ".join(found.main.evidence)


def test_no_injector() -> None:
    """Somebody has deleted the webhook; what was injected before goes on."""
    assert codes(state(without=("MutatingWebhookConfiguration/istio-sidecar-injector",))) == ["injector-missing"]


@pytest.mark.parametrize(
    "changed",
    [
        [namespace()],
        [namespace(), BARE, virtual_service(gateways=["mesh"])],
        [ENABLED, pod("web", SHOP, "app", labels=LABEL), virtual_service(gateways=["mesh"])],
        [ENABLED, pod("agent", SHOP, "agent", spec={"hostNetwork": True})],
        [namespace(istio_injection="disabled"), BARE],
        [
            namespace(istio_io_dataplane_mode="ambient"),
            pod("web", SHOP, "app", labels={"istio.io/dataplane-mode": "ambient"}),
        ],
        [namespace(rev="default")],
        [namespace(rev="tag"), webhooks("tag")],
    ],
    ids=["injected-by-hand", "not-routed", "out-by-choice", "agent", "off-by-choice", "ambient", "revision", "tag"],
)
def test_right_to_have_none(changed: list[Object]) -> None:
    """Nothing is said of them."""
    assert codes(state(*changed)) == []


def test_namespace_that_nobody_named() -> None:
    """A gateway may lead to what is outside of the mesh."""
    assert codes(state(namespace(), BARE, named=set())) == []


def test_jobs() -> None:
    """End, and are not waited for."""
    job = pod("once", SHOP, "app")
    job["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "once", "controller": True}]
    assert codes(state(job)) == []


def test_webhooks_that_may_not_be_read() -> None:
    """Then it is not known who would be injected, and the checks are named."""
    found = diagnose(state(BARE, deployment(), service(), unread=("MutatingWebhookConfiguration",)))
    assert found.findings == []
    assert "webhooks without a Service: no permission to read MutatingWebhookConfiguration" in found.skipped


def test_native_sidecars() -> None:
    """Count as sidecars."""
    native = pod("web", SHOP, "app", spec={"initContainers": [{"name": "istio-proxy"}]})
    assert codes(state(native)) == []
