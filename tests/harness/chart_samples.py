# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts and values made by chance, and what people do to them: each thing that helm stores, reads or leaves out."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from harness.yaml_samples import WORDS

CONFIG_MAP = """{{/* a remark */}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-NAME
  annotations: {note: {{ .Chart.Description | default "" | quote }}, app: {{ .Chart.AppVersion | quote }}}
data:
  used: {{ .Values.used | toJson | quote }}
  global: {{ .Values.global | toJson | quote }}
  imported: {{ .Values.imported | toJson | quote }}
  file: {{ .Files.Get "data.txt" | quote }}
  helper: {{ include "NAME.helper" . | quote }}
"""
HOOK = """apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-hook
  annotations: {helm.sh/hook: test}
data: {hook: {{ .Values.hook | toJson | quote }}}
"""
HELPER = '{{- define "NAME.helper" -}}help{{- end -}}\n'
_NONE = (".inf", "-.inf", "+.inf", ".nan")
IGNORED = "*.bak\nignored/\n/top.txt\n# a remark\ntemplates/*.tmp\n"


@dataclass(frozen=True)
class Sample:
    """A chart with the values that a user gives it.

    :ivar files: text by path; a path that ends with .tgz holds a chart of its own
    :ivar bool packed: the chart is an archive, as from a repository
    """

    files: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    packed: bool = False

    def written(self, folder: Path) -> Path:
        """:returns: where the chart is then"""
        chart = folder / "chart"
        for name, content in self.files.items():
            path = chart / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive(content) if isinstance(content, dict) else content.encode())
        if self.packed:
            (folder / "chart.tgz").write_bytes(archive(self.files))
            return folder / "chart.tgz"
        return chart


