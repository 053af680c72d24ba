#!/usr/bin/python
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_values_info
version_added: 0.1.0
short_description: Show which Helm values there are, and which of them a run gives helm
description:
  - For each release of a mesh, tells the chart's default values, the values that M(meshops.istio.istio_releases) gives
    helm, and both merged. This is what the guide of 2018 used C(helm inspect) for.
  - Istio's charts keep their defaults below a key that users must not set; here they are shown as users write them.
  - What Istio's profiles and platforms change is decided inside the charts and not shown.
  - Run in the controller, it prints the values too.
  - "What looks like a secret is shown as C(<hidden: 5f2c9a10>), in what is printed and in the result. Within one task,
    equal secrets look equal and different ones do not."
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - meshops.istio.attributes
  - meshops.istio.mesh
  - meshops.istio.mesh.gateways
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Values of the default mesh, on no platform of its own
  meshops.istio.istio_values_info:
    chart_version: 1.31.1
    platform: ""

- name: What istiod would be told
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
      description: Its namespace.
      returned: always
      type: str
      sample: istio-system
    component:
      description: Which component it is; its key in O(values).
      returned: always
      type: str
      sample: istiod
    chart:
      description: Name of its chart.
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
      description: What helm is given; C(helm get values) will show it.
      returned: always
      type: dict
      sample: {global: {istioNamespace: istio-system}}
    computed:
      description: Both merged, as the chart sees them; C(helm get values --all) will show it.
      returned: always
      type: dict
      sample: {autoscaleEnabled: true, global: {istioNamespace: istio-system}}
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
      sample: values
    message:
      description: What is wrong with it.
      returned: always
      type: str
      sample: unknown component pilots.
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

from ansible_collections.meshops.istio.plugins.module_utils.jobs import values
from ansible_collections.meshops.istio.plugins.module_utils.jobs.as_module import run_module


def main() -> None:
    """Run the job."""
    run_module(values)


if __name__ == "__main__":
    main()
