# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts are found where they are said to be, in the version that is wanted, and what they render to is kept."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm import addon_charts, chart_cache, chart_lookup, charts
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import HelmError
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import ChartError, ChartReference, Source
from ansible_collections.meshops.istio.plugins.module_utils.task import expanded

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


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    """A packaged chart."""
    return packed(written(tmp_path / "packed/base"), tmp_path / "packed/base-1.31.0.tgz").read_bytes()


@pytest.fixture
def other(tmp_path: Path) -> bytes:
    """What somebody else has put in its place."""
    files = {**FILES, "templates/backdoor.yaml": "kind: ClusterRoleBinding\n"}
    return packed(written(tmp_path / "packed/other", files), tmp_path / "packed/other.tgz").read_bytes()


@pytest.fixture
def keyring(tmp_path: Path) -> Path:
    """A file of public keys."""
    path = tmp_path / "keyring.gpg"
    path.write_bytes(b"keys")
    return path


def digest_of(data: bytes) -> str:
    """As a user writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def never() -> Any:
    """Stand for a helm that must not be needed."""
    raise AssertionError("helm was asked for")


class FakeHelm:
    """Pulls by writing a file, verifies what it wrote, and counts what it renders.

    :arg archive: what the repository holds
    :arg called: how the repository names the file
    :arg signed: what its provenance is of, the archive itself if not given; empty for no provenance
    """

    version = "4.3.1"

    def __init__(self, archive: bytes, error: str = "", called: str = "{}-{}.tgz", signed: bytes | None = None) -> None:
        self.archive = archive
        self.error = error
        self.called = called
        self.signed = archive if signed is None else signed
        self.pulled: list[tuple[str, str, str]] = []
        self.verified: list[str] = []
        self.rendered: list[tuple[Any, ...]] = []

    def __call__(self) -> FakeHelm:
        """As `charts.locate` asks for it."""
        return self

    def pull(self, source: Source, name: str, version: str, into: Path) -> None:
        """Leave an archive, or half of one and an error."""
        self.pulled.append((source.repository, name, version))
        path = into / self.called.format(name, version)
        path.write_bytes(self.archive)
        if self.error:
            raise JobError(self.error)
        if source.keyring and self.signed:
            chart_lookup.provenance(path).write_bytes(self.signed)

    def verify(self, archive: Path, keyring: str) -> None:
        """A chart is what was signed when its provenance holds the same bytes."""
        self.verified.append(archive.name)
        if chart_lookup.provenance(archive).read_bytes() != archive.read_bytes():
            raise HelmError("helm verify failed: Error: sha256 sum does not match", "sha256 sum does not match")

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
    with pytest.raises(JobError, match=r"base-1\.31\.0\.tgz is not a chart: it contains no Chart\.yaml"):
        _ = charts.Chart(archive).metadata


def test_links(tmp_path: Path) -> None:
    """Helm follows links to files and directories, and so does the digest."""
    chart = charts.Chart(written(tmp_path / "base"))
    shared = written(tmp_path / "shared", {"Chart.yaml": "name: sub\nversion: 1.0.0\n"})
    (tmp_path / "base/charts").mkdir()
    (tmp_path / "base/charts/sub").symlink_to(shared)
    (tmp_path / "base/link").symlink_to(shared / "Chart.yaml")
    files = chart.files
    assert files["charts/sub/Chart.yaml"] == files["link"] == b"name: sub\nversion: 1.0.0\n"
    (shared / "Chart.yaml").write_text("name: sub\nversion: 1.0.1\n")
    assert charts.Chart(chart.path).digest != chart.digest


def test_link_in_a_circle(tmp_path: Path) -> None:
    """One error, where helm would go on for ever."""
    (written(tmp_path / "base") / "charts").symlink_to(tmp_path / "base")
    with pytest.raises(JobError, match=r"base/charts is a symbolic link to one of its parent directories"):
        _ = charts.Chart(tmp_path / "base").files


def test_archive_of_a_directory_with_ignored_files(tmp_path: Path) -> None:
    """Of the directory helm leaves out what it takes from the archive: they are not the same chart."""
    directory = charts.Chart(written(tmp_path / "base", {**FILES, ".helmignore": "*.bak", "a.bak": "x"}))
    assert charts.Chart(packed(directory.path, tmp_path / "base-1.31.0.tgz")).digest != directory.digest


@pytest.mark.parametrize(
    ("text", "version"),
    [("1.31.0", "1.31.0"), ("1.10", "1.1"), ("2026", "2026"), ("0x10", "16"), ("2026-11-30", "2026-11-30")],
)
def test_version_that_is_no_text(text: str, version: str, tmp_path: Path) -> None:
    """As helm reads it."""
    chart = charts.Chart(written(tmp_path / "base", {"Chart.yaml": f"name: y\nversion: {text}\nappVersion: 1e3\n"}))
    assert chart.metadata == {"name": "true", "version": version, "appVersion": "1000"}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("Chart.yaml", "name: [", r"Chart\.yaml cannot be read: .*line 2"),
        ("Chart.yaml", "- a", r"Chart\.yaml is not a map"),
        ("Chart.yaml", "", r"is not a chart: its Chart\.yaml is empty"),
        ("values.yaml", "a: .inf", r"values\.yaml cannot be read: \.inf is not a JSON number"),
        ("values.yaml", "text", r"values\.yaml is not a map"),
        ("values.schema.json", "{", r"values\.schema\.json is not valid JSON"),
    ],
)
def test_chart_that_cannot_be_read(name: str, text: str, says: str, tmp_path: Path) -> None:
    """The chart, the file and the cause are named; nothing ends in a traceback."""
    chart = charts.Chart(written(tmp_path / "base", {**FILES, name: text}))
    with pytest.raises(JobError, match=says) as caught:
        _ = chart.metadata, chart.default_values, chart.accepted_values
    assert str(tmp_path / "base") in str(caught.value)


def test_values_of_several_documents(tmp_path: Path) -> None:
    """Helm merges them."""
    text = "a: {b: 1, c: 12:30}\n--- # more\na: {b: y}\n---\n# nothing\n---\nd: |\n  ---\n"
    chart = charts.Chart(written(tmp_path / "base", {**FILES, "values.yaml": text}))
    assert chart.default_values == {"a": {"b": True, "c": "12:30"}, "d": "---\n"}


@pytest.mark.parametrize("schema", ["true", "{}", '{"additionalProperties": true}', '{"properties": {"a": {}}}'])
def test_schema_that_accepts_all(schema: str, tmp_path: Path) -> None:
    """Whatever form it has."""
    assert charts.Chart(written(tmp_path / "base", {**FILES, "values.schema.json": schema})).accepted_values is None


def test_chart_in_a_directory(tmp_path: Path) -> None:
    """Without helm, as NAME/."""
    written(tmp_path / "base")
    assert chart_lookup.locate(never, str(tmp_path), "base", "1.31.0").path == tmp_path / "base"


def test_archive_in_a_directory(tmp_path: Path) -> None:
    """As NAME-VERSION.tgz, which may stand beside a NAME/ of another version."""
    written(tmp_path / "base", {"Chart.yaml": "version: 1.30.0"})
    archive = packed(written(tmp_path / "new/base"), tmp_path / "base-1.31.0.tgz")
    assert chart_lookup.locate(never, str(tmp_path), "base", "1.31.0").path == archive


def test_directory_in_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the user's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "charts/base")
    assert chart_lookup.locate(never, "~/charts", "base", "1.31.0").path == tmp_path / "charts/base"


def test_chart_of_another_version(tmp_path: Path) -> None:
    """The message names path, both versions and the variable."""
    written(tmp_path / "base")
    with pytest.raises(JobError) as caught:
        chart_lookup.locate(never, str(tmp_path), "base", "1.30.2")
    assert str(caught.value) == (
        f"chart_version: {tmp_path}/base is version 1.31.0, but 1.30.2 is required. "
        "Change istio_helm_chart_version or the chart."
    )


@pytest.mark.parametrize("folder", ["", "not-there"])
def test_chart_that_is_missing(tmp_path: Path, folder: str) -> None:
    """The message names both places that were looked at."""
    with pytest.raises(JobError) as caught:
        chart_lookup.locate(never, str(tmp_path / folder), "base", "1.31.0")
    assert caught.value.condition == f"chart_repository: neither base/ nor base-1.31.0.tgz is in {tmp_path / folder}."


def test_packaged_chart_that_is_named_itself(tmp_path: Path, archive: bytes) -> None:
    """One file is one chart, whatever it is called; it says itself which."""
    path = tmp_path / "download.tgz"
    path.write_bytes(archive)
    assert chart_lookup.locate(never, str(path), "base", "1.31.0").path == path
    with pytest.raises(JobError) as caught:
        chart_lookup.locate(never, str(path), "istiod", "1.31.0")
    assert str(caught.value) == (
        f"chart_repository: {path} is chart base, but istiod is required. Set istio_helm_chart_repository to "
        "the directory that contains all charts."
    )
    with pytest.raises(JobError, match=r"is version 1\.31\.0, but 1\.30\.2 is required\."):
        chart_lookup.locate(never, str(path), "base", "1.30.2")


# -- repositories ------------------------------------------------------------------------------------------------------

REPOSITORIES = ["https://charts.example.com", "http://a.example.com/x", "oci://b.example.com/c"]


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_fetched_once(repository: str, cache: Path, archive: bytes) -> None:
    """The second run finds it in the cache, and does not even look for helm."""
    helm = FakeHelm(archive)
    chart = chart_lookup.locate(helm, repository, "base", "1.31.0")  # type: ignore[arg-type]
    assert helm.pulled == [(repository, "base", "1.31.0")]
    assert chart.path.read_bytes() == archive
    assert chart.path.is_relative_to(cache)
    assert chart_lookup.locate(never, repository, "base", "1.31.0").path == chart.path
    assert [path.name for path in chart.path.parent.iterdir()] == ["base-1.31.0.tgz"]


def test_file_that_a_repository_calls_otherwise(cache: Path, archive: bytes) -> None:
    """Such as a tag, in an artifact store."""
    helm = FakeHelm(archive, called="download.tar.gz")
    assert chart_lookup.locate(helm, REPOSITORIES[0], "base", "1.31.0").path.name == "base-1.31.0.tgz"  # type: ignore[arg-type]


def test_version_that_is_a_constraint(cache: Path, archive: bytes) -> None:
    """To helm, 1.31 is any 1.31.x. Here a version is one version."""
    helm = FakeHelm(archive, called="base-1.31.0.tgz")
    with pytest.raises(JobError, match=r"is version 1\.31\.0, but 1\.31 is required\."):
        chart_lookup.locate(helm, REPOSITORIES[0], "base", "1.31")  # type: ignore[arg-type]
    assert not list(cache.rglob("*.tgz"))


def test_repositories_do_not_mix(cache: Path, archive: bytes) -> None:
    """A mirror's chart is not the other's, though name and version are the same."""
    helm = FakeHelm(archive)
    for repository in ("https://a.example.com", "https://b.example.com"):
        chart_lookup.locate(helm, repository, "base", "1.31.0")  # type: ignore[arg-type]
    assert len(helm.pulled) == 2


def test_failed_fetch_leaves_nothing(cache: Path, archive: bytes) -> None:
    """Half a chart must not be taken for a chart by the next run."""
    helm = FakeHelm(archive[:40], "helm pull failed")
    for _run in range(2):
        with pytest.raises(JobError, match="helm pull failed"):
            chart_lookup.locate(helm, "https://a.example.com", "base", "1.31.0")  # type: ignore[arg-type]
    assert len(helm.pulled) == 2
    assert not list(cache.rglob("*.tgz"))


# -- digests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_digest_of_a_fetched_chart(repository: str, cache: Path, archive: bytes) -> None:
    """The right one passes, when it comes and when it is kept."""
    helm = FakeHelm(archive)
    for _run in range(2):
        assert chart_lookup.locate(helm, repository, "base", "1.31.0", digest_of(archive)).files  # type: ignore[arg-type]
    assert len(helm.pulled) == 1


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_tampered_chart_is_refused_and_not_kept(repository: str, cache: Path, archive: bytes, other: bytes) -> None:
    """The message names the chart, both digests and the fix."""
    with pytest.raises(ChartError) as caught:
        chart_lookup.locate(FakeHelm(other), repository, "base", "1.31.0", digest_of(archive))  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"Chart base 1.31.0 of {repository} has the digest {digest_of(other)}, but {digest_of(archive)} is required. "
        "Find out why the chart changed. Change istio_helm_chart_digests only if the new digest is right."
    )
    assert caught.value.code == "chart-unverified"
    assert not list(cache.rglob("*.tgz"))


def test_tampered_copy_in_the_cache(cache: Path, archive: bytes, other: bytes) -> None:
    """What is kept is checked as well: it goes, and the right one is fetched."""
    helm = FakeHelm(archive)
    chart = chart_lookup.locate(helm, REPOSITORIES[0], "base", "1.31.0")  # type: ignore[arg-type]
    chart.path.write_bytes(other)
    mended = chart_lookup.locate(helm, REPOSITORIES[0], "base", "1.31.0", digest_of(archive))  # type: ignore[arg-type]
    assert mended.path.read_bytes() == archive
    assert len(helm.pulled) == 2


def test_copy_of_a_time_without_digest(cache: Path, archive: bytes, other: bytes) -> None:
    """A chart that was fetched before anybody pinned it, and is wrong there too."""
    helm = FakeHelm(other)
    chart_lookup.locate(helm, REPOSITORIES[0], "base", "1.31.0")  # type: ignore[arg-type]
    with pytest.raises(ChartError, match="has the digest"):
        chart_lookup.locate(helm, REPOSITORIES[0], "base", "1.31.0", digest_of(archive))  # type: ignore[arg-type]
    assert not list(cache.rglob("*.tgz"))


@pytest.mark.parametrize("named", [True, False], ids=["file", "directory"])
def test_digest_of_a_chart_on_disk(named: bool, tmp_path: Path, archive: bytes, other: bytes) -> None:
    """It is checked there too, and what is the user's own stays."""
    path = tmp_path / "charts/base-1.31.0.tgz"
    path.parent.mkdir()
    path.write_bytes(archive)
    repository = str(path if named else path.parent)
    assert chart_lookup.locate(never, repository, "base", "1.31.0", digest_of(archive)).path == path
    with pytest.raises(ChartError, match="has the digest"):
        chart_lookup.locate(never, repository, "base", "1.31.0", digest_of(other))
    assert path.exists()


