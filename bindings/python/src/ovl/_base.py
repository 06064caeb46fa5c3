"""The open store, and how a method calls the library on it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from ctypes import byref, sizeof
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, TypeVar

from . import _capi, _items
from ._call import Call, ProgressFn, current
from ._constants import LogLevel, Marks, StoreFlag
from ._handle import Handle
from ._text import PathLike, encode
from .cancel import CancelLike

T = TypeVar("T")
Self = TypeVar("Self", bound="StoreBase")

LogFn = Callable[[LogLevel, str], object]
"""Is told what a store does, one line at a time, by the call that does it. What it raises stops
that call, and comes out of it."""


class StoreBase:
    """Opens and closes; what can be done in between is in the classes that build on this one."""

    def __init__(
        self,
        path: PathLike,
        *,
        create: bool = True,
        read_only: bool = False,
        marks: Marks = Marks.AUTO,
        log: LogFn | None = None,
        log_level: LogLevel = LogLevel.WARNING,
    ) -> None:
        """Opens the store in the directory `path`.

        A directory that is missing or empty becomes a store, and so are the directories that lead
        to it made, unless `create` is false. With `read_only` nothing in the store is changed, and
        calls that would are EROFS. `log` is told what the store does, up to `log_level`.

        Raises FileNotFoundError where there is no store and none is to be made; ENOTEMPTY where the
        directory has other things in it; EINVAL where the store has other `marks`.
        """
        home = encode(path)
        self._path = Path(os.fsdecode(home))
        self._handle = Handle("store", _capi.StorePtr(), _capi.lib.ovl_store_free)
        flags = (StoreFlag.READ_ONLY if read_only else 0) | (0 if create else StoreFlag.MUST_EXIST)
        opts = _capi.StoreOpts(flags=flags, marks=marks, log_level=log_level)
        if log is not None:
            opts.log = self._handle.cell.log = _log_function(log)
        self._log = log
        cell = byref(self._handle.cell)

        def operation(err: Any) -> int:
            said: int = _capi.lib.ovl_store_open(home, byref(opts), sizeof(opts), cell, err)
            return said

        Call(brief=log is None).run(operation)

    @property
    def path(self) -> Path:
        """The store's directory, as it was given."""
        return self._path

    @property
    def closed(self) -> bool:
        return self._handle.closed

    def close(self) -> None:
        """Closes the store; calls on it are ValueError then. Calls that other threads are in go on
        to their end. Mounts stay as they are."""
        self._handle.close()

    def __enter__(self: Self) -> Self:
        if self._handle.closed:
            raise ValueError("the store is closed")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        closed = ", closed" if self.closed else ""
        return f"<{type(self).__name__} {os.fspath(self._path)!r}{closed}>"

    # ---- for the methods ----

    def _short(self) -> Call:
        """A call that is soon over, and calls nothing back but the log."""
        return Call(brief=self._log is None)

    def _run(self, call: Call, function: Callable[..., int], *arguments: Any) -> int:
        """Calls `function(store, *arguments, err)`; an option or result struct among the arguments
        is passed by its address and size."""
        passed = list(_passed(arguments))

        def operation(err: Any) -> int:
            if call.holds_store:
                return function(self._handle.cell, *passed, err)
            return self._handle.call(lambda pointer: function(pointer, *passed, err))

        return call.run(operation)

    def _list(
        self, call: Call, make: Callable[[_items.Item], T], function: Callable[..., int], *args: Any
    ) -> Iterator[T]:
        """Calls a function that lists; what failed is raised now, not by the iterator."""
        handle = _items.new()
        self._run(call, function, *args, byref(handle.cell))
        return _items.each(handle, make)


def _passed(arguments: Any) -> Iterator[Any]:
    for argument in arguments:
        if isinstance(argument, ctypes.Structure):
            yield byref(argument)
            yield sizeof(argument)
        else:
            yield argument


def watched(cancel: CancelLike | None, progress: ProgressFn | None) -> Call:
    """A call that may take long."""
    return Call(cancel, progress)


def _log_function(log: LogFn) -> Any:
    def line(_: int, level: int, message: bytes) -> None:
        words = message.decode("utf-8", "backslashreplace")
        call = current()
        if call is not None:
            call.enter(lambda: log(LogLevel(level), words), None)

    return _capi.LogFn(line)
