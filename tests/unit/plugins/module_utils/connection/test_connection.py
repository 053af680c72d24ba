# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options and environment lead to one server, by one way, as one user, and a contradiction is said."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from harness.recording import Authority, base64_of
from kubernetes.config import incluster_config

from ansible_collections.meshops.istio.plugins.module_utils.connection import connection
from ansible_collections.meshops.istio.plugins.module_utils.connection.connection import Connection
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

HOST = "https://192.0.2.1:6443"
DIRECT = {"host": HOST, "api_key": "token-1"}
PROXY = "http://127.0.0.1:3128"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a kubeconfig, an environment without a cluster and a proxy, a temporary directory of its own."""
    for name in list(os.environ):
        if name.startswith(("K8S_AUTH_", "KUBE")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    path, temporary = tmp_path / "home", tmp_path / "temporary"
    path.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA."""
    return Authority(tmp_path_factory.mktemp("pki"))


def config(server: str = HOST, user: dict[str, Any] | None = None, name: str = "c", **cluster: Any) -> dict[str, Any]:
    """A kubeconfig of one context."""
    return {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": {"server": server, **cluster}}],
        "users": [{"name": name, "user": user or {}}],
    }


def written(path: Path, content: dict[str, Any]) -> str:
    """A kubeconfig in a file. :returns: its path"""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


def told(found: Connection) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cluster and user of the kubeconfig that helm and istioctl get."""
    document = found.kubeconfig(Path("/token"))
    assert (document["apiVersion"], document["kind"], document["current-context"]) == ("v1", "Config", "context")
    return document["clusters"][0]["cluster"], document["users"][0]["user"]


# -- which cluster -----------------------------------------------------------------------------------------------------


def test_kubeconfig_of_the_moment(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBECONFIG as it is now, not as it was when a library was imported; and the home as it is now."""
    written(home / ".kube/config", config("https://default.example"))
    assert Connection({}).host == "https://default.example"
    monkeypatch.setenv("KUBECONFIG", written(tmp_path / "named", config("https://named.example")))
    assert Connection({}).host == "https://named.example"
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    written(tmp_path / "elsewhere/.kube/config", config("https://elsewhere.example"))
    assert Connection({}).host == "https://elsewhere.example"


