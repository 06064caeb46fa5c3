package capi

// #include "calls.h"
import "C"

import "runtime/cgo"

// Store is an ovl_store.
type Store struct {
	p   *C.struct_ovl_store
	log cgo.Handle
}

// StoreOpts is an ovl_store_opts.
type StoreOpts struct {
	MustExist bool
	ReadOnly  bool
	Marks     uint32
	LogLevel  uint32
	Log       func(level uint32, message string) // as a hook
}

// StoreOpen is ovl_store_open.
func StoreOpen(home string, o StoreOpts) (*Store, *Error) {
	var in inputs
	defer in.free()
	at := in.text(home)
	if in.bad != nil {
		return nil, in.bad
	}
	opts := C.struct_ovl_store_opts{
		flags:     flag(o.MustExist, C.OVL_STORE_MUST_EXIST) | flag(o.ReadOnly, C.OVL_STORE_READ_ONLY),
		marks:     C.uint32_t(o.Marks),
		log_level: C.uint32_t(o.LogLevel),
	}
	s := &Store{}
	if o.Log != nil {
		s.log = cgo.NewHandle(o.Log)
	}
	var err *C.struct_ovl_error
	if failed := failure(C.ovlgo_store_open(at, opts, C.uintptr_t(s.log), &s.p, &err), &err); failed != nil {
		s.Free()
		return nil, failed
	}
	return s, nil
}

// Free is ovl_store_free.
func (s *Store) Free() {
	C.ovl_store_free(s.p)
	if s.log != 0 {
		s.log.Delete()
	}
}

// List is ovl_list.
func (s *Store) List() (*Iter, *Error) {
	var out *C.struct_ovl_iter
	var err *C.struct_ovl_error
	var opts C.struct_ovl_list_opts
	failed := failure(C.ovl_list(s.p, &opts, C.sizeof_struct_ovl_list_opts, &out, &err), &err)
	return newIter(out, failed)
}

// Status is ovl_status.
func (s *Store) Status() (*Iter, *Error) {
	var out *C.struct_ovl_iter
	var err *C.struct_ovl_error
	var opts C.struct_ovl_status_opts
	failed := failure(C.ovl_status(s.p, &opts, C.sizeof_struct_ovl_status_opts, &out, &err), &err)
	return newIter(out, failed)
}

// CleanupStats is an ovl_cleanup_stats.
type CleanupStats struct {
	Removed, Busy, Unmounted, Dropped, Left uint64
}

// Cleanup is ovl_cleanup.
func (s *Store) Cleanup(budget uint64, c Call) (CleanupStats, *Error) {
	opts := C.struct_ovl_cleanup_opts{cancel: c.cancel(), budget_ms: C.uint64_t(budget)}
	call, end := c.begin()
	defer end()
	var stats C.struct_ovl_cleanup_stats
	var err *C.struct_ovl_error
	failed := failure(C.ovlgo_cleanup(s.p, opts, call, &stats, &err), &err)
	return CleanupStats{
		Removed:   uint64(stats.removed),
		Busy:      uint64(stats.busy),
		Unmounted: uint64(stats.unmounted),
		Dropped:   uint64(stats.dropped),
		Left:      uint64(stats.left),
	}, failed
}

// Check is ovl_check.
func (s *Store) Check(repair bool, c Call) (*Iter, *Error) {
	opts := C.struct_ovl_check_opts{flags: flag(repair, C.OVL_CHECK_REPAIR), cancel: c.cancel()}
	call, end := c.begin()
	defer end()
	var out *C.struct_ovl_iter
	var err *C.struct_ovl_error
	failed := failure(C.ovlgo_check(s.p, opts, call, &out, &err), &err)
	return newIter(out, failed)
}

// UsageInfo is an ovl_usage_info.
type UsageInfo struct {
	OwnBytes, SharedBytes, OwnInodes, SharedInodes, OwnSize, SharedSize uint64
}

// Usage is ovl_usage; of the whole store for nil.
func (s *Store) Usage(id *string, c Call) (UsageInfo, *Error) {
	var in inputs
	defer in.free()
	layer := in.pointer(id)
	if in.bad != nil {
		return UsageInfo{}, in.bad
	}
	opts := C.struct_ovl_usage_opts{cancel: c.cancel()}
	call, end := c.begin()
	defer end()
	var usage C.struct_ovl_usage_info
	var err *C.struct_ovl_error
	failed := failure(C.ovlgo_usage(s.p, layer, opts, call, &usage, &err), &err)
	return UsageInfo{
		OwnBytes:     uint64(usage.own_bytes),
		SharedBytes:  uint64(usage.shared_bytes),
		OwnInodes:    uint64(usage.own_inodes),
		SharedInodes: uint64(usage.shared_inodes),
		OwnSize:      uint64(usage.own_size),
		SharedSize:   uint64(usage.shared_size),
	}, failed
}
