"""Where a layer comes from and where a diff goes: paths, descriptors, file objects, iterables.

A descriptor is handed to the library. Anything else is read and written by a callback, through a
copy: a file object may keep a buffer that it was given, and the library's own is soon gone.
"""

from __future__ import annotations

import collections.abc
import ctypes
import errno
import io
import operator
import os
import secrets
import stat
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Callable, Protocol, Union

from . import _capi
from ._call import Call, called
from ._owned import Owned
from ._text import PathLike, bytes_at, encode


class Readable(Protocol):
    """A binary file object to read from."""

    def read(self, size: int, /) -> bytes | None:
        """Bytes, at most so many; none at the end."""


class Writable(Protocol):
    """A binary file object to write to."""

    def write(self, data: bytes, /) -> int | None:
        """How many of the bytes it took, at least one."""


Source = Union[PathLike, int, Readable, Iterable[bytes]]
"""What a layer is read from."""

Target = Union[PathLike, int, Writable]
"""What a diff is written to."""


class _File:
    """A descriptor for a call. A directory has one too, which `io.FileIO` would not give."""

    def __init__(self) -> None:
        self._owned = Owned(os.close)
        self._net = weakref.finalize(self, self._owned.free)
        self._net.atexit = False

    def open(self, path: bytes, flags: int) -> _File:
        self._owned.make(os.open, path, flags | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
        return self

    @property
    def is_open(self) -> bool:
        return bool(self._owned)

    @property
    def fd(self) -> int:
        number: int = self._owned.thing
        return number

    def close(self, call: Call) -> None:
        # After a second Ctrl-C the library may still be using it. The call keeps it, and with the
        # call it is closed.
        call.kept = self
        if call.over:
            self._owned.free()
            self._net.detach()


@contextmanager
def source(what: Source, call: Call) -> Iterator[int]:
    """The descriptor to read from, or -1 and `call.read`."""
    call.once = True
    fd = _descriptor(what)
    if fd is not None:
        yield fd
    elif isinstance(what, (str, bytes, os.PathLike)):
        path = encode(what)
        with _opened(_File().open(path, os.O_RDONLY), call) as fd:
            yield fd
    else:
        call.read = _reader(what)
        yield -1


@contextmanager
def target(what: Target, call: Call, *, directory: bool = False) -> Iterator[int]:
    """The descriptor to write to, or -1 and `call.write`. A regular file is replaced when the block
    ends, and left as it was when it fails. With `directory`, the path may be that of one."""
    call.once = True
    fd = _descriptor(what)
    if fd is not None:
        yield fd
    elif isinstance(what, (str, bytes, os.PathLike)):
        path = encode(what)
        mode = _mode(path)
        if directory and mode is not None and stat.S_ISDIR(mode):
            opened = _opened(_File().open(path, os.O_RDONLY | os.O_DIRECTORY), call)
        elif mode is not None and not stat.S_ISREG(mode):
            # A device or a pipe. Should it be gone by now, no file is made in its place.
            opened = _opened(_File().open(path, os.O_WRONLY), call)
        else:
            opened = _replaced(path, mode, call)
        with opened as fd:
            yield fd
    else:
        call.write = _writer(what)
        yield -1


def _descriptor(what: object) -> int | None:
    """The descriptor that it is, or that is all there is to it."""
    if isinstance(what, int) and not isinstance(what, bool):
        return descriptor(what)
    # A file with a buffer may be ahead of its descriptor, or behind.
    return what.fileno() if isinstance(what, io.FileIO) else None


def descriptor(fd: int) -> int:
    """It, if it is one: ctypes would cut it to the width of an int."""
    if not 0 <= fd < 1 << 31:
        raise ValueError("negative file descriptor" if fd < 0 else "no file descriptor")
    return fd


def _mode(path: bytes) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


@contextmanager
def _opened(file: _File, call: Call) -> Iterator[int]:
    try:
        yield file.fd
    finally:
        file.close(call)


@contextmanager
def _replaced(path: bytes, mode: int | None, call: Call) -> Iterator[int]:
    path = os.path.realpath(path)
    parent, name = os.path.split(path)
    unique = secrets.token_hex(8).encode("ascii")
    new = os.path.join(parent, b"." + name[:200] + b"." + unique)
    file = _File()
    made = False
    try:
        # Made with the mode that the umask leaves.
        file.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        made = True
        with _opened(file, call) as fd:
            if mode is not None:
                os.fchmod(fd, stat.S_IMODE(mode))
            yield fd
        os.replace(new, path)
    except BaseException:
        if made or file.is_open:
            # It may be in its place already, and then a signal's handler raised.
            with suppress(FileNotFoundError):
                os.unlink(new)
        raise


# ---- file objects and iterables as functions ----


def _reader(what: Any) -> Callable[[int], Any]:
    if isinstance(what, io.TextIOBase):
        raise TypeError("a layer is read from a binary file, not from a text file")
    if hasattr(what, "readinto"):
        buffer = bytearray()

        def readinto(size: int) -> memoryview:
            nonlocal buffer
            if len(buffer) < size:
                buffer = bytearray(size)
            view = memoryview(buffer)[:size]
            count = _count(what.readinto(view), 0, size, "readinto() of {} bytes gave {}")
            return view[:count]

        return readinto
    if hasattr(what, "read"):
        return lambda size: _answer(what.read(size))
    if isinstance(what, collections.abc.Iterable) and not isinstance(what, (bytearray, memoryview)):
        return _pieces(iter(what))
    raise TypeError(
        "a layer is read from a path, a descriptor, a binary file or an iterable of bytes, not "
        f"from {type(what).__name__}"
    )


def _pieces(pieces: Iterator[Any]) -> Callable[[int], memoryview]:
    rest = memoryview(b"")

    def read(size: int) -> memoryview:
        nonlocal rest
        while not rest:
            try:
                rest = memoryview(next(pieces)).cast("B")
            except StopIteration:
                break
        piece, rest = rest[:size], rest[size:]
        return piece

    return read


def _writer(what: Any) -> Callable[[bytes], int]:
    if isinstance(what, io.TextIOBase):
        raise TypeError("a diff is written to a binary file, not to a text file")
    if not hasattr(what, "write"):
        raise TypeError(
            "a diff is written to a path, a descriptor or a binary file, not to "
            f"{type(what).__name__}"
        )
    return lambda data: _count(what.write(data), 1, len(data), "write() of {} bytes took {}")


def _answer(answer: Any) -> Any:
    """None is how a file says that it would have to wait."""
    if answer is None:
        raise BlockingIOError(errno.EAGAIN, "the file is non-blocking, and not ready")
    return answer


def _count(answer: Any, lowest: int, highest: int, did: str) -> int:
    """How many bytes a file says that it read or wrote."""
    count = operator.index(_answer(answer))
    if not lowest <= count <= highest:
        raise ValueError(did.format(highest, count))
    return count


# ---- the callbacks ----


def _read(user: int, buffer: int, size: int) -> int:
    call = called(user)

    def work() -> int:
        data = memoryview(call.read(size)).cast("B")
        if len(data) > size:
            raise ValueError(f"read({size}) gave {len(data)} bytes")
        memoryview((ctypes.c_char * size).from_address(buffer)).cast("B")[: len(data)] = data
        return len(data)

    return call.enter(work, -errno.EIO)


def _write(user: int, buffer: int, size: int) -> int:
    call = called(user)

    def work() -> int:
        return call.write(bytes_at(buffer, size))

    return call.enter(work, -errno.EIO)


on_read = _capi.ReadFn(_read)
on_write = _capi.WriteFn(_write)
