# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which cluster, by which way, as whom: one answer for the client, helm and istioctl.

Options, K8S_AUTH_* and their precedence are kubernetes.core's. What it leaves to the moment when the kubernetes client
was imported (KUBECONFIG), to temporary files (certificates in a kubeconfig) or to chance (which context, where several
files name one) is decided here. The environment is that of the task: the process' own in a module, and what the action
has put there in the controller.
"""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.exec_plugin import ExecPlugin

try:
    import kubernetes
    import urllib3

    # Private names, on purpose: the public get_api_client() also starts discovery, which costs two reads and a file
    # of a predictable name in a shared directory. A unit test holds that they are there.
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import (
        _create_auth_spec,
        _create_configuration,
        _create_headers,
    )
    from kubernetes.config.kube_config import KubeConfigMerger

    KUBERNETES_IMPORT_ERROR: Exception | None = None
except ImportError as error:
    KUBERNETES_IMPORT_ERROR = error

#: Of the task that asks: where it runs, and how its user is warned.
RUNS_ON: ContextVar[str] = ContextVar("runs_on", default="this machine")
WARN: ContextVar[Callable[[str], None]] = ContextVar("warn", default=lambda _text: None)

_DEFAULT = "~/.kube/config"
_FIX = (
    "Set kubeconfig and context, or host and api_key, or the K8S_AUTH_* environment variables of kubernetes.core "
    "(variables istio_kubeconfig and istio_context of the roles)."
)
#: With one of these, kubernetes.core reads no kubeconfig.
_DIRECT = (("username", "password", "host"), ("api_key", "host"), ("cert_file", "key_file", "host"))
#: Schemes of proxies, by what kubeconfigs call them.
_PROXY_SCHEMES = {"http": "http", "https": "https", "socks5": "socks5", "socks5h": "socks5"}
_EXTRA = "Impersonate-Extra-"
#: Variables by which helm and istioctl would find a proxy of their own, or another cluster.
_FOREIGN = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "KUBECONFIG")


def _unusable(cause: str, source: str = "") -> JobError:
    where = f" in kubeconfig {source}" if source else ""
    return JobError(f"No usable credentials for a cluster{where}: {cause.rstrip('.')}. {_FIX}")


# -- a kubeconfig ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """What a kubeconfig says in one context.

    :ivar str source: the kubeconfig, as messages name it
    :ivar dict cluster: with absolute paths
    :ivar dict user: with absolute paths, but for its exec plugin
    :ivar str folder: of the user's file
    """

    source: str
    cluster: dict[str, Any]
    user: dict[str, Any]
    folder: str = ""

    @property
    def ca(self) -> bytes | str | None:
        """PEM, or the path of a file."""
        return _data_or_path(self.cluster, "certificate-authority")

    @property
    def certificate(self) -> tuple[bytes | str, bytes | str] | None:
        """Client certificate and key, each as PEM or the path of a file."""
        found = [_data_or_path(self.user, name) for name in ("client-certificate", "client-key")]
        return (found[0], found[1]) if found[0] and found[1] else None


def _data_or_path(entry: dict[str, Any], name: str) -> bytes | str | None:
    data = entry.get(f"{name}-data")
    return base64.b64decode(data) if data else entry.get(name)


def choose(kubeconfig: str | dict[str, Any], context: str | None) -> Chosen:
    """Read one context of a kubeconfig.

    :arg kubeconfig: its content, or its path, or several, as KUBECONFIG has them
    :arg context: None for the current one
    :raises JobError: there is no such kubeconfig or context, or files name several
    """
    if isinstance(kubeconfig, dict):
        source, files = "of the task's options", {"": kubeconfig}
    else:
        source, files = kubeconfig, _files(kubeconfig)
    current = {str(each["current-context"]): path for path, each in files.items() if each.get("current-context")}
    if context is None and len(current) > 1:
        named = ", ".join(f"{name} in {path}" for name, path in current.items())
        raise JobError(
            f"The kubeconfig {source} has several current contexts: {named}. kubectl takes the first, kubernetes.core "
            "the last. Name the context: istio_context of the roles, context of a module, or K8S_AUTH_CONTEXT."
        )
    wanted = context or next(iter(current), None)
    if wanted is None:
        raise _unusable("it has no current context, and none is named", source)
    _path, chosen = _entry(files, "context", wanted, source)
    cluster_path, cluster = _entry(files, "cluster", chosen.get("cluster"), source)
    user_path, user = _entry(files, "user", chosen["user"], source) if chosen.get("user") else ("", {})
    folder = str(Path(user_path).parent.absolute()) if user_path else ""
    return Chosen(
        source,
        _absolute(cluster, cluster_path, ("certificate-authority",)),
        _absolute(user, user_path, ("client-certificate", "client-key", "tokenFile")),
        folder,
    )


def _files(paths: str) -> dict[str, dict[str, Any]]:
    """The files' contents by their paths; those that are not there do not count, as for kubectl."""
    try:
        found = KubeConfigMerger(paths).config_files
    except Exception as error:  # of YAML, of the file system, and of the client, about the same: the file
        raise _unusable(str(error), paths) from error
    if not found:
        raise _unusable("there is no such file", paths)
    return found