def test_option_before_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in kubernetes.core: option, K8S_AUTH_KUBECONFIG, KUBECONFIG."""
    for name in ("a", "b", "c"):
        written(tmp_path / name, config(f"https://{name}.example"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "c"))
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", str(tmp_path / "b"))
    assert Connection({"kubeconfig": str(tmp_path / "a")}).host == "https://a.example"
    assert Connection({}).host == "https://b.example"


def test_several_files(tmp_path: Path) -> None:
    """The first entry of a name counts; what one lacks, another may have; a file that is not there does not count."""
    one = config("https://one.example", {"token": "one"}, "x")
    two = config("https://two.example", {"token": "two"}, "x")
    two["contexts"].append({"name": "mixed", "context": {"cluster": "x", "user": "two"}})
    two["users"].append({"name": "two", "user": {"token": "mixed"}})
    paths = os.pathsep.join([str(tmp_path / "none"), written(tmp_path / "1", one), written(tmp_path / "2", two)])
    found = Connection({"kubeconfig": paths})
    assert (found.host, found.token) == ("https://one.example", "one")
    found = Connection({"kubeconfig": paths, "context": "mixed"})
    assert (found.host, found.token) == ("https://one.example", "mixed")


def test_several_current_contexts(tmp_path: Path) -> None:
    """kubectl takes the first, kubernetes.core the last: neither is taken. With a context, either file will do."""
    names = ("one", "two")
    paths = os.pathsep.join(written(tmp_path / name, config(f"https://{name}.example", name=name)) for name in names)
    with pytest.raises(JobError, match=r"several current contexts: one in .*, two in .*istio_context"):
        Connection({"kubeconfig": paths})
    for name in names:
        assert Connection({"kubeconfig": paths, "context": name}).host == f"https://{name}.example"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"current-context": "nowhere"}, r"it has no context nowhere \(available: c\)"),
        ({"clusters": []}, r"it has no cluster c \(available: none\)"),
        ({"users": [{"name": "d"}]}, r"it has no user c \(available: d\)"),
        ({"current-context": ""}, "it has no current context"),
    ],
    ids=str,
)
def test_kubeconfig_that_is_broken(broken: dict[str, Any], words: str, tmp_path: Path) -> None:
    """The message names the file, what it lacks, and what it has."""
    path = written(tmp_path / "k", {**config(), **broken})
    with pytest.raises(JobError, match=f"No usable credentials for a cluster in kubeconfig {path}: {words}"):
        Connection({"kubeconfig": path})


@pytest.mark.parametrize("content", [None, "", "- a", "{", "just words"])
def test_file_that_is_no_kubeconfig(content: str | None, tmp_path: Path) -> None:
    """Not there, empty, or something else."""
    path = tmp_path / "k"
    if content is not None:
        path.write_text(content)
    with pytest.raises(JobError, match=f"No usable credentials for a cluster in kubeconfig {path}"):
        Connection({"kubeconfig": str(path)})


@pytest.mark.parametrize("options", [{"kubeconfig": ""}, {"kubeconfig": {}}, {"context": ""}], ids=str)
def test_empty_name(options: dict[str, Any], home: Path) -> None:
    """A variable that came out empty must not lead to the default cluster."""
    written(home / ".kube/config", config())
    with pytest.raises(JobError, match=f"^{next(iter(options))} is set but empty, so it selects no cluster"):
        Connection(options)


@pytest.mark.parametrize("name", ["KUBECONFIG", "K8S_AUTH_KUBECONFIG", "K8S_AUTH_CONTEXT"])
def test_empty_name_in_the_environment(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor an environment variable that did; where host and token are given, it does not matter."""
    written(home / ".kube/config", config())
    monkeypatch.setenv(name, "")
    with pytest.raises(JobError, match="is set but empty, so it selects no cluster"):
        Connection({})
    assert Connection(DIRECT).host == HOST


