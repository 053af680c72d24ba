# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source is who we are and what we trust; what helm says of a failed fetch is put into one message with a fix."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.chart_source import ChartError, Source, pinned
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

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
    assert "the URL holds a login" in caught.value.message
    assert "hunter22" not in caught.value.message
    assert "istio_helm_chart_repository_password" in caught.value.message


@pytest.mark.parametrize("half", [{"username": "jane"}, {"password": "hunter22"}])
def test_half_a_login(half: dict[str, str]) -> None:
    """A password that was forgotten, or is empty in the vault, is told before anybody is asked."""
    with pytest.raises(JobError, match="go together: set both") as caught:
        Source("oci://r.example.com/charts", **half)
    assert "hunter22" not in caught.value.message


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
    assert pinned({"chart_digests": given}, "base") == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"istoid": DIGEST}, "chart_digests: chart base has none. Add its digest"),
        ({"base": DIGEST[1:]}, "is no SHA-256 digest. Write it in istio_helm_chart_digests as sha256:"),
        ({"base": f"sha512:{DIGEST}"}, "is no SHA-256 digest"),
        ({"base": None}, "chart_digests: base: None is no SHA-256 digest"),
    ],
    ids=str,
)
def test_pinned_wrongly(given: dict[str, Any], words: str) -> None:
    """A slip of the pen does not leave a chart unverified."""
    with pytest.raises(ChartError) as caught:
        pinned({"chart_digests": given}, "base")
    assert words in caught.value.message
    assert caught.value.code == "chart-unverified"