def _entry(files: dict[str, dict[str, Any]], kind: str, name: Any, source: str) -> tuple[str, dict[str, Any]]:
    """The first entry of that name, and the file that has it."""
    names = []
    for path, content in files.items():
        for item in content.get(kind + "s") or []:
            if item.get("name") == name:
                return path, item.get(kind) or {}
            names.append(str(item.get("name")))
    raise _unusable(f"it has no {kind} {name} (it has: {', '.join(names) or 'none'})", source)


def _absolute(entry: dict[str, Any], path: str, names: tuple[str, ...]) -> dict[str, Any]:
    """An entry whose paths, relative to its file, lead there from anywhere."""
    folder = Path(path).parent
    return {**entry, **{name: str((folder / entry[name]).absolute()) for name in names if entry.get(name)}}


# -- as whom -----------------------------------------------------------------------------------------------------------


class User:
    """A kubeconfig's user: who asks, by a header or a certificate.

    :ivar bool renews: whether asking anew may help where the API server accepts a token no more
    """

    def __init__(self, chosen: Chosen, auth: dict[str, Any]) -> None:
        self._user = user = chosen.user
        self.certificate = chosen.certificate
        self._plugin: ExecPlugin | None = None
        self._provider: Any = None
        if "auth-provider" in user:
            self._provider = self._of_provider(auth, chosen)
        elif user.get("exec") and not user.get("token") and not user.get("tokenFile"):
            self._plugin = ExecPlugin(user["exec"], _cluster_info(chosen), chosen.folder, chosen.source, RUNS_ON.get())

    @staticmethod
    def _of_provider(auth: dict[str, Any], chosen: Chosen) -> Any:
        """The kubernetes client's own code for logins that came before exec plugins; it may write the file again."""
        configuration = kubernetes.client.Configuration()
        kubeconfig = auth.get("kubeconfig") or chosen.source
        options = {"context": auth.get("context"), "client_configuration": configuration}
        with tempfile.TemporaryDirectory(prefix="meshops-istio-") as folder:
            options["temp_file_path"] = folder
            if isinstance(kubeconfig, dict):
                kubernetes.config.load_kube_config_from_dict(kubeconfig, **options)
            else:
                persist = {"persist_config": auth.get("persist_config")}
                kubernetes.config.load_kube_config(kubeconfig, **options, **persist)
        return configuration

    def authorization(self) -> str:
        """The value of the header, renewed if it is about to expire; "" where none is needed.

        :raises JobError: it cannot be had
        """
        if self._provider is not None:
            return _bearer_of(self._provider)
        if self._user.get("token"):
            return f"Bearer {self._user['token']}"
        if self._user.get("tokenFile"):
            return f"Bearer {_read(self._user['tokenFile'], 'token file').strip()}"
        if self._plugin:
            found = self._plugin.credential()
            pem = found.certificate
            self.certificate = (pem[0].encode(), pem[1].encode()) if pem else self.certificate
            return f"Bearer {found.token}" if found.token else ""
        return basic(self._user.get("username"), self._user.get("password"))

    def renews(self, refused: str) -> bool:
        """Whether it can ask for a token anew, which is done the next time. :arg refused: the header's value"""
        if self._plugin:
            self._plugin.forget(refused.partition(" ")[2])
        return self._plugin is not None

    @property
    def impersonation(self) -> dict[str, Any]:
        """Headers of those whom the kubeconfig acts as, which the kubernetes client leaves out and helm does not."""
        user = self._user
        found = {
            "Impersonate-User": user.get("as"),
            "Impersonate-Uid": user.get("as-uid"),
            "Impersonate-Group": user.get("as-groups"),
            **{_EXTRA + quote(key, safe=""): value for key, value in (user.get("as-user-extra") or {}).items()},
        }
        return {name: value for name, value in found.items() if value}


