# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One revision for all that is of one, whoever says it where; and never two."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import MeshOptions, listed_gateways
from ansible_collections.meshops.istio.plugins.module_utils.mesh.revisions import effective, suffix

PUBLIC: dict[str, Any] = {"name": "public"}


def revision(names: tuple[str, ...] = ("base", "istiod"), gateways: Any = (PUBLIC,), **params: Any) -> str:
    """Of a run."""
    listed = listed_gateways(gateways, None, "istio-system", "NodePort")
    return effective(params.get("revision", ""), params.get("values", {}), names, listed)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ""),
        ({"revision": "canary"}, "canary"),
        ({"revision": "default"}, ""),
        ({"values": {"istiod": {"revision": "canary"}}}, "canary"),
        ({"values": {"istiod": {"revision": 131}}}, "131"),
        ({"values": {"istiod": None}}, ""),
        (
            {"revision": "canary", "values": {"istiod": {"revision": "canary"}, "gateway": {"revision": "canary"}}},
            "canary",
        ),
        ({"revision": "canary", "gateways": [{**PUBLIC, "values": {"revision": "canary"}}]}, "canary"),
        ({"names": ("cni",), "values": {"gateway": {"revision": "canary"}}}, "canary"),
    ],
    ids=str,
)
def test_said_once_or_twice_alike(params: dict[str, Any], expected: str) -> None:
    """By the option, in istiod's values, or, where the run installs no istiod, in those of a gateway."""
    assert revision(**params) == expected


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (
            {"revision": "a", "values": {"istiod": {"revision": "b"}}},
            "values: istiod: revision: b contradicts revision: a",
        ),
        ({"revision": "a", "values": {"public": {"revision": "b"}}}, "values: public: revision: b contradicts"),
        (
            {"revision": "a", "gateways": [{**PUBLIC, "values": {"revision": "b"}}]},
            "gateways: public: values: revision: b",
        ),
        ({"values": {"gateway": {"revision": "canary"}}}, "Set istio_helm_revision: canary, which applies to both"),
        ({"revision": "1.31.1"}, "such as 1-31-1"),
        ({"revision": "Canary_2"}, "such as canary-2"),
        ({"revision": "a" * 60}, "is not a valid revision name"),
        ({"names": (), "values": {"gateway": {"revision": "a"}, "public": {"revision": "b"}}}, "contradicts"),
    ],
    ids=str,
)
def test_said_twice_and_not_alike(params: dict[str, Any], words: str) -> None:
    """Before anything is written, with both places and the variable."""
    with pytest.raises(JobError) as caught:
        revision(**params)
    assert words in str(caught.value)


def test_names() -> None:
    """Of Istio's objects."""
    assert [f"istiod{suffix(name)}" for name in ("", "default", "canary")] == ["istiod", "istiod", "istiod-canary"]


def releases(**params: Any) -> dict[str, composition.Release]:
    """By component."""
    defaults = {
        "namespace": "istio-system",
        "chart_repository": "/charts",
        "chart_version": "1.31.1",
        "preset": "lean",
        "profile": "ambient",
        "components": ["base", "istiod", "cni", "ztunnel", "cert-manager", "istio-csr"],
        "exposure": "NodePort",
        "values": {},
    }
    return {release.component: release for release in composition.releases(MeshOptions.of({**defaults, **params}))}


@pytest.mark.parametrize("given", [{"revision": "canary"}, {"values": {"istiod": {"revision": "canary"}}}], ids=str)
def test_all_that_is_of_a_revision_shares_it(given: dict[str, Any]) -> None:
    """Istiod, by a release of its own; what it validates, injects, signs and serves."""
    found = releases(**given)
    assert {name: release.name for name, release in found.items()} == {
        **{name: release.name for name, release in releases().items()},
        "istiod": "istiod-canary",
    }
    values = {name: release.values for name, release in found.items()}
    assert values["base"]["defaultRevision"] == "canary"
    assert [values[name]["revision"] for name in ("istiod", "gateway", "ztunnel")] == ["canary"] * 3
    assert values["istio-csr"]["app"]["istio"]["revisions"] == ["canary"]


def test_without_one_nothing_is_said() -> None:
    """The charts' own default, so that a mesh that is there stays as it is."""
    values = {name: release.values for name, release in releases().items()}
    assert "defaultRevision" not in values["base"]
    assert not [name for name, of in values.items() if "revision" in of]
