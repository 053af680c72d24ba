// SPDX-License-Identifier: GPL-3.0-or-later
// Copyright: meshops.istio contributors

// An OCI runtime for machines that lack CAP_SYS_RESOURCE: `docker run --privileged` asks for every capability, and
// runc refuses to give one that it does not hold ("unable to apply caps: operation not permitted"). This drops that
// one from what is asked (config.json of a bundle, the process file of an exec) and becomes runc. Where the
// capability is held it changes nothing. A Go program, because it runs before every container start and every exec.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	name   = "CAP_SYS_RESOURCE"
	number = 24
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "runc-held-caps:", err)
		os.Exit(1)
	}
}

func run() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	if !held(string(status)) {
		for _, file := range specifications(os.Args[1:]) {
			if err := edit(file); err != nil {
				return err
			}
		}
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return err
	}
	return syscall.Exec(runc, append([]string{"runc"}, os.Args[1:]...), os.Environ())
}

// held tells whether the bounding set in the text of /proc/self/status has the capability.
func held(status string) bool {
	for _, line := range strings.Split(status, "\n") {
		if value, found := strings.CutPrefix(line, "CapBnd:"); found {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return err != nil || set>>number&1 == 1
		}
	}
	return true
}

// specifications lists the files that runc's arguments name and that hold capabilities.
func specifications(args []string) (files []string) {
	for i, arg := range args {
		flag, value, inline := strings.Cut(arg, "=")
		if !inline && i+1 < len(args) {
			value = args[i+1]
		}
		switch strings.TrimLeft(flag, "-") {
		case "bundle", "b":
			files = append(files, filepath.Join(value, "config.json"))
		case "process", "p":
			files = append(files, value)
		}
	}
	return files
}

// edit removes the capability from every list in a JSON file. Numbers stay as they are written.
func edit(file string) error {
	text, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(text, []byte(name)) {
		return nil // a flag that was not what it looked like: runc will say so
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	text, err = json.Marshal(without(document))
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

func without(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, item := range value {
			value[key] = without(item)
		}
	case []any:
		kept := []any{}
		for _, item := range value {
			if item != name {
				kept = append(kept, without(item))
			}
		}
		return kept
	}
	return value
}
