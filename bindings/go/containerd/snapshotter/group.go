package snapshotter

import (
	"context"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

// group puts the changes of callers that come together into one transaction: the database syncs once
// for all of them, and their layers are made side by side.
type group struct {
	meta    *storage.MetaStore
	turn    chan struct{} // full while somebody has a transaction
	mu      sync.Mutex
	waiting []*waiter
}

// change is what one caller wants of the database.
type change interface {
	// record changes the database. Where it fails as a caller's mistake does, it changed nothing. It is
	// called again, in another transaction, where the first came to nothing.
	record(ctx context.Context) error
	// beside is called after record, together with those of others. Where it fails, undo takes back what
	// record did, or does all of it in another way. broken is where it could not.
	beside() error
	undo(ctx context.Context, failed error) (err, broken error)
}

// waiter is a change that waits for its transaction.
type waiter struct {
	change
	err  error
	done chan struct{}
}

// batch is how many changes go into one transaction.
const batch = 64

func newGroup(meta *storage.MetaStore) *group {
	return &group{meta: meta, turn: make(chan struct{}, 1)}
}

// do makes the change, and returns when it is on the disk or failed.
func (g *group) do(c change) error {
	w := &waiter{change: c, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, w)
	g.mu.Unlock()
	for {
		select {
		case <-w.done:
			return w.err
		case g.turn <- struct{}{}:
			g.transact()
			<-g.turn
		}
	}
}

// transact makes what waits. Where one change keeps the transaction from being committed, the others
// must not suffer: then each has its own.
func (g *group) transact() {
	g.mu.Lock()
	n := min(batch, len(g.waiting))
	taken := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	g.mu.Unlock()
	if n == 0 {
		return
	}
	if broken := g.together(taken); broken && n > 1 {
		for i := range taken {
			g.together(taken[i : i+1])
		}
	}
	for _, w := range taken {
		close(w.done)
	}
}

// together makes the changes in one transaction. It is broken where one of them is why there is none.
func (g *group) together(all []*waiter) (broken bool) {
	err := g.meta.WithTransaction(context.Background(), true, func(ctx context.Context) error {
		err := apply(ctx, all)
		broken = err != nil
		return err
	})
	for _, w := range all {
		if err != nil && w.err == nil {
			w.err = err
		}
	}
	return broken
}

// apply fails where the transaction may hold half a change, and must not be committed.
func apply(ctx context.Context, all []*waiter) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	recorded := make([]bool, len(all))
	for i, w := range all {
		w.err = w.record(ctx)
		switch {
		case w.err == nil:
			recorded[i] = true
			beside.Go(func() { w.err = w.beside() })
		case !mistake(w.err):
			return fmt.Errorf("a change of the database failed: %w", w.err)
		}
	}
	beside.Wait()
	for i, w := range all {
		if !recorded[i] || w.err == nil {
			continue
		}
		var broken error
		if w.err, broken = w.undo(ctx, w.err); broken != nil {
			return fmt.Errorf("a change of the database cannot be undone: %w", broken)
		}
	}
	return nil
}

// mistake tells whether the database was asked for what is not there, or is, or must not be: that is
// found before anything is changed.
func mistake(err error) bool {
	return errdefs.IsNotFound(err) || errdefs.IsAlreadyExists(err) || errdefs.IsInvalidArgument(err) ||
		errdefs.IsFailedPrecondition(err)
}
