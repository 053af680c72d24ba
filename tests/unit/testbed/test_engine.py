# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Choosing an engine and a source, with a ``docker`` that is a script."""

from __future__ import annotations

import os

import pytest
from testbed import engine
from testbed.errors import BedError, CannotRunContainers


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """Every test asks anew."""
    monkeypatch.delenv("TESTBED_SOURCE", raising=False)
    engine.source.cache_clear()
    yield
    engine.source.cache_clear()


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Installs a docker command that runs the given lines of shell and notes how it was called."""

    def install(*lines):
        program = tmp_path / "docker"
        program.write_text("\n".join(["#!/bin/sh", f'echo "$*" >> {tmp_path}/calls', *lines]) + "\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return tmp_path / "calls"

    return install


def test_a_daemon_that_answers_is_used(docker, tmp_path):
    calls = docker("""echo '{"ServerVersion": "28.1", "CgroupVersion": "2"}'""")
    assert engine.info()["CgroupVersion"] == "2"
    assert engine.ensure(None) == "answers"
    assert "run" not in calls.read_text()


def test_no_daemon_is_no_information(docker):
    docker("exit 1")
    assert engine.info() is None


def test_a_registry_that_answers_is_the_source(docker):
    calls = docker('[ "$1" = manifest ]')
    assert engine.source() == "registry"
    assert engine.source() == "registry"
    assert calls.read_text().count("manifest") == 1


def test_an_image_that_is_there_needs_no_registry(docker):
    calls = docker('[ "$1" = image ]')
    assert engine.source() == "registry"
    assert "manifest" not in calls.read_text()


def test_without_a_registry_everything_is_built(docker):
    docker("exit 1")
    assert engine.source() == "build"


def test_a_registry_that_hangs_is_none(docker, monkeypatch):
    docker('[ "$1" = manifest ] || exit 1', "exec sleep 30")
    monkeypatch.setattr(engine, "REGISTRY_PATIENCE", 0.2)
    assert engine.source() == "build"


@pytest.mark.parametrize("wanted", ["registry", "build"])
def test_the_environment_decides(docker, monkeypatch, wanted):
    docker("exit 1")
    monkeypatch.setenv("TESTBED_SOURCE", wanted)
    assert engine.source() == wanted


def test_the_environment_is_checked(docker, monkeypatch):
    docker("exit 1")
    monkeypatch.setenv("TESTBED_SOURCE", "elsewhere")
    with pytest.raises(BedError, match="registry or build"):
        engine.source()


def test_who_is_not_root_is_told_what_to_do(docker, monkeypatch):
    docker("exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CannotRunContainers, match="only root can start it") as e:
        engine.check_possible()
    assert e.value.exit_code == 3


def test_a_withheld_capability_is_named(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(engine, "lacks_capability", lambda name: name == "CAP_SYS_ADMIN")
    with pytest.raises(CannotRunContainers, match="lacks CAP_SYS_ADMIN, which"):
        engine.check_possible()


def test_a_process_is_known_by_its_start():
    assert engine.start_time(os.getpid()) == engine.start_time(os.getpid()) != ""
    assert engine.start_time(2**22 + 1) == ""
