# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""The pip that fetches programs."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from testbed import wheels
from testbed.errors import BedError

TESTS = Path(wheels.__file__).parents[1]


@pytest.fixture
def without_pip(tmp_path):
    """A Python that has no pip, as in the environments that uv makes."""
    venv.create(tmp_path / "bare", with_pip=False)
    return tmp_path / "bare/bin/python"


@pytest.fixture
def with_pip(tmp_path):
    """Something that answers as a Python with pip does."""
    program = tmp_path / "python3"
    program.write_text('#!/bin/sh\n[ "$*" = "-m pip --version" ]\n')
    program.chmod(0o755)
    return program


def test_a_python_without_pip_is_passed_over(without_pip, with_pip):
    assert wheels.pip([without_pip, without_pip.with_name("none"), with_pip]) == [str(with_pip), "-m", "pip"]


def test_a_bed_that_such_a_python_runs_finds_another(without_pip, with_pip):
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PATH": f"{with_pip.parent}:{os.environ['PATH']}"}
    ask = "from testbed import wheels; print(wheels.pip()[0])"
    told = subprocess.run([without_pip, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    base = Path(sys.base_prefix) / "bin/python3"  # has it or not, as this machine is
    assert told.stdout.strip() in (str(base), str(with_pip))


def test_where_none_has_it_the_way_out_is_said(without_pip):
    with pytest.raises(BedError, match=r"no pip.*python3-pip"):
        wheels.pip([without_pip])
