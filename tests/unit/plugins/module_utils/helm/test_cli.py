# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helm is called as it should be, its errors can be read, and no secret stands where others could see it."""

from __future__ import annotations

import errno
import json
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from harness.playbooks import ROOT

from ansible_collections.meshops.istio.plugins.module_utils.connection.connection import Connection
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm import cli as helm_module
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import (
    Helm,
    HelmError,
    credentials,
    private_directory,
)
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import ChartError, Source

#: Notes what it was given, and says what a test has written down.
PROGRAM = """#!/bin/sh
here=${0%/*}
verb=$1
said() { if [ -f "$here/$verb.$1" ]; then cat "$here/$verb.$1"; else cat "$here/$1" 2>/dev/null; fi; }
for word in "$@"; do printf '%s\\n' "$word"; done > "$here/words"
printf '%s\\n' "$*" >> "$here/calls"
env > "$here/environment"
cat >> "$here/stdin"
for file in "$HELM_REGISTRY_CONFIG" "$HELM_REPOSITORY_CONFIG"; do
  if [ -f "$file" ]; then cp "$file" "$here/login"; stat -c %a "$file" "${file%/*}" > "$here/login-modes"; fi
done
while [ $# -gt 0 ]; do
  if [ "$1" = --values ]; then cp "$2" "$here/values"; stat -c %a "$2" "${2%/*}" > "$here/modes"; fi
  shift
done
said stdout
said stderr >&2
exit "$(said code || echo 0)"
"""
CHART = Path("/charts/istiod")


