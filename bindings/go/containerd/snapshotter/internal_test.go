package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

// fragile changes the database, and fails.
type fragile struct{ removal }

func (f *fragile) record(ctx context.Context) error {
	_, err := storage.CreateSnapshot(ctx, snapshots.KindActive, f.key, "")
	return errors.Join(err, errors.New("half a change"))
}

// Nothing of a change that fails half-way stays, and all of those that had its transaction.
func TestHalfAChange(t *testing.T) {
	root := t.TempDir()
	s, err := New(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const n = batch / 2
	s.group.turn <- struct{}{} // so that they come together
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if i == 7 {
				if err := s.group.do(&fragile{removal{key: "half"}}); err == nil {
					t.Error("half a change was made")
				}
			} else if _, err := s.Prepare(context.Background(), fmt.Sprint(i), ""); err != nil {
				t.Error(err)
			}
		})
	}
	for waiting := 0; waiting < n; {
		s.group.mu.Lock()
		waiting = len(s.group.waiting)
		s.group.mu.Unlock()
	}
	<-s.group.turn
	all.Wait()
	if err := s.Cleanup(context.Background()); err != nil {
		t.Error(err)
	}
	layers, err := os.ReadDir(filepath.Join(root, "store", "layer"))
	if err != nil || len(layers) != n-1 {
		t.Error(len(layers), err)
	}
	for i := range n {
		if _, err := s.Mounts(context.Background(), fmt.Sprint(i)); (err == nil) != (i != 7) {
			t.Error(i, err)
		}
	}
}

// A creation that failed may be in the database all the same, where the disk fails at the last step.
func TestFailedCreationWithRecord(t *testing.T) {
	ctx := context.Background()
	s, err := New(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Prepare(ctx, "key", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Create(ctx, "2", "", nil); err != nil {
		t.Fatal(err)
	}
	s.reclaim.add(garbage{doubtful: true}, "1", "2")
	if err := s.Cleanup(ctx); err != nil {
		t.Error(err)
	}
	if _, err := s.Mounts(ctx, "key"); err != nil {
		t.Error(err)
	}
	if there, err := s.store.Layer("2").Exists(); there || err != nil || s.Pending() != 0 {
		t.Error("garbage stays: ", there, err, s.Pending())
	}
}

// What the last process left is looked for until it is found.
func TestOrphansAreLookedForAgain(t *testing.T) {
	ctx := context.Background()
	s, err := New(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := s.reclaim
	if err := s.Cleanup(ctx); err != nil { // the start has looked
		t.Fatal(err)
	}
	if _, err := s.store.Create(ctx, "7", "", nil); err != nil {
		t.Fatal(err)
	}
	r.work <- struct{}{}
	whole := r.list
	r.list = func() ([]uint64, error) { return nil, errdefs.ErrUnavailable }
	r.found = r.find(ctx)
	<-r.work
	for _, there := range []bool{true, false} {
		if err := s.Cleanup(ctx); err != nil {
			t.Error(err)
		}
		if got, err := s.store.Layer("7").Exists(); got != there || err != nil {
			t.Error(got, err)
		}
		r.work <- struct{}{}
		r.list = whole
		<-r.work
	}
}
