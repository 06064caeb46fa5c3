package ovl

import (
	"context"
	"fmt"
	"time"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// Layer is a layer of a store, by its id. It holds nothing: there is nothing to close, and the layer may
// come and go meanwhile. A Layer is good for any number of goroutines.
type Layer struct {
	store *Store
	id    string
}

// ID is the layer's id.
func (l *Layer) ID() string { return l.id }

func (l *Layer) String() string { return l.id }

// CreateOptions are the options of [Store.Create].
type CreateOptions struct {
	// Live accepts that a mounted parent changes while it is copied.
	Live bool
	// Flat makes a committed layer of kind root of the parent's merged tree, by hard links, instead of
	// one more level.
	Flat bool
	// Sync has the new layer on the disk when the call returns.
	Sync     bool
	Progress func(Progress) error
}

// Create makes the writable layer id on parent, or on nothing if parent is "".
//
// On nothing it is an empty tree. On a committed layer it is a set of changes, empty yet; a writable
// layer of kind root is committed for that. On a writable layer of kind overlay it begins with a copy of
// that layer's changes, and lies on what that one lies on.
//
// The error is [fs.ErrExist] where the layer is there, [fs.ErrNotExist] where the parent is not.
func (s *Store) Create(ctx context.Context, id, parent string, opts *CreateOptions) (*Layer, error) {
	if opts == nil {
		opts = &CreateOptions{}
	}
	raw := capi.CreateOpts{Live: opts.Live, Flat: opts.Flat, Sync: opts.Sync}
	err := s.run(ctx, newCall("create", id, opts.Progress),
		func(st *capi.Store, c capi.Call) *capi.Error { return st.Create(id, parent, raw, c) })
	if err != nil {
		return nil, err
	}
	return s.Layer(id), nil
}

// Durability says how much of a layer is on the disk when a call returns.
type Durability uint32

// The durabilities.
const (
	DurabilityDefault  Durability = capi.DurabilityDefault  // full for what becomes committed
	DurabilityNone     Durability = capi.DurabilityNone     // nothing is synced: a power cut may take the layer, or leave it damaged
	DurabilityFull     Durability = capi.DurabilityFull     // the layer is on the disk
	DurabilityVerified Durability = capi.DurabilityVerified // as full, and the content is read back, and its digests are kept
)

func (d Durability) String() string {
	switch d {
	case DurabilityDefault:
		return "default"
	case DurabilityNone:
		return "none"
	case DurabilityFull:
		return "full"
	case DurabilityVerified:
		return "verified"
	}
	return fmt.Sprintf("Durability(%d)", uint32(d))
}

// CommitOptions are the options of [Layer.Commit].
type CommitOptions struct {
	// Salvage accepts what the layer holds now, though the machine went down while it was mounted
	// writable, and what was not synced then may be lost.
	Salvage bool
	// Mounted accepts that the layer is mounted, by whoever: the caller sees to it that nobody writes
	// to it any more.
	Mounted    bool
	Durability Durability
	Progress   func(Progress) error
}

// Commit makes the layer one that never changes again, and that others may be built on.
func (l *Layer) Commit(ctx context.Context, opts *CommitOptions) error {
	if opts == nil {
		opts = &CommitOptions{}
	}
	return l.run(ctx, "commit", opts.Progress, func(st *capi.Store, c capi.Call) *capi.Error {
		return st.Commit(l.id, opts.Salvage, opts.Mounted, uint32(opts.Durability), c)
	})
}

// RemoveOptions are the options of [Layer.Remove].
type RemoveOptions struct {
	// Defer leaves the files for a later [Store.Cleanup].
	Defer    bool
	Progress func(Progress) error
}

// Remove removes the layer. It is gone at once, for good, and its id is free. Then its files are
// deleted, which takes time; what Defer or the context leaves of them, a later [Store.Cleanup] deletes.
// A layer that is mounted ([ErrMounted]) or that others are built on ([ErrHasChildren]) stays.
func (l *Layer) Remove(ctx context.Context, opts *RemoveOptions) error {
	if opts == nil {
		opts = &RemoveOptions{}
	}
	return l.run(ctx, "remove", opts.Progress, func(st *capi.Store, c capi.Call) *capi.Error {
		return st.Remove(l.id, opts.Defer, c)
	})
}

// Exists tells whether the layer is there. What cannot be an id is an error.
func (l *Layer) Exists() (is bool, err error) {
	err = l.store.do("exists", l.id, func(st *capi.Store) (e *capi.Error) {
		is, e = st.Exists(l.id)
		return e
	})
	return is, err
}

// Kind is how a layer's content is kept.
type Kind uint32

// The kinds.
const (
	KindDefault Kind = capi.KindDefault // overlay where there is a parent and the store can hold an upper, else root
	KindRoot    Kind = capi.KindRoot    // a complete tree
	KindOverlay Kind = capi.KindOverlay // only the changes, over the parent
)

func (k Kind) String() string {
	switch k {
	case KindDefault:
		return "default"
	case KindRoot:
		return "root"
	case KindOverlay:
		return "overlay"
	}
	return fmt.Sprintf("Kind(%d)", uint32(k))
}

// State is whether a layer can be changed.
type State uint32

// The states.
const (
	StateWritable  State = capi.StateWritable
	StateCommitted State = capi.StateCommitted // the layer never changes again
)

func (s State) String() string {
	switch s {
	case StateWritable:
		return "writable"
	case StateCommitted:
		return "committed"
	}
	return fmt.Sprintf("State(%d)", uint32(s))
}

// LayerInfo is what is known of a layer. Strings are "" and numbers 0 where nothing is known.
type LayerInfo struct {
	ID         string
	Parent     string // the layer that it is built on
	DiffID     string // "sha256:" and 64 digits: the digest of the uncompressed layer tar
	BlobDigest string // the digest of the bytes that it was applied from, compressed or not
	CopiedFrom string // the layer whose changes this one began with
	Kind       Kind
	State      State
	Size       int64 // bytes of its own: the regular files and symlink targets of its tar that are there at its end, each link group once
	Entries    int64 // entries of its own
	TarSize    int64 // bytes of the uncompressed layer tar, where one was read or written
	BlobSize   int64 // bytes that it was applied from
	Created    time.Time
	Lowers     int     // how many layers it lies on
	Mounted    bool    // it is mounted, or a mount handle is open
	Unclean    bool    // the machine went down while it was mounted writable: what was not synced may be lost
	Skipped    Skipped // what the call that tells this left out
}

// Skipped counts what a call left out, where a strict one fails. Skipped{} is nothing.
type Skipped struct {
	Devices int64 // device nodes that could not be made
	Owners  int64 // owners that could not be set
	Xattrs  int64 // extended attributes that could not be set; of a diff, entries with attributes that are called like overlayfs's own
	Sockets int64 // sockets, which a tar cannot say
	Names   int64 // files whose names begin with ".wh.", which would be whiteouts in a tar
}

// Stat tells what is known of the layer.
func (l *Layer) Stat() (LayerInfo, error) {
	var info LayerInfo
	err := l.store.do("stat", l.id, func(st *capi.Store) *capi.Error {
		raw, e := st.Stat(l.id)
		if e == nil {
			info = layerInfo(raw)
		}
		return e
	})
	return info, err
}

func layerInfo(raw capi.LayerInfo) LayerInfo {
	return LayerInfo{
		ID:         raw.ID,
		Parent:     raw.Parent,
		DiffID:     raw.DiffID,
		BlobDigest: raw.BlobDigest,
		CopiedFrom: raw.CopiedFrom,
		Kind:       Kind(raw.Kind),
		State:      State(raw.State),
		Size:       int64(raw.Size),
		Entries:    int64(raw.Entries),
		TarSize:    int64(raw.TarSize),
		BlobSize:   int64(raw.BlobSize),
		Created:    time.Unix(raw.CreatedSec, int64(raw.CreatedNsec)),
		Lowers:     int(raw.Lowers),
		Mounted:    raw.Mounted,
		Unclean:    raw.Unclean,
		Skipped: Skipped{
			Devices: int64(raw.SkippedDevices),
			Owners:  int64(raw.SkippedOwners),
			Xattrs:  int64(raw.SkippedXattrs),
			Sockets: int64(raw.SkippedSockets),
			Names:   int64(raw.SkippedNames),
		},
	}
}

func (l *Layer) run(ctx context.Context, op string, progress func(Progress) error,
	f func(*capi.Store, capi.Call) *capi.Error,
) error {
	return l.store.run(ctx, newCall(op, l.id, progress), f)
}
