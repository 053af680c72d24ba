# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter meshops.istio.from_manifests: the objects of a text, as kubectl reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.meshops.istio.plugins.module_utils.cluster import go_yaml

DOCUMENTATION = r"""
name: from_manifests
short_description: Read Kubernetes manifests as kubectl reads them
version_added: 0.1.0
description:
  - Parses the YAML documents in a string like kubectl, helm and istioctl, which are written in Go.
  - P(ansible.builtin.from_yaml_all#filter) parses another YAML dialect, in which an unquoted C(12:30) is 750,
    C(2026-11-30) is a date, and C(y) and C(0o17) are strings.
options:
  _input:
    description: String with any number of YAML documents.
    type: str
    required: true
author:
  - meshops.istio contributors (@meshops)
"""

EXAMPLES = r"""
- name: Verify traffic to an application whose manifests are in a file
  meshops.istio.istio_liveness:
    manifests: "{{ lookup('ansible.builtin.file', 'app.yaml') | meshops.istio.from_manifests }}"
"""

RETURN = r"""
_value:
  description: The objects. Empty documents are skipped.
  type: list
  elements: dict
"""


def from_manifests(text: str) -> list[dict[str, Any]]:
    """The objects of a text. :raises AnsibleFilterError: it is not YAML, or holds something else"""
    plain = str.__str__(text)  # libyaml takes no subclass of str, as ansible-core's was before 2.19
    try:
        found = [document for document in go_yaml.load_all(plain) if document]
    except go_yaml.Unreadable as error:
        raise AnsibleFilterError(f"The manifests are not valid YAML: {error.message}.") from error
    for document in found:
        if not isinstance(document, dict):
            raise AnsibleFilterError(f"The manifests contain {document!r}, which is not a Kubernetes object.")
    return found


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By its name."""
        return {"from_manifests": from_manifests}
