# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where charts come from, who we are there, what they must be, and what helm's words about a failed fetch mean.

Pure. Istio's own repository is one source among others.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.meshops.istio.plugins.module_utils import upstream
from ansible_collections.meshops.istio.plugins.module_utils.errors import ErrorAbout, JobError

#: Under this name credentials of Docker Hub are kept by every client of registries.
_DOCKER_HUB = "https://index.docker.io/v1/"
_NAMES_OF_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")

MISSING, UNVERIFIED, RETIRED = "chart-missing", "chart-unverified", "chart-source-retired"


class ChartError(JobError):
    """A chart that cannot be had, or is not what it must be: always one of the findings of preflight."""

    def __init__(self, message: str, *, code: str = MISSING, **parts: Any) -> None:
        super().__init__(message, code=code, **parts)


@dataclass(frozen=True)
class Source:
    """A place that holds charts. TLS is always verified.

    :ivar str repository: URL of an HTTP or OCI repository, a directory, or one packaged chart on disk
    :ivar str username, password: the login; without, an OCI registry gets the one that helm has for it
        (``helm registry login``)
    :ivar str ca_file: certificates by which the server is verified, in place of the system's
    :ivar bool plain_http: an OCI registry speaks no TLS; an HTTP repository says so by its URL
    :ivar str keyring: public keys by which each chart's provenance is verified; "" to verify none
    :raises JobError: half a login, or one that stands in the URL
    """

    repository: str
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    plain_http: bool = False
    keyring: str = ""

    def __post_init__(self) -> None:
        if self.remote and "@" in urlsplit(self.repository).netloc:
            raise ErrorAbout(
                "the URL contains credentials, which other users could read on command lines.",
                object="chart_repository",
                fix="Set istio_helm_chart_repository_username and istio_helm_chart_repository_password instead.",
            )
        if bool(self.username) != bool(self.password):
            raise JobError(
                "must be set together.",
                object="chart_repository_username and chart_repository_password",
                fix="Set both istio_helm_chart_repository_username and istio_helm_chart_repository_password, or "
                "neither.",
            )

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Source:
        """The source that a module's options describe (``mesh.CHART_ARGUMENT_SPEC`` and ``chart_repository``)."""
        return cls(
            params["chart_repository"],
            params.get("chart_repository_username") or "",
            params.get("chart_repository_password") or "",
            params.get("chart_repository_ca_file") or "",
            bool(params.get("chart_repository_plain_http")),
            params.get("chart_keyring") or "",
        )

    @property
    def oci(self) -> bool:
        """Whether it is an OCI registry."""
        return self.repository.startswith("oci://")

    @property
    def remote(self) -> bool:
        """Whether charts must be fetched from it."""
        return self.repository.startswith(("http://", "https://", "oci://"))

    @property
    def host(self) -> str:
        """Host and port of its server."""
        return urlsplit(self.repository).netloc

    @property
    def docker_config(self) -> dict[str, Any]:
        """The login to an OCI registry in the form of Docker's config.json, which helm reads.

        ``helm registry login`` would leave the password with a credential helper of the machine, where there is one.
        """
        key = _DOCKER_HUB if self.host in _NAMES_OF_DOCKER_HUB else self.host
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return {"auths": {key: {"auth": login}}}

    @property
    def connection(self) -> list[str]:
        """helm's flags that say how to speak to the server; for a CA file Helm 3 would forget about plain HTTP."""
        if self.oci and self.plain_http:
            return ["--plain-http"]
        return ["--ca-file", self.ca_file] if self.ca_file else []


def pinned(digests: Mapping[str, str], name: str) -> str | None:
    """The digest that a chart's archive must have, as ``sha256:...``; None where the options pin no chart.

    :arg digests: option ``chart_digests``
    :raises ChartError: it is no digest, or others are pinned and this one is not: a slip of the pen must not leave a
        chart unverified
    """
    if not digests:
        return None
    if name not in digests:
        raise ChartError(
            f"chart {name} has no digest.",
            object="chart_digests",
            joint=": ",
            fix="Add its digest to istio_helm_chart_digests. If one chart is pinned, each must be.",
            code=UNVERIFIED,
        )
    match = re.fullmatch(r"(?:sha256:)?([0-9a-f]{64})", str(digests[name]).strip().lower())
    if not match:
        raise ChartError(
            f"{digests[name]!r} is not a SHA-256 digest.",
            object=f"chart_digests: {name}",
            joint=": ",
            fix="Set it in istio_helm_chart_digests as sha256: followed by 64 hexadecimal digits.",
            code=UNVERIFIED,
        )
    return f"sha256:{match[1]}"


class _Meaning(NamedTuple):
    """What some of helm's words mean."""

    pattern: re.Pattern[str]
    cause: str
    fix: str


def _meaning(pattern: str, cause: str, fix: str) -> _Meaning:
    return _Meaning(re.compile(pattern, re.IGNORECASE), cause, fix)


