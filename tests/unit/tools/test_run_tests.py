# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the suite run in lanes, lose nothing, and fail together."""

from __future__ import annotations

import sys

import pytest
import run_tests


def step(name: str, program: str) -> run_tests.Step:
    return run_tests.Step(name, [sys.executable, "-c", program])


@pytest.fixture
def parts(monkeypatch):
    given = {
        "lint": lambda: iter([step("a", "print('lint a')"), step("b", "import sys; print('lint b'); sys.exit(3)")]),
        "molecule": lambda: iter([step("kvm", "print('kvm', end='')"), run_tests.Step("none", ["/no/such/program"])]),
    }
    monkeypatch.setattr(run_tests, "PARTS", given)
    return list(given)


def test_clusters_are_waited_for_beside_all_else():
    assert run_tests.lanes(["lint", "molecule", "unit"]) == [["molecule"], ["lint", "unit"]]
    assert run_tests.lanes(["lint", "unit"]) == [["lint", "unit"]]
    assert run_tests.lanes(["molecule-matrix"]) == [["molecule-matrix"]]


def test_every_step_counts_and_is_shown(parts, tmp_path, capfdbinary):
    rows = run_tests.run(parts, tmp_path)

    assert [(part, name, count.passed, count.failed) for part, name, count in rows] == [
        ("lint", "a", 1, 0),
        ("lint", "b", 0, 1),
        ("molecule", "kvm", 1, 0),
        ("molecule", "none", 0, 1),
    ]
    shown = capfdbinary.readouterr().out.decode()
    for whole in ("\n==> lint: a\nlint a\n", "\n==> lint: b\nlint b\n"):
        assert whole in shown
    # What is shown as it comes has others' whole steps in between.
    for text in (
        "==> molecule: kvm\n",
        "kvm\n",
        "==> molecule: none\n",
        "No such file or directory: '/no/such/program'",
    ):
        assert text in shown


def test_a_lane_that_breaks_breaks_the_run(parts, tmp_path, monkeypatch):
    def broken():
        raise RuntimeError("no environment")
        yield

    monkeypatch.setitem(run_tests.PARTS, "lint", broken)
    with pytest.raises(RuntimeError, match="no environment"):
        run_tests.run(parts, tmp_path)
