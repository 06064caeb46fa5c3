package snapshotter_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// What the database cannot hold is refused, and those who come with it know nothing of it.
func TestBadRequestAmongGood(t *testing.T) {
	s, _ := opened(t, "")
	committed(t, s, "base", "")
	long := strings.Repeat("x", 64<<10)
	labelled := func(name string) snapshots.Opt { return snapshots.WithLabels(map[string]string{name: "value"}) }
	var all sync.WaitGroup
	for what, bad := range map[string]func(i int) error{
		"empty key": func(int) error { _, err := s.Prepare(background, "", "base"); return err },
		"long key":  func(int) error { _, err := s.View(background, long, "base"); return err },
		"empty label": func(i int) error {
			_, err := s.Prepare(background, fmt.Sprint("e", i), "base", labelled(""))
			return err
		},
		"long label": func(i int) error { _, err := s.Prepare(background, fmt.Sprint("l", i), "", labelled(long)); return err },
		"update": func(int) error {
			_, err := s.Update(background, snapshots.Info{Name: "base", Labels: map[string]string{long: "value"}})
			return err
		},
		"long name":       func(int) error { return s.Commit(background, long, "nobody") },
		"label of commit": func(int) error { return s.Commit(background, "name", "nobody", labelled(long)) },
	} {
		for i := range 4 {
			all.Go(func() {
				if err := bad(i); !errdefs.IsInvalidArgument(err) || len(err.Error()) > 1000 {
					t.Errorf("%s: %.300v", what, err)
				}
			})
		}
		for i := range 16 {
			all.Go(func() {
				if _, err := s.Prepare(background, fmt.Sprint("beside ", what, i), "base"); err != nil {
					t.Errorf("beside %s: %.300v", what, err)
				}
			})
		}
	}
	all.Wait()
	// A label without a value is none, as in containerd.
	_, err := s.Prepare(background, "key", "base", snapshots.WithLabels(map[string]string{"": ""}))
	if errors.Join(err, s.Cleanup(background)) != nil {
		t.Error(err)
	}
}
