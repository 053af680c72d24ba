# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract of credentials: action, module, helm and istioctl reach the same server, the same way, as the same user.

Each shape of credentials is tried by all four on API servers that only note who asks. Another server is the default, so
that whoever does not go where the shape says is seen there. A few shapes are tried on a real API server, by its log.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.beds import LOCAL, BedCluster, bed_command
from harness.in_process import run_job
from harness.playbooks import Playbook, environment
from harness.recording import Authority, Recorder, RecordingProxy, RecordingServer, base64_of, kubeconfig, running
from testbed.bed import bin_directory

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm, credentials
from ansible_collections.meshops.istio.plugins.module_utils.jobs import diagnosis
from ansible_collections.meshops.istio.plugins.module_utils.mesh.istioctl import Istioctl

VERSION = "client.authentication.k8s.io/v1"
BATCH = 10
WAYS = ("action", "module", "helm", "istioctl")
HOSTS = {"action": LOCAL, "module": {**LOCAL, "ansible_connection": "as_process"}}
#: Prints what is in a file beside it.
PLUGIN = f"""#!{sys.executable}
import pathlib, sys
print((pathlib.Path(__file__).parent / sys.argv[1]).read_text())
"""
#: A token that is good for two seconds, and the only one that is.
BRIEF = f"""#!{sys.executable}
import datetime, json, pathlib, secrets
token = secrets.token_hex(8)
(pathlib.Path(__file__).parent / "accepted").write_text(token)
expires = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)).isoformat()
status = {{"token": token, "expirationTimestamp": expires}}
print(json.dumps({{"apiVersion": "{VERSION}", "kind": "ExecCredential", "status": status}}))
"""


@dataclass(frozen=True)
class Shape:
    """One way to say which cluster. Words in braces are filled in from the place.

    :ivar dict options: of the module; ``@FILE`` is a kubeconfig as a mapping
    :ivar dict task: ``environment`` of the task
    :ivar dict process: of ansible-playbook
    :ivar str login: that the proxy must have been told
    """

    options: dict[str, Any] = field(default_factory=dict)
    task: dict[str, str] = field(default_factory=dict)
    process: dict[str, str] = field(default_factory=dict)
    server: str = "named"
    user: str = "Bearer named"
    acts_as: tuple[str, ...] = ()
    proxy: str = ""
    login: str = ""


