package snapshotter

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"

	ovl "github.com/libovl/libovl/bindings/go"
)

// Commit makes the active snapshot key the committed one name. Mounts of it may stay, as with containerd's
// own snapshotters: the caller sees to it that nobody writes through them any more. Where the process is
// killed after the layer was committed, it may be called again, and key may be removed; key cannot be
// mounted any more.
func (s *Snapshotter) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	var asked snapshots.Info
	for _, opt := range opts {
		if err := opt(&asked); err != nil {
			return err
		}
	}
	if err := errors.Join(validName("name", name), validLabels(asked.Labels)); err != nil {
		return fmt.Errorf("commit of snapshot %q: %w", shown(key), err)
	}
	unlock, err := s.keys.lock(ctx, key, name)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := s.committable(ctx, name, key, asked.Parent)
	if err != nil {
		return err
	}
	if err := s.commitLayer(ctx, r.id); err != nil {
		return s.layerError(key, r.id, err)
	}
	// There is no way back: the caller's patience ends nothing any more.
	ctx = context.WithoutCancel(ctx)
	usage, err := s.layerUsage(ctx, key, r.id)
	if err != nil {
		return err
	}
	return s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		_, err := storage.CommitActive(ctx, key, name, usage, opts...)
		return err
	})
}

// committable says no before the layer is committed, which cannot be undone.
func (s *Snapshotter) committable(ctx context.Context, name, key, parent string) (record, error) {
	_, err := s.record(ctx, name)
	if err == nil {
		return record{}, fmt.Errorf("committed snapshot %q: %w", name, errdefs.ErrAlreadyExists)
	}
	if !errdefs.IsNotFound(err) {
		return record{}, err
	}
	r, err := s.record(ctx, key)
	switch {
	case err != nil:
		return record{}, err
	case r.info.Kind != snapshots.KindActive:
		return record{}, fmt.Errorf("snapshot %q is not active: %w", key, errdefs.ErrFailedPrecondition)
	case parent == "" || parent == r.info.Parent:
		return r, nil
	case r.info.Parent == "":
		// Such a layer is a complete tree, in which nothing says what the parent has and it has not.
		return record{}, fmt.Errorf("snapshot %q: a parent that is given at commit (rebase) is not supported: %w",
			key, errdefs.ErrNotImplemented)
	}
	return record{}, fmt.Errorf("snapshot %q has parent %q, which a commit does not change: %w",
		key, r.info.Parent, errdefs.ErrInvalidArgument)
}

func (s *Snapshotter) commitLayer(ctx context.Context, id string) error {
	err := s.store.Layer(id).Commit(ctx, &ovl.CommitOptions{Durability: s.durability, Mounted: true})
	if errors.Is(err, ovl.ErrCommitted) {
		return nil // by a commit that was interrupted
	}
	return err
}
