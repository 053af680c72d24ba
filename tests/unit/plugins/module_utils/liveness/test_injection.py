# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""istioctl gets the workloads and nothing else, and of its answer only the pods' template is taken."""

from __future__ import annotations

import copy
import json
import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ansible_collections.meshops.istio.plugins.module_utils.connection.connection import Connection
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.liveness import injection
from ansible_collections.meshops.istio.plugins.module_utils.liveness.injection import Settings
from ansible_collections.meshops.istio.plugins.module_utils.mesh.istioctl import Istioctl
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.privileges import privilege

#: Notes what it was given, and answers as kube-inject does: a sidecar in each template, and Go's zero values.
PROGRAM = """#!{python}
import json, os, shutil, sys
here = os.path.dirname(sys.argv[0])
note = lambda name, text: open(os.path.join(here, name), "w", encoding="utf-8").write(text)
note("words", "\\n".join(sys.argv[1:]))
note("environment", json.dumps(dict(os.environ)))
sys.stdin.reconfigure(encoding="utf-8")
sys.stdout.reconfigure(encoding="utf-8")
text = sys.stdin.read()
note("stdin", text)
for word in sys.argv[1:]:
    if word.startswith("/"):
        shutil.copy(word, os.path.join(here, os.path.basename(word)))
        note("modes", oct(os.stat(word).st_mode & 0o777) + " " + oct(os.stat(os.path.dirname(word)).st_mode & 0o777))
for document in text.split("\\n---\\n"):
    obj = json.loads(document)
    part = obj
    for step in {{"Pod": [], "CronJob": ["spec", "jobTemplate"]}}.get(obj["kind"], ["spec", "template"]):
        part = part[step]
    pod = part["spec"]["template"]["spec"] if obj["kind"] == "CronJob" else part["spec"]
    part.setdefault("metadata", {{}})["creationTimestamp"] = None
    annotations = part["metadata"].setdefault("annotations", {{}})
    if "sidecar.istio.io/status" not in annotations:
        pod["containers"].append({{"name": "istio-proxy", "image": "proxyv2", "resources": {{}}}})
        annotations["sidecar.istio.io/status"] = "{{}}"
    obj["status"] = {{}}
    obj["spec"]["strategy"] = {{}}
    print(json.dumps(obj, ensure_ascii=False) + "\\n---")
"""


class Program:
    """An istioctl that takes notes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "istioctl"
        self.path.write_text(PROGRAM.format(python=sys.executable))
        self.path.chmod(0o755)
        self.istioctl = Istioctl(str(self.path))

    def note(self, name: str) -> str:
        """What it noted."""
        return (self.folder / name).read_text(encoding="utf-8")

    @property
    def words(self) -> list[str]:
        """The words of its last call."""
        return self.note("words").splitlines()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Return an istioctl."""
    (tmp_path / "bin").mkdir()
    return Program(tmp_path / "bin")


SETTINGS = Settings("", "policy: enabled\n", '{"global": {}}', "rootNamespace: istio-system\n")
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "a"}},
    "spec": {"containers": [{"name": "app", "image": "a"}], "volumes": [{"name": "tmp", "emptyDir": {}}]},
}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s", "namespace": "n"},
    "stringData": {"key": "do-not-show"},
}


def workload(kind: str = "Deployment", **more: Any) -> dict[str, Any]:
    """One that kube-inject knows."""
    meta = {"name": "a", "namespace": "n"}
    if kind == "Pod":
        return {"apiVersion": "v1", "kind": kind, "metadata": meta, "spec": copy.deepcopy(TEMPLATE["spec"]), **more}
    spec: dict[str, Any] = {"template": copy.deepcopy(TEMPLATE)}
    if kind == "CronJob":
        spec = {"schedule": "@daily", "jobTemplate": {"spec": spec}}
    (api_version,) = [api_version for api_version, known in injection.PARTS if known == kind]
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": spec, **more}


# -- labels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "revision", "labels"),
    [
        ("automatic", "", {"istio-injection": "enabled"}),
        ("automatic", "1-31", {"istio.io/rev": "1-31"}),
        ("manual", "", {"istio-injection": "disabled"}),
        ("manual", "1-31", {"istio-injection": "disabled"}),
    ],
)
def test_labels_of_the_namespace(mode: str, revision: str, labels: dict[str, str]) -> None:
    """With manual injection the injector must not add a second sidecar, not even where it asks for no label."""
    assert injection.namespace_labels(mode, revision) == labels


