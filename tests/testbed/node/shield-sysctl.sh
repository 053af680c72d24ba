#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
#
# Runs before the kubelet, which sets these to values of its own at every start. In a container they are the host's,
# for all its programs. So each is covered with a private copy, which the kubelet may write as it likes.
set -eu
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
    kernel/keys/root_maxbytes; do
    copy="/run/shield-sysctl-$(echo "$name" | tr / _)"
    if [ ! -e "$copy" ] && [ -e "/proc/sys/$name" ]; then
        cat "/proc/sys/$name" > "$copy"
        mount --bind "$copy" "/proc/sys/$name"
    fi
done
