"""ovl.h in ctypes: its structs, its callbacks and the prototype of each function. Nothing more."""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

from . import _library

# A handle is a pointer that only functions of its own kind take.


class StorePtr(c_void_p):
    """struct ovl_store *"""

    log: Any = None
    """The callback that it has: it lives as long as what calls it."""


class MntPtr(c_void_p):
    """struct ovl_mnt *"""

    log: Any = None
    """That of its store."""


class IterPtr(c_void_p):
    """struct ovl_iter *"""


class CancelPtr(c_void_p):
    """struct ovl_cancel *"""


class ErrorPtr(c_void_p):
    """struct ovl_error *"""


class Progress(Structure):
    """struct ovl_progress"""

    _fields_ = [("entries", c_uint64), ("bytes", c_uint64)]


# Addresses come as integers, and sizes with them: each callback copies what it needs.
LogFn: Any = CFUNCTYPE(None, c_void_p, c_uint32, c_char_p)
ProgressFn: Any = CFUNCTYPE(c_int, c_void_p, POINTER(Progress), c_size_t)
ReadFn: Any = CFUNCTYPE(c_int64, c_void_p, c_void_p, c_size_t)
WriteFn: Any = CFUNCTYPE(c_int64, c_void_p, c_void_p, c_size_t)

_FLAGS: list[tuple[str, Any]] = [("flags", c_uint64)]
_CONTROL: list[tuple[str, Any]] = [
    ("cancel", CancelPtr),
    ("progress", ProgressFn),
    ("progress_user", c_void_p),
]
_LAYER: list[tuple[str, Any]] = [
    ("kind", c_uint32),
    ("durability", c_uint32),
    ("max_size", c_uint64),
    ("max_entries", c_uint64),
    ("max_meta", c_uint64),
    ("max_xattrs", c_uint64),
    ("max_path", c_uint64),
    ("zstd_window_log", c_uint32),
    ("reserved", c_uint32),
]
_READ: list[tuple[str, Any]] = [("read", ReadFn), ("read_user", c_void_p)]
_WRITE: list[tuple[str, Any]] = [("write", WriteFn), ("write_user", c_void_p)]
_DIGEST = c_char * 136


class Item(Structure):
    _fields_ = [
        # Not c_char_p: a name is as long as name_len says.
        ("name", c_void_p),
        ("name_len", c_uint64),
        ("detail", c_void_p),
        ("detail_len", c_uint64),
        ("what", c_uint32),
        ("reserved", c_uint32),
    ]


class StoreOpts(Structure):
    _fields_ = [
        *_FLAGS,
        ("marks", c_uint32),
        ("log_level", c_uint32),
        ("log", LogFn),
        ("log_user", c_void_p),
    ]


class ListOpts(Structure):
    _fields_ = _FLAGS


class StatusOpts(Structure):
    _fields_ = _FLAGS


class CleanupOpts(Structure):
    _fields_ = _FLAGS + _CONTROL + [("budget_ms", c_uint64)]


class CleanupStats(Structure):
    _fields_ = [
        ("removed", c_uint64),
        ("busy", c_uint64),
        ("unmounted", c_uint64),
        ("dropped", c_uint64),
        ("left", c_uint64),
    ]


class CheckOpts(Structure):
    _fields_ = _FLAGS + _CONTROL


class CreateOpts(Structure):
    _fields_ = _FLAGS + _CONTROL


class CommitOpts(Structure):
    _fields_ = [*_FLAGS, ("durability", c_uint32), ("reserved", c_uint32), *_CONTROL]


class RemoveOpts(Structure):
    _fields_ = _FLAGS + _CONTROL


class ExistsOpts(Structure):
    _fields_ = _FLAGS


class LayerInfo(Structure):
    _fields_ = [
        ("id", _DIGEST),
        ("parent", _DIGEST),
        ("diff_id", _DIGEST),
        ("blob_digest", _DIGEST),
        ("copied_from", _DIGEST),
        ("kind", c_uint32),
        ("state", c_uint32),
        ("size", c_uint64),
        ("entries", c_uint64),
        ("tar_size", c_uint64),
        ("blob_size", c_uint64),
        ("created_sec", c_int64),
        ("created_nsec", c_uint32),
        ("lowers", c_uint32),
        ("mounted", c_uint32),
        ("unclean", c_uint32),
        ("skipped_devices", c_uint64),
        ("skipped_owners", c_uint64),
        ("skipped_xattrs", c_uint64),
        ("skipped_sockets", c_uint64),
        ("skipped_names", c_uint64),
    ]


