# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""The registry of a bed: what is told of it, and how an image goes into it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from email.message import Message
from http import HTTPStatus
from types import SimpleNamespace

import pytest
from testbed import engine, registry, versions
from testbed.archive import Image, Layer, read_images, write_archive
from testbed.bed import Bed
from testbed.errors import BedError


@pytest.fixture
def place(tmp_path):
    for name in ("base-1.31.0.tgz", "cert-manager-v1.20.0.tgz"):
        (tmp_path / "charts").mkdir(exist_ok=True)
        (tmp_path / "charts" / name).write_bytes(name.encode())
        (tmp_path / "charts" / f"{name}.prov").write_text("signed")
    (tmp_path / "login").write_text("testbed:secret\n")
    return registry.Place(tmp_path, "172.18.0.1:5443", "172.18.0.1:5080", True)


class FakeClient(registry.Client):
    """A registry in a dictionary: path -> what was put there."""

    def __init__(self):
        self.blobs, self.manifests, self.begun = {}, {}, 0

    def request(self, method, path, body=b"", **headers):
        answer = SimpleNamespace(status=HTTPStatus.OK, headers=Message())
        repository, _, digest = path.removeprefix("/v2/").partition("/blobs/")
        if method == "HEAD":
            answer.status = HTTPStatus.OK if (repository, digest) in self.blobs else HTTPStatus.NOT_FOUND
        elif method == "POST":
            self.begun += 1
            answer.status = HTTPStatus.ACCEPTED
            answer.headers["Location"] = f"{path}{self.begun}?_state=x"
        elif "/manifests/" in path:
            assert headers["Content_Type"] == registry.MANIFEST
            self.manifests[path] = json.loads(body)
            answer.status = HTTPStatus.CREATED
        else:
            content = body.read()
            assert headers["Content_Length"] == str(len(content))
            repository, _, rest = repository, *digest.partition("?_state=x&digest=")[1:]
            assert rest == f"sha256:{hashlib.sha256(content).hexdigest()}"
            self.blobs[repository, rest] = content
            answer.status = HTTPStatus.CREATED
        return answer


def layer(text):
    made = Layer()
    made.add_file("/file", text)
    return made


def test_an_image_goes_in_as_it_is_in_its_archive(tmp_path):
    path, shared = tmp_path / "images.tar", layer("shared")
    names = ["localhost/meshops-istio/pilot:1.31.0", "registry.k8s.io/e2e-test-images/agnhost:2.66.1"]
    write_archive(path, [Image(names[0], (shared, layer("own"))), Image(names[1], (shared,))])
    client = FakeClient()
    with tarfile.open(path) as tar:
        for image in json.load(tar.extractfile("manifest.json")):
            name, _, version = image["RepoTags"][0].rpartition("/")[2].partition(":")
            registry.push_image(client, f"istio/{name}", version, tar, image)
    assert list(client.manifests) == ["/v2/istio/pilot/manifests/1.31.0", "/v2/istio/agnhost/manifests/2.66.1"]
    ids = read_images(path)
    for manifest, name in zip(client.manifests.values(), names, strict=True):
        assert manifest["config"]["digest"] == ids[name]
    manifest = client.manifests["/v2/istio/pilot/manifests/1.31.0"]
    for part in (manifest["config"], *manifest["layers"]):
        assert part["size"] == len(client.blobs["istio/pilot", part["digest"]])
    config = json.loads(client.blobs["istio/pilot", manifest["config"]["digest"]])
    assert [part["digest"] for part in manifest["layers"]] == config["rootfs"]["diff_ids"]


def test_what_is_there_is_not_pushed_again(tmp_path):
    path = tmp_path / "images.tar"
    write_archive(path, [Image("x/pilot:1", (layer("a"),))])
    client = FakeClient()
    for _ in range(2):
        with tarfile.open(path) as tar:
            (image,) = json.load(tar.extractfile("manifest.json"))
            registry.push_image(client, "istio/pilot", "1", tar, image)
    assert client.begun == 2  # the layer and the configuration


def test_an_answer_that_is_not_expected_is_named():
    client = FakeClient()
    with pytest.raises(BedError, match="the registry answered 404 to HEAD /v2/x/blobs/y"):
        client.expect(HTTPStatus.CREATED, "HEAD", "/v2/x/blobs/y")


def test_images_keep_the_end_of_their_names():
    names = registry.image_names("172.18.0.1:5443")
    assert names["pilot"] == f"172.18.0.1:5443/istio/pilot:{versions.ISTIO}"
    assert names["agnhost"] == f"172.18.0.1:5443/istio/agnhost:{versions.AGNHOST}"


def test_a_run_is_told_where_everything_is_and_no_secret(place):
    told = place.variables()
    assert told["oci"] == "oci://172.18.0.1:5443/charts"
    assert told["http"] == "https://172.18.0.1:5443/charts"
    assert told["hub"] == "172.18.0.1:5443/istio"
    assert told["digests"] == {
        "base": f"sha256:{hashlib.sha256(b'base-1.31.0.tgz').hexdigest()}",
        "cert-manager": f"sha256:{hashlib.sha256(b'cert-manager-v1.20.0.tgz').hexdigest()}",
    }
    assert "secret" not in json.dumps(told)
    without_images = registry.Place(place.directory, place.address, place.plain_address, False).variables()
    assert "hub" not in without_images


def test_a_registry_that_was_never_complete_is_none(tmp_path):
    own = Bed("try", tmp_path)
    assert registry.find(own) is None
    own.registry.mkdir(parents=True)
    (own.registry / "place.json").write_text('{"address": "127.0.0.1:1"')
    assert registry.find(own) is None
    noted = {"address": "127.0.0.1:1", "plain_address": "127.0.0.1:2", "images": False}
    (own.registry / "place.json").write_text(json.dumps(noted))
    assert registry.find(own) == registry.Place(own.registry, **noted)


def test_a_node_is_told_which_ca_to_trust_for_which_address(place, monkeypatch):
    (place.directory / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    written = {}

    def run(args, text=None):
        written[args[-1].rpartition("> ")[2]] = text
        return ""

    monkeypatch.setattr(registry, "run", run)
    registry.introduce(Bed("try"), place)
    folder = "/etc/containerd/certs.d/172.18.0.1:5443"
    assert written[f"{folder}/ca.crt"] == "-----BEGIN CERTIFICATE-----\n"
    assert f'ca = "{folder}/ca.crt"' in written[f"{folder}/hosts.toml"]
    assert 'server = "https://172.18.0.1:5443"' in written[f"{folder}/hosts.toml"]


@pytest.mark.parametrize(("printed", "address"), [("172.18.0.1 ", "172.18.0.1"), ("fc00::1 172.18.0.1 ", "172.18.0.1")])
def test_this_machine_has_an_address_in_kinds_network(printed, address, monkeypatch):
    monkeypatch.setattr(engine, "run", lambda _args: printed)
    assert engine.host_address() == address


def test_a_network_without_an_address_of_ours_is_named(monkeypatch):
    monkeypatch.setattr(engine, "run", lambda _args: "fc00::1 ")
    with pytest.raises(BedError, match="no IPv4 address in docker's network kind"):
        engine.host_address()