DIRECT = {"host": "{url}", "api_key": "named", "ca_cert": "{folder}/pki/ca.crt"}
JANE = {"client_cert": "../../pki/jane.crt", "client_key": "../../pki/jane.key"}
AWX = {"K8S_AUTH_HOST": "{url}", "K8S_AUTH_API_KEY": "named", "K8S_AUTH_SSL_CA_CERT": "{folder}/pki/ca.crt"}
SHAPES = {
    "nothing": Shape(server="default", user="Bearer default"),
    "kubeconfig by option": Shape({"kubeconfig": "{folder}/named"}),
    "kubeconfig by option, relative": Shape({"kubeconfig": "../../named"}),
    "kubeconfig as a mapping": Shape({"kubeconfig": "@named"}),
    "kubeconfig and context by option": Shape({"kubeconfig": "{folder}/two", "context": "other"}),
    "context of the default file": Shape({"context": "other"}),
    "KUBECONFIG of the task": Shape(task={"KUBECONFIG": "{folder}/named"}),
    "K8S_AUTH_KUBECONFIG of the task": Shape(task={"K8S_AUTH_KUBECONFIG": "{folder}/named"}),
    "K8S_AUTH_KUBECONFIG before KUBECONFIG": Shape(
        task={"K8S_AUTH_KUBECONFIG": "{folder}/named", "KUBECONFIG": "{folder}/two"}
    ),
    "option before K8S_AUTH_KUBECONFIG": Shape(
        {"kubeconfig": "{folder}/named"}, task={"K8S_AUTH_KUBECONFIG": "{folder}/two"}
    ),
    "K8S_AUTH_CONTEXT of the task": Shape(task={"KUBECONFIG": "{folder}/two", "K8S_AUTH_CONTEXT": "other"}),
    "KUBECONFIG of the process": Shape(process={"KUBECONFIG": "{folder}/named"}),
    "KUBECONFIG of the task before the process'": Shape(
        task={"KUBECONFIG": "{folder}/named"}, process={"KUBECONFIG": "{folder}/two"}
    ),
    "K8S_AUTH_KUBECONFIG of the process": Shape(process={"K8S_AUTH_KUBECONFIG": "{folder}/named"}),
    "home of the task": Shape(task={"HOME": "{folder}/elsewhere"}),
    "home of the process": Shape(process={"HOME": "{folder}/elsewhere"}),
    "KUBECONFIG with two files": Shape(task={"KUBECONFIG": "{folder}/half:{folder}/nowhere:{folder}/other-half"}),
    "host and token by options": Shape(DIRECT),
    "token of another user beside a kubeconfig": Shape(
        {"kubeconfig": "{folder}/two", "context": "other", "api_key": "x"}, user="Bearer x"
    ),
    "AWX's credential": Shape(task=AWX),
    "CA by a relative path": Shape({**DIRECT, "ca_cert": "../../pki/ca.crt"}),
    "client certificate by relative paths": Shape({"host": "{url}", "ca_cert": DIRECT["ca_cert"], **JANE}, user="jane"),
    "client certificate in a kubeconfig": Shape({"kubeconfig": "{folder}/inline"}, user="jane"),
    "client certificate beside a kubeconfig": Shape({"kubeconfig": "{folder}/pki/beside"}, user="jane"),
    "token file beside a kubeconfig": Shape({"kubeconfig": "{folder}/token-file"}, user="Bearer from-a-file"),
    "user and password in a kubeconfig": Shape({"kubeconfig": "{folder}/password"}, user="Basic amFuZTpwdw=="),
    "exec plugin with a token": Shape({"kubeconfig": "{folder}/exec-token"}, user="Bearer plugged"),
    "exec plugin with a certificate": Shape({"kubeconfig": "{folder}/exec-certificate"}, user="jane"),
    "TLS that is not verified": Shape({"host": "{url}", "api_key": "named", "validate_certs": False}),
    "plain HTTP, as of kubectl proxy": Shape({"kubeconfig": "{folder}/plain"}, server="plain", user=""),
    "proxy by option": Shape({**DIRECT, "proxy": "{proxy}"}, proxy="proxy"),
    "proxy and no_proxy by option": Shape({**DIRECT, "proxy": "{proxy}", "no_proxy": "127.0.0.0/8"}),
    "proxy with a login": Shape(
        {**DIRECT, "proxy": "{guarded}", "proxy_headers": {"proxy_basic_auth": "jane:p@ss"}},
        proxy="guarded",
        login="Basic amFuZTpwQHNz",
    ),
    "proxy with a login in its URL": Shape(
        DIRECT, task={"HTTPS_PROXY": "{guarded_login}"}, proxy="guarded", login="Basic amFuZTpwQHNz"
    ),
    "HTTPS_PROXY of the task": Shape({"kubeconfig": "{folder}/named"}, task={"HTTPS_PROXY": "{proxy}"}, proxy="proxy"),
    "https_proxy of the process": Shape(
        {"kubeconfig": "{folder}/named"}, process={"https_proxy": "{proxy}"}, proxy="proxy"
    ),
    "HTTPS_PROXY and NO_PROXY": Shape(
        {"kubeconfig": "{folder}/named"}, task={"HTTPS_PROXY": "{proxy}", "NO_PROXY": "127.0.0.1"}
    ),
    "proxy-url of a kubeconfig": Shape({"kubeconfig": "{folder}/proxied"}, proxy="proxy"),
    "proxy-url and NO_PROXY": Shape({"kubeconfig": "{folder}/proxied"}, task={"NO_PROXY": "127.0.0.1"}),
    "impersonation by options": Shape(
        {**DIRECT, "impersonate_user": "joe", "impersonate_groups": ["dev", "ops"]}, acts_as=("joe", "dev", "ops")
    ),
    "impersonation of the environment": Shape(
        task={**AWX, "K8S_AUTH_IMPERSONATE_USER": "joe", "K8S_AUTH_IMPERSONATE_GROUPS": "dev,ops"},
        acts_as=("joe", "dev", "ops"),
    ),
    "impersonation of a kubeconfig": Shape({"kubeconfig": "{folder}/acting"}, acts_as=("joe", "dev")),
}


