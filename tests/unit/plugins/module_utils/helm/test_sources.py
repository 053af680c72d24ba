# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source is who we are and what we trust; what helm says of a failed fetch is put into one message with a fix."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.helm.sources import (
    ChartError,
    Source,
    failure,
    is_absent,
    pinned,
)

DIGEST = "0123456789abcdef" * 4


def test_source_of_options() -> None:
    """Options that are not given are those of a public repository."""
    assert Source.of({"chart_repository": "/charts", "chart_repository_username": None}) == Source("/charts")
    given = {
        "chart_repository": "oci://r.example.com/c",
        "chart_repository_username": "jane",
        "chart_repository_password": "hunter22",
        "chart_repository_ca_file": "/ca",
        "chart_repository_plain_http": True,
        "chart_keyring": "/keys.gpg",
    }
    assert Source.of(given) == Source("oci://r.example.com/c", "jane", "hunter22", "/ca", True, "/keys.gpg")


def test_password_is_not_shown() -> None:
    """Not where a source is printed, such as in a traceback."""
    assert "hunter22" not in repr(Source("oci://r.example.com/c", "jane", "hunter22"))


@pytest.mark.parametrize(
    ("repository", "remote", "oci"),
    [
        ("https://charts.example.com", True, False),
        ("http://charts.example.com", True, False),
        ("oci://r.example.com/charts", True, True),
        ("/srv/charts", False, False),
        ("charts/base-1.31.0.tgz", False, False),
    ],
)
def test_kinds_of_sources(repository: str, remote: bool, oci: bool) -> None:
    """By the scheme of the URL."""
    source = Source(repository)
    assert (source.remote, source.oci) == (remote, oci)


@pytest.mark.parametrize("repository", ["https://jane:hunter22@charts.example.com", "oci://jane@r.example.com/charts"])
def test_login_in_the_url(repository: str) -> None:
    """It would stand on helm's command line; the message does not repeat it."""
    with pytest.raises(JobError) as caught:
        Source(repository)
    assert "the URL contains credentials" in str(caught.value)
    assert "hunter22" not in str(caught.value)
    assert "istio_helm_chart_repository_password" in str(caught.value)


@pytest.mark.parametrize("half", [{"username": "jane"}, {"password": "hunter22"}])
def test_half_a_login(half: dict[str, str]) -> None:
    """A password that was forgotten, or is empty in the vault, is told before anybody is asked."""
    with pytest.raises(JobError, match=r"must be set together\. Set both") as caught:
        Source("oci://r.example.com/charts", **half)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("repository", "key"),
    [
        ("oci://r.example.com:5000/charts", "r.example.com:5000"),
        ("oci://docker.io/jane", "https://index.docker.io/v1/"),
        ("oci://registry-1.docker.io/jane", "https://index.docker.io/v1/"),
    ],
)
def test_login_as_docker_keeps_it(repository: str, key: str) -> None:
    """By host and port; Docker Hub has a name of its own there."""
    assert Source(repository, "jane", "hunter22").docker_config == {"auths": {key: {"auth": "amFuZTpodW50ZXIyMg=="}}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ({}, None),
        ({"base": f"sha256:{DIGEST}"}, f"sha256:{DIGEST}"),
        ({"base": DIGEST}, f"sha256:{DIGEST}"),
        ({"base": f"SHA256:{DIGEST.upper()}\n"}, f"sha256:{DIGEST}"),
    ],
    ids=str,
)
def test_pinned(given: dict[str, str] | None, expected: str | None) -> None:
    """As sha256sum prints it, or with its algorithm."""
    assert pinned(given, "base") == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"istoid": DIGEST}, "chart_digests: chart base has no digest. Add its digest"),
        ({"base": DIGEST[1:]}, "is not a SHA-256 digest. Set it in istio_helm_chart_digests as sha256:"),
        ({"base": f"sha512:{DIGEST}"}, "is not a SHA-256 digest"),
        ({"base": None}, "chart_digests: base: None is not a SHA-256 digest"),
    ],
    ids=str,
)
def test_pinned_wrongly(given: dict[str, Any], words: str) -> None:
    """A slip of the pen does not leave a chart unverified."""
    with pytest.raises(ChartError) as caught:
        pinned(given, "base")
    assert words in str(caught.value)
    assert caught.value.code == "chart-unverified"