@pytest.mark.parametrize("keys", [True, False])
def test_directory_has_no_digest(keys: bool, tmp_path: Path, archive: bytes, keyring: Path) -> None:
    """What cannot be verified is not passed off as verified."""
    written(tmp_path / "base")
    source = Source(str(tmp_path), keyring=str(keyring) if keys else "")
    with pytest.raises(ChartError, match="is a directory, so neither its digest nor its provenance") as caught:
        chart_lookup.locate(never, source, "base", "1.31.0", None if keys else digest_of(archive))
    assert caught.value.code == "chart-unverified"


# -- provenance --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("called", ["{}-{}.tgz", "download.tgz"])
def test_provenance_is_verified_once(called: str, cache: Path, archive: bytes, keyring: Path) -> None:
    """By the name under which it was signed; the second run starts no helm."""
    helm, source = FakeHelm(archive, called=called), Source(REPOSITORIES[0], keyring=str(keyring))
    for _run in range(2):
        chart_lookup.locate(helm, source, "base", "1.31.0")  # type: ignore[arg-type]
    assert (len(helm.pulled), helm.verified) == (1, ["base-1.31.0.tgz"])
    chart_lookup.locate(never, source, "base", "1.31.0")


def test_other_keys_are_another_question(cache: Path, archive: bytes, keyring: Path) -> None:
    """A key that was taken out of the keyring vouches for nothing any more."""
    helm, source = FakeHelm(archive), Source(REPOSITORIES[0], keyring=str(keyring))
    chart_lookup.locate(helm, source, "base", "1.31.0")  # type: ignore[arg-type]
    keyring.write_bytes(b"other keys")
    chart_lookup.locate(helm, source, "base", "1.31.0")  # type: ignore[arg-type]
    assert len(helm.verified) == 2


