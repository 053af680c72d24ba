#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_values_info
version_added: 0.1.0
short_description: Show the Helm values of a mesh
description:
  - For each release of a mesh, returns the chart's default values, the values that M(meshops.istio.istio_releases)
    passes to helm, and both merged. The 2018 Giant Swarm guide uses C(helm inspect) for this.
  - Istio's charts keep their defaults under an internal key that users must not set. They are shown as users set them.
  - Changes that Istio's profiles and platforms make inside the charts are not shown.
  - If it runs on the controller, the values are printed too.
  - "Values that look like secrets are shown as C(<hidden: 5f2c9a10>), in the output and in the result. Within one task,
    equal secrets are shown with equal digits, and different secrets with different digits."
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
  - meshops.istio.mesh
  - meshops.istio.mesh.gateways
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Show the values of the default mesh without platform settings
  meshops.istio.istio_values_info:
    chart_version: 1.31.1
    platform: ""

- name: Show the values with a smaller istiod and Istio CNI
  meshops.istio.istio_values_info:
    chart_version: 1.31.1
    components: [base, istiod, cni]
    values:
      istiod:
        resources: {requests: {cpu: 100m, memory: 512Mi}}
"""

RETURN = r"""
releases:
  description: Each release of the mesh.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the release.
      returned: always
      type: str
      sample: istiod
    namespace:
      description: Namespace of the release.
      returned: always
      type: str
      sample: istio-system
    component:
      description: Component of the release, which is its key in O(values).
      returned: always
      type: str
      sample: istiod
    chart:
      description: Name of the chart.
      returned: always
      type: str
      sample: istiod
    chart_version:
      description: Version of the chart.
      returned: always
      type: str
      sample: 1.31.1
    defaults:
      description: The chart's default values.
      returned: always
      type: dict
      sample: {autoscaleEnabled: true}
    user_supplied:
      description: Values passed to helm, as C(helm get values) shows them.
      returned: always
      type: dict
      sample: {global: {istioNamespace: istio-system}}
    computed:
      description: Both merged, as the chart receives them and C(helm get values --all) shows them.
      returned: always
      type: dict
      sample: {autoscaleEnabled: true, global: {istioNamespace: istio-system}}
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
      sample: values
    message:
      description: What is wrong.
      returned: always
      type: str
      sample: unknown component pilots.
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

from ansible_collections.meshops.istio.plugins.module_utils.jobs import values
from ansible_collections.meshops.istio.plugins.module_utils.jobs.as_module import run_module


def main() -> None:
    """Run the job."""
    run_module(values)


if __name__ == "__main__":
    main()
