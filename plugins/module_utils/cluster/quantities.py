# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities of Kubernetes, such as ``100m`` and ``1Gi``. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

try:
    from kubernetes.utils.quantity import parse_quantity
except ImportError:  # kube.Cluster says so
    parse_quantity = None  # type: ignore[assignment]

MIB = Decimal(1024**2)


def quantity(value: Any) -> Decimal:
    """A number as Kubernetes writes it, such as ``500m`` or ``2Gi``; None is 0. :raises JobError: it is none"""
    try:
        return parse_quantity(value or 0)
    except ValueError as error:
        raise JobError(
            "is not a valid quantity.", object=repr(value), fix="Use Kubernetes' notation, such as 500m or 2Gi."
        ) from error