def test_chart_that_was_kept_without_provenance(cache: Path, archive: bytes, keyring: Path) -> None:
    """It is fetched anew, with it."""
    helm = FakeHelm(archive)
    chart_lookup.locate(helm, REPOSITORIES[0], "base", "1.31.0")  # type: ignore[arg-type]
    chart_lookup.locate(helm, Source(REPOSITORIES[0], keyring=str(keyring)), "base", "1.31.0")  # type: ignore[arg-type]
    assert (len(helm.pulled), helm.verified) == (2, ["base-1.31.0.tgz"])


def test_chart_without_provenance(cache: Path, archive: bytes, keyring: Path) -> None:
    """Nobody has signed it."""
    helm, source = FakeHelm(archive, signed=b""), Source(REPOSITORIES[2], keyring=str(keyring))
    with pytest.raises(ChartError, match=r"^Chart base 1\.31\.0 of oci://b\.example\.com/c has no provenance file\."):
        chart_lookup.locate(helm, source, "base", "1.31.0")  # type: ignore[arg-type]
    assert not list(cache.rglob("*.tgz"))


def test_chart_that_is_not_what_was_signed(cache: Path, archive: bytes, other: bytes, keyring: Path) -> None:
    """Helm's reason is in the message; neither chart nor provenance is kept."""
    source = Source(REPOSITORIES[2], keyring=str(keyring))
    with pytest.raises(ChartError) as caught:
        chart_lookup.locate(FakeHelm(other, signed=archive), source, "base", "1.31.0")  # type: ignore[arg-type]
    assert caught.value.condition == (
        f"Chart base 1.31.0 of {REPOSITORIES[2]} cannot be verified with the keys in {keyring}: sha256 sum does not "
        "match."
    )
    assert caught.value.code == "chart-unverified"
    assert [path.name for path in cache.rglob("*") if "base" in path.name] == []