class Place:
    """Servers, proxies, and the files that shapes name."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.recorder = folder, Recorder()
        self.authority = Authority(folder / "pki")
        self.named = RecordingServer("named", self.recorder, self.authority)
        self.default = RecordingServer("default", self.recorder, self.authority)
        self.plain = RecordingServer("plain", self.recorder, None)
        self.proxy = RecordingProxy("proxy", self.recorder)
        self.guarded = RecordingProxy("guarded", self.recorder)
        self.guarded.login = "Basic amFuZTpwQHNz"
        self.home = folder / "home"
        self.servers = (self.named, self.default, self.plain, self.proxy, self.guarded)
        self.words = {
            "folder": str(folder),
            "url": self.named.url,
            "plain": self.plain.url,
            "proxy": self.proxy.url,
            "guarded": self.guarded.url,
            "guarded_login": self.guarded.url.replace("//", "//jane:p%40ss@"),
        }
        self._write()

    def _write(self) -> None:
        jane = self.authority.issue("jane")
        inline = dict(zip(("client-certificate-data", "client-key-data"), jane.data, strict=True))
        beside = {"client-certificate": jane.certificate.name, "client-key": jane.key.name}
        named, default = (
            self.made(self.named, {"token": "named"}, "other"),
            self.made(self.default, {"token": "default"}),
        )
        two = {**default, **{kind: default[kind] + named[kind] for kind in ("contexts", "clusters", "users")}}
        self.write("named", named)
        for name in ("two", "home/.kube/config"):
            self.write(name, two)
        self.write("elsewhere/.kube/config", named)
        self.write("half", {"clusters": named["clusters"], "users": default["users"]})
        self.write("other-half", {**named, "clusters": default["clusters"]})
        self.write("inline", self.made(self.named, inline))
        self.write("pki/beside", kubeconfig(self.named, beside, {"certificate-authority": "ca.crt"}))
        (self.folder / "token").write_text("from-a-file\n")
        self.write("token-file", self.made(self.named, {"tokenFile": "token"}))
        self.write("password", self.made(self.named, {"username": "jane", "password": "pw"}))
        self.write("plain", kubeconfig(self.plain, {}))
        self.write("proxied", self.made(self.named, {"token": "named"}, **{"proxy-url": self.proxy.url}))
        self.write("acting", self.made(self.named, {"token": "named", "as": "joe", "as-groups": ["dev"]}))
        self.program("plugin", PLUGIN)
        pem = {"clientCertificateData": jane.certificate.read_text(), "clientKeyData": jane.key.read_text()}
        for name, status in (("token", {"token": "plugged"}), ("certificate", pem)):
            answer = {"apiVersion": VERSION, "kind": "ExecCredential", "status": status}
            (self.folder / f"answer-{name}").write_text(json.dumps(answer))
            plugin = {"apiVersion": VERSION, "command": "./plugin", "args": [f"answer-{name}"]}
            self.write(f"exec-{name}", self.made(self.named, {"exec": {**plugin, "interactiveMode": "Never"}}))

    def made(
        self, server: RecordingServer, user: dict[str, Any], context: str = "main", **cluster: str
    ) -> dict[str, Any]:
        """A kubeconfig that trusts the CA."""
        ca = {"certificate-authority-data": base64_of(self.authority.path)}
        return kubeconfig(server, user, {**ca, **cluster}, context)

    def write(self, name: str, content: dict[str, Any]) -> str:
        """Write a kubeconfig. :returns: its path"""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))
        return str(path)

    def program(self, name: str, text: str) -> Path:
        """Write a program."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def filled(self, value: Any) -> Any:
        """A shape's words with what they stand for."""
        if isinstance(value, dict):
            return {key: self.filled(item) for key, item in value.items()}
        if not isinstance(value, str):
            return value
        return yaml.safe_load((self.folder / value[1:]).read_text()) if value[0] == "@" else value.format(**self.words)


def marker(way: str, name: str) -> str:
    """A namespace in which only that way of that shape looks."""
    return f"{way}-{list(SHAPES).index(name)}-x"