class Program:
    """A helm that does nothing but take notes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.path = folder / "helm"
        self.path.write_text(PROGRAM)
        self.path.chmod(0o755)

    def says(self, stdout: str = "", stderr: str = "", code: int = 0, verb: str = "") -> None:
        """Set what the next calls, or those of one verb, print, and how they end."""
        for name, text in (("stdout", stdout), ("stderr", stderr), ("code", str(code))):
            (self.folder / (f"{verb}.{name}" if verb else name)).write_text(text)

    @property
    def words(self) -> list[str]:
        """The words of the last call."""
        return (self.folder / "words").read_text().splitlines()

    @property
    def calls(self) -> list[str]:
        """All calls."""
        notes = self.folder / "calls"
        return notes.read_text().splitlines() if notes.exists() else []

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the last call."""
        lines = (self.folder / "environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory with nobody else's files in it, and no HELM_* of whoever runs the tests."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr(helm_module.tempfile, "tempdir", str(path))
    for name in list(os.environ):
        if name.startswith(("HELM_", "K8S_AUTH_")) or name == "KUBECONFIG" or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    return path


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program."""
    return Program(tmp_path / "bin")


@pytest.fixture
def helm(program: Program) -> Helm:
    """A helm that runs it."""
    return Helm(str(program.path))


# -- the program -------------------------------------------------------------------------------------------------------


def test_helm_on_path(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is named."""
    monkeypatch.setenv("PATH", str(program.folder), prepend=os.pathsep)
    for nothing in (None, ""):
        assert Helm(nothing).binary == str(program.path)


def test_helm_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says where it was looked for, and what to do."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JobError) as caught:
        Helm()
    assert str(caught.value).startswith(
        "helm was not found on PATH. Install it, set istio_helm_helm_binary to its path, "
    )
    assert "preflight_fetch_tools: true" in str(caught.value)
    with pytest.raises(JobError, match=f"^helm was not found at {tmp_path}/helm"):
        Helm(f"{tmp_path}/helm")


@pytest.mark.parametrize(
    ("printed", "version", "major"),
    [
        ("v3.17.0", "3.17.0", 3),
        ("v4.3.1\n", "4.3.1", 4),
        ("v4.4.0-rc.1+g5f0c", "4.4.0-rc.1+g5f0c", 4),
        ("3.18.2", "3.18.2", 3),
    ],
)
def test_version(printed: str, version: str, major: int, program: Program, helm: Helm) -> None:
    """As every helm since 3.0 prints it; asked for once."""
    program.says(printed)
    assert (helm.version, helm.major) == (version, major)
    assert program.calls == ["version --template {{.Version}}"]


@pytest.mark.parametrize("printed", ["", "Client: &version.Version{}", "unknown"])
def test_version_that_cannot_be_read(printed: str, program: Program, helm: Helm) -> None:
    """A helm of the guide's own time, or something else of that name."""
    program.says(printed)
    with pytest.raises(JobError, match="does not report a Helm version"):
        _ = helm.version


def test_program_that_cannot_be_run(program: Program) -> None:
    """Such as one for another processor."""
    helm = Helm(str(program.path))
    program.path.write_bytes(b"\x7fELF")
    with pytest.raises(JobError, match=r"helm cannot be run: .*Exec format error"):
        _ = helm.version


def test_program_that_hangs(program: Program) -> None:
    """It is ended at its time limit, and named."""
    program.path.write_text("#!/bin/sh\nexec sleep 9\n")
    with pytest.raises(JobError, match=r"^helm upgrade timed out after 0 s\. Check the connection"):
        Helm(str(program.path))._run(["upgrade"], dict(os.environ), 0.05)


@pytest.mark.parametrize(
    ("stdout", "stderr", "expected"),
    [
        ("", "Error: UPGRADE FAILED: conflict\n", "Error: UPGRADE FAILED: conflict"),
        (
            "",
            'level=WARN msg="unable to find exact version"\nError: INSTALLATION FAILED: x\nlevel=ERROR msg=y\n',
            "Error: INSTALLATION FAILED: x",
        ),
        ("", "Error: first\nError: second\n", "Error: second"),
        (
            "",
            "Error: values don't meet the schema(s) in chart(s):\napp:\n- at '': not allowed\nlevel=WARN\n",
            "Error: values don't meet the schema(s) in chart(s): app: - at '': not allowed",
        ),
        (
            "",
            'Error: x: conflicts with "a":\n- .x\n- .y && object b: conflict with "b": .z\nconflicts with "c":\n'
            "- .v\nlevel=ERROR msg=y",
            'Error: x: conflicts with "a": - .x - .y && object b: conflict with "b": .z conflicts with "c": - .v',
        ),
        (
            "",
            "panic: no Error at the start of a line\nsecond line",
            "panic: no Error at the start of a line\nsecond line",
        ),
        ("told on stdout", " \n", "told on stdout"),
        ("", "", ""),
        ("", "Error: " + "x" * 3000, "Error: " + "x" * 1993),
    ],
)
def test_error_line(stdout: str, stderr: str, expected: str, program: Program, helm: Helm) -> None:
    """Helm 4 logs to stderr beside its error; the error is what counts."""
    program.says(stdout, stderr, 1)
    with pytest.raises(JobError) as caught:
        helm._run(["upgrade", "istiod", str(CHART), "--install"], dict(os.environ), 9)
    said = expected.rstrip(".") or "no output"
    assert caught.value.condition == f"helm upgrade istiod {CHART} failed: {said}."


# -- its verbs ---------------------------------------------------------------------------------------------------------


def test_template(program: Program, helm: Helm) -> None:
    """Rendered without a cluster, for the version of the one that is meant."""
    program.says("kind: ConfigMap\n")
    text = helm.template("istio-base", "istio-system", CHART, {"global": {"hub": "x"}}, "v1.37.2")
    assert text == "kind: ConfigMap\n"
    words = program.words
    values = words[words.index("--values") + 1]
    assert words == [
        *("template", "istio-base", str(CHART), "--namespace", "istio-system"),
        *("--values", values, "--kube-version", "v1.37.2"),
    ]
    assert json.loads((program.folder / "values").read_text()) == {"global": {"hub": "x"}}


def test_template_as_an_upgrade_renders(program: Program, helm: Helm) -> None:
    """Charts ask whether it is one, what the cluster serves, and for objects on it; hooks are no part of a release."""
    environment = {**os.environ, "KUBECONFIG": "/private/kubeconfig"}
    helm.template(
        *("a", "b", CHART, {}, "v1.34.1-gke.200"),
        hooks=False,
        is_upgrade=True,
        api_versions=["monitoring.coreos.com/v1", "x/v1"],
        environment=environment,
    )
    words = program.words
    assert words[words.index("--values") + 2 :] == [
        *("--no-hooks", "--is-upgrade", "--dry-run=server"),
        *("--api-versions", "monitoring.coreos.com/v1", "--api-versions", "x/v1", "--kube-version", "v1.34.1-gke.200"),
    ]
    assert program.environment["KUBECONFIG"] == "/private/kubeconfig"


def test_values_are_private(temporary: Path, program: Program, helm: Helm) -> None:
    """Values may hold passwords: they are in a file that only we can read, on no command line, and gone after."""
    helm.template("a", "b", CHART, {"password": "hunter22"}, "v1.37.2")
    assert (program.folder / "modes").read_text().split() == ["600", "700"]
    assert "hunter22" not in "".join(program.calls)
    assert "hunter22" not in str(program.environment)
    assert list(temporary.iterdir()) == []


def test_values_are_gone_after_a_failure(temporary: Path, program: Program, helm: Helm) -> None:
    """Nothing stays of a call that failed."""
    program.says(code=1)
    with pytest.raises(JobError):
        helm.template("a", "b", CHART, {}, "v1.37.2")
    assert list(temporary.iterdir()) == []


def test_values_that_yaml_reads_as_they_were(program: Program, helm: Helm) -> None:
    r"""Helm reads JSON as YAML, where the pair `\ud83d\ude00` is no character."""
    values = {"labels": {"mood": "😀", "name": "Zoë", "line": "a\nb", "quote": '"'}, "none": None, "yes": True}
    helm.template("a", "b", CHART, values, "v1.37.2")
    text = (program.folder / "values").read_text(encoding="utf-8")
    assert "\\ud83d" not in text
    assert yaml.safe_load(text) == values


OCI, HTTP = "oci://registry.example.com/charts", "https://charts.example.com"
LOGIN = {"username": "jane", "password": "hunter22"}
WANTED = ["--version", "1.31.0", "--destination", "/into"]


def pull(helm: Helm, repository: str, **more: Any) -> None:
    """Fetch a chart."""
    helm.pull(Source(repository, **more), "istiod", "1.31.0", Path("/into"))


@pytest.mark.parametrize(
    ("repository", "more", "words"),
    [
        (OCI, {}, [f"{OCI}/istiod"]),
        (f"{OCI}/", {}, [f"{OCI}/istiod"]),
        (OCI, {"ca_file": "/ca"}, [f"{OCI}/istiod", "--ca-file", "/ca"]),
        (OCI, {"plain_http": True, "ca_file": "/ca"}, [f"{OCI}/istiod", "--plain-http"]),
        (OCI, LOGIN, [f"{OCI}/istiod"]),
    ],
    ids=str,
)
def test_pull_from_a_registry(
    repository: str, more: dict[str, Any], words: list[str], program: Program, helm: Helm
) -> None:
    """One call; the login is no word of it."""
    pull(helm, repository, **more)
    assert program.calls == [" ".join(["pull", *words, *WANTED])]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, []),
        ({"ca_file": "/ca", "plain_http": True}, ["--ca-file", "/ca"]),
        (LOGIN, ["--username", "jane", "--password-stdin"]),
    ],
    ids=str,
)
def test_pull_from_a_repository(more: dict[str, Any], words: list[str], program: Program, helm: Helm) -> None:
    """Its index first, whose password goes in by standard input; the chart then has the login of its repository."""
    pull(helm, HTTP, **more)
    assert program.calls == [
        " ".join(["repo add repository", HTTP, *words]),
        " ".join(["pull repository/istiod", *WANTED]),
    ]
    assert (program.folder / "stdin").read_text() == more.get("password", "")


