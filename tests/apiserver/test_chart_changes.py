# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A chart of one's own is installed once: the second run says so, and a change of it counts if it changes anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.beds import BedCluster
from harness.in_process import options_of, run_job

from ansible_collections.meshops.istio.plugins.module_utils.jobs import releases

FILES = {
    "Chart.yaml": "apiVersion: v2\nname: own\nversion: 1.0.0\nappVersion: 1.10\n",
    "values.yaml": "used: 1\n",
    "templates/all.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data:
  at: 12:30
  day: 2026-11-30
  used: {{ .Values.used | toJson | quote }}
  files: {{ (.Files.Glob "files/*").AsConfig | quote }}
""",
}
SUBCHART = {
    "charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 0.1.0\n",
    "charts/sub/values.yaml": "color: red\n",
    "charts/sub/templates/all.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-sub"}
data: {color: {{ .Values.color | quote }}}
""",
}
DEPENDENT = {
    **SUBCHART,
    "Chart.yaml": f"{FILES['Chart.yaml']}dependencies: [{{name: sub, version: 0.x, condition: sub.on}}]\n",
}
#: What a chart may hold that makes nothing differ: every file by its path.
STEADY: dict[str, dict[str, str]] = {
    "plain": {},
    "dependencies": DEPENDENT,
    "vendored, but not declared": SUBCHART,
    "disabled dependency": {**DEPENDENT, "values.yaml": "used: 1\nsub: {on: false}\n"},
    "ignored file": {".helmignore": "*.bak\n", "templates/all.yaml.bak": "{{", "notes.bak": "x"},
    "large integers": {
        "values.yaml": "used: 9007199254740993\nb: 18446744073709551615\nc: 123456789012345678901234567890\n"
    },
    "words and times": {"values.yaml": "used: [y, n, 12:30, 1e3, 0o17, 0777, 1_000, .5, ~, yes, '=', 1:2:3]\n"},
    "dates": {"values.yaml": "used: [2026-11-30, 2026-11-30T18:00:00Z, !!timestamp 2026-11-30]\n"},
    "keys": {"values.yaml": "used: {8080: a, true: b, 1.5: c, 2026-11-30: d}\n"},
    "merges": {"values.yaml": "a: &a {x: 1}\nused: {y: 2, <<: *a, x: 3}\nb: &a [1]\nc: *a\n"},
    "two documents": {"values.yaml": "used: 1\n---\nused: 2\n"},
    "byte order mark": {"values.yaml": "\ufeffused: 1\r\nb: 2\r\n", "files/a": "\ufeffa"},
    "nothing in values": {"values.yaml": "# used: 1\n"},
    "version that is a number": {
        "Chart.yaml": "apiVersion: v2\nname: own\nversion: 1.0.0\nappVersion: 2026\nannotations: {a: 1.10}\n"
    },
}
#: Edits of a chart with a subchart, and whether they change anything.
EDITS: dict[str, tuple[str, str, bool]] = {
    "new file that a template reads": ("files/b", "b", True),
    "new file that nothing reads": ("other/b", "b", False),
    "subchart's template": (
        "charts/sub/templates/all.yaml",
        SUBCHART["charts/sub/templates/all.yaml"].replace("color:", "hue:"),
        True,
    ),
    "subchart's default": ("charts/sub/values.yaml", "color: blue\n", True),
    "subchart's comment": ("charts/sub/values.yaml", "# of course\ncolor: red\n", False),
    "template that is empty": ("templates/new.yaml", "{{/* nothing */}}", False),
    "default": ("values.yaml", "used: 2\n", True),
    "default that nothing reads": ("values.yaml", "used: 1\nunused: 1\n", True),
    "default, spelled otherwise": ("values.yaml", "used: 1.0 # as before\n", False),
    "read me": ("README.md", "read me", False),
}


