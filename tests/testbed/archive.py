# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Container images written by hand: layers as tar, several images in one "docker-archive", no engine needed.

That format is what ``docker load`` and ``ctr images import`` read. Writing it ourselves also sets what
``docker import`` cannot, such as the stop signal that systemd in a kind node needs.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BLOCK = 512


class Layer:
    """The files of one layer, collected first and written once. Paths are absolute paths in the image."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[tarfile.TarInfo, Path | bytes | None]] = {}
        self._trees: list[tuple[Path, str, Callable[[str], bool]]] = []

    def add_file(self, path: str, content: Path | bytes | str, mode: int = 0o644, owner: int = 0) -> None:
        """A file with the content of another, or with the given bytes or text."""
        content = content.encode() if isinstance(content, str) else content
        info = self._info(path, tarfile.REGTYPE, mode, owner)
        info.size = len(content) if isinstance(content, bytes) else content.stat().st_size
        self._add(info, content)

    def add_program(self, path: str, content: Path | str) -> None:
        """An executable file."""
        self.add_file(path, content, 0o755)

    def add_directory(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        """A directory; only needed where parents of files are not enough."""
        self._add(self._info(path, tarfile.DIRTYPE, mode, owner))

    def add_link(self, path: str, target: str) -> None:
        """A symbolic link."""
        info = self._info(path, tarfile.SYMTYPE, 0o777)
        info.linkname = target
        self._add(info)

    def add_tree(self, source: Path, path: str = "/", keep: Callable[[str], bool] = lambda path: True) -> None:
        """A directory of this machine with owners, modes and links as they are; written before everything else.

        :param keep: is given each path inside the image and says whether it goes in
        """
        self._trees.append((source, path, keep))

    @staticmethod
    def _info(path: str, kind: bytes, mode: int, owner: int = 0) -> tarfile.TarInfo:
        info = tarfile.TarInfo(path.strip("/"))
        info.type, info.mode, info.uid, info.gid = kind, mode, owner, owner
        return info

    def _add(self, info: tarfile.TarInfo, content: Path | bytes | None = None) -> None:
        for parent in reversed(Path(info.name).parents):
            if str(parent) != ".":
                self._items.setdefault(str(parent), (self._info(str(parent), tarfile.DIRTYPE, 0o755), None))
        self._items[info.name] = (info, content)

    def write(self, stream: BinaryIO) -> None:
        """Writes the layer as a tar; nothing is held in memory but the list of names."""
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as tar:
            for source, path, keep in self._trees:
                tar.inodes = {}
                self._write_tree(tar, source, path.strip("/"), keep)
            for info, content in self._items.values():
                if isinstance(content, Path):
                    with content.open("rb") as f:
                        tar.addfile(info, f)
                else:
                    tar.addfile(info, io.BytesIO(content) if content is not None else None)

    @staticmethod
    def _write_tree(tar: tarfile.TarFile, source: Path, prefix: str, keep: Callable[[str], bool]) -> None:
        for file in sorted(source.rglob("*")):
            name = f"{prefix}/{file.relative_to(source)}".lstrip("/")
            if not keep(f"/{name}"):
                continue
            info = tar.gettarinfo(file, name)
            if info is None:  # a socket
                continue
            info.uname = info.gname = ""
            if info.isreg():
                with file.open("rb") as f:
                    tar.addfile(info, f)
            else:
                tar.addfile(info)


@dataclass(frozen=True)
class Image:
    """An image: its name with tag, its layers from the lowest up, and its configuration in docker's words."""

    name: str
    layers: tuple[Layer, ...]
    config: Mapping = field(default_factory=dict)


class _Hashing(io.RawIOBase):
    """Passes bytes on, and knows their hash and number."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._hash, self.size = stream, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self._hash.update(data)
        self.size += len(data)
        self._stream.write(data)
        return len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def write_archive(path: Path, images: list[Image], architecture: str = "amd64") -> dict[str, str]:
    """Writes ``images`` as one docker-archive and returns each image's name with its id ("sha256:...").

    A layer that several images share is written once. A layer's size is known only when it is written, so its tar
    header is left blank first and filled in afterwards: no layer is held in memory or written twice.
    """
    written: dict[int, tuple[str, str]] = {}
    ids, manifest = {}, []
    with path.open("w+b") as out:
        for image in images:
            for layer in image.layers:
                if id(layer) not in written:
                    name = f"layer-{len(written)}.tar"
                    written[id(layer)] = (name, _write_layer(out, layer, name))
            names, digests = zip(*(written[id(layer)] for layer in image.layers), strict=True)
            config = json.dumps(_config(image, list(digests), architecture), sort_keys=True).encode()
            digest = hashlib.sha256(config).hexdigest()
            _write_member(out, f"{digest}.json", config)
            ids[image.name] = f"sha256:{digest}"
            manifest.append({"Config": f"{digest}.json", "RepoTags": [image.name], "Layers": list(names)})
        _write_member(out, "manifest.json", json.dumps(manifest).encode())
        out.write(b"\0" * 2 * _BLOCK)
    return ids


def _config(image: Image, digests: list[str], architecture: str) -> dict:
    """The image's configuration file: docker's config, and what each layer's content must hash to."""
    config = copy.deepcopy(dict(image.config))
    config.setdefault("Env", [])
    if not any(item.startswith("PATH=") for item in config["Env"]):
        config["Env"].insert(0, f"PATH={PATH}")
    return {
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": [{"created_by": "meshops.istio test bed"} for _ in digests],
    }


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


def _pad(out: BinaryIO, size: int) -> None:
    out.write(b"\0" * (-size % _BLOCK))


def _write_layer(out: BinaryIO, layer: Layer, name: str) -> str:
    start = out.tell()
    out.write(b"\0" * _BLOCK)
    content = _Hashing(out)
    layer.write(content)
    _pad(out, content.size)
    end = out.tell()
    out.seek(start)
    out.write(_header(name, content.size))
    out.seek(end)
    return content.digest


def _write_member(out: BinaryIO, name: str, content: bytes) -> None:
    out.write(_header(name, len(content)))
    out.write(content)
    _pad(out, len(content))


def read_images(path: Path) -> dict[str, str]:
    """Name and id ("sha256:...") of each image in a docker-archive.

    :raises KeyError: it is no docker-archive
    """
    with tarfile.open(path) as tar:
        manifest = json.load(tar.extractfile(tar.getmember("manifest.json")))
        return {
            tag: "sha256:" + hashlib.sha256(tar.extractfile(image["Config"]).read()).hexdigest()
            for image in manifest
            for tag in image["RepoTags"] or []
        }
