# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Real Kubernetes clusters with a mesh's images in them, with or without a container registry. See README.md."""
