// SPDX-License-Identifier: GPL-3.0-or-later
// Copyright: meshops.istio contributors

// The distribution registry with files for storage and htpasswd for access. The stock main package drags in the SDKs
// of three clouds, which would double the time of a first build.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"

	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if registry.RootCmd.Execute() != nil {
		os.Exit(1)
	}
}
