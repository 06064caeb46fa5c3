package ovl

import (
	"context"
	"io"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// ApplyOptions are the options of [Store.Apply].
type ApplyOptions struct {
	// Parent is the committed layer to build on, "" for none. Where the layer is there already, it is
	// "" or the parent that it has.
	Parent string
	// DiffID is what the digest of the uncompressed tar must be, "sha256:" and 64 digits; "" takes any.
	DiffID     string
	Kind       Kind
	Durability Durability
	// Writable leaves the layer writable.
	Writable bool
	// Strict fails with [ErrStrict] where otherwise something is left out and counted.
	Strict bool
	// NoDevices leaves out device nodes, and counts them; with Strict, it fails.
	NoDevices bool
	// Existing makes no layer: where it is not there, the error is [fs.ErrNotExist].
	Existing bool
	Limits   Limits
	Progress func(Progress) error
}

// Limits are what a layer tar may take. Each is the library's own where it is 0. What is over one fails
// with [ErrLimit].
type Limits struct {
	Size          int64 // bytes of the uncompressed tar; 64 GiB
	Entries       int64 // entries; 16,777,216
	Meta          int64 // bytes of one header of an entry; 1 MiB
	Xattrs        int64 // bytes of the extended attributes of one entry; 1 MiB
	Path          int64 // bytes of one path; 64 KiB as it is written, 16 KiB as it is on the disk
	ZstdWindowLog int   // the window of a zstd stream, as a power of two; 27, at most 31
}

func (l Limits) raw() (capi.Limits, bool) {
	ok := l.Size >= 0 && l.Entries >= 0 && l.Meta >= 0 && l.Xattrs >= 0 && l.Path >= 0 &&
		l.ZstdWindowLog >= 0 && l.ZstdWindowLog <= 31
	return capi.Limits{
		Size:          uint64(l.Size),
		Entries:       uint64(l.Entries),
		Meta:          uint64(l.Meta),
		Xattrs:        uint64(l.Xattrs),
		Path:          uint64(l.Path),
		ZstdWindowLog: uint32(l.ZstdWindowLog),
	}, ok
}

// Apply applies a layer tar to the layer id: plain, gzip or zstd, which it finds out. It reads r to its
// end. An [*os.File] is read by its descriptor, from where it stands; it may be a pipe.
//
// If the layer is not there, it is made, and all of it appears at once; after a failure it is not there.
// If it is there, it must be writable, empty and not mounted; after a failure it is as it was. After
// success it is committed and on the disk, unless opts say otherwise.
//
// A malformed tar is [ErrArchive] or [ErrTruncated], another diff ID [ErrDigest].
func (s *Store) Apply(ctx context.Context, id string, r io.Reader, opts *ApplyOptions) (LayerInfo, error) {
	if opts == nil {
		opts = &ApplyOptions{}
	}
	limits, ok := opts.Limits.raw()
	if !ok {
		return LayerInfo{}, invalid("apply", id, "a limit is out of its range")
	}
	raw := capi.ApplyOpts{
		Writable:   opts.Writable,
		Strict:     opts.Strict,
		NoDevices:  opts.NoDevices,
		Existing:   opts.Existing,
		Parent:     opts.Parent,
		DiffID:     opts.DiffID,
		Kind:       uint32(opts.Kind),
		Durability: uint32(opts.Durability),
		Limits:     limits,
	}
	var info LayerInfo
	c := newCall("apply", id, opts.Progress)
	err := c.source(r, func(fd int) error {
		return s.run(ctx, c, func(st *capi.Store, call capi.Call) *capi.Error {
			said, e := st.ApplyLayer(id, fd, raw, call)
			if e == nil {
				info = layerInfo(said)
			}
			return e
		})
	})
	return info, err
}
