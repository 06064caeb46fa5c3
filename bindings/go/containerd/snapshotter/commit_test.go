package snapshotter_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// BuildKit mounts what it has made read-only for one step while it commits it for another.
func TestCommitInUse(t *testing.T) {
	s, _ := opened(t, "")
	committed(t, s, "base", "")
	for _, parent := range []string{"", "base"} {
		key := "on " + parent
		mounts, err := s.Prepare(background, key, parent)
		ok(t, err)
		file(t, mounts, "file", "content")
		mounts[0].Options = append(mounts[0].Options, "ro")
		dir, _ := mounted(t, mounts)
		begin := time.Now()
		ok(t, s.Commit(background, "done "+key, key))
		if took := time.Since(begin); took > 2*time.Second {
			t.Error("the commit took ", took)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "content" {
			t.Error(string(got), err)
		}
		again, err := s.Prepare(background, "above "+key, "done "+key)
		ok(t, err)
		file(t, again, "more", "content")
	}
}

// Whenever the caller gives up: the snapshot is committed, or as it was.
func TestCommitCancelled(t *testing.T) {
	s, _ := opened(t, "")
	committed(t, s, "base", "")
	fill := func(upper string) {
		for d := range 10 {
			dir := filepath.Join(upper, fmt.Sprint(d))
			ok(t, os.Mkdir(dir, 0o755))
			for f := range 50 {
				ok(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(f)), nil, 0o644))
			}
		}
	}
	before := 0
	for i := range 60 {
		key := fmt.Sprint("key", i)
		mounts, err := s.Prepare(background, key, "base")
		ok(t, err)
		for _, option := range mounts[0].Options {
			if upper, is := strings.CutPrefix(option, "upperdir="); is {
				fill(upper)
			}
		}
		ctx, cancel := context.WithTimeout(background, time.Duration(i)*150*time.Microsecond)
		err = s.Commit(ctx, "name of "+key, key)
		cancel()
		_, active := s.Mounts(background, key)
		_, there := s.Stat(background, "name of "+key)
		if err == nil && there != nil || err != nil && (active != nil || there == nil) {
			t.Errorf("commit: %v; the mounts: %v; the name: %v", err, active, there)
		}
		if err != nil {
			before++
		}
	}
	if before == 0 {
		t.Error("none was cancelled")
	}
}

// A process with a copy of the mounts in a namespace of its own holds what was unmounted here: neither a
// commit nor a removal waits for it.
func TestHeldElsewhere(t *testing.T) {
	s, root := opened(t, "")
	committed(t, s, "base", "")
	mounts, err := s.Prepare(background, "key", "base")
	ok(t, err)
	_, unmount := mounted(t, mounts)
	holder := exec.Command("sleep", "1000")
	holder.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	ok(t, holder.Start())
	defer func() { holder.Process.Kill(); holder.Wait() }()
	unmount()
	ok(t, s.Commit(background, "done", "key"))
	_, err = s.Prepare(background, "other", "base")
	ok(t, err)
	ok(t, s.Remove(background, "done"))
	ok(t, s.Cleanup(background))
	if s.Pending() != 1 || !layers(t, root)["2"] {
		t.Error(s.Pending(), layers(t, root))
	}
	ok(t, holder.Process.Kill())
	holder.Wait()
	for end := time.Now().Add(10 * time.Second); s.Pending() > 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		ok(t, s.Cleanup(background))
	}
	if there := layers(t, root); s.Pending() != 0 || there["2"] || !there["3"] {
		t.Error(s.Pending(), there)
	}
}

func TestCommitRefused(t *testing.T) {
	s, _ := opened(t, "")
	committed(t, s, "base", "")
	committed(t, s, "other", "")
	prepare := func(key, parent string) {
		t.Helper()
		_, err := s.Prepare(background, key, parent)
		ok(t, err)
	}
	prepare("bottom", "")
	prepare("top", "base")
	_, err := s.View(background, "view", "base")
	ok(t, err)
	is(t, s.Commit(background, "x", "bottom", snapshots.WithParent("base")), errdefs.IsNotImplemented, "rebase")
	is(t, s.Commit(background, "x", "top", snapshots.WithParent("other")), errdefs.IsInvalidArgument, "base")
	is(t, s.Commit(background, "base", "top"), errdefs.IsAlreadyExists, "base")
	is(t, s.Commit(background, "x", "view"), errdefs.IsFailedPrecondition, "not active")
	is(t, s.Commit(background, "x", "nobody"), errdefs.IsNotFound, "nobody")
	is(t, s.Commit(background, "", "top"), errdefs.IsInvalidArgument, "empty")
	// None of them did anything.
	mounts, err := s.Mounts(background, "top")
	ok(t, err)
	file(t, mounts, "a", "b")
	ok(t, s.Commit(background, "x", "top", snapshots.WithParent("base")))
	is(t, s.Remove(background, "base"), errdefs.IsFailedPrecondition, "remove")
}
