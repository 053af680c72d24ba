# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of rights beside docs/rbac.yml are what the table says; that one needs charts, and has its test there."""

from __future__ import annotations

import os

import pytest
from cluster import rbac
from harness.playbooks import ROOT


@pytest.mark.parametrize("mechanism", rbac.MECHANISMS)
def test_the_file_is_what_the_table_says(mechanism: str) -> None:
    """Write it anew by running this test with MESHOPS_WRITE_DOCS=1."""
    wanted = rbac.mechanism_text(mechanism)
    if os.environ.get("MESHOPS_WRITE_DOCS") == "1":
        rbac.path(ROOT, mechanism).write_text(wanted)
    assert rbac.path(ROOT, mechanism).read_text() == wanted
