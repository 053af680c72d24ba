# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where charts are asked for, without the internet: a proxy on this machine notes each host, and leads nowhere."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.beds import BedCluster
from harness.in_process import options_of, run_job, run_preflight

from ansible_collections.meshops.istio.plugins.module_utils import upstream
from ansible_collections.meshops.istio.plugins.module_utils.jobs import crds, releases
from ansible_collections.meshops.istio.plugins.module_utils.mesh import components

GOOGLE = "https://istio-release.storage.googleapis.com/charts"
#: A run with the variables' defaults: what the test bed says of charts is left out.
DEFAULTS = {"istio_helm_chart_repository": None, "istio_helm_chart_version": None, "istio_helm_exposure": "NodePort"}


@dataclass
class Proxy:
    """A proxy that leads nowhere.

    :ivar list asked: each ``HOST:PORT`` that somebody wanted to be led to, in order
    """

    url: str = ""
    asked: list[str] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """By which programs go through it, other than to the API server."""
        names = {"HTTPS_PROXY": self.url, "HTTP_PROXY": self.url, "NO_PROXY": "127.0.0.1"}
        return {**names, **{name.lower(): value for name, value in names.items()}}


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Yield the proxy, on an ephemeral port of 127.0.0.1."""
    found = Proxy()

    class Handler(BaseHTTPRequestHandler):
        def refuse(self) -> None:
            found.asked.append(self.path)
            self.send_error(502)

        do_CONNECT = do_GET = do_HEAD = refuse

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def behind(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Proxy:
    """The proxy, for jobs in this very process, of a user who has fetched no chart yet."""
    for name, value in proxy.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return proxy


def test_site_with_its_default_variables_asks_istios_repository_first(today: BedCluster, proxy: Proxy) -> None:
    """Nothing but that host, and nothing is written when it does not answer; the message names the repository."""
    with today.asked() as asked:
        run = today.site("--extra-vars=report_write=false", environ=proxy.environ, **DEFAULTS)
    assert proxy.asked[0] == "blob.istio.io:443", run.output
    assert set(proxy.asked) == {"blob.istio.io:443"}
    assert run.code != 0
    assert "[chart-missing] chart base 1.31.1: Chart base 1.31.1: blob.istio.io cannot be reached: the" in run.message
    assert "https://blob.istio.io/istio-release/charts" in run.message
    assert asked.writes == []


@pytest.mark.parametrize(
    ("repository", "host", "instead"),
    [
        (GOOGLE, "istio-release.storage.googleapis.com:443", "https://blob.istio.io/istio-release/charts"),
        ("oci://gcr.io/istio-release/charts", "gcr.io:443", "oci://ghcr.io/istio/release/charts"),
    ],
)
def test_a_repository_that_istio_has_left(
    today: BedCluster, behind: Proxy, repository: str, host: str, instead: str
) -> None:
    """Preflight finds one error for all charts of it; each role alone ends in one message. Nothing is written."""
    options = {**options_of(today.variables), "chart_repository": repository, "chart_version": "1.31.1"}
    with today.asked() as asked:
        result, _task = run_preflight({**options, "exposure": "NodePort"})
        (found,) = [item for item in result["findings"] if item["code"].startswith("chart-")]
        messages = [f"{found['message']} {found['fix']}"]
        messages += [run_job(job, options)[0]["msg"] for job in (crds, releases)]
    assert (found["code"], found["severity"]) == ("chart-source-retired", "error")
    assert found["object"] == f"chart repository {repository}"
    for message in messages:
        assert "Chart base 1.31.1" in message
        assert "holds no Istio newer than 1.30" in message
        assert "December 2026" in message
        assert instead in message
        assert "\n" not in message
    assert set(behind.asked) == {host}
    assert asked.writes == []


def test_a_chart_that_is_kept_from_a_repository_that_istio_leaves(
    today: BedCluster, behind: Proxy, tmp_path: Path
) -> None:
    """A warning, and a run that goes on; the repository of today with the same charts gets none."""
    for repository in (GOOGLE, upstream.CHART_REPOSITORY):
        folder = tmp_path / "cache/meshops-istio/charts" / hashlib.sha256(repository.encode()).hexdigest()[:16]
        for name in ("base", "istiod", "gateway"):
            chart = Path(today.variables["istio_helm_chart_repository"]) / name
            today.tool("helm", "package", chart, "--destination", folder)
    options = {**options_of(today.variables), "exposure": "NodePort", "values": today.variables["istio_helm_values"]}
    found = run_preflight({**options, "chart_repository": GOOGLE})[0]
    assert [(item["code"], item["severity"]) for item in found["findings"]] == [("chart-source-retiring", "warning")]
    assert "failed" not in found
    assert run_preflight({**options, "chart_repository": upstream.CHART_REPOSITORY})[0]["findings"] == []
    assert behind.asked == []


def images(data: Any) -> Iterator[str]:
    """Each image that containers in objects have."""
    if isinstance(data, dict):
        if isinstance(data.get("image"), str):
            yield data["image"]
        for value in data.values():
            yield from images(value)
    elif isinstance(data, list):
        for value in data:
            yield from images(value)


def test_images_of_istios_manifests_are_of_places_in_the_table(today: BedCluster) -> None:
    """What nodes pull for addons is in no file of ours, so it is read where it is; `make upstream` asks for one."""
    folder = Path(today.variables["istio_helm_chart_repository"]) / "addons"
    names = [row.chart for row in components.COMPONENTS.values() if row.source == components.MANIFESTS]
    found = {
        image for name in names for image in images(list(yaml.safe_load_all((folder / f"{name}.yaml").read_text())))
    }
    assert len(found) >= len(names)
    samples = {f"{place.address}/{place.sample}" for place in upstream.PLACES if place.serves == upstream.IMAGES}
    for image in found:
        place = upstream.image_place(image)
        assert place is not None, image
        assert place.retired is None, image
        assert image in samples, f"{image}: `make upstream` should ask for this"


@pytest.mark.parametrize("name", ["istiod", "cni", "ztunnel"])
def test_charts_take_images_from_a_place_that_stays(today: BedCluster, name: str) -> None:
    """As released: the default of Istio's charts is where their images are."""
    text = (Path(today.variables["istio_helm_chart_repository"]) / name / "values.yaml").read_text()
    assert f"hub: {upstream.HUB}\n" in text
    assert "registry.istio.io/release" not in text
