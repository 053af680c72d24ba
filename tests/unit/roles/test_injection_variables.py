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
    "knows": "{{ [_liveness_verify_knows_gateways, _liveness_verify_knows_revision] }}",
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

#: What role mesh_options brings, with whichever role depends on it.
DEFAULTS = {
    "mesh_options_arguments": {"chart_version": "{{ istio_helm_chart_version }}"},
    "istio_helm_chart_version": "1.31.1",
    "istio_helm_preset": "lean",
    "istio_helm_gateways": [],
    "istio_helm_revision": "",
}
#: Further variables, and whether the gateways and the revision that istio_helm installs are known from them.
KNOWN: dict[str, tuple[dict[str, Any], list[bool]]] = {
    "nobody says": ({}, [False, False]),
    "a user says": ({"istio_helm_preset": "lean"}, [True, False]),
    "a user says which": ({"istio_helm_revision": ""}, [False, True]),
    "preflight alone": (DEFAULTS, [False, False]),
    "preflight and a user": ({**DEFAULTS, "istio_helm_gateways": [{"name": "a"}]}, [True, False]),
    "preflight and a revision": ({**DEFAULTS, "istio_helm_revision": "canary"}, [False, True]),
    "istio_helm": ({**DEFAULTS, "istio_helm_wait_for": "gateways"}, [True, True]),
}

pytestmark = pytest.mark.slow


def answers(folder: Path, cases: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What comes of each case's variables."""
    files = [str(ROLES / role / part / "main.yml") for role, parts in FILES.items() for part in parts]
    (folder / "app.yml").write_text(f"---\nkind: Service\n---\n---\n{json.dumps(MAP)}\n")
    plays = []
    for name, given in cases.items():
        (folder / f"{name}.vars").write_text(json.dumps(given))
        copy = {"content": "{{ answer | to_json }}", "dest": str(folder / f"{name}.json"), "mode": "0600"}
        common = {"hosts": "localhost", "connection": "local", "gather_facts": False}
        # The last file wins, as a user's variables do over a role's.
        more = {"vars_files": [*files, f"{name}.vars"], "tasks": [{"copy": copy, "vars": {"answer": ASKED}}]}
        plays.append({**common, **more})
    (folder / "play.yml").write_text(json.dumps(plays))
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "play.yml"],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROLES.parent / "collections"),
            "ANSIBLE_HOME": str(folder / "ansible"),
            "NO_COLOR": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in cases}


def test_what_variables_come_to(tmp_path: Path) -> None:
    """An own app takes the place of the guide's; only manual injection has preflight look at istioctl."""
    found = answers(tmp_path, {name: given for name, (given, *_expected) in CASES.items()})
    for name, (_given, objects, accounts, istioctl) in CASES.items():
        answer = found[name]
        explicit = [entry["service_accounts"] for entry in answer["applications"] if "service_accounts" in entry]
        assert (answer["objects"], explicit, answer["istioctl"]) == (objects or [], [accounts], istioctl), name
        assert answer["guides"] == (objects is GUIDES), name


@pytest.mark.once
def test_what_is_known_of_the_mesh(tmp_path: Path) -> None:
    """What somebody has said, or role istio_helm in the play; not what another role brings by default."""
    found = answers(tmp_path, {name: given for name, (given, _known) in KNOWN.items()})
    assert {name: answer["knows"] for name, answer in found.items()} == {
        name: known for name, (_given, known) in KNOWN.items()
    }
