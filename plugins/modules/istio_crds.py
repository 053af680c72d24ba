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
  - Applies exactly the CRDs that Istio's C(base) chart renders, with Helm's ownership label and annotations and under
    Helm's field manager, so a C(base) release of Helm 3 or 4 adopts them without conflict.
  - Waits until the API server serves them.
  - Reads all CRDs at once and applies only those that differ. If none differs, nothing is written.
  - Accepts all options that describe a mesh, so the same options can be passed to M(meshops.istio.istio_releases). Only
    those of the C(base) chart have an effect; the others are validated.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
  - meshops.istio.mesh
  - meshops.istio.mesh.gateways
options:
  wait_timeout:
    description: Seconds to wait until the API server serves all CRDs.
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

- name: Apply the CRDs of charts in a directory, on the cluster of a kubeconfig
  meshops.istio.istio_crds:
    kubeconfig: ~/.kube/kvm.yaml
    chart_repository: /srv/charts
    chart_version: 1.31.1
"""

RETURN = r"""
crds:
  description: Names of all CRDs in the chart.
  returned: success
  type: list
  elements: str
  sample: [destinationrules.networking.istio.io, gateways.networking.istio.io]
objects:
  description: CRDs that were applied, or would be in check mode. After a failure, those written before it.
  returned: success, or something was written
  type: list
  elements: str
  sample: [CustomResourceDefinition gateways.networking.istio.io]
planned:
  description: The same objects, each with a digest of its desired state, for option O(ignore:planned) of
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
  description: Each error that C(msg) reports, in parts. Absent if an option is invalid.
  returned: failure
  type: list
  elements: dict
  contains:
    code:
      description: Code of the finding, as in docs/findings.md. Empty if it has none.
      returned: always
      type: str
      sample: ""
    object:
      description: Object that the error is about. Empty if the message names it.
      returned: always
      type: str
      sample: CustomResourceDefinition gateways.networking.istio.io
    message:
      description: What is wrong.
      returned: always
      type: str
      sample: was rejected by the API server.
    fix:
      description: What to do. Empty if there is no fix.
      returned: always
      type: str
      sample: ""
timing:
  description: Start time, by the clock of the host where the task ran, and duration in seconds.
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
