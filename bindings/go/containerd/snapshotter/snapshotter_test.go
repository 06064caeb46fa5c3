package snapshotter_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/libovl/libovl/bindings/go/containerd/snapshotter"
)

// is checks an error's class, and that it says what to do.
func is(t testing.TB, err error, class func(error) bool, says string) {
	t.Helper()
	if err == nil || !class(err) || !strings.Contains(err.Error(), says) {
		t.Errorf("error %v: not of its class, or without %q", err, says)
	}
}

func TestOneProcess(t *testing.T) {
	s, root := opened(t, "")
	_, err := snapshotter.New(root, nil)
	is(t, err, errdefs.IsUnavailable, "another process")
	ok(t, s.Close())
	s, _ = opened(t, root)
	ok(t, s.Close())
	ok(t, s.Close())
	if _, err := s.Stat(background, "x"); err == nil {
		t.Error("a closed snapshotter answers")
	}
}

// What runs on a removed snapshot goes on, its key is free, and the space comes back when it ends.
func TestRemoveInUse(t *testing.T) {
	s, root := opened(t, "")
	committed(t, s, "base", "")
	mounts, err := s.Prepare(background, "key", "base")
	ok(t, err)
	dir, unmount := mounted(t, mounts)
	ok(t, s.Remove(background, "key"))
	ok(t, s.Remove(background, "base"))
	ok(t, s.Cleanup(background))
	if s.Pending() != 2 {
		t.Error("pending: ", s.Pending())
	}
	ok(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	if got, err := os.ReadFile(filepath.Join(dir, "base")); err != nil || string(got) != "base" {
		t.Error(string(got), err)
	}
	_, err = s.Prepare(background, "key", "")
	ok(t, err)
	unmount()
	ok(t, s.Cleanup(background))
	if there := layers(t, root); len(there) != 1 || !there["3"] || s.Pending() != 0 {
		t.Error(there, s.Pending())
	}
}

// Without a Cleanup the space comes back too.
func TestRemoveInBackground(t *testing.T) {
	s, root := opened(t, "")
	for i := range 20 {
		committed(t, s, fmt.Sprint("c", i), "")
		ok(t, s.Remove(background, fmt.Sprint("c", i)))
	}
	for end := time.Now().Add(20 * time.Second); len(layers(t, root)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(layers(t, root))
		}
	}
}

