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
	waiting []*change
}

// change is what one caller wants of the database.
type change struct {
	// record changes the database. Where it fails as a caller's mistake does, it changed nothing.
	record func(ctx context.Context) error
	// between, where it is there, is called after record, beside those of others. Where it fails, undo
	// takes back what record did, or does all of it in another way. broken is where it could not.
	between func() error
	undo    func(ctx context.Context, failed error) (err, broken error)

	began bool
	err   error
	done  chan struct{}
}

// batch is how many changes go into one transaction.
const batch = 64

func newGroup(meta *storage.MetaStore) *group {
	return &group{meta: meta, turn: make(chan struct{}, 1)}
}

// do makes the change, and returns when it is on the disk or failed.
func (g *group) do(c *change) error {
	c.done = make(chan struct{})
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	g.mu.Unlock()
	for {
		select {
		case <-c.done:
			return c.err
		case g.turn <- struct{}{}:
			g.transact()
			<-g.turn
		}
	}
}

// transact makes what waits.
func (g *group) transact() {
	g.mu.Lock()
	n := min(batch, len(g.waiting))
	taken := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	g.mu.Unlock()
	if n == 0 {
		return
	}
	err := g.meta.WithTransaction(context.Background(), true, func(ctx context.Context) error {
		return apply(ctx, taken)
	})
	for _, c := range taken {
		if err != nil && c.err == nil {
			c.err = err
		}
		close(c.done)
	}
}

// apply fails where the transaction may hold half a change, and must not be committed.
func apply(ctx context.Context, all []*change) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	for _, c := range all {
		c.err = c.record(ctx)
		switch {
		case c.err != nil && !mistake(c.err):
			return fmt.Errorf("a change of the database failed: %w", c.err)
		case c.err == nil && c.between != nil:
			c.began = true
			beside.Go(func() { c.err = c.between() })
		}
	}
	beside.Wait()
	for _, c := range all {
		if !c.began || c.err == nil {
			continue
		}
		var broken error
		if c.err, broken = c.undo(ctx, c.err); broken != nil {
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
