"""libovl: an embedded store of container layers.

    import ovl

    with ovl.Store("store") as store:
        store.apply("image", "rootfs.tar.gz")
        layer = store.create("box", "image")
        with layer.mount() as path:
            (path / "hello").write_text("hello")
        for change in layer.changes():
            print(change.kind.name, change.path)

Errors are `OvlError`, an OSError; a missing layer is a FileNotFoundError too, and so on. Paths go
in as text, bytes or path-like objects, and come out as pathlib's.
"""

from __future__ import annotations

from . import _capi, _library
from ._base import LogFn
from ._call import Progress, ProgressFn
from ._constants import (
    ChangeKind,
    CheckKind,
    Code,
    Durability,
    Kind,
    LogLevel,
    Marks,
    Reflink,
    State,
)
from ._library import Library
from ._streams import Readable, Source, Target, Writable
from ._text import NOTHING, Name, PathLike
from ._version import __version__
from .cancel import Cancel, CancelLike
from .copy import copy_dir
from .diffstream import DiffStream
from .errors import OvlCancelledError, OvlError
from .layer import Layer
from .mount import DetachedMount, Mount
from .results import (
    Capability,
    Change,
    CleanupStats,
    CopyStats,
    Finding,
    Image,
    ImageEntry,
    ImageInfo,
    ImageLayer,
    LayerInfo,
    Limits,
    MountSpec,
    Usage,
)
from .store import Store


def library() -> Library:
    """The shared library that is used: its file, its version, and who said that it is this one."""
    return _library.describe(_capi.lib, _capi.ORIGIN)


__all__ = [
    "NOTHING",
    "Cancel",
    "CancelLike",
    "Capability",
    "Change",
    "ChangeKind",
    "CheckKind",
    "CleanupStats",
    "Code",
    "CopyStats",
    "DetachedMount",
    "DiffStream",
    "Durability",
    "Finding",
    "Image",
    "ImageEntry",
    "ImageInfo",
    "ImageLayer",
    "Kind",
    "Layer",
    "LayerInfo",
    "Library",
    "Limits",
    "LogFn",
    "LogLevel",
    "Marks",
    "Mount",
    "MountSpec",
    "Name",
    "OvlCancelledError",
    "OvlError",
    "PathLike",
    "Progress",
    "ProgressFn",
    "Readable",
    "Reflink",
    "Source",
    "State",
    "Store",
    "Target",
    "Usage",
    "Writable",
    "__version__",
    "copy_dir",
    "library",
]
