package ovl

import (
	"context"
	"fmt"
	"os"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// Reflink says whether a copy shares the content of files.
type Reflink uint32

// When it does.
const (
	ReflinkAuto   Reflink = capi.ReflinkAuto   // where the file system can, else the content is copied
	ReflinkAlways Reflink = capi.ReflinkAlways // or it fails
	ReflinkNever  Reflink = capi.ReflinkNever
)

func (r Reflink) String() string {
	switch r {
	case ReflinkAuto:
		return "auto"
	case ReflinkAlways:
		return "always"
	case ReflinkNever:
		return "never"
	}
	return fmt.Sprintf("Reflink(%d)", uint32(r))
}

// CopyOptions are the options of [CopyDir].
type CopyOptions struct {
	// SrcDir and DstDir are the directories where relative paths begin; nil is the working directory.
	SrcDir, DstDir *os.File
	// HardLink links files to the source's instead of copying their content.
	HardLink bool
	Reflink  Reflink
	// Strict fails where otherwise something is done in part and counted.
	Strict bool
	// NoOverlayXattrs leaves out overlayfs's own attributes (trusted.overlay.*, user.overlay.*).
	NoOverlayXattrs bool
	// Sync has the copy on the disk when the call returns.
	Sync     bool
	Progress func(Progress) error
}

// CopyStats are what [CopyDir] did.
type CopyStats struct {
	Entries       int64 // entries of the source, its root included
	Directories   int64
	Copied        int64 // regular files whose content was copied
	Reflinked     int64 // regular files whose content is shared
	Linked        int64 // names linked to an inode of the source
	Grouped       int64 // names linked to an inode that the copy made, as they are in the source
	Bytes         int64 // bytes of files copied or shared, holes included
	LinkFallbacks int64 // names that could not be linked, and were copied
	MountsSkipped int64 // other mounts in the source, which were not entered
	Vanished      int64 // names that vanished, and files that changed, while the source was read
	Skipped       Skipped
}

// CopyDir copies the directory src to dst, with all that its files have: owners, modes, times, links
// among them, extended attributes, holes. dst is a name that is not there, which appears when the copy
// is done, or an empty directory, which is filled; after a failure it is as it was. Symbolic links in
// the two paths are followed, those in the tree never. No store is needed.
func CopyDir(ctx context.Context, src, dst string, opts *CopyOptions) (CopyStats, error) {
	if opts == nil {
		opts = &CopyOptions{}
	}
	raw := capi.CopyOpts{
		HardLink:        opts.HardLink,
		Strict:          opts.Strict,
		NoOverlayXattrs: opts.NoOverlayXattrs,
		Sync:            opts.Sync,
		Reflink:         uint32(opts.Reflink),
	}
	var stats CopyStats
	c := newCall("copydir", src, opts.Progress)
	err := c.directory(opts.SrcDir, func(from int) error {
		return c.directory(opts.DstDir, func(to int) error {
			return c.run(ctx, func(call capi.Call) *capi.Error {
				said, e := capi.CopyDir(from, src, to, dst, raw, call)
				if e == nil {
					stats = copyStats(said)
				}
				return e
			})
		})
	})
	return stats, err
}

// directory runs f with the descriptor of dir, which is the working directory if it is nil.
func (c *call) directory(dir *os.File, f func(fd int) error) error {
	if dir == nil {
		return f(capi.AtCwd)
	}
	return c.descriptor(dir, f)
}

func copyStats(raw capi.CopyStats) CopyStats {
	return CopyStats{
		Entries:       int64(raw.Entries),
		Directories:   int64(raw.Directories),
		Copied:        int64(raw.Copied),
		Reflinked:     int64(raw.Reflinked),
		Linked:        int64(raw.Linked),
		Grouped:       int64(raw.Grouped),
		Bytes:         int64(raw.Bytes),
		LinkFallbacks: int64(raw.LinkFallbacks),
		MountsSkipped: int64(raw.MountsSkipped),
		Vanished:      int64(raw.Vanished),
		Skipped: Skipped{
			Devices: int64(raw.SkippedDevices),
			Owners:  int64(raw.SkippedOwners),
			Xattrs:  int64(raw.SkippedXattrs),
		},
	}
}
