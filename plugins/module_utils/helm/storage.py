# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Helm knows of a release, read from its storage: one small list, and the newest secret alone.

Helm's ``sh.helm.release.v1`` secrets hold a JSON document, gzipped, in base64. Reading it here instead of by the helm
program costs one request for each release and no cluster-wide right on secrets. An unknown format is never guessed at:
then, and where HELM_DRIVER keeps releases elsewhere, helm itself is asked.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster import go_yaml
from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import instant
from ansible_collections.meshops.istio.plugins.module_utils.cluster.parallel import in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm.charts import Chart
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm

#: Helm's words for a release that a running, or killed, helm left behind.
PENDING = ("pending-install", "pending-upgrade", "pending-rollback", "uninstalling")
_SECRET = re.compile(r"^sh\.helm\.release\.v1\.(?P<name>.+)\.v(?P<revision>\d+)$")
_DESCRIPTION = re.compile(r"(?:Install|Upgrade) complete by meshops\.istio, of chart sha256:([0-9a-f]{64})")
#: Fields of a chart's metadata by which ``helm list`` names it.
_NAMED_BY = ("name", "version", "appVersion")
#: All of a chart's metadata that Helm knows.
_METADATA = (
    *_NAMED_BY,
    *("home", "sources", "description", "keywords", "maintainers", "icon", "apiVersion", "condition", "tags"),
    *("deprecated", "annotations", "kubeVersion", "dependencies", "type"),
)
#: Files of a chart that Helm stores in forms of their own, or that say nothing about what it writes.
_READ_APART = ("Chart.yaml", "Chart.lock", "values.yaml", "values.schema.json")


class UnknownFormat(Exception):
    """A release that is not stored in a form that is known here."""


@dataclass
class Stored:
    """The newest revision of a release.

    :ivar str status: Helm's status, such as ``deployed``
    :ivar dict chart: the stored chart: ``metadata``, ``templates``, ``values``, ``files``; only the first by ``ask``
    :ivar dict values: the user-supplied values
    :ivar str manifest: the objects as YAML
    :ivar str modified: when its secret was written last, as RFC 3339, by the API server's clock; "" where it is in none
    :ivar str resource_version: of its secret
    :ivar str apply_method: ``ssa`` where Helm 4 applied it, ``csa`` or "" where it was merged, as Helm 3 does
    :ivar list hooks: what Helm keeps apart from the manifest, each with ``path`` and ``manifest``
    :ivar str description: Helm's, or the words that a run of ours gave it for this revision
    """

    name: str
    namespace: str
    revision: int
    status: str
    chart: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    manifest: str = ""
    modified: str = ""
    apply_method: str = ""
    resource_version: str = ""
    hooks: list[dict[str, Any]] = field(default_factory=list)
    description: str = ""

    def age(self, now: datetime) -> float:
        """Seconds since Helm wrote it last; infinite where that cannot be known.

        Helm's own timestamps are not looked at: they are of the clock of whatever machine helm ran on.

        :arg now: by the API server's clock
        """
        return (now - instant(self.modified)).total_seconds() if self.modified else float("inf")

    @property
    def chart_version(self) -> str:
        """Version of the chart, or "" ."""
        return str((self.chart.get("metadata") or {}).get("version", ""))

    @property
    def chart_digest(self) -> str | None:
        """``Chart.digest`` of what a run of ours made this revision from; None where another program made it."""
        match = _DESCRIPTION.fullmatch(self.description)
        return match and match[1]

    @property
    def secret(self) -> dict[str, Any]:
        """The secret that this revision is, as it was read, for deletion."""
        meta = {"name": f"sh.helm.release.v1.{self.name}.v{self.revision}", "namespace": self.namespace}
        version = {"resourceVersion": self.resource_version} if self.resource_version else {}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {**meta, **version}}


