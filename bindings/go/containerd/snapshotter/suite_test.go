package snapshotter_test

import (
	"context"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"

	"github.com/libovl/libovl/bindings/go/containerd/snapshotter"
)

func open(opts *snapshotter.Options) testsuite.SnapshotterFunc {
	return func(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
		s, err := snapshotter.New(root, opts)
		if err != nil {
			return nil, nil, err
		}
		return s, s.Close, nil
	}
}

// containerd's own suite. Its name says what renames of directories do: as on an overlay.
func TestConformance(t *testing.T) {
	testsuite.SnapshotterSuite(t, "overlayfs", open(nil))
}
