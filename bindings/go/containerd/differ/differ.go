// Package differ applies layer blobs to the snapshots of a libovl store, and makes layer blobs of them,
// for containerd: without a mount, and in libovl's one form of a diff.
//
// What it is asked for and cannot do (mounts of another snapshotter, media types that it does not know)
// is errdefs.ErrNotImplemented, on which containerd asks the next differ of its configuration.
package differ

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	ovl "github.com/libovl/libovl/bindings/go"
	"github.com/libovl/libovl/bindings/go/containerd/internal/spec"
)

// Options are the options of [New].
type Options struct {
	// Handlers turn media types that libovl does not know into those that it does, as containerd's
	// stream processors do. A later one goes before an earlier one.
	Handlers []diff.Handler
	// Leases, where it is there, keeps containerd from collecting what Compare writes before its
	// caller refers to it. It is needed in another process, to which containerd sends no lease.
	Leases leases.Manager
	// Unsynced leaves it to the commit of the snapshot to sync what Apply wrote, or to nobody.
	Unsynced bool
	// Limits are how large a layer Apply takes, the library's own where they are 0.
	Limits ovl.Limits
}

// Differ is a [diff.Applier] and a [diff.Comparer]. Any number of goroutines may use it.
type Differ struct {
	store    *ovl.Store
	blobs    content.Store
	handlers []diff.Handler
	leases   leases.Manager
	unsynced bool
	limits   ovl.Limits
}

var (
	_ diff.Applier  = (*Differ)(nil)
	_ diff.Comparer = (*Differ)(nil)
)

// New makes a differ for the snapshots in store, which reads and writes blobs in blobs.
func New(store *ovl.Store, blobs content.Store, opts *Options) *Differ {
	if opts == nil {
		opts = &Options{}
	}
	return &Differ{
		store: store, blobs: blobs, handlers: opts.Handlers, leases: opts.Leases, unsynced: opts.Unsynced, limits: opts.Limits,
	}
}

// layer is the layer that mounts show, which must be of this store.
func (d *Differ) layer(mounts []mount.Mount) (spec.Layer, error) {
	found, ok := spec.Find(d.store.Home(), mounts)
	if !ok {
		return found, fmt.Errorf("the mounts are not those of a snapshot in %s: %w", d.store.Home(), errdefs.ErrNotImplemented)
	}
	if found.Mapped {
		// What is in the layer are the host's ids, and in a tar go the container's.
		return found, fmt.Errorf("snapshot with mapped ids: %w", errdefs.ErrNotImplemented)
	}
	return found, nil
}

// outgoing has what came with a request go along with the requests that it leads to.
func outgoing(ctx context.Context) context.Context {
	if namespace, ok := namespaces.Namespace(ctx); ok {
		ctx = namespaces.WithNamespace(ctx, namespace)
	}
	if lease, ok := leases.FromContext(ctx); ok {
		ctx = leases.WithLease(ctx, lease)
	}
	return ctx
}