# -- objects -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for _version, kind in injection.PARTS])
def test_every_kind_that_kube_inject_knows(kind: str, program: Program) -> None:
    """The sidecar comes in, volumes that are empty maps stay, and nothing of Go's zero values comes along."""
    before = workload(kind)
    given = copy.deepcopy(before)
    (after,), remarks = injection.injected([given], injection.by_config(program.istioctl, SETTINGS))
    assert (given, remarks) == (before, [])
    text = json.dumps(after)
    assert '"istio-proxy"' in text
    assert '"emptyDir": {}' in text
    assert "null" not in text
    assert "status" not in after
    assert kind == "Pod" or "strategy" not in after["spec"]
    assert injection.is_injected(after)
    assert not injection.is_injected(before)


def test_only_workloads_leave_this_process(program: Program) -> None:
    """What cannot have a sidecar stays what it was and where it was; istioctl never sees a Secret."""
    objects = [
        SECRET,
        workload(),
        {"kind": "Nonsense"},
        {"apiVersion": "apps/v1", "kind": "Deployment"},
        workload("Job"),
    ]
    found, _remarks = injection.injected(objects, injection.by_config(program.istioctl, SETTINGS))
    assert "do-not-show" not in program.note("stdin")
    assert [found[place] for place in (0, 2, 3)] == [objects[place] for place in (0, 2, 3)]
    assert all(map(injection.is_injected, [found[1], found[4]]))


def test_nothing_to_inject() -> None:
    """Then istioctl is not run at all."""

    def unexpected(_text: str) -> Any:
        raise AssertionError

    assert injection.injected([SECRET], unexpected) == ([SECRET], [])


@pytest.mark.parametrize("kind", ["Deployment", "Pod", "CronJob"])
def test_an_object_that_has_its_sidecar_stays_as_it_is(kind: str, program: Program) -> None:
    """The very object, though the answer has zero values that it has not."""
    inject = injection.by_config(program.istioctl, SETTINGS)
    (once,), _remarks = injection.injected([workload(kind)], inject)
    (twice,), _remarks = injection.injected([once], inject)
    assert twice is once


def test_an_object_of_another_template_is_injected_anew() -> None:
    """Such as one with an older proxy: kube-inject takes its own containers out first."""
    old, new = workload(), workload()
    for obj, image in ((old, "proxyv2:1.30"), (new, "proxyv2:1.31")):
        obj["spec"]["template"]["metadata"]["annotations"] = {"sidecar.istio.io/status": "{}"}
        obj["spec"]["template"]["spec"]["containers"].append({"name": "istio-proxy", "image": image})
    found, _remarks = injection.injected([old], lambda _text: (yaml.safe_dump(new), []))
    assert found == [new]


def test_text_of_any_language(program: Program) -> None:
    """A pair of escapes, as JSON writes such characters, is none to YAML."""
    obj = workload()
    obj["spec"]["template"]["metadata"]["annotations"] = {"note": "größer 🚀"}
    (after,), _remarks = injection.injected([obj], injection.by_config(program.istioctl, SETTINGS))
    assert after["spec"]["template"]["metadata"]["annotations"]["note"] == "größer 🚀"
    assert "🚀" in program.note("stdin")


# -- what istioctl 1.31 has printed ------------------------------------------------------------------------------------

#: Of the charts' own settings, and of pilot.cni.enabled: true.
RECORDED = Path(__file__).parent / "recorded"
BY_CNI = {"init": ("kube-inject.txt", False), "cni": ("kube-inject-cni.txt", True)}


def recorded(name: str) -> dict[str, Any]:
    """The pods' template of an application that was injected so."""
    labels = {"app": "liveness", "version": "v1"}
    app = workload()
    app["spec"] = {"selector": {"matchLabels": {"app": "liveness"}}, "template": copy.deepcopy(TEMPLATE)}
    app["spec"]["template"]["metadata"]["labels"] = labels
    (found,), _remarks = injection.injected([app], lambda _text: ((RECORDED / name).read_text(), []))
    assert injection.is_injected(found)
    assert set(found["spec"]) == {"selector", "template"}
    return found["spec"]["template"]


