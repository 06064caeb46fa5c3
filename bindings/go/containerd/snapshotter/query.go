package snapshotter

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"

	"github.com/libovl/libovl/bindings/go/containerd/internal/errs"
)

// record is what the database has of a key.
type record struct {
	id    string
	info  snapshots.Info
	usage snapshots.Usage
}

func (s *Snapshotter) record(ctx context.Context, key string) (r record, err error) {
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		r.id, r.info, r.usage, err = storage.GetInfo(ctx, key)
		return err
	})
	if err != nil {
		return record{}, fmt.Errorf("snapshot %q: %w", key, err)
	}
	return r, nil
}

// Stat is what is known of a snapshot.
func (s *Snapshotter) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	r, err := s.record(ctx, key)
	return r.info, err
}

// Update changes labels: those of the field paths "labels.NAME", or with "labels" or no path all.
func (s *Snapshotter) Update(ctx context.Context, info snapshots.Info, fieldpaths ...string) (updated snapshots.Info, err error) {
	if err := validLabels(info.Labels); err != nil {
		return snapshots.Info{}, fmt.Errorf("snapshot %q: %w", shown(info.Name), err)
	}
	err = s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		updated, err = storage.UpdateInfo(ctx, info, fieldpaths...)
		return err
	})
	if err != nil {
		return snapshots.Info{}, err
	}
	return updated, nil
}

// Usage is what a snapshot takes on the disk without its parents: of an active one what it is now, of a
// committed one what was found when it was committed. A view takes nothing.
func (s *Snapshotter) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	r, err := s.record(ctx, key)
	if err != nil || r.info.Kind != snapshots.KindActive {
		return r.usage, err
	}
	usage, err := s.layerUsage(ctx, key, r.id)
	return usage, s.unlessRemoved(ctx, key, err)
}

// unlessRemoved is err, or where a removal came between the record and its layer, that.
func (s *Snapshotter) unlessRemoved(ctx context.Context, key string, err error) error {
	if errdefs.IsDataLoss(err) {
		if _, gone := s.record(ctx, key); gone != nil {
			return gone
		}
	}
	return err
}

func (s *Snapshotter) layerUsage(ctx context.Context, key, id string) (snapshots.Usage, error) {
	usage, err := s.store.Layer(id).Usage(ctx, nil)
	if err != nil {
		return snapshots.Usage{}, s.layerError(key, id, err)
	}
	return snapshots.Usage{Inodes: usage.OwnInodes, Size: usage.OwnBytes}, nil
}

// page is how many snapshots one transaction of Walk reads.
const page = 256

// Walk calls fn for each snapshot that matches one of the filters, in the order of their names. No
// transaction is open meanwhile: fn may call anything, and a reader that takes its time keeps the
// database from nothing.
func (s *Snapshotter) Walk(ctx context.Context, fn snapshots.WalkFunc, filters ...string) error {
	var names []string
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		return storage.WalkInfo(ctx, func(_ context.Context, info snapshots.Info) error {
			names = append(names, info.Name)
			return nil
		}, filters...)
	})
	// The database of a new root has no buckets yet.
	if err != nil && !(errdefs.IsNotFound(err) && len(names) == 0) {
		return err
	}
	for len(names) > 0 {
		n := min(page, len(names))
		infos := make([]snapshots.Info, 0, n)
		err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
			for _, name := range names[:n] {
				_, info, _, err := storage.GetInfo(ctx, name)
				if errdefs.IsNotFound(err) {
					continue // removed since
				}
				if err != nil {
					return err
				}
				infos = append(infos, info)
			}
			return nil
		})
		if err != nil {
			return err
		}
		names = names[n:]
		for _, info := range infos {
			if err := fn(ctx, info); err != nil {
				return err
			}
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// layerError is what the store says of the layer of a snapshot that has a record. It must be there: to
// containerd "not found" is the snapshot, which is made anew then and hides the damage.
func (s *Snapshotter) layerError(key, id string, err error) error {
	err = errs.Of(err)
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("the layer of snapshot %q is lost, all that is left to do is to remove the snapshot (%v): %w",
			key, err, errdefs.ErrDataLoss)
	}
	return fmt.Errorf("snapshot %q, layer %s: %w", key, id, err)
}