@pytest.mark.parametrize("repository", [OCI, HTTP])
def test_pull_with_provenance(repository: str, program: Program, helm: Helm) -> None:
    """Fetched here, and verified where the chart is looked at."""
    pull(helm, repository, keyring="/keys.gpg")
    assert program.words[-1] == "--prov"


def test_login_to_a_registry_is_private(temporary: Path, program: Program, helm: Helm) -> None:
    """In a file that only we can read, which no credential helper sees, and which is gone afterwards."""
    pull(helm, OCI, **LOGIN)
    login = json.loads((program.folder / "login").read_text())
    assert login == {"auths": {"registry.example.com": {"auth": "amFuZTpodW50ZXIyMg=="}}}
    assert (program.folder / "login-modes").read_text().split() == ["600", "700"]
    assert "hunter22" not in "".join(program.calls)
    assert "hunter22" not in str(program.environment)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("repository", [OCI, HTTP])
def test_login_is_gone_after_a_failure(repository: str, temporary: Path, program: Program, helm: Helm) -> None:
    """However the fetch ends; and the password is not in its message."""
    program.says(stderr="Error: unexpected status: 401 Unauthorized", code=1)
    with pytest.raises(ChartError) as caught:
        pull(helm, repository, **LOGIN)
    assert "hunter22" not in str(caught.value)
    assert list(temporary.iterdir()) == []


