package snapshotter

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
)

// find finds what the last process left. The work is the caller's. It is false where that must be tried
// again.
func (r *reclaimer) find(ctx context.Context) bool {
	begin := time.Now()
	left, err := r.orphans(ctx)
	if err != nil {
		if ctx.Err() == nil {
			log.L.WithError(err).Warn("cannot find the layers that no snapshot has, which is tried again")
		}
		return false
	}
	if len(left) > 0 {
		log.L.WithFields(log.Fields{"layers": len(left), "took": time.Since(begin)}).
			Info("removing layers that no snapshot has, left when the last process was killed")
	}
	r.add(garbage{}, left...)
	return true
}

// orphans are the layers without a record, children first. The layers are listed first: all that are
// there by then were made in a transaction that has ended when the next one begins, and have their
// record, or none and never will.
func (r *reclaimer) orphans(ctx context.Context) ([]string, error) {
	layers, err := r.list()
	if err != nil || len(layers) == 0 {
		return nil, err
	}
	records, err := r.records(ctx)
	if err != nil {
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

// records are the numbers that have one once the transactions have ended that run now.
func (r *reclaimer) records(ctx context.Context) (map[string]string, error) {
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
	return records, nil
}
