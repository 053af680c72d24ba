# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret of a task's options is in anything that a run leaves behind, on the ansible-core that runs this.

A real ansible-playbook, as curious as it can be asked to be: the action in the controller and the module on a target;
tasks that succeed, are refused and fail. What they return is written to a file, as users do it.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from harness.playbooks import Playbook, Run

pytestmark = pytest.mark.long

VERSION = "1.31.0"
PEM = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEG\n-----END PRIVATE KEY-----\n"


def encoded(text: str) -> str:
    """In base64."""
    return base64.b64encode(text.encode()).decode()


#: What is planted, by where it is given.
SECRETS = {
    "kubeconfig's token": "token-9f3b7c21",
    "kubeconfig's password": 'p4ss "w/o/rd" 9',
    "kubeconfig's key": encoded(PEM),
    "kubeconfig's id token": "id-token-5d2e8a90",
    "kubeconfig's exec plugin": "exec-secret-41fa77c2",
    "api_key": "api-key-77d0c1aa",
    "password": "basic-password-3c9d",
    "proxy_headers": "bob:proxy-basic-8e1f",
    "proxy's login": "proxy-login-6b52",
    "chart_repository_password": "repository-pass-d41d",
    "charts' repository_password": "charts-pass-8cd9",
    "value": "value-secret-e0c9",
    "value that is short": "q7",
    "environment": "environment-key-2f6a",
}
EXEC = {"name": "AWS_SECRET_ACCESS_KEY", "value": SECRETS["kubeconfig's exec plugin"]}
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "users": [
        {"name": "u", "user": {"token": SECRETS["kubeconfig's token"]}},
        {"name": "v", "user": {"username": "v", "password": SECRETS["kubeconfig's password"]}},
        {"name": "w", "user": {"client-key-data": SECRETS["kubeconfig's key"]}},
        {"name": "x", "user": {"auth-provider": {"config": {"id-token": SECRETS["kubeconfig's id token"]}}}},
        {
            "name": "y",
            "user": {
                "exec": {"env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": SECRETS["kubeconfig's exec plugin"]}]}
            },
        },
    ],
}
OPTIONS: dict[str, Any] = {
    "kubeconfig": KUBECONFIG,
    "password": SECRETS["password"],
    "proxy_headers": {"proxy_basic_auth": SECRETS["proxy_headers"]},
    "proxy": "http://bob:%s@127.0.0.1:1" % SECRETS["proxy's login"],
    "chart_repository_username": "bob",
    "chart_repository_password": SECRETS["chart_repository_password"],
    "charts": [
        {
            "component": "kiali",
            "repository": "oci://127.0.0.1:1/charts",
            "version": "2.0.0",
            "repository_password": SECRETS["charts' repository_password"],
        }
    ],
    "chart_version": VERSION,
    "components": ["istiod"],
    "gateways": [],
    "platform": "",
    "values": {"istiod": {"adminPassword": SECRETS["value"], "smtp": {"password": SECRETS["value that is short"]}}},
}
CASES = {
    "works": {},
    "is refused": {"exposure": SECRETS["api_key"], "api_key": SECRETS["api_key"]},  # the message quotes it
    "reaches nobody": {"platform": "auto", "proxy": ""},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the run writes."""
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """Return the run of all cases, with the report that follows them."""
    for chart in (folder / "charts/istiod", folder / "charts/gateway"):
        chart.mkdir(parents=True)
        (chart / "Chart.yaml").write_text(f"name: {chart.name}\nversion: {VERSION}\n")
        (chart / "values.yaml").write_text("autoscaleEnabled: true\n")
    options: dict[str, dict[str, Any]] = {}
    tasks: list[dict[str, Any]] = []
    for name, over in CASES.items():
        options[name] = {"chart_repository": str(folder / "charts"), **OPTIONS, **over}
        tasks += [
            {
                "name": f"one that {name}",
                # By variables: where a task fails, Ansible quotes the playbook, with all that stands there.
                "meshops.istio.istio_values_info": {
                    option: f"{{{{ options['{name}']['{option}'] }}}}" for option in options[name]
                },
                "register": name.replace(" ", "_"),
                "ignore_errors": True,
                # Elsewhere Ansible itself shows the environment, as a part of its command line.
                "environment": "{{ {'K8S_AUTH_PASSWORD': environment_key} if here | default(false) else {} }}",
            },
        ]
    results = "{{ {%s} }}" % ", ".join(f"'{name}': {name.replace(' ', '_')}" for name in CASES)
    tasks += [
        {
            "name": "write it to a file",
            "ansible.builtin.copy": {
                "content": "{{ results | to_nice_json }}",
                "dest": f"{folder}/{{{{ inventory_hostname }}}}.json",
            },
            "delegate_to": "localhost",
        },
        {
            "name": "report it",
            "meshops.istio.istio_report": {
                "directory": f"{folder}/report",
                "phases": "{{ results }}",
                "api_key": "{{ options['is refused'].api_key }}",
                "kubeconfig": "{{ options['works'].kubeconfig }}",
            },
            "register": "report",
        },
        {
            "name": "hand its summary on",
            "ansible.builtin.set_stats": {"data": {"istio_report": "{{ report.summary }}"}, "per_host": False},
        },
    ]
    hosts = {
        "in-process": {"ansible_connection": "local", "here": True},
        "as-module": {"ansible_connection": "as_process"},
    }
    common = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    play = {"hosts": "all", "gather_facts": False, "vars": {"results": results}, "tasks": tasks}
    environ = {
        "ANSIBLE_INJECT_INVOCATION": "true",
        "ANSIBLE_DEPRECATION_WARNINGS": "true",
        "ANSIBLE_SHOW_CUSTOM_STATS": "true",
        "ANSIBLE_DIFF_ALWAYS": "true",
        "ANSIBLE_LOG_PATH": str(folder / "ansible.log"),
    }
    for host in hosts.values():
        host.update(common)
    variables = {"options": options, "environment_key": SECRETS["environment"]}
    return Playbook(folder, [play], hosts, variables, ("-vvv", "--forks=2"), environ).run().succeeded()


def shapes(secret: str) -> set[str]:
    """How a secret may be written."""
    found = {secret, json.dumps(secret)[1:-1], encoded(secret), quote(secret, safe="")}
    if secret == encoded(PEM):
        found |= {PEM, json.dumps(PEM)[1:-1], "MIGHAgEAMBMGByqGSM49AgEG"}
    return found


def left_behind(run: Run, folder: Path) -> dict[str, str]:
    """All text that there is after the run, by where it is."""
    found = {"output": run.output, "callback": json.dumps([vars(result) for result in run.results])}
    for path in folder.rglob("*"):
        if path.is_file():
            found[str(path.relative_to(folder))] = path.read_text(errors="replace")
    return found


@pytest.mark.parametrize("name", SECRETS)
def test_secret_is_left_nowhere(name: str, run: Run, folder: Path) -> None:
    """Neither shown, nor logged, nor in a registered result, nor in the report."""
    secret = SECRETS[name]
    for place, text in left_behind(run, folder).items():
        for shape in shapes(secret) if len(secret) > 2 else {f'"{secret}"', f"'{secret}'"}:
            assert shape not in text, place


def test_the_run_was_a_curious_one(run: Run, folder: Path) -> None:
    """Else there would be nothing to find: arguments are shown, results and reports are written, both ways."""
    assert run.output.count('"module_args"') >= 2 * len(CASES)
    assert "AnsiballZ_istio_values_info.py" in run.output
    places = left_behind(run, folder)
    for host in ("in-process", "as-module"):
        results = json.loads(places[f"{host}.json"])
        for name, kept in results.items():
            assert kept.get("failed", False) is (name != "works"), kept["msg"]
        assert set(results) == set(CASES)
        assert {f"report/{host}.{ending}" for ending in ("html", "json", "xml")} <= set(places)
        assert results["works"]["releases"][0]["user_supplied"]["adminPassword"].startswith("<hidden: ")
    assert "istio_report" in run.output


def test_nothing_of_ours_is_deprecated(run: Run) -> None:
    """Core says so at once, and takes it away three versions later."""
    lines = [line for line in run.output.splitlines() if "DEPRECATION" in line]
    assert not [line for line in lines if "meshops" in line or "remove_values" in line or "kubernetes" not in line], (
        lines
    )