def test_signed_chart_on_disk(tmp_path: Path, archive: bytes, other: bytes, keyring: Path) -> None:
    """The provenance lies beside it."""
    path = tmp_path / "charts/base-1.31.0.tgz"
    path.parent.mkdir()
    path.write_bytes(archive)
    chart_lookup.provenance(path).write_bytes(archive)
    helm, source = FakeHelm(b""), Source(str(path.parent), keyring=str(keyring))
    assert chart_lookup.locate(helm, source, "base", "1.31.0").path == path  # type: ignore[arg-type]
    path.write_bytes(other)
    with pytest.raises(ChartError, match="cannot be verified with the keys in"):
        chart_lookup.locate(helm, source, "base", "1.31.0")  # type: ignore[arg-type]
    assert path.exists()


def test_keyring_that_is_missing(tmp_path: Path, archive: bytes) -> None:
    """The file is named."""
    path = tmp_path / "charts/base-1.31.0.tgz"
    path.parent.mkdir()
    path.write_bytes(archive)
    chart_lookup.provenance(path).write_bytes(archive)
    source = Source(str(path.parent), keyring="/missing.gpg")
    with pytest.raises(JobError, match=r"^/missing\.gpg cannot be read: No such file or directory\. Correct"):
        chart_lookup.locate(never, source, "base", "1.31.0")


