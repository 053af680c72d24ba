# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of rights beside docs/rbac.yml are what the table says; that one needs charts, and has its test there."""

from __future__ import annotations

import os

import pytest
from cluster import rbac
from harness.playbooks import ROOT


@pytest.mark.parametrize("what", [*rbac.MECHANISMS, *rbac.FEATURES])
def test_the_file_is_what_the_table_says(what: str) -> None:
    """Write it anew by running this test with MESHOPS_WRITE_DOCS=1."""
    wanted = rbac.mechanism_text(what) if what in rbac.MECHANISMS else rbac.feature_text(what)
    if os.environ.get("MESHOPS_WRITE_DOCS") == "1":
        rbac.path(ROOT, what).write_text(wanted)
    assert rbac.path(ROOT, what).read_text() == wanted