def test_users_own_login_counts_where_we_have_none(
    program: Program, helm: Helm, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`helm registry login` before the run is a login; what helm was told of repositories is not looked at."""
    monkeypatch.setenv("HELM_REGISTRY_CONFIG", "/home/jane/registry.json")
    monkeypatch.setenv("HELM_REPOSITORY_CONFIG", "/home/jane/repositories.yaml")
    pull(helm, OCI)
    assert program.environment["HELM_REGISTRY_CONFIG"] == "/home/jane/registry.json"
    names = ("HELM_REPOSITORY_CONFIG", "HELM_REPOSITORY_CACHE", "HELM_CONTENT_CACHE")
    assert all(program.environment[name].startswith(str(temporary)) for name in names)
    pull(helm, OCI, **LOGIN)
    assert program.environment["HELM_REGISTRY_CONFIG"].startswith(str(temporary))


def test_unknown_version_in_a_repository(program: Program, helm: Helm) -> None:
    """The message has the newest of those that are there."""
    there = [{"name": "repository/istiod", "version": f"1.{minor}.0"} for minor in range(30, 20, -1)]
    there.append({"name": "repository/istiod-remote", "version": "1.4.0"})
    program.says(json.dumps(there), verb="search")
    program.says(
        stderr="Error: chart \"istiod\" matching 1.31.0 not found in repository index. (try 'helm repo update'): "
        "no chart version found for istiod-1.31.0",
        code=1,
        verb="pull",
    )
    with pytest.raises(ChartError) as caught:
        pull(helm, HTTP, **LOGIN)
    assert str(caught.value) == (
        "Chart istiod 1.31.0 is not in https://charts.example.com. Available versions: 1.30.0, 1.29.0, 1.28.0, 1.27.0, "
        "1.26.0. Change istio_helm_chart_version or istio_helm_chart_repository."
    )
    assert program.calls[-1] == "search repo repository/istiod --versions --output json"


def test_unknown_version_in_a_registry(program: Program, helm: Helm) -> None:
    """Of which helm shows only the newest chart."""
    program.says("apiVersion: v2\nname: istiod\nversion: 1.30.0\n", verb="show")
    program.says(stderr="Error: registry.example.com/charts/istiod:1.31.0: not found", code=1, verb="pull")
    words = r"is not in oci://registry\.example\.com/charts\. Available versions: 1\.30\.0\. "
    with pytest.raises(ChartError, match=words):
        pull(helm, OCI, ca_file="/ca")
    assert program.calls[-1] == f"show chart {OCI}/istiod --ca-file /ca"


def test_versions_that_cannot_be_told(program: Program, helm: Helm) -> None:
    """The first failure is the one that counts."""
    program.says(stderr="Error: not found", code=1)
    with pytest.raises(
        ChartError, match=r"is not in oci://registry\.example\.com/charts\. No other version is available"
    ):
        pull(helm, OCI)


def test_verify(program: Program, helm: Helm) -> None:
    """A packaged chart, by the provenance beside it."""
    helm.verify(Path("/charts/base-1.31.0.tgz"), "/keys.gpg")
    assert program.calls == ["verify /charts/base-1.31.0.tgz --keyring /keys.gpg"]
    program.says(stderr="Error: openpgp: signature made by unknown entity", code=1)
    with pytest.raises(HelmError) as caught:
        helm.verify(Path("/charts/base-1.31.0.tgz"), "/keys.gpg")
    assert caught.value.words == "openpgp: signature made by unknown entity"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, []),
        ({"force_conflicts": True}, ["--force-conflicts"]),
        ({"take_ownership": True}, ["--take-ownership"]),
        ({"description": "of a chart"}, ["--description", "of a chart"]),
        ({"force_conflicts": True, "take_ownership": True}, ["--force-conflicts", "--take-ownership"]),
    ],
)
def test_upgrade(how: dict[str, Any], words: list[str], program: Program, helm: Helm) -> None:
    """With exactly these values; what others hold is taken over only when that is said."""
    environment = {**os.environ, "KUBECONFIG": "/private/kubeconfig"}
    helm.upgrade("istiod", "istio-system", CHART, {"a": 1}, environment, 300, **how)
    values = program.words[program.words.index("--values") + 1]
    assert program.words == [
        *("upgrade", "istiod", str(CHART), "--install", "--namespace", "istio-system", "--reset-values"),
        *words,
        *("--values", values, "--timeout", "300s"),
    ]
    assert program.environment["KUBECONFIG"] == "/private/kubeconfig"


def test_reading_is_tried_again(program: Program, helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    """What passes by itself, five times at most; what writes is the business of who knows what was written."""
    assert helm_module._PAUSES == (0.5, 1.0, 2.0, 4.0)
    monkeypatch.setattr(helm_module, "_PAUSES", (0.0, 0.0, 0.0, 0.0))
    program.says(stderr="Error: Get https://192.0.2.1:6443/version: EOF", code=1)
    before = len(program.calls)
    with pytest.raises(HelmError, match="EOF"):
        helm.dry_run("istiod", "istio-system", CHART, {}, dict(os.environ))
    assert len(program.calls) - before == 5
    with pytest.raises(HelmError, match="EOF"):
        helm.upgrade("istiod", "istio-system", CHART, {}, dict(os.environ), 300)
    program.says(stderr="Error: chart requires kubeVersion", code=1)
    with pytest.raises(HelmError, match="kubeVersion"):
        helm.dry_run("istiod", "istio-system", CHART, {}, dict(os.environ))
    assert len(program.calls) - before == 7


def test_dry_run(program: Program, helm: Helm) -> None:
    """What helm would store, by a dry run on the server; what others own is looked at elsewhere."""
    environment = {**os.environ, "KUBECONFIG": "/private/kubeconfig"}
    program.says('{"manifest": "kind: List"}')
    assert helm.dry_run("istiod", "istio-system", CHART, {"a": 1}, environment) == {"manifest": "kind: List"}
    values = program.words[program.words.index("--values") + 1]
    assert program.words == [
        *("upgrade", "istiod", str(CHART), "--namespace", "istio-system", "--reset-values", "--values", values),
        *("--take-ownership", "--disable-openapi-validation", "--dry-run=server", "--output", "json"),
    ]
    assert program.environment["KUBECONFIG"] == "/private/kubeconfig"


def test_stored(tmp_path: Path) -> None:
    """Both calls of helm that tell of a release, put together."""
    program = Program(tmp_path / "stored")
    metadata = shlex.quote(json.dumps({"name": "istiod", "version": "1.31.0"}))
    status = shlex.quote(json.dumps({"name": "istiod", "version": 3, "info": {"status": "deployed"}}))
    program.path.write_text(f'#!/bin/sh\nif [ "$1" = get ]; then echo {metadata}; else echo {status}; fi\n')
    assert Helm(str(program.path)).stored("istiod", "istio-system", dict(os.environ)) == {
        "name": "istiod",
        "version": 3,
        "info": {"status": "deployed"},
        "chart": {"metadata": {"version": "1.31.0"}},
    }


def test_release_that_is_not_stored(program: Program, helm: Helm) -> None:
    """None; any other failure is one."""
    program.says(stderr="Error: release: not found", code=1)
    assert helm.stored("istiod", "istio-system", dict(os.environ)) is None
    assert program.words == ["status", "istiod", "--namespace", "istio-system", "--output", "json"]
    program.says(stderr="Error: Kubernetes cluster unreachable", code=1)
    with pytest.raises(JobError, match="Kubernetes cluster unreachable"):
        helm.stored("istiod", "istio-system", dict(os.environ))


# -- private directories -----------------------------------------------------------------------------------------------


def test_private_directory(temporary: Path) -> None:
    """Ours alone, and gone when the block ends, however it does."""
    with pytest.raises(RuntimeError), private_directory() as path:  # noqa: PT012 - what is held is what comes after
        assert path.parent == temporary
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "file").write_text("")
        raise RuntimeError
    assert list(temporary.iterdir()) == []


_HOLD = """
import sys
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import private_directory
with private_directory() as path:
    (path / "kubeconfig").write_text("")
    print(path.name, flush=True)
    sys.stdin.read()
"""


def holding(temporary: Path) -> tuple[subprocess.Popen[str], str]:
    """Another run with a private directory. :returns: it, and the directory's name"""
    run = subprocess.Popen(
        [sys.executable, "-c", _HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT / "collections")},
    )
    assert run.stdout
    return run, run.stdout.readline().strip()


