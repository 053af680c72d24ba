# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Istio's manifests of addons, each made a chart."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from pathlib import Path

from ansible.module_utils.urls import open_url

from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout
from ansible_collections.meshops.istio.plugins.module_utils.helm.chart_cache import cache_directory, cached
from ansible_collections.meshops.istio.plugins.module_utils.helm.charts import Chart
from ansible_collections.meshops.istio.plugins.module_utils.task import expanded

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
        path = expanded(repository) / f"{name}.yaml"
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise ErrorAbout(
                f"{path} cannot be read: {error.strerror}.",
                object="addons_repository",
                fix="Set istio_helm_addons_repository to a directory with Istio's addon manifests, such as "
                "samples/addons of an Istio release.",
            ) from error
    url = f"{repository.rstrip('/')}/{name}.yaml"

    def fetch() -> str:
        try:
            return open_url(url, timeout=60, http_agent="meshops.istio").read().decode()
        except (OSError, ValueError) as error:
            raise ErrorAbout(
                f"{url} cannot be fetched: {error}.",
                object="addons_repository",
                fix="Fix the network or the URL. Without internet access, set istio_helm_addons_repository to a "
                "directory with Istio's addon manifests.",
            ) from error

    return cached(["manifest", url, version], fetch, public=True)
