package capi

// #include "calls.h"
import "C"

// Create is ovl_create.
func (s *Store) Create(id, parent string, o CreateOpts, c Call) *Error {
	var in inputs
	defer in.free()
	layer, on := in.text(id), in.optional(parent)
	if in.bad != nil {
		return in.bad
	}
	opts := C.struct_ovl_create_opts{
		flags: flag(o.Live, C.OVL_CREATE_LIVE) | flag(o.Flat, C.OVL_CREATE_FLAT) |
			flag(o.Sync, C.OVL_CREATE_SYNC),
		cancel: c.cancel(),
	}
	call, end := c.begin()
	defer end()
	var err *C.struct_ovl_error
	return failure(C.ovlgo_create(s.p, layer, on, opts, call, &err), &err)
}

// CreateOpts are the flags of an ovl_create_opts.
type CreateOpts struct{ Live, Flat, Sync bool }

// Commit is ovl_commit.
func (s *Store) Commit(id string, salvage, mounted bool, durability uint32, c Call) *Error {
	var in inputs
	defer in.free()
	layer := in.text(id)
	if in.bad != nil {
		return in.bad
	}
	opts := C.struct_ovl_commit_opts{
		flags:      flag(salvage, C.OVL_COMMIT_SALVAGE) | flag(mounted, C.OVL_COMMIT_MOUNTED),
		durability: C.uint32_t(durability),
		cancel:     c.cancel(),
	}
	call, end := c.begin()
	defer end()
	var err *C.struct_ovl_error
	return failure(C.ovlgo_commit(s.p, layer, opts, call, &err), &err)
}

// Remove is ovl_remove.
func (s *Store) Remove(id string, deferred bool, c Call) *Error {
	var in inputs
	defer in.free()
	layer := in.text(id)
	if in.bad != nil {
		return in.bad
	}
	opts := C.struct_ovl_remove_opts{flags: flag(deferred, C.OVL_REMOVE_DEFER), cancel: c.cancel()}
	call, end := c.begin()
	defer end()
	var err *C.struct_ovl_error
	return failure(C.ovlgo_remove(s.p, layer, opts, call, &err), &err)
}

// Exists is ovl_exists.
func (s *Store) Exists(id string) (bool, *Error) {
	var in inputs
	defer in.free()
	layer := in.text(id)
	if in.bad != nil {
		return false, in.bad
	}
	var err *C.struct_ovl_error
	var opts C.struct_ovl_exists_opts
	said := C.ovl_exists(s.p, layer, &opts, C.sizeof_struct_ovl_exists_opts, &err)
	return said > 0, failure(said, &err)
}

// LayerInfo is an ovl_layer_info.
type LayerInfo struct {
	ID, Parent, DiffID, BlobDigest, CopiedFrom string

	Kind, State                      uint32
	Size, Entries, TarSize, BlobSize uint64
	CreatedSec                       int64
	CreatedNsec                      uint32
	Lowers                           uint32
	Mounted, Unclean                 bool
	SkippedDevices, SkippedOwners    uint64
	SkippedXattrs, SkippedSockets    uint64
	SkippedNames                     uint64
}

// Stat is ovl_stat.
func (s *Store) Stat(id string) (LayerInfo, *Error) {
	var in inputs
	defer in.free()
	layer := in.text(id)
	if in.bad != nil {
		return LayerInfo{}, in.bad
	}
	var info C.struct_ovl_layer_info
	var err *C.struct_ovl_error
	failed := failure(C.ovl_stat(s.p, layer, &info, C.sizeof_struct_ovl_layer_info, &err), &err)
	return layerInfo(&info), failed
}

func layerInfo(c *C.struct_ovl_layer_info) LayerInfo {
	return LayerInfo{
		ID:             C.GoString(&c.id[0]),
		Parent:         C.GoString(&c.parent[0]),
		DiffID:         C.GoString(&c.diff_id[0]),
		BlobDigest:     C.GoString(&c.blob_digest[0]),
		CopiedFrom:     C.GoString(&c.copied_from[0]),
		Kind:           uint32(c.kind),
		State:          uint32(c.state),
		Size:           uint64(c.size),
		Entries:        uint64(c.entries),
		TarSize:        uint64(c.tar_size),
		BlobSize:       uint64(c.blob_size),
		CreatedSec:     int64(c.created_sec),
		CreatedNsec:    uint32(c.created_nsec),
		Lowers:         uint32(c.lowers),
		Mounted:        c.mounted != 0,
		Unclean:        c.unclean != 0,
		SkippedDevices: uint64(c.skipped_devices),
		SkippedOwners:  uint64(c.skipped_owners),
		SkippedXattrs:  uint64(c.skipped_xattrs),
		SkippedSockets: uint64(c.skipped_sockets),
		SkippedNames:   uint64(c.skipped_names),
	}
}