def test_only_directories_of_dead_runs_are_swept(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed run leaves its directory to the next; those of the living, of others and of other names stay.

    Process ids play no part: containers that share the directory above count their own.
    """
    (living, alive), (killed, left_behind) = holding(temporary), holding(temporary)
    others = [f"meshops-istio-cache-{os.getuid()}", "meshops-istio-notes", "other-private-abc"]
    for name in others:
        (temporary / name).mkdir()
    killed.kill()
    killed.wait()
    with private_directory() as own, private_directory() as second:
        assert {path.name for path in temporary.iterdir()} == {own.name, second.name, alive, *others}
    living.communicate("", timeout=30)
    assert {path.name for path in temporary.iterdir()} == set(others)
    (temporary / left_behind).mkdir()
    stranger = os.getuid() + 1
    monkeypatch.setattr(helm_module.os, "getuid", lambda: stranger)
    with private_directory():
        assert (temporary / left_behind).exists()


def test_link_is_not_followed(temporary: Path, tmp_path: Path) -> None:
    """Whoever may write beside our directories may not have others' swept."""
    (tmp_path / "precious").mkdir()
    (temporary / "meshops-istio-private-x").symlink_to(tmp_path / "precious")
    with private_directory():
        assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("opened", [True, False])
def test_directory_that_is_swept_before_it_is_locked(
    opened: bool, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run, or another thread, comes in between: there is a second one."""
    real, made = helm_module.tempfile.mkdtemp, []

    def mkdtemp(prefix: str) -> str:
        made.append(real(prefix=prefix))
        if len(made) == 1 and not opened:
            Path(made[0]).rmdir()
        return made[-1]

    def lock(descriptor: int, _how: int) -> None:
        if len(made) == 1:
            Path(made[0]).rmdir()

    monkeypatch.setattr(helm_module.tempfile, "mkdtemp", mkdtemp)
    monkeypatch.setattr(helm_module.fcntl, "flock", lock)
    with private_directory() as path:
        assert (str(path), path.is_dir()) == (made[1], True)


def test_file_system_without_locks(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work goes on, and nobody's directory is swept."""

    def flock(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(helm_module.fcntl, "flock", flock)
    (temporary / "meshops-istio-private-x").mkdir()
    with private_directory() as path:
        assert path.is_dir()
    assert [each.name for each in temporary.iterdir()] == ["meshops-istio-private-x"]


# -- credentials -------------------------------------------------------------------------------------------------------


def cluster(**options: Any) -> Any:
    """What credentials() looks at in a Cluster."""
    return SimpleNamespace(connection=Connection({"host": "https://192.0.2.1:6443", "api_key": "token-1", **options}))


def test_credentials_are_private(temporary: Path) -> None:
    """A kubeconfig and a token that nobody else can read, and neither in the environment."""
    with credentials(cluster()) as environment:
        path = Path(environment["KUBECONFIG"])
        assert path.is_relative_to(temporary)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
        assert "token-1" not in str(environment)
        user = json.loads(path.read_text())["users"][0]["user"]
        assert Path(user["tokenFile"]).read_text() == "token-1"
    assert list(temporary.iterdir()) == []


def test_credentials_are_gone_after_a_failure(temporary: Path) -> None:
    """However the task ends."""
    with pytest.raises(JobError), credentials(cluster()):
        raise JobError("helm failed")
    assert list(temporary.iterdir()) == []


def test_no_other_cluster_and_no_other_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the user's shell would lead helm to another cluster than ours, or by another way."""
    for name in ("HELM_KUBECONTEXT", "HELM_KUBETOKEN", "HELM_KUBEAPISERVER", "K8S_AUTH_API_KEY", "KUBECONFIG"):
        monkeypatch.setenv(name, "other")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HELM_CACHE_HOME", "/cache")
    with credentials(cluster(no_proxy="192.0.2.1")) as environment:
        left = [name for name in environment if name.upper().endswith("PROXY") or name.startswith(("HELM_K", "K8S_"))]
        assert left == []
        assert "proxy-url" not in Path(environment["KUBECONFIG"]).read_text()
        assert (environment["HELM_CACHE_HOME"], environment["PATH"]) == ("/cache", os.environ["PATH"])


def test_token_is_renewed_while_helm_is_at_work(tmp_path: Path) -> None:
    """A token of minutes outlives no stage: what the client has anew, helm's next call and a running one get too."""
    token = tmp_path / "token"
    token.write_text("first")
    user = {"tokenFile": str(token)}
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443"}}],
        "users": [{"name": "c", "user": user}],
    }
    found: Any = SimpleNamespace(connection=Connection({"kubeconfig": config}))
    with credentials(found) as environment:
        path = json.loads(Path(environment["KUBECONFIG"]).read_text())["users"][0]["user"]["tokenFile"]
        assert Path(path).read_text() == "first"
        token.write_text("second")
        assert found.connection.authorization() == "Bearer second"
        assert Path(path).read_text() == "second"
    found.connection.authorization()  # nothing is written any more, where nothing is
