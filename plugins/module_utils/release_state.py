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
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.charts import Chart
from ansible_collections.meshops.istio.plugins.module_utils.helm import Helm
from ansible_collections.meshops.istio.plugins.module_utils.kube import Cluster, in_parallel
from ansible_collections.meshops.istio.plugins.module_utils.objects import instant

#: Helm's words for a release that a running, or killed, helm left behind.
PENDING = ("pending-install", "pending-upgrade", "pending-rollback", "uninstalling")
_SECRET = re.compile(r"^sh\.helm\.release\.v1\.(?P<name>.+)\.v(?P<revision>\d+)$")


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
    )


def chart_differs(stored: dict[str, Any], chart: Chart) -> str | None:
    """How a stored chart differs from one on disk, in a few words; None when helm would store the same.

    Files that .helmignore keeps out are in neither; Chart.lock and subcharts are not stored at all.
    """
    before, after = str((stored.get("metadata") or {}).get("version", "")), str(chart.metadata["version"])
    if before != after:
        return f"chart version {before} -> {after}"
    if "templates" not in stored:
        return None
    kept = {
        entry["name"]: base64.b64decode(entry.get("data") or "")
        for entry in (stored.get("templates") or []) + (stored.get("files") or [])
    }
    for name, data in kept.items():
        if chart.files.get(name) != data:
            return f"chart content: {name}"
    for name in chart.files:
        # Helm takes no hidden file for a template.
        if name.startswith("templates/") and not name.startswith("templates/.") and name not in kept:
            return f"chart content: {name}"
    if (stored.get("values") or {}) != json.loads(json.dumps(chart.default_values)):
        return "chart content: values.yaml"
    return None
