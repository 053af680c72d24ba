# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts are found where they are said to be, in the version that is wanted, and what they render to is kept."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ansible_collections.meshops.istio.plugins.module_utils import charts
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.mesh import ChartReference

FILES = {
    "Chart.yaml": "apiVersion: v2\nname: base\nversion: 1.31.0\n",
    "values.yaml": "global:\n  istioNamespace: istio-system\n",
    "templates/crds.yaml": "kind: List\n",
    "files/profile-demo.yaml": "a: b\n",
}
RENDERED = """---
# Source: base/templates/crds.yaml
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gateways.networking.istio.io}
---
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: istio-reader}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a user who has none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/meshops-istio/charts"


def written(folder: Path, files: dict[str, str] | None = None) -> Path:
    """A chart's directory."""
    for name, text in (FILES if files is None else files).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def packed(folder: Path, archive: Path) -> Path:
    """The same as helm packages it."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname="base")
    return archive


def never() -> Any:
    """Stand for a helm that must not be needed."""
    raise AssertionError("helm was asked for")


class FakeHelm:
    """Pulls by writing a file, and counts what it renders."""

    version = "4.3.1"

    def __init__(self, error: str = "") -> None:
        self.error = error
        self.pulled: list[tuple[str, str, str]] = []
        self.rendered: list[tuple[Any, ...]] = []

    def pull(self, repository: str, name: str, version: str, into: Path) -> None:
        """Leave an archive, or half of one and an error."""
        self.pulled.append((repository, name, version))
        (into / f"{name}-{version}.tgz").write_bytes(b"archive")
        if self.error:
            raise JobError(self.error)

    def template(self, *arguments: Any) -> str:
        """Return the same objects each time."""
        self.rendered.append(arguments)
        return RENDERED


def test_directory_and_archive_are_the_same_chart(tmp_path: Path) -> None:
    """Files, metadata, values and digest do not depend on how a chart is kept."""
    directory = charts.Chart(written(tmp_path / "base"))
    archive = charts.Chart(packed(directory.path, tmp_path / "base-1.31.0.tgz"))
    assert sorted(directory.files) == sorted(FILES)
    assert directory.files == archive.files
    assert directory.metadata == archive.metadata == {"apiVersion": "v2", "name": "base", "version": "1.31.0"}
    assert archive.default_values == {"global": {"istioNamespace": "istio-system"}}
    assert directory.digest == archive.digest


@pytest.mark.parametrize(
    "files",
    [
        {**FILES, "values.yaml": "global:\n  istioNamespace: istio-mesh_\n"},
        {**FILES, "templates/more.yaml": ""},
        {name: text for name, text in FILES.items() if not name.startswith("files/")},
        {**FILES, "a": "b", "b": "a"},
    ],
    ids=["content", "file added", "file gone", "names"],
)
def test_digest_tells_charts_apart(tmp_path: Path, files: dict[str, str]) -> None:
    """Every name and every byte counts."""
    one, other = charts.Chart(written(tmp_path / "one")), charts.Chart(written(tmp_path / "other", files))
    assert one.digest != other.digest


@pytest.mark.parametrize("values", ["", "# nothing but comments\n", None])
def test_chart_without_values(tmp_path: Path, values: str | None) -> None:
    """No file, an empty one and one of comments are no values."""
    files = {"Chart.yaml": FILES["Chart.yaml"], **({} if values is None else {"values.yaml": values})}
    assert charts.Chart(written(tmp_path / "base", files)).default_values == {}


@pytest.mark.parametrize("content", [b"<html>404</html>", b"", None], ids=["page", "empty", "cut short"])
def test_archive_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    """A proxy's page, or a download that was cut short, is named."""
    archive = packed(written(tmp_path / "base"), tmp_path / "base-1.31.0.tgz")
    archive.write_bytes(archive.read_bytes()[:-40] if content is None else content)
    with pytest.raises(JobError, match=r"base-1\.31\.0\.tgz is not a packaged chart: "):
        _ = charts.Chart(archive).files


def test_archive_of_something_else(tmp_path: Path) -> None:
    """An archive that holds no chart is named."""
    archive = packed(written(tmp_path / "base", {"README.md": "x"}), tmp_path / "base-1.31.0.tgz")
    with pytest.raises(JobError, match=r"base-1\.31\.0\.tgz is not a chart: it holds no Chart\.yaml"):
        _ = charts.Chart(archive).metadata


def test_chart_in_a_directory(tmp_path: Path) -> None:
    """Without helm, as NAME/."""
    written(tmp_path / "base")
    assert charts.locate(never, str(tmp_path), "base", "1.31.0").path == tmp_path / "base"


def test_archive_in_a_directory(tmp_path: Path) -> None:
    """As NAME-VERSION.tgz, which may stand beside a NAME/ of another version."""
    written(tmp_path / "base", {"Chart.yaml": "version: 1.30.0"})
    archive = packed(written(tmp_path / "new/base"), tmp_path / "base-1.31.0.tgz")
    assert charts.locate(never, str(tmp_path), "base", "1.31.0").path == archive


