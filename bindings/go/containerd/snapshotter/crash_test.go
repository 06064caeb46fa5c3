package snapshotter_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	ovl "github.com/libovl/libovl/bindings/go"
	"github.com/libovl/libovl/bindings/go/containerd/snapshotter"
)

// storm is a process that works in root with several goroutines until it is killed.
func storm(root string) {
	s, err := snapshotter.New(root, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("at work")
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() { work(s, fmt.Sprintf("%d-%d", os.Getpid(), worker)) })
	}
	all.Wait()
}

func work(s *snapshotter.Snapshotter, name string) {
	var names []string
	for i := 0; ; i++ {
		parent := ""
		if len(names) > 0 {
			parent = names[rand.IntN(len(names))]
		}
		key := fmt.Sprintf("%s/%d", name, i)
		mounts, err := s.Prepare(background, key, parent)
		if err != nil {
			continue // the parent went
		}
		for _, option := range append(mounts[0].Options, "upperdir="+mounts[0].Source) {
			if upper, is := strings.CutPrefix(option, "upperdir="); is && strings.HasPrefix(upper, "/") {
				os.WriteFile(filepath.Join(upper, "file"), []byte(key), 0o644)
			}
		}
		switch rand.IntN(4) {
		case 0:
			s.Remove(background, key)
		case 1:
		default:
			if s.Commit(background, key+" committed", key) == nil {
				names = append(names, key+" committed")
			}
		}
		if len(names) > 0 && rand.IntN(3) == 0 {
			s.Remove(background, names[rand.IntN(len(names))])
		}
	}
}

// Killed at any moment, again and again: what has a record has its layer, whole, and what has none is
// gone after the next start.
func TestKills(t *testing.T) {
	root := t.TempDir()
	for round := range 12 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), childEnv+"="+root)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		ok(t, err)
		ok(t, cmd.Start())
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal("the child did not start: ", err)
		}
		time.Sleep(time.Duration(20+rand.IntN(250)) * time.Millisecond)
		ok(t, cmd.Process.Kill())
		cmd.Wait()
		s, _ := opened(t, root)
		if n := agree(t, s, root); n == 0 && round > 3 {
			t.Error("nothing was made")
		}
		ok(t, s.Close())
	}
}

// agree checks that records and layers are the same, and that each can be used. It tells how many there
// are.
func agree(t *testing.T, s *snapshotter.Snapshotter, root string) int {
	t.Helper()
	ok(t, s.Cleanup(background))
	there := layers(t, root)
	n := 0
	ok(t, s.Walk(background, func(ctx context.Context, info snapshots.Info) error {
		n++
		switch info.Kind {
		case snapshots.KindActive:
			mounts, err := s.Mounts(ctx, info.Name)
			if errdefs.IsFailedPrecondition(err) {
				// Its commit was interrupted, and goes on.
				return s.Commit(ctx, info.Name+" after all", info.Name)
			}
			if err != nil {
				return err
			}
			if len(mounts) != 1 {
				return fmt.Errorf("%s: mounts %v", info.Name, mounts)
			}
		case snapshots.KindCommitted:
			view := info.Name + " view"
			mounts, err := s.View(ctx, view, info.Name)
			if err != nil {
				return err
			}
			dir, unmount := mounted(t, mounts)
			got, err := os.ReadFile(filepath.Join(dir, "file"))
			unmount()
			name, _, _ := strings.Cut(info.Name, " ")
			if err != nil || string(got) != name {
				return fmt.Errorf("%s: %q, %v", info.Name, got, err)
			}
			return s.Remove(ctx, view)
		}
		return nil
	}))
	ok(t, s.Cleanup(background))
	if n != len(there) {
		t.Fatalf("%d snapshots, %d layers %v", n, len(there), there)
	}
	for _, dir := range []string{"stage", "trash"} {
		if left, err := os.ReadDir(filepath.Join(root, "store", dir)); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, %v", dir, left, err)
		}
	}
	return n
}