class ApplyOpts(Structure):
    _fields_ = [
        *_FLAGS,
        ("parent", c_char_p),
        ("diff_id", c_char_p),
        *_LAYER,
        *_READ,
        *_CONTROL,
    ]


class DiffOpts(Structure):
    _fields_ = [
        *_FLAGS,
        ("clamp_sec", c_int64),
        ("clamp_nsec", c_uint32),
        ("reserved", c_uint32),
        *_WRITE,
        *_CONTROL,
    ]


class ChangesOpts(Structure):
    _fields_ = _FLAGS + _CONTROL


class DiffSizeOpts(Structure):
    _fields_ = _FLAGS + _CONTROL


class MountOpts(Structure):
    _fields_ = [*_FLAGS, ("target", c_char_p), ("label", c_char_p)]


class UnmountOpts(Structure):
    _fields_ = _FLAGS


class SpecOpts(Structure):
    _fields_ = [*_FLAGS, ("label", c_char_p), ("destination", c_char_p)]


class CopyOpts(Structure):
    _fields_ = [*_FLAGS, ("reflink", c_uint32), ("reserved", c_uint32), *_CONTROL]


class CopyStats(Structure):
    _fields_ = [
        ("entries", c_uint64),
        ("directories", c_uint64),
        ("copied", c_uint64),
        ("reflinked", c_uint64),
        ("linked", c_uint64),
        ("grouped", c_uint64),
        ("bytes", c_uint64),
        ("link_fallbacks", c_uint64),
        ("mounts_skipped", c_uint64),
        ("vanished", c_uint64),
        ("skipped_owners", c_uint64),
        ("skipped_xattrs", c_uint64),
        ("skipped_devices", c_uint64),
    ]


class UsageOpts(Structure):
    _fields_ = _FLAGS + _CONTROL


class UsageInfo(Structure):
    _fields_ = [
        ("own_bytes", c_uint64),
        ("shared_bytes", c_uint64),
        ("own_inodes", c_uint64),
        ("shared_inodes", c_uint64),
        ("own_size", c_uint64),
        ("shared_size", c_uint64),
    ]


class ImageImportOpts(Structure):
    _fields_ = [
        *_FLAGS,
        ("ref", c_char_p),
        ("platform", c_char_p),
        *_LAYER,
        *_READ,
        *_CONTROL,
    ]


class ImageExportOpts(Structure):
    _fields_ = [*_FLAGS, ("ref", c_char_p), *_WRITE, *_CONTROL]


class ImageRemoveOpts(Structure):
    _fields_ = [*_FLAGS, *_CONTROL]


class ImageStatOpts(Structure):
    _fields_ = _FLAGS


class ImageListOpts(Structure):
    _fields_ = _FLAGS


class ImageConfigOpts(Structure):
    _fields_ = _FLAGS


class ImageInfo(Structure):
    _fields_ = [
        ("layer", _DIGEST),
        ("manifest", _DIGEST),
        ("config", _DIGEST),
        ("size", c_uint64),
        ("layers", c_uint64),
        ("created_sec", c_int64),
        ("created_nsec", c_uint32),
        ("blobs", c_uint32),
        ("skipped_devices", c_uint64),
        ("skipped_owners", c_uint64),
        ("skipped_xattrs", c_uint64),
        ("made", c_uint64),
    ]


_ERR = POINTER(ErrorPtr)
_ITER_OUT = POINTER(IterPtr)


def _sized(struct: Any) -> list[Any]:
    """A pointer to a struct, and its size."""
    return [POINTER(struct), c_size_t]


PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "ovl_version": (c_char_p, []),
    "ovl_error_errno": (c_int, [ErrorPtr]),
    "ovl_error_code": (c_uint32, [ErrorPtr]),
    "ovl_error_operation": (c_char_p, [ErrorPtr]),
    # Not c_char_p: a path may hold a NUL, and is as long as the second argument says.
    "ovl_error_path": (c_void_p, [ErrorPtr, POINTER(c_size_t)]),
    "ovl_error_message": (c_char_p, [ErrorPtr]),
    "ovl_error_callback_result": (c_int, [ErrorPtr]),
    "ovl_error_free": (None, [ErrorPtr]),
    "ovl_cancel_new": (CancelPtr, []),
    "ovl_cancel_trigger": (None, [CancelPtr]),
    "ovl_cancel_free": (None, [CancelPtr]),
    "ovl_iter_next": (c_int, [IterPtr, *_sized(Item), _ERR]),
    "ovl_iter_free": (None, [IterPtr]),
    "ovl_store_open": (c_int, [c_char_p, *_sized(StoreOpts), POINTER(StorePtr), _ERR]),
    "ovl_store_free": (None, [StorePtr]),
    "ovl_list": (c_int, [StorePtr, *_sized(ListOpts), _ITER_OUT, _ERR]),
    "ovl_status": (c_int, [StorePtr, *_sized(StatusOpts), _ITER_OUT, _ERR]),
    "ovl_cleanup": (c_int, [StorePtr, *_sized(CleanupOpts), *_sized(CleanupStats), _ERR]),
    "ovl_check": (c_int, [StorePtr, *_sized(CheckOpts), _ITER_OUT, _ERR]),
    "ovl_create": (c_int, [StorePtr, c_char_p, c_char_p, *_sized(CreateOpts), _ERR]),
    "ovl_commit": (c_int, [StorePtr, c_char_p, *_sized(CommitOpts), _ERR]),
    "ovl_remove": (c_int, [StorePtr, c_char_p, *_sized(RemoveOpts), _ERR]),
    "ovl_exists": (c_int, [StorePtr, c_char_p, *_sized(ExistsOpts), _ERR]),
    "ovl_stat": (c_int, [StorePtr, c_char_p, *_sized(LayerInfo), _ERR]),
    "ovl_apply_layer": (
        c_int,
        [StorePtr, c_char_p, c_int, *_sized(ApplyOpts), *_sized(LayerInfo), _ERR],
    ),
    "ovl_diff": (
        c_int,
        [StorePtr, c_char_p, c_char_p, c_int, *_sized(DiffOpts), *_sized(LayerInfo), _ERR],
    ),
    "ovl_changes": (c_int, [StorePtr, c_char_p, c_char_p, *_sized(ChangesOpts), _ITER_OUT, _ERR]),
    "ovl_diff_size": (
        c_int,
        [StorePtr, c_char_p, c_char_p, *_sized(DiffSizeOpts), POINTER(c_uint64), _ERR],
    ),
    "ovl_mount": (c_int, [StorePtr, c_char_p, *_sized(MountOpts), POINTER(MntPtr), _ERR]),
    "ovl_unmount": (c_int, [MntPtr, *_sized(UnmountOpts), _ERR]),
    "ovl_unmount_at": (c_int, [StorePtr, c_char_p, *_sized(UnmountOpts), _ERR]),
    "ovl_mnt_path": (c_char_p, [MntPtr]),
    "ovl_mnt_fd": (c_int, [MntPtr]),
    "ovl_mnt_free": (None, [MntPtr]),
    "ovl_mount_spec": (c_int, [StorePtr, c_char_p, *_sized(SpecOpts), _ITER_OUT, _ERR]),
    "ovl_copy_dir": (
        c_int,
        [c_int, c_char_p, c_int, c_char_p, *_sized(CopyOpts), *_sized(CopyStats), _ERR],
    ),
    "ovl_image_import": (
        c_int,
        [StorePtr, c_char_p, c_int, *_sized(ImageImportOpts), *_sized(ImageInfo), _ERR],
    ),
    "ovl_image_export": (
        c_int,
        [StorePtr, c_char_p, c_int, *_sized(ImageExportOpts), *_sized(ImageInfo), _ERR],
    ),
    "ovl_image_remove": (c_int, [StorePtr, c_char_p, *_sized(ImageRemoveOpts), _ERR]),
    "ovl_image_stat": (
        c_int,
        [StorePtr, c_char_p, *_sized(ImageStatOpts), *_sized(ImageInfo), _ERR],
    ),
    "ovl_image_list": (c_int, [StorePtr, *_sized(ImageListOpts), _ITER_OUT, _ERR]),
    "ovl_image_config": (c_int, [StorePtr, c_char_p, *_sized(ImageConfigOpts), _ITER_OUT, _ERR]),
    "ovl_usage": (c_int, [StorePtr, c_char_p, *_sized(UsageOpts), *_sized(UsageInfo), _ERR]),
}


def _declare(library: ctypes.CDLL) -> None:
    for name, (result, arguments) in PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise ImportError(f"ovl: {library._name} lacks {name}", name="ovl") from error
        function.restype = result
        function.argtypes = arguments


lib, ORIGIN = _library.load()
_declare(lib)
