package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
)

// content is written to where a mount's changes go, as an unpacked layer or a container would have it.
func content(mounts []mount.Mount, name string) error {
	if len(mounts) != 1 {
		return fmt.Errorf("%d mounts", len(mounts))
	}
	dir := mounts[0].Source
	for _, option := range mounts[0].Options {
		if upper, ok := strings.CutPrefix(option, "upperdir="); ok {
			dir = upper
		}
	}
	return os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644)
}

// layer makes a committed snapshot.
func (s *server) layer(ctx context.Context, name, parent string) error {
	key := "extract " + name
	mounts, err := s.snap.Prepare(ctx, key, parent)
	if err != nil {
		return err
	}
	if err := content(mounts, name); err != nil {
		return err
	}
	s.made++
	return s.snap.Commit(ctx, name, key)
}

// node is a machine's life: images of three layers, of which ten share their first; a container on each
// image in turn; then a storm of clients who make, use, commit and remove at once.
func (s *server) node(ctx context.Context, set settings, report *report) error {
	for i := range 10 {
		if err := s.layer(ctx, fmt.Sprintf("base-%d", i), ""); err != nil {
			return err
		}
	}
	for i := range set.images {
		middle, top := fmt.Sprintf("middle-%d", i), fmt.Sprintf("top-%d", i)
		if err := s.layer(ctx, middle, fmt.Sprintf("base-%d", i%10)); err != nil {
			return err
		}
		if err := s.layer(ctx, top, middle); err != nil {
			return err
		}
		s.images = append(s.images, top)
	}
	create := report.times(s.name, "container: prepare and mounts", set.containers)
	for i := range set.containers {
		if err := create.take(func() error {
			mounts, err := s.snap.Prepare(ctx, fmt.Sprintf("container-%d", i), s.images[i%len(s.images)])
			if err != nil {
				return err
			}
			_, err = s.snap.Mounts(ctx, fmt.Sprintf("container-%d", i))
			return errors.Join(err, content(mounts, "changed"))
		}); err != nil {
			return err
		}
	}
	if err := s.storm(ctx, set, report); err != nil {
		return err
	}
	remove := report.times(s.name, "container: remove", set.containers)
	for i := range set.containers {
		if err := remove.take(func() error { return s.snap.Remove(ctx, fmt.Sprintf("container-%d", i)) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) storm(ctx context.Context, set settings, report *report) error {
	each := max(set.containers/set.clients, 1)
	var wait sync.WaitGroup
	var failed atomic.Pointer[error]
	started := time.Now()
	all := make([]times, set.clients)
	for client := range set.clients {
		wait.Go(func() {
			for i := range each {
				err := all[client].take(func() error {
					return s.cycle(ctx, fmt.Sprintf("storm-%d-%d", client, i), s.images[(client+i)%len(s.images)])
				})
				if err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
			}
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	storm := report.times(s.name, fmt.Sprintf("storm of %d: prepare, mounts, commit, remove", set.clients), set.containers)
	for _, one := range all {
		storm.took = append(storm.took, one.took...)
	}
	storm.wall = time.Since(started)
	return nil
}

// cycle is a snapshot's life, from prepare to remove.
func (s *server) cycle(ctx context.Context, name, parent string) error {
	mounts, err := s.snap.Prepare(ctx, name, parent)
	if err != nil {
		return err
	}
	if _, err := s.snap.Mounts(ctx, name); err != nil {
		return err
	}
	if err := content(mounts, "changed"); err != nil {
		return err
	}
	if err := s.snap.Commit(ctx, name+"-committed", name); err != nil {
		return err
	}
	return s.snap.Remove(ctx, name+"-committed")
}

// grow makes containers until there are count snapshots.
func (s *server) grow(ctx context.Context, count int) error {
	for ; s.made < count; s.made++ {
		if _, err := s.snap.Prepare(ctx, fmt.Sprintf("many-%d", s.made), s.images[s.made%len(s.images)]); err != nil {
			return err
		}
	}
	return nil
}

// measure takes the time of each operation with count snapshots there.
func (s *server) measure(ctx context.Context, rounds, count int, report *report) error {
	names := []string{"prepare", "mounts", "stat", "usage", "commit", "view", "remove a view", "remove"}
	var each []*times
	for _, name := range names {
		each = append(each, report.at(s.name, name, count, rounds))
	}
	for i := range rounds {
		key, name := fmt.Sprintf("one-%d-%d", count, i), fmt.Sprintf("done-%d-%d", count, i)
		var mounts []mount.Mount
		for which, operation := range []func() error{
			func() (err error) {
				mounts, err = s.snap.Prepare(ctx, key, s.images[i%len(s.images)])
				return err
			},
			func() error { _, err := s.snap.Mounts(ctx, key); return err },
			func() error { _, err := s.snap.Stat(ctx, key); return err },
			func() error { _, err := s.snap.Usage(ctx, key); return err },
			func() error { return s.snap.Commit(ctx, name, key) },
			func() error { _, err := s.snap.View(ctx, key, name); return err },
			func() error { return s.snap.Remove(ctx, key) },
			func() error { return s.snap.Remove(ctx, name) },
		} {
			if err := each[which].take(operation); err != nil {
				return fmt.Errorf("%s: %w", names[which], err)
			}
			if which == 0 {
				if err := content(mounts, "changed"); err != nil {
					return err
				}
			}
		}
	}
	walk := report.at(s.name, "walk of all", count, 1)
	found := 0
	if err := walk.take(func() error {
		return s.snap.Walk(ctx, func(context.Context, snapshots.Info) error { found++; return nil })
	}); err != nil {
		return err
	}
	if found != s.made {
		return fmt.Errorf("a walk finds %d snapshots, not the %d that there are", found, s.made)
	}
	cleanup := report.at(s.name, "cleanup", count, 1)
	if cleaner, ok := s.snap.(snapshots.Cleaner); ok {
		if err := cleanup.take(func() error { return cleaner.Cleanup(ctx) }); err != nil {
			return err
		}
	}
	report.Memory = append(report.Memory, memoryOf(s.name, fmt.Sprint(count, " snapshots"), s.cmd.Process.Pid))
	return nil
}