# -- what helm says of a failed fetch ----------------------------------------------------------------------------------

#: As Helm 3.22 and 4.3 said it of the test bed's registry; tests/apiserver/test_chart_sources.py has them say it again.
OCI, HTTP = "oci://r.example.com/charts", "https://r.example.com/charts"
OF_OCI = 'failed to perform "FetchReference" on source: '
OF_HTTP = f'looks like "{HTTP}" is not a valid chart repository or cannot be reached: '
MANIFEST = "https://r.example.com/v2/charts/base/manifests/1.31.0"


@pytest.mark.parametrize(
    ("repository", "words", "cause", "fix"),
    [
        (
            OCI,
            f'{OF_OCI}GET "{MANIFEST}": response status code 401: unauthorized: authentication required: '
            "[map[Action:pull Class: Name:charts/base Type:repository]]",
            "r.example.com rejects user jane: GET ",
            "Correct istio_helm_chart_repository_username and istio_helm_chart_repository_password",
        ),
        (
            OCI,
            f'{OF_OCI}GET "{MANIFEST}": basic credential not found',
            "r.example.com rejects user jane: GET ",
            "Correct istio_helm_chart_repository_username",
        ),
        (
            HTTP,
            f"{OF_HTTP}failed to fetch {HTTP}/index.yaml : 401 Unauthorized",
            f"r.example.com rejects user jane: failed to fetch {HTTP}/index.yaml : 401 Unauthorized.",
            "Correct istio_helm_chart_repository_username",
        ),
        (
            HTTP,
            f"failed to fetch {HTTP}/base-1.31.0.tgz : 403 Forbidden",
            "r.example.com rejects user jane: ",
            "or grant the user read access.",
        ),
        (
            OCI,
            f'{OF_OCI}Get "{MANIFEST}": tls: failed to verify certificate: x509: certificate signed by unknown '
            "authority",
            f'The certificate of r.example.com is not trusted: Get "{MANIFEST}": tls: ',
            "Set istio_helm_chart_repository_ca_file to the file of its CA.",
        ),
        (
            HTTP,
            f"{OF_HTTP}can't create TLS config for client: can't read CA file: /ca.crt",
            "The CA file cannot be used: can't create TLS config for client: can't read CA file",
            "Set istio_helm_chart_repository_ca_file",
        ),
        (
            OCI,
            "missing registry client: can't create TLS config for client: failed to append certificates from pem block",
            "The CA file cannot be used: can't create TLS config for client: failed to append",
            "Set istio_helm_chart_repository_ca_file",
        ),
        (
            OCI,
            f'{OF_OCI}Get "{MANIFEST}": dial tcp 192.0.2.1:443: connect: connection refused',
            f'r.example.com cannot be reached: Get "{MANIFEST}": dial tcp 192.0.2.1:443: connect: connection refused.',
            "fix the network or proxy (HTTPS_PROXY, NO_PROXY)",
        ),
        (
            HTTP,
            f'{OF_HTTP}Get "{HTTP}/index.yaml": dial tcp: lookup r.example.com on 192.0.2.53:53: no such host',
            "r.example.com cannot be reached: ",
            "set istio_helm_chart_repository to a directory",
        ),
        (
            HTTP,
            f'{OF_HTTP}Get "{HTTP}/index.yaml": Bad Gateway',
            "r.example.com cannot be reached: the proxy rejects the connection: Get ",
            "correct HTTPS_PROXY and NO_PROXY",
        ),
        (
            OCI,
            f'{OF_OCI}Head "{MANIFEST}": Forbidden',
            "r.example.com cannot be reached: the proxy rejects the connection: Head ",
            "Allow this host on the proxy",
        ),
        (
            HTTP,
            f"{OF_HTTP}failed to fetch {HTTP}/index.yaml : 404 Not Found",
            f"{HTTP} is not a chart repository: failed to fetch {HTTP}/index.yaml : 404 Not Found.",
            "Set istio_helm_chart_repository to the URL",
        ),
        (
            OCI,
            f'{OF_OCI}Get "{MANIFEST}": http: server gave HTTP response to HTTPS client',
            "r.example.com does not speak TLS.",
            "Set istio_helm_chart_repository_plain_http: true",
        ),
        (
            OCI,
            f'{OF_OCI}GET "{MANIFEST.replace("https", "http")}": response status code 401: unauthorized',
            "r.example.com does not speak TLS.",
            "Set istio_helm_chart_repository_plain_http: true",
        ),
        (
            OCI,
            f'{OF_OCI}GET "{MANIFEST.replace("https", "http")}": response status code 400: Bad Request',
            "r.example.com does not speak TLS.",
            "Set istio_helm_chart_repository_plain_http: true",
        ),
        (
            "http://r.example.com/charts",
            "failed to fetch http://r.example.com/charts/index.yaml : 400 Bad Request",
            "r.example.com rejects plain HTTP and seems to expect TLS: ",
            "write https:// in istio_helm_chart_repository",
        ),
        (
            OCI,
            "unable to load the plugins",
            "Chart base 1.31.0 cannot be fetched from oci://r.example.com/charts: unable to load the plugins.",
            "Run helm pull",
        ),
    ],
)
def test_failure(repository: str, words: str, cause: str, fix: str) -> None:
    """One sentence says what is wrong with what, and one what to do about it; helm's own words are in it, once."""
    found = failure(Source(repository, "jane", "hunter22"), "base", "1.31.0", words, [])
    assert found.condition.startswith("Chart base 1.31.0")
    assert cause in found.condition
    assert fix in found.fix
    assert "FetchReference" not in str(found)
    assert found.code == "chart-missing"
    assert not is_absent(words)


