# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts of a real registry, over OCI and HTTP: with a login, verified, and refused before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apiserver.conftest import TODAY, bed
from harness.beds import BedCluster
from harness.in_process import options_of, run_job, run_preflight

from ansible_collections.meshops.istio.plugins.module_utils.jobs import crds, releases

KINDS = ("oci", "http")
#: helm, that notes how it was called and by whom.
WATCHED = """#!/bin/sh
printf '%s\\n' "$*" >> {notes}/arguments
env >> {notes}/environment
exec {helm} "$@"
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BedCluster]:
    """Yield an API server of today with a registry beside it."""
    with bed("registry", TODAY, tmp_path_factory.mktemp("home"), "--registry") as found:
        yield found


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a user who has fetched no chart yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/meshops-istio/charts"


@pytest.fixture
def notes(mine: BedCluster, tmp_path: Path) -> Path:
    """Where the watched helm, which lies there too, takes its notes."""
    folder = tmp_path / "notes"
    folder.mkdir()
    program = folder / "helm"
    program.write_text(WATCHED.format(notes=folder, helm=mine.variables["istio_helm_helm_binary"]))
    program.chmod(0o755)
    return folder


def password(mine: BedCluster) -> str:
    """That of the registry's user."""
    return Path(mine.variables["testbed_registry"]["password_file"]).read_text()


def login(mine: BedCluster, kind: str) -> dict[str, Any]:
    """Options that name the registry and let its user in."""
    place = mine.variables["testbed_registry"]
    return {
        "chart_repository": place[kind],
        "chart_repository_username": place["username"],
        "chart_repository_password": password(mine),
        "chart_repository_ca_file": place["ca_file"],
    }


def options(mine: BedCluster, kind: str, **over: Any) -> dict[str, Any]:
    """Options of a run that takes its charts from there, and verifies them by digest and signature."""
    place = mine.variables["testbed_registry"]
    verified = {"chart_keyring": place["keyring"], "chart_digests": place["digests"]}
    return {**options_of(mine.variables), **login(mine, kind), **verified, **over}


def meshed(mine: BedCluster, kind: str, **over: Any) -> dict[str, Any]:
    """The same for a whole mesh."""
    values = mine.variables["istio_helm_values"]
    return options(mine, kind, **{"values": values, "exposure": "NodePort", "wait_for": "nothing", **over})


@pytest.mark.parametrize("kind", KINDS)
def test_charts_with_a_login(mine: BedCluster, kind: str, notes: Path, cache: Path) -> None:
    """Definitions and releases; the second run fetches, renders and verifies nothing, and writes nothing."""
    helm = {"helm_binary": str(notes / "helm")}
    result, _task = run_job(crds, options(mine, kind, **helm))
    assert result.get("msg") is None
    result, _task = run_job(releases, meshed(mine, kind, **helm))
    assert {release["name"] for release in result["releases"]} == {"istio-base", "istiod", "istio-ingressgateway"}
    assert {path.name for path in cache.rglob("*.tgz")} == {
        f"{name}-1.31.0.tgz" for name in ("base", "istiod", "gateway")
    }
    (notes / "arguments").write_text("")
    with mine.asked() as asked:
        for job, given in ((crds, options(mine, kind, **helm)), (releases, meshed(mine, kind, **helm))):
            assert run_job(job, given)[0]["changed"] is False
    assert asked.writes == []
    assert set((notes / "arguments").read_text().splitlines()) <= {"version --template {{.Version}}"}


def test_both_repositories_hold_the_same_charts(mine: BedCluster) -> None:
    """Whoever moves from one to the other upgrades nothing."""
    for kind in KINDS:
        run_job(releases, meshed(mine, kind))
    with mine.asked() as asked:
        for kind in KINDS:
            assert run_job(releases, meshed(mine, kind))[0]["changed"] is False
    assert asked.writes == []


