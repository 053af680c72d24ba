# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An exec plugin is asked in Kubernetes' own words, again before its token expires, and its failure is told."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.connection import exec_plugin
from ansible_collections.meshops.istio.plugins.module_utils.connection.exec_plugin import ExecPlugin
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

ONE, TWO, PRINTED = "token-1", "token-2", "printed-token"  # made up
VERSION = "client.authentication.k8s.io/v1"
CLUSTER = {"server": "https://192.0.2.1:6443", "certificate-authority-data": "Y2E="}
#: Notes how it was called, and says what a test has written down.
PROGRAM = f"""#!{sys.executable}
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "calls").open("a") as calls:
    told = [os.environ.get(name) for name in ("KUBERNETES_EXEC_INFO", "OWN")]
    calls.write(json.dumps([sys.argv[1:], os.getcwd(), *told]) + "\\n")
sys.stderr.write((here / "stderr").read_text())
sys.stdout.write((here / "stdout").read_text())
sys.exit(int((here / "code").read_text()))
"""


class Plugin:
    """A plugin's program, and what it is to say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "plugin"
        self.path.write_text(PROGRAM)
        self.path.chmod(0o755)
        self.says(token=ONE)

    def says(self, stderr: str = "", code: int = 0, text: str | None = None, **status: Any) -> None:
        """Set what the next calls answer."""
        answer = {"apiVersion": VERSION, "kind": "ExecCredential", "status": status}
        for name, content in (("stdout", text or json.dumps(answer)), ("stderr", stderr), ("code", str(code))):
            (self.folder / name).write_text(content)

    @property
    def calls(self) -> list[list[Any]]:
        """Its calls: arguments, directory, what it was told of the cluster, a variable."""
        notes = self.folder / "calls"
        return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []

    def made(self, **spec: Any) -> ExecPlugin:
        """What is tested."""
        given = {"apiVersion": VERSION, "command": str(self.path), **spec}
        return ExecPlugin(given, CLUSTER, str(self.folder), "/k", "the control node")


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    """A program."""
    return Plugin(tmp_path)


def in_seconds(seconds: float) -> str:
    """A moment as plugins write it."""
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def test_how_it_is_asked(plugin: Plugin) -> None:
    """Arguments, environment, the kubeconfig's directory, and never at a terminal."""
    made = plugin.made(args=["get-token", 7], env=[{"name": "OWN", "value": "x"}])
    assert made.credential().token == ONE
    ((arguments, folder, info, own),) = plugin.calls
    assert (arguments, folder, own) == (["get-token", "7"], str(plugin.folder), "x")
    assert json.loads(info) == {"apiVersion": VERSION, "kind": "ExecCredential", "spec": {"interactive": False}}


def test_program_beside_the_kubeconfig(plugin: Plugin) -> None:
    """A path relative to it."""
    assert plugin.made(command="./plugin").credential().token == ONE


def test_it_is_told_of_the_cluster_if_it_asks(plugin: Plugin) -> None:
    """`provideClusterInfo`."""
    plugin.made(provideClusterInfo=True).credential()
    assert json.loads(plugin.calls[0][2])["spec"]["cluster"] == CLUSTER


def test_it_is_asked_once_until_the_token_is_about_to_expire(plugin: Plugin) -> None:
    """One without an expiry is good until it is refused."""
    made = plugin.made()
    assert [made.credential().token for _time in range(3)] == [ONE] * 3
    assert len(plugin.calls) == 1
    plugin.says(token=TWO)
    made.forget("another one")
    assert made.credential().token == ONE
    made.forget("token-1")
    assert made.credential().token == TWO


@pytest.mark.parametrize(
    ("left", "calls"),
    [(3600, 1), (0.01, 3), (-10, 3)],
    ids=["an hour left", "none left", "expired when it came"],
)
def test_expiry(plugin: Plugin, left: float, calls: int) -> None:
    """Not for each request of a token's last minutes, but before it ends."""
    plugin.says(token=ONE, expirationTimestamp=in_seconds(left))
    made = plugin.made()
    for _time in range(3):
        made.credential()
    assert len(plugin.calls) == calls


