# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The helm program: found, run with the credentials of a cluster, and its errors made readable.

Credentials never stand on a command line: helm gets them in a kubeconfig of mode 0600, in a directory of mode 0700 that
lives as long as the task.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import json_for_yaml
from ansible_collections.meshops.istio.plugins.module_utils.connection.connection import program_environment
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm import faults, sources
from ansible_collections.meshops.istio.plugins.module_utils.version_numbers import numbers

#: The name by which helm is told of an HTTP repository for the length of one fetch.
_REPOSITORY = "repository"
#: So many of a repository's versions are named where the wanted one is not there.
_VERSIONS_NAMED = 5

#: The finding that a helm is which is not there, or cannot be run; and those that failures of its verbs are.
MISSING = "helm-missing"
_CODES = {"template": "chart-refused"}
_FIXES = {"template": "Correct the values of the chart in istio_helm_values."}
_ANOTHER = "Set istio_helm_helm_binary to a helm that runs here."
_DIRECTORY = "meshops-istio-private-"
#: Seconds before each further try of what writes nothing.
_PAUSES = (0.5, 1.0, 2.0, 4.0)
#: Helm 4 names each field of a conflict, and each manager after the first, on a line of its own; both majors each value
#: that a chart's schema refuses, below a line with the chart's name.
_GOES_ON = re.compile(r"\n(- |conflicts? with |[\w.-]+:$)", re.MULTILINE)