def test_failure_without_a_login() -> None:
    """The message does not speak of a user that nobody has given."""
    found = failure(Source(HTTP), "base", "1.31.0", "401 Unauthorized", [])
    assert "r.example.com rejects requests without credentials: 401 Unauthorized." in str(found)


def test_failure_in_clear_text() -> None:
    """Where it is asked for, clear text is no reason."""
    words = f'{OF_OCI}GET "{MANIFEST.replace("https", "http")}": response status code 401: unauthorized'
    found = failure(Source(OCI, "jane", "hunter22", plain_http=True), "base", "1.31.0", words, [])
    assert "rejects user jane" in str(found)


@pytest.mark.parametrize(
    "words",
    [
        f"{OF_OCI}r.example.com/charts/base:9.9.9: not found",
        "chart \"base\" matching 9.9.9 not found in repository index. (try 'helm repo update'): no chart version found "
        "for base-9.9.9",
        "chart \"nope\" matching 1.31.0 not found in repository index. (try 'helm repo update'): no chart name found",
    ],
)
def test_chart_that_is_not_there(words: str) -> None:
    """With the versions that are."""
    assert is_absent(words)
    found = failure(Source(OCI), "base", "9.9.9", words, ["1.31.0", "1.30.2"])
    assert str(found) == (
        "Chart base 9.9.9 is not in oci://r.example.com/charts. Available versions: 1.31.0, 1.30.2. "
        "Change istio_helm_chart_version or istio_helm_chart_repository."
    )
    assert "No other version is available." in failure(Source(OCI), "base", "9.9.9", words, []).message


def test_a_repository_that_ends_says_so_whatever_helm_says() -> None:
    """The cause that was found stays, and the fix is the place to go."""
    google = Source("https://istio-release.storage.googleapis.com/charts")
    for words in ("chart not found", "no such host", "status code 403", "something new"):
        error = failure(google, "base", "1.31.1", words, [])
        plain = failure(Source("https://charts.example.com"), "base", "1.31.1", words, [])
        assert error.code == "chart-source-retired"
        assert plain.code == "chart-missing"
        assert error.condition.startswith("Chart base 1.31.1")
        assert error.condition.endswith(
            f" {google.repository} holds no Istio newer than 1.30, and Istio has announced its removal for December "
            "2026."
        )
        assert error.fix.startswith("Use https://blob.istio.io/istio-release/charts as istio_helm_chart_repository")
        assert "removal" not in str(plain)
