// SPDX-License-Identifier: GPL-3.0-or-later
// Copyright: meshops.istio contributors

// The part of crictl that kind and people debugging a node need: inspecti, images, ps, pods.
// The real one, sigs.k8s.io/cri-tools, cannot be had from the Go module proxy.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const socket = "unix:///run/containerd/containerd.sock"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: crictl inspecti IMAGE | images | ps | pods")
	}
	connection, err := grpc.NewClient(socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	runtime, images := cri.NewRuntimeServiceClient(connection), cri.NewImageServiceClient(connection)

	var answer any
	switch args[0] {
	case "inspecti":
		if len(args) != 2 {
			return fmt.Errorf("usage: crictl inspecti IMAGE")
		}
		answer, err = inspect(ctx, images, args[1])
	case "images":
		answer, err = images.ListImages(ctx, &cri.ListImagesRequest{})
	case "ps":
		answer, err = runtime.ListContainers(ctx, &cri.ListContainersRequest{})
	case "pods":
		answer, err = runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	default:
		return fmt.Errorf("crictl %s: not in this small crictl", args[0])
	}
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(answer)
}

// inspect answers in the form that kind reads: status.id, status.repoTags.
func inspect(ctx context.Context, images cri.ImageServiceClient, name string) (any, error) {
	found, err := images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
	if err != nil {
		return nil, err
	}
	if found.Image == nil {
		return nil, fmt.Errorf("no such image %q present", name)
	}
	return map[string]any{"status": map[string]any{
		"id":          found.Image.Id,
		"repoTags":    found.Image.RepoTags,
		"repoDigests": found.Image.RepoDigests,
		"size":        fmt.Sprint(found.Image.Size),
	}}, nil
}
