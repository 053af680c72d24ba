# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts: found on disk or fetched once, verified, read as files, rendered by helm.

What is derived from a chart's content (rendered definitions, the names of a release's objects) is kept in a cache whose
keys are digests of all that went in, so that a second run neither renders nor parses again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible.module_utils.urls import open_url

from ansible_collections.meshops.istio.plugins.module_utils import go_yaml
from ansible_collections.meshops.istio.plugins.module_utils.chart_source import (
    UNVERIFIED,
    ChartError,
    ChartReference,
    Source,
    pinned,
)
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm import Helm, HelmError
from ansible_collections.meshops.istio.plugins.module_utils.hiding import secrets_in
from ansible_collections.meshops.istio.plugins.module_utils.values import merged

#: Some editors begin a file with it; helm takes it away.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: What ends a document of values.yaml, of which helm merges all.
_END_OF_DOCUMENT = re.compile(rb"^---[ \t\r]*(?:#.*)?$\n?", re.MULTILINE)
#: What helm reads of Chart.yaml as text, whatever it looks like.
_TEXTS = ("name", "version", "appVersion")


class Chart:
    """A chart on disk.

    :arg Path path: its directory or .tgz
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Its files by their path inside the chart, as helm reads them: links are followed.

        Of a directory also those that its .helmignore keeps out of the chart: only helm can tell which these are.
        """
        return {name: data.removeprefix(_BYTE_ORDER_MARK) for name, data in self._read().items()}

    def _read(self) -> dict[str, bytes]:
        if self.path.is_dir():
            return {str(path.relative_to(self.path)): path.read_bytes() for path in _files_below(self.path)}
        try:
            with tarfile.open(self.path) as archive:
                members = [member for member in archive.getmembers() if member.isfile()]
                # Every path in a packaged chart begins with the chart's name.
                return {
                    member.name.partition("/")[2]: archive.extractfile(member).read()  # type: ignore[union-attr]
                    for member in members
                }
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:  # EOFError: a download that was cut short
            raise JobError(f"{self.path} is not a packaged chart: {str(error).rstrip('.')}.") from error

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """``Chart.yaml``, with name, version and appVersion as text.

        :raises JobError: there is none, or it is not of a chart
        """
        if "Chart.yaml" not in self.files:
            raise JobError(f"{self.path} is not a chart: it holds no Chart.yaml.")
        found = self._map("Chart.yaml", self.files["Chart.yaml"])
        if not found:
            raise JobError(f"{self.path} is not a chart: its Chart.yaml is empty.")
        given = {"name": "", "version": "", **found}
        return {**given, **{key: go_yaml.text_of(given[key]) for key in _TEXTS if key in given}}

    @cached_property
    def default_values(self) -> dict[str, Any]:
        """``values.yaml``. :raises JobError: helm could not read it either"""
        found: dict[str, Any] = {}
        for document in _END_OF_DOCUMENT.split(self.files.get("values.yaml", b"")):
            found = merged(found, self._map("values.yaml", document))
        return found

    def _map(self, name: str, text: bytes) -> dict[str, Any]:
        try:
            found = go_yaml.load(text)
        except go_yaml.Unreadable as error:
            raise JobError(f"{self.path}: {name} cannot be read: {error.message}.") from error
        if not isinstance(found, (dict, type(None))):
            raise JobError(f"{self.path}: {name} is no map.")
        return found or {}

    @property
    def defaults(self) -> dict[str, Any]:
        """The values that hold where nobody says otherwise: Istio's newer charts keep them below a key of their own."""
        return self.default_values.get("_internal_defaults_do_not_set") or self.default_values

    @cached_property
    def accepted_values(self) -> frozenset[str] | None:
        """Top-level keys of the values that ``values.schema.json`` accepts; None where it does not say at its top."""
        try:
            schema = json.loads(self.files.get("values.schema.json", b"{}"))
        except ValueError as error:
            raise JobError(f"{self.path}: values.schema.json is not JSON: {error}.") from error
        if not isinstance(schema, dict) or schema.get("additionalProperties", True):
            return None
        return frozenset(schema.get("properties") or {})

    @cached_property
    def digest(self) -> str:
        """A digest of all its files; of a directory of which helm leaves some out it is another than of an archive."""
        may_leave_out = any(name == ".helmignore" or name.startswith("templates/.") for name in self.files)
        total = hashlib.sha256(b"directory" if may_leave_out and self.path.is_dir() else b"")
        for name, data in sorted(self.files.items()):
            total.update(f"{name}\0{len(data)}\0".encode())
            total.update(data)
        return total.hexdigest()


