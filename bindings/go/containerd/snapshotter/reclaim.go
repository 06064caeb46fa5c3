package snapshotter

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	ovl "github.com/libovl/libovl/bindings/go"
	"github.com/libovl/libovl/bindings/go/containerd/internal/errs"
	"github.com/libovl/libovl/bindings/go/containerd/internal/spec"
)

// Remove removes a snapshot. Its key is free at once; its files are deleted in the background, and all
// of them before the next Cleanup returns. A layer that is still mounted somewhere stays until it is
// not: what runs on it goes on.
func (s *Snapshotter) Remove(ctx context.Context, key string) error {
	unlock, err := s.keys.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	return s.remove(ctx, key)
}

func (s *Snapshotter) remove(ctx context.Context, key string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	r := &removal{key: key}
	if err := s.group.do(r); err != nil {
		return err
	}
	s.reclaim.add(true, r.id)
	return nil
}

// removal takes the record of a snapshot away.
type removal struct{ key, id string }

func (r *removal) record(ctx context.Context) (err error) {
	r.id, _, err = storage.Remove(ctx, r.key)
	return err
}

func (r *removal) beside() error { return nil }

func (r *removal) undo(_ context.Context, failed error) (err, broken error) { return failed, failed }

// Cleanup deletes what is left of removed snapshots, and returns when that is done.
func (s *Snapshotter) Cleanup(ctx context.Context) error {
	return errs.Of(s.reclaim.drain(ctx))
}

// Pending is how many layers of removed snapshots are not removed yet.
func (s *Snapshotter) Pending() int { return s.reclaim.pending() }

// reclaimer removes layers that have no record. It alone removes layers, and what it is told to remove
// is there and stays there until it has done so: the number of a record that never came to be is given
// out again by the database, and so a layer may only go while nobody can have made it anew.
type reclaimer struct {
	store *ovl.Store
	meta  *storage.MetaStore
	ctx   context.Context // until close
	stop  context.CancelFunc
	done  chan struct{}
	wake  chan struct{} // has room for one: something is waiting

	work chan struct{} // full while somebody removes layers, or looks for those to remove

	mu      sync.Mutex
	waiting []string            // oldest first: children before their parents
	known   map[string]*garbage // waiting, or stuck
	stuck   []string            // in use, or below one that is
	remains bool                // files of layers that are gone may be left in the store
}

// garbage is a layer to be removed.
type garbage struct {
	final  bool // the database never gives its number out again
	logged bool // that it is in use
}

// rest is how long a layer that is in use is left alone.
const rest = 30 * time.Second

func newReclaimer(store *ovl.Store, meta *storage.MetaStore) *reclaimer {
	ctx, stop := context.WithCancel(context.Background())
	r := &reclaimer{
		store: store,
		meta:  meta,
		ctx:   ctx,
		stop:  stop,
		done:  make(chan struct{}),
		wake:  make(chan struct{}, 1),
		work:  make(chan struct{}, 1),
		known: map[string]*garbage{},
		// A call that was killed leaves its work in the store.
		remains: true,
	}
	// Found before the first call, so that Cleanup knows of them; removed by and by.
	r.work <- struct{}{}
	go r.run()
	return r
}

func (r *reclaimer) close() {
	r.stop()
	<-r.done
}

func (r *reclaimer) run() {
	defer close(r.done)
	ctx := r.ctx
	r.start(ctx)
	for {
		r.mu.Lock()
		var later <-chan time.Time
		if len(r.stuck) > 0 {
			later = time.After(rest)
		}
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-later:
			r.unstick()
		}
		r.work <- struct{}{}
		r.removeAll(ctx)
		<-r.work
	}
}

// start finds what the last process left. The work is its own from the beginning.
func (r *reclaimer) start(ctx context.Context) {
	defer func() { <-r.work }()
	begin := time.Now()
	left, err := r.orphans(ctx)
	if err != nil {
		if ctx.Err() == nil {
			log.L.WithError(err).Warn("cannot find the layers that no snapshot has; the next start tries again")
		}
	}
	if len(left) > 0 {
		log.L.WithFields(log.Fields{"layers": len(left), "took": time.Since(begin)}).
			Info("removing layers that no snapshot has, left when the last process was killed")
	}
	r.add(false, left...)
	r.removeAll(ctx)
	r.sweep(ctx)
}

// orphans are the layers without a record, children first. The layers are listed first: all that are
// there by then were made in a transaction that has ended when the next one begins, and have their
// record, or none and never will.
func (r *reclaimer) orphans(ctx context.Context) ([]string, error) {
	var layers []uint64
	for layer, err := range r.store.Layers() {
		if err != nil {
			return nil, err
		}
		if spec.Ours(layer.ID()) {
			n, err := strconv.ParseUint(layer.ID(), 10, 64)
			if err != nil {
				return nil, err
			}
			layers = append(layers, n)
		}
	}
	if len(layers) == 0 {
		return nil, nil
	}
	_, barrier, err := r.meta.TransactionContext(ctx, true)
	if err != nil {
		return nil, err
	}
	if err := barrier.Rollback(); err != nil {
		return nil, err
	}
	var records map[string]string
	err = r.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		records, err = storage.IDMap(ctx)
		return err
	})
	// A database without buckets never had a record.
	if err != nil && !errdefs.IsNotFound(err) {
		return nil, err
	}
	// A layer's number is larger than its parent's, which was there before.
	slices.SortFunc(layers, func(a, b uint64) int { return cmp.Compare(b, a) })
	var left []string
	for _, n := range layers {
		id := strconv.FormatUint(n, 10)
		if _, has := records[id]; !has {
			left = append(left, id)
		}
	}
	return left, nil
}

