# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helm's storage is read as Helm writes it; what is not of that form is never guessed at."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.helm import storage
from ansible_collections.meshops.istio.plugins.module_utils.helm.charts import Chart
from ansible_collections.meshops.istio.plugins.module_utils.helm.storage import (
    Stored,
    UnknownFormat,
    chart_differs,
    decode,
    newest,
    read,
)

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=timezone.utc)
DOCUMENT: dict[str, Any] = {
    "name": "istiod",
    "info": {
        "first_deployed": "2026-11-22T18:50:00.123456789Z",
        "last_deployed": "2026-11-22T19:58:30.123456789Z",
        "deleted": "",
        "status": "deployed",
    },
    "chart": {"metadata": {"name": "istiod", "version": "1.31.0"}, "templates": [], "values": {}, "files": None},
    "config": {"global": {"hub": "example.com/istio"}},
    "manifest": "---\nkind: ConfigMap\n",
    "version": 3,
    "namespace": "istio-system",
}


def packed(document: Any, compress: bool = True) -> str:
    """What a secret's `data.release` holds: Kubernetes' base64 of Helm's base64 of gzip."""
    text = json.dumps(document).encode()
    return base64.b64encode(base64.b64encode(gzip.compress(text) if compress else text)).decode()


class Secrets:
    """A cluster that holds Helm's secrets, and takes note of what it is asked for."""

    def __init__(self, *secrets: tuple[str, str, str]) -> None:
        self.secrets = {(namespace, name): data for namespace, name, data in secrets}
        self.asked: list[tuple[Any, ...]] = []
        self.notes: dict[str, Any] = {}

    def list(self, api_version: str, kind: str, namespace: str, **options: Any) -> list[dict[str, Any]]:
        """Names only."""
        self.asked.append(("list", api_version, kind, namespace, options))
        return [{"metadata": {"name": name}} for place, name in self.secrets if place == namespace]

    def get(self, api_version: str, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """One in full."""
        self.asked.append(("get", api_version, kind, name, namespace))
        data = self.secrets.get((namespace, name))
        meta = {"name": name, "creationTimestamp": "2026-11-22T19:58:30Z", "resourceVersion": "7"}
        return {"metadata": {**meta, **self.notes}, "data": {"release": data}} if data is not None else None


def secret(name: str, revision: int, namespace: str = "istio-system", **given: Any) -> tuple[str, str, str]:
    """One of Helm's secrets."""
    document = {**DOCUMENT, "name": name, "version": revision, **given}
    return namespace, f"sh.helm.release.v1.{name}.v{revision}", packed(document)


@pytest.mark.parametrize("compress", [True, False])
def test_decode(compress: bool) -> None:
    """As Helm 3 and 4 write it; Helm compresses all but what its first versions stored."""
    assert decode(packed(DOCUMENT, compress)) == DOCUMENT


@pytest.mark.parametrize(
    "data",
    [
        "",
        "no base64!",
        base64.b64encode(b"no base64 inside!").decode(),
        base64.b64encode(base64.b64encode(b"\x1f\x8bnot gzip")).decode(),
        base64.b64encode(base64.b64encode(gzip.compress(json.dumps(DOCUMENT).encode())[:-30])).decode(),
        base64.b64encode(base64.b64encode(gzip.compress(b"not json"))).decode(),
        base64.b64encode(base64.b64encode(b"\xff\xfe")).decode(),
        packed([]),
        packed("text"),
        packed(None),
        packed({}),
        packed({"version": 1}),
        packed({"version": 1, "info": {}}),
        packed({"version": 1, "info": {"status": ""}}),
        packed({"version": 1, "info": "deployed"}),
        packed({"version": 0, "info": {"status": "deployed"}}),
        "é",
    ],
    ids=itertools.count(),  # gzip notes the time, and workers of pytest-xdist compare the names of tests
)
def test_unknown_format(data: str) -> None:
    """Every way in which it may be something else is one error, at which helm is asked instead."""
    with pytest.raises(UnknownFormat):
        decode(data)


def test_newest() -> None:
    """Revisions are numbers: 10 is newer than 9; names may hold dots; other secrets are none of ours."""
    names = [
        "sh.helm.release.v1.istiod.v9",
        "sh.helm.release.v1.istiod.v10",
        "sh.helm.release.v1.istiod.v2",
        "sh.helm.release.v1.my.v1.app.v3",
        "sh.helm.release.v2.istiod.v11",
        "sh.helm.release.v1.istiod.vx",
        "istio-ca-secret",
    ]
    assert newest({"metadata": {"name": name}} for name in names) == {"istiod": 10, "my.v1.app": 3}
    assert newest([]) == {}


def test_read() -> None:
    """The newest revision of each release that is there; no request for the others."""
    cluster = Secrets(
        secret("istiod", 1),
        secret("istiod", 3, apply_method="ssa"),
        secret("foreign", 1),
        secret("edge", 1, "edge", config=None, chart=None, manifest=None),
    )
    wanted = [("istio-system", "istiod"), ("istio-system", "istio-base"), ("edge", "edge"), ("edge", "istiod")]
    found = read(cluster, wanted)  # type: ignore[arg-type]
    assert found == {
        ("istio-system", "istiod"): Stored(
            "istiod",
            "istio-system",
            3,
            "deployed",
            DOCUMENT["chart"],
            {"global": {"hub": "example.com/istio"}},
            "---\nkind: ConfigMap\n",
            "2026-11-22T19:58:30Z",
            "ssa",
            "7",
        ),
        ("edge", "edge"): Stored("edge", "edge", 1, "deployed", {}, {}, "", "2026-11-22T19:58:30Z", "", "7"),
    }
    options = {"label_selector": "owner=helm", "metadata_only": True}
    assert sorted(cluster.asked, key=str) == [
        ("get", "v1", "Secret", "sh.helm.release.v1.edge.v1", "edge"),
        ("get", "v1", "Secret", "sh.helm.release.v1.istiod.v3", "istio-system"),
        ("list", "v1", "Secret", "edge", options),
        ("list", "v1", "Secret", "istio-system", options),
    ]


def test_read_of_what_goes_away_meanwhile() -> None:
    """Between list and read somebody uninstalled it."""
    cluster = Secrets(secret("istiod", 1))
    cluster.get = lambda *_arguments: None  # type: ignore[method-assign]
    assert read(cluster, [("istio-system", "istiod")]) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [{"metadata": {}}, {"data": None}, {"data": {"release": "x"}}])
