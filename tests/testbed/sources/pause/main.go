// SPDX-License-Identifier: GPL-3.0-or-later
// Copyright: meshops.istio contributors

// The pause container: holds a pod's namespaces, reaps orphans where the pod shares its process namespace, and goes
// when told to. Upstream's is C; in Go the bed needs no C compiler.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
