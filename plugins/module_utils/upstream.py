# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every place on the internet that a run, or a node, fetches something from, and what is known of its end.

A table: a place that moves is a row. ``make upstream`` asks each of them; a test holds that no address in defaults,
variables and tables is missing here. Istio's places: istio.io/latest/blog/2026/retirement-of-gcp and
istio.io/latest/blog/2026/retirement-of-gcr.io-follow-up.
"""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

from ansible_collections.meshops.istio.plugins.module_utils.version_numbers import numbers

#: What a place serves: a Helm repository over HTTP, one in an OCI registry, container images, Istio's manifests of
#: addons, archives with programs, public keys.
CHARTS, OCI_CHARTS, IMAGES = "charts", "OCI charts", "images"
ADDONS, PROGRAMS, KEYS = "addons", "programs", "keys"

CHART_REPOSITORY = "https://blob.istio.io/istio-release/charts"
OCI_CHART_REPOSITORY = "oci://ghcr.io/istio/release/charts"
ADDONS_REPOSITORY = "https://raw.githubusercontent.com/istio/istio/{version}/samples/addons"
HUB = "docker.io/istio"
_RELEASES = "https://blob.istio.io/istio-release/releases"


class End(NamedTuple):
    """When a place is removed.

    :ivar str called: as it was announced; Istio names a month and no day
    :ivar date day: the first one on which the place may be gone
    """

    called: str
    day: date


DECEMBER_2026 = End("December 2026", date(2026, 12, 1))


class Place(NamedTuple):
    """Where something is published.

    :ivar str address: host and path, below which all of it is; without a scheme, as images are named
    :ivar str serves: CHARTS, OCI_CHARTS, IMAGES, ADDONS, PROGRAMS or KEYS
    :ivar str sample: something there that must be answered: the path below the address for a Helm repository and for
        files, ``NAME:TAG`` for a registry. ``{istio}`` stands for the default version of Istio.
    :ivar str newest: the newest Istio that is there, as a minor or in full; empty where there is no end
    :ivar str oldest: the oldest, in the same form
    :ivar End retired: when it is removed; None for one that stays
    :ivar str instead: what holds the same, as the option that names it takes it
    """

    address: str
    serves: str
    sample: str
    newest: str = ""
    oldest: str = ""
    retired: End | None = None
    instead: str = ""

    def holds(self, version: str) -> bool:
        """Whether an Istio was ever published there; True for what is no version."""
        found = numbers(version)
        if not found:
            return True
        newest, oldest = numbers(self.newest), numbers(self.oldest)
        return (not newest or found[: len(newest)] <= newest) and found >= oldest

    def over(self, today: date) -> bool:
        """Whether its day has come."""
        return self.retired is not None and today >= self.retired.day

    @property
    def end(self) -> str:
        """What is known of its end, as the rest of a sentence about it; empty for a place that stays."""
        if self.retired is None:
            return ""
        last = f"holds no Istio newer than {self.newest}, and " if self.newest else ""
        return f"{last}Istio has announced its removal for {self.retired.called}"


PLACES: tuple[Place, ...] = (
    # -- Istio's -------------------------------------------------------------------------------------------------------
    Place("blob.istio.io/istio-release/charts", CHARTS, "base-{istio}.tgz"),
    Place("ghcr.io/istio/release/charts", OCI_CHARTS, "base:{istio}"),
    Place("blob.istio.io/istio-release/releases", PROGRAMS, "{istio}/istioctl-{istio}-linux-amd64.tar.gz"),
    Place("docker.io/istio", IMAGES, "pilot:{istio}"),
    Place("raw.githubusercontent.com/istio/istio", ADDONS, "{istio}/samples/addons/prometheus.yaml"),
    # They sign its images. Its charts come without provenance.
    Place("istio.io/misc/istio-key.pub", KEYS, "", newest="1.31.0", oldest="1.18"),
    Place("istio.io/misc/istio-key-v2.pub", KEYS, "", oldest="1.31.1"),
    # -- Istio's, on Google Cloud: they end ----------------------------------------------------------------------------
    *(
        Place(f"{host}/charts", CHARTS, "base-1.30.4.tgz", "1.30", "", DECEMBER_2026, CHART_REPOSITORY)
        for host in ("istio-release.storage.googleapis.com", "storage.googleapis.com/istio-release")
    ),
    *(
        Place(
            f"{host}/releases",
            PROGRAMS,
            "1.30.4/istioctl-1.30.4-linux-amd64.tar.gz",
            "1.30",
            "",
            DECEMBER_2026,
            _RELEASES,
        )
        for host in ("istio-release.storage.googleapis.com", "storage.googleapis.com/istio-release")
    ),
    *(
        Place(f"{registry}/charts", OCI_CHARTS, "base:1.30.4", "1.30", "", DECEMBER_2026, OCI_CHART_REPOSITORY)
        for registry in ("gcr.io/istio-release", "registry.istio.io/release")
    ),
    *(
        Place(registry, IMAGES, "pilot:1.30.4", "1.30", "", DECEMBER_2026, HUB)
        for registry in ("gcr.io/istio-release", "registry.istio.io/release")
    ),
    # -- other projects' -----------------------------------------------------------------------------------------------
    Place("get.helm.sh", PROGRAMS, "helm-v4.3.0-linux-amd64.tar.gz"),
    Place("charts.jetstack.io", CHARTS, "index.yaml"),
    Place("quay.io/jetstack", IMAGES, "cert-manager-controller:v1.21.2"),
    Place("registry.k8s.io/e2e-test-images", IMAGES, "agnhost:2.66.1"),
    Place("docker.io/prom", IMAGES, "prometheus:v3.10.0"),
    Place("docker.io/grafana", IMAGES, "grafana:12.0.1"),
    Place("docker.io/jaegertracing", IMAGES, "jaeger:2.17.0"),
    Place("ghcr.io/prometheus-operator", IMAGES, "prometheus-config-reloader:v0.89.0"),
    Place("quay.io/kiali", IMAGES, "kiali:v2.27"),
)

_SCHEME = re.compile(r"^(?:https?|oci)://", re.IGNORECASE)
_DOCKER_HUB = ("index.docker.io", "registry-1.docker.io")


def _plain(address: str) -> str:
    """An address as the table has it: without a scheme, its host in small letters, without the port of HTTPS."""
    host, slash, path = _SCHEME.sub("", address).partition("/")
    host = host.lower().removesuffix(":443")
    return ("docker.io" if host in _DOCKER_HUB else host) + slash + path.rstrip("/")


def place_of(address: str) -> Place | None:
    """The place that an address is below: the URL of a repository or a file, or an image with its registry.

    :returns: the closest one; None for an address that the table does not have
    """
    plain = _plain(address)
    found = [place for place in PLACES if re.match(rf"{re.escape(place.address)}(?:[/:@]|$)", plain)]
    return max(found, key=lambda place: len(place.address), default=None)


def image_place(image: str) -> Place | None:
    """The place that an image is pulled from; a name without a registry is Docker Hub's."""
    first, slash, _rest = image.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        image = f"docker.io/{image if slash else f'library/{image}'}"
    return place_of(image)


def ended(address: str) -> Place | None:
    """The place of an address, where its end is announced."""
    place = place_of(address)
    return place if place and place.retired else None
