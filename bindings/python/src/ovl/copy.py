"""Copying trees. No store is needed."""

from __future__ import annotations

from ctypes import byref, sizeof
from typing import Any

from . import _capi
from ._call import Call, ProgressFn
from ._constants import CopyFlag, Reflink
from ._streams import descriptor
from ._text import PathLike, encode
from .cancel import CancelLike
from .results import CopyStats, plain

_AT_FDCWD = -100


def copy_dir(
    src: PathLike,
    dst: PathLike,
    *,
    hard_link: bool = False,
    reflink: Reflink = Reflink.AUTO,
    strict: bool = False,
    overlay_xattrs: bool = True,
    sync: bool = False,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
    cancel: CancelLike | None = None,
    progress: ProgressFn | None = None,
) -> CopyStats:
    """Copies the directory `src` to `dst`, with all that its files have: owners, modes, times,
    links among them, extended attributes, holes.

    `dst` is a name that is not there, which appears when the copy is done, or an empty directory,
    which is filled. After a failure it is as it was. Relative paths begin at `src_dir_fd` and
    `dst_dir_fd` where those are given; symbolic links in the two paths are followed, those in the
    tree never.

    `hard_link` links files to the source's instead of copying their content, `reflink` says
    whether content is shared. What cannot be done (owners, attributes, devices) is left out and
    counted, and refused with `strict`. `overlay_xattrs=False` leaves out overlayfs's own
    attributes. With `sync` the copy is on the disk when the call returns.

    Raises FileNotFoundError, NotADirectoryError, FileExistsError where `dst` is no directory;
    ENOTEMPTY; EXDEV for hard links across file systems; EOPNOTSUPP for Reflink.ALWAYS where the
    file system cannot.
    """
    call = Call(cancel, progress)
    flags = CopyFlag.HARD_LINK if hard_link else CopyFlag(0)
    flags |= CopyFlag.STRICT if strict else CopyFlag(0)
    flags |= CopyFlag(0) if overlay_xattrs else CopyFlag.NO_OVERLAY_XATTRS
    flags |= CopyFlag.SYNC if sync else CopyFlag(0)
    opts = _capi.CopyOpts(flags=flags, reflink=reflink, **call.control())
    stats = _capi.CopyStats()
    places = (
        _AT_FDCWD if src_dir_fd is None else descriptor(src_dir_fd),
        encode(src),
        _AT_FDCWD if dst_dir_fd is None else descriptor(dst_dir_fd),
        encode(dst),
    )

    def operation(err: Any) -> int:
        said: int = _capi.lib.ovl_copy_dir(
            *places, byref(opts), sizeof(opts), byref(stats), sizeof(stats), err
        )
        return said

    call.run(operation)
    return CopyStats(**plain(CopyStats, stats))
