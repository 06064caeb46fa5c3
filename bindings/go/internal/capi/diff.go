package capi

// #include "calls.h"
import "C"

// DiffOpts is an ovl_diff_opts.
type DiffOpts struct {
	Strict, Sparse, Clamp bool
	ClampSec              int64
	ClampNsec             uint32
}

// Diff is ovl_diff. With an fd of -1 the bytes go to the hook. A nil parent is the layer's own, ""
// is nothing.
func (s *Store) Diff(id string, parent *string, fd int, o DiffOpts, c Call) (LayerInfo, *Error) {
	var in inputs
	defer in.free()
	layer, from := in.text(id), in.pointer(parent)
	if in.bad != nil {
		return LayerInfo{}, in.bad
	}
	opts := C.struct_ovl_diff_opts{
		flags: flag(o.Strict, C.OVL_DIFF_STRICT) | flag(o.Sparse, C.OVL_DIFF_SPARSE) |
			flag(o.Clamp, C.OVL_DIFF_CLAMP),
		clamp_sec:  C.int64_t(o.ClampSec),
		clamp_nsec: C.uint32_t(o.ClampNsec),
		cancel:     c.cancel(),
	}
	call, end := c.begin()
	defer end()
	var info C.struct_ovl_layer_info
	var err *C.struct_ovl_error
	failed := failure(C.ovlgo_diff(s.p, layer, from, C.int(fd), opts, call, &info, &err), &err)
	return layerInfo(&info), failed
}

// Changes is ovl_changes, with the parent as for Diff.
func (s *Store) Changes(id string, parent *string, c Call) (*Iter, *Error) {
	var in inputs
	defer in.free()
	layer, from := in.text(id), in.pointer(parent)
	if in.bad != nil {
		return nil, in.bad
	}
	opts := C.struct_ovl_changes_opts{cancel: c.cancel()}
	call, end := c.begin()
	defer end()
	var out *C.struct_ovl_iter
	var err *C.struct_ovl_error
	failed := failure(C.ovlgo_changes(s.p, layer, from, opts, call, &out, &err), &err)
	return newIter(out, failed)
}

// DiffSize is ovl_diff_size, with the parent as for Diff.
func (s *Store) DiffSize(id string, parent *string, c Call) (uint64, *Error) {
	var in inputs
	defer in.free()
	layer, from := in.text(id), in.pointer(parent)
	if in.bad != nil {
		return 0, in.bad
	}
	opts := C.struct_ovl_diff_size_opts{cancel: c.cancel()}
	call, end := c.begin()
	defer end()
	var size C.uint64_t
	var err *C.struct_ovl_error
	failed := failure(C.ovlgo_diff_size(s.p, layer, from, opts, call, &size, &err), &err)
	return uint64(size), failed
}
