"""A diff as a file to read from."""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import select
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Callable

from ._call import Call
from ._constants import Code
from ._handle import Handle
from ._owned import Owned
from ._worker import Worker
from .errors import OvlError
from .results import LayerInfo

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 128 << 10

PATIENCE = 0.2
"""Seconds in which a stopped diff ends that waits for nobody: it looks ten times a second."""


class _Maker:
    """The thread that writes the diff to a pipe, and what came of it."""

    def __init__(self, write_to: Callable[[int], LayerInfo], call: Call, store: Handle) -> None:
        """The writing end of the pipe is put into `writing` before it is started."""
        self.info: LayerInfo | None = None
        self.error: BaseException | None = None
        self.told = False
        self._write_to = write_to
        self._call = call
        self._store = store
        self.worker = Worker(self._work)
        self.writing = Owned(os.close)
        self._use = threading.Lock()
        # Re-entrant: a signal's handler may close the stream that is being closed.
        self._fd_lock = threading.RLock()

    def start(self) -> None:
        # From now on a close of the store waits for the end of the diff.
        self._store.hold(self._use)
        self._call.holds_store = True
        self._call.once = True
        self.worker.start()

    def _work(self) -> None:
        try:
            self.info = self._write_to(self.writing.thing)
        except BaseException as error:
            self.error = error
        finally:
            with self._fd_lock:
                self.writing.free()
            self._store.let_go(self._use)

    def stop(self) -> None:
        self._call.stop()

    def end(self) -> None:
        """Waits for the end of a diff that was stopped."""
        if not self.worker.started:
            self.writing.free()
            self._store.let_go(self._use)
            return
        # Its next write fails, or it sees that it is stopped. Where another process has the reading
        # end too, it may be in a write that waits for that one.
        if not self.worker.wait(PATIENCE):
            with contextlib.suppress(OSError):
                self._read_all()
        self.worker.join()
        if self.error is not None and not self.told:
            # Its frames have this, which would stay until the garbage collector comes.
            self.error.__traceback__ = None

    def _read_all(self) -> None:
        own = Owned(os.close)
        try:
            with self._fd_lock:
                if not self.writing:
                    return
                # A descriptor of its own, so that nobody else's becomes non-blocking.
                how = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
                own.make(os.open, f"/proc/self/fd/{self.writing.thing}", how)
            fd = own.thing
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            while not self.worker.done:
                with contextlib.suppress(BlockingIOError):
                    if poll.poll(1000) and not os.read(fd, CHUNK):
                        return
        finally:
            own.free()


class DiffStream(io.RawIOBase):
    """A layer tar that is made while it is read, by a thread of its own.

    It has a descriptor (`fileno()`), the end of a pipe, for a process or a selector. Iterating
    gives pieces of bytes. The end of the tar is the end of the file only where the diff succeeded;
    a diff that fails raises its error from the read that would have met the end, and from
    `result()`. Closing it before the end stops the diff, for other readers of the pipe too. The
    functions for progress and cancel run on the stream's thread; they may close it, and then its
    thread ends when they return. In a forked child it can be closed, and its descriptor read; what
    became of the diff is not known there (EOWNERDEAD).
    """

    _maker: _Maker | None = None

    def __init__(self, write_to: Callable[[int], LayerInfo], call: Call, store: Handle) -> None:
        super().__init__()
        # A file object goes by itself, and closes its descriptor, in C.
        self._reading = Owned(io.FileIO.close)
        maker = self._maker = _Maker(write_to, call, store)
        try:
            # First, so that a child of a fork that comes now knows it, too.
            _open_streams.add(self)
            maker.writing.make_each(os.pipe)
            self._reading.make_of_first(io.FileIO, maker.writing)
            maker.start()
        except BaseException:
            self.close()
            raise

    def readable(self) -> bool:
        """It is, and not writable."""
        return True

    def fileno(self) -> int:
        """The reading end of the pipe. Who reads it asks `result()` whether that was all."""
        self._check_open()
        fd: int = self._reading.thing.fileno()
        return fd

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Reads up to as many bytes as there is room for; 0 at the end of a diff that succeeded."""
        self._check_open()
        count: int | None = self._reading.thing.readinto(buffer)
        if count == 0 and len(memoryview(buffer)) > 0:
            self._finish()
        return count

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = self.read(CHUNK)
        if not piece:
            raise StopIteration
        return piece

    def result(self) -> LayerInfo:
        """Waits for the end of the diff, and tells its diff ID, its size and what was left out;
        raises what the diff failed with. Somebody must read the pipe to its end meanwhile."""
        info = self._finish().info
        assert info is not None
        return info

    def close(self) -> None:
        """Stops the diff if it has not ended, and closes the pipe."""
        if self.closed:
            return
        maker = self._maker
        # Where a handler raises, it is not closed, and what is left is done when nobody has it.
        if maker is not None:
            self._reading.free()
            if maker.worker.inherited:
                maker.writing.free()
            else:
                maker.stop()
                if not maker.worker.current:
                    maker.end()
        _open_streams.discard(self)
        super().close()

    def _finish(self) -> _Maker:
        maker = self._maker
        assert maker is not None
        if maker.worker.inherited:
            what = "the stream was opened before this process was forked"
            raise OvlError(errno.EOWNERDEAD, what, code=Code.FORKED, operation="diff")
        if maker.worker.current:
            raise RuntimeError("a progress or cancel function waits for its own call")
        # A handler may end this wait, as long as the thread works.
        while not maker.worker.wait(1):
            pass
        maker.worker.join()
        if maker.error is not None:
            maker.told = True
            raise maker.error
        return maker

    def _check_open(self) -> None:
        if self.closed or not self._reading:
            raise ValueError("I/O operation on closed file")


_open_streams: weakref.WeakSet[DiffStream] = weakref.WeakSet()


def _in_child() -> None:
    """Who reads a stream to its end in a forked child is not to be its writer, too."""
    for stream in list(_open_streams):
        if stream._maker is not None:
            stream._maker.writing.free()


os.register_at_fork(after_in_child=_in_child)


@atexit.register
def _close_all() -> None:
    """The threads must not be in a callback when the interpreter ends."""
    for stream in list(_open_streams):
        stream.close()
