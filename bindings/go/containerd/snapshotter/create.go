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

// creation is one snapshot that is made.
type creation struct {
	s           *Snapshotter
	ctx         context.Context // the caller's
	kind        snapshots.Kind
	key, parent string
	opts        []snapshots.Opt
	mapping     *mapping
	made        storage.Snapshot
	layer       string   // the one that was made, as soon as it is there
	before      []string // those of attempts whose transaction failed
}

func (s *Snapshotter) create(ctx context.Context, kind snapshots.Kind, key, parent string, opts []snapshots.Opt) ([]mount.Mount, error) {
	c := &creation{s: s, ctx: ctx, kind: kind, key: key, parent: parent, opts: opts}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("snapshot %q: %w", shown(key), err)
	}
	unlock, err := s.keys.lock(ctx, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	err = s.group.do(c)
	if err != nil && c.layer != "" {
		c.before = append(c.before, c.layer)
	}
	// Not sooner: another attempt may have got the same number.
	s.reclaim.add(garbage{doubtful: err != nil}, c.before...)
	if err != nil {
		return nil, fmt.Errorf("snapshot %q: %w", key, err)
	}
	mounts, err := s.mounts(key, c.made, c.mapping)
	if err != nil {
		// The caller is told that there is no snapshot, so there must be none.
		if undo := s.remove(context.WithoutCancel(ctx), key); undo != nil {
			log.G(ctx).WithError(undo).WithField("key", key).Warn("snapshot without mounts stays")
		}
		return nil, err
	}
	return mounts, nil
}

func (c *creation) check() error {
	if err := validName("key", c.key); err != nil {
		return err
	}
	var asked snapshots.Info
	for _, opt := range c.opts {
		if err := opt(&asked); err != nil {
			return err
		}
	}
	if err := validLabels(asked.Labels); err != nil {
		return err
	}
	var err error
	if c.mapping, err = mappingOf(asked.Labels); err != nil {
		return err
	}
	if c.mapping != nil && !c.s.canMapIDs {
		return fmt.Errorf("this kernel cannot map the ids of an overlay (Linux 5.19 can): %w", errdefs.ErrNotImplemented)
	}
	return nil
}

func (c *creation) record(ctx context.Context) (err error) {
	if c.layer != "" {
		c.before, c.layer = append(c.before, c.layer), ""
	}
	c.made, err = storage.CreateSnapshot(ctx, c.kind, c.key, c.parent, c.opts...)
	return err
}

// beside makes the layer of the record. A view of something has none.
func (c *creation) beside() error {
	below := ""
	if len(c.made.ParentIDs) > 0 {
		if c.made.Kind == snapshots.KindView {
			return nil
		}
		below = c.made.ParentIDs[0]
	}
	_, err := c.s.store.Create(c.ctx, c.made.ID, below, nil)
	switch {
	case errors.Is(err, ovl.ErrNoLayer):
		return fmt.Errorf("the layer of its parent is lost (%v): %w", err, errdefs.ErrDataLoss)
	case err != nil:
		return errs.Of(err)
	}
	c.layer = c.made.ID
	if c.mapping != nil {
		return c.s.ownTop(c.layer, c.mapping)
	}
	return nil
}

// skips is how many numbers in a row may be taken by garbage. A kill leaves a batch of it at most.
const skips = 16 * batch

// undo takes the record back, and passes over a number that the layer of a snapshot has whose
// transaction never ended. Such a layer is the reclaimer's, however it got there.
func (c *creation) undo(ctx context.Context, failed error) (err, broken error) {
	for range skips {
		if _, _, err := storage.Remove(ctx, c.key); err != nil {
			return failed, err
		}
		if c.layer != "" || !errors.Is(failed, ovl.ErrLayerExists) {
			return failed, nil
		}
		if err := c.record(ctx); err != nil {
			return err, err
		}
		if failed = c.beside(); failed == nil {
			return nil, nil
		}
	}
	_, _, err = storage.Remove(ctx, c.key)
	return fmt.Errorf("layers without a record have taken %d numbers in a row: %w", skips, errdefs.ErrUnavailable), err
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
