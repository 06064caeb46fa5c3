package main

import (
	"context"
	"errors"
	"flag"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// mountSnapshot mounts what containerd says of a snapshot, as a runtime's shim does.
func mountSnapshot(ctx context.Context, args []string) error {
	var at ends
	set := flag.NewFlagSet("mount", flag.ExitOnError)
	at.flags(set)
	set.Parse(args)
	if set.NArg() != 2 {
		return errors.New("usage: ask mount [flags] KEY DIRECTORY")
	}
	client, err := at.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx = namespaces.WithNamespace(ctx, at.namespace)
	mounts, err := client.SnapshotService(at.snapshotter).Mounts(ctx, set.Arg(0))
	if err != nil {
		return err
	}
	return mount.All(mounts, set.Arg(1))
}