def test_directory_in_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the user's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "charts/base")
    assert charts.locate(never, "~/charts", "base", "1.31.0").path == tmp_path / "charts/base"


def test_chart_of_another_version(tmp_path: Path) -> None:
    """The message names path, both versions and the variable."""
    written(tmp_path / "base")
    with pytest.raises(JobError) as caught:
        charts.locate(never, str(tmp_path), "base", "1.30.2")
    assert caught.value.message == (
        f"chart_version: {tmp_path}/base is version 1.31.0, and 1.30.2 is wanted. "
        "Change istio_helm_chart_version or the chart."
    )


@pytest.mark.parametrize("folder", ["", "not-there"])
def test_chart_that_is_missing(tmp_path: Path, folder: str) -> None:
    """The message names both places that were looked at."""
    with pytest.raises(JobError) as caught:
        charts.locate(never, str(tmp_path / folder), "base", "1.31.0")
    assert caught.value.message == f"chart_repository: neither base/ nor base-1.31.0.tgz is in {tmp_path / folder}."


@pytest.mark.parametrize(
    "repository", ["https://charts.example.com", "http://a.example.com/x", "oci://b.example.com/c"]
)
def test_fetched_once(repository: str, cache: Path) -> None:
    """The second run finds it in the cache, and does not even look for helm."""
    helm = FakeHelm()
    chart = charts.locate(lambda: helm, repository, "base", "1.31.0")  # type: ignore[arg-type, return-value]
    assert helm.pulled == [(repository, "base", "1.31.0")]
    assert chart.path.read_bytes() == b"archive"
    assert chart.path.is_relative_to(cache)
    assert charts.locate(never, repository, "base", "1.31.0").path == chart.path
    assert [path.name for path in chart.path.parent.iterdir()] == ["base-1.31.0.tgz"]


def test_repositories_do_not_mix(cache: Path) -> None:
    """A mirror's chart is not the other's, though name and version are the same."""
    helm = FakeHelm()
    for repository in ("https://a.example.com", "https://b.example.com"):
        charts.locate(lambda: helm, repository, "base", "1.31.0")  # type: ignore[arg-type, return-value]
    assert len(helm.pulled) == 2


def test_failed_fetch_leaves_nothing(cache: Path) -> None:
    """Half a chart must not be taken for a chart by the next run."""
    helm = FakeHelm("helm pull failed")
    for _run in range(2):
        with pytest.raises(JobError, match="helm pull failed"):
            charts.locate(lambda: helm, "https://a.example.com", "base", "1.31.0")  # type: ignore[arg-type, return-value]
    assert len(helm.pulled) == 2
    assert not list(cache.rglob("*.tgz"))


def test_cache_is_the_users_own(cache: Path) -> None:
    """Nobody else may look, or put a chart there."""
    assert charts.cache_directory() == cache
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_cache_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where XDG_CACHE_HOME is not set."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert charts.cache_directory() == tmp_path / ".cache/meshops-istio/charts"


def test_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's read-only home makes it slower, not broken; a stranger's directory is refused."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(charts.tempfile, "gettempdir", lambda: str(tmp_path))
    own = tmp_path / f"meshops-istio-cache-{os.getuid()}"
    assert charts.cache_directory() == own
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    (tmp_path / f"meshops-istio-cache-{os.getuid() + 1}").mkdir()
    stranger = os.getuid() + 1
    monkeypatch.setattr(charts.os, "getuid", lambda: stranger)
    with pytest.raises(JobError, match=r"belongs to somebody else\. Set XDG_CACHE_HOME"):
        charts.cache_directory()


def test_cached(cache: Path) -> None:
    """Computed once for a key; another key is another value."""
    compute = mock.Mock(side_effect=[{"a": 1}, {"b": 2}])
    assert charts.cached(["x", "y"], compute) == {"a": 1}
    assert charts.cached(["x", "y"], compute) == {"a": 1}
    assert charts.cached(["xy"], compute) == {"b": 2}
    assert compute.call_count == 2
    assert len(list(cache.iterdir())) == 2


def test_cached_survives_a_broken_file(cache: Path) -> None:
    """A file that a full disk cut short is computed anew, and mended."""
    charts.cached(["x"], lambda: [1])
    file = next(cache.iterdir())
    file.write_text("[1")
    assert charts.cached(["x"], lambda: [2]) == [2]
    assert charts.cached(["x"], never) == [2]


def test_documents() -> None:
    """The objects of a manifest; empty documents are none."""
    assert [document["kind"] for document in charts.documents(RENDERED)] == [
        "CustomResourceDefinition",
        "ServiceAccount",
    ]


def test_documents_as_helm_reads_them() -> None:
    """A date and an equals sign are text to helm, and a List is what is in it."""
    text = "kind: A\ndate: 2026-11-22\nsign: =\n---\nkind: List\nitems: [{kind: B}, {kind: C}]\n"
    assert charts.documents(text) == [{"kind": "A", "date": "2026-11-22", "sign": "="}, {"kind": "B"}, {"kind": "C"}]