# -- the cache ---------------------------------------------------------------------------------------------------------


def test_cache_is_the_users_own(cache: Path) -> None:
    """Nobody else may look, or put a chart there."""
    assert chart_cache.cache_directory() == cache
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_cache_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where XDG_CACHE_HOME is not set."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert chart_cache.cache_directory() == tmp_path / ".cache/meshops-istio/charts"


def test_archive_that_unpacks_to_a_multiple(tmp_path: Path) -> None:
    """Helm takes 100 MiB; what is more is not even unpacked."""
    path = tmp_path / "bomb-1.0.0.tgz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for number in range(3):
            member = tarfile.TarInfo(f"bomb/{number}")
            member.size = 40 << 20
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(JobError, match="unpacks to more than 100 MiB"):
        assert charts.Chart(path).files


def test_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's may have neither HOME nor an entry in passwd: ``~`` is a name then, and the cache elsewhere."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(chart_cache.tempfile, "tempdir", None)
    with mock.patch("pwd.getpwuid", side_effect=KeyError("getpwuid(): uid not found")):
        assert chart_cache.cache_directory() == tmp_path / f"meshops-istio-cache-{os.getuid()}"
        assert expanded("~/charts") == Path("~/charts")


def test_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's read-only home makes it slower, not broken; a stranger's directory is refused."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(chart_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    own = tmp_path / f"meshops-istio-cache-{os.getuid()}"
    assert chart_cache.cache_directory() == own
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    (tmp_path / f"meshops-istio-cache-{os.getuid() + 1}").mkdir()
    stranger = os.getuid() + 1
    monkeypatch.setattr(chart_cache.os, "getuid", lambda: stranger)
    with pytest.raises(JobError, match=r"belongs to another user\. Set XDG_CACHE_HOME"):
        chart_cache.cache_directory()