@pytest.mark.parametrize("more", [{}, {"K8S_AUTH_API_KEY": "t"}], ids=["host", "host and token"])
@pytest.mark.parametrize("how", ["kubeconfig", "context"])
def test_option_against_environment(
    how: str, more: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubeconfig that is named, and AWX's credential for another cluster: kubernetes.core goes to the latter."""
    path = written(tmp_path / "k", config("https://named.example"))
    monkeypatch.setenv("KUBECONFIG", path)
    for name, value in {"K8S_AUTH_HOST": "https://awx.example", **more}.items():
        monkeypatch.setenv(name, value)
    options = {"kubeconfig": path} if how == "kubeconfig" else {"context": "c"}
    with pytest.raises(JobError, match=f"{how}: the task's cluster is https://named.example, but K8S_AUTH_HOST"):
        Connection(options)
    monkeypatch.setenv("K8S_AUTH_HOST", "https://named.example/")
    assert Connection(options).host == "https://named.example"
    assert Connection({**options, "host": "https://option.example"}).host == "https://option.example"


# -- a pod's service account -------------------------------------------------------------------------------------------


@pytest.fixture
def service_account(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pod's service account. Returns the file with its token."""
    token = tmp_path / "sa-token"
    token.write_text("sa-1")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority.path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.9")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return token


def test_service_account(service_account: Path, authority: Authority, home: Path) -> None:
    """In a pod, and nothing named: its own cluster, as in kubernetes.core; what is named comes first."""
    written(home / ".kube/config", config("https://default.example"))
    found = Connection({})
    assert (found.host, found.token) == ("https://192.0.2.9:443", "sa-1")
    server, user = told(found)
    assert server["certificate-authority"] == str(authority.path)
    assert user == {"tokenFile": "/token"}
    assert Connection({"context": "c"}).host == "https://default.example"


def test_service_account_against_kubeconfig(
    service_account: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KUBECONFIG names a cluster, which kubernetes.core would pass over."""
    path = written(tmp_path / "k", config())
    monkeypatch.setenv("KUBECONFIG", path)
    with pytest.raises(JobError, match="KUBECONFIG is set, but this task runs in a pod"):
        Connection({})
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", path)
    assert Connection({}).host == HOST


# -- as whom -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "header", "as_told"),
    [
        ({"token": "t"}, "Bearer t", {"tokenFile": "/token"}),
        ({"username": "jane", "password": "p:w"}, "Basic amFuZTpwOnc=", {"username": "jane", "password": "p:w"}),
        ({}, "", {}),
        ({"token": "t", "exec": {"command": "/nonexistent"}}, "Bearer t", {"tokenFile": "/token"}),
        (
            {"token": "t", "as": "jane", "as-groups": ["dev"], "as-uid": "7", "as-user-extra": {"a/b": ["c"]}},
            "Bearer t",
            {"tokenFile": "/token", "as": "jane", "as-groups": ["dev"], "as-uid": "7", "as-user-extra": {"a/b": ["c"]}},
        ),
    ],
    ids=str,
)
def test_user(user: dict[str, Any], header: str, as_told: dict[str, Any]) -> None:
    """The client and helm are the same one."""
    found = Connection({"kubeconfig": config(user=user)})
    assert found.authorization() == header
    assert told(found)[1] == as_told


def test_impersonation() -> None:
    """An option's comes before the kubeconfig's, which kubernetes.core leaves out and helm does not."""
    kubeconfig = config(user={"token": "t", "as": "jane", "as-groups": ["dev"], "as-user-extra": {"a/b": ["c"]}})
    found = Connection({"kubeconfig": kubeconfig})
    assert found.impersonation == {
        "Impersonate-User": "jane",
        "Impersonate-Group": ["dev"],
        "Impersonate-Extra-a%2Fb": ["c"],
    }
    with pytest.raises(JobError, match="istioctl cannot impersonate a user with extra attributes"):
        found.acting_flags()
    found = Connection({**DIRECT, "impersonate_user": "joe", "impersonate_groups": ["dev", "ops"]})
    assert found.acting_flags() == ["--as=joe", "--as-group=dev", "--as-group=ops"]
    found = Connection({"kubeconfig": kubeconfig, "impersonate_user": "joe"})
    assert found.impersonation == {"Impersonate-User": "joe"}
    assert told(found)[1] == {"tokenFile": "/token", "as": "joe"}


def test_option_before_the_kubeconfigs_user() -> None:
    """A token that is named is the one that is sent."""
    found = Connection({"kubeconfig": config(user={"token": "file"}), "api_key": "option"})
    assert (found.authorization(), found.token) == ("Bearer option", "option")


def test_user_with_a_password() -> None:
    """username and password of the options, which the kubernetes client takes and does not send."""
    found = Connection({"host": HOST, "username": "jane", "password": "pw"})
    assert found.authorization() == "Basic amFuZTpwdw=="
    assert told(found)[1] == {"username": "jane", "password": "pw"}


def test_token_file(tmp_path: Path) -> None:
    """Beside its kubeconfig, and read again."""
    (tmp_path / "token").write_text("first\n")
    found = Connection({"kubeconfig": written(tmp_path / "k", config(user={"tokenFile": "token"}))})
    assert found.authorization() == "Bearer first"
    (tmp_path / "token").write_text("second\n")
    assert (found.authorization(), found.token) == ("Bearer second", "second")
    (tmp_path / "token").unlink()
    with pytest.raises(JobError, match=f"The token file {tmp_path}/token cannot be read"):
        found.authorization()


def test_login_that_came_before_exec_plugins() -> None:
    """`auth-provider: oidc`: the kubernetes client's own code; its token, without an expiry, is sent as it is."""
    part = base64.urlsafe_b64encode(b"{}").decode().rstrip("=")
    token = f"{part}.{part}.x"
    user = {"auth-provider": {"name": "oidc", "config": {"id-token": token}}}
    found = Connection({"kubeconfig": config(user=user)})
    assert (found.authorization(), told(found)[1]) == (f"Bearer {token}", {"tokenFile": "/token"})


# -- certificates ------------------------------------------------------------------------------------------------------


def test_certificates_in_a_kubeconfig_need_no_files(authority: Authority, tmp_path: Path) -> None:
    """The kubernetes client writes them into the temporary directory, where those of forked workers stay."""
    certificate, key = authority.issue("jane").data
    ca = base64_of(authority.path)
    user = {"client-certificate-data": certificate, "client-key-data": key}
    found = Connection({"kubeconfig": config(user=user, **{"certificate-authority-data": ca})})
    assert list((tmp_path / "temporary").iterdir()) == []
    assert told(found) == ({"server": HOST, "certificate-authority-data": ca}, user)


def test_certificates_where_files_in_memory_are_unknown(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On other systems than Linux, for as long as it takes to read them."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    certificate, key = authority.issue("jane").data
    Connection({"kubeconfig": config(user={"client-certificate-data": certificate, "client-key-data": key})})
    assert list((tmp_path / "temporary").iterdir()) == []


def test_paths_of_a_kubeconfig_are_beside_it(authority: Authority, tmp_path: Path) -> None:
    """For helm, whose kubeconfig is elsewhere."""
    pair = authority.issue("jane")
    folder = authority.folder
    user = {"client-certificate": pair.certificate.name, "client-key": pair.key.name}
    path = written(folder / "k", config(user=user, **{"certificate-authority": "ca.crt"}))
    server, user = told(Connection({"kubeconfig": path}))
    assert server == {"server": HOST, "certificate-authority": str(authority.path)}
    assert user == {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}


def test_paths_of_options_are_where_the_task_is(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the client sees them."""
    pair = authority.issue("jane")
    monkeypatch.chdir(authority.folder)
    options = {"ca_cert": "ca.crt", "client_cert": pair.certificate.name, "client_key": pair.key.name}
    server, user = told(Connection({"host": HOST, **options}))
    assert server["certificate-authority"] == str(authority.path)
    assert user == {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ca_cert": "/nonexistent/ca"}, "The CA /nonexistent/ca cannot be read: No such file"),
        ({"client_cert": "/nonexistent/c", "client_key": "/k"}, "/nonexistent/c and /k cannot be used: No such file"),
    ],
    ids=str,
)
def test_certificates_that_are_missing(options: dict[str, str], words: str) -> None:
    """Known before anything is asked."""
    with pytest.raises(JobError, match=words):
        Connection({**DIRECT, **options})


def test_tls_that_is_not_verified(recwarn: pytest.WarningsRecorder) -> None:
    """One warning of the task's, and no CA for helm, which refuses one beside the opt-out."""
    said: list[str] = []
    token = connection.WARN.set(said.append)
    found = Connection({**DIRECT, "validate_certs": False, "ca_cert": "/nonexistent"})
    Connection(DIRECT)
    Connection({**DIRECT, "host": "http://192.0.2.1", "validate_certs": False})
    connection.WARN.reset(token)
    assert told(found)[0] == {"server": HOST, "insecure-skip-tls-verify": True}
    (words,) = said
    assert words.startswith(f"TLS verification is off: the certificate of the API server {HOST} is not checked")


def test_plain_http() -> None:
    """Over which helm sends no credentials: what our client may do with some, helm would do as nobody."""
    open_to_all = {
        **config("http://127.0.0.1:8001"),
        "users": [],
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
    }
    assert told(Connection({"kubeconfig": open_to_all})) == ({"server": "http://127.0.0.1:8001"}, {})
    with pytest.raises(JobError, match="helm and istioctl send no credentials to http://127"):
        told(Connection({"host": "http://127.0.0.1:8001", "api_key": "t"}))


def test_name_in_the_certificate() -> None:
    """By which it is checked."""
    found = Connection({"kubeconfig": config(**{"tls-server-name": "kubernetes.default"})})
    assert told(found)[0]["tls-server-name"] == "kubernetes.default"


# -- by which way ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        ({}, {}, None),
        ({"proxy": PROXY}, {}, PROXY),
        ({}, {"HTTPS_PROXY": PROXY}, PROXY),
        ({}, {"https_proxy": PROXY}, PROXY),
        ({}, {"HTTP_PROXY": PROXY}, None),
        ({}, {"K8S_AUTH_PROXY": PROXY}, PROXY),
        ({"proxy": PROXY, "no_proxy": "192.0.2.0/24"}, {}, None),
        ({"proxy": PROXY, "no_proxy": "192.0.3.0/24"}, {}, PROXY),
        ({"proxy": PROXY}, {"K8S_AUTH_NO_PROXY": "192.0.2.1"}, None),
        ({}, {"HTTPS_PROXY": PROXY, "NO_PROXY": "192.0.2.1"}, None),
        ({}, {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
        ({}, {"HTTPS_PROXY": "http://jane:p%40ss@127.0.0.1:3128"}, "http://jane:p%40ss@127.0.0.1:3128"),
        ({"proxy": PROXY, "proxy_headers": {"proxy_basic_auth": "jane:p@ss"}}, {}, "http://jane:p%40ss@127.0.0.1:3128"),
        ({"proxy": PROXY}, {"K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH": "a:b"}, "http://a:b@127.0.0.1:3128"),
        ({"proxy": "https://127.0.0.1:3129"}, {}, "https://127.0.0.1:3129"),
    ],
    ids=str,
)
def test_proxy(
    options: dict[str, Any], environment: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Helm is told the one that the client uses, with its login, or none."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = Connection({**DIRECT, **options})
    assert told(found)[0].get("proxy-url") == expected
    kubeconfig = connection.program_environment(Path("/k"))
    assert not [name for name in kubeconfig if name.upper().endswith("_PROXY")]


def test_proxy_of_a_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which NO_PROXY takes back for the kubernetes client, though not for kubectl: both go the client's way."""
    kubeconfig = config(**{"proxy-url": PROXY})
    assert told(Connection({"kubeconfig": kubeconfig}))[0]["proxy-url"] == PROXY
    monkeypatch.setenv("NO_PROXY", "192.0.2.1")
    assert "proxy-url" not in told(Connection({"kubeconfig": kubeconfig}))[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"proxy_headers": {"basic_auth": "a:b"}}, "proxy_headers: helm and istioctl cannot send basic_auth to"),
        ({"proxy_headers": {"user_agent": "x"}}, "proxy_headers: helm and istioctl cannot send user_agent to"),
        ({"proxy": "ftp://jane:secret-1@127.0.0.1:1"}, "The proxy ftp://127.0.0.1:1 cannot be used"),
        ({"proxy": "127.0.0.1:3128"}, "The proxy 127.0.0.1:3128 cannot be used"),
    ],
    ids=str,
)
def test_proxy_that_helm_cannot_use(options: dict[str, Any], words: str) -> None:
    """Nothing is lost in silence, and no login is shown."""
    with pytest.raises(JobError, match=words) as caught:
        Connection({**DIRECT, "proxy": PROXY, **options}).check()
    assert "secret-1" not in str(caught.value)
    Connection({**DIRECT, **options, "proxy": None, "no_proxy": "*"}).check()  # where none is used, it does not matter
