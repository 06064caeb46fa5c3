package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// commitContainer makes an image of a container: its own image, and its changes as a layer on top.
func commitContainer(ctx context.Context, args []string) error {
	var at ends
	set := flag.NewFlagSet("commit", flag.ExitOnError)
	at.flags(set)
	set.Parse(args)
	if set.NArg() != 2 {
		return errors.New("usage: ask commit [flags] CONTAINER IMAGE")
	}
	client, err := at.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx = namespaces.WithNamespace(ctx, at.namespace)
	ctx, done, err := client.WithLease(ctx)
	if err != nil {
		return err
	}
	defer done(ctx)

	container, err := client.LoadContainer(ctx, set.Arg(0))
	if err != nil {
		return err
	}
	info, err := container.Info(ctx)
	if err != nil {
		return err
	}
	base, err := client.GetImage(ctx, info.Image)
	if err != nil {
		return err
	}
	layer, err := rootfs.CreateDiff(ctx, info.SnapshotKey, client.SnapshotService(info.Snapshotter), client.DiffService())
	if err != nil {
		return fmt.Errorf("diff of %s: %w", info.SnapshotKey, err)
	}
	return create(ctx, client, base, layer, set.Arg(1))
}

func create(ctx context.Context, client *containerd.Client, base containerd.Image, layer ocispec.Descriptor, name string) error {
	store := client.ContentStore()
	diffID, err := images.GetDiffID(ctx, store, layer)
	if err != nil {
		return err
	}
	manifest, err := images.Manifest(ctx, store, base.Target(), base.Platform())
	if err != nil {
		return err
	}
	configBlob, err := content.ReadBlob(ctx, store, manifest.Config)
	if err != nil {
		return err
	}
	var config ocispec.Image
	if err := json.Unmarshal(configBlob, &config); err != nil {
		return err
	}
	config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
	config.History = nil
	manifest.Versioned = specs.Versioned{SchemaVersion: 2}
	manifest.Layers = append(manifest.Layers, layer)
	if manifest.Config, err = write(ctx, store, ocispec.MediaTypeImageConfig, config, nil); err != nil {
		return err
	}
	labels := map[string]string{"containerd.io/gc.ref.content.config": manifest.Config.Digest.String()}
	for i, one := range manifest.Layers {
		labels[fmt.Sprintf("containerd.io/gc.ref.content.l.%d", i)] = one.Digest.String()
	}
	target, err := write(ctx, store, ocispec.MediaTypeImageManifest, manifest, labels)
	if err != nil {
		return err
	}
	_, err = client.ImageService().Create(ctx, images.Image{Name: name, Target: target})
	return err
}

// write puts value among the blobs.
func write(ctx context.Context, store content.Store, mediaType string, value any, labels map[string]string) (ocispec.Descriptor, error) {
	blob, err := json.Marshal(value)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	err = content.WriteBlob(ctx, store, desc.Digest.String(), bytes.NewReader(blob), desc, content.WithLabels(labels))
	return desc, err
}
