package capi

// #include <ovl.h>
import "C"

// Mount is an ovl_mnt.
type Mount struct{ p *C.struct_ovl_mnt }

// MountOpts is an ovl_mount_opts.
type MountOpts struct {
	ReadOnly, Keep, Detached, Volatile bool
	Target, Label                      string
}

// Mount is ovl_mount.
func (s *Store) Mount(id string, o MountOpts) (*Mount, *Error) {
	var in inputs
	defer in.free()
	layer := in.text(id)
	opts := C.struct_ovl_mount_opts{
		flags: flag(o.ReadOnly, C.OVL_MOUNT_READ_ONLY) | flag(o.Keep, C.OVL_MOUNT_KEEP) |
			flag(o.Detached, C.OVL_MOUNT_DETACHED) | flag(o.Volatile, C.OVL_MOUNT_VOLATILE),
		target: in.optional(o.Target),
		label:  in.optional(o.Label),
	}
	if in.bad != nil {
		return nil, in.bad
	}
	m := &Mount{}
	var err *C.struct_ovl_error
	said := C.ovl_mount(s.p, layer, &opts, C.sizeof_struct_ovl_mount_opts, &m.p, &err)
	if failed := failure(said, &err); failed != nil {
		return nil, failed
	}
	return m, nil
}

// Path is ovl_mnt_path.
func (m *Mount) Path() string {
	p := C.ovl_mnt_path(m.p)
	if p == nil {
		return ""
	}
	return C.GoString(p)
}

// FD is ovl_mnt_fd.
func (m *Mount) FD() (int, *Error) {
	var none *C.struct_ovl_error
	fd := C.ovl_mnt_fd(m.p)
	return int(fd), failure(fd, &none)
}

// Free is ovl_mnt_free.
func (m *Mount) Free() { C.ovl_mnt_free(m.p) }

// Unmount is ovl_unmount. It frees m when it succeeds.
func (m *Mount) Unmount(lazy bool) *Error {
	opts := C.struct_ovl_unmount_opts{flags: flag(lazy, C.OVL_UNMOUNT_LAZY)}
	var err *C.struct_ovl_error
	return failure(C.ovl_unmount(m.p, &opts, C.sizeof_struct_ovl_unmount_opts, &err), &err)
}

// UnmountAt is ovl_unmount_at.
func (s *Store) UnmountAt(at string, lazy bool) *Error {
	var in inputs
	defer in.free()
	where := in.text(at)
	if in.bad != nil {
		return in.bad
	}
	opts := C.struct_ovl_unmount_opts{flags: flag(lazy, C.OVL_UNMOUNT_LAZY)}
	var err *C.struct_ovl_error
	return failure(C.ovl_unmount_at(s.p, where, &opts, C.sizeof_struct_ovl_unmount_opts, &err), &err)
}

// SpecOpts is an ovl_spec_opts.
type SpecOpts struct {
	ReadOnly, OCI, Long bool
	Label, Destination  string
}

// MountSpec is ovl_mount_spec.
func (s *Store) MountSpec(id string, o SpecOpts) (*Iter, *Error) {
	var in inputs
	defer in.free()
	layer := in.text(id)
	opts := C.struct_ovl_spec_opts{
		flags: flag(o.ReadOnly, C.OVL_SPEC_READ_ONLY) | flag(o.OCI, C.OVL_SPEC_OCI_JSON) |
			flag(o.Long, C.OVL_SPEC_LONG),
		label:       in.optional(o.Label),
		destination: in.optional(o.Destination),
	}
	if in.bad != nil {
		return nil, in.bad
	}
	var out *C.struct_ovl_iter
	var err *C.struct_ovl_error
	failed := failure(C.ovl_mount_spec(s.p, layer, &opts, C.sizeof_struct_ovl_spec_opts, &out, &err), &err)
	return newIter(out, failed)
}