class Own:
    """A release of a chart of one's own."""

    def __init__(self, bed: BedCluster, namespace: str, folder: Path) -> None:
        self.bed = bed
        self.namespace = namespace
        self.folder = folder / "own"

    def write(self, files: dict[str, str]) -> None:
        """Write files of the chart."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())

    def run(self, check: bool = False, **over: Any) -> tuple[str, list[str]]:
        """What the job does to the release, and its warnings."""
        options = {
            **options_of(self.bed.variables),
            "components": [],
            "preset": "none",
            "namespace": self.namespace,
            "gateways": [{"name": "own", "namespace": self.namespace}],
            "charts": [
                {"component": "gateway", "repository": str(self.folder.parent), "name": "own", "version": "1.0.0"}
            ],
            "exposure": "NodePort",
            "wait_for": "nothing",
            **over,
        }
        result, task = run_job(releases, options, check)
        assert not result.get("failed"), result
        (release,) = result["releases"]
        assert result["changed"] is (release["action"] != "none")
        return release["action"], task.warnings

    @property
    def revision(self) -> int:
        """Helm's newest."""
        history = self.bed.tool("helm", "history", "own", f"--namespace={self.namespace}", "--output=json")
        return json.loads(history)[-1]["revision"]


@pytest.fixture
def own(today: BedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Own]:
    """Yield a release's place, with the cache of a user who has none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with today.namespace() as namespace:
        found = Own(today, namespace, tmp_path)
        found.write(FILES)
        yield found


@pytest.mark.parametrize("name", STEADY)
def test_second_run(name: str, own: Own) -> None:
    """It changes nothing, finds nothing changed, and writes nothing."""
    own.write(STEADY[name])
    assert own.run() == ("install", [])
    assert own.run() == ("none", [])
    assert own.revision == 1


@pytest.mark.long
@pytest.mark.parametrize("name", STEADY)
def test_release_of_helm_itself(name: str, own: Own) -> None:
    """Nor where helm was called by somebody else, who gave it the same values."""
    own.write(STEADY[name])
    own.run()
    values = own.bed.tool("helm", "get", "values", "own", f"--namespace={own.namespace}", "--output=json")
    (own.folder.parent / "values.json").write_text(values)
    arguments = ("own", own.folder, f"--namespace={own.namespace}", f"--values={own.folder.parent / 'values.json'}")
    own.bed.tool("helm", "upgrade", *arguments)
    assert own.run() == ("none", [])
    assert own.run() == ("none", [])
    assert own.revision == 2


@pytest.mark.long
def test_edits(own: Own) -> None:
    """Upgraded if helm would store something else, and left alone if not; then left alone."""
    own.write(DEPENDENT)
    own.run()
    for name, (path, text, changes) in EDITS.items():
        before = (own.folder / path).read_text() if (own.folder / path).exists() else None
        own.write({path: text})
        expected = "upgrade" if changes else "none"
        assert own.run(check=True)[0] == expected, name
        assert own.run() == (expected, []), name
        assert own.run() == ("none", []), name
        if before is None:
            (own.folder / path).unlink()
        else:
            own.write({path: before})
        assert own.run() == (expected, []), f"{name}, taken back"
    assert own.revision == 1 + 2 * sum(changes for _path, _text, changes in EDITS.values())


@pytest.mark.long
def test_chance(own: Own) -> None:
    """What a template makes of chance and time is no change, even with subcharts, nor is a look at the cluster."""
    seen = '{{ lookup "v1" "Node" "" "" | toJson | quote }}'
    text = f"data: {{a: {{{{ randAlphaNum 9 | quote }}}}, b: {{{{ now | quote }}}}, c: {seen}}}"
    template = f'apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: "{{{{ .Release.Name }}}}-chance"}}\n{text}\n'
    own.write({**DEPENDENT, "templates/chance.yaml": template})
    assert own.run() == ("install", [])
    assert own.run() == ("none", [])
    own.write({"templates/chance.yaml": f"{template}# more\n"})
    assert own.run() == ("upgrade", [])
    assert own.run() == ("none", [])
    assert own.revision == 2


@pytest.mark.long
@pytest.mark.parametrize("driver", ["configmap"])
def test_other_storage(driver: str, own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only helm can read what is stored, a change of the chart counts as well."""
    monkeypatch.setenv("HELM_DRIVER", driver)
    own.write(DEPENDENT)
    assert own.run() == ("install", [])
    assert own.run() == ("none", [])
    own.write({"files/new": "new"})
    assert own.run() == ("upgrade", [])
    own.write({"README.md": "new"})
    assert own.run() == ("none", [])