// other opens the store of a root that no snapshotter has open.
func other(t *testing.T, root string, f func(*ovl.Store)) {
	t.Helper()
	store, err := ovl.Open(filepath.Join(root, "store"), &ovl.OpenOptions{MustExist: true})
	ok(t, err)
	defer store.Close()
	f(store)
}

func TestLayerWithoutRecord(t *testing.T) {
	s, root := opened(t, "")
	committed(t, s, "base", "")
	ok(t, s.Close())
	other(t, root, func(store *ovl.Store) {
		for _, id := range []string{"2", "3", "7", "guest", "08"} {
			_, err := store.Create(background, id, "1", nil)
			ok(t, err)
		}
	})
	s, _ = opened(t, root)
	// The numbers 2 and 3 are given out before or after they are free: never twice at once.
	for i := range 4 {
		_, err := s.Prepare(background, fmt.Sprint("key", i), "base")
		ok(t, err)
	}
	ok(t, s.Cleanup(background))
	there := layers(t, root)
	if !there["guest"] || !there["08"] {
		t.Error("a layer of somebody else's was removed")
	}
	if len(there) != 5+2 {
		t.Error(there)
	}
	for i := range 4 {
		mounts, err := s.Mounts(background, fmt.Sprint("key", i))
		ok(t, err)
		file(t, mounts, "x", "y")
	}
}

// A number that garbage has is passed over, and the garbage is not what the new snapshot gets.
func TestNumberIsTaken(t *testing.T) {
	s, root := opened(t, "")
	committed(t, s, "base", "")
	for _, id := range []string{"2", "3"} {
		_, err := s.Store().Create(background, id, "", nil)
		ok(t, err)
		ok(t, os.WriteFile(filepath.Join(root, "store", "layer", id, "root", "garbage"), nil, 0o644))
	}
	mounts, err := s.Prepare(background, "key", "")
	ok(t, err)
	if !strings.HasSuffix(mounts[0].Source, "/layer/4/root") {
		t.Error(mounts)
	}
}

func TestRecordWithoutLayer(t *testing.T) {
	s, root := opened(t, "")
	committed(t, s, "base", "")
	_, err := s.Prepare(background, "lost", "base")
	ok(t, err)
	ok(t, s.Store().Remove(background, "2", nil))
	_, err = s.Mounts(background, "lost")
	is(t, err, errdefs.IsDataLoss, "remove the snapshot")
	_, err = s.Usage(background, "lost")
	is(t, err, errdefs.IsDataLoss, "")
	is(t, s.Commit(background, "no", "lost"), errdefs.IsDataLoss, "")
	ok(t, s.Remove(background, "lost"))
	ok(t, s.Store().Remove(background, "1", nil))
	_, err = s.Prepare(background, "key", "base")
	is(t, err, errdefs.IsDataLoss, "")
	if _, err := s.Stat(background, "key"); !errdefs.IsNotFound(err) {
		t.Error("a snapshot that failed is there: ", err)
	}
	if there := layers(t, root); len(there) > 0 {
		t.Error(there)
	}
}

func TestCommitHalfDone(t *testing.T) {
	s, _ := opened(t, "")
	for _, parent := range []string{"", "first"} {
		key := parent + "key"
		_, err := s.Prepare(background, key, parent)
		ok(t, err)
		id := map[string]string{"": "1", "first": "2"}[parent]
		ok(t, s.Store().Layer(id).Commit(background, nil))
		_, err = s.Mounts(background, key)
		is(t, err, errdefs.IsFailedPrecondition, "commit it again")
		_, err = s.Usage(background, key)
		ok(t, err)
		name := "first"
		if parent != "" {
			name = "second"
		}
		ok(t, s.Commit(background, name, key))
	}
	_, err := s.Prepare(background, "third", "second")
	ok(t, err)
	ok(t, s.Store().Layer("3").Commit(background, nil))
	ok(t, s.Remove(background, "third"))
	ok(t, s.Cleanup(background))
}
