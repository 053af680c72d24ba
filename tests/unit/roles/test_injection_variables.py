# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What variables of liveness_verify mean to it, to psp_rbac and to preflight. No cluster is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROLES = Path(__file__).resolve().parents[3] / "roles"
FILES = {
    "liveness_verify": ["defaults", "vars"],
    "psp_rbac": ["defaults", "vars"],
    "preflight": ["defaults"],
}
ASKED = {
    "objects": "{{ _liveness_verify_manifests | map(attribute='kind') | list }}",
    "guides": "{{ not _liveness_verify_is_own_app }}",
    "applications": "{{ _psp_rbac_applications }}",
    "istioctl": "{{ preflight_istioctl_binary }}",
}
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
#: In place of kinds: the guide's app, which is a chart.
GUIDES = None
#: Variables that a user sets, and what comes of them: kinds of objects, service accounts, preflight's istioctl.
CASES: dict[str, tuple[dict[str, Any], list[str] | None, list[str], str]] = {
    "nothing": ({}, GUIDES, ["default", "liveness"], ""),
    "manual": ({"liveness_verify_injection": "manual"}, GUIDES, ["default", "liveness"], "istioctl"),
    "istioctl": (
        {"liveness_verify_injection": "manual", "istio_helm_istioctl_binary": "/bin/istioctl"},
        GUIDES,
        ["default", "liveness"],
        "/bin/istioctl",
    ),
    "not needed": ({"istio_helm_istioctl_binary": "/bin/istioctl"}, GUIDES, ["default", "liveness"], ""),
    "list": ({"liveness_verify_manifests": [MAP]}, ["ConfigMap"], ["*"], ""),
    "file": ({"liveness_verify_manifests": "app.yml"}, ["Service", "ConfigMap"], ["*"], ""),
    "chart": ({"liveness_verify_chart": "charts/app"}, [], ["*"], ""),
    "both": (
        {"liveness_verify_chart": "charts/app", "liveness_verify_manifests": [MAP]},
        ["ConfigMap"],
        ["*"],
        "",
    ),
    "accounts": (
        {"liveness_verify_chart": "charts/app", "psp_rbac_service_accounts": {"liveness": ["app"]}},
        [],
        ["app"],
        "",
    ),
}

pytestmark = pytest.mark.slow


def test_what_variables_come_to(tmp_path: Path) -> None:
    """An own app takes the place of the guide's; only manual injection has preflight look at istioctl."""
    files = [str(ROLES / role / folder / "main.yml") for role, folders in FILES.items() for folder in folders]
    (tmp_path / "app.yml").write_text(f"---\nkind: Service\n---\n---\n{json.dumps(MAP)}\n")
    plays = []
    for name, (given, *_expected) in CASES.items():
        (tmp_path / f"{name}.vars").write_text(json.dumps(given))
        copy = {"content": "{{ answer | to_json }}", "dest": str(tmp_path / f"{name}.json"), "mode": "0600"}
        common = {"hosts": "localhost", "connection": "local", "gather_facts": False}
        # The last file wins, as a user's variables do over a role's.
        more = {"vars_files": [*files, f"{name}.vars"], "tasks": [{"copy": copy, "vars": {"answer": ASKED}}]}
        plays.append({**common, **more})
    (tmp_path / "play.yml").write_text(json.dumps(plays))
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "play.yml"],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROLES.parent / "collections"),
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "NO_COLOR": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    for name, (_given, objects, accounts, istioctl) in CASES.items():
        answer = json.loads((tmp_path / f"{name}.json").read_text())
        explicit = [entry["service_accounts"] for entry in answer["applications"] if "service_accounts" in entry]
        assert (answer["objects"], explicit, answer["istioctl"]) == (objects or [], [accounts], istioctl), name
        assert answer["guides"] == (objects is GUIDES), name