_NO_TLS = _meaning(
    r"server gave HTTP response to HTTPS client",
    "{host} does not speak TLS.",
    "Set istio_helm_chart_repository_plain_http: true for an OCI registry in a network that you trust; credentials and "
    "charts are then sent unencrypted. For an HTTP repository, write http:// in istio_helm_chart_repository.",
)
#: What helm says -> what it means, the first that fits. Both majors; HTTP repositories and OCI registries.
_MEANINGS = (
    _NO_TLS,
    _meaning(
        r"http://\S{1,300} ?: .{0,1000}\b400:? Bad Request",
        "{host} rejects plain HTTP and seems to expect TLS: {words}",
        "Set istio_helm_chart_repository_plain_http: false, or write https:// in istio_helm_chart_repository.",
    ),
    _meaning(
        r"can't read CA file|failed to append certificates",
        "The CA file cannot be used: {words}",
        "Set istio_helm_chart_repository_ca_file to a file of certificates in PEM format.",
    ),
    _meaning(
        r"x509:|\btls: ",
        "The certificate of {host} is not trusted: {words}",
        "Set istio_helm_chart_repository_ca_file to the file of its CA.",
    ),
    _meaning(
        # The answer to CONNECT, of which Go shows the reason alone; the repository's own comes with its number.
        r"(?:Get|Head) \"https://[^\"]+\": (?:Bad Gateway|Forbidden|Gateway Time-?out|Proxy Authentication Required|"
        r"Service Unavailable)$",
        "{host} cannot be reached: the proxy rejects the connection: {words}",
        "Allow this host on the proxy, or correct HTTPS_PROXY and NO_PROXY. Without network access, set "
        "istio_helm_chart_repository to a directory that contains the charts.",
    ),
    _meaning(
        r"status code 40[13]\b|\b40[13] \w|unauthorized|forbidden|access (?:to the resource is )?denied|"
        r"credential not found",
        "{host} rejects {login}: {words}",
        "Correct istio_helm_chart_repository_username and istio_helm_chart_repository_password, or grant the user "
        "read access.",
    ),
    _meaning(
        r"no such host|connection refused|i/o timeout|deadline exceeded|timed? ?out|no route to host|network is "
        r"unreachable|connection reset|server misbehaving|proxyconnect|\bEOF\b",
        "{host} cannot be reached: {words}",
        "Correct istio_helm_chart_repository, or fix the network or proxy (HTTPS_PROXY, NO_PROXY). Without network "
        "access, set istio_helm_chart_repository to a directory that contains the charts.",
    ),
    _meaning(
        r"not a valid chart repository",
        "{repository} is not a chart repository: {words}",
        "Set istio_helm_chart_repository to the URL that index.yaml is below. The URL of an OCI registry begins with "
        "oci://.",
    ),
)
#: Where helm stands when it fails, which says nothing of why.
_PREAMBLE = re.compile(
    r"^(?:failed to perform \"\w+\" on source: |missing registry client: |"
    r"looks like \"[^\"]*\" is not a valid chart repository or cannot be reached: )+"
)
#: Helm 3 asks a registry that speaks no TLS once more, in clear text and without the login.
_CLEAR_TEXT = re.compile(r'^(?:GET|HEAD) "http://')
#: What helm says where the repository answers and has no such chart.
_ABSENT = re.compile(r"not found|no chart (?:name|version) found|unable to locate any tags|name unknown", re.IGNORECASE)


def is_absent(words: str) -> bool:
    """Whether helm's words say that the repository answers and does not have the chart in that version."""
    return _known(words) is None and bool(_ABSENT.search(words))


def _known(words: str) -> _Meaning | None:
    return next((meaning for meaning in _MEANINGS if meaning.pattern.search(words)), None)


def elsewhere(place: upstream.Place) -> str:
    """What to do about charts of a place that ends."""
    return f"Use {place.instead} as istio_helm_chart_repository, or as repository in istio_helm_charts."


def failure(source: Source, name: str, version: str, words: str, versions: list[str]) -> ChartError:
    """What a failed fetch means, in one message; of a repository that ends, that it does.

    :arg words: helm's own
    :arg versions: those that the repository has of this chart, newest first, as far as is known
    """
    error, place = _failure(source, name, version, words, versions), upstream.ended(source.repository)
    if place is None:
        return error
    return ChartError(
        f"{error.message} {source.repository} {place.end}.",
        object=error.object,
        fix=elsewhere(place),
        code=RETIRED,
        joint=error.joint,
    )


def _failure(source: Source, name: str, version: str, words: str, versions: list[str]) -> ChartError:
    meaning, reason = _known(words), _PREAMBLE.sub("", words).rstrip(".")
    about = f"Chart {name} {version}"
    if source.oci and not source.plain_http and _CLEAR_TEXT.search(reason):
        meaning = _NO_TLS
    if meaning:
        facts = {
            "host": source.host,
            "repository": source.repository,
            "login": f"user {source.username}" if source.username else "requests without credentials",
            "words": f"{reason}.",
        }
        return ChartError(meaning.cause.format(**facts), object=about, fix=meaning.fix, joint=": ")
    if is_absent(words):
        there = f"Available versions: {', '.join(versions)}." if versions else "No other version is available."
        return ChartError(
            f"is not in {source.repository}. {there}",
            object=about,
            fix="Change istio_helm_chart_version or istio_helm_chart_repository.",
        )
    return ChartError(
        f"cannot be fetched from {source.repository}: {reason}.",
        object=about,
        fix="Run helm pull with the same repository and version to see why.",
    )


@dataclass(frozen=True)
class ChartReference:
    """Which chart, from where.

    :ivar dict digests: what option ``chart_digests`` pins; empty to take any
    :ivar bool manifest: it is one of Istio's manifests, ``NAME.yaml`` there, which is made a chart
    """

    source: Source
    name: str
    version: str
    manifest: bool = False
    digests: dict[str, str] = field(hash=False, default_factory=dict)