def _cluster_info(chosen: Chosen) -> dict[str, Any]:
    """A cluster as exec plugins are told of it."""
    cluster = chosen.cluster
    told = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression")
    found = {name: cluster[name] for name in told if name in cluster}
    if chosen.ca:
        pem = chosen.ca if isinstance(chosen.ca, bytes) else _read(chosen.ca, "CA").encode()
        found["certificate-authority-data"] = base64.b64encode(pem).decode()
    for extension in cluster.get("extensions") or []:
        if extension.get("name") == "client.authentication.k8s.io/exec":
            found["config"] = extension.get("extension")
    return found


def basic(username: str | None, password: str | None) -> str:
    """The header of a user with a password; "" where there is none."""
    if not username or not password:
        return ""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _bearer_of(configuration: Any) -> str:
    """What the kubernetes client would send; its own hook renews what it has."""
    return (configuration.auth_settings().get("BearerToken") or {}).get("value") or ""


def _read(path: str, what: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"The {what} {path} cannot be read: {error}.") from error


# -- the connection ----------------------------------------------------------------------------------------------------


class Connection:
    """The way to one API server, and who asks.

    :ivar configuration: the kubernetes client's, as kubernetes.core makes it
    :ivar pool: urllib3's, through the proxy if one is used
    :ivar dict impersonation: headers
    :arg dict params: kubernetes.core's options, by their names there
    :arg int size: of the pool
    :raises JobError: no credentials, or several that contradict each other
    """

    def __init__(self, params: dict[str, Any], size: int = 1) -> None:
        self._auth = _create_auth_spec(None, **params)
        chosen = _chosen(params, self._auth)
        self.configuration = _configuration(self._auth, chosen)
        self._user = User(chosen, self._auth) if chosen else None
        self._ca = self.configuration.ssl_ca_cert or (chosen.ca if chosen else None)
        self.impersonation: dict[str, Any] = _create_headers(None, **params)
        if self._user and not self.impersonation:
            self.impersonation = self._user.impersonation
        self._followers: list[Callable[[], None]] = []
        self._sent = self._current()  # a plugin that fails says so now, and one that has certificates gives them
        self._context = self._tls()
        self._loaded: Any = None
        self._load_certificate()
        self.pool = self._pool(size)
        if not self.verifies_tls:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # which would be on stderr
            WARN.get()(
                f"TLS verification is off: the certificate of the API server {self.host} is not checked, so that "
                "anybody on the way can read the token. Give its CA by ca_cert (K8S_AUTH_SSL_CA_CERT) or in the "
                "kubeconfig."
            )

    @property
    def host(self) -> str:
        """URL of the API server."""
        return self.configuration.host.rstrip("/")

    @property
    def verifies_tls(self) -> bool:
        """False when the server's certificate is not checked, and the connection is TLS."""
        return bool(self.configuration.verify_ssl) or urlsplit(self.host).scheme != "https"

    # -- who asks -----------------------------------------------------------------------------------------------------

    def _current(self) -> str:
        """The header as it is to be now: of an option or a service account, of a kubeconfig's user, by a password."""
        value = _bearer_of(self.configuration)
        if not value and self._user:
            value = self._user.authorization()
        return value or basic(self._auth.get("username"), self._auth.get("password"))

    def authorization(self) -> str:
        """The value of the header Authorization, renewed when due; "" for none.

        :raises JobError: it cannot be renewed
        """
        value = self._current()
        if value != self._sent or self._certificate != self._loaded:
            self._sent = value
            self._load_certificate()
            for follow in list(self._followers):
                follow()
        return value

    def renew(self) -> bool:
        """Ask for a token anew, as the API server accepts this one no more. :returns: whether that can help"""
        return bool(not self._auth.get("api_key") and self._user and self._user.renews(self._sent))

    @contextlib.contextmanager
    def followed(self, write: Callable[[], None]) -> Iterator[None]:
        """Call a function after each change of token or certificate, while a block runs."""
        self._followers.append(write)
        try:
            yield
        finally:
            self._followers.remove(write)

    @property
    def _certificate(self) -> tuple[bytes | str, bytes | str] | None:
        """Client certificate and key: an option's before the kubeconfig's, one by one, as in kubernetes.core."""
        own = (self._user.certificate if self._user else None) or ("", "")
        certificate, key = self.configuration.cert_file or own[0], self.configuration.key_file or own[1]
        return (certificate, key) if certificate and key else None

    # -- by which way -------------------------------------------------------------------------------------------------

    def _tls(self) -> Any:
        """What a TLS connection is checked by; None for plain HTTP."""
        if urlsplit(self.host).scheme != "https":
            return None
        if not self.configuration.verify_ssl:
            return urllib3.util.create_urllib3_context(cert_reqs=ssl.CERT_NONE)
        context = urllib3.util.create_urllib3_context()
        try:
            if isinstance(self._ca, bytes):
                context.load_verify_locations(cadata=self._ca.decode())
            elif self._ca:
                context.load_verify_locations(cafile=str(self._ca))
            else:
                context.load_default_certs()
        except (OSError, ValueError) as error:
            name = "in the kubeconfig" if isinstance(self._ca, bytes) else self._ca
            raise JobError(
                f"The CA {name} cannot be read: {_reason(error)}. Correct ca_cert or the kubeconfig."
            ) from error
        return context

    def _load_certificate(self) -> None:
        """Let the next connections show the client certificate."""
        found = self._certificate
        if self._context is None or found is None or found == self._loaded:
            return
        try:
            with _as_file(found[0]) as certificate, _as_file(found[1]) as key:
                self._context.load_cert_chain(certificate, key, password="")  # none may ask at the terminal for one
        except OSError as error:
            names = " and ".join("in the kubeconfig" if isinstance(each, bytes) else str(each) for each in found)
            raise JobError(
                f"The client certificate {names} cannot be used: {_reason(error)}. It takes a certificate and its key, "
                "unencrypted: correct client_cert and client_key, or the kubeconfig."
            ) from error
        if self._loaded is not None:
            self.pool.clear()  # connections that showed the one before
        self._loaded = found

    def _pool(self, size: int) -> Any:
        """The kubernetes client's own pool, whose work proxies are, with certificates that need no files."""
        configuration = self.configuration
        configuration.connection_pool_maxsize = size
        configuration.retries = False
        login = urlsplit(configuration.proxy or "")
        headers = {name.lower(): value for name, value in (configuration.proxy_headers or {}).items()}
        if login.username and "proxy-authorization" not in headers:  # as Go does, and urllib3 does not
            text = f"{unquote(login.username)}:{unquote(login.password or '')}"
            headers.update(urllib3.util.make_headers(proxy_basic_auth=text))
        configuration.proxy_headers = headers
        if self._ca:
            configuration.proxy_ssl_context = self._tls()
        try:
            pool = kubernetes.client.rest.RESTClientObject(configuration).pool_manager
        except (urllib3.exceptions.HTTPError, ValueError, ImportError) as error:
            raise JobError(
                f"The proxy {_without_login(configuration.proxy)} cannot be used: {error}. Correct proxy "
                "(K8S_AUTH_PROXY), HTTPS_PROXY or the kubeconfig's proxy-url."
            ) from error
        for name in ("ca_certs", "ca_cert_data", "cert_file", "key_file"):
            pool.connection_pool_kw.pop(name, None)
        if self._context is not None:
            pool.connection_pool_kw["ssl_context"] = self._context
        return pool

    def proxy_url(self) -> str | None:
        """The proxy that is used, as a kubeconfig names it, with its login; None where none is.

        :raises JobError: it is used in a way that no kubeconfig can say
        """
        if self.pool.proxy is None and not hasattr(self.pool, "proxy_url"):
            return None
        given = urlsplit(self.configuration.proxy)
        scheme = _PROXY_SCHEMES.get(given.scheme.lower())
        if scheme is None:
            raise JobError(
                f"The proxy {_without_login(self.configuration.proxy)} is one that helm and istioctl cannot use. They "
                "know http, https and socks5."
            )
        address = given.netloc.rpartition("@")[2]
        if scheme == "socks5":
            return f"{scheme}://{given.netloc}"
        headers = dict(self.configuration.proxy_headers)
        kind, _space, login = headers.pop("proxy-authorization", "").partition(" ")
        if headers or (kind and kind.lower() != "basic"):
            names = ", ".join(
                sorted({"user-agent": "user_agent", "authorization": "basic_auth"}.get(n, n) for n in headers)
            )
            raise JobError(
                f"proxy_headers: {names or 'proxy-authorization'} cannot be handed to helm and istioctl, which would "
                "ask the proxy without. Leave it out; proxy_basic_auth alone can be."
            )
        if not login:
            return f"{scheme}://{address}"
        user, _colon, password = base64.b64decode(login).decode("latin-1").partition(":")
        return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{address}"

    # -- for programs -------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Whether helm and istioctl can follow. :raises JobError: they would be another user, or go another way"""
        if self._context is None and (self._sent or self._certificate):
            raise JobError(
                f"helm and istioctl send no credentials to {self.host}, as it is plain HTTP: they would be nobody "
                "there. Give an address with https, or for kubectl proxy no credentials."
            )
        self.proxy_url()

    def kubeconfig(self, token_file: Path) -> dict[str, Any]:
        """The same server, way and user as a kubeconfig.

        :arg token_file: where the token is; client-go reads it again and again
        :raises JobError: as ``check``
        """
        self.check()
        server: dict[str, Any] = {"server": self.host}
        if not self.configuration.verify_ssl:
            server["insecure-skip-tls-verify"] = True  # helm refuses a CA beside it
        elif self._ca:
            server.update(_named("certificate-authority", self._ca))
        if getattr(self.configuration, "tls_server_name", None):
            server["tls-server-name"] = self.configuration.tls_server_name
        proxy = self.proxy_url()
        if proxy:
            server["proxy-url"] = proxy
        user: dict[str, Any] = self._impersonating()
        kind, _space, login = self._sent.partition(" ")
        if kind.lower() == "basic":
            name, _colon, password = base64.b64decode(login).decode().partition(":")
            user.update({"username": name, "password": password})
        elif login:
            user["tokenFile"] = str(token_file)
        if self._certificate:
            user.update(_named("client-certificate", self._certificate[0]))
            user.update(_named("client-key", self._certificate[1]))
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": server}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
            "current-context": "context",
        }

    def acting_flags(self) -> list[str]:
        """Impersonation as istioctl is told of it: it passes over what a kubeconfig says.

        :raises JobError: there is no flag for it
        """
        acting = self._impersonating()
        if "as-user-extra" in acting:
            raise JobError(
                "istioctl cannot act as a user with extra attributes (as-user-extra of the kubeconfig). Leave them "
                "out, or do without istioctl."
            )
        groups = [f"--as-group={group}" for group in acting.get("as-groups", [])]
        return [*(f"--{name}={acting[name]}" for name in ("as", "as-uid") if name in acting), *groups]

    @property
    def token(self) -> str:
        """The token as it was sent last, for the token file; "" for none."""
        kind, _space, login = self._sent.partition(" ")
        return login.strip() if kind.lower() == "bearer" else ""

    def _impersonating(self) -> dict[str, Any]:
        names = {"impersonate-user": "as", "impersonate-uid": "as-uid", "impersonate-group": "as-groups"}
        found: dict[str, Any] = {}
        for header, value in self.impersonation.items():
            name = header.lower()
            if name in names:
                found[names[name]] = value
            elif name.startswith(_EXTRA.lower()):
                found.setdefault("as-user-extra", {})[unquote(header[len(_EXTRA) :])] = value
        return found


