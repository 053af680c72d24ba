#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_crds
version_added: 0.1.0
short_description: Apply Istio's custom resource definitions
description:
  - Applies exactly the definitions that Istio's C(base) chart renders, with Helm's ownership label and annotations and
    under Helm's field manager, so that a C(base) release of Helm 3 or 4 adopts them without conflict.
  - Waits until the API server serves them.
  - Reads all definitions at once and applies only those that differ; a run that finds them in place writes nothing.
  - Takes all options that describe a mesh, so that they can be the same as those of M(meshops.istio.istio_releases).
    Those that concern the C(base) chart decide; the others are checked and have no effect.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
  - meshops.istio.mesh
  - meshops.istio.mesh.gateways
options:
  wait_timeout:
    description: Seconds to wait until the API server serves all definitions.
    type: int
    default: 120
seealso:
  - module: meshops.istio.istio_releases
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Apply Istio CRDs
  meshops.istio.istio_crds:
    chart_version: 1.31.1

- name: The same with charts from a directory, on a cluster named by a kubeconfig
  meshops.istio.istio_crds:
    kubeconfig: ~/.kube/kvm.yaml
    chart_repository: /srv/charts
    chart_version: 1.31.1
"""

RETURN = r"""
crds:
  description: Names of all definitions that the chart holds.
  returned: success
  type: list
  elements: str
  sample: [destinationrules.networking.istio.io, gateways.networking.istio.io]
objects:
  description: Those that were applied, or would be in check mode.
    Of a failure, those that had been written before.
  returned: success, or something was written
  type: list
  elements: str
  sample: [CustomResourceDefinition gateways.networking.istio.io]
planned:
  description: Those objects with a digest of each as it is wanted, for option O(ignore:planned) of
    M(meshops.istio.istio_releases).
  returned: success
  type: dict
  sample: {CustomResourceDefinition gateways.networking.istio.io: 0f4c2a1b9d8e7f60}
chart_version:
  description: Version of the chart.
  returned: success
  type: str
  sample: 1.31.1
errors:
  description: What C(msg) says, in parts, one for each thing that is wrong. Absent where an option is refused.
  returned: failure
  type: list
  elements: dict
  contains:
    code:
      description: Code of the finding that it is, as in docs/findings.md; empty where it is none.
      returned: always
      type: str
      sample: ""
    object:
      description: What it is about; empty where the message names that itself.
      returned: always
      type: str
      sample: CustomResourceDefinition gateways.networking.istio.io
    message:
      description: What is wrong with it.
      returned: always
      type: str
      sample: was rejected by the API server.
    fix:
      description: What to do; empty where the message says all.
      returned: always
      type: str
      sample: ""
timing:
  description: When the job began, by the clock of the machine where it ran, and how long it took.
  returned: always
  type: dict
  sample: {started: "2026-11-26T14:14:42.648Z", seconds: 3.271}
"""

from ansible_collections.meshops.istio.plugins.module_utils.jobs import crds
from ansible_collections.meshops.istio.plugins.module_utils.jobs.as_module import run_module


def main() -> None:
    """Run the job."""
    run_module(crds)


if __name__ == "__main__":
    main()
