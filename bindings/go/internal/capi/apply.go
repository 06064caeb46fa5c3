package capi

// #include "calls.h"
import "C"

// Limits are the limits of an ovl_apply_opts.
type Limits struct {
	Size, Entries, Meta, Xattrs, Path uint64
	ZstdWindowLog                     uint32
}

// ApplyOpts is an ovl_apply_opts.
type ApplyOpts struct {
	Writable, Strict, NoDevices, Existing bool
	Parent, DiffID                        string
	Kind, Durability                      uint32
	Limits                                Limits
}

// ApplyLayer is ovl_apply_layer. With an fd of -1 the bytes come from the hook.
func (s *Store) ApplyLayer(id string, fd int, o ApplyOpts, c Call) (LayerInfo, *Error) {
	var in inputs
	defer in.free()
	layer := in.text(id)
	opts := C.struct_ovl_apply_opts{
		flags: flag(o.Writable, C.OVL_APPLY_WRITABLE) | flag(o.Strict, C.OVL_APPLY_STRICT) |
			flag(o.NoDevices, C.OVL_APPLY_NO_DEVICES) | flag(o.Existing, C.OVL_APPLY_EXISTING),
		parent:          in.optional(o.Parent),
		diff_id:         in.optional(o.DiffID),
		kind:            C.uint32_t(o.Kind),
		durability:      C.uint32_t(o.Durability),
		max_size:        C.uint64_t(o.Limits.Size),
		max_entries:     C.uint64_t(o.Limits.Entries),
		max_meta:        C.uint64_t(o.Limits.Meta),
		max_xattrs:      C.uint64_t(o.Limits.Xattrs),
		max_path:        C.uint64_t(o.Limits.Path),
		zstd_window_log: C.uint32_t(o.Limits.ZstdWindowLog),
		cancel:          c.cancel(),
	}
	if in.bad != nil {
		return LayerInfo{}, in.bad
	}
	call, end := c.begin()
	defer end()
	var info C.struct_ovl_layer_info
	var err *C.struct_ovl_error
	failed := failure(C.ovlgo_apply_layer(s.p, layer, C.int(fd), opts, call, &info, &err), &err)
	return layerInfo(&info), failed
}