def program_environment(kubeconfig: Path) -> dict[str, str]:
    """The environment in which helm and istioctl use that kubeconfig, and no proxy and no cluster but what it says."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in _FOREIGN and not name.startswith(("HELM_KUBE", "K8S_AUTH_"))
    }
    return {**kept, "KUBECONFIG": str(kubeconfig)}


def _chosen(params: dict[str, Any], auth: dict[str, Any]) -> Chosen | None:
    """The kubeconfig's part in it, by kubernetes.core's rules; None where it has none."""
    direct = any(all(auth.get(name) for name in names) for names in _DIRECT)
    for name in ("kubeconfig", "context"):
        if auth.get(name) in ("", {}) and (not direct or params.get(name) is not None):
            raise JobError(
                f"{name} is empty, so that it names no cluster. Set it (variable istio_{name} of the roles, "
                f"K8S_AUTH_{name.upper()} in the environment), or leave it out."
            )
    wanted = auth.get("kubeconfig"), auth.get("context")
    named = [name for name in ("kubeconfig", "context") if params.get(name)]
    if direct and named and not params.get("host"):
        _refuse_two(named, choose(wanted[0] or _default(), wanted[1]), auth)
    if direct:
        return None
    if any(wanted):
        found = choose(wanted[0] or _default(), wanted[1])
        if named and auth.get("host") and not params.get("host"):
            _refuse_two(named, found, auth)
        return found
    if not _in_cluster():
        return choose(_default(), None)
    if os.environ.get("KUBECONFIG"):
        raise JobError(
            "KUBECONFIG names a cluster, and this task runs in a pod whose service account is for another: "
            "kubernetes.core takes the service account. Name the kubeconfig by istio_kubeconfig of the roles, "
            "kubeconfig of a module or K8S_AUTH_KUBECONFIG, or remove KUBECONFIG from the environment."
        )
    return None


def _refuse_two(named: list[str], chosen: Chosen, auth: dict[str, Any]) -> None:
    """An option that names one cluster, and an environment that names another and would win."""
    server, host = str(chosen.cluster.get("server", "")).rstrip("/"), auth["host"].rstrip("/")
    if server != host:
        raise JobError(
            f"{' and '.join(named)} of the task name the cluster {server}, and K8S_AUTH_HOST in its environment names "
            f"{host}, which kubernetes.core would take. Remove one of them; an AWX credential for Kubernetes sets "
            "K8S_AUTH_HOST."
        )


def _default() -> str:
    """KUBECONFIG as it is now; the kubernetes client knows it as it was when it was imported."""
    path = os.environ.get("KUBECONFIG", _DEFAULT)
    if not path:
        raise JobError("KUBECONFIG is empty, so that it names no cluster. Set it, or remove it from the environment.")
    return path


def _in_cluster() -> bool:
    """Whether this is a pod with a service account."""
    try:
        kubernetes.config.load_incluster_config(client_configuration=kubernetes.client.Configuration())
    except kubernetes.config.ConfigException:
        return False
    return True


def _configuration(auth: dict[str, Any], chosen: Chosen | None) -> Any:
    """kubernetes.core's configuration. Of a kubeconfig it sees the way to the server; users and CAs are ours."""
    # A kubeconfig that is loaded becomes the process' default, on which the next configuration is built: an item of a
    # loop would go to its cluster with what was left of another's credentials.
    kubernetes.client.Configuration.set_default(None)
    given = dict(auth)
    if chosen:
        way = ("server", "insecure-skip-tls-verify", "tls-server-name", "proxy-url")
        cluster = {name: chosen.cluster[name] for name in way if name in chosen.cluster}
        given["context"] = None
        given["kubeconfig"] = {
            "current-context": "chosen",
            "contexts": [{"name": "chosen", "context": {"cluster": "chosen"}}],
            "clusters": [{"name": "chosen", "cluster": cluster}],
        }
    try:
        configuration = _create_configuration(given)
    except Exception as error:  # the kubernetes client raises a dozen kinds here, all about the same: credentials
        raise _unusable(str(error), chosen.source if chosen else "") from error
    finally:
        kubernetes.client.Configuration.set_default(None)
    return configuration


def _named(name: str, content: bytes | str) -> dict[str, str]:
    """A kubeconfig's entry for PEM, or for a file, by a path that leads there from anywhere."""
    if isinstance(content, bytes):
        return {f"{name}-data": base64.b64encode(content).decode()}
    return {name: str(Path(content).absolute())}


@contextlib.contextmanager
def _as_file(content: bytes | str) -> Iterator[str]:
    """The path of a file with PEM, for OpenSSL, which reads keys from files alone. In memory, where the system can."""
    if isinstance(content, str):
        yield content
        return
    with contextlib.ExitStack() as stack:
        if hasattr(os, "memfd_create"):
            file = stack.enter_context(os.fdopen(os.memfd_create("meshops-istio"), "wb"))
            path = f"/dev/fd/{file.fileno()}"
        if not hasattr(os, "memfd_create") or not Path(path).exists():
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="meshops-istio-"))
            path = file.name
        file.write(content)
        file.flush()
        yield path


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _without_login(url: str | None) -> str:
    """A proxy's URL as it may be shown."""
    scheme, colon, rest = (url or "").partition("://")
    return f"{scheme}{colon}{rest.rpartition('@')[2]}" if colon else (url or "").rpartition("@")[2]