@pytest.fixture(scope="module")
def programs() -> Path:
    """Where helm and istioctl are."""
    made = bed_command("tools", "helm", "istioctl")
    assert made.returncode == 0, made.stderr
    return bin_directory()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Yield the servers."""
    found = Place(tmp_path_factory.mktemp("place"))
    with running(*found.servers):
        yield found


@pytest.fixture(scope="module")
def asked(place: Place, programs: Path) -> Recorder:
    """Let all ways of all shapes ask. Returns what was seen."""
    for process, names in batches():
        tasks = [
            {
                "name": name,
                "meshops.istio.istio_diagnosis_info": {
                    **place.filled(shape.options),
                    "namespace": marker("{{ inventory_hostname }}", name),
                },
                "environment": place.filled(shape.task),
            }
            for name, shape in SHAPES.items()
            if name in names
        ]
        play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
        environ = {**place.filled(process), "ANSIBLE_PIPELINING": "true"}
        Playbook(place.home, [play], HOSTS, {}, (), environ).run().succeeded()
    for name, shape in SHAPES.items():
        with surroundings(place, place.filled({**shape.process, **shape.task})):
            ask_by_programs(place.filled(shape.options), programs, name)
    return place.recorder


def batches() -> Iterator[tuple[dict[str, str], list[str]]]:
    """Shapes that one ansible-playbook can try: of one environment, and not too many for its time."""
    processes = {json.dumps(shape.process): shape.process for shape in SHAPES.values()}
    for process in processes.values():
        names = [name for name, shape in SHAPES.items() if shape.process == process]
        yield from ((process, names[start : start + BATCH]) for start in range(0, len(names), BATCH))


@contextlib.contextmanager
def surroundings(place: Place, environ: dict[str, str]) -> Iterator[None]:
    """Be in the environment and the directory in which a task is."""
    folder, before, inside = Path.cwd(), dict(os.environ), environment(place.home, environ)
    (place.home / "folder").mkdir(exist_ok=True)
    (place.home / "tmp").mkdir(exist_ok=True)
    try:
        os.environ.clear()
        os.environ.update(inside)
        os.chdir(place.home / "folder")
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(before)


def ask_by_programs(options: dict[str, Any], programs: Path, name: str) -> None:
    """Let helm and istioctl ask, with what a job would give them."""
    cluster = Cluster(options)
    with credentials(cluster) as environ:
        assert Helm(str(programs / "helm")).stored("x", marker("helm", name), environ) is None
        flags = cluster.connection.acting_flags()
        with contextlib.suppress(JobError, ValueError):  # there is no istiod
            Istioctl(str(programs / "istioctl")).proxy_status(environ, flags, marker("istioctl", name))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SHAPES)
def test_contract(name: str, way: str, asked: Recorder) -> None:
    """The server, the user and the proxy that the shape says, and no other."""
    shape = SHAPES[name]
    seen = {
        (each.server, each.user, each.acts_as, each.proxy)
        for each in asked.seen
        if f"/{marker(way, name)}/" in f"{each.path}/".replace("?", "/")
    }
    assert seen == {(shape.server, shape.user, shape.acts_as, shape.proxy)}


def test_proxies_were_told_the_login(asked: Recorder) -> None:
    """By all ways: who does not say it is refused."""
    assert {login for proxy, login in asked.logins if proxy == "guarded"} == {"Basic amFuZTpwQHNz"}
    assert {login for proxy, login in asked.logins if proxy == "proxy"} == {""}


def test_only_what_is_expected_was_asked(asked: Recorder) -> None:
    """Neither the default cluster nor another user, by a request that names no namespace."""
    expected = {(shape.server, shape.user, shape.acts_as, shape.proxy) for shape in SHAPES.values()}
    assert {(each.server, each.user, each.acts_as, each.proxy) for each in asked.seen} == expected


def test_nothing_is_left_behind(place: Place, asked: Recorder) -> None:
    """No file in the temporary directory."""
    assert [path for path in (place.home / "tmp").rglob("*") if path.is_file()] == []


# -- tokens of seconds -------------------------------------------------------------------------------------------------


def test_token_that_changes_between_stages(tmp_path: Path, programs: Path) -> None:
    """An exec plugin's, good for two seconds, and each call makes the one before invalid; a stage takes longer."""
    place = Place(tmp_path)
    program = place.program("brief", BRIEF)
    accepted = place.folder / "accepted"
    place.named.accepts = lambda token: accepted.exists() and token == accepted.read_text()
    content = place.made(place.named, {"exec": {"apiVersion": VERSION, "command": str(program)}})
    with running(*place.servers):
        cluster = Cluster({"kubeconfig": content})
        with credentials(cluster) as environ:
            for _stage in range(3):
                cluster.version()
                assert Helm(str(programs / "helm")).stored("x", "stage", environ) is None
                subprocess.run(["sleep", "2.2"], check=True)
    assert len({seen.user for seen in place.recorder.seen if "/stage/" in seen.path}) >= 3


