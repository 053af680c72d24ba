# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""The throw-away modules in which programs are built."""

from __future__ import annotations

import dataclasses

from testbed import gobuild, versions
from testbed.cache import content_key
from testbed.versions import GoBuild

KUBERNETES = """\
module k8s.io/kubernetes

go 1.26.0

godebug default=go1.26

require k8s.io/api v0.0.0

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/metrics => ./staging/src/k8s.io/metrics
)
"""


def test_parts_of_kubernetes_get_the_version_that_goes_with_it():
    text = gobuild.go_mod(GoBuild("k", {}, "k8s.io/kubernetes", "v1.37.2"), KUBERNETES)
    assert "go 1.26.0\n" in text
    assert "require k8s.io/kubernetes v1.37.2\n" in text
    assert "replace k8s.io/api => k8s.io/api v0.37.2\n" in text
    assert text.count("replace") == 2


def test_other_replacements_are_taken_over_unless_they_are_local():
    upstream = "go 1.26\nreplace a.b/c => d.e/f v1.0.0\nreplace a.b/x v0.1.0 => d.e/x v1.0.0\nreplace y => ../y\n"
    text = gobuild.go_mod(GoBuild("x", {}, "m", "v1.0.0"), upstream)
    assert "replace a.b/c => d.e/f v1.0.0\n" in text
    assert "replace a.b/x v0.1.0 => d.e/x v1.0.0\n" in text
    assert "../y" not in text


def test_our_own_programs_need_no_module():
    assert (
        gobuild.go_mod(GoBuild("pause", {"pause": "."}, source="pause"), "").splitlines()[0] == "module testbed/pause"
    )


def test_capitals_in_module_paths_are_escaped():
    assert gobuild.escaped("github.com/BurntSushi/toml") == "github.com/!burnt!sushi/toml"


def test_a_flag_changes_the_key():
    one = GoBuild("x", {"x": "m/x"}, "m", "v1.0.0")
    other = GoBuild("x", {"x": "m/x"}, "m", "v1.0.0", {"m.version": "1"})
    assert content_key(gobuild.inputs(one)) != content_key(gobuild.inputs(other))


def test_what_cannot_be_had_is_stood_in_for():
    build = versions.BUILDS["metallb"]
    assert "replace github.com/metallb/frr-k8s => ./frr-k8s\n" in gobuild.go_mod(build, "go 1.26.0\n")
    for module, directory in build.stand_ins.items():
        assert f"module {module}\n" in (gobuild.SOURCES / directory / "go.mod").read_text()


def test_a_stand_in_counts_for_the_key_and_none_leaves_it_as_it_was():
    assert "stand_ins" not in gobuild.inputs(versions.BUILDS["pause"])
    without = dataclasses.replace(versions.BUILDS["metallb"], stand_ins={})
    assert content_key(gobuild.inputs(versions.BUILDS["metallb"])) != content_key(gobuild.inputs(without))