def archive(files: dict[str, Any]) -> bytes:
    """A packaged chart."""
    stream = io.BytesIO()
    # Without a time, so that the same files are the same archive.
    with gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            data = archive(content) if isinstance(content, dict) else content.encode()
            info = tarfile.TarInfo(f"chart/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def word(random: Random) -> str:
    """A scalar that every reader takes for YAML, however differently; no number that JSON has not."""
    return random.choice(
        [word for word in WORDS if word not in ("<<", "...", "a:b", "1,5") and word[:5].lower() not in _NONE]
    )


def defaults(random: Random) -> str:
    """A values.yaml."""
    lines = [f"used: {word(random)}", f"unused: {word(random)}", f"hook: {word(random)}"]
    lines += ["table: &table", f"  a: {word(random)}", f"  b: {{c: {word(random)}, d: [{word(random)}, 1]}}"]
    if random.random() < 0.5:
        lines += ["more:", "  <<: *table", f"  a: {word(random)}"]
    if random.random() < 0.3:
        lines += ["used:", "  nested:", f"    {word(random)}: {word(random)}", f"    b: [{word(random)}]"]
    if random.random() < 0.3:
        lines += ["global:", f"  g: {word(random)}", "  table: {x: 1, y: ~}"]
    if random.random() < 0.2:
        lines += ["---", f"unused: {word(random)}", "table: {b: {e: 1}}"]
    text = "\n".join(lines) + random.choice(["", "\n", "\n# end\n"])
    text = text.replace("\n", "\r\n") if random.random() < 0.1 else text
    return ("\ufeff" if random.random() < 0.1 else "") + text


def subchart(random: Random, name: str) -> dict[str, Any]:
    """The files of a chart that another depends on."""
    files = {
        "Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: 0.1.0\nappVersion: {random.choice('123')}.0\n",
        "values.yaml": defaults(random) if random.random() < 0.8 else "",
        "templates/all.yaml": CONFIG_MAP.replace("NAME", name),
        "templates/_help.tpl": HELPER.replace("NAME", name),
    }
    if "---" not in files["values.yaml"]:
        files["values.yaml"] += f"\nexports: {{e: {{imported: {word(random)}}}}}\nexported: {{i: {word(random)}}}\n"
    return files


def dependency(random: Random, name: str) -> dict[str, Any]:
    """A line of ``dependencies``."""
    found: dict[str, Any] = {"name": name, "version": "0.x.x", "repository": ""}
    if random.random() < 0.5:
        found["condition"] = f"{name}.enabled"
    if random.random() < 0.3:
        found["tags"] = ["optional"]
    if random.random() < 0.3:
        found["alias"] = f"{name}-again"
    if random.random() < 0.4:
        found["import-values"] = random.choice([["e"], [{"child": "exported", "parent": "imported"}]])
    return found


def sample(random: Random) -> Sample:
    """A chart and values."""
    metadata: dict[str, Any] = {"apiVersion": "v2", "name": "made", "version": "1.0.0"}
    files: dict[str, Any] = {
        "values.yaml": defaults(random),
        "templates/all.yaml": CONFIG_MAP.replace("NAME", "made"),
        "templates/_help.tpl": HELPER.replace("NAME", "made"),
        "data.txt": "data",
        "README.md": "read me",
    }
    optional = {
        "templates/hook.yaml": HOOK,
        "templates/NOTES.txt": "Made.",
        "templates/empty.yaml": "",
        "values.schema.json": json.dumps({"type": "object", "properties": {"hook": {}}}),
        "Chart.lock": "dependencies: []\ndigest: sha256:0\ngenerated: 2026-11-30T18:00:00Z\n",
    }
    files.update({name: text for name, text in optional.items() if random.random() < 0.3})
    if random.random() < 0.4:
        files.update(
            {".helmignore": IGNORED, "notes.bak": "1", "ignored/x.yaml": "1", "top.txt": "1", "templates/a.tmp": ""}
        )
    if random.random() < 0.2:
        files["templates/.hidden.swp"] = "{{/* nothing */}}"
    names = [f"sub{number}" for number in range(random.choice([0, 0, 1, 2]))]
    for name in names:
        found = subchart(random, name)
        if random.random() < 0.3:
            files[f"charts/{name}-0.1.0.tgz"] = found
        else:
            files.update({f"charts/{name}/{path}": text for path, text in found.items()})
    declared = [dependency(random, name) for name in names if random.random() < 0.8]
    if declared:
        metadata["dependencies"] = declared
    metadata.update({"description": "as made"} if random.random() < 0.5 else {})
    lines = [f"{key}: {json.dumps(value)}" for key, value in metadata.items()]
    lines += (
        [f"appVersion: {random.choice(['1.0', '1.10', '2026-11-30', '1e3', 'y', '0x10'])}"]
        if random.random() < 0.7
        else []
    )
    files["Chart.yaml"] = "\n".join(lines) + "\n"
    return Sample(files, overrides(random, names), packed=random.random() < 0.2)


def overrides(random: Random, subcharts: list[str]) -> dict[str, Any]:
    """Values that a user gives."""
    found: dict[str, Any] = {}
    for key in ("used", "unused", "hook", "new"):
        if random.random() < 0.3:
            found[key] = plain_value(random)
    if random.random() < 0.3:
        found["table"] = random.choice([None, {"a": None}, {"b": {"c": 2}}, {"z": plain_value(random)}])
    for name in subcharts:
        if random.random() < 0.5:
            found[name] = {"enabled": random.random() < 0.6, "used": plain_value(random)}
    if random.random() < 0.2:
        found["tags"] = {"optional": random.random() < 0.5}
    if random.random() < 0.2:
        found["global"] = {"g": plain_value(random)}
    return found


def plain_value(random: Random) -> Any:
    """A value as an inventory has it."""
    scalars = (
        1,
        1.0,
        0.1,
        -3,
        2**53 + 1,
        2**64 - 1,
        10**22,
        1e-7,
        100.0,
        True,
        False,
        None,
        "",
        "y",
        "12:30",
        "1e3",
        "é\u2028",
    )
    return random.choice([*scalars, [1, "a", None], {}, [], {"8080": "x", "b": 2.50}, -0.0])


# -- what people do ----------------------------------------------------------------------------------------------------


def _edit(name: str, change: Callable[[str], str], missing: str = "") -> Callable[[Random, Sample], Sample]:
    """An edit of one file, which is made where it is not there."""

    def edited(_random: Random, before: Sample) -> Sample:
        return replace(before, files={**before.files, name: change(before.files.get(name, missing))})

    return edited


def _append(name: str, text: str, missing: str = "") -> Callable[[Random, Sample], Sample]:
    return _edit(name, lambda before: before + text, missing)


def _swap(name: str, one: str, other: str) -> Callable[[Random, Sample], Sample]:
    return _edit(name, lambda before: before.replace(one, other))


def _of_subchart(path: str, change: Callable[[str], str]) -> Callable[[Random, Sample], Sample]:
    """An edit of a file in the first subchart, packaged or not."""

    def edited(_random: Random, before: Sample) -> Sample:
        files = dict(before.files)
        for name, content in files.items():
            if isinstance(content, dict):
                files[name] = {**content, path: change(content.get(path, ""))}
                break
            if name.startswith("charts/") and name.endswith(f"/{path}"):
                files[name] = change(content)
                break
        return replace(before, files=files)

    return edited


def _value(key: str) -> Callable[[Random, Sample], Sample]:
    """Another value of the user."""
    return lambda random, before: replace(before, values={**before.values, key: plain_value(random)})


def _respelled(_random: Random, before: Sample) -> Sample:
    """The same values, as another reader of the inventory hands them over."""

    def other(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: other(item) for key, item in reversed(value.items())}
        if isinstance(value, list):
            return list(map(other, value))
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    return replace(before, values=other(before.values))


def _respelled_defaults(_random: Random, before: Sample) -> Sample:
    text = before.files["values.yaml"]
    for one, others in {"yes": "true", "1e3": "1000", "0o17": "15", "~": "null", "1_000": "1000"}.items():
        text = text.replace(f": {one}\n", f": {others}\n")
    return replace(before, files={**before.files, "values.yaml": f"# a remark\n{text}"})


def _toggled(_random: Random, before: Sample) -> Sample:
    """The first subchart comes or goes."""
    own = before.values.get("sub0")
    enabled = not (own or {}).get("enabled", True)
    return replace(before, values={**before.values, "sub0": {**(own or {}), "enabled": enabled}})


def _repackaged(_random: Random, before: Sample) -> Sample:
    """The same files in the other form: what .helmignore keeps out of a directory is in a plain archive."""
    return replace(before, packed=not before.packed)


EDITS: dict[str, Callable[[Random, Sample], Sample]] = {
    "nothing": lambda _random, before: before,
    "nothing else": lambda _random, before: before,
    "values: comment": _append("values.yaml", "\n# a remark\n"),
    "values: same, spelled otherwise": _respelled_defaults,
    "values: unused": lambda random, before: _append("values.yaml", f"\nunused2: {word(random)}\n")(random, before),
    "values: used": lambda random, before: _append("values.yaml", f"\nused: {word(random)}\n")(random, before),
    "template: remark": _swap("templates/all.yaml", "a remark", "another remark"),
    "template: output": _append("templates/all.yaml", "  more: '1'\n"),
    "template: new": _append("templates/new.yaml", "# nothing\n"),
    "template: hidden": _append("templates/.new.swp", "{{"),
    "template: dead branch": _append("templates/all.yaml", "{{ if false }}x{{ end }}"),
    "helper": _swap("templates/_help.tpl", "help", "helpful"),
    "hook": _swap("templates/hook.yaml", "hook: {{", "hooked: {{"),
    "notes": _append("templates/NOTES.txt", "!"),
    "read me": _append("README.md", "!"),
    "file: read by a template": _append("data.txt", "!"),
    "file: new": _append("files/new.txt", "!"),
    "file: ignored": _append("notes.bak", "!"),
    "file: in ignored folder": _append("ignored/y.txt", "!"),
    "schema: other": _append("values.schema.json", " ", "{}"),
    "schema: refuses": _edit("values.schema.json", lambda _before: '{"not": {}}'),
    "lock": _append("Chart.lock", "# !\n"),
    "chart: description": _append("Chart.yaml", "description: another\n"),
    "chart: appVersion": _append("Chart.yaml", "appVersion: 9.9\n"),
    "chart: version": _append("Chart.yaml", "version: 1.0.1\n"),
    "chart: icon": _append("Chart.yaml", "icon: https://example.com/i.png\n"),
    "subchart: template": _of_subchart("templates/all.yaml", lambda text: f"{text}  more: '1'\n"),
    "subchart: remark": _of_subchart("templates/all.yaml", lambda text: f"{{{{/* r */}}}}{text}"),
    "subchart: used": _of_subchart("values.yaml", lambda text: f"{text}\nused: 4711\n"),
    "subchart: unused": _of_subchart("values.yaml", lambda text: f"{text}\nunused2: 4711\n"),
    "subchart: comes or goes": _toggled,
    "repackaged": _repackaged,
    "user: used": _value("used"),
    "user: unused": _value("unused"),
    "user: hook": _value("hook"),
    "user: null": lambda _random, before: replace(before, values={**before.values, "used": None}),
    "user: nothing": lambda _random, before: replace(before, values={}),
    "user: same, spelled otherwise": _respelled,
}
