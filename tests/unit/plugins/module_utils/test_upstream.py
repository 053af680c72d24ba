# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of places: what belongs to which, what ends, and that no address that a run fetches from is missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.meshops.istio.plugins.module_utils import upstream
from ansible_collections.meshops.istio.plugins.module_utils.mesh import components, options
from ansible_collections.meshops.istio.plugins.module_utils.upstream import PLACES, Place, image_place, place_of

ROOT = Path(__file__).resolve().parents[4]
URL = re.compile(r"(?:https?|oci)://[^\s\"'`)<>,]+")
#: A registry, at least one path, and a tag.
IMAGE = re.compile(r"^[a-z0-9.-]+\.[a-z]{2,}(?::\d+)?/[\w./-]+:[\w.-]+$")
#: What is said with an address, and never fetched: the licence's, schemas', documentation's, and this table's own.
SAID = re.compile(
    r"https?://(?:www\.gnu\.org/licenses|json-schema\.org|istio\.io/latest|prometheus\.io/docs|"
    r"index\.docker\.io/v1/?$|\\S)"
)
#: Folders of what a run is made of.
RUN = ("plugins/module_utils", "plugins/action", "plugins/plugin_utils", "roles", "playbooks", "site.yml", "meta")


def texts(data: Any) -> Iterator[str]:
    """Each text in data."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from texts(key)
            yield from texts(value)
    elif isinstance(data, list):
        for value in data:
            yield from texts(value)
    elif isinstance(data, str):
        yield data


def files() -> Iterator[Path]:
    """What a run is made of."""
    for name in RUN:
        path = ROOT / name
        found = path.rglob("*") if path.is_dir() else [path]
        yield from (each for each in found if each.suffix in (".py", ".yml", ".yaml", ".j2") and each.is_file())


def strings(path: Path) -> Iterator[str]:
    """Texts of a file: strings in Python, docstrings apart; all of YAML."""
    if path.suffix == ".py":
        tree = ast.parse(path.read_text())
        said = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
                yield node.value
    elif path.suffix in (".yml", ".yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            yield from texts(document)
    else:
        yield path.read_text()


def addresses() -> list[tuple[str, str]]:
    """Each address that a run could fetch from, with the file that says it."""
    found = []
    for path in files():
        if path.name == "upstream.py":  # the table
            continue
        for text in strings(path):
            urls = [url.rstrip(".;") for url in URL.findall(text) if not SAID.match(url)]
            images = [text] if IMAGE.match(text) else []
            found += [(str(path.relative_to(ROOT)), each) for each in [*urls, *images] if "." in each]
    return found


def test_the_walk_sees_what_a_run_fetches() -> None:
    """Else the next test could not fail."""
    seen = {address for _path, address in addresses()}
    assert {
        upstream.CHART_REPOSITORY,
        "https://charts.jetstack.io",
        "https://get.helm.sh/helm-v4.3.0-linux-amd64.tar.gz",
        "registry.k8s.io/e2e-test-images/agnhost:2.66.1",
    } <= seen
    assert any(address.startswith("https://raw.githubusercontent.com/istio/istio/{version}") for address in seen)


@pytest.mark.parametrize(("path", "address"), sorted(set(addresses())))
def test_every_address_that_a_run_may_fetch_from_is_in_the_table(path: str, address: str) -> None:
    """And stays: no default is a place whose end is announced."""
    if re.search(r"(?:[./]|^)(?:example\.com|HOST)\b", address):
        return  # an example in a description
    place = place_of(address)
    assert place is not None, path
    assert place.retired is None, path


def test_defaults_of_the_module_are_in_the_table() -> None:
    """They are made of constants, which no walk over strings can see."""
    spec = options.MESH_ARGUMENT_SPEC
    assert place_of(spec["chart_repository"]["default"]).serves == upstream.CHARTS
    assert place_of(spec["addons_repository"]["default"]).serves == upstream.ADDONS
    sources = {row.source for row in components.COMPONENTS.values()} - {components.ISTIO, components.MANIFESTS}
    assert {place_of(source).serves for source in sources} == {upstream.CHARTS}
    assert upstream.image_place(f"{upstream.HUB}/pilot:1.31.1").serves == upstream.IMAGES


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.serves} {place.address}")
def test_rows_hold_together(place: Place) -> None:
    """What ends has a substitute that serves the same and does not end; samples are of what a place holds."""
    assert "://" not in place.address
    assert place_of(place.address) is place
    assert bool(place.retired) == bool(place.instead)
    if place.retired:
        instead = place_of(place.instead)
        assert (instead.serves, instead.retired) == (place.serves, None)
    version = re.search(r"\d+\.\d+\.\d+", place.sample.replace("{istio}", "1.31.1"))
    assert place.serves == upstream.KEYS or not place.newest or place.holds(version[0])


def test_the_fetched_helm_is_the_one_that_is_asked_for() -> None:
    """`make upstream` asks for what role preflight pins."""
    tools = yaml.safe_load((ROOT / "roles/preflight/vars/main.yml").read_text())["_preflight_released_tools"]
    (place,) = (place for place in PLACES if place.address == "get.helm.sh")
    assert f"https://{place.address}/{place.sample}" in {tool["url"] for tools in tools.values() for tool in tools}


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://blob.istio.io/istio-release/charts", "blob.istio.io/istio-release/charts"),
        ("https://blob.istio.io/istio-release/charts/", "blob.istio.io/istio-release/charts"),
        ("HTTPS://Blob.Istio.IO:443/istio-release/charts", "blob.istio.io/istio-release/charts"),
        ("https://istio-release.storage.googleapis.com/charts", "istio-release.storage.googleapis.com/charts"),
        ("https://storage.googleapis.com/istio-release/charts", "storage.googleapis.com/istio-release/charts"),
        ("https://storage.googleapis.com/istio-release-2/charts", None),
        ("oci://gcr.io/istio-release/charts", "gcr.io/istio-release/charts"),
        ("oci://gcr.io/istio-release/charts/base", "gcr.io/istio-release/charts"),
        ("gcr.io/istio-release", "gcr.io/istio-release"),
        ("gcr.io/istio-release/pilot:1.30.4", "gcr.io/istio-release"),
        ("registry.istio.io/release/proxyv2@sha256:0", "registry.istio.io/release"),
        ("registry.istio.io/released", None),
        ("mirror.example.com/gcr.io/istio-release/pilot:1.30.4", None),
        ("/srv/charts", None),
        ("", None),
    ],
)
def test_place_of_an_address(address: str, found: str | None) -> None:
    """By host and whole parts of the path; the closest row."""
    place = place_of(address)
    assert (place and place.address) == found


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("istio/pilot:1.31.1", "docker.io/istio"),
        ("docker.io/istio/pilot:1.31.1", "docker.io/istio"),
        ("index.docker.io/istio/pilot", "docker.io/istio"),
        ("prom/prometheus:v3.7.3", "docker.io/prom"),
        ("busybox", None),
        ("localhost/istio/pilot", None),
        ("registry.example.com:5000/istio/pilot", None),
    ],
)
def test_place_of_an_image(image: str, found: str | None) -> None:
    """A name without a registry is Docker Hub's."""
    place = image_place(image)
    assert (place and place.address) == found


