# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML made by chance is read as helm and kubectl read it; the programs themselves say how that is.

MESHOPS_TEST_SEED repeats a run, and MESHOPS_TEST_YAML says how many texts are asked for: 10,000 by default.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from harness.beds import BedCluster
from harness.yaml_samples import document, seeded, styled

from ansible_collections.meshops.istio.plugins.module_utils.cluster import go_yaml
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm

COUNT = int(os.environ.get("MESHOPS_TEST_YAML", "10000"))
ERROR = {"Error"}
TIMES = 12
#: Asks helm for each text what ``fromYaml`` makes of it, which is what it makes of values.yaml.
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: asked\nversion: 1.0.0\n",
    "templates/all.yaml": """{{ range (.Files.Get "texts.json" | fromJsonArray) }}
# {{ fromYaml . | toJson }}{{ end }}
""",
}


@pytest.fixture(scope="module")
def texts(seed: int) -> list[str]:
    """Scalars, and whole documents; a third of the latter is none to Go."""
    random = seeded(seed)
    scalars = [f"v: {styled(random)}" for _each in range(COUNT // 2)]
    return [*scalars, *(document(random) for _each in range(COUNT - len(scalars)))]


def read(text: str) -> dict[str, Any]:
    """What we make of a text, in the words of helm's ``fromYaml``."""
    try:
        found = go_yaml.load(text)
    except go_yaml.Unreadable as error:
        return {"Error": error.message}
    return found if isinstance(found, dict) else {} if found is None else {"Error": "no map"}


def alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both are an error, or the same values to helm."""
    if ERROR in (set(one), set(other)):
        return set(one) == set(other)
    return go_yaml.canonical(one) == go_yaml.canonical(other)


def asked(helm: Helm, folder: Path, texts: list[str]) -> list[dict[str, Any]]:
    """What helm makes of each text."""
    for name, content in {**CHART, "texts.json": json.dumps(texts)}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    lines = helm.template("asked", "asked", folder, {}, "v1.37.0").splitlines()
    answers = [json.loads(line.removeprefix("# ")) for line in lines if line.startswith("# {")]
    assert len(answers) == len(texts)
    return answers


def test_as_helm_reads_it(today: BedCluster, texts: list[str], seed: int, tmp_path: Path) -> None:
    """Each text is to us what it is to helm: the same values, or an error."""
    helm = Helm(os.environ.get("MESHOPS_TEST_HELM") or today.variables["istio_helm_helm_binary"])
    answers = asked(helm, tmp_path, texts)
    differing = [text for text, answer in zip(texts, answers, strict=True) if not alike(answer, read(text))]
    # A map of Go has no order: of the keys 1 and 1.0, which are one in JSON, helm takes now this, now that.
    again = asked(helm, tmp_path, [text for text in differing for _time in range(TIMES)])
    groups = [again[TIMES * n : TIMES * (n + 1)] for n in range(len(differing))]
    wrong = [
        (text, group[0], read(text))
        for text, group in zip(differing, groups, strict=True)
        if all(answer == group[0] for answer in group)
    ]
    assert not wrong, f"seed {seed}: {len(wrong)} of {len(texts)} texts, as {wrong[0]}"
    assert len(differing) < COUNT / 1000
    refused = sum(set(answer) == ERROR for answer in answers)
    assert COUNT / 10 < refused < COUNT / 2, "too many or too few are refused to say much about the others"


def test_as_kubectl_reads_it(today: BedCluster, texts: list[str], seed: int) -> None:
    """In objects whole numbers of 64 bits stay what they are, and all else is as in values."""
    known = [text for text in texts if text.startswith("v: ") and set(read(text)) != ERROR]
    objects = [f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}}}\ndata:\n  {v}" for n, v in enumerate(known)]
    manifest = "\n---\n".join(objects)
    flags = ("--dry-run=client", "--validate=false", '--output=jsonpath={.data}{"\\n"}', "--filename=-")
    answers = [json.loads(line) for line in today.tool("kubectl", "create", *flags, stdin=manifest).splitlines()]
    found = [each["data"] for each in go_yaml.load_all(manifest)]
    wrong = [three for three in zip(known, answers, found, strict=True) if _exact(three[1]) != _exact(three[2])]
    assert not wrong, f"seed {seed}: {len(wrong)} of {len(known)} texts, as {wrong[0]}"


def _exact(data: Any) -> str:
    """Data as text, in which a number that an int64 cannot hold is a float."""

    def number(text: str) -> float:
        return int(text) if -(2**63) <= int(text) < 2**63 else float(text)

    return json.dumps(json.loads(json.dumps(data), parse_int=number), sort_keys=True)