def test_cached(cache: Path) -> None:
    """Computed once for a key; another key is another value."""
    compute = mock.Mock(side_effect=[{"a": 1}, {"b": 2}])
    assert chart_cache.cached(["x", "y"], compute) == {"a": 1}
    assert chart_cache.cached(["x", "y"], compute) == {"a": 1}
    assert chart_cache.cached(["xy"], compute) == {"b": 2}
    assert compute.call_count == 2
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    "private",
    [
        {"kind": "Secret", "data": {"a": "aHVudGVyMjI="}},
        {"kind": "Deployment", "spec": {"env": [{"name": "DB_PASSWORD", "value": "hunter22"}]}},
        {"kind": "ConfigMap", "data": {"grafana.ini": "admin_password = hunter22"}},
    ],
    ids=lambda obj: obj["kind"],
)
def test_no_secret_is_left_in_the_cache(private: dict[str, Any], cache: Path) -> None:
    """Not even under a name that a secret is part of: it is computed each time."""
    compute = mock.Mock(side_effect=[[private], [private]])
    for _run in range(2):
        assert chart_cache.cached(["x"], compute) == [private]
    assert list(cache.iterdir()) == []
    assert chart_cache.cached(["x"], lambda: [{"kind": "ConfigMap"}])
    assert len(list(cache.iterdir())) == 1


def test_cached_survives_a_broken_file(cache: Path) -> None:
    """A file that a full disk cut short is computed anew, and mended."""
    chart_cache.cached(["x"], lambda: [1])
    file = next(cache.iterdir())
    file.write_text("[1")
    assert chart_cache.cached(["x"], lambda: [2]) == [2]
    assert chart_cache.cached(["x"], never) == [2]


def test_documents() -> None:
    """The objects of a manifest; empty documents are none."""
    assert [document["kind"] for document in charts.documents(RENDERED)] == [
        "CustomResourceDefinition",
        "ServiceAccount",
    ]


def test_documents_as_helm_reads_them() -> None:
    """A date, a time and an equals sign are text to helm, and a List is what is in it."""
    text = "kind: A\nat: 12:30\ndate: 2026-11-22\nsign: =\n---\nkind: List\nitems: [{kind: B}, {kind: C}]\n"
    first = {"kind": "A", "at": "12:30", "date": "2026-11-22", "sign": "="}
    assert charts.documents(text) == [first, {"kind": "B"}, {"kind": "C"}]


def test_rendered_once(tmp_path: Path) -> None:
    """Only the kinds that are asked for, and from the cache as long as nothing that goes in changes."""
    helm, chart = FakeHelm(b""), charts.Chart(written(tmp_path / "base"))
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
    newer = FakeHelm(b"")
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
    chart = chart_lookup.find(
        mock.Mock(side_effect=AssertionError), ChartReference(Source(addons), "grafana", "1.31.0", True)
    )
    assert (chart.metadata["name"], chart.metadata["version"]) == ("grafana", "1.31.0")
    assert b"{{ $labels.job }}" in chart.files["manifest.yaml"]
    assert chart.files["templates/manifest.yaml"].count(b"{{") == 1
    assert chart.accepted_values is None


def test_manifest_is_made_once(addons: str, cache: Path) -> None:
    """The same text is the same chart; another text is another, whatever its version says."""
    first = addon_charts.manifest_chart(addons, "grafana", "1.31.0")
    before = first.path.stat().st_mtime_ns
    assert addon_charts.manifest_chart(addons, "grafana", "1.31.0").path == first.path
    assert first.path.stat().st_mtime_ns == before
    Path(addons, "grafana.yaml").write_text("kind: List\n")
    assert addon_charts.manifest_chart(addons, "grafana", "1.31.0").path != first.path
    assert sorted(path.name for path in cache.iterdir() if path.name.startswith("tmp")) == []


def test_manifest_that_is_missing(addons: str) -> None:
    """The file that was looked for is named."""
    with pytest.raises(JobError, match=r"kiali\.yaml cannot be read: No such file"):
        addon_charts.manifest_chart(addons, "kiali", "1.31.0")


def test_manifest_is_fetched_once_for_each_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the URL of its version."""
    asked: list[str] = []

    def answer(url: str, **_options: Any) -> mock.Mock:
        asked.append(url)
        return mock.Mock(read=lambda: b"kind: List\n")

    monkeypatch.setattr(addon_charts, "open_url", answer)
    for version in ("1.31.0", "1.31.0", "1.30.0"):
        addon_charts.manifest_chart(f"https://example.com/{version}/", "kiali", version)
    assert asked == ["https://example.com/1.31.0/kiali.yaml", "https://example.com/1.30.0/kiali.yaml"]


def test_manifest_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL, the cause, and what helps without the internet; the next run tries again."""
    monkeypatch.setattr(addon_charts, "open_url", mock.Mock(side_effect=OSError("no route to host")))
    for _attempt in range(2):
        with pytest.raises(JobError, match=r"no route to host.*istio_helm_addons_repository"):
            addon_charts.manifest_chart("https://example.com", "kiali", "1.31.0")
