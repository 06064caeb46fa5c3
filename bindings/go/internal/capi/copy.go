package capi

// #include <fcntl.h>
// #include "calls.h"
import "C"

// AtCwd is AT_FDCWD.
const AtCwd = C.AT_FDCWD

// CopyOpts is an ovl_copy_opts.
type CopyOpts struct {
	HardLink, Strict, NoOverlayXattrs, Sync bool
	Reflink                                 uint32
}

// CopyStats is an ovl_copy_stats.
type CopyStats struct {
	Entries, Directories, Copied, Reflinked, Linked, Grouped, Bytes uint64
	LinkFallbacks, MountsSkipped, Vanished                          uint64
	SkippedOwners, SkippedXattrs, SkippedDevices                    uint64
}

// CopyDir is ovl_copy_dir.
func CopyDir(srcDir int, src string, dstDir int, dst string, o CopyOpts, c Call) (CopyStats, *Error) {
	var in inputs
	defer in.free()
	from, to := in.text(src), in.text(dst)
	if in.bad != nil {
		return CopyStats{}, in.bad
	}
	opts := C.struct_ovl_copy_opts{
		flags: flag(o.HardLink, C.OVL_COPY_HARD_LINK) | flag(o.Strict, C.OVL_COPY_STRICT) |
			flag(o.NoOverlayXattrs, C.OVL_COPY_NO_OVERLAY_XATTRS) | flag(o.Sync, C.OVL_COPY_SYNC),
		reflink: C.uint32_t(o.Reflink),
		cancel:  c.cancel(),
	}
	call, end := c.begin()
	defer end()
	var stats C.struct_ovl_copy_stats
	var err *C.struct_ovl_error
	said := C.ovlgo_copy_dir(C.int(srcDir), from, C.int(dstDir), to, opts, call, &stats, &err)
	return CopyStats{
		Entries:        uint64(stats.entries),
		Directories:    uint64(stats.directories),
		Copied:         uint64(stats.copied),
		Reflinked:      uint64(stats.reflinked),
		Linked:         uint64(stats.linked),
		Grouped:        uint64(stats.grouped),
		Bytes:          uint64(stats.bytes),
		LinkFallbacks:  uint64(stats.link_fallbacks),
		MountsSkipped:  uint64(stats.mounts_skipped),
		Vanished:       uint64(stats.vanished),
		SkippedOwners:  uint64(stats.skipped_owners),
		SkippedXattrs:  uint64(stats.skipped_xattrs),
		SkippedDevices: uint64(stats.skipped_devices),
	}, failure(said, &err)
}
