# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that a run gives helm, and the charts' own, as users would write them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.cluster import go_yaml
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.jobs import values
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

VERSION = "1.31.0"
DEFAULTS = {
    "istiod": {"_internal_defaults_do_not_set": {"autoscaleEnabled": True, "global": {"tag": "latest"}}, "own": 1},
    "gateway": {"replicas": 1},
}


@pytest.fixture
def repository(tmp_path: Path) -> str:
    """Two charts; one keeps its defaults as Istio's do."""
    for name, defaults in DEFAULTS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "Chart.yaml").write_text(f"name: {name}\nversion: {VERSION}\n")
        (tmp_path / name / "values.yaml").write_text(yaml.safe_dump(defaults))
    return str(tmp_path)


def shown(repository: str, **given: Any) -> tuple[dict[str, Any], list[str]]:
    """The result by release, and what was printed."""
    options = {"chart_version": VERSION, "chart_repository": repository, "platform": "", "components": ["istiod"]}
    validation = ArgumentSpecValidator(copy.deepcopy(values.ARGUMENT_SPEC)).validate({**options, **given})
    assert not validation.error_messages
    said: list[str] = []
    result = values.run(Task(validation.validated_parameters, say=said.append))
    assert result["changed"] is False
    return {entry["name"]: entry for entry in result["releases"]}, said


def test_values_of_each_release(repository: str) -> None:
    """The charts' own, ours with the user's, and both together."""
    found, _said = shown(repository, values={"istiod": {"global": {"tag": "x"}}})
    assert found["istiod"]["defaults"] == {"own": 1, "autoscaleEnabled": True, "global": {"tag": "latest"}}
    assert found["istiod"]["user_supplied"] == {"global": {"istioNamespace": "istio-system", "tag": "x"}}
    assert found["istiod"]["computed"] == {
        "own": 1,
        "autoscaleEnabled": True,
        "global": {"istioNamespace": "istio-system", "tag": "x"},
    }
    assert found["istio-ingressgateway"]["computed"]["replicas"] == 1


def test_a_person_reads_yaml(repository: str) -> None:
    """Each release under its name."""
    _found, said = shown(repository, gateways=[{"name": "in", "type": "NodePort"}])
    headings = [line for line in said if line.startswith("#")]
    assert headings == ["# istio-system/istiod: chart istiod 1.31.0", "# istio-system/in: chart gateway 1.31.0"]
    printed = yaml.safe_load("\n".join(said[said.index(headings[1]) :]))
    assert printed["user_supplied"]["service"]["type"] == "NodePort"


def test_texts_stay_texts(repository: str) -> None:
    """What is copied from there into a file is the same to helm and to Ansible."""
    texts = {"a": "y", "b": "12:30", "c": "0o17", "d": "1e3", "e": "2026-11-30"}
    _found, said = shown(repository, values={"istiod": {"texts": texts}})
    printed = "\n".join(said[1 : said.index("# istio-system/istio-ingressgateway: chart gateway 1.31.0")])
    assert yaml.safe_load(printed)["user_supplied"]["texts"] == texts
    assert go_yaml.load(printed)["user_supplied"]["texts"] == texts


def test_the_cluster_is_asked_for_its_platform_alone(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not at all where the platform is given."""
    monkeypatch.setattr(values, "Cluster", lambda params: "cluster")
    monkeypatch.setattr(values, "served_groups", lambda cluster: {"security.openshift.io": {"v1"}})
    found, _said = shown(repository, platform="auto")
    assert found["istiod"]["user_supplied"]["global"]["platform"] == "openshift"


def test_options_that_contradict_each_other(repository: str) -> None:
    """Are told as a run would tell them."""
    with pytest.raises(JobError, match="unknown component pillot"):
        shown(repository, components=["pillot"])


def test_secrets_among_the_values(repository: str) -> None:
    """Hidden in the result and on the screen, the same in what is given and in what comes of it."""
    given = {"istiod": {"adminPassword": "hunter2-Xy7", "note": "it is hunter2-Xy7", "imagePullSecrets": ["regcred"]}}
    found, said = shown(repository, values=given)
    assert "hunter2-Xy7" not in str(found) + str(said)
    user, all_of_them = found["istiod"]["user_supplied"], found["istiod"]["computed"]
    assert user["adminPassword"] == all_of_them["adminPassword"]
    assert user["note"] == f"it is {user['adminPassword']}"
    assert user["imagePullSecrets"] == ["regcred"]
