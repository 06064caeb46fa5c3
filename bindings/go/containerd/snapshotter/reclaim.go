package snapshotter

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/log"

	ovl "github.com/libovl/libovl/bindings/go"
	"github.com/libovl/libovl/bindings/go/containerd/internal/errs"
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
	s.reclaim.add(garbage{final: true}, r.id)
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
	list  func() ([]uint64, error) // of the layers
	ctx   context.Context          // until close
	stop  context.CancelFunc
	done  chan struct{}
	wake  chan struct{} // has room for one: something is waiting

	work  chan struct{} // full while somebody removes layers, or looks for those to remove
	found bool          // what the last process left, by whoever has the work

	mu      sync.Mutex
	waiting []string            // oldest first: children before their parents
	known   map[string]*garbage // waiting, or stuck
	stuck   []string            // in use, or below one that is
	remains bool                // files of layers that are gone may be left in the store
}

// garbage is a layer to be removed.
type garbage struct {
	final    bool // the database never gives its number out again
	doubtful bool // it may have a record after all
	recorded bool // it has
	logged   bool // that it is in use
}

// rest is how long a layer that is in use is left alone.
const rest = 30 * time.Second

func newReclaimer(store *ovl.Store, meta *storage.MetaStore) *reclaimer {
	ctx, stop := context.WithCancel(context.Background())
	r := &reclaimer{
		store: store,
		list:  func() ([]uint64, error) { return numbered(store) },
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
		r.work <- struct{}{}
		found := r.found
		<-r.work
		r.mu.Lock()
		var later <-chan time.Time
		if len(r.stuck) > 0 || !found {
			later = time.After(rest)
		}
		r.mu.Unlock()
		again := false
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-later:
			again = true
			r.unstick()
		}
		r.work <- struct{}{}
		if again && !r.found {
			r.found = r.find(ctx)
		}
		r.removeAll(ctx)
		<-r.work
	}
}

// start finds and removes what the last process left. The work is its own from the beginning.
func (r *reclaimer) start(ctx context.Context) {
	defer func() { <-r.work }()
	r.found = r.find(ctx)
	r.removeAll(ctx)
	r.sweep(ctx)
}

// add has layers removed, which are there and have no record. They are final where their numbers had
// records that are in the database's past: then no layer can come to have the number.
func (r *reclaimer) add(like garbage, ids ...string) {
	r.mu.Lock()
	for _, id := range ids {
		if _, known := r.known[id]; !known {
			one := like
			r.known[id] = &one
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
	if !r.found {
		r.found = r.find(ctx)
	}
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
		if ids = r.settle(ctx, ids); len(ids) == 0 {
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

// settle is those of ids that are garbage. A creation that failed may have its record after all, for a
// database whose disk fails may keep what it said that it lost; without its layer it would be a loss.
func (r *reclaimer) settle(ctx context.Context, ids []string) []string {
	r.mu.Lock()
	must := slices.ContainsFunc(ids, func(id string) bool { return r.known[id].doubtful })
	var doubtful []string
	for id, one := range r.known {
		if must && one.doubtful {
			doubtful = append(doubtful, id)
		}
	}
	r.mu.Unlock()
	if !must {
		return ids
	}
	records, err := r.records(ctx)
	if err != nil && ctx.Err() == nil {
		log.L.WithError(err).Warn("cannot read which layers have a record, which is tried again")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range doubtful {
		if err == nil {
			one := r.known[id]
			_, one.recorded = records[id]
			one.doubtful = false
		}
	}
	return slices.DeleteFunc(ids, func(id string) bool {
		one := r.known[id]
		switch {
		case one.doubtful:
			r.stuck = append(r.stuck, id)
		case one.recorded:
			log.L.WithField("layer", id).Warn("a snapshot whose creation failed is in the database all the same, and keeps its layer")
			delete(r.known, id)
		}
		return one.doubtful || one.recorded
	})
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
