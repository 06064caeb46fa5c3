package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

const viewPrefix = "judge "

// judgement is what is found of the two, and all that is wrong with it.
type judgement struct {
	ends
	known  int             // snapshots that containerd has, in all its namespaces
	layers map[string]bool // of the store, that some snapshot's mounts name
	wrong  []string
}

func (j *judgement) find(format string, args ...any) {
	j.wrong = append(j.wrong, fmt.Sprintf(format, args...))
}

// judge holds containerd, the plugin and the store against each other: every snapshot that containerd
// knows can be mounted and read, the plugin has no other ones, and the store has no layer that no
// snapshot needs. It is for a time when nothing happens, after a garbage collection.
func judge(ctx context.Context, args []string) error {
	j := judgement{layers: map[string]bool{}}
	set := flag.NewFlagSet("judge", flag.ExitOnError)
	j.flags(set)
	set.Parse(args)
	if err := j.mountAll(ctx); err != nil {
		return err
	}
	if j.plugin != "" {
		if err := j.compare(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("judge: %d snapshots, %d layers\n", j.known, len(j.layers))
	if len(j.wrong) > 0 {
		return errors.New("they do not agree:\n" + strings.Join(j.wrong, "\n"))
	}
	return nil
}

func (j *judgement) mountAll(ctx context.Context) error {
	client, err := j.client()
	if err != nil {
		return err
	}
	defer client.Close()
	spaces, err := client.NamespaceService().List(ctx)
	if err != nil {
		return err
	}
	for _, space := range spaces {
		ctx := namespaces.WithNamespace(ctx, space)
		// Else a collection that is under way may take the views.
		ctx, done, err := client.WithLease(ctx)
		if err != nil {
			return err
		}
		defer done(ctx)
		snapshotter := client.SnapshotService(j.snapshotter)
		var infos []snapshots.Info
		if err := snapshotter.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
			infos = append(infos, info)
			return nil
		}); err != nil {
			return fmt.Errorf("walk %s: %w", space, err)
		}
		j.known += len(infos)
		for _, info := range infos {
			if strings.HasPrefix(info.Name, viewPrefix) {
				j.find("%s: %s: a view of an earlier judgement", space, info.Name)
			}
			if err := j.mountOne(ctx, snapshotter, info); err != nil {
				j.find("%s: %s: %v", space, info.Name, err)
			}
		}
	}
	return nil
}

// mountOne mounts and reads a snapshot, a committed one by a view of it.
func (j *judgement) mountOne(ctx context.Context, snapshotter snapshots.Snapshotter, info snapshots.Info) (err error) {
	var mounts []mount.Mount
	if info.Kind == snapshots.KindCommitted {
		view := viewPrefix + info.Name
		mounts, err = snapshotter.View(ctx, view, info.Name)
		if err == nil {
			defer func() { err = errors.Join(err, snapshotter.Remove(ctx, view)) }()
		}
	} else {
		mounts, err = snapshotter.Mounts(ctx, info.Name)
	}
	if err != nil {
		return err
	}
	j.note(mounts)
	if _, err := snapshotter.Usage(ctx, info.Name); err != nil {
		return err
	}
	// Read-only, so that one that a container uses is left alone.
	return mount.WithReadonlyTempMount(ctx, mounts, func(root string) error {
		_, err := os.ReadDir(root)
		return err
	})
}

var layerInPath = regexp.MustCompile(`/layer/([^/:,]+)`)

func (j *judgement) note(mounts []mount.Mount) {
	for _, one := range mounts {
		for _, text := range append(slices.Clone(one.Options), one.Source) {
			for _, match := range layerInPath.FindAllStringSubmatch(text, -1) {
				j.layers[match[1]] = true
			}
		}
	}
}

// compare asks the plugin and the store themselves.
func (j *judgement) compare(ctx context.Context) error {
	snapshotter, end, err := snapshotterAt(j.plugin, j.snapshotter)
	if err != nil {
		return err
	}
	defer end()
	var keys []string
	ctx = namespaces.WithNamespace(ctx, j.namespace)
	if err := snapshotter.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		// Our own views go at containerd's next collection.
		if !strings.Contains(info.Name, "/"+viewPrefix) {
			keys = append(keys, info.Name)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("walk of the plugin: %w", err)
	}
	if len(keys) != j.known {
		j.find("the plugin has %d snapshots, containerd knows %d: %q", len(keys), j.known, keys)
	}
	list, err := j.tool("list")
	if err != nil {
		return err
	}
	for _, layer := range strings.Fields(list) {
		if !j.layers[layer] {
			j.find("the store's layer %s is no snapshot's", layer)
		}
	}
	check, err := j.tool("check")
	if err != nil {
		j.find("%v", err)
	}
	for line := range strings.Lines(check) {
		// Notes of no fault: of what a mount wrote there are no digests, and a kill may leave the hint
		// of a child that was not made.
		if !strings.Contains(line, ": not recorded: contents: ") && !strings.Contains(line, ": stale hint: ") {
			j.find("ovl check: %s", line)
		}
	}
	return nil
}

func (j *judgement) tool(command string) (string, error) {
	cmd := exec.Command(j.ovl, "--store", j.store, command)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return said.String(), fmt.Errorf("ovl %s: %w: %s", command, err, said.String())
	}
	return said.String(), nil
}
