# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight judges and crds prepares is what istio_helm installs. No cluster is needed.

One run of ansible-playbook with the roles as they are, in which the modules only note what they were given.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from harness.beds import LOCAL
from harness.playbooks import ROOT, Playbook

from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition
from ansible_collections.meshops.istio.plugins.module_utils.mesh.option_table import OPTIONS
from ansible_collections.meshops.istio.plugins.module_utils.mesh.options import MESH_ARGUMENT_SPEC
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import MeshOptions

#: One process, for the newest core alone; tests/packaging/test_connection.py runs the roles on the others.
pytestmark = [pytest.mark.once, pytest.mark.slow]

GROUP = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]["mesh"]
INSTALLS = "istio_releases"
#: In place of each module of the group.
RECORDER = """
import json, os
from ansible_collections.meshops.istio.plugins.plugin_utils.in_process import InProcessAction

class ActionModule(InProcessAction):
    module = "{module}"

    def _perform(self, task_vars):
        folder = os.path.join(os.environ["MESHOPS_TEST_RECORD"], task_vars["inventory_hostname"])
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, self.module), "w") as file:
            json.dump(self._task.args, file)
        return {{"changed": False}}
"""
PINNED = {"http2": 30010, "https": 30011, "status-port": 30012}
#: What users write, by a name of its own.
INVENTORIES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "older": {"istio_helm_chart_version": "1.24.6"},
    "air-gapped": {"istio_helm_chart_repository": "/srv/charts", "istio_helm_addons_repository": "/srv/addons"},
    "registry": {
        "istio_helm_chart_repository": "oci://registry.example.com/charts",
        "istio_helm_chart_repository_username": "robot",
        "istio_helm_chart_repository_password": "{{ vault_password }}",
        "istio_helm_chart_repository_ca_file": "/etc/ssl/example-ca.pem",
        "istio_helm_chart_digests": {"base": "sha256:" + "0" * 64},
        "vault_password": "not to be seen",
    },
    "signed": {"istio_helm_chart_keyring": "/srv/keys.gpg", "istio_helm_chart_repository_plain_http": True},
    "guide": {"istio_helm_preset": "guide", "istio_helm_exposure": "NodePort"},
    "nothing but": {"istio_helm_preset": "none", "istio_helm_components": ["istiod"]},
    "2018": {"istio_helm_components": ["pilot", "citadel", "tracing"]},
    "ambient": {"istio_helm_profile": "ambient", "istio_helm_platform": "k3s"},
    "platform": {"istio_helm_platform": ""},
    "cert-manager": {"istio_helm_components": ["base", "istiod", "cert-manager", "istio-csr"]},
    "chart": {
        "istio_helm_components": ["base", "istiod", "prometheus"],
        "istio_helm_charts": [{"component": "prometheus", "repository": "https://example.com", "version": "27.1.0"}],
        "istio_helm_values": {"prometheus": {"server": {"retention": "15d"}}},
    },
    "canary": {"istio_helm_revision": "canary", "istio_helm_namespace": "istio-canary"},
    "canary by values": {"istio_helm_values": {"istiod": {"revision": "canary"}}},
    "mirror": {"istio_helm_hub": "registry.example.com/istio", "istio_helm_tag": "1.31.1-distroless"},
    "pulled": {"istio_helm_image_pull_policy": "Always", "istio_helm_image_pull_secrets": ["docker-hub", "mirror"]},
    "pinned": {"istio_helm_exposure": "NodePort", "istio_helm_gateways": [{"name": "edge", "node_ports": PINNED}]},
    "pinned by values": {
        "istio_helm_values": {"gateway": {"service": {"ports": [{"name": "https", "port": 443, "nodePort": 30443}]}}}
    },
    "pinned by its own": {
        "istio_helm_gateways": [
            {"name": "edge", "values": {"service": {"ports": [{"name": "https", "port": 443, "nodePort": 30443}]}}}
        ]
    },
    "two gateways": {
        "istio_helm_gateways": [
            {"name": "public", "namespace": "edge", "replicas": 3, "external_traffic_policy": "Local"},
            {"name": "private", "internal": True, "load_balancer_ip": "10.0.0.9", "labels": {"istio": "private"}},
        ],
        "istio_helm_provider": "azure",
    },
    "by a variable": {
        "istio_helm_namespace": "{{ team }}-mesh",
        "istio_helm_hub": "{{ team | upper }}",
        "team": "shop",
    },
    "adopted": {"istio_helm_adopt": True, "istio_helm_helm_binary": "/opt/helm"},
    # In place already: see ``fetched``.
    "fetched": {
        "preflight_fetch_tools": True,
        "preflight_tools_directory": "{{ inventory_dir }}/../bin",
        "preflight_tools": [{"name": "helm", "url": "file:///none", "checksum": "sha256:0", "member": "helm"}],
    },
}


def shipped() -> dict[str, dict[str, Any]]:
    """The inventories that users copy, each with the variables of one of its groups."""
    found = {}
    for path in sorted((ROOT / "inventories").glob("*/group_vars/*.yml")):
        common = path.with_name("all.yml")
        files = [common, path] if common.exists() else [path]
        found[f"{path.parts[-3]} {path.stem}"] = {
            name: value for file in files for name, value in (yaml.safe_load(file.read_text()) or {}).items()
        }
    return found