// add has layers removed, which are there and have no record. It is final where their numbers had
// records that are in the database's past: then no layer can come to have the number.
func (r *reclaimer) add(final bool, ids ...string) {
	r.mu.Lock()
	for _, id := range ids {
		if _, known := r.known[id]; !known {
			r.known[id] = &garbage{final: final}
			r.waiting = append(r.waiting, id)
		}
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reclaimer) pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.known)
}

// drain removes all that waits, what was in use too, and returns when that is done.
func (r *reclaimer) drain(ctx context.Context) error {
	select {
	case r.work <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-r.work }()
	r.unstick()
	r.removeAll(ctx)
	r.sweep(ctx)
	return context.Cause(ctx)
}

func (r *reclaimer) unstick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	// Before newer ones: those may be the parents of these.
	r.waiting = append(r.stuck, r.waiting...)
	r.stuck = nil
}

// removals is how many layers are removed at a time. Most of what one takes is waiting for the kernel.
const removals = 4

// removeAll removes what waits, until ctx is done. The work is the caller's.
func (r *reclaimer) removeAll(ctx context.Context) {
	var below []string // those with children
	defer func() { r.keep(below...) }()
	progress := false
	for ctx.Err() == nil && r.ctx.Err() == nil {
		ids := r.next()
		if len(ids) == 0 {
			if !progress || len(below) == 0 {
				return
			}
			// Their children may be gone by now.
			r.again(below)
			below, progress = nil, false
			continue
		}
		results := make([]outcome, len(ids))
		var all sync.WaitGroup
		for i, id := range ids {
			all.Go(func() { results[i] = r.remove(id) })
		}
		all.Wait()
		for i, result := range results {
			switch result {
			case removed:
				progress = true
			case hasChildren:
				below = append(below, ids[i])
			}
		}
	}
}

type outcome int

const (
	removed outcome = iota
	stays
	hasChildren
)

func (r *reclaimer) remove(id string) outcome {
	// Not with a caller's context: what that left of the layer, nobody would find before the next start.
	err := r.store.Remove(r.ctx, id, nil)
	r.mu.Lock()
	one := r.known[id]
	r.mu.Unlock()
	used := errors.Is(err, ovl.ErrMounted) || errors.Is(err, ovl.ErrHasChildren) || errors.Is(err, ovl.ErrLocked)
	entry := log.L.WithError(err).WithField("layer", id)
	switch {
	case err == nil || errors.Is(err, ovl.ErrNoLayer):
		r.forget(id)
		return removed
	case errors.Is(err, ovl.ErrHasChildren):
		return hasChildren
	case used || one.final && r.there(id):
		r.keep(id)
		if !one.logged {
			one.logged = true
			entry.Info("the layer of a removed snapshot cannot be removed now, which is tried again")
		}
		return stays
	}
	// Some of it is left, or all; but a layer that is there by now may be a new one.
	r.forget(id)
	r.mu.Lock()
	r.remains = true
	r.mu.Unlock()
	if r.ctx.Err() == nil {
		entry.Warn("cannot remove all of the layer of a removed snapshot")
	}
	return stays
}

// next is what to remove now.
func (r *reclaimer) next() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(removals, len(r.waiting))
	ids := r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	if len(r.waiting) == 0 {
		r.waiting = nil
	}
	return ids
}

func (r *reclaimer) again(ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(ids, r.waiting...)
}

func (r *reclaimer) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, id)
}

func (r *reclaimer) keep(ids ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stuck = append(r.stuck, ids...)
}

func (r *reclaimer) there(id string) bool {
	there, err := r.store.Layer(id).Exists()
	return there || err != nil
}

// sweep deletes what calls that never ended left in the store. It reads the whole store, and has
// something to do after a kill or a failure alone.
func (r *reclaimer) sweep(ctx context.Context) {
	r.mu.Lock()
	remains := r.remains
	r.mu.Unlock()
	if !remains || ctx.Err() != nil {
		return
	}
	stats, err := r.store.Cleanup(ctx, nil)
	if err != nil {
		if ctx.Err() == nil {
			log.L.WithError(err).Warn("cannot clean up the store")
		}
		return
	}
	r.mu.Lock()
	r.remains = stats.Left > 0
	r.mu.Unlock()
	if stats.Removed > 0 {
		log.L.WithField("remains", stats.Removed).Info("removed what was left in the store")
	}
}