def _files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """The files of a directory, links to files and directories among them.

    :raises JobError: a link leads back to a directory that it is in
    """
    above = (*above, folder.resolve())
    for path in sorted(folder.iterdir()):
        if path.is_file():
            yield path
        elif path.is_dir():
            if path.resolve() in above:
                raise JobError(f"{path} is a link to a directory that it is in, at which helm would not end.")
            yield from _files_below(path, above)


def cache_directory() -> Path:
    """Where fetched charts and what is derived from charts are kept: ``$XDG_CACHE_HOME/meshops-istio/charts``."""
    base = os.environ.get("XDG_CACHE_HOME")
    path = (Path(base) if base else Path.home() / ".cache") / "meshops-istio" / "charts"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:  # a read-only home: slower, not broken
        path = Path(tempfile.gettempdir()) / f"meshops-istio-cache-{os.getuid()}"
        path.mkdir(mode=0o700, exist_ok=True)
        if path.lstat().st_uid != os.getuid():
            raise JobError(f"{path} belongs to somebody else. Set XDG_CACHE_HOME to a directory of your own.") from None
    return path


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
        raise JobError(f"{path} cannot be read: {error.strerror}.") from error


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
        place = Path(self.source.repository).expanduser()
        if place.is_file():
            return self._named(self._verified(place))
        archive = place / f"{self.name}-{self.version}.tgz"
        if archive.is_file():
            return self._verified(archive)
        unpacked = place / self.name
        if not (unpacked / "Chart.yaml").is_file():
            raise JobError(f"chart_repository: neither {self.name}/ nor {archive.name} is in {place}.")
        if self.digest or self.source.keyring:
            raise ChartError(
                f"{self.called} is a directory, of which neither digest nor provenance can be verified.",
                f"Put it there as helm package makes it, {archive.name}, or verify nothing.",
                UNVERIFIED,
            )
        return self._of_version(Chart(unpacked))

    def _named(self, chart: Chart) -> Chart:
        """A chart whose place says nothing about it. :raises JobError: it is another, or of another version"""
        if chart.metadata["name"] != self.name:
            raise JobError(
                f"chart_repository: {chart.path} is chart {chart.metadata['name']}, and {self.name} is wanted. "
                "Name the directory that holds all charts."
            )
        return self._of_version(chart)

    def _of_version(self, chart: Chart) -> Chart:
        """A chart whose place does not say its version. :raises JobError: it is of another"""
        if str(chart.metadata["version"]) != self.version:
            raise JobError(
                f"chart_version: {chart.path} is version {chart.metadata['version']}, and {self.version} is wanted. "
                "Change istio_helm_chart_version or the chart."
            )
        return chart

    # -- whether it is the one ----------------------------------------------------------------------------------------

    def _verified(self, archive: Path) -> Chart:
        """The chart in a file that has the digest and the provenance that it must have."""
        if self.digest and sha256(archive) != self.digest:
            raise ChartError(
                f"{self.called} has the digest {sha256(archive)}, and {self.digest} is wanted.",
                "Find out who has changed it. Only if the new one is right, change istio_helm_chart_digests.",
                UNVERIFIED,
            )
        if self.source.keyring:
            self._verify_provenance(archive)
        return Chart(archive)

    def _verify_provenance(self, archive: Path) -> None:
        """Once for the same three files: the second run starts no helm."""
        signed, keyring = provenance(archive), Path(self.source.keyring)
        if not signed.exists():
            raise ChartError(
                f"{self.called} comes without provenance.",
                "Take it from where it is published with a .prov file, or empty istio_helm_chart_keyring and pin it "
                "by istio_helm_chart_digests.",
                UNVERIFIED,
            )
        files = [sha256(path) for path in (archive, signed, keyring)]
        try:
            cached(["verified", *files], lambda: self.helm().verify(archive, str(keyring)))
        except HelmError as error:
            raise ChartError(
                f"{self.called} is not what a key in {keyring} has signed: {error.words.rstrip('.')}.",
                "Find out who has changed it, or add the publisher's public key to the keyring.",
                UNVERIFIED,
            ) from error


