package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	ovl "github.com/libovl/libovl/bindings/go"
	"github.com/libovl/libovl/bindings/go/containerd/internal/errs"
	"github.com/libovl/libovl/bindings/go/containerd/internal/spec"
)

// Prepare makes an active snapshot on parent, or on nothing, and tells how to mount it.
func (s *Snapshotter) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return s.create(ctx, snapshots.KindActive, key, parent, opts)
}

// View makes a snapshot that shows parent, or nothing, and is never committed.
func (s *Snapshotter) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return s.create(ctx, snapshots.KindView, key, parent, opts)
}

// Mounts tells how to mount an active snapshot or a view.
func (s *Snapshotter) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	var made storage.Snapshot
	var info snapshots.Info
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) (err error) {
		if made, err = storage.GetSnapshot(ctx, key); err != nil {
			return err
		}
		_, info, _, err = storage.GetInfo(ctx, key)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("mounts of snapshot %q: %w", key, err)
	}
	m, err := mappingOf(info.Labels)
	if err != nil {
		return nil, fmt.Errorf("snapshot %q: %w", key, err)
	}
	mounts, err := s.mounts(key, made, m)
	return mounts, s.unlessRemoved(ctx, key, err)
}

func (s *Snapshotter) create(ctx context.Context, kind snapshots.Kind, key, parent string, opts []snapshots.Opt) (_ []mount.Mount, err error) {
	var asked snapshots.Info
	for _, opt := range opts {
		if err := opt(&asked); err != nil {
			return nil, err
		}
	}
	m, err := mappingOf(asked.Labels)
	if err != nil {
		return nil, fmt.Errorf("snapshot %q: %w", key, err)
	}
	if m != nil && !s.canMapIDs {
		return nil, fmt.Errorf("snapshot %q: this kernel cannot map the ids of an overlay (Linux 5.19 can): %w",
			key, errdefs.ErrNotImplemented)
	}
	unlock, err := s.keys.lock(ctx, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var made storage.Snapshot
	layer := "" // the one that was made
	record := func(ctx context.Context) (err error) {
		made, err = storage.CreateSnapshot(ctx, kind, key, parent, opts...)
		return err
	}
	between := func() (err error) {
		layer, err = s.makeLayer(ctx, made, m)
		return err
	}
	err = s.group.do(&change{record: record, between: between, undo: func(ctx context.Context, failed error) (err, broken error) {
		for range skips {
			if _, _, err := storage.Remove(ctx, key); err != nil {
				return failed, err
			}
			// The layer of a snapshot whose transaction never ended: its number is passed over. The layer
			// is the reclaimer's, which takes it for garbage however it got there.
			if layer != "" || !errors.Is(failed, ovl.ErrLayerExists) {
				return failed, nil
			}
			if err := record(ctx); err != nil {
				return err, err
			}
			if failed = between(); failed == nil {
				return nil, nil
			}
		}
		_, _, err = storage.Remove(ctx, key)
		return fmt.Errorf("layers without a record have taken %d numbers in a row: %w", skips, errdefs.ErrUnavailable), err
	}})
	if err != nil {
		if layer != "" {
			s.reclaim.add(false, layer)
		}
		return nil, fmt.Errorf("snapshot %q: %w", key, err)
	}
	mounts, err := s.mounts(key, made, m)
	if err != nil {
		// The caller is told that there is no snapshot, so there must be none.
		if undo := s.remove(context.WithoutCancel(ctx), key); undo != nil {
			log.G(ctx).WithError(undo).WithField("key", key).Warn("snapshot without mounts stays")
		}
		return nil, err
	}
	return mounts, nil
}

// skips is how many numbers in a row may be taken by garbage. A kill leaves a batch of it at most.
const skips = 16 * batch

// makeLayer makes the layer of a record, and tells its name as soon as it is there. A view of something
// has none.
func (s *Snapshotter) makeLayer(ctx context.Context, made storage.Snapshot, m *mapping) (string, error) {
	below := ""
	if len(made.ParentIDs) > 0 {
		if made.Kind == snapshots.KindView {
			return "", nil
		}
		below = made.ParentIDs[0]
	}
	_, err := s.store.Create(ctx, made.ID, below, nil)
	switch {
	case errors.Is(err, ovl.ErrNoLayer):
		return "", fmt.Errorf("the layer of its parent is lost (%v): %w", err, errdefs.ErrDataLoss)
	case err != nil:
		return "", errs.Of(err)
	case m != nil:
		err = s.ownTop(made.ID, m)
	}
	return made.ID, err
}

// ownTop gives the top directory of a new layer to the container's root.
func (s *Snapshotter) ownTop(id string, m *mapping) error {
	how, err := s.store.Layer(id).MountSpec(&ovl.SpecOptions{Long: true})
	if err != nil {
		return errs.Of(err)
	}
	if how.Type == "bind" {
		return m.own(how.Source)
	}
	upper, ok := upperOf(how.Options)
	if !ok {
		return fmt.Errorf("layer %s has no upper: %w", id, errdefs.ErrInternal)
	}
	return m.own(upper)
}

func upperOf(options []string) (string, bool) {
	for _, option := range options {
		if upper, ok := strings.CutPrefix(option, "upperdir="); ok {
			return upper, true
		}
	}
	return "", false
}

// mounts says how to mount a snapshot.
func (s *Snapshotter) mounts(key string, made storage.Snapshot, m *mapping) ([]mount.Mount, error) {
	id := made.ID
	view := made.Kind == snapshots.KindView
	if view && len(made.ParentIDs) > 0 {
		id = made.ParentIDs[0]
	}
	// containerd shortens long options by itself.
	how, err := s.store.Layer(id).MountSpec(&ovl.SpecOptions{ReadOnly: view, Long: true})
	if err != nil {
		return nil, s.layerError(key, id, err)
	}
	if !view && slices.Contains(how.Options, "ro") {
		return nil, fmt.Errorf("snapshot %q is committed but has its old name still, for its commit was interrupted: commit it again, or remove it: %w",
			key, errdefs.ErrFailedPrecondition)
	}
	options := how.Options
	if how.Type == "overlay" {
		options = append(spec.Portable(options), s.extra...)
	}
	if m != nil {
		options = append(options, m.options()...)
	}
	return []mount.Mount{{Type: how.Type, Source: how.Source, Options: options}}, nil
}
