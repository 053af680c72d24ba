# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts: read as files, and rendered by helm.

What is derived from a chart's content (rendered definitions, the names of a release's objects) is kept in a cache whose
keys are digests of all that went in, so that a second run neither renders nor parses again.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import go_yaml
from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout, JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm.chart_cache import cached
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm
from ansible_collections.meshops.istio.plugins.module_utils.helm.values import merged

#: Some editors begin a file with it; helm takes it away.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: What ends a document of values.yaml, of which helm merges all.
_END_OF_DOCUMENT = re.compile(rb"^---[ \t\r]*(?:#.*)?$\n?", re.MULTILINE)
#: What helm reads of Chart.yaml as text, whatever it looks like.
_TEXTS = ("name", "version", "appVersion")
_NO_CHART = "Correct the path, or replace it with a chart."
_BROKEN = "Correct the file, or get the chart from its publisher."
#: Bytes that a packaged chart may unpack to: helm's ``MaxDecompressedChartSize``.
MOST_UNPACKED = 100 << 20


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
                # Every path in a packaged chart begins with the chart's name.
                return {
                    member.name.partition("/")[2]: archive.extractfile(member).read()  # type: ignore[union-attr]
                    for member in self._members(archive)
                }
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:  # EOFError: a download that was cut short
            raise JobError(
                f"is not a packaged chart: {str(error).rstrip('.')}.",
                object=str(self.path),
                fix="Replace it with an archive that helm package makes, or delete it if it is in the chart cache.",
            ) from error

    def _members(self, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        """Its files, each before the next is unpacked. :raises JobError: there is more in it than helm takes"""
        size = 0
        for member in archive:
            size += member.size
            if size > MOST_UNPACKED:
                raise JobError(
                    f"unpacks to more than {MOST_UNPACKED >> 20} MiB, which helm does not load.",
                    object=str(self.path),
                    fix="List files that do not belong to the chart in its .helmignore, and package it again.",
                )
            if member.isfile():
                yield member

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """``Chart.yaml``, with name, version and appVersion as text.

        :raises JobError: there is none, or it is not of a chart
        """
        if "Chart.yaml" not in self.files:
            raise JobError("is not a chart: it contains no Chart.yaml.", object=str(self.path), fix=_NO_CHART)
        found = self._map("Chart.yaml", self.files["Chart.yaml"])
        if not found:
            raise JobError("is not a chart: its Chart.yaml is empty.", object=str(self.path), fix=_NO_CHART)
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
            raise ErrorAbout(f"{name} cannot be read: {error.message}.", object=str(self.path), fix=_BROKEN) from error
        if not isinstance(found, (dict, type(None))):
            raise ErrorAbout(f"{name} is not a map.", object=str(self.path), fix=_BROKEN)
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
            message = f"values.schema.json is not valid JSON: {error}."
            raise ErrorAbout(message, object=str(self.path), fix=_BROKEN) from error
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
                raise JobError(
                    "is a symbolic link to one of its parent directories, which helm would follow forever.",
                    object=str(path),
                    fix="Remove the link.",
                )
            yield from _files_below(path, above)


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

    return cached(["rendered", *inputs, *(["crds"] if include_crds else [])], render)
