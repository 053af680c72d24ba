# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Entries of the cache: found by what went into them, whole or absent."""

from __future__ import annotations

import threading

import pytest
from testbed.cache import Cache, content_key, directory, remove_tree


def test_key_follows_every_input(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    inputs = {"version": "v1", "flags": ("-s",), "files": tmp_path}
    first = content_key(inputs)
    assert first == content_key({"flags": ["-s"], "files": tmp_path, "version": "v1"})
    assert first != content_key(inputs | {"version": "v2"})
    file.write_text("two")
    second = content_key(inputs)
    assert second != first
    file.rename(tmp_path / "b")
    assert content_key(inputs) not in (first, second)


def test_an_entry_is_built_once(tmp_path):
    cache, built, announced = Cache(tmp_path), [], []

    def build(target):
        built.append(target)
        (target / "program").write_text("x")

    for _ in range(2):
        entry = cache.get("tool", {"v": 1}, build, lambda: announced.append(True))
    assert (entry / "program").read_text() == "x"
    assert len(built) == len(announced) == 1
    assert cache.entries() == [entry]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_nothing_stays_of_a_failed_build(tmp_path, failure):
    cache = Cache(tmp_path)

    def build(target):
        (target / "half").write_text("x")
        raise failure

    with pytest.raises(failure):
        cache.get("tool", 1, build)
    assert cache.entries() == []
    assert list((tmp_path / "pending").iterdir()) == []


def test_what_a_killed_builder_left_is_removed(tmp_path):
    cache = Cache(tmp_path)
    left = tmp_path / "pending" / f"{cache.path('tool', 1).name}.dead"
    left.mkdir(parents=True)
    cache.get("tool", 1, lambda target: None)
    assert not left.exists()


def test_two_builders_build_once(tmp_path):
    cache, built, inside = Cache(tmp_path), [], threading.Event()

    def build(target):
        built.append(target)
        inside.set()
        threading.Event().wait(0.2)

    first = threading.Thread(target=cache.get, args=("tool", 1, build))
    first.start()
    assert inside.wait(5)
    cache.get("tool", 1, build)
    first.join()
    assert len(built) == 1


def test_read_only_trees_can_be_removed(tmp_path):
    tree = tmp_path / "go-mod" / "module"
    tree.mkdir(parents=True)
    (tree / "file").write_text("x")
    (tree / "file").chmod(0o444)
    tree.chmod(0o555)
    remove_tree(tmp_path / "go-mod")
    assert not (tmp_path / "go-mod").exists()


def test_the_cache_has_one_place_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("MESHOPS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert directory() == tmp_path / "meshops-istio"
    monkeypatch.setenv("MESHOPS_CACHE", str(tmp_path / "own"))
    assert directory() == tmp_path / "own"
