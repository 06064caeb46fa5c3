package capi

// #include "calls.h"
import "C"

// ImportOpts is an ovl_image_import_opts.
type ImportOpts struct {
	KeepBlobs, Strict, NoDevices bool
	Ref, Platform                string
	Kind, Durability             uint32
	Limits                       Limits
}

// ImageInfo is an ovl_image_info.
type ImageInfo struct {
	Layer, Manifest, Config                      string
	Size, Layers                                 uint64
	CreatedSec                                   int64
	CreatedNsec                                  uint32
	Blobs                                        bool
	SkippedDevices, SkippedOwners, SkippedXattrs uint64
	Made                                         uint64
}

// ImageImport is ovl_image_import. With an fd of -1 the bytes come from the hook.
func (s *Store) ImageImport(name string, fd int, o ImportOpts, c Call) (ImageInfo, *Error) {
	var in inputs
	defer in.free()
	image := in.text(name)
	opts := C.struct_ovl_image_import_opts{
		flags: flag(o.KeepBlobs, C.OVL_IMPORT_KEEP_BLOBS) | flag(o.Strict, C.OVL_IMPORT_STRICT) |
			flag(o.NoDevices, C.OVL_IMPORT_NO_DEVICES),
		ref:             in.optional(o.Ref),
		platform:        in.optional(o.Platform),
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
		return ImageInfo{}, in.bad
	}
	call, end := c.begin()
	defer end()
	var info C.struct_ovl_image_info
	var err *C.struct_ovl_error
	failed := failure(C.ovlgo_image_import(s.p, image, C.int(fd), opts, call, &info, &err), &err)
	return imageInfo(&info), failed
}

// ImageExport is ovl_image_export. With an fd of -1 the bytes go to the hook.
func (s *Store) ImageExport(name string, fd int, ref string, c Call) (ImageInfo, *Error) {
	var in inputs
	defer in.free()
	image := in.text(name)
	opts := C.struct_ovl_image_export_opts{ref: in.optional(ref), cancel: c.cancel()}
	if in.bad != nil {
		return ImageInfo{}, in.bad
	}
	call, end := c.begin()
	defer end()
	var info C.struct_ovl_image_info
	var err *C.struct_ovl_error
	failed := failure(C.ovlgo_image_export(s.p, image, C.int(fd), opts, call, &info, &err), &err)
	return imageInfo(&info), failed
}

// ImageRemove is ovl_image_remove.
func (s *Store) ImageRemove(name string, c Call) *Error {
	var in inputs
	defer in.free()
	image := in.text(name)
	if in.bad != nil {
		return in.bad
	}
	opts := C.struct_ovl_image_remove_opts{cancel: c.cancel()}
	call, end := c.begin()
	defer end()
	var err *C.struct_ovl_error
	return failure(C.ovlgo_image_remove(s.p, image, opts, call, &err), &err)
}

// ImageStat is ovl_image_stat.
func (s *Store) ImageStat(name string) (ImageInfo, *Error) {
	var in inputs
	defer in.free()
	image := in.text(name)
	if in.bad != nil {
		return ImageInfo{}, in.bad
	}
	var opts C.struct_ovl_image_stat_opts
	var info C.struct_ovl_image_info
	var err *C.struct_ovl_error
	said := C.ovl_image_stat(s.p, image, &opts, C.sizeof_struct_ovl_image_stat_opts,
		&info, C.sizeof_struct_ovl_image_info, &err)
	failed := failure(said, &err)
	return imageInfo(&info), failed
}

// ImageList is ovl_image_list.
func (s *Store) ImageList() (*Iter, *Error) {
	var out *C.struct_ovl_iter
	var err *C.struct_ovl_error
	var opts C.struct_ovl_image_list_opts
	failed := failure(C.ovl_image_list(s.p, &opts, C.sizeof_struct_ovl_image_list_opts, &out, &err), &err)
	return newIter(out, failed)
}

// ImageConfig is ovl_image_config.
func (s *Store) ImageConfig(name string) (*Iter, *Error) {
	var in inputs
	defer in.free()
	image := in.text(name)
	if in.bad != nil {
		return nil, in.bad
	}
	var out *C.struct_ovl_iter
	var err *C.struct_ovl_error
	var opts C.struct_ovl_image_config_opts
	said := C.ovl_image_config(s.p, image, &opts, C.sizeof_struct_ovl_image_config_opts, &out, &err)
	failed := failure(said, &err)
	return newIter(out, failed)
}

func imageInfo(c *C.struct_ovl_image_info) ImageInfo {
	return ImageInfo{
		Layer:          C.GoString(&c.layer[0]),
		Manifest:       C.GoString(&c.manifest[0]),
		Config:         C.GoString(&c.config[0]),
		Size:           uint64(c.size),
		Layers:         uint64(c.layers),
		CreatedSec:     int64(c.created_sec),
		CreatedNsec:    uint32(c.created_nsec),
		Blobs:          c.blobs != 0,
		SkippedDevices: uint64(c.skipped_devices),
		SkippedOwners:  uint64(c.skipped_owners),
		SkippedXattrs:  uint64(c.skipped_xattrs),
		Made:           uint64(c.made),
	}
}
