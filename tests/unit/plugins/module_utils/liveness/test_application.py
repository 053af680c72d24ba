# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is applied: a chart's objects and given ones, in a namespace that asks for the sidecar or turns it away."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.liveness import application, injection
from ansible_collections.meshops.istio.plugins.module_utils.liveness.application import Application, flat, placed
from ansible_collections.meshops.istio.plugins.module_utils.task import Task

APP: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a"},
    "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}},
}
SIDECAR = {"sidecar.istio.io/status": "{}"}
ENABLED, DISABLED = {"istio-injection": "enabled"}, {"istio-injection": "disabled"}


def thing(kind: str = "Service", **metadata: Any) -> dict[str, Any]:
    """An object without a sidecar."""
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", **metadata}}


def namespace(name: str = "liveness", **labels: str) -> dict[str, Any]:
    """A namespace with labels."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, **({"labels": labels} if labels else {})},
    }


class Cluster:
    """One on which istiod may be."""

    def __init__(self, istiod: bool = True) -> None:
        self.istiod = istiod

    def version(self) -> dict[str, str]:
        """For helm."""
        return {"gitVersion": "v1.37.2"}

    def get(self, _api_version: str, _kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """What istiod injects with."""
        assert namespace == "istio-system"
        data = {"istio-sidecar-injector": {"config": "c", "values": "v"}, "istio": {"mesh": "m"}}
        return {"data": data[name]} if self.istiod and name in data else None

    def list(self, *_kind: str, label_selector: str) -> list[dict[str, Any]]:
        """No tags."""
        assert label_selector.startswith("istio.io/tag=")
        return []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what sidecars were made from; istioctl stands for itself."""
    log: list[str] = []

    def source(name: str) -> Any:
        def make(*_arguments: Any) -> Any:
            def inject(text: str) -> tuple[str, list[str]]:
                log.append(name)
                found = list(yaml.safe_load_all(text))
                for obj in found:
                    obj["spec"]["template"]["metadata"] = {"annotations": SIDECAR}
                return yaml.safe_dump_all(found), ["Skipping injection because ..."]

            return inject

        return make

    monkeypatch.setattr(application, "Istioctl", lambda binary: binary)
    monkeypatch.setattr(injection, "by_config", source("config"))
    monkeypatch.setattr(injection, "by_istiod", source("live"))
    return log


def task(check_mode: bool = False, **given: Any) -> Task:
    """A task as Ansible would make it."""
    validated = ArgumentSpecValidator(copy.deepcopy(application.ARGUMENT_SPEC)).validate({"manifests": [], **given})
    assert not validated.error_messages
    return Task(validated.validated_parameters, check_mode)


def prepare(cluster: Cluster | None = None, **given: Any) -> Application:
    """What is applied."""
    return application.prepare(task(**given), cluster or Cluster())


# -- objects -----------------------------------------------------------------------------------------------------------


def test_lists_are_taken_apart() -> None:
    """As kubectl does; a kind whose name only ends in List is none."""
    inner = {"apiVersion": "v1", "kind": "List", "items": [thing("ConfigMap")]}
    other = {"kind": "AllowList", "items": [1]}
    assert flat([{"kind": "List", "items": [thing(), inner]}, other]) == [thing(), thing("ConfigMap"), other]


def test_objects_go_to_the_namespace_unless_they_name_one() -> None:
    """The namespace comes first, with its labels; those of other namespaces stay as they are."""
    given = [thing(), thing(namespace="elsewhere"), namespace("other", a="b"), {"kind": "Nonsense"}]
    before = copy.deepcopy(given)
    assert placed(given, "liveness", ENABLED) == [
        namespace(**ENABLED),
        thing(namespace="liveness"),
        thing(namespace="elsewhere"),
        namespace("other", a="b"),
        {"kind": "Nonsense", "metadata": {"namespace": "liveness"}},
    ]
    assert given == before


def test_a_namespace_among_the_manifests() -> None:
    """Its own labels stay but for those about injection: what is asked for counts."""
    labels = {"team": "a", "istio-injection": "enabled", "istio.io/rev": "1-30"}
    found = placed([thing(), namespace(**labels)], "liveness", DISABLED)
    assert found == [namespace(team="a", **DISABLED), thing(namespace="liveness")]


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ({}, ENABLED),
        ({"revision": "1-31"}, {"istio.io/rev": "1-31"}),
        ({"namespace_labels": {"istio.io/dataplane-mode": "ambient"}}, {"istio.io/dataplane-mode": "ambient"}),
        ({"injection": "manual"}, DISABLED),
    ],
    ids=str,
)
def test_labels_of_the_namespace(given: dict[str, Any], labels: dict[str, str]) -> None:
    """As injection asks for them, or as they are given."""
    found = prepare(namespace="liveness", manifests=[thing()], **given)
    assert found.objects == [namespace(**labels), thing(namespace="liveness")]


def test_without_a_namespace_objects_are_as_given() -> None:
    """Who names no namespace means the objects to say it themselves."""
    assert prepare(manifests=[thing()]) == Application([thing()])


