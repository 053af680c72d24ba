# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What in the settings, and in a mesh that runs, comes from a place whose end is announced. Pure.

A node may pull an image from a mirror by the name of its old registry, which cannot be seen from here: images are
warned of and stop nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils import upstream
from ansible_collections.meshops.istio.plugins.module_utils.cluster.workloads import workload_of
from ansible_collections.meshops.istio.plugins.module_utils.findings import Finding
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import RETIRED, elsewhere
from ansible_collections.meshops.istio.plugins.module_utils.upstream import Place

RETIRING, IMAGE = "chart-source-retiring", "image-source-retired"
#: The ConfigMaps that say which image a sidecar or a gateway gets: one for each revision.
INJECTOR = "istio-sidecar-injector"
#: Workloads named in a message.
_NAMED = 3
_CACHE = "Set istio_helm_hub: {instead}, or preferably your own pull-through cache"


def about(repository: str) -> str:
    """A chart repository as the findings name it."""
    return f"chart repository {repository}"


def chart_findings(repository: str, version: str, found: bool, today: date) -> list[Finding]:
    """Whether a repository in the settings has ended, or is about to.

    :arg found: the chart is here: fetched, or kept from an earlier run
    :returns: an error where it cannot be had from there any more, else a warning
    """
    place = upstream.ended(repository)
    if place is None:
        return []
    code = RETIRED if not found and (place.over(today) or not place.holds(version)) else RETIRING
    message = f"{place.end}. This run needs Istio {version}."
    return [Finding(code, about(repository), message, elsewhere(place))]


def _leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Each text in Helm values, with the path to it."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _leaves(value, (*path, str(key)))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from _leaves(value, (*path, str(number)))
    elif isinstance(values, str):
        yield ".".join(path), values


def _image_place(text: str) -> Place | None:
    """Where an image or a hub is from, if that ends."""
    place = upstream.image_place(text)
    return place if place and place.retired and place.serves == upstream.IMAGES else None


def wanted_images(release: str, values: dict[str, Any]) -> list[Finding]:
    """Registries in a release's values, the chart's own included, that end: one finding for each.

    :arg release: NAMESPACE/NAME
    """
    paths: dict[Place, list[str]] = {}
    for path, text in _leaves(values):
        place = _image_place(text)
        if place:
            paths.setdefault(place, []).append(path)
    return [
        Finding(
            IMAGE,
            f"release {release}",
            f"pulls images from {place.address} (Helm value {', '.join(found)}). That registry {place.end}. Pods will "
            "not start on a node that does not already have the image.",
            f"{_CACHE.format(instead=place.instead)}, and remove this registry from istio_helm_values.",
        )
        for place, found in paths.items()
    ]


def end_of(image: str) -> str:
    """A sentence about the registry of an image, and what to use instead; empty where it stays."""
    place = _image_place(image)
    return f"{place.address} {place.end}; {place.instead} has the same images (istio_helm_hub)." if place else ""


def _places(spec: dict[str, Any]) -> set[Place]:
    """Where the images of a pod's containers are from, of places that end."""
    containers = (spec.get("containers") or []) + (spec.get("initContainers") or [])
    return set(filter(None, (_image_place(container.get("image") or "") for container in containers)))


def _workloads(
    pods: Iterable[dict[str, Any]], deployments: Iterable[dict[str, Any]]
) -> Iterator[tuple[tuple[str, str, str], set[Place]]]:
    """Workloads with what their pods are from; a Deployment counts by its template where it has no pod.

    What a template says may be rewritten when pods are created, so that pods are the truth.
    """
    seen = set()
    for pod in pods:
        owner = workload_of(pod)
        seen.add(owner)
        yield owner, _places(pod["spec"])
    for deployment in deployments:
        meta = deployment["metadata"]
        owner = (meta["namespace"], "Deployment", meta["name"])
        if owner not in seen:
            yield owner, _places(deployment["spec"]["template"]["spec"])


def running_images(pods: Iterable[dict[str, Any]], deployments: Iterable[dict[str, Any]]) -> list[Finding]:
    """Workloads whose images are from a registry that ends: one finding for each namespace and registry."""
    names: dict[tuple[str, Place], set[str]] = {}
    for (namespace, kind, name), places in _workloads(pods, deployments):
        for place in places:
            names.setdefault((namespace, place), set()).add(f"{kind} {name}")
    return [_running(namespace, place, sorted(found)) for (namespace, place), found in names.items()]


def _running(namespace: str, place: Place, names: list[str]) -> Finding:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    message = (
        f"runs images from {place.address} in {', '.join(names[:_NAMED])}{more}. That registry {place.end}. Pods will "
        "not start on a node that does not already have the image."
    )
    fix = (
        f"{_CACHE.format(instead=place.instead)}, run again, and restart the workloads: "
        f"kubectl rollout restart deployment -n {namespace}"
    )
    return Finding(IMAGE, f"Namespace {namespace}", message, fix)


def injected_images(config_maps: Iterable[dict[str, Any]]) -> list[Finding]:
    """Injectors whose sidecars and gateways are of a registry that ends.

    :arg config_maps: of Istio's namespaces; those of an injector hold its Helm values as JSON in ``values``
    """
    found = []
    for obj in config_maps:
        meta = obj["metadata"]
        if not meta["name"].startswith(INJECTOR):
            continue
        try:
            values = json.loads((obj.get("data") or {}).get("values") or "{}")
        except ValueError:
            continue
        for place in dict.fromkeys(filter(None, (_image_place(text) for _path, text in _leaves(values)))):
            message = (
                f"gives new pods a proxy image from {place.address}. That registry {place.end}. Pods will not start on "
                "a node that does not already have the image."
            )
            fix = f"{_CACHE.format(instead=place.instead)}, and install this revision of Istio again."
            found.append(Finding(IMAGE, f"ConfigMap {meta['namespace']}/{meta['name']}", message, fix))
    return found
