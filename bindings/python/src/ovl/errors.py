"""What a failing call raises."""

from __future__ import annotations

import builtins
import ctypes
import errno as _errno
import os
from typing import Any, Union

from . import _capi
from ._constants import Code

_Name = Union[str, bytes, None]


class OvlError(OSError):
    """A call of libovl that failed.

    It is an OSError: `errno` says what kind of failure, `strerror` is the library's message with
    its causes, `filename` the path or the layer that it is about, or None. Where Python has a class
    for an errno, the error is of that class too: `except FileNotFoundError` catches a missing
    layer.
    """

    code: int
    """One of `Code`, which tells conditions apart that share an errno. A newer library may have
    codes that this module does not know; those are plain integers."""
    operation: str
    """The operation that failed, as "apply_layer"."""

    def __new__(
        cls,
        errno: int,
        strerror: str,
        filename: _Name = None,
        *,
        code: int = 0,
        operation: str = "",
    ) -> OvlError:
        if cls is OvlError:
            cls = _BY_ERRNO.get(errno, cls)
        arguments: Any = (errno, strerror) if filename is None else (errno, strerror, filename)
        made: OvlError = super().__new__(cls, *arguments)
        return made

    def __init__(
        self,
        errno: int,
        strerror: str,
        filename: _Name = None,
        *,
        code: int = 0,
        operation: str = "",
    ) -> None:
        self.code = code
        self.operation = operation

    def __str__(self) -> str:
        words = super().__str__()
        return f"{self.operation}: {words}" if self.operation else words


class OvlFileNotFoundError(OvlError, builtins.FileNotFoundError):
    """ENOENT: no such layer, store or path."""


class OvlFileExistsError(OvlError, builtins.FileExistsError):
    """EEXIST: the layer is there already."""


class OvlPermissionError(OvlError, builtins.PermissionError):
    """EPERM, EACCES."""


class OvlNotADirectoryError(OvlError, builtins.NotADirectoryError):
    """ENOTDIR."""


class OvlIsADirectoryError(OvlError, builtins.IsADirectoryError):
    """EISDIR."""


class OvlBrokenPipeError(OvlError, builtins.BrokenPipeError):
    """EPIPE: whoever reads a diff went away."""


class OvlBlockingIOError(OvlError, builtins.BlockingIOError):
    """EAGAIN."""


class OvlInterruptedError(OvlError, builtins.InterruptedError):
    """EINTR."""


class OvlTimeoutError(OvlError, builtins.TimeoutError):
    """ETIMEDOUT, as a network file system says it."""


class OvlConnectionResetError(OvlError, builtins.ConnectionResetError):
    """ECONNRESET, as a socket says it that a layer is read from."""


class OvlConnectionAbortedError(OvlError, builtins.ConnectionAbortedError):
    """ECONNABORTED."""


class OvlConnectionRefusedError(OvlError, builtins.ConnectionRefusedError):
    """ECONNREFUSED."""


class OvlProcessLookupError(OvlError, builtins.ProcessLookupError):
    """ESRCH."""


class OvlChildProcessError(OvlError, builtins.ChildProcessError):
    """ECHILD."""


class OvlCancelledError(OvlError):
    """ECANCELED: a `Cancel` or a cancel function stopped the call; what it had begun is undone."""


_BY_ERRNO: dict[int, type[OvlError]] = {
    _errno.ENOENT: OvlFileNotFoundError,
    _errno.EEXIST: OvlFileExistsError,
    _errno.EPERM: OvlPermissionError,
    _errno.EACCES: OvlPermissionError,
    _errno.ENOTDIR: OvlNotADirectoryError,
    _errno.EISDIR: OvlIsADirectoryError,
    _errno.EPIPE: OvlBrokenPipeError,
    _errno.ESHUTDOWN: OvlBrokenPipeError,
    _errno.EAGAIN: OvlBlockingIOError,
    _errno.EINPROGRESS: OvlBlockingIOError,
    _errno.EALREADY: OvlBlockingIOError,
    _errno.EINTR: OvlInterruptedError,
    _errno.ETIMEDOUT: OvlTimeoutError,
    _errno.ECONNRESET: OvlConnectionResetError,
    _errno.ECONNABORTED: OvlConnectionAbortedError,
    _errno.ECONNREFUSED: OvlConnectionRefusedError,
    _errno.ESRCH: OvlProcessLookupError,
    _errno.ECHILD: OvlChildProcessError,
    _errno.ECANCELED: OvlCancelledError,
}


def error_of(said: int, pointer: _capi.ErrorPtr) -> OvlError:
    """The error of a call that returned `said`, which is negative."""
    if not pointer:
        return OvlError(-said, os.strerror(-said))
    lib = _capi.lib
    length = ctypes.c_size_t()
    start = lib.ovl_error_path(pointer, ctypes.byref(length))
    path = ctypes.string_at(start, length.value)
    return OvlError(
        lib.ovl_error_errno(pointer),
        lib.ovl_error_message(pointer).decode("utf-8", "backslashreplace"),
        os.fsdecode(path) if path else None,
        code=known_code(lib.ovl_error_code(pointer)),
        operation=lib.ovl_error_operation(pointer).decode("ascii", "backslashreplace"),
    )


def known_code(number: int) -> int:
    """A `Code`, or the number where this module does not know it."""
    try:
        return Code(number)
    except ValueError:
        return number
