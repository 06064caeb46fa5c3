package ovl

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// Base is what a layer is compared with. Base{} is the layer's own parent.
type Base struct {
	Parent string // another layer
	Whole  bool   // nothing: all of the layer's tree is new
}

func (b Base) check(op, id string) error {
	if b.Whole && b.Parent != "" {
		return invalid(op, id, "a Base has a Parent or is Whole, not both")
	}
	return nil
}

func (b Base) raw() *string {
	switch {
	case b.Whole:
		return new(string)
	case b.Parent != "":
		return &b.Parent
	}
	return nil
}

// DiffOptions are the options of [Layer.Diff].
type DiffOptions struct {
	Base
	// Strict fails with [ErrStrict] where otherwise something is left out and counted.
	Strict bool
	// Sparse keeps holes; else files are written dense, which every reader of tars understands.
	Sparse bool
	// Clamp is the latest time that an entry has; the zero time is no limit.
	Clamp    time.Time
	Progress func(Progress) error
}

// Diff writes the layer tar that leads from the base to the layer, uncompressed, to w. Equal trees give
// equal bytes. An [*os.File] is written by its descriptor, from where it stands; it may be a pipe, and a
// reader that goes away is [syscall.EPIPE], never a signal.
//
// It tells the diff ID and the size of what was written. After a failure, w has the beginning of a tar
// and no end.
func (l *Layer) Diff(ctx context.Context, w io.Writer, opts *DiffOptions) (LayerInfo, error) {
	if opts == nil {
		opts = &DiffOptions{}
	}
	if err := opts.check("diff", l.id); err != nil {
		return LayerInfo{}, err
	}
	raw := capi.DiffOpts{Strict: opts.Strict, Sparse: opts.Sparse}
	if !opts.Clamp.IsZero() {
		raw.Clamp = true
		raw.ClampSec, raw.ClampNsec = opts.Clamp.Unix(), uint32(opts.Clamp.Nanosecond())
	}
	var info LayerInfo
	c := newCall("diff", l.id, opts.Progress)
	err := c.sink(w, func(fd int) error {
		return l.store.run(ctx, c, func(st *capi.Store, call capi.Call) *capi.Error {
			said, e := st.Diff(l.id, opts.raw(), fd, raw, call)
			if e == nil {
				info = layerInfo(said)
			}
			return e
		})
	})
	return info, err
}

// ChangeKind is what became of a path.
type ChangeKind uint32

// The kinds of changes.
const (
	Added    ChangeKind = capi.ChangeAdd
	Modified ChangeKind = capi.ChangeModify // the path was there, and is another now
	Deleted  ChangeKind = capi.ChangeDelete
)

// String is the letter of the change: A, C or D.
func (k ChangeKind) String() string {
	switch k {
	case Added, Modified, Deleted:
		return string(rune(k))
	}
	return fmt.Sprintf("ChangeKind(%d)", uint32(k))
}

// Change is a path that differs.
type Change struct {
	Kind ChangeKind
	Path string // begins with "/"; it need not be UTF-8
}

func (c Change) String() string { return c.Kind.String() + " " + printable(c.Path) }

// ChangesOptions are the options of [Layer.Changes] and [Layer.DiffSize].
type ChangesOptions struct {
	Base
	Progress func(Progress) error
}

// Changes are the paths that differ between the base and the layer, in the order of the paths. They are
// found when the range begins.
func (l *Layer) Changes(ctx context.Context, opts *ChangesOptions) iter.Seq2[Change, error] {
	if opts == nil {
		opts = &ChangesOptions{}
	}
	if err := opts.check("changes", l.id); err != nil {
		return func(yield func(Change, error) bool) { yield(Change{}, err) }
	}
	return items(ctx, l.store,
		func() *call { return newCall("changes", l.id, opts.Progress) },
		func(st *capi.Store, c capi.Call) (*capi.Iter, *capi.Error) {
			return st.Changes(l.id, opts.raw(), c)
		},
		func(item capi.Item) Change { return Change{Kind: ChangeKind(item.What), Path: item.Name} })
}

// DiffSize tells how many bytes of files lead from the base to the layer, as [LayerInfo].Size counts
// them.
func (l *Layer) DiffSize(ctx context.Context, opts *ChangesOptions) (size int64, err error) {
	if opts == nil {
		opts = &ChangesOptions{}
	}
	if err := opts.check("diffsize", l.id); err != nil {
		return 0, err
	}
	err = l.run(ctx, "diffsize", opts.Progress, func(st *capi.Store, c capi.Call) *capi.Error {
		said, e := st.DiffSize(l.id, opts.raw(), c)
		size = int64(said)
		return e
	})
	return size, err
}