# -- exec plugins that fail --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
def test_plugin_that_fails(host: str, tmp_path: Path) -> None:
    """Its command, its words and the fix are the task's message; nothing goes past Ansible, and nobody is asked."""
    place = Place(tmp_path)
    place.program("broken", "#!/bin/sh\necho printed-token; echo 'session has expired' >&2; exit 7\n")
    user = {"exec": {"apiVersion": VERSION, "command": "./broken"}}
    missing = {"exec": {"apiVersion": VERSION, "command": "kubectl-oidc_login"}}
    paths = [place.write(f"k{i}", place.made(place.named, each)) for i, each in enumerate((user, missing))]
    task = {
        "meshops.istio.istio_diagnosis_info": {"kubeconfig": "{{ item }}"},
        "loop": paths,
        "ignore_errors": True,
        "environment": {"PATH": "/usr/bin:/bin"},
    }
    play = {"hosts": "all", "gather_facts": False, "tasks": [task]}
    with running(*place.servers):
        run = Playbook(place.home, [play], {host: HOSTS[host]}, {}).run()
    where = "the control node" if host == "action" else "the target"
    broken, absent = [each["msg"] for each in run.results[-1].data["results"]]
    assert f"./broken of kubeconfig {paths[0]} failed on {where} with exit code 7: session has expired." in broken
    assert f"kubectl-oidc_login of kubeconfig {paths[1]} cannot be run on {where}" in absent
    assert f"Install kubelogin (int128/kubelogin) on {where}" in absent
    assert "printed-token" not in run.output
    assert not [line for line in run.output.splitlines() if line.startswith(("ERROR:root", "session has"))]
    assert place.recorder.seen == []


@pytest.mark.parametrize("host", HOSTS)
def test_tls_that_is_not_verified_is_a_warning_once(host: str, tmp_path: Path) -> None:
    """Of the task's, in our words; nothing of urllib3 on standard error."""
    place = Place(tmp_path)
    options = {"host": place.named.url, "api_key": "not-verified-1", "validate_certs": False}
    play = {"hosts": "all", "gather_facts": False, "tasks": [{"meshops.istio.istio_diagnosis_info": options}] * 2}
    with running(*place.servers):
        run = Playbook(place.home, [play], {host: HOSTS[host]}, {}).run().succeeded()
    words = " ".join(run.output.split())
    assert words.count("TLS verification is off") == 1, run.output
    assert "InsecureRequestWarning" not in run.output


# -- a real API server -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["KUBECONFIG", "AWX's credential", "impersonation"])
def test_on_a_real_api_server(way: str, today: BedCluster, programs: Path, tmp_path: Path) -> None:
    """The API server's own log says who asked: by action, module, helm and istioctl the one who is named."""
    named = "system:serviceaccount:meshops-accounts:named"
    token = today.account("named")
    content = yaml.safe_load(today.kubeconfig.read_text())
    content["users"][0]["user"] = {"token": token}
    path = tmp_path / "named"
    path.write_text(yaml.safe_dump(content))
    environ = {"KUBECONFIG": str(path)} if way == "KUBECONFIG" else today.credential(token)
    options: dict[str, Any] = {}
    if way == "impersonation":
        environ, options = {"KUBECONFIG": str(today.kubeconfig)}, {"impersonate_user": named}
    (today.home / ".kube").mkdir(exist_ok=True)
    (today.home / ".kube/config").write_text(today.kubeconfig.read_text())  # the administrator's is the default
    task = {"meshops.istio.istio_diagnosis_info": options, "environment": environ}
    play = {"hosts": "all", "gather_facts": False, "tasks": [task]}
    for host in HOSTS:
        mark = today.audit.mark()
        today.playbook([play], hosts={host: HOSTS[host]}, istio_kubeconfig=None, istio_context=None).run().succeeded()
        assert askers(today, mark, "meshops.istio") == {named}
    mark = today.audit.mark()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environ.items():
            patched.setenv(name, value)
        result, _task = run_job(diagnosis, {**options, "istioctl_binary": str(programs / "istioctl")})
        assert not result.get("failed"), result
        with credentials(Cluster(options)) as env, contextlib.suppress(JobError):
            Helm(str(programs / "helm")).stored("x", "default", env)
    for agent in ("Helm", "istioctl"):
        assert askers(today, mark, agent) == {named}


def askers(bed: BedCluster, mark: Any, agent: str) -> set[str]:
    """Who asked by a program since then: the impersonated user where there is one."""
    bed.audit.mark()  # waits until what was asked is written
    with bed.audit.path.open() as log:
        log.seek(mark.offset)
        events = [json.loads(line) for line in log]
    asked = [event for event in events if agent in event.get("userAgent", "")]
    return {(event.get("impersonatedUser") or event["user"])["username"] for event in asked}