def test_rendered_once(tmp_path: Path) -> None:
    """Only the kinds that are asked for, and from the cache as long as nothing that goes in changes."""
    helm, chart = FakeHelm(), charts.Chart(written(tmp_path / "base"))
    given: dict[str, Any] = {
        "helm": helm,
        "chart": chart,
        "name": "istio-base",
        "namespace": "istio-system",
        "values": {"a": 1},
        "kube_version": "v1.37.2",
        "kinds": ("CustomResourceDefinition",),
    }
    first = charts.rendered(**given)
    assert [document["metadata"]["name"] for document in first] == ["gateways.networking.istio.io"]
    assert charts.rendered(**given) == first
    assert helm.rendered == [("istio-base", "istio-system", chart.path, {"a": 1}, "v1.37.2", False)]
    newer = FakeHelm()
    newer.version = "4.3.2"
    other = charts.Chart(written(tmp_path / "other", {**FILES, "new": ""}))
    for count, change in enumerate(
        (
            {"name": "base"},
            {"namespace": "mesh"},
            {"values": {"a": 2}},
            {"kube_version": "v1.36.0"},
            {"kinds": ("ServiceAccount",)},
            {"chart": other},
            {"include_crds": True},
        ),
        start=2,
    ):
        charts.rendered(**{**given, **change})
        assert len(helm.rendered) == count, change
    charts.rendered(**{**given, "helm": newer})
    assert len(newer.rendered) == 1


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (None, None),
        ({"properties": {"service": {}}}, None),
        ({"additionalProperties": False, "properties": {"service": {}, "env": {}}}, frozenset({"service", "env"})),
        ({"$defs": {"values": {"additionalProperties": False}}, "$ref": "#/$defs/values"}, None),
    ],
    ids=["none", "open", "closed", "elsewhere"],
)
def test_accepted_values(tmp_path: Path, schema: dict[str, Any] | None, expected: frozenset[str] | None) -> None:
    """Gateway charts of old accept only what they know."""
    more = {"values.schema.json": json.dumps(schema)} if schema else {}
    assert charts.Chart(written(tmp_path / "gateway", {**FILES, **more})).accepted_values == expected


# -- Istio's manifests of addons, made charts --------------------------------------------------------------------------


@pytest.fixture
def addons(tmp_path: Path) -> str:
    """A directory of manifests, one of which has braces that are not Helm's."""
    text = "kind: ConfigMap\nmetadata: {name: a, namespace: istio-system}\ndata: {query: '{{ $labels.job }}'}\n"
    return str(written(tmp_path / "addons", {"grafana.yaml": text}))


def test_manifest_becomes_a_chart(addons: str) -> None:
    """One template hands the text on, but for the namespace; the chart's version is Istio's."""
    chart = charts.find(mock.Mock(side_effect=AssertionError), ChartReference(addons, "grafana", "1.31.0", True))
    assert (chart.metadata["name"], chart.metadata["version"]) == ("grafana", "1.31.0")
    assert b"{{ $labels.job }}" in chart.files["manifest.yaml"]
    assert chart.files["templates/manifest.yaml"].count(b"{{") == 1
    assert chart.accepted_values is None


def test_manifest_is_made_once(addons: str, cache: Path) -> None:
    """The same text is the same chart; another text is another, whatever its version says."""
    first = charts.manifest_chart(addons, "grafana", "1.31.0")
    before = first.path.stat().st_mtime_ns
    assert charts.manifest_chart(addons, "grafana", "1.31.0").path == first.path
    assert first.path.stat().st_mtime_ns == before
    Path(addons, "grafana.yaml").write_text("kind: List\n")
    assert charts.manifest_chart(addons, "grafana", "1.31.0").path != first.path
    assert sorted(path.name for path in cache.iterdir() if path.name.startswith("tmp")) == []


def test_manifest_that_is_missing(addons: str) -> None:
    """The file that was looked for is named."""
    with pytest.raises(JobError, match=r"kiali\.yaml cannot be read: No such file"):
        charts.manifest_chart(addons, "kiali", "1.31.0")


def test_manifest_is_fetched_once_for_each_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the URL of its version."""
    asked: list[str] = []

    def answer(url: str, **_options: Any) -> mock.Mock:
        asked.append(url)
        return mock.Mock(read=lambda: b"kind: List\n")

    monkeypatch.setattr(charts, "open_url", answer)
    for version in ("1.31.0", "1.31.0", "1.30.0"):
        charts.manifest_chart(f"https://example.com/{version}/", "kiali", version)
    assert asked == ["https://example.com/1.31.0/kiali.yaml", "https://example.com/1.30.0/kiali.yaml"]


def test_manifest_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL, the cause, and what helps without the internet; the next run tries again."""
    monkeypatch.setattr(charts, "open_url", mock.Mock(side_effect=OSError("no route to host")))
    for _attempt in range(2):
        with pytest.raises(JobError, match=r"no route to host.*istio_helm_addons_repository"):
            charts.manifest_chart("https://example.com", "kiali", "1.31.0")
