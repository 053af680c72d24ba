# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An empty cluster: everything that either contender leaves behind taken away, and seen to be gone."""

from __future__ import annotations

import time

from bench.contenders import Place, app_deployment

WEBHOOKS = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")
#: Kinds without a namespace; whatever of them has "istio" in its name is a contender's.
KINDS = (*WEBHOOKS, "namespaces", "clusterrolebindings", "clusterroles", "customresourcedefinitions")
ROOT_CERTIFICATE = "istio-ca-root-cert"  # istiod puts it into every namespace
SECONDS = 180  # until all of it must be gone


def leftovers(place: Place) -> list[str]:
    """What is there of Istio and the app, as ``kind/name``; configmaps as ``configmap/NAMESPACE/name``."""
    listed = place.kubectl("get", ",".join(KINDS), "--output=name").split()
    _name, namespace = app_deployment(place)
    found = [name for name in listed if "istio" in name or name == f"namespace/{namespace}"]
    maps = place.objects("configmaps", "--all-namespaces", f"--field-selector=metadata.name={ROOT_CERTIFICATE}")
    return found + [f"configmap/{obj['metadata']['namespace']}/{ROOT_CERTIFICATE}" for obj in maps]


def clear(place: Place, settle: float) -> None:
    """Make the cluster empty, wait until it is, and let it come to rest.

    :arg settle: seconds of rest
    :raises TimeoutError: something stays; says what
    """
    deadline = time.monotonic() + SECONDS
    while found := leftovers(place):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still there after {SECONDS} s: {', '.join(found)}")
        # Webhooks first: nothing may be judged by one whose istiod is gone. Then what istiod runs in, and the rest.
        for prefixes in (("validating", "mutating"), ("namespace/",), ("clusterrole", "customresource")):
            if names := [name for name in found if name.startswith(prefixes)]:
                place.kubectl("delete", *names, "--ignore-not-found", f"--timeout={SECONDS}s")
        for name in [name for name in found if name.startswith("configmap/")]:
            kind, namespace, own = name.split("/")
            place.kubectl("delete", kind, own, "--namespace", namespace, "--ignore-not-found")
    time.sleep(settle)
