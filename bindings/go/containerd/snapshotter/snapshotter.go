// Package snapshotter is a snapshotter of containerd's over a libovl store.
//
// Names, kinds, labels and times of snapshots are in containerd's own database (metadata.db), their
// trees in a libovl store (store/): the snapshot with number N in the database is the layer "N", on the
// layer of its parent. A view of a committed snapshot has no layer: it is the parent's, read-only.
//
// A record is made after its layer and removed before it. So after a kill at any moment every record
// has its layer, and a layer without a record is garbage, which the next start finds.
package snapshotter

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"github.com/containerd/errdefs"

	ovl "github.com/libovl/libovl/bindings/go"
	"github.com/libovl/libovl/bindings/go/containerd/internal/errs"
)

// Options are the options of [New].
type Options struct {
	// Durability is how much of a committed snapshot is on the disk when Commit returns.
	Durability ovl.Durability
	// MountOptions are added to those of every overlay: any of [MountOptions].
	MountOptions []string
	// Logger is told what the store does. nil logs nothing.
	Logger *slog.Logger
}

// MountOptions are the options that may be added to a snapshot's mount. Others would change what an
// upper looks like, or (volatile) keep a container from being started a second time.
var MountOptions = []string{
	"noatime", "nodiratime", "norelatime", "relatime", "strictatime", "nosuid", "nodev", "noexec",
}

// Snapshotter is a [snapshots.Snapshotter] and a [snapshots.Cleaner]. Any number of goroutines may use
// it.
type Snapshotter struct {
	store      *ovl.Store
	meta       *storage.MetaStore
	lock       *os.File // on the root, while this is open
	keys       keyLocks
	group      *group
	reclaim    *reclaimer
	durability ovl.Durability
	extra      []string
	canMapIDs  bool
	close      sync.Once
	closed     error
}

var (
	_ snapshots.Snapshotter = (*Snapshotter)(nil)
	_ snapshots.Cleaner     = (*Snapshotter)(nil)
)

// New opens the snapshotter in the directory root, which is made where it is not there. One process at
// a time may have it open.
func New(root string, opts *Options) (_ *Snapshotter, err error) {
	if opts == nil {
		opts = &Options{}
	}
	for _, option := range opts.MountOptions {
		if !slices.Contains(MountOptions, option) {
			return nil, fmt.Errorf("mount option %q is none of %q: %w", option, MountOptions, errdefs.ErrInvalidArgument)
		}
	}
	// What daemons are told must not depend on a working directory, nor on a link that somebody moves.
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, err
	}
	s := &Snapshotter{durability: opts.Durability, extra: slices.Clone(opts.MountOptions)}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.lock, err = lockRoot(root); err != nil {
		return nil, err
	}
	s.store, err = ovl.Open(filepath.Join(root, "store"), &ovl.OpenOptions{Logger: opts.Logger})
	if err != nil {
		return nil, errs.Of(err)
	}
	if err := holdsUppers(s.store); err != nil {
		return nil, err
	}
	if s.meta, err = openMeta(root, s.store); err != nil {
		return nil, err
	}
	// A kernel that cannot say so cannot do it.
	s.canMapIDs, _ = overlayutils.SupportsIDMappedMounts()
	s.group = newGroup(s.meta)
	s.reclaim = newReclaimer(s.store, s.meta)
	return s, nil
}

// lockRoot keeps a second process from the same root: two would not see each other's keys in use.
func lockRoot(root string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(root, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is in use by another process: %w", root, errdefs.ErrUnavailable)
		}
		return nil, fmt.Errorf("lock %s: %w", root, err)
	}
	return file, nil
}

// holdsUppers is why no container can run from a store here: better said at the start than with the
// first container.
func holdsUppers(store *ovl.Store) error {
	all, err := store.Status()
	if err != nil {
		return errs.Of(err)
	}
	why := ""
	for _, one := range all {
		if one.Name == "overlay_trusted" || one.Name == "overlay_user" {
			if one.Has {
				return nil
			}
			why = one.Detail
		}
	}
	return fmt.Errorf("no overlay can be made in %s (%s): use a local disk and a process that may mount: %w",
		store.Home(), why, errdefs.ErrNotImplemented)
}

// Store is the store of the layers. It is closed with the snapshotter.
func (s *Snapshotter) Store() *ovl.Store { return s.store }

// Close closes the snapshotter. Mounts stay, and so do the containers that run on them. A second Close
// does nothing.
func (s *Snapshotter) Close() error {
	s.close.Do(func() {
		var all []error
		if s.reclaim != nil {
			s.reclaim.close()
		}
		if s.meta != nil {
			all = append(all, s.meta.Close())
		}
		if s.store != nil {
			all = append(all, s.store.Close())
		}
		if s.lock != nil {
			all = append(all, s.lock.Close())
		}
		s.closed = errors.Join(all...)
	})
	return s.closed
}
