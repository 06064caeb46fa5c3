"""Mounted layers."""

from __future__ import annotations

import os
from ctypes import byref, sizeof
from pathlib import Path
from types import TracebackType
from typing import Any

from . import _capi
from ._call import Call
from ._constants import UnmountFlag
from ._handle import Handle


class MountHandle:
    """A handle on a mounted layer. The layer counts as mounted while it lives.

    What threads share it for is theirs to agree on: while one unmounts it, it is no other's.
    """

    def __init__(self, handle: Handle, keep: bool, logged: bool) -> None:
        self._handle = handle
        self._keep = keep
        self._logged = logged
        self._path: bytes = handle.call(_capi.lib.ovl_mnt_path) or b""
        if not keep:
            handle.tell(f"unclosed {self!r}: unmount it")

    @property
    def closed(self) -> bool:
        return self._handle.closed

    def fileno(self) -> int:
        """The root of the mount as a descriptor, for `dir_fd=` and the like. It is the mount's: do
        not close it, and duplicate it to keep it, which keeps the mount in use too."""
        fd: int = self._handle.call(_capi.lib.ovl_mnt_fd)
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd))
        return fd

    def unmount(self, *, lazy: bool = False) -> None:
        """Gives the mount up: the last handle ends it.

        EBUSY where files on it are open, or it is somebody's working directory; then nothing has
        changed, and the handle is still good. `lazy` detaches it now, and it ends when the last
        user is gone.
        """
        self._check_open()
        opts = _capi.UnmountOpts(flags=UnmountFlag.LAZY if lazy else 0)

        def operation(err: Any) -> int:
            free = _capi.lib.ovl_unmount
            return self._handle.free_by(free, byref(opts), sizeof(opts), err)

        Call(brief=not self._logged).run(operation)

    def release(self) -> None:
        """Drops the handle, and unmounts nothing: a kept mount stays, a detached one lives on with
        copies of its descriptor, and any other is left to the next call that meets it."""
        self._handle.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.closed:
            return
        if self._keep:
            self.release()
            return
        try:
            self.unmount()
        except OSError as busy:
            # Ctrl-C does not become an OSError: the mount that is left is told with it.
            if error is None or isinstance(error, Exception):
                raise
            if hasattr(error, "add_note"):  # since Python 3.11
                error.add_note(f"the mount is left: {busy}")

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the mount is closed")


class Mount(MountHandle):
    """A layer mounted at a path. `with` gives the path, and unmounts; of a mount that is kept it
    drops the handle alone. It is a path-like object itself."""

    @property
    def path(self) -> Path:
        """Where it is mounted: an absolute path."""
        return Path(os.fsdecode(self._path))

    def __fspath__(self) -> str:
        return os.fsdecode(self._path)

    def __enter__(self) -> Path:
        self._check_open()
        return self.path

    def __repr__(self) -> str:
        return f"<Mount at {os.fsdecode(self._path)!r}{', closed' if self.closed else ''}>"


class DetachedMount(MountHandle):
    """A layer mounted at no path: a descriptor. `with` gives the descriptor, and gives the mount
    up; it ends when the last copy of the descriptor is closed."""

    def __enter__(self) -> int:
        return self.fileno()

    def __repr__(self) -> str:
        return f"<DetachedMount{', closed' if self.closed else ''}>"