#: What is wrong -> the options that are, and what the message must hold: the chart, the cause, the fix.
WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "a digest of something else": (
        {"chart_digests": dict.fromkeys(("base", "istiod", "gateway"), f"sha256:{'0' * 64}")},
        (
            "Chart base 1.31.0",
            "has the digest sha256:",
            f"but sha256:{'0' * 64} is required",
            "istio_helm_chart_digests",
        ),
    ),
    "no digest of one chart": (
        {"chart_digests": {"istoid": "0" * 64}},
        ("chart_digests: chart ", " has no digest", "istio_helm_chart_digests"),
    ),
    "a keyring that is no keyring": (
        {"chart_keyring": __file__},
        ("Chart base 1.31.0", "cannot be verified with the keys in", "keyring"),
    ),
    "a wrong password": (
        {"chart_repository_password": "hunter22"},
        ("Chart base 1.31.0", "rejects user testbed", "401", "istio_helm_chart_repository_password"),
    ),
    "no login": (
        {"chart_repository_username": None, "chart_repository_password": None},
        ("Chart base 1.31.0", "rejects requests without credentials", "istio_helm_chart_repository_username"),
    ),
    "a CA that nobody knows": (
        {"chart_repository_ca_file": None},
        ("Chart base 1.31.0", "is not trusted", "unknown authority", "istio_helm_chart_repository_ca_file"),
    ),
    "an unknown version": (
        {"chart_version": "9.9.9"},
        ("Chart base 9.9.9 is not in", "Available versions: 1.31.0.", "istio_helm_chart_version"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_input_is_told_before_anything_is_written(mine: BedCluster, wrong: str, kind: str, cache: Path) -> None:
    """One message, by each job that takes charts; no secret in it, nothing kept."""
    given, named = WRONG[wrong]
    with mine.asked() as asked:
        for job, all_options in ((crds, options(mine, kind)), (releases, meshed(mine, kind))):
            result, _task = run_job(job, {**all_options, **given, "namespace": "another"})
            assert result["failed"] is True
            assert [word for word in named if word not in result["msg"]] == [], result["msg"]
            assert "\n" not in result["msg"]
            assert password(mine) not in result["msg"]
            assert "hunter22" not in result["msg"]
    assert asked.writes == []
    assert not list(cache.rglob("*.tgz"))


@pytest.mark.parametrize(
    ("verified", "words"),
    [
        ("chart_digests", "has the digest sha256:"),
        ("chart_keyring", "cannot be verified with the keys in"),
    ],
)
def test_chart_that_somebody_changed_in_the_repository(mine: BedCluster, verified: str, words: str) -> None:
    """Preflight finds it, and so does each role that runs alone; nothing is written."""
    place = mine.variables["testbed_registry"]
    published = Path(place["ca_file"]).with_name("charts") / "base-1.31.0.tgz"
    before = published.read_bytes()
    given = {"chart_digests": {"chart_keyring": None}, "chart_keyring": {"chart_digests": {}}}[verified]
    published.write_bytes(before + bytes(1))  # gzip does not mind, and the chart is as it was; its digest is not
    try:
        with mine.asked() as asked:
            result, _task = run_preflight(options(mine, "http", **given))
            (found,) = [item for item in result["findings"] if item["code"] == "chart-unverified"]
            result, _task = run_job(crds, options(mine, "http", **given))
    finally:
        published.write_bytes(before)
    assert words in found["message"]
    assert result["failed"] is True
    assert words in result["msg"]
    assert asked.writes == []


@pytest.mark.parametrize("kind", KINDS)
def test_password_is_nowhere(mine: BedCluster, kind: str, notes: Path, tmp_path: Path) -> None:
    """Not in the output, however much is shown; on no command line, in no environment; in no file that is left."""
    place = mine.variables["testbed_registry"]
    run = mine.role(
        "crds",
        ansible_verbosity=4,
        istio_helm_helm_binary=str(notes / "helm"),
        istio_helm_chart_repository=place[kind],
        istio_helm_chart_repository_username=place["username"],
        istio_helm_chart_repository_password=password(mine),
        istio_helm_chart_repository_ca_file=place["ca_file"],
        istio_helm_chart_digests=place["digests"],
    ).succeeded()
    assert run.of("istio_crds").status == "ok"
    secret = password(mine)
    assert secret not in run.output
    told = (notes / "arguments").read_text()
    assert f"pull {place['oci']}/base" in told or "pull repository/base" in told
    assert secret not in told
    assert secret not in (notes / "environment").read_text()
    left = [path for path in mine.home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert left == []


def test_registry_without_tls(mine: BedCluster) -> None:
    """Only where it is asked for."""
    place = mine.variables["testbed_registry"]
    given = {"chart_repository": f"oci://{place['plain_address']}/charts", "chart_repository_ca_file": None}
    result, _task = run_job(crds, options(mine, "oci", **given))
    assert "does not speak TLS" in result["msg"]
    assert "istio_helm_chart_repository_plain_http: true" in result["msg"]
    result, _task = run_job(crds, options(mine, "oci", **given, chart_repository_plain_http=True))
    assert result.get("msg") is None


def test_login_of_helms_own(mine: BedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`helm registry login` before the run is enough for an OCI registry."""
    place = mine.variables["testbed_registry"]
    monkeypatch.setenv("HELM_REGISTRY_CONFIG", str(tmp_path / "registry.json"))
    flags = ["--username", place["username"], "--password-stdin", "--ca-file", place["ca_file"]]
    mine.tool("helm", "registry", "login", place["address"], *flags, stdin=password(mine))
    nobody = {"chart_repository_username": None, "chart_repository_password": None}
    result, _task = run_job(crds, options(mine, "oci", **nobody))
    assert result.get("msg") is None