def test_token_of_minutes_is_renewed_after_half_of_them(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five minutes: a program that reads it a minute later still has a good one."""
    plugin.says(token=ONE, expirationTimestamp=in_seconds(300))
    made = plugin.made()
    made.credential()
    now = datetime.now(timezone.utc)
    for minutes, calls in ((2.4, 1), (2.6, 2)):
        later = SimpleNamespace(now=lambda _zone, _passed=minutes: now + timedelta(minutes=_passed))
        with monkeypatch.context() as patched:
            patched.setattr(
                exec_plugin, "datetime", SimpleNamespace(now=later.now, fromisoformat=datetime.fromisoformat)
            )
            made.credential()
        assert len(plugin.calls) == calls


def test_renewal_that_fails_in_time(plugin: Plugin) -> None:
    """The token that is still good is used as long as it is."""
    plugin.says(token=ONE, expirationTimestamp=in_seconds(2))
    made = plugin.made()
    made.credential()
    made._renewal = datetime.now(timezone.utc)
    plugin.says(stderr="no network", code=1)
    assert made.credential().token == ONE
    made._credential = exec_plugin.Credential("token-1", None, datetime.now(timezone.utc))
    with pytest.raises(JobError, match="no network"):
        made.credential()


@pytest.mark.parametrize(
    "moment", ["2036-01-02T03:04:05Z", "2036-01-02T03:04:05.123456789Z", "2036-01-02T04:04:05+01:00"]
)
def test_moments(plugin: Plugin, moment: str) -> None:
    """As Go and others write them."""
    plugin.says(token=ONE, expirationTimestamp=moment)
    assert plugin.made().credential().expires == datetime(2036, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def test_certificate(plugin: Plugin) -> None:
    """In place of a token."""
    plugin.says(clientCertificateData="CERT", clientKeyData="KEY")
    assert plugin.made().credential().certificate == ("CERT", "KEY")


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "hint", "words"),
    [
        ("aws", None, "Install the AWS CLI on the control node, in the PATH of this task."),
        ("unheard-of", None, "Install the program on the control node"),
        ("kubelogin", "brew install\nkubelogin", "in the PATH of this task. brew install kubelogin"),
    ],
)
def test_program_that_is_missing(command: str, hint: str | None, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is, where it is missing, and what brings it along."""
    monkeypatch.setenv("PATH", "/nonexistent")
    made = ExecPlugin(
        {"apiVersion": VERSION, "command": command, "installHint": hint}, {}, "", "/k", "the control node"
    )
    with pytest.raises(JobError) as caught:
        made.credential()
    assert f"The exec plugin {command} of kubeconfig /k cannot be run on the control node: No such file" in str(
        caught.value
    )
    assert words in str(caught.value)


def test_program_that_fails(plugin: Plugin, capfd: pytest.CaptureFixture[str]) -> None:
    """Its own words, in the task's message alone; neither arguments nor what it printed, nor a secret of its own."""
    plugin.says(stderr="\nError: session of s3cr3t-1\n has expired.\n", code=3, token=PRINTED)
    env = [{"name": "CLIENT_SECRET", "value": "s3cr3t-1"}, {"name": "PROFILE", "value": "expired"}]
    with pytest.raises(JobError) as caught:
        plugin.made(args=["--client-secret", "s3cr3t-2"], env=env).credential()
    assert str(caught.value) == (
        f"The exec plugin {plugin.path} of kubeconfig /k failed on the control node with exit code 3: Error: session "
        "of ******** has expired. Run it there as this task's user and in its environment."
    )
    assert capfd.readouterr() == ("", "")


def test_program_that_hangs(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a person at a browser, which nobody is."""
    monkeypatch.setattr(exec_plugin, "SECONDS", 0.5)
    plugin.path.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(JobError, match=r"did not answer within 0 s on the control node\. Log in before the run"):
        plugin.made().credential()


@pytest.mark.parametrize(
    "text",
    ["", "secret-token", "[]", "{}", '{"status": {}}', '{"apiVersion": "x", "status": null}']
    + [
        json.dumps({"apiVersion": VERSION, "status": status})
        for status in ({}, {"clientCertificateData": "secret-token"})
    ]
    + [json.dumps({"apiVersion": VERSION, "status": {"token": "secret-token", "expirationTimestamp": "soon"}})]
    + [json.dumps({"apiVersion": VERSION + "beta1", "status": {"token": "secret-token"}})],
)
def test_answers_that_are_none(plugin: Plugin, text: str) -> None:
    """A message, in which no word of the answer is."""
    plugin.says(text=text or "\n")
    with pytest.raises(
        JobError, match=f"The exec plugin {plugin.path} of kubeconfig /k (?:returned|did not return)"
    ) as caught:
        plugin.made().credential()
    assert "secret-token" not in str(caught.value)


@pytest.mark.parametrize("spec", [{"command": ""}, {"apiVersion": None}], ids=str)
def test_kubeconfig_that_lacks_something(plugin: Plugin, spec: dict[str, Any]) -> None:
    """The kubeconfig is named."""
    with pytest.raises(JobError, match="in kubeconfig /k lacks command or apiVersion"):
        plugin.made(**spec).credential()