@pytest.mark.parametrize(
    ("newest", "oldest", "version", "held"),
    [
        ("1.30", "", "1.30.4", True),
        ("1.30", "", "v1.30.0-rc.1", True),
        ("1.30", "", "1.31.0", False),
        ("1.30", "", "1.9.0", True),
        ("1.30", "", "2.0.0", False),
        ("1.31.0", "", "1.31.1", False),
        ("", "1.31.1", "1.31.0", False),
        ("", "1.31.1", "1.31.1", True),
        ("1.30", "", "latest", True),
        ("", "", "1.99.0", True),
    ],
)
def test_what_a_place_holds(newest: str, oldest: str, version: str, held: bool) -> None:
    """A minor stands for all its patches; what is no version is not judged."""
    assert Place("a", upstream.CHARTS, "", newest, oldest).holds(version) is held


@pytest.mark.parametrize(
    ("version", "key"), [("1.30.4", "istio-key.pub"), ("1.31.0", "istio-key.pub"), ("1.31.1", "istio-key-v2.pub")]
)
def test_key_by_version(version: str, key: str) -> None:
    """One key for each version, and the page that tells of them has both."""
    found = [place for place in PLACES if place.serves == upstream.KEYS and place.holds(version)]
    assert [place.address for place in found] == [f"istio.io/misc/{key}"]
    assert f"https://istio.io/misc/{key}" in (ROOT / "roles/istio_helm/README.md").read_text()


def test_the_day_and_what_is_said() -> None:
    """The same words before and after it: they are true on both."""
    place = place_of("https://istio-release.storage.googleapis.com/charts")
    assert not place.over(date(2026, 11, 30))
    assert place.over(date(2026, 12, 1))
    assert place.end == "holds no Istio newer than 1.30, and Istio has announced its removal for December 2026"
    stays = place_of(upstream.CHART_REPOSITORY)
    assert (stays.over(date(2099, 1, 1)), stays.end) == (False, "")