#: A manifest as a chart: Helm hands its text on as it is, braces of dashboards included. Istio's manifests name its
#: namespace, which may be another.
_MANIFEST_TEMPLATE = '{{ .Files.Get "manifest.yaml" | replace "istio-system" .Release.Namespace }}\n'


def manifest_chart(repository: str, name: str, version: str) -> Chart:
    """Make a chart of one of Istio's manifests, so that it is installed, shown, restored and removed as all else is.

    :arg repository: a directory or URL that holds ``NAME.yaml``
    :raises JobError: it is not there
    """
    text = _manifest(repository, name, version)
    metadata = {
        "apiVersion": "v2",
        "name": name,
        "version": version,
        "appVersion": version,
        "description": f"Istio's manifest of {name}, made a chart by meshops.istio",
    }
    files = {"Chart.yaml": json.dumps(metadata), "manifest.yaml": text, "templates/manifest.yaml": _MANIFEST_TEMPLATE}
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
    folder = cache_directory() / f"{name}-{version}-{digest}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            fresh = Path(scratch) / folder.name
            (fresh / "templates").mkdir(parents=True)
            for path, content in files.items():
                (fresh / path).write_text(content, encoding="utf-8")
            with contextlib.suppress(OSError):  # another run has made the same meanwhile
                fresh.rename(folder)
    return Chart(folder)


def _manifest(repository: str, name: str, version: str) -> str:
    """The text of a manifest: from a directory, or fetched once for each version."""
    if not repository.startswith(("http://", "https://")):
        path = Path(repository).expanduser() / f"{name}.yaml"
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise JobError(
                f"addons_repository: {path} cannot be read: {error.strerror}. It is a directory with Istio's "
                "manifests of addons: samples/addons of an Istio release."
            ) from error
    url = f"{repository.rstrip('/')}/{name}.yaml"

    def fetch() -> str:
        try:
            return open_url(url, timeout=60, http_agent="meshops.istio").read().decode()
        except (OSError, ValueError) as error:
            raise JobError(
                f"addons_repository: {url} cannot be fetched: {error}. Name a directory with Istio's manifests by "
                "istio_helm_addons_repository where there is no way to the internet."
            ) from error

    return cached(["manifest", url, version], fetch)


def find(helm: Callable[[], Helm], wanted: ChartReference) -> Chart:
    """Find what a release is an installation of.

    :arg helm: called only when something must be fetched
    :raises JobError: it is not there
    """
    if wanted.manifest:
        return manifest_chart(wanted.source.repository, wanted.name, wanted.version)
    digest = pinned({"chart_digests": wanted.digests}, wanted.name)
    return locate(helm, wanted.source, wanted.name, wanted.version, digest)


def cached(key_parts: list[str], compute: Callable[[], Any], keeps: Callable[[Any], bool] = lambda data: True) -> Any:
    """JSON data that depends on nothing but the key: from the cache, else computed and kept.

    :arg keeps: whether what was computed may be left on the disk
    """
    key = hashlib.sha256("\0".join(key_parts).encode()).hexdigest()
    path = cache_directory() / f"{key}.json"
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_bytes())
    data = compute()
    if not keeps(data):
        return data
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as stream:
        json.dump(data, stream)
        stream.close()
        Path(stream.name).replace(path)
    return data


def documents(text: str) -> list[dict[str, Any]]:
    """The objects of a rendered manifest, as helm reads them; what is in a List is taken out of it."""
    found = []
    for document in filter(None, go_yaml.load_all(text)):
        is_list = str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list)
        found += document["items"] if is_list else [document]
    return found


def rendered(
    helm: Helm,
    chart: Chart,
    name: str,
    namespace: str,
    values: dict[str, Any],
    kube_version: str,
    kinds: tuple[str, ...],
    include_crds: bool = False,
) -> list[dict[str, Any]]:
    """The objects of some kinds that a chart renders to, from the cache when nothing changed.

    :arg include_crds: also those of the chart's ``crds`` directory
    """
    inputs = [helm.version, chart.digest, name, namespace, json.dumps(values, sort_keys=True), kube_version, *kinds]

    def render() -> list[dict[str, Any]]:
        text = helm.template(name, namespace, chart.path, values, kube_version, include_crds)
        return [document for document in documents(text) if document["kind"] in kinds]

    return cached(["rendered", *inputs, *(["crds"] if include_crds else [])], render, holds_no_secret)


def holds_no_secret(data: Any) -> bool:
    """Whether rendered objects may be left on the disk."""
    return not secrets_in(data)