def test_read_of_an_unknown_format(content: dict[str, Any]) -> None:
    """Not taken for a release that is not there."""
    cluster = Secrets(secret("istiod", 1))
    cluster.get = lambda *_arguments: content  # type: ignore[method-assign]
    with pytest.raises(UnknownFormat):
        read(cluster, [("istio-system", "istiod")])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("driver", "expected"),
    [(None, True), ("", True), ("secret", True), ("secrets", True), ("configmap", False), ("sql", False)],
)
def test_in_secrets(driver: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Helm's own names for its default."""
    monkeypatch.delenv("HELM_DRIVER", raising=False)
    if driver is not None:
        monkeypatch.setenv("HELM_DRIVER", driver)
    assert storage.in_secrets() is expected


def test_ask_helm() -> None:
    """Releases that are kept elsewhere, in helm's own words; what helm does not know is not there."""

    class FakeHelm:
        """Knows one release."""

        def stored(self, name: str, namespace: str, environment: dict[str, str]) -> dict[str, Any] | None:
            """As helm status and helm get metadata tell it."""
            assert environment == {"HELM_DRIVER": "sql"}
            return {**DOCUMENT, "version": "3"} if (name, namespace) == ("istiod", "istio-system") else None

    wanted = [("istio-system", "istiod"), ("edge", "istiod")]
    found = storage.ask(FakeHelm(), {"HELM_DRIVER": "sql"}, wanted)  # type: ignore[arg-type]
    assert list(found) == [("istio-system", "istiod")]
    assert found["istio-system", "istiod"].revision == 3
    assert found["istio-system", "istiod"].chart_version == "1.31.0"


class Labelled(Secrets):
    """Secrets with the labels that Helm gives them."""

    def list(self, api_version: str, kind: str, namespace: str, **options: Any) -> list[dict[str, Any]]:
        """Those that went well."""
        assert options["label_selector"] == "owner=helm,name=istiod,status=deployed"
        found = super().list(api_version, kind, namespace, **options)
        texts = {name: decode(data) for (_namespace, name), data in self.secrets.items()}
        return [each for each in found if texts[each["metadata"]["name"]]["info"]["status"] == "deployed"]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["superseded", "deployed"], 2),
        (["superseded", "deployed", "failed"], 2),
        (["deployed", "failed", "failed"], 1),
        (["deployed", "pending-upgrade"], 1),
        (["failed"], 1),
        (["pending-install"], None),
    ],
)
def test_what_helm_upgrades_from(statuses: list[str], expected: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last revision that went well; one that failed at first is gone on from, one that was killed is none."""
    monkeypatch.delenv("HELM_DRIVER", raising=False)
    secrets = [
        secret("istiod", number, info={**DOCUMENT["info"], "status": status})
        for number, status in enumerate(statuses, start=1)
    ]
    newest_one = Stored("istiod", "istio-system", len(statuses), statuses[-1])
    found = storage.upgraded_from(Labelled(*secrets), newest_one)  # type: ignore[arg-type]
    assert (found and found.revision) == expected


def test_secret_of_a_revision() -> None:
    """What is deleted to recover from a killed run is this revision and no other."""
    assert Stored("istiod", "istio-system", 3, "pending-upgrade").secret == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "sh.helm.release.v1.istiod.v3", "namespace": "istio-system"},
    }


@pytest.mark.parametrize("by_helm", ["2026-11-22T19:48:30.1+09:00", "2026-11-22T20:09:50.123456789Z", "yesterday"])
@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["2026-11-22T19:58:30Z"], 90.0),
        (["2026-11-22T19:58:30Z", "2026-11-22T19:58:50Z"], 70.0),  # as of an uninstall: from when it began
        ([], 100.0),
    ],
)
def test_age(written: list[str], expected: float, by_helm: str) -> None:
    """By the API server's notes; helm's own are of the clock of the machine where it ran, and play no part."""
    info = {**DOCUMENT["info"], "status": "pending-upgrade", "last_deployed": by_helm}
    cluster = Secrets(secret("istiod", 1, info=info))
    entries = [{"manager": "Helm", "operation": "Update", "time": time} for time in written]
    cluster.notes = {"creationTimestamp": "2026-11-22T19:58:20Z", "managedFields": entries}
    found = read(cluster, [("istio-system", "istiod")])  # type: ignore[arg-type]
    assert found["istio-system", "istiod"].age(NOW) == expected


def test_age_of_what_helm_told() -> None:
    """Where the form is not known here, the secret itself is looked at for that."""
    told = Stored("istiod", "istio-system", 1, "pending-upgrade")
    assert told.age(NOW) == float("inf")
    assert storage.dated(Secrets(), told).age(NOW) == float("inf")  # type: ignore[arg-type]
    found = storage.dated(Secrets(secret("istiod", 1)), told)  # type: ignore[arg-type]
    assert (found.age(NOW), found.resource_version) == (90.0, "7")


# -- charts ------------------------------------------------------------------------------------------------------------

FILES = {
    "Chart.yaml": "name: istiod\nversion: 1.31.0\n",
    "values.yaml": "pilot:\n  traceSampling: 1.0\n  enabled: true\n",
    "README.md": "read me",
    "templates/deployment.yaml": "kind: Deployment",
    "templates/_helpers.tpl": "{{/* */}}",
    "files/profile-demo.yaml": "a: b",
}


def chart(folder: Path, **changes: str | None) -> Chart:
    """A chart on disk; files that are None are left out."""
    for name, text in {**FILES, **changes}.items():
        if text is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    return Chart(folder)


def kept(name: str, text: str) -> dict[str, str]:
    """A file as Helm stores it."""
    return {"name": name, "data": base64.b64encode(text.encode()).decode()}


def stored(description: str = "Install complete", **given: Any) -> Stored:
    """The same chart as Helm stores it, where numbers have lost their points."""
    content = {
        "metadata": {"name": "istiod", "version": "1.31.0"},
        "templates": [kept(name, text) for name, text in FILES.items() if name.startswith("templates/")],
        "files": [kept("README.md", "read me"), kept("files/profile-demo.yaml", "a: b")],
        "values": {"pilot": {"traceSampling": 1, "enabled": True}},
        **given,
    }
    return Stored("istiod", "istio-system", 1, "deployed", content, description=description)


def differs(before: Stored, after: Chart) -> tuple[str, bool] | None:
    """Words, and whether they are certain."""
    found = chart_differs(before, after)
    return found and (found.words, found.is_certain)


def test_chart_is_the_same(tmp_path: Path) -> None:
    """Chart.yaml and values.yaml are stored in forms of their own."""
    assert differs(stored(), chart(tmp_path)) is None


METADATA = {"name": "istiod", "version": "1.31.0"}


@pytest.mark.parametrize(
    ("changes", "given", "expected"),
    [
        ({}, {"metadata": {**METADATA, "version": "1.30.2"}}, "chart version 1.30.2 -> 1.31.0"),
        ({}, {"metadata": {"name": "istiod"}}, "chart version  -> 1.31.0"),
        ({}, {"metadata": {**METADATA, "name": "pilot"}}, "chart name pilot -> istiod"),
        ({}, {"metadata": {**METADATA, "appVersion": "1.30"}}, "chart appVersion 1.30 -> "),
        (
            {"Chart.yaml": "name: istiod\nversion: 1.10\nappVersion: 1e3\n"},
            {"metadata": {"name": "istiod", "version": "1.1", "appVersion": "999"}},
            "chart appVersion 999 -> 1000",
        ),
    ],
)
def test_chart_is_another(changes: dict[str, str], given: dict[str, Any], expected: str, tmp_path: Path) -> None:
    """What helm list tells of a chart is compared without asking helm, as Helm writes it."""
    assert differs(stored(**given), chart(tmp_path, **changes)) == (expected, True)


@pytest.mark.parametrize(
    ("changes", "given", "expected"),
    [
        ({"templates/deployment.yaml": "kind: DaemonSet"}, {}, "templates/deployment.yaml"),
        ({"templates/deployment.yaml": None}, {}, "templates/deployment.yaml"),
        ({"templates/new.yaml": "kind: Role"}, {}, "templates/new.yaml"),
        ({"files/profile-demo.yaml": "a: c"}, {}, "files/profile-demo.yaml"),
        ({"files/new.yaml": "a: c"}, {}, "files/new.yaml"),
        ({"README.md": None}, {}, "README.md"),
        ({"notes.txt": "kept out", ".helmignore": "notes.txt"}, {}, ".helmignore"),
        ({"charts/sub/Chart.yaml": "name: sub\nversion: 1.0.0\n"}, {}, "charts/sub/Chart.yaml"),
        ({"values.yaml": "pilot:\n  traceSampling: 2\n  enabled: true\n"}, {}, "values.yaml"),
        ({"values.yaml": "pilot: ["}, {}, "values.yaml"),
        ({}, {"values": None}, "values.yaml"),
        ({"values.schema.json": "{}"}, {}, "values.schema.json"),
        ({}, {"schema": base64.b64encode(b"{}").decode()}, "values.schema.json"),
        ({"Chart.yaml": f"{FILES['Chart.yaml']}description: new\n"}, {}, "Chart.yaml"),
        ({"Chart.yaml": f"{FILES['Chart.yaml']}annotations: {{a: 1}}\n"}, {}, "Chart.yaml"),
        ({}, {"metadata": {**METADATA, "deprecated": True}}, "Chart.yaml"),
    ],
)
def test_chart_may_be_another(changes: dict[str, str], given: dict[str, Any], expected: str, tmp_path: Path) -> None:
    """What helm makes of another file only helm can tell."""
    assert differs(stored(**given), chart(tmp_path, **changes)) == (f"chart content: {expected}", False)


@pytest.mark.parametrize(
    "changes",
    [{"Chart.lock": "dependencies: []"}, {"templates/.deployment.yaml.swp": "an editor's"}],
    ids=["lock", "hidden"],
)
def test_files_that_helm_does_not_store(changes: dict[str, str], tmp_path: Path) -> None:
    """They would be different for ever."""
    assert differs(stored(), chart(tmp_path, **changes)) is None


def test_metadata_as_helm_stores_it(tmp_path: Path) -> None:
    """Text, whatever it looks like; empty fields and those that Helm does not know are not stored."""
    text = (
        f"{FILES['Chart.yaml']}annotations: {{a: 1.10, b: yes}}\nkeywords: [1e3]\ndeprecated: true\nhome: ''\nown: 1\n"
    )
    metadata = {**METADATA, "annotations": {"a": "1.1", "b": "true"}, "keywords": ["1000"], "deprecated": True}
    assert differs(stored(metadata=metadata), chart(tmp_path, **{"Chart.yaml": text})) is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a: y\nb: 12:30\nc: 1e3\nd: 0o17\n", {"a": True, "b": "12:30", "c": 1000, "d": 15}),
        ("a: 2026-11-30\n", {"a": "2026-11-30"}),
        ("a: 9007199254740993\nb: 18446744073709551615\n", {"a": 9007199254740992, "b": 1.8446744073709552e19}),
        ("a: 1\n---\nb: 2\n--- # the last\na: 3\n", {"a": 3, "b": 2}),
        ("\ufeffa: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("8080: &x {a: 1}\nb: {<<: *x, c: ~}\n", {"8080": {"a": 1}, "b": {"a": 1, "c": None}}),
        ("# nothing\n", {}),
    ],
)  # fmt: skip
def test_values_as_helm_stores_them(text: str, values: dict[str, Any], tmp_path: Path) -> None:
    """A chart whose values are read as helm reads them is the same."""
    assert differs(stored(values=values), chart(tmp_path, **{"values.yaml": text})) is None


def test_chart_without_files(tmp_path: Path) -> None:
    """Helm writes null for none, and "" for an empty one."""
    bare = chart(tmp_path, **{**dict.fromkeys(FILES), "Chart.yaml": FILES["Chart.yaml"], "templates/a": ""})
    nothing = {"templates": [{"name": "templates/a", "data": None}], "files": None, "values": None}
    assert differs(stored(**nothing), bare) is None


def test_chart_that_a_run_of_ours_installed(tmp_path: Path) -> None:
    """Where the revision says what it was made from nothing is compared, subcharts and ignored files included."""
    ours = chart(tmp_path, **{"charts/sub/Chart.yaml": "name: sub\nversion: 1.0.0\n", ".helmignore": "x", "x": "y"})
    for is_first in (True, False):
        assert differs(stored(storage.description(ours, is_first)), ours) is None
    other = stored(storage.description(ours, is_first=True).replace("sha256:", "sha256:0")[:-1])
    assert differs(other, ours) == ("chart content: .helmignore", False)
    assert stored("Rollback to 2").chart_digest is None
    assert stored(f"{storage.description(ours, is_first=True)}, and more").chart_digest is None


def test_chart_as_helm_tells_it(tmp_path: Path) -> None:
    """Without its content only the version can be compared, and what the revision says it was made from."""
    told = Stored("istiod", "istio-system", 1, "deployed", {"metadata": {"version": "1.31.0"}})
    assert differs(told, chart(tmp_path)) == ("chart content", False)
    told.description = storage.description(chart(tmp_path), is_first=False)
    assert differs(told, chart(tmp_path)) is None
    told.chart = {"metadata": {"version": "1.30.0"}}
    assert differs(told, chart(tmp_path)) == ("chart version 1.30.0 -> 1.31.0", True)