@pytest.mark.parametrize("name", BY_CNI)
def test_capabilities_of_a_sidecar(name: str) -> None:
    """As the injector's would: with Istio CNI there is no istio-init, and pods need what psp_rbac says they need."""
    file, istio_cni = BY_CNI[name]
    spec = recorded(file)["spec"]
    (init,) = spec["initContainers"]
    assert init["name"] == ("istio-validation" if istio_cni else "istio-init")
    added = [
        capability
        for container in [*spec["containers"], init]
        for capability in container.get("securityContext", {}).get("capabilities", {}).get("add", [])
    ]
    assert added == ([] if istio_cni else ["NET_ADMIN", "NET_RAW"])
    assert (privilege("application", istio_cni) == "none") is (added == [])


@pytest.mark.parametrize("name", BY_CNI)
def test_recorded_output_is_what_goes_in_again(name: str) -> None:
    """It is known by its status, and is not touched."""
    text = (RECORDED / BY_CNI[name][0]).read_text()
    (app,) = [document for document in yaml.safe_load_all(text) if document]
    assert injection.injected([app], lambda _text: (text, []))[0][0] is app


# -- sources -----------------------------------------------------------------------------------------------------------


def test_by_config_asks_no_cluster(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Templates, values and mesh settings in files of our own, gone afterwards; no kubeconfig, no default revision."""
    monkeypatch.setenv("KUBECONFIG", "/somebody/else")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "private"))
    (tmp_path / "private").mkdir()
    injection.by_config(program.istioctl, SETTINGS)(json.dumps(workload()))
    assert program.words[:3] == ["kube-inject", "--filename", "-"]
    assert program.words[-2:] == ["--revision", "default"]
    assert program.note("injectConfigFile") == SETTINGS.templates
    assert program.note("valuesFile") == SETTINGS.values
    assert program.note("meshConfigFile") == SETTINGS.mesh
    assert program.note("modes") == "0o600 0o700"
    assert json.loads(program.note("environment"))["KUBECONFIG"] == os.devnull
    assert list((tmp_path / "private").iterdir()) == []


def test_by_config_names_the_revision(program: Program) -> None:
    """Which goes into the pods' annotations."""
    injection.by_config(program.istioctl, Settings("1-31", "", "", ""))(json.dumps(workload()))
    assert program.words[-2:] == ["--revision", "1-31"]


def test_by_istiod_shows_no_token(program: Program) -> None:
    """Neither on the command line nor in the environment; the kubeconfig of its own is gone afterwards."""
    connection = Connection({"host": "https://192.0.2.1:6443", "api_key": "do-not-show", "impersonate_user": "joe"})
    cluster: Any = SimpleNamespace(connection=connection)
    injection.by_istiod(program.istioctl, cluster, "istio-system", "")(json.dumps(workload()))
    assert "--revision" not in program.words
    injection.by_istiod(program.istioctl, cluster, "mesh", "1-31")(json.dumps(workload()))
    assert program.words == [
        "kube-inject",
        "--filename",
        "-",
        "--istioNamespace",
        "mesh",
        "--revision",
        "1-31",
        "--as=joe",
    ]
    environment = json.loads(program.note("environment"))
    assert "do-not-show" not in str(environment) + str(program.words)
    assert not Path(environment["KUBECONFIG"]).exists()


# -- failures ----------------------------------------------------------------------------------------------------------


def failing(folder: Path, line: str) -> Istioctl:
    """An istioctl that runs a line of shell."""
    path = folder / "istioctl"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Istioctl(str(path))


def test_failure_of_istioctl(tmp_path: Path) -> None:
    """The message is istioctl's own error, and what it most often is; what it logs beside that is noise."""
    istioctl = failing(tmp_path, "echo 2026-01-01 warn noise >&2; echo 'Error: function \"x\" not defined' >&2; exit 1")
    with pytest.raises(JobError) as caught:
        istioctl.kube_inject("", [], dict(os.environ))
    assert str(caught.value) == (
        f'istioctl kube-inject failed: Error: function "x" not defined ({istioctl.binary}). Correct what istioctl '
        "reports. If it is not of istiod's version, install that version: it may not understand istiod's template."
    )


def test_remarks_of_istioctl(tmp_path: Path) -> None:
    """What it leaves alone is told, its log is not."""
    line = '===> Skipping injection because Deployment "n/a" has sidecar injection disabled'
    istioctl = failing(tmp_path, f"echo '{line}' >&2; echo 2026-01-01 warn noise >&2")
    assert istioctl.kube_inject("", [], dict(os.environ)) == ("", [line[len("===> ") :]])


def test_istioctl_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says who needs it and how to name one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for binary in (None, "", "istioctl"):
        with pytest.raises(
            JobError, match=r"^istioctl was not found on PATH\. Manual injection needs the istioctl of your"
        ):
            Istioctl(binary)
    with pytest.raises(JobError, match=r"^istioctl was not found at /nonexistent/istioctl\. Install "):
        Istioctl("/nonexistent/istioctl")


# -- what istiod injects with ------------------------------------------------------------------------------------------

Maps = dict[str, dict[str, str]]


class Store:
    """A cluster with ConfigMaps of Istio's namespace, and webhooks of tags."""

    def __init__(self, maps: Maps, tags: dict[str, str] | None = None) -> None:
        self.maps = maps
        self.tags = tags or {}

    def get(self, api_version: str, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """A ConfigMap."""
        assert (api_version, kind, namespace) == ("v1", "ConfigMap", "mesh")
        return {"data": self.maps[name]} if name in self.maps else None

    def list(self, _api_version: str, kind: str, label_selector: str) -> list[dict[str, Any]]:
        """The webhooks of a tag."""
        assert kind == "MutatingWebhookConfiguration"
        key, tag = label_selector.split("=")
        assert key == "istio.io/tag"
        return [{"metadata": {"labels": {"istio.io/rev": self.tags[tag]}}}] if tag in self.tags else []


INJECTOR = {"config": "c", "values": "v"}
BOTH: Maps = {"istio-sidecar-injector-1-31": INJECTOR, "istio-1-31": {"mesh": "m"}}


@pytest.mark.parametrize(
    ("maps", "tags", "wanted", "found"),
    [
        ({"istio-sidecar-injector": INJECTOR}, {}, "", ""),
        (BOTH, {}, "1-31", "1-31"),
        (BOTH, {"stable": "1-31"}, "stable", "1-31"),
        (BOTH, {"default": "1-31"}, "", "1-31"),
        ({"istio-sidecar-injector": INJECTOR}, {"stable": "default"}, "stable", "default"),
        ({}, {}, "", None),
        ({}, {"default": "1-31"}, "", None),
        (BOTH, {}, "", None),
        (BOTH, {"stable": "1-31"}, "1-30", None),
    ],
    ids=str,
)
def test_revision_by_its_name_or_a_tag(maps: Maps, tags: dict[str, str], wanted: str, found: str | None) -> None:
    """A namespace's label may name either; ConfigMaps are named by the revision alone."""
    assert injection.revision_of(Store(maps, tags), "mesh", wanted) == found


@pytest.mark.parametrize(("revision", "suffix"), [("", ""), ("default", ""), ("1-31", "-1-31")])
def test_settings(revision: str, suffix: str) -> None:
    """From the ConfigMaps of that revision."""
    maps = {f"istio-sidecar-injector{suffix}": INJECTOR, f"istio{suffix}": {"mesh": "m"}}
    assert injection.settings(Store(maps), "mesh", revision) == Settings(revision, "c", "v", "m")


@pytest.mark.parametrize(
    ("maps", "says"),
    [
        ({"istio-sidecar-injector": INJECTOR}, "ConfigMap mesh/istio has no mesh, which"),
        ({"istio-sidecar-injector": {}}, "ConfigMap mesh/istio-sidecar-injector has no config and no values, which"),
    ],
)
def test_settings_that_are_not_there(maps: Maps, says: str) -> None:
    """The message names ConfigMap and key, and two ways out."""
    with pytest.raises(JobError) as caught:
        injection.settings(Store(maps), "mesh", "")
    assert str(caught.value).startswith(says)
    assert "liveness_verify_injection_source: live" in str(caught.value)