func TestCancelled(t *testing.T) {
	s, root := opened(t, "")
	committed(t, s, "base", "")
	ctx, cancel := context.WithCancel(background)
	cancel()
	// Whichever of lock and cancel is seen first.
	for range 20 {
		if _, err := s.Prepare(ctx, "key", "base"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := s.Commit(ctx, "name", "key"); err == nil {
			t.Error("committed")
		}
		if err := s.Remove(ctx, "base"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if _, err := s.Stat(background, "key"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	ok(t, s.Cleanup(background))
	if there := layers(t, root); len(there) != 1 {
		t.Error(there)
	}
}

func TestUsage(t *testing.T) {
	s, _ := opened(t, "")
	committed(t, s, "base", "")
	mounts, err := s.Prepare(background, "key", "base")
	ok(t, err)
	before, err := s.Usage(background, "key")
	ok(t, err)
	file(t, mounts, "big", strings.Repeat("x", 1<<20))
	after, err := s.Usage(background, "key")
	ok(t, err)
	if grown := after.Size - before.Size; grown < 1<<20 || grown > 1<<20+1<<16 || after.Inodes <= before.Inodes {
		t.Error(before, after)
	}
	cancelled, cancel := context.WithCancel(background)
	cancel()
	if _, err := s.Usage(cancelled, "key"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	ok(t, s.Commit(background, "done", "key"))
	stored, err := s.Usage(background, "done")
	ok(t, err)
	if stored.Size < 1<<20 {
		t.Error(stored)
	}
	_, err = s.View(background, "view", "done")
	ok(t, err)
	if usage, err := s.Usage(background, "view"); err != nil || usage != (snapshots.Usage{}) {
		t.Error(usage, err)
	}
}

func TestRemapped(t *testing.T) {
	s, _ := opened(t, "")
	committed(t, s, "base", "")
	mapped := snapshots.WithLabels(map[string]string{
		snapshots.LabelSnapshotUIDMapping: "0:1000:65536",
		snapshots.LabelSnapshotGIDMapping: "0:2000:65536",
	})
	for key, parent := range map[string]string{"bottom": "", "top": "base"} {
		mounts, err := s.Prepare(background, key, parent, mapped)
		ok(t, err)
		for _, option := range []string{"uidmap=0:1000:65536", "gidmap=0:2000:65536"} {
			if !slices.Contains(mounts[0].Options, option) {
				t.Error(key, mounts)
			}
		}
		if again, err := s.Mounts(background, key); err != nil || !slices.Equal(again[0].Options, mounts[0].Options) {
			t.Error(again, err)
		}
		if key == "bottom" {
			continue
		}
		dir, unmount := mounted(t, mounts)
		for _, path := range []string{dir, filepath.Join(dir, "base")} {
			var st syscall.Stat_t
			ok(t, syscall.Stat(path, &st))
			if st.Uid != 1000 || st.Gid != 2000 {
				t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
			}
		}
		unmount()
	}
	for _, bad := range []string{"", "0:1", "1:1000:10", "0:x:1", "0:0:0", "0:4294967295:1"} {
		_, err := s.Prepare(background, "bad", "base", snapshots.WithLabels(map[string]string{
			snapshots.LabelSnapshotUIDMapping: bad, snapshots.LabelSnapshotGIDMapping: "0:0:1",
		}))
		is(t, err, errdefs.IsInvalidArgument, snapshots.LabelSnapshotUIDMapping)
	}
	_, err := s.Prepare(background, "bad", "base", snapshots.WithLabels(map[string]string{
		snapshots.LabelSnapshotUIDMapping: "0:0:1",
	}))
	is(t, err, errdefs.IsInvalidArgument, "both")
}

// Many clients on the same few keys: each call does what it says or fails, and nothing is left.
func TestStorm(t *testing.T) {
	s, root := opened(t, "")
	committed(t, s, "base", "")
	var all sync.WaitGroup
	for worker := range 32 {
		all.Go(func() {
			for i := range 25 {
				key := fmt.Sprintf("key %d", (worker+i)%40)
				if mounts, err := s.Prepare(background, key, "base"); err == nil && len(mounts) != 1 {
					t.Error(mounts)
				} else if err != nil && !errdefs.IsAlreadyExists(err) {
					t.Error(err)
				}
				switch i % 3 {
				case 0:
					if err := s.Remove(background, key); err != nil && !errdefs.IsNotFound(err) {
						t.Error(err)
					}
				case 1:
					name := fmt.Sprintf("name %d", worker)
					err := s.Commit(background, name, key)
					if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsAlreadyExists(err) {
						t.Error(err)
					}
				case 2:
					if _, err := s.Usage(background, key); err != nil && !errdefs.IsNotFound(err) {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	n := 0
	ok(t, s.Walk(background, func(ctx context.Context, info snapshots.Info) error { n++; return nil }))
	ok(t, s.Cleanup(background))
	if there := layers(t, root); len(there) != n {
		t.Errorf("%d snapshots, %d layers", n, len(there))
	}
}

// A reader that takes its time, and calls back, keeps no writer waiting.
func TestWalk(t *testing.T) {
	s, _ := opened(t, "")
	ok(t, s.Walk(background, func(context.Context, snapshots.Info) error { return errors.New("there is none") }))
	ok(t, s.Cleanup(background))
	for i := range 600 {
		_, err := s.View(background, fmt.Sprintf("v%04d", i), "", snapshots.WithLabels(map[string]string{"half": fmt.Sprint(i % 2)}))
		ok(t, err)
	}
	var names []string
	ok(t, s.Walk(background, func(ctx context.Context, info snapshots.Info) error {
		names = append(names, info.Name)
		if len(names) == 1 {
			ok(t, s.Remove(ctx, "v0599"))
			_, err := s.Prepare(ctx, "new", "")
			ok(t, err)
		}
		stat, err := s.Stat(ctx, info.Name)
		if err == nil && !stat.Created.Equal(info.Created) {
			t.Error(stat, info)
		}
		return err
	}, "kind==view,labels.half==1"))
	if len(names) != 299 || names[0] != "v0001" || !slices.IsSorted(names) {
		t.Error(len(names))
	}
	stop := errors.New("stop")
	if err := s.Walk(background, func(context.Context, snapshots.Info) error { return stop }); err != stop {
		t.Error(err)
	}
	if err := s.Walk(background, func(context.Context, snapshots.Info) error { return nil }, "=="); err == nil {
		t.Error("a filter that is none")
	}
}
