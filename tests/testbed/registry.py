# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""A bed's own registry: its images, and Istio's charts over OCI and HTTP, for who has the password and knows the CA.

One process of this machine (sources/registry), at an address that is the machine's alone, or one that kind's nodes
reach. Charts are packaged and signed by helm, with the key that Helm's own tests are signed with.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import shutil
import ssl
import tarfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from testbed import artifacts, bed, engine, gobuild, istioimages, versions
from testbed.bed import Bed
from testbed.cache import Cache
from testbed.controlplane import free_ports, write_secret
from testbed.daemons import Daemons
from testbed.errors import BedError
from testbed.phases import Phases
from testbed.process import run
from testbed.programs import LOCALHOST

NAME = "registry"
USER = "testbed"
READY_SECONDS = 20.0
# Below these names things are pushed: HOST/istio/pilot:TAG, oci://HOST/charts/istiod.
IMAGES, CHARTS = "istio", "charts"
CERTIFICATES = "/etc/containerd/certs.d"  # where a node's containerd looks for what it must know of a registry
# Helm publishes both halves of this key in its module.
SIGNING_KEY, SIGNING_NAME = "pkg/provenance/testdata/helm-test-key", "helm-test"

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar"


@dataclass(frozen=True)
class Place:
    """Where the registry of a bed is.

    :param address: HOST:PORT, over TLS
    :param plain_address: the same without
    :param images: the bed's images are in it
    """

    directory: Path
    address: str
    plain_address: str
    images: bool

    @property
    def login(self) -> Path:
        """USER:PASSWORD, for our eyes only."""
        return self.directory / "login"

    @property
    def password(self) -> Path:
        """The password alone, for our eyes only."""
        return self.directory / "password"

    @property
    def ca(self) -> Path:
        """The certificate of its CA; the program makes it."""
        return self.directory / "ca.crt"

    @property
    def charts(self) -> Path:
        """What it serves over HTTP."""
        return self.directory / "charts"

    @property
    def log(self) -> Path:
        """A line for each answer: who asked for what, and the status."""
        return self.directory / "daemons" / f"{NAME}.log"

    @property
    def authorization(self) -> str:
        """The header by which its user logs in."""
        return "Basic " + base64.b64encode(self.login.read_text().strip().encode()).decode()

    def variables(self) -> dict:
        """What a run against the bed needs to know of it. The password is in a file."""
        return {
            "address": self.address,
            "plain_address": self.plain_address,
            "username": USER,
            "password_file": str(self.password),
            "ca_file": str(self.ca),
            "keyring": str(self.directory / "keyring.gpg"),
            "oci": f"oci://{self.address}/{CHARTS}",
            "http": f"https://{self.address}/{CHARTS}",
            "digests": {path.name.rpartition("-")[0]: digest(path) for path in sorted(self.charts.glob("*.tgz"))},
            "log": str(self.log),
            **({"hub": f"{self.address}/{IMAGES}", "images": image_names(self.address)} if self.images else {}),
        }


def digest(path: Path) -> str:
    """Its SHA-256, as registries write it."""
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def image_names(address: str) -> dict[str, str]:
    """What the bed's images are called in the registry."""
    return {name: f"{address}/{IMAGES}/{image.rpartition('/')[2]}" for name, image in istioimages.names().items()}


def daemons(own: Bed) -> Daemons:
    """The one process."""
    return Daemons(own.registry / "daemons")


