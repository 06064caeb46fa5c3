package snapshotter_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"

	"github.com/libovl/libovl/bindings/go/containerd/internal/scratch"
	"github.com/libovl/libovl/bindings/go/containerd/snapshotter"
)

const childEnv = "OVL_CONTAINERD_TEST_CHILD" // set in a child of a test: the root to work in

func TestMain(m *testing.M) {
	if root := os.Getenv(childEnv); root != "" {
		storm(root)
	}
	os.Exit(scratch.Run(m))
}

var background = context.Background()

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// opened is a snapshotter in root, or in a new one.
func opened(t testing.TB, root string) (*snapshotter.Snapshotter, string) {
	t.Helper()
	if root == "" {
		root = t.TempDir()
	}
	s, err := snapshotter.New(root, nil)
	ok(t, err)
	t.Cleanup(func() { s.Close() })
	return s, root
}

// mounted mounts in a new directory. What it gives unmounts.
func mounted(t testing.TB, mounts []mount.Mount) (dir string, unmount func()) {
	t.Helper()
	dir = t.TempDir()
	ok(t, mount.All(mounts, dir))
	done := false
	unmount = func() {
		if !done {
			done = true
			ok(t, mount.Unmount(dir, 0))
		}
	}
	t.Cleanup(unmount)
	return dir, unmount
}

// file has a file in the active snapshot.
func file(t testing.TB, mounts []mount.Mount, name, content string) {
	t.Helper()
	dir, unmount := mounted(t, mounts)
	ok(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	unmount()
}

// committed makes a committed snapshot with a file of its own name in it.
func committed(t testing.TB, s *snapshotter.Snapshotter, name, parent string) {
	t.Helper()
	mounts, err := s.Prepare(background, name+" active", parent)
	ok(t, err)
	file(t, mounts, filepath.Base(name), name)
	ok(t, s.Commit(background, name, name+" active"))
}

// layers are the names in the store's layer/, which are all layers there are.
func layers(t testing.TB, root string) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "store", "layer"))
	ok(t, err)
	all := map[string]bool{}
	for _, entry := range entries {
		all[entry.Name()] = true
	}
	return all
}
