package snapshotter_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/libovl/libovl/bindings/go/containerd/snapshotter"
)

// Without its database nothing is known to be garbage: not where it is gone, empty, another root's, or
// of an earlier day.
func TestDatabaseIsLost(t *testing.T) {
	s, root := opened(t, "")
	database := filepath.Join(root, "metadata.db")
	committed(t, s, "base", "")
	ok(t, s.Close())
	read := func(path string) []byte {
		t.Helper()
		all, err := os.ReadFile(path)
		ok(t, err)
		return all
	}
	early := read(database)
	s, _ = opened(t, root)
	for _, key := range []string{"key", "other"} {
		mounts, err := s.Prepare(background, key, "base")
		ok(t, err)
		file(t, mounts, "file", "content")
	}
	ok(t, s.Commit(background, "committed", "other"))
	ok(t, s.Close())
	good, before := read(database), layers(t, root)

	foreign, foreignRoot := opened(t, "")
	for range 5 {
		_, err := foreign.View(background, time.Now().String(), "")
		ok(t, err)
	}
	ok(t, foreign.Close())
	for what, content := range map[string][]byte{
		"is not there": nil,
		"is empty":     {},
		"is another":   read(filepath.Join(foreignRoot, "metadata.db")),
		"is older":     early,
	} {
		ok(t, os.RemoveAll(database))
		if content != nil {
			ok(t, os.WriteFile(database, content, 0o600))
		}
		_, err := snapshotter.New(root, nil)
		is(t, err, errdefs.IsDataLoss, what)
		if now := layers(t, root); len(now) != len(before) {
			t.Fatalf("%s: %v, not %v", what, now, before)
		}
	}
	ok(t, os.WriteFile(database, good, 0o600))
	s, _ = opened(t, root)
	if n := len(layers(t, root)); n != 3 {
		t.Error(n)
	}
	for _, key := range []string{"key", "committed"} {
		_, err := s.Stat(background, key)
		ok(t, err)
	}
}

// Another program that has the database open keeps nobody waiting for ever.
func TestDatabaseIsOpenElsewhere(t *testing.T) {
	s, root := opened(t, "")
	ok(t, s.Close())
	file, err := os.OpenFile(filepath.Join(root, "metadata.db"), os.O_RDWR, 0)
	ok(t, err)
	defer file.Close()
	ok(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX))
	_, err = snapshotter.New(root, nil)
	is(t, err, errdefs.IsUnavailable, "another program")
}