def find(own: Bed) -> Place | None:
    """Where the registry of a bed is; None if it has none that was ever complete."""
    try:
        return Place(own.registry, **json.loads((own.registry / "place.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


# -- up ----------------------------------------------------------------------------------------------------------------


def up(own: Bed, cache: Cache, charts: Path, node: bool) -> Place:
    """Makes the registry of a bed that is up, or finds it, or starts it again; returns where it is.

    :param charts: directory of the charts that it is to hold
    :param node: the bed is a kind cluster: the registry is where its node reaches it, which is told of the CA, and
        holds the images too
    :raises BedError: it cannot be made
    """
    host = engine.host_address() if node else LOCALHOST
    place = find(own)
    if not place or place.address.partition(":")[0] != host:
        place = make(own, cache, charts, host, node)
    elif daemons(own).pid(NAME) is None:
        start(own, gobuild.build_programs(versions.BUILDS[NAME], cache) / NAME, place)
    if node:
        introduce(own, place)  # the node may be a new one
    return place


def make(own: Bed, cache: Cache, charts: Path, host: str, images: bool) -> Place:
    """Makes it from nothing, or from whatever an interrupted run left."""
    daemons(own).stop()
    directory = own.registry
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    phases = Phases(5 if images else 4)
    program = artifacts.build(NAME, cache, phases) / NAME
    with phases.phase("packaged charts", "~5 s") as phase:
        packages = packaged(cache, charts, phase.start)
        shutil.copytree(packages, directory / "charts")
        key = gobuild.module_directory(cache.root, versions.BUILDS["helm"].module, versions.HELM) / SIGNING_KEY
        shutil.copyfile(key.with_name(f"{key.name}.pub"), directory / "keyring.gpg")
    with phases.phase("registry", "~1 s") as phase:
        phase.start()
        address, plain_address = (f"{host}:{port}" for port in free_ports(2, host))
        place = Place(directory, address, plain_address, images)
        password = secrets.token_hex(16)
        write_secret(place.login, f"{USER}:{password}\n")
        write_secret(place.password, password)
        start(own, program, place)
    with phases.phase("charts into the registry", "~5 s") as phase:
        phase.start()
        push_charts(place)
    if images:
        with phases.phase("images into the registry", "~5 s") as phase:
            phase.start()
            archive = cache.path("images", istioimages.inputs()) / istioimages.ARCHIVE
            if not archive.exists():
                raise BedError("the registry holds images that were built: TESTBED_SOURCE=build")
            push_images(place, archive)
    noted = {"address": place.address, "plain_address": place.plain_address, "images": images}
    (directory / "place.json").write_text(json.dumps(noted))
    return place


def start(own: Bed, program: Path, place: Place) -> None:
    """Starts it; returns when it answers.

    :raises BedError: it ends, or does not answer within ``READY_SECONDS``
    """
    running, deadline = daemons(own), time.monotonic() + READY_SECONDS
    running.start(NAME, [program, place.directory, place.address, place.plain_address])
    while not answers(place):
        if running.pid(NAME) is None or time.monotonic() > deadline:
            raise BedError(f"the registry does not answer; its log ends:\n{running.last_words(NAME)}")
        time.sleep(0.05)


def answers(place: Place) -> bool:
    """Whether it lets its user in, over verified TLS."""
    try:
        with Client(place) as client:
            return client.request("GET", "/v2/").status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


def introduce(own: Bed, place: Place) -> None:
    """Tells the node's containerd by which CA it knows the registry; it looks there at each pull."""
    directory = f"{CERTIFICATES}/{place.address}"
    hosts = f'server = "https://{place.address}"\n[host."https://{place.address}"]\n  ca = "{directory}/ca.crt"\n'
    for name, text in {"ca.crt": place.ca.read_text(), "hosts.toml": hosts}.items():
        write = f"mkdir -p {directory} && cat > {directory}/{name}"
        run(["docker", "exec", "--interactive", own.node, "sh", "-c", write], text=text)


# -- charts ------------------------------------------------------------------------------------------------------------


def packaged(cache: Cache, charts: Path, starting: Callable[[], None]) -> Path:
    """The charts of a directory as NAME-VERSION.tgz, each with a provenance, and the index of an HTTP repository."""
    helm = bed.bin_directory() / "helm"
    key = gobuild.module_directory(cache.root, versions.BUILDS["helm"].module, versions.HELM) / SIGNING_KEY

    def package(target: Path) -> None:
        sign = ["--sign", "--key", SIGNING_NAME, "--keyring", key.with_name(f"{key.name}.secret")]
        for chart in sorted(charts.glob("*/Chart.yaml")):
            run([helm, "package", chart.parent, "--destination", target, *sign])
        run([helm, "repo", "index", target])

    inputs = {"charts": charts.name, "helm": versions.HELM, "code": Path(__file__)}
    return cache.get("packaged-charts", inputs, package, starting)


def push_charts(place: Place) -> None:
    """Pushes the packaged charts, and what proves where they come from, as OCI artifacts."""
    login = place.directory / "login.json"
    auth = place.authorization.partition(" ")[2]
    write_secret(login, json.dumps({"auths": {place.address: {"auth": auth}}}))
    helm, flags = bed.bin_directory() / "helm", ["--ca-file", place.ca]
    for path in sorted(place.charts.glob("*.tgz")):
        run([helm, "push", path, f"oci://{place.address}/{CHARTS}", *flags], env={"HELM_REGISTRY_CONFIG": str(login)})


# -- images ------------------------------------------------------------------------------------------------------------


class Client(ExitStack):
    """Requests to the registry, as its user, over one connection."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        context = ssl.create_default_context(cafile=str(place.ca))
        self.connection = http.client.HTTPSConnection(place.address, context=context, timeout=60)
        self.headers = {"Authorization": place.authorization}
        self.callback(self.connection.close)

    def request(self, method: str, path: str, body=b"", **headers: str) -> http.client.HTTPResponse:
        """Sends a request and reads the answer to its end. A word's underscore in ``headers`` is a dash."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, {**self.headers, **given})
        answer = self.connection.getresponse()
        answer.read()
        return answer

    def expect(self, status: int, method: str, path: str, body=b"", **headers: str) -> http.client.HTTPResponse:
        """The same, where only one status will do. :raises BedError: another came"""
        answer = self.request(method, path, body, **headers)
        if answer.status != status:
            raise BedError(f"the registry answered {answer.status} to {method} {path}")
        return answer


def push_images(place: Place, archive: Path) -> None:
    """Pushes the images of a docker-archive, each layer as it is there: not compressed."""
    with tarfile.open(archive) as tar, Client(place) as client:
        for image in json.load(tar.extractfile("manifest.json")):
            for tag in image["RepoTags"]:
                name, _, version = tag.rpartition("/")[2].partition(":")
                push_image(client, f"{IMAGES}/{name}", version, tar, image)


def push_image(client: Client, repository: str, tag: str, tar: tarfile.TarFile, image: dict) -> None:
    """Pushes one image, under one tag."""
    config = json.load(tar.extractfile(image["Config"]))
    layers = []
    for member, content_digest in zip(image["Layers"], config["rootfs"]["diff_ids"], strict=True):
        layers.append(push_blob(client, repository, tar, member, content_digest, LAYER))
    config_digest = "sha256:" + hashlib.sha256(tar.extractfile(image["Config"]).read()).hexdigest()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": push_blob(client, repository, tar, image["Config"], config_digest, CONFIG),
        "layers": layers,
    }
    path = f"/v2/{repository}/manifests/{tag}"
    client.expect(http.HTTPStatus.CREATED, "PUT", path, json.dumps(manifest).encode(), Content_Type=MANIFEST)


def push_blob(client: Client, repository: str, tar: tarfile.TarFile, member: str, content: str, kind: str) -> dict:
    """Pushes a file of the archive, if it is not there yet; returns how a manifest names it."""
    size = tar.getmember(member).size
    if client.request("HEAD", f"/v2/{repository}/blobs/{content}").status != http.HTTPStatus.OK:
        begun = client.expect(http.HTTPStatus.ACCEPTED, "POST", f"/v2/{repository}/blobs/uploads/")
        location = begun.headers["Location"]
        path = f"{location}{'&' if '?' in location else '?'}digest={content}"
        headers = {"Content_Type": "application/octet-stream", "Content_Length": str(size)}
        client.expect(http.HTTPStatus.CREATED, "PUT", path, tar.extractfile(member), **headers)
    return {"mediaType": kind, "size": size, "digest": content}
