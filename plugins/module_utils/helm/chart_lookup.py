# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts found on disk, or fetched from a repository, and verified."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout, JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm.addon_charts import manifest_chart
from ansible_collections.meshops.istio.plugins.module_utils.helm.chart_cache import cache_directory, cached
from ansible_collections.meshops.istio.plugins.module_utils.helm.charts import Chart
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm, HelmError
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import (
    MISSING,
    UNVERIFIED,
    ChartError,
    ChartReference,
    Source,
    pinned,
)
from ansible_collections.meshops.istio.plugins.module_utils.task import expanded


def locate(helm: Callable[[], Helm], source: Source | str, name: str, version: str, digest: str | None = None) -> Chart:
    """Find a chart on disk, or fetch it from an HTTP or OCI repository into the cache, and verify it.

    A directory holds charts as ``NAME/`` or ``NAME-VERSION.tgz``.

    :arg helm: called only when something must be fetched, or its provenance verified for the first time
    :arg source: a repository alone is one without login and keyring
    :arg digest: SHA-256 of the packaged chart, as ``sha256:...``; in an OCI registry it is the digest of the layer
        that holds the chart. None to take any.
    :raises JobError: the chart is not there, is of another version, or is not the one that the digest or the
        provenance tells
    """
    if isinstance(source, str):
        source = Source(source)
    lookup = _Lookup(helm, source, name, version, digest)
    return lookup.fetched() if source.remote else lookup.on_disk()


def sha256(path: Path) -> str:
    """The digest of a file as ``sha256:...``. :raises JobError: it cannot be read"""
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError as error:
        raise JobError(
            f"cannot be read: {error.strerror}.",
            object=str(path),
            fix="Correct the path, or the file's permissions.",
            code=MISSING,
        ) from error


def provenance(archive: Path) -> Path:
    """Where the provenance of a packaged chart is: always beside it."""
    return archive.with_name(f"{archive.name}.prov")


class _Lookup:
    """One chart of a source: the arguments of ``locate``."""

    def __init__(self, helm: Callable[[], Helm], source: Source, name: str, version: str, digest: str | None) -> None:
        self.helm = helm
        self.source = source
        self.name = name
        self.version = version
        self.digest = digest
        self.called = f"Chart {name} {version} of {source.repository}"

    # -- where it is --------------------------------------------------------------------------------------------------

    def fetched(self) -> Chart:
        """From the cache, else from the repository.

        What is kept is verified as if it had just come: it may be of a time before there was a digest or a keyring, or
        somebody has changed it. What is refused does not stay.
        """
        folder = cache_directory() / hashlib.sha256(self.source.repository.encode()).hexdigest()[:16]
        folder.mkdir(mode=0o700, exist_ok=True)
        kept = folder / f"{self.name}-{self.version}.tgz"
        if kept.exists():
            with contextlib.suppress(ChartError):
                return self._verified(kept)
            for path in (kept, provenance(kept)):
                path.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            self.helm().pull(self.source, self.name, self.version, Path(fresh))
            pulled = self._pulled(Path(fresh))
            self._of_version(self._verified(pulled))
            for path in (provenance(pulled), pulled):
                if path.exists():
                    path.replace(folder / path.name)
        return Chart(kept)

    def _pulled(self, folder: Path) -> Path:
        """What helm has left in a directory, by the name that helm package gave it; a repository may have another."""
        archive = folder / f"{self.name}-{self.version}.tgz"
        (path,) = (path for path in folder.iterdir() if path.suffix != ".prov")
        if path != archive:
            if provenance(path).exists():
                provenance(path).replace(provenance(archive))
            path.replace(archive)
        return archive

    def on_disk(self) -> Chart:
        """From a directory that holds charts, or a packaged chart that is named itself."""
        place = expanded(self.source.repository)
        if place.is_file():
            return self._named(self._verified(place))
        archive = place / f"{self.name}-{self.version}.tgz"
        if archive.is_file():
            return self._verified(archive)
        unpacked = place / self.name
        if not (unpacked / "Chart.yaml").is_file():
            message = f"neither {self.name}/ nor {archive.name} is in {place}."
            raise ErrorAbout(
                message,
                object="chart_repository",
                fix="Put the chart there, or change istio_helm_chart_repository.",
                code=MISSING,
            )
        if self.digest or self.source.keyring:
            raise ChartError(
                "is a directory, so neither its digest nor its provenance can be verified.",
                object=self.called,
                fix=f"Replace it with the archive that helm package makes, {archive.name}, or unset "
                "istio_helm_chart_digests and istio_helm_chart_keyring.",
                code=UNVERIFIED,
            )
        return self._of_version(Chart(unpacked))

    def _named(self, chart: Chart) -> Chart:
        """A chart whose place says nothing about it. :raises JobError: it is another, or of another version"""
        if chart.metadata["name"] != self.name:
            raise ErrorAbout(
                f"{chart.path} is chart {chart.metadata['name']}, but {self.name} is required.",
                object="chart_repository",
                fix="Set istio_helm_chart_repository to the directory that contains all charts.",
                code=MISSING,
            )
        return self._of_version(chart)

    def _of_version(self, chart: Chart) -> Chart:
        """A chart whose place does not say its version. :raises JobError: it is of another"""
        if str(chart.metadata["version"]) != self.version:
            raise ErrorAbout(
                f"{chart.path} is version {chart.metadata['version']}, but {self.version} is required.",
                object="chart_version",
                fix="Change istio_helm_chart_version or the chart.",
                code=MISSING,
            )
        return chart

    # -- whether it is the one ----------------------------------------------------------------------------------------

    def _verified(self, archive: Path) -> Chart:
        """The chart in a file that has the digest and the provenance that it must have."""
        if self.digest and sha256(archive) != self.digest:
            raise ChartError(
                f"has the digest {sha256(archive)}, but {self.digest} is required.",
                object=self.called,
                fix="Find out why the chart changed. Change istio_helm_chart_digests only if the new digest is right.",
                code=UNVERIFIED,
            )
        if self.source.keyring:
            self._verify_provenance(archive)
        return Chart(archive)

    def _verify_provenance(self, archive: Path) -> None:
        """Once for the same three files: the second run starts no helm."""
        signed, keyring = provenance(archive), Path(self.source.keyring)
        if not signed.exists():
            raise ChartError(
                "has no provenance file.",
                object=self.called,
                fix="Use a repository that publishes .prov files, or unset istio_helm_chart_keyring and pin the chart "
                "in istio_helm_chart_digests.",
                code=UNVERIFIED,
            )
        files = [sha256(path) for path in (archive, signed, keyring)]
        try:
            cached(["verified", *files], lambda: self.helm().verify(archive, str(keyring)))
        except HelmError as error:
            raise ChartError(
                f"cannot be verified with the keys in {keyring}: {error.words.rstrip('.')}.",
                object=self.called,
                fix="Find out why the chart changed, or add the publisher's public key to the keyring.",
                code=UNVERIFIED,
            ) from error


def find(helm: Callable[[], Helm], wanted: ChartReference) -> Chart:
    """Find what a release is an installation of.

    :arg helm: called only when something must be fetched
    :raises JobError: it is not there
    """
    if wanted.manifest:
        return manifest_chart(wanted.source.repository, wanted.name, wanted.version)
    digest = pinned(wanted.digests, wanted.name)
    return locate(helm, wanted.source, wanted.name, wanted.version, digest)