def sample(name: str) -> Any:
    """Something else than an option's default, of its type, as a variable may be set to it."""
    row = OPTIONS[name]
    if "choices" in row:
        return next(choice for choice in row["choices"] if choice != row.get("default"))
    if "options" in row:
        return [{below: name for below, option in row["options"].items() if option.get("required")}]
    kinds: dict[str, Any] = {"bool": not row.get("default"), "list": [name], "dict": {name: {"is": "set"}}}
    return kinds.get(row["type"], f"/{name}")


#: Each option set, and each option empty.
ALL_SET = {f"istio_helm_{name}": sample(name) for name in OPTIONS}
ALL_EMPTY = {
    f"istio_helm_{name}": "" for name, row in OPTIONS.items() if "default" not in row and not row.get("required")
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], dict[str, Any]]:
    """Return what a module was given on a host."""
    home = tmp_path_factory.mktemp("home")
    collection = home / "collections/ansible_collections/meshops/istio"
    (collection / "plugins/action").mkdir(parents=True)
    for name in ("galaxy.yml", "meta", "roles", *(f"plugins/{path.name}" for path in (ROOT / "plugins").iterdir())):
        if name != "plugins/action":
            (collection / name).symlink_to(ROOT / name)
    for module in GROUP:
        (collection / f"plugins/action/{module}.py").write_text(RECORDER.format(module=module))
    hosts = {**INVENTORIES, **shipped(), "all set": ALL_SET, "all empty": ALL_EMPTY}
    # The roles' own variables are checked elsewhere, and time is dear.
    roles = [
        {"ansible.builtin.import_role": {"name": f"meshops.istio.{name}", "rolespec_validate": False}}
        for name in ("preflight", "crds", "istio_helm", "istio_helm")
    ]
    roles[-1]["vars"] = {"istio_helm_show_values": True}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "module_defaults": {"group/meshops.istio.istio": {"kubeconfig": "{{ mine }}", "context": "theirs"}},
        "tasks": roles,
    }
    own = {"mine": "/mine", "istio_context": "mine", "preflight_ignore": ["cluster-twice"]}
    (home / "bin").mkdir()
    (home / "bin/helm").write_text("")
    (home / "bin/.helm.checksum").write_text("sha256:0")
    inventory = {name: {**LOCAL, **given, **own} for name, given in hosts.items()}
    environment = {
        "ANSIBLE_COLLECTIONS_PATH": str(home / "collections"),
        "MESHOPS_TEST_RECORD": str(home / "record"),
        "ANSIBLE_FORKS": "2",
    }
    Playbook(home, [play], inventory, {}, environ=environment).run().succeeded()
    return lambda host, module: json.loads((home / "record" / host / module).read_text())


def mesh(arguments: dict[str, Any]) -> dict[str, Any]:
    """The options of a mesh among those that a module was given."""
    return {name: value for name, value in arguments.items() if name in MESH_ARGUMENT_SPEC}


def releases(arguments: dict[str, Any]) -> list[composition.Release]:
    """What Helm is to hold, by the options that a module was given."""
    validated = ArgumentSpecValidator(copy.deepcopy(MESH_ARGUMENT_SPEC)).validate(mesh(arguments))
    assert not validated.error_messages
    return composition.releases(MeshOptions.of(validated.validated_parameters))


def test_there_are_enough_inventories() -> None:
    """Those that people write, and those that we give them."""
    assert len(INVENTORIES) >= 20
    assert len(shipped()) >= 3


@pytest.mark.parametrize("host", [*INVENTORIES, *shipped()])
def test_every_role_means_the_same_mesh(recorded: Callable[[str, str], dict[str, Any]], host: str) -> None:
    """What is given is the same, and so is what comes of it, release by release."""
    installed = recorded(host, INSTALLS)
    for module in GROUP:
        assert mesh(recorded(host, module)) == mesh(installed), module
        assert releases(recorded(host, module)) == releases(installed), module
    # Not the same by being nothing.
    assert host == "nothing" or mesh(installed) != mesh(recorded("nothing", INSTALLS)) or host.startswith("cloud")


@pytest.mark.parametrize("module", GROUP)
def test_every_option_reaches_every_module(recorded: Callable[[str, str], dict[str, Any]], module: str) -> None:
    """Each variable sets the option of its name, and one that is empty sets none."""
    assert mesh(recorded("all set", module)) == {name: sample(name) for name in OPTIONS}
    empty = {name.removeprefix("istio_helm_") for name in ALL_EMPTY}
    assert set(mesh(recorded("all empty", module))) == set(OPTIONS) - empty


@pytest.mark.parametrize("module", GROUP)
def test_users_own_defaults_still_count(recorded: Callable[[str, str], dict[str, Any]], module: str) -> None:
    """Those of another group, where no variable of ours says anything else."""
    given = recorded("nothing", module)
    assert (given["kubeconfig"], given["context"]) == ("/mine", "mine")
