# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Images written by hand are what an engine expects to read."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest
from testbed.archive import Image, Layer, read_images, write_archive


@pytest.fixture
def written(tmp_path):
    """An archive of two images that share a layer: its members by name, and the ids."""
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "motd").write_text("hello")
    (tree / "etc" / "link").symlink_to("motd")
    (tree / "dev").mkdir()
    (tree / "dev" / "null").write_text("")
    base, top = Layer(), Layer()
    base.add_tree(tree, keep=lambda path: not path.startswith("/dev/"))
    base.add_directory("/scratch", 0o1777)
    top.add_program("/usr/local/bin/app", "#!/bin/sh\n" + "x" * 1000)
    top.add_file("/home/app/rc", b"data", owner=1337)
    top.add_link("/usr/bin/app", "../local/bin/app")
    images = [
        Image("localhost/a:1", (base, top), {"Entrypoint": ["/usr/local/bin/app"], "StopSignal": "SIGRTMIN+3"}),
        Image("localhost/b:1", (base,), {"Env": ["A=b"]}),
    ]
    file = tmp_path / "images.tar"
    ids = write_archive(file, images)
    with tarfile.open(file) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    return file, members, ids


def entry(members, name):
    manifest = json.loads(members["manifest.json"])
    return next(image for image in manifest if image["RepoTags"] == [name])


def test_every_layer_hashes_to_what_the_configuration_says(written):
    _file, members, ids = written
    for name in ("localhost/a:1", "localhost/b:1"):
        image = entry(members, name)
        config = json.loads(members[image["Config"]])
        hashes = ["sha256:" + hashlib.sha256(members[layer]).hexdigest() for layer in image["Layers"]]
        assert config["rootfs"]["diff_ids"] == hashes
        assert ids[name] == "sha256:" + hashlib.sha256(members[image["Config"]]).hexdigest()


def test_a_shared_layer_is_written_once(written):
    _file, members, _ids = written
    assert entry(members, "localhost/a:1")["Layers"][0] == entry(members, "localhost/b:1")["Layers"][0]
    assert sum(name.startswith("layer-") for name in members) == 2


def test_the_configuration_is_kept_and_has_a_path(written):
    _file, members, _ids = written
    config = json.loads(members[entry(members, "localhost/a:1")["Config"]])["config"]
    assert config["StopSignal"] == "SIGRTMIN+3"
    assert config["Env"][0].startswith("PATH=")
    other = json.loads(members[entry(members, "localhost/b:1")["Config"]])["config"]
    assert other["Env"][1] == "A=b"


def test_files_keep_their_content_mode_owner_and_parents(written):
    _file, members, _ids = written
    base, top = (members[layer] for layer in entry(members, "localhost/a:1")["Layers"])
    with tarfile.open(fileobj=io.BytesIO(base)) as tar:
        assert tar.extractfile("etc/motd").read() == b"hello"
        assert tar.getmember("etc/link").linkname == "motd"
        assert tar.getmember("scratch").mode == 0o1777
        assert "dev/null" not in tar.getnames()
    with tarfile.open(fileobj=io.BytesIO(top)) as tar:
        names = tar.getnames()
        assert names.index("usr/local/bin") < names.index("usr/local/bin/app")
        assert tar.getmember("usr/local/bin/app").mode == 0o755
        assert tar.getmember("home/app/rc").uid == 1337
        assert tar.getmember("usr/bin/app").issym()


def test_an_archive_tells_its_images(written):
    file, _members, ids = written
    assert read_images(file) == ids


def test_something_else_is_no_archive(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w"):
        pass
    with pytest.raises(KeyError):
        read_images(tmp_path / "x.tar")