class HelmError(JobError):
    """helm ended with an error.

    :arg arguments: helm's
    :ivar str words: the error as helm says it
    """

    def __init__(self, arguments: Sequence[str], printed: str) -> None:
        self.words = printed.removeprefix("Error: ")
        code = _CODES.get(arguments[0], "")
        super().__init__(
            f"failed: {printed.rstrip('.') or 'no output'}.",
            object=f"helm {' '.join(arguments[:3])}",
            fix=_FIXES.get(arguments[0], "Correct what helm reports, and run again."),
            code=code,
            quotes=[self.words],
        )

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed within seconds, of a cluster that has answered before."""
        return faults.may_pass(self.words, has_answered=True)


class Helm:
    """A helm binary.

    :arg binary: its path; None or "" to look on PATH
    :raises JobError: there is none, or it cannot be run
    """

    def __init__(self, binary: str | None = None) -> None:
        found = shutil.which(binary or "helm")
        if not found:
            raise JobError(
                f"was not found at {binary}." if binary else "was not found on PATH.",
                object="helm",
                fix="Set istio_helm_helm_binary to the path of a helm binary."
                if binary
                else "Install it, set istio_helm_helm_binary to its path, or let role preflight fetch it: "
                "preflight_fetch_tools: true.",
                code=MISSING,
            )
        self.binary = found
        self._version: str | None = None

    @property
    def version(self) -> str:
        """Its version without the ``v``, as ``4.3.1``. :raises JobError: it cannot say"""
        if self._version is None:
            printed = self._run(["version", "--template", "{{.Version}}"], dict(os.environ), 30).strip()
            match = re.match(r"v?(\d+\.\d+\.\d+\S*)", printed)
            if not match:
                message = f"does not report a Helm version: {printed[:200]!r}."
                raise JobError(message, object=self.binary, fix=_ANOTHER, code=MISSING)
            self._version = match[1]
        return self._version

    @property
    def major(self) -> int:
        """3 or 4."""
        return numbers(self.version)[0]

    def _run(self, arguments: list[str], environment: dict[str, str], timeout: float, stdin: str = "") -> str:
        try:
            # In process there is no AnsibleModule whose run_command could be used.
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                [self.binary, *arguments],
                env=environment,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise JobError(
                f"timed out after {timeout:.0f} s.",
                object=f"helm {arguments[0]}",
                fix="Check the connection to the cluster or the chart repository, and run again.",
            ) from error
        except OSError as error:
            raise JobError(f"cannot be run: {error}.", object=self.binary, fix=_ANOTHER, code=MISSING) from error
        if done.returncode:
            words = _GOES_ON.sub(r" \1", done.stderr.strip()) or done.stdout.strip()
            # Helm 4 logs to stderr beside its error; the error is what counts.
            errors = [line for line in words.splitlines() if line.startswith("Error:")]
            raise HelmError(arguments, (errors or [words])[-1][:2000])
        return done.stdout

    def _read(
        self, arguments: list[str], environment: dict[str, str], timeout: float, stdin: str = "", cluster: bool = True
    ) -> str:
        """Run what writes nothing; try again after what passes by itself.

        :arg cluster: the API server is asked, which has answered before, and not a chart repository
        """
        pauses = iter(_PAUSES)
        while True:
            try:
                return self._run(arguments, environment, timeout, stdin)
            except HelmError as error:
                pause = next(pauses, None)
                if pause is None or not faults.may_pass(error.words, has_answered=cluster):
                    raise
            time.sleep(pause)

    def template(
        self,
        name: str,
        namespace: str,
        chart: Path,
        values: dict[str, Any],
        kube_version: str,
        include_crds: bool = False,
        hooks: bool = True,
        is_upgrade: bool = False,
        api_versions: Iterable[str] = (),
        environment: dict[str, str] | None = None,
    ) -> str:
        """Render a chart.

        :arg include_crds: also what is in the chart's ``crds`` directory, which Helm installs beside the release
        :arg hooks: also what Helm creates at some moments, and keeps apart from the release
        :arg is_upgrade: as helm does where it finds a revision of the release
        :arg api_versions: what the cluster serves beside Kubernetes' own
        :arg environment: of ``credentials``, for a chart that looks objects up; None renders without a cluster
        :returns: YAML documents
        """
        with values_file(values) as path:
            arguments = ["template", name, str(chart), "--namespace", namespace, "--values", path]
            arguments += ["--include-crds"] if include_crds else []
            arguments += [] if hooks else ["--no-hooks"]
            arguments += ["--is-upgrade"] if is_upgrade else []
            arguments += ["--dry-run=server"] if environment is not None else []
            arguments += [part for each in api_versions for part in ("--api-versions", each)]
            return self._read([*arguments, "--kube-version", kube_version], environment or dict(os.environ), 120)

    def pull(self, source: sources.Source, name: str, version: str, into: Path) -> None:
        """Fetch a chart from an HTTP or OCI repository into a directory, where there is a keyring with its provenance.

        :raises ChartError: it cannot be had; says why
        """
        with private_directory() as directory:
            environment = _login(source, directory)
            chart = [
                f"{source.repository.rstrip('/')}/{name}" if source.oci else f"{_REPOSITORY}/{name}",
                *(source.connection if source.oci else []),
            ]
            flags = ["--version", version, "--destination", str(into), *(["--prov"] if source.keyring else [])]
            try:
                if not source.oci:
                    self._add_repository(source, environment)
                self._read(["pull", *chart, *flags], environment, 300, cluster=False)
            except HelmError as error:
                absent = sources.is_absent(error.words)
                versions = self._versions(source, chart, environment) if absent else []
                raise sources.failure(source, name, version, error.words, versions) from error

    def _add_repository(self, source: sources.Source, environment: dict[str, str]) -> None:
        """Fetch an HTTP repository's index, and note the login for what is fetched next."""
        login = ["--username", source.username, "--password-stdin"] if source.username else []
        arguments = ["repo", "add", _REPOSITORY, source.repository, *source.connection, *login]
        self._read(arguments, environment, 300, source.password, cluster=False)

    def _versions(self, source: sources.Source, chart: list[str], environment: dict[str, str]) -> list[str]:
        """Versions of a chart in a repository, newest first; of an OCI registry helm tells only the newest."""
        with contextlib.suppress(JobError, ValueError):
            if source.oci:
                return re.findall(r"(?m)^version: (\S+)", self._run(["show", "chart", *chart], environment, 60))
            found = json.loads(self._run(["search", "repo", *chart, "--versions", "--output", "json"], environment, 60))
            return [item["version"] for item in found if item["name"] == chart[0]][:_VERSIONS_NAMED]
        return []

    def verify(self, archive: Path, keyring: str) -> None:
        """Verify a packaged chart by the provenance that lies beside it.

        :raises HelmError: it is not signed by a key of the keyring, or is not what was signed
        """
        self._run(["verify", str(archive), "--keyring", keyring], dict(os.environ), 60)

    def stored(self, name: str, namespace: str, environment: dict[str, str]) -> dict[str, Any] | None:
        """A release as helm itself tells it: its document without the chart, but for the chart's version.

        :returns: None when there is no such release
        """
        arguments = [name, "--namespace", namespace, "--output", "json"]
        try:
            document = json.loads(self._read(["status", *arguments], environment, 60))
            metadata = json.loads(self._read(["get", "metadata", *arguments], environment, 60))
        except HelmError as error:
            if "not found" in error.words:
                return None
            raise
        return {**document, "chart": {"metadata": {"version": metadata["version"]}}}

    def upgrade(
        self,
        name: str,
        namespace: str,
        chart: Path,
        values: dict[str, Any],
        environment: dict[str, str],
        timeout: float,
        force_conflicts: bool = False,
        take_ownership: bool = False,
        description: str = "",
    ) -> None:
        """Install or upgrade a release with exactly these values; waiting for its objects is not helm's task here.

        :arg float timeout: seconds
        :arg bool force_conflicts: take over fields that other managers hold, instead of stopping there (istio#59367,
            istio#60497); only where Helm applies, from 4 on
        :arg bool take_ownership: make objects that others have made part of the release
        :arg description: of the revision, for ``helm history``
        """
        with values_file(values) as path:
            arguments = ["upgrade", name, str(chart), "--install", "--namespace", namespace, "--reset-values"]
            arguments += ["--force-conflicts"] if force_conflicts else []
            arguments += ["--take-ownership"] if take_ownership else []
            arguments += ["--description", description] if description else []
            self._run([*arguments, "--values", path, "--timeout", f"{timeout:.0f}s"], environment, timeout + 10)

    def dry_run(
        self, name: str, namespace: str, chart: Path, values: dict[str, Any], environment: dict[str, str]
    ) -> dict[str, Any]:
        """The release document that helm would store by an upgrade. Writes nothing.

        :raises HelmError: helm would fail; what others own is no reason, which is looked at elsewhere
        """
        # Without validation: the server's schemas would take seconds, and what is written is dry-run before anyway.
        flags = ["--take-ownership", "--disable-openapi-validation", "--dry-run=server", "--output", "json"]
        with values_file(values) as path:
            arguments = ["upgrade", name, str(chart), "--namespace", namespace, "--reset-values", "--values", path]
            return json.loads(self._read([*arguments, *flags], environment, 120))


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A directory of mode 0700 that is removed at the end, and by a later run when this one is killed.

    It is locked as long as its run lives. The kernel gives up the lock of a process that ends, however it ends, and
    knows one from another where process ids do not: in containers that share the directory above.
    """
    _sweep()
    path, lock = _locked_directory()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _locked_directory() -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_DIRECTORY))
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # taken for one that was left behind, before it could be locked
            continue
        swept = False
        with contextlib.suppress(OSError):  # a file system without locks: then nobody sweeps there
            swept = not _lock(lock) or not path.exists()
        if not swept:
            return path, lock
        os.close(lock)  # another run took it for one that was left behind


def _lock(descriptor: int) -> bool:
    """Lock a directory. :returns: False where another has locked it"""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep() -> None:
    """Remove the directories of runs that were killed: ours by name and owner, and locked by nobody."""
    for path in Path(tempfile.gettempdir()).glob(f"{_DIRECTORY}*"):
        with contextlib.suppress(OSError):
            if path.lstat().st_uid != os.getuid():
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if _lock(descriptor):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def values_file(values: dict[str, Any]) -> Iterator[str]:
    """A private file with Helm values. JSON is YAML to helm."""
    with private_directory() as directory:
        path = directory / "values.json"
        _write_private(path, json_for_yaml(values))
        yield str(path)


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)


def _login(source: sources.Source, directory: Path) -> dict[str, str]:
    """The environment in which helm fetches charts, with all that it writes in a private directory.

    What the user told helm about repositories plays no part. A login to an OCI registry does, where we have none.
    """
    environment = {
        **os.environ,
        "HELM_REPOSITORY_CONFIG": str(directory / "repositories.yaml"),
        "HELM_REPOSITORY_CACHE": str(directory / "repository"),
        "HELM_CONTENT_CACHE": str(directory / "content"),
    }
    if source.oci and source.username:
        path = directory / "registry.json"
        _write_private(path, json.dumps(source.docker_config))
        environment["HELM_REGISTRY_CONFIG"] = str(path)
    return environment


@contextlib.contextmanager
def credentials(cluster: Cluster) -> Iterator[dict[str, str]]:
    """The environment in which helm and istioctl reach the client's cluster, by its way and as its user.

    Token and certificates are written anew whenever the client has new ones: a token of minutes outlives no stage.
    """
    connection = cluster.connection
    with private_directory() as directory:
        path, token = directory / "kubeconfig", directory / "token"

        def write() -> None:
            _replace_private(token, connection.token)
            _replace_private(path, json.dumps(connection.kubeconfig(token)))

        connection.authorization()
        write()
        with connection.followed(write):
            yield program_environment(path)


def _replace_private(path: Path, text: str) -> None:
    """Write a private file at once: a program that reads it meanwhile sees all of it, as it was or as it is."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # of mode 0600
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    Path(name).replace(path)