# -- charts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Any]]:
    """Return a chart, and what helm was asked to render; helm stands for itself."""
    folder = tmp_path / "liveness-chart"
    folder.mkdir()
    (folder / "Chart.yaml").write_text("{name: liveness-chart, version: 1.0.0}")
    calls: list[Any] = []
    hooks = {"prepare": "pre-install, pre-upgrade", "probe": "test", "old-probe": "test-success,test-failure"}
    documents = [
        APP,
        None,
        *(thing("Pod", name=name, annotations={"helm.sh/hook": moment}) for name, moment in hooks.items()),
    ]

    class Helm:
        def __init__(self, binary: str | None) -> None:
            calls.append(binary)

        def template(self, *arguments: Any, **more: Any) -> str:
            calls.append((*arguments, more))
            return yaml.safe_dump_all(documents)

    monkeypatch.setattr(application, "Helm", Helm)
    return folder, calls


def test_chart_is_rendered(chart: tuple[Path, list[Any]]) -> None:
    """By the helm that is named, under the name and with the values that are given; given objects come beside."""
    folder, calls = chart
    options = {"chart": str(folder), "chart_values": {"ingress": {"port": 30010}}, "chart_release": "probe"}
    asking = task(namespace="liveness", manifests=[thing()], helm_binary="/bin/helm", **options)
    found = application.prepare(asking, Cluster())
    assert [obj["kind"] for obj in found.objects] == ["Namespace", "Deployment", "Service"]
    rendering = ("probe", "liveness", folder, {"ingress": {"port": 30010}}, "v1.37.2", {"include_crds": True})
    assert calls == ["/bin/helm", rendering]
    (warning,) = asking.warnings
    assert "Helm hooks are not applied: Pod prepare (pre-install, pre-upgrade). Add" in warning


@pytest.mark.parametrize(("content", "says"), [(None, "contains no Chart.yaml"), ("", "its Chart.yaml is empty")])
def test_chart_that_is_none(content: str | None, says: str, tmp_path: Path) -> None:
    """Found before helm runs."""
    if content is not None:
        (tmp_path / "Chart.yaml").write_text(content)
    with pytest.raises(JobError) as caught:
        prepare(chart=str(tmp_path))
    assert str(caught.value).startswith(f"{tmp_path} is not a chart: ")
    assert says in str(caught.value)


def test_chart_that_is_not_there(tmp_path: Path) -> None:
    """Named, with the system's own words."""
    with pytest.raises(JobError, match=r"missing\.tgz is not a packaged chart: .*No such file"):
        prepare(chart=str(tmp_path / "missing.tgz"))


# -- manual injection --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["config", "live"])
def test_manual_injection(source: str, asked: list[str]) -> None:
    """The sidecar is in the template, from the source that is asked for, and the result names who has it."""
    asking = task(namespace="liveness", manifests=[APP, thing()], injection="manual", injection_source=source)
    found = application.prepare(asking, Cluster())
    assert asked == [source]
    assert found.objects[0] == namespace(**DISABLED)
    assert found.objects[1]["spec"]["template"]["metadata"]["annotations"] == SIDECAR
    assert found.facts == {"injected": ["Deployment liveness/a"]}
    assert asking.warnings == ["Skipping injection because ..."]


def test_config_is_the_source_unless_another_is_named(asked: list[str]) -> None:
    """It takes the fewest rights, and the same comes out each time."""
    prepare(manifests=[APP], injection="manual")
    assert asked == ["config"]


def test_automatic_injection_needs_no_istioctl(asked: list[str]) -> None:
    """It is the injector's work."""
    assert prepare(manifests=[APP]) == Application([APP])
    assert asked == []


def test_nothing_that_could_be_injected(asked: list[str]) -> None:
    """Then istiod is not looked for."""
    assert prepare(Cluster(istiod=False), manifests=[thing()], injection="manual") == Application([thing()])
    assert asked == []


@pytest.mark.parametrize(("revision", "under"), [("", ""), ("default", ""), ("1-31", " of revision or tag 1-31")])
def test_istiod_that_is_not_there(revision: str, under: str, asked: list[str]) -> None:
    """The message says where it was looked for, who installs it, and how to name another."""
    with pytest.raises(JobError) as caught:
        prepare(Cluster(istiod=False), manifests=[APP], injection="manual", revision=revision)
    assert str(caught.value).startswith(
        f"Manual injection needs istiod{under}, which does not exist in namespace istio-system. Run role istio_helm"
    )
    assert asked == []


def test_istiod_that_is_not_there_yet(asked: list[str]) -> None:
    """In check mode before the first run: the application is shown as it is, and that is said."""
    asking = task(check_mode=True, manifests=[APP], injection="manual")
    assert application.prepare(asking, Cluster(istiod=False)) == Application([APP], {"injected": []})
    (warning,) = asking.warnings
    assert warning.endswith("The application is shown without its sidecar.")
    assert asked == []


def test_check_mode_injects_where_istiod_is(asked: list[str]) -> None:
    """Else its diff would show a sidecar that goes."""
    found = prepare(check_mode=True, manifests=[APP], injection="manual")
    assert found.facts == {"injected": ["Deployment a"]}
    assert asked == ["config"]
