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
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ansible_collections.meshops.istio.plugins.module_utils.connection.choice import chosen_kubeconfig
from ansible_collections.meshops.istio.plugins.module_utils.connection.kubeconfig import Chosen, unusable
from ansible_collections.meshops.istio.plugins.module_utils.connection.user import EXTRA, User, basic, bearer_of
from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout, JobError

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

    KUBERNETES_IMPORT_ERROR: Exception | None = None
except ImportError as error:
    KUBERNETES_IMPORT_ERROR = error

#: How the user of the task that asks is warned.
WARN: ContextVar[Callable[[str], None]] = ContextVar("warn", default=lambda _text: None)

#: Schemes of proxies, by what kubeconfigs call them.
_PROXY_SCHEMES = {"http": "http", "https": "https", "socks5": "socks5", "socks5h": "socks5"}
#: Variables by which helm and istioctl would find a proxy of their own, or another cluster.
_FOREIGN = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "KUBECONFIG")


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
        chosen = chosen_kubeconfig(params, self._auth)
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
                f"TLS verification is off: the certificate of the API server {self.host} is not checked, so anyone on "
                "the network path can read the token. Set its CA in ca_cert (K8S_AUTH_SSL_CA_CERT) or in the "
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
        value = bearer_of(self.configuration)
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
                f"cannot be read: {_reason(error)}.",
                object=f"The CA {name}",
                fix="Correct ca_cert or the kubeconfig.",
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
                f"cannot be used: {_reason(error)}. A certificate and its unencrypted key are required.",
                object=f"The client certificate {names}",
                fix="Correct client_cert and client_key, or the kubeconfig.",
                code="api-unauthorized",
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
                f"cannot be used: {error}.",
                object=f"The proxy {_without_login(configuration.proxy)}",
                fix="Correct proxy (K8S_AUTH_PROXY), HTTPS_PROXY or the kubeconfig's proxy-url.",
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
                "has a scheme that helm and istioctl do not support.",
                object=f"The proxy {_without_login(self.configuration.proxy)}",
                fix="Use an http, https or socks5 proxy.",
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
            raise ErrorAbout(
                f"helm and istioctl cannot send {names or 'proxy-authorization'} to the proxy.",
                object="proxy_headers",
                fix="Use only proxy_basic_auth.",
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
                f"helm and istioctl send no credentials to {self.host} over plain HTTP and would be anonymous there.",
                fix="Use an https address or, for kubectl proxy, no credentials.",
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
                "cannot impersonate a user with extra attributes (as-user-extra in the kubeconfig).",
                object="istioctl",
                fix="Remove as-user-extra, or do not use istioctl.",
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
            elif name.startswith(EXTRA.lower()):
                found.setdefault("as-user-extra", {})[unquote(header[len(EXTRA) :])] = value
        return found


def program_environment(kubeconfig: Path) -> dict[str, str]:
    """The environment in which helm and istioctl use that kubeconfig, and no proxy and no cluster but what it says."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in _FOREIGN and not name.startswith(("HELM_KUBE", "K8S_AUTH_"))
    }
    return {**kept, "KUBECONFIG": str(kubeconfig)}


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
        raise unusable(str(error), chosen.source if chosen else "") from error
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
