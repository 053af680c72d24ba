# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster that the tests of this folder use up: a real one, on which Istio comes and goes."""

from __future__ import annotations

from pathlib import Path

import yaml
from harness.beds import LOCAL, BedCluster
from harness.playbooks import ROOT

NAMESPACES = ("istio-system", "liveness", "liveness-manual")
WEBHOOKS = "mutatingwebhookconfigurations,validatingwebhookconfigurations"
CLUSTER_SCOPED = f"{WEBHOOKS},clusterroles,clusterrolebindings,customresourcedefinitions"


class TestCluster(BedCluster):
    """A kind cluster of the test bed, with the gateways of inventories/kind."""

    __test__ = False  # its name is no test's

    def __init__(self, kubeconfig: Path, variables_file: Path, home: Path) -> None:
        super().__init__(kubeconfig, variables_file, home)
        own = yaml.safe_load((ROOT / "inventories/kind/group_vars/all/main.yml").read_text())
        self.variables = {name: value for name, value in {**own, **self.variables}.items() if name not in LOCAL}
        self.has_mesh = False

    def wipe(self) -> None:
        """Take everything of Istio and of ours away, without the grace that pods are given."""
        self.has_mesh = False
        names = self.kubectl("get", CLUSTER_SCOPED, "--output=name").split()
        ours = [name for name in names if "istio" in name]
        if ours:
            self.kubectl("delete", "--ignore-not-found", "--wait=false", *ours)
        self.kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", *NAMESPACES)
        for namespace in NAMESPACES:
            self.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "--namespace", namespace)
        namespaces = [f"namespace/{name}" for name in NAMESPACES]
        self.kubectl("wait", "--for=delete", "--timeout=60s", *namespaces)
        crds = [name for name in ours if name.startswith("customresourcedefinition")]
        if crds:
            self.kubectl("wait", "--for=delete", "--timeout=240s", *crds)

    def ensure_mesh(self) -> None:
        """Have Istio on it."""
        if not self.has_mesh:
            self.site().succeeded()
            self.has_mesh = True
