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