def decode(data: str) -> dict[str, Any]:
    """The release document of a secret's ``data.release``.

    :raises UnknownFormat: it is not what Helm 3 and 4 write
    """
    try:
        packed = base64.b64decode(base64.b64decode(data, validate=True), validate=True)
        document = json.loads(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
        if document["version"] and document["info"]["status"]:
            return document
    except (binascii.Error, ValueError, KeyError, TypeError, OSError, EOFError, zlib.error) as error:
        raise UnknownFormat(str(error)) from error
    raise UnknownFormat("no version or status")


def newest(secrets: Iterable[dict[str, Any]]) -> dict[str, int]:
    """The newest revision of each release among secrets' metadata."""
    found: dict[str, int] = {}
    for secret in secrets:
        match = _SECRET.match(secret["metadata"]["name"])
        if match:
            found[match["name"]] = max(found.get(match["name"], 0), int(match["revision"]))
    return found


def read(cluster: Cluster, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Stored]:
    """The newest revisions of some releases.

    :arg wanted: (namespace, name) of each
    :returns: those that exist, by (namespace, name)
    :raises UnknownFormat: one is stored in a form that is not known
    """
    wanted = list(wanted)
    namespaces = sorted({namespace for namespace, _name in wanted})
    lists = in_parallel(
        lambda namespace: cluster.list("v1", "Secret", namespace, label_selector="owner=helm", metadata_only=True),
        namespaces,
    )
    revisions = {
        (namespace, name): revision
        for namespace, secrets in zip(namespaces, lists, strict=True)
        for name, revision in newest(secrets).items()
    }

    def fetch(key: tuple[str, str]) -> Stored | None:
        return _fetched(cluster, *key, revisions[key])

    found = in_parallel(fetch, [key for key in wanted if key in revisions])
    return {(stored.namespace, stored.name): stored for stored in found if stored}


def upgraded_from(cluster: Cluster, stored: Stored) -> Stored | None:
    """The revision whose objects helm compares with: the last that went well, where the newest did not.

    :returns: None where helm has none, and installs
    """
    if stored.status == "deployed" or not in_secrets():
        return stored
    selector = f"owner=helm,name={stored.name},status=deployed"
    secrets = cluster.list("v1", "Secret", stored.namespace, label_selector=selector, metadata_only=True)
    revision = newest(secrets).get(stored.name)
    if revision is None:
        return stored if stored.status in ("failed", "superseded") else None
    return _fetched(cluster, stored.namespace, stored.name, revision)


def in_secrets() -> bool:
    """Whether helm, as it will be run, keeps releases in secrets."""
    return os.environ.get("HELM_DRIVER", "") in ("", "secret", "secrets")


def ask(helm: Helm, environment: dict[str, str], wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Stored]:
    """As ``read``, by the helm program: seconds instead of milliseconds, for storage that is not known here."""
    wanted = list(wanted)
    documents = in_parallel(lambda key: helm.stored(key[1], key[0], environment), wanted)
    return {key: _stored(*key, document) for key, document in zip(wanted, documents, strict=True) if document}


def _fetched(cluster: Cluster, namespace: str, name: str, revision: int) -> Stored | None:
    secret = cluster.get("v1", "Secret", f"sh.helm.release.v1.{name}.v{revision}", namespace)
    if not secret:
        return None
    return _dated(_stored(namespace, name, decode((secret.get("data") or {}).get("release", ""))), secret)


def dated(cluster: Cluster, stored: Stored) -> Stored:
    """A revision with what its secret tells of it, where only helm was asked so far."""
    if stored.modified:
        return stored
    meta = stored.secret["metadata"]
    secret = cluster.get("v1", "Secret", meta["name"], meta["namespace"])
    return _dated(stored, secret) if secret else stored


def _dated(stored: Stored, secret: dict[str, Any]) -> Stored:
    stored.modified, stored.resource_version = written(secret), secret["metadata"].get("resourceVersion", "")
    return stored


def written(obj: dict[str, Any]) -> str:
    """When an object was written last, as the API server notes it; "" for an object without such notes."""
    meta = obj["metadata"]
    times = [entry.get("time") or "" for entry in meta.get("managedFields") or [] if not entry.get("subresource")]
    return max([*times, meta.get("creationTimestamp") or ""])


def _stored(namespace: str, name: str, document: dict[str, Any]) -> Stored:
    return Stored(
        name,
        namespace,
        int(document["version"]),
        document["info"]["status"],
        document.get("chart") or {},
        document.get("config") or {},
        document.get("manifest") or "",
        apply_method=document.get("apply_method") or "",
        hooks=document.get("hooks") or [],
        description=document["info"].get("description") or "",
    )


def description(chart: Chart, is_first: bool) -> str:
    """Helm's words of a revision that went well, and what it was made from, so that the next run knows.

    Helm does not store subcharts at all, and what it stores of a chart's values is not what the chart says. It keeps a
    description for its own revision only: an upgrade by others, or a rollback, has another.
    """
    return f"{'Install' if is_first else 'Upgrade'} complete by meshops.istio, of chart sha256:{chart.digest}"


@dataclass(frozen=True)
class Difference:
    """How a chart differs from what a revision was made from, in a few words.

    :ivar bool is_certain: whether helm would store something else; if not, only helm can tell
    """

    words: str
    is_certain: bool = False


def chart_differs(stored: Stored, chart: Chart) -> Difference | None:
    """How a chart on disk differs from what a revision was made from; None when helm would store the same."""
    metadata = stored.chart.get("metadata") or {}
    for name in _NAMED_BY if "templates" in stored.chart else ("version",):
        before, after = str(metadata.get(name, "")), chart.metadata.get(name, "")
        if before != after:
            return Difference(f"chart {name} {before} -> {after}", is_certain=True)
    if stored.chart_digest == chart.digest:
        return None
    if "templates" not in stored.chart:
        return Difference("chart content")
    name = _differing_file(stored.chart, chart)
    return Difference(f"chart content: {name}") if name else None


def _differing_file(stored: dict[str, Any], chart: Chart) -> str | None:
    """The first file by which a chart on disk may be another than the stored one."""
    kept = {
        entry["name"]: base64.b64decode(entry.get("data") or "")
        for entry in (stored.get("templates") or []) + (stored.get("files") or [])
    }
    differing = [name for name, data in kept.items() if chart.files.get(name) != data]
    differing += [name for name in chart.files if name not in kept and not _is_known(name, chart)]
    if differing:
        return differing[0]
    if not _same_values(stored.get("values") or {}, chart):
        return "values.yaml"
    if base64.b64decode(stored.get("schema") or "") != chart.files.get("values.schema.json", b""):
        return "values.schema.json"
    return None if _same_metadata(stored.get("metadata") or {}, chart.metadata) else "Chart.yaml"


def _same_values(stored: dict[str, Any], chart: Chart) -> bool:
    """Whether values.yaml says what Helm has stored of it; not where it cannot be read here, though helm may."""
    with contextlib.suppress(JobError):
        return go_yaml.canonical(stored) == go_yaml.canonical(chart.default_values)
    return False


def _is_known(name: str, chart: Chart) -> bool:
    """Whether a file that helm has not stored makes no difference; of a directory it takes no hidden template."""
    return name in _READ_APART or (chart.path.is_dir() and name.startswith("templates/."))


def _same_metadata(stored: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """Whether all that templates may ask for of ``.Chart`` is as it was; what helm does not know it does not store."""
    return all(_text(metadata.get(key)) == _text(value) for key, value in stored.items()) and not any(
        value and key not in stored for key, value in metadata.items() if key in _METADATA
    )


def _text(value: Any) -> str:
    """Metadata as text, of which alone it is made to Helm, but for whether it is deprecated."""
    if isinstance(value, dict):
        return json.dumps({key: _text(item) for key, item in value.items()}, sort_keys=True)
    if isinstance(value, list):
        return json.dumps([_text(item) for item in value])
    return go_yaml.text_of(value)
